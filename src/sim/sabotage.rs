//! Drivers that are broken on purpose, between the world and the core: the checks of a storm must notice each.
//!
//! No line of the core knows of them. Each breaks one thing that a driver owes the core, as a real driver may break it
//! by mistake, and one promise to the user falls with it. [`SABOTEURS`] is the table of all of them; where a row's
//! `SabotageKind` is asked about, that is where the driver breaks.

use std::net::SocketAddr;
use std::time::Duration;

use super::moments::words;
use super::shrink::shrink;
use super::storm::StormPlan;
use super::trace::Trace;
use super::world::{PlannedEvent, RecordedItem, SimEvent, Violation, World, destination};
use crate::id::Key;
use crate::node::job::{Job, JobId, Outcome};
use crate::node::{Action, Event};
use crate::overlay::OverlayKind;
use crate::time::Time;
use crate::wire::ring::{RingRequest, RingResponse};
use crate::wire::{Body, Message, Request, RequestKind, Response, Sender, Via};

/// A driver that is broken in one way.
#[derive(Debug)]
pub struct Saboteur {
    /// What `--saboteur` calls it.
    pub name: &'static str,
    /// What the driver does wrong.
    pub broken: &'static str,
    /// What is promised, and falls.
    pub promise: &'static str,
    /// Where it shows.
    pub network: Network,
    pub(super) way: SabotageKind,
    /// Whether it takes users who end a command soon after giving it.
    pub(super) restless: bool,
}

/// The kinds of network that a storm strikes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Network {
    /// Peers on Kademlia, which keep blocks.
    Kademlia,
    /// Peers on Chord's ring, which keep blocks.
    Ring,
    /// The classroom's ring, with files by name.
    Classroom,
}

/// The ways in which a driver can be broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SabotageKind {
    EarlyOutcome,
    LostTick,
    DoubledOutcome,
    SwallowedUndeliverable,
    FullInbox,
    SwappedActions,
    FormerLife,
    LethalCancel,
    EarlyWithdraw,
    ClockBack,
    ShortLists,
    DeadSuccessors,
}

/// All of them.
pub static SABOTEURS: [Saboteur; 12] = [
    Saboteur {
        name: "early-outcome",
        broken: "a worker says that a block is stored 10 ms before the disk has it",
        promise: "a peer says that it holds a block, and `saved`, only once the block is on its disk",
        network: Network::Kademlia,
        way: SabotageKind::EarlyOutcome,
        restless: false,
    },
    Saboteur {
        name: "lost-tick",
        broken: "a wake-up is lost when a later one is planned already",
        promise: "whoever asks to be woken is woken: no timeout is forgotten",
        network: Network::Kademlia,
        way: SabotageKind::LostTick,
        restless: false,
    },
    Saboteur {
        name: "doubled-outcome",
        broken: "a job's outcome is told a second time, for another job of its kind that is still out",
        promise: "every job has one outcome, its own",
        network: Network::Kademlia,
        way: SabotageKind::DoubledOutcome,
        restless: false,
    },
    Saboteur {
        name: "swallowed-undeliverable",
        broken: "nobody is told that a message over TCP could not be delivered",
        promise: "a message over TCP arrives or comes back to its sender, who can then ask another peer",
        network: Network::Ring,
        way: SabotageKind::SwallowedUndeliverable,
        restless: false,
    },
    Saboteur {
        name: "full-inbox",
        broken: "an inbox that is full drops the outcomes of jobs",
        promise: "every job has one outcome: what is begun ends",
        network: Network::Kademlia,
        way: SabotageKind::FullInbox,
        restless: false,
    },
    Saboteur {
        name: "swapped-actions",
        broken: "the actions of each turn are done in the wrong order, the last one first",
        promise: "what a peer wants done is done in the order in which it asks: every command is answered before the end",
        network: Network::Kademlia,
        way: SabotageKind::SwappedActions,
        restless: false,
    },
    Saboteur {
        name: "former-life",
        broken: "a peer that is started again is told what its former life held, not what is on its disk",
        promise: "a peer that is started again begins anew: it holds what is on its disk",
        network: Network::Kademlia,
        way: SabotageKind::FormerLife,
        restless: false,
    },
    Saboteur {
        name: "lethal-cancel",
        broken: "a job that is cancelled tells no outcome",
        promise: "every job has one outcome, a cancelled one too: its place becomes free",
        network: Network::Kademlia,
        way: SabotageKind::LethalCancel,
        restless: true,
    },
    Saboteur {
        name: "early-withdraw",
        broken: "a block is withdrawn as soon as it is offered, before anybody has said `saved`",
        promise: "in a calm network every file that a user stores gets its copies",
        network: Network::Kademlia,
        way: SabotageKind::EarlyWithdraw,
        restless: false,
    },
    Saboteur {
        name: "clock-back",
        broken: "ten seconds after its start a peer's clock goes back by a millisecond, and stays behind",
        promise: "a peer that was woken in time has nothing more to do at that time: none spins",
        network: Network::Kademlia,
        way: SabotageKind::ClockBack,
        restless: false,
    },
    Saboteur {
        name: "zave-short-lists",
        broken: "peers tell only their first successor: who joins takes over no list (Zave 2017, on the join of 2001)",
        promise: "every member has a list of successors, of which one lives whichever die: lookups find them all",
        network: Network::Ring,
        way: SabotageKind::ShortLists,
        restless: false,
    },
    Saboteur {
        name: "zave-dead-successors",
        broken: "a peer that others speak of is believed to live, without asking it (Zave 2017, on the stabilize of 2001)",
        promise: "only who answers becomes a successor: a file's copies are at peers that live",
        network: Network::Classroom,
        way: SabotageKind::DeadSuccessors,
        restless: false,
    },
];

