//! `wait safe`: may this peer be switched off now, and nothing is lost?
//!
//! What is held here is [compared](super::comparison) with each peer that should hold it too, after the question was
//! asked: what such a peer has is no loss. The rest is looked at again after a while, for repair gives it to others
//! meanwhile. A peer that goes takes with it what it was counted for, and all is compared anew.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use super::comparison::Comparison;
use super::regions::Regions;
use crate::id::{Id, Key};
use crate::node::command::{Command, CommandId, Until, is_meant};
use crate::node::desk::Desk;
use crate::node::jobs::Urgency;
use crate::node::notice::{Answer, FailureKind};
use crate::node::part::{Answered, News, Owner, Part, Reply, Ticket};
use crate::overlay::Target;
use crate::peer::Peer;
use crate::time::Time;

/// What no other peer has is looked for again after this long.
const PAUSE: Duration = Duration::from_secs(2);

/// Those who wait until nothing would be lost with this peer.
#[derive(Default)]
pub(in crate::node) struct Safety {
    waiting: BTreeMap<CommandId, Wait>,
    round: Option<Round>,
    /// When the next round begins.
    again: Option<Time>,
    rounds: u64,
}

struct Wait {
    since: Time,
    deadline: Option<Time>,
}

/// One comparison with everybody.
struct Round {
    /// The blocks of which no other peer is known to have a copy.
    alone: BTreeSet<Key>,
    /// The peers that are compared with now.
    open: BTreeMap<Id, (Peer, Comparison)>,
    /// All that were asked.
    asked: BTreeSet<Id>,
}

impl Part for Safety {
    fn on(&mut self, desk: &mut Desk, ticket: Ticket, reply: Reply) {
        let Some(round) = self.round.as_mut().filter(|_| ticket.number == self.rounds) else { return };
        let id = match reply {
            Reply::Answer(Answered { to: Target { id: Some(id), .. }, answer, .. }) => {
                let Round { alone, open, .. } = round;
                let Some((_, comparison)) = open.get_mut(&id) else { return };
                let found = |key: &Key, held: bool| {
                    if held {
                        alone.remove(key);
                    }
                };
                // Who does not compare is counted for nothing.
                let goes_on = answer.is_ok_and(|answer| comparison.on_answer(&answer, found).is_ok());
                if !goes_on {
                    comparison.give_up();
                }
                id
            }
            Reply::Silence { to: Target { id: Some(id), addr }, .. } => {
                desk.suspect(addr);
                round.open.remove(&id);
                id
            }
            _ => return,
        };
        self.ask(desk, &id);
        self.look(desk);
    }

    fn on_command(&mut self, desk: &mut Desk, id: CommandId, command: Command) {
        let Command::Wait { until: Until::Safe, limit } = command else { return };
        let since = desk.now();
        self.waiting.insert(id, Wait { since, deadline: limit.map(|limit| since + limit) });
        // What is known from before may be in doubt since.
        self.begin(desk);
    }

    fn on_news(&mut self, desk: &mut Desk, news: News<'_>) {
        let Some(round) = &mut self.round else { return };
        match news {
            News::Down(peer) if round.asked.contains(&peer.id) => self.begin(desk),
            News::Held(key) => drop(round.alone.insert(*key)),
            News::Dialled(addr) => self.on_dialled(desk, addr),
            News::Dropped(key) | News::Damaged { key, .. } => {
                round.alone.remove(key);
                self.look(desk);
            }
            _ => {}
        }
    }

    fn on_tick(&mut self, desk: &mut Desk) {
        let now = desk.now();
        let late = self.waiting.iter().filter(|(_, wait)| wait.deadline.is_some_and(|deadline| deadline <= now));
        for id in late.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.waiting.remove(&id);
            let reason = format!("not true in time: {}", self.shortage(desk));
            desk.fail(id, FailureKind::TimedOut, reason);
        }
        if self.again.is_some_and(|due| due <= now) {
            self.begin(desk);
        }
    }

    fn next_wake(&self, _desk: &Desk) -> Option<Time> {
        self.waiting.values().filter_map(|wait| wait.deadline).chain(self.again).min()
    }

    fn end(&mut self, desk: &mut Desk, whose: Option<CommandId>, kind: FailureKind, reason: &str) -> usize {
        let ended: Vec<_> = self.waiting.keys().copied().filter(|id| is_meant(whose, *id)).collect();
        for id in &ended {
            self.waiting.remove(id);
            desk.fail(*id, kind, reason);
        }
        if self.waiting.is_empty() {
            self.stop(desk);
        }
        ended.len()
    }
}

