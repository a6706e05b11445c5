//! The core, event by event: call `handle`, compare the list of actions.

mod answers;
mod bootstrap;
mod check_lists;
mod claims;
mod crowded;
mod datagrams;
mod deletions;
mod departure;
mod ending;
mod files;
mod folder_gone;
mod folders;
mod forged;
mod health;
mod hesitating;
mod holders;
mod leases;
mod memory;
mod narrow;
mod offers;
mod places;
mod reach;
mod restraint;
pub(crate) mod scripted;
mod shares;
mod slow;
mod small_files;
mod telling;
mod turns;
mod upkeep;
mod waits;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::job::{Job, JobError, JobErrorKind, JobId, Outcome};
use super::{Action, Answer, Event, Node, Notice, Obstacle, Outbox};
use crate::config::{Config, FLOW};
use crate::id::{Id, Key};
use crate::overlay::OverlayKind;
use crate::peer::Peer;
use crate::time::Time;
use crate::wire::{Body, Message, Request, RequestKind, Response, Sender, Via};
use scripted::Scripted;

/// A node on a scripted overlay, its clock, and what it did.
pub(crate) struct Bench {
    pub(crate) node: Node,
    pub(crate) now: Time,
    pub(crate) out: Outbox,
    /// A peer that says it has saved a block has pulled it.
    pub(crate) pulls: bool,
    /// The offers that the node made, by their magic.
    pub(crate) offers: BTreeMap<u64, (Key, IpAddr)>,
    /// Peers that no connection reaches.
    pub(crate) shut: BTreeSet<SocketAddr>,
    /// When the peers known were saved last.
    pub(crate) saved: Option<Time>,
}

pub(crate) fn addr(n: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], n))
}

/// The scripted overlay's peer number `n`; number 0 is the node itself.
pub(crate) fn peer(n: u16) -> Peer {
    Peer::new(Id::from_u64(u64::from(n)), addr(10_000 + n))
}

pub(crate) fn key(n: u64) -> Key {
    Id::of(&n.to_be_bytes())
}

impl Bench {
    /// A node that knows `peers` other peers, all of which belong to every replica set, in the order of their numbers
    /// with the node itself at `rank` (a guest is in no set).
    pub(crate) fn new(config: Config, peers: u16, rank: usize) -> Self {
        let mut set: Vec<Peer> = (1..=peers).map(peer).collect();
        if !config.guest {
            set.insert(rank.min(set.len()), peer(0));
        }
        Self::on(config, Scripted { me: peer(0), set, holds: true, ends: true, unreached: Vec::new() })
    }

    pub(crate) fn on(config: Config, overlay: Scripted) -> Self {
        Self::of(Node::new(config, Box::new(overlay), [7; 32]))
    }

    pub(crate) fn of(node: Node) -> Self {
        let (offers, shut) = (BTreeMap::new(), BTreeSet::new());
        Self { node, now: Time::ZERO, out: Outbox::new(), pulls: true, offers, shut, saved: None }
    }

    pub(crate) fn start(self, held: &[(Key, u32)]) -> Self {
        self.start_again(Vec::new(), held)
    }

    /// The same with peers that are remembered from the last run.
    pub(crate) fn start_again(mut self, remembered: Vec<Peer>, held: &[(Key, u32)]) -> Self {
        self.does(Event::Start {
            bootstrap: Vec::new(),
            hosts: Vec::new(),
            remembered,
            held: held.to_vec(),
            notes: Vec::new(),
            unix_time: 0,
            ran: 0,
        });
        self
    }