/// The saboteur of this name.
pub fn find(name: &str) -> Option<&'static Saboteur> {
    SABOTEURS.iter().find(|saboteur| saboteur.name == name)
}

impl Saboteur {
    /// A storm of `seed` with this driver, small, so that what goes wrong can be read.
    pub fn plan(&'static self, seed: u64) -> StormPlan {
        let plan = match self.network {
            Network::Classroom => StormPlan::classroom(seed),
            Network::Kademlia => StormPlan { peers: 10, faults: 8, ..StormPlan::random(OverlayKind::Kademlia, seed) },
            // In a smaller ring the predecessors of a peer make up for successors that it does not know.
            Network::Ring => StormPlan { peers: 14, faults: 8, ..StormPlan::random(OverlayKind::Ring, seed) },
        };
        StormPlan { saboteur: Some(self), ..plan }
    }

    /// The first of these storms that shows that the driver is broken.
    pub fn hunt(&self, plans: impl IntoIterator<Item = StormPlan>) -> Option<Caught> {
        let shows = |plan: StormPlan| plan.run(Trace::off()).err().map(|violation| Caught { plan, violation });
        plans.into_iter().find_map(shows)
    }

    /// The same storm with as few faults as still show it.
    pub fn shorten(&self, plan: &StormPlan) -> StormPlan {
        let of = |only: &[usize]| StormPlan { only: Some(only.to_vec()), ..plan.clone() };
        let fails = |only: &[usize]| of(only).run(Trace::off()).is_err();
        if fails(&[]) { of(&[]) } else { of(&shrink(&plan.striking(), fails)) }
    }
}

/// A storm that shows that a driver is broken.
#[derive(Clone, Debug)]
pub struct Caught {
    /// The storm.
    pub plan: StormPlan,
    /// What did not hold.
    pub violation: Violation,
}

/// Events that a full inbox holds.
const INBOX: u32 = 4;
/// How long a block is told of before the disk has it.
const UNWRITTEN: Duration = Duration::from_millis(10);
/// How long a clock goes right.
const RIGHT: Duration = Duration::from_secs(10);
/// By how much it goes back.
const BACK: Duration = Duration::from_millis(1);

/// Where the driver may break.
impl World {
    /// Notes what the driver did wrong.
    pub(super) fn did_wrong(&mut self, slot: usize, what: impl FnOnce() -> String) {
        if let Some(recorder) = &mut self.recorder {
            recorder(RecordedItem::Wrong(self.now, slot, &what()));
        }
    }

    /// What the peer's clock shows.
    pub(super) fn clock(&mut self, slot: usize) -> Time {
        let right = self.peers[slot].local(self.now);
        if self.rules.broken != Some(SabotageKind::ClockBack) || right < Time::ZERO + RIGHT {
            return right;
        }
        let wrong = Time::from_micros(right.as_micros() - BACK.as_micros() as u64);
        self.did_wrong(slot, || format!("its clock shows {wrong} s, and it is {right} s"));
        wrong
    }

    /// Whether an event is lost because too many came in the same millisecond.
    pub(super) fn is_dropped(&mut self, slot: usize, event: &Event) -> bool {
        if self.rules.broken != Some(SabotageKind::FullInbox) {
            return false;
        }
        let peer = &mut self.peers[slot];
        let same = peer.last_event.as_micros() / 1000 == self.now.as_micros() / 1000;
        peer.crowd = if same { peer.crowd + 1 } else { 0 };
        let full = peer.crowd >= INBOX;
        match event {
            Event::JobDone { job, outcome } if full => {
                self.did_wrong(slot, || format!("its inbox is full: job {job}'s {} is dropped", words::said(outcome)));
                true
            }
            _ => false,
        }
    }