impl Safety {
    /// Begins to compare with everybody, anew.
    fn begin(&mut self, desk: &mut Desk) {
        self.stop(desk);
        if self.waiting.is_empty() {
            return;
        }
        self.rounds += 1;
        let mut regions = Regions::default();
        regions.begin_sweep(desk);
        while !regions.go_on(desk) {}
        let held = desk.holdings().len();
        let others = regions.shares().into_iter();
        let open: BTreeMap<_, _> =
            others.map(|(id, (peer, shares))| (id, (peer, Comparison::new(&shares, held)))).collect();
        let asked: BTreeSet<Id> = open.keys().copied().collect();
        // What nobody wants is no loss.
        let alone = desk.held().map(|(key, _)| key).filter(|key| desk.wanted_size(key).is_some()).collect();
        self.round = Some(Round { alone, open, asked: asked.clone() });
        asked.iter().for_each(|id| self.ask(desk, id));
        self.look(desk);
    }

    /// It is known whether a peer can be connected to, or cannot be known: then it is counted for nothing.
    fn on_dialled(&mut self, desk: &mut Desk, addr: SocketAddr) {
        let Some(round) = &mut self.round else { return };
        let waiting = round.open.iter().filter(|(_, (peer, other))| peer.addr == addr && !other.is_asking());
        for id in waiting.map(|(id, _)| *id).collect::<Vec<_>>() {
            if desk.connects_to(&addr).is_some() {
                self.ask(desk, &id);
            } else if let Some(round) = &mut self.round {
                round.open.remove(&id);
            }
        }
        self.look(desk);
    }

    fn stop(&mut self, desk: &mut Desk) {
        desk.abandon(|ticket| ticket.owner == Owner::Safety);
        (self.round, self.again) = (None, None);
    }

    /// Asks a peer about the next blocks, if any are left. What it holds counts if it can be connected to.
    fn ask(&mut self, desk: &mut Desk, id: &Id) {
        let Some(round) = &mut self.round else { return };
        let Some((peer, comparison)) = round.open.get_mut(id) else { return };
        let addr = peer.addr;
        let next = match desk.connects_to(&addr) {
            None => return desk.dial(addr, Urgency::Own),
            Some(true) => comparison.next(desk.holdings()),
            Some(false) => None,
        };
        match next {
            Some(request) => desk.ask(Ticket::of(Owner::Safety, self.rounds), *peer, request),
            None => drop(round.open.remove(id)),
        }
    }

    /// Answers those who wait, if nothing would be lost.
    fn look(&mut self, desk: &mut Desk) {
        let Some(round) = &self.round else { return };
        if round.alone.is_empty() {
            let now = desk.now();
            for (id, wait) in std::mem::take(&mut self.waiting) {
                desk.answer(id, Answer::Waited { took: now.since(wait.since) });
            }
            self.stop(desk);
        } else if round.open.is_empty() {
            self.again.get_or_insert(desk.now() + PAUSE);
        }
    }

    /// What would be lost, for people.
    fn shortage(&self, desk: &Desk) -> String {
        let alone = self.round.as_ref().map(|round| &round.alone);
        let (count, held) = (alone.map_or(0, BTreeSet::len), desk.holdings().len());
        let such = alone.and_then(BTreeSet::first).map_or_else(String::new, |key| format!(", such as {}", key.short()));
        let shut = match desk.shut() {
            0 => String::new(),
            1 => "; a peer cannot be connected to, and what it holds does not count".to_owned(),
            shut => format!("; {shut} peers cannot be connected to, and what they hold does not count"),
        };
        format!("of {count} of the {held} blocks held here no copy is known elsewhere{such}{shut}")
    }
}