    /// Hands the node an event; returns what it does about it, but for dials and what saves its peers: those succeed at
    /// once, unless nobody is to be reached there. A peer that is asked for a block begins to send it.
    pub(crate) fn does(&mut self, event: Event) -> Vec<Action> {
        self.out.clear();
        self.node.handle(self.now, event, &mut self.out);
        self.node.check().expect("the node's invariants hold");
        let (mut unheard, mut at) = (Outbox::new(), 0);
        while let Some(action) = self.out.get(at) {
            at += 1;
            let (follows, heard) = match action {
                Action::Start { job, work: Job::Fetch { .. } | Job::Unpack { .. } | Job::ReadBack { .. } } => {
                    (Event::Flows { job: *job, bytes: FLOW as u32 }, &mut unheard)
                }
                Action::Send {
                    to,
                    message: Message { magic, body: Body::Request(Request::Store { key, .. }), .. },
                    ..
                } => {
                    self.offers.insert(*magic, (*key, to.ip()));
                    continue;
                }
                Action::Start { job, work: Job::Dial { to } } => {
                    let outcome =
                        if self.shut.contains(to) { failed(JobErrorKind::Unreachable) } else { Outcome::Done };
                    (Event::JobDone { job: *job, outcome }, &mut self.out)
                }
                Action::Start { job, work: Job::SavePeers { .. } } => {
                    self.saved = Some(self.now);
                    (Event::JobDone { job: *job, outcome: Outcome::Done }, &mut self.out)
                }
                _ => continue,
            };
            self.node.handle(self.now, follows, heard);
        }
        assert_eq!(unheard, [], "none is answered");
        self.out
            .retain(|action| !matches!(action, Action::Start { work: Job::Dial { .. } | Job::SavePeers { .. }, .. }));
        self.out.clone()
    }

    /// Lets time pass until the node's next wake, if that is within `limit`.
    pub(crate) fn wait(&mut self, limit: Duration) -> Option<Vec<Action>> {
        let wake = self.node.next_wake().filter(|wake| *wake <= self.now + limit)?;
        self.now = wake.max(self.now);
        Some(self.does(Event::Tick))
    }

    pub(crate) fn hears(&mut self, from: SocketAddr, message: Message) -> Vec<Action> {
        self.does(Event::Message { from, via: Via::Udp, bytes: 250, message })
    }

    pub(crate) fn hears_request(&mut self, from: Peer, magic: u64, request: Request) -> Vec<Action> {
        self.hears(from.addr, Message::request(magic, Sender::member(from.id, from.addr), request))
    }

    pub(crate) fn hears_answer(&mut self, from: SocketAddr, magic: u64, response: Response) -> Vec<Action> {
        if let Some(pulled) = self.offers.get(&magic).filter(|_| self.pulls && response == Response::Saved) {
            let delivered = Event::Delivered { blocks: vec![*pulled] };
            let mut unheard = Outbox::new();
            self.node.handle(self.now, delivered, &mut unheard);
            assert_eq!(unheard, [], "it is not answered");
        }
        self.hears(from, Message::response(magic, RequestKind::Ping, response))
    }

    pub(crate) fn ends(&mut self, job: JobId, outcome: Outcome) -> Vec<Action> {
        self.does(Event::JobDone { job, outcome })
    }
}

/// The requests among `actions`: to whom, magic, what.
pub(crate) fn requests(actions: &[Action]) -> Vec<(SocketAddr, u64, Request)> {
    let sent = actions.iter().filter_map(|action| match action {
        Action::Send { to, message: Message { magic, body: Body::Request(request), .. }, .. } => {
            Some((*to, *magic, request.clone()))
        }
        _ => None,
    });
    sent.collect()
}

/// The answers to requests among `actions`: to whom, magic, what.
pub(crate) fn responses(actions: &[Action]) -> Vec<(SocketAddr, u64, Result<Response, String>)> {
    let sent = actions.iter().filter_map(|action| {
        let Action::Send { to, message, .. } = action else { return None };
        match &message.body {
            Body::Response(response) => Some((*to, message.magic, Ok(response.clone()))),
            Body::Error(reason) => Some((*to, message.magic, Err(reason.clone()))),
            Body::Request(_) => None,
        }
    });
    sent.collect()
}

pub(crate) fn jobs(actions: &[Action]) -> Vec<(JobId, Job)> {
    let started = actions.iter().filter_map(|action| match action {
        Action::Start { job, work } => Some((*job, work.clone())),
        _ => None,
    });
    started.collect()
}

pub(crate) fn answer(actions: &[Action]) -> Option<Answer> {
    actions.iter().find_map(|action| match action {
        Action::Notify(Notice::Answer { answer, .. }) => Some(answer.clone()),
        _ => None,
    })
}

pub(crate) fn failed(kind: JobErrorKind) -> Outcome {
    Outcome::Failed(JobError { kind, reason: format!("{kind:?}") })
}

/// The answer of a peer that offered its blocks to others before it left.
pub(crate) fn left(handed_over: u64, left_behind: u64) -> Answer {
    Answer::Left { handed_over, left_behind, offered: true, kept: true, alone: false }
}