    /// Puts what a node wants done out of order. Behind the end nothing is done.
    pub(super) fn disorder(&mut self, slot: usize, actions: &mut Vec<Action>) {
        if self.rules.broken != Some(SabotageKind::SwappedActions) || actions.len() < 2 {
            return;
        }
        actions.reverse();
        if let [one, .., other] = &actions[..] {
            self.did_wrong(slot, || format!("does '{}' before '{}'", words::said(one), words::said(other)));
        }
        let end = actions.iter().position(|action| *action == Action::Stop);
        actions.truncate(end.map_or(actions.len(), |end| end + 1));
    }

    /// What a peer that starts is told that it holds: `found` on its disk.
    pub(super) fn found(&mut self, slot: usize, found: Vec<(Key, u32)>) -> Vec<(Key, u32)> {
        let former = &self.peers[slot].former;
        if self.rules.broken != Some(SabotageKind::FormerLife) || *former == found || former.is_empty() {
            return found;
        }
        let former = former.clone();
        let (held, there) = (former.len(), found.len());
        self.did_wrong(slot, || format!("it is told of the {held} blocks of its former life; on its disk are {there}"));
        former
    }

    /// The same outcome for another job that is out and may end so.
    pub(super) fn tell_twice(&mut self, slot: usize, of: JobId, outcome: &Outcome) -> Option<Event> {
        if self.rules.broken != Some(SabotageKind::DoubledOutcome) {
            return None;
        }
        let may_end_so = |work: &Job| match outcome {
            Outcome::Failed(_) => true,
            Outcome::Read { .. } => matches!(work, Job::ReadNext { .. }),
            Outcome::Stored { .. } => matches!(work, Job::Keep { .. } | Job::Pull { .. }),
            Outcome::Fetched => matches!(work, Job::Fetch { .. }),
            _ => false,
        };
        let (&job, _) = self.peers[slot].jobs.iter().find(|(_, job)| may_end_so(&job.work))?;
        self.did_wrong(slot, || format!("job {of}'s {} is told as that of job {job} too", words::said(outcome)));
        Some(Event::JobDone { job, outcome: outcome.clone() })
    }

    /// Takes a block that has just been stored off the disk, and has it written later; a crash comes in between.
    pub(super) fn put_off_writing(&mut self, slot: usize, work: &Job, outcome: &Outcome) {
        let (Some(SabotageKind::EarlyOutcome), Outcome::Stored { .. }) = (self.rules.broken, outcome) else { return };
        if let Job::Keep { key, .. } | Job::Pull { key, .. } = work
            && let Some(bytes) = self.peers[slot].disk.take(key)
        {
            self.did_wrong(slot, || format!("block {} is told as stored; the disk has it in 10 ms", key.short()));
            let life = Some(self.peers[slot].life);
            let what = SimEvent::Written { key: *key, bytes };
            self.plan(self.now + UNWRITTEN, PlannedEvent { slot: slot as u32, life, what });
        }
    }

    /// Harms what a message needs, or says.
    pub(super) fn tamper(&mut self, slot: usize, to: SocketAddr, message: &mut Message) {
        match (self.rules.broken, &mut message.body) {
            (Some(SabotageKind::EarlyWithdraw), Body::Request(Request::Store { key, .. })) => {
                self.peers[slot].open_files.withdraw_from_all(key);
                let key = key.short();
                self.did_wrong(slot, || format!("block {key} is withdrawn as it is offered to {to}"));
            }
            (
                Some(SabotageKind::ShortLists),
                Body::Request(Request::Ring(RingRequest::Ping { successors, predecessors, .. }))
                | Body::Response(Response::Ring(
                    RingResponse::Pong { successors, predecessors, .. }
                    | RingResponse::Welcome { successors, predecessors },
                )),
            ) if successors.len() > 1 => {
                let known = successors.len();
                successors.truncate(1);
                predecessors.truncate(1);
                self.did_wrong(slot, || format!("of its {known} successors it tells {to} the first alone"));
            }
            (Some(SabotageKind::DeadSuccessors), Body::Request(Request::Ring(RingRequest::Ping { .. }))) => {
                self.answer_for_the_dead(slot, to, message.magic);
            }
            _ => {}
        }
    }

    fn answer_for_the_dead(&mut self, slot: usize, to: SocketAddr, magic: u64) {
        let Some(target) = destination(to, self.peers.len()).filter(|&target| !self.is_up(target)) else { return };
        let peer = self.peer(target);
        let pong = RingResponse::Pong { peer, predecessors: Vec::new(), successors: Vec::new() };
        let answer = Message {
            sender: Some(Sender::member(peer.id, peer.addr)),
            ..Message::response(magic, RequestKind::Ring, Response::Ring(pong))
        };
        self.did_wrong(slot, || format!("it is told that peer {target} lives, which is dead"));
        self.tell(slot, Event::Message { from: to, via: Via::Udp, bytes: 0, message: answer });
    }
}
