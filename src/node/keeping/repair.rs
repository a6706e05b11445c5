//! Keeping replica sets full.
//!
//! When a peer comes or goes, every block whose replica set it concerns is checked; and each block is checked once in
//! [`REPUBLISH_INTERVAL`] anyway. A check begins with the nearer peers that should hold the block: if enough of them say
//! they do ([`DUTY_HOLDERS`]), the block is their duty and the check is over. Otherwise this peer is one of the block's
//! nearest live holders: it looks up the replica set and offers the block to each member that lacks it. An offer of what
//! is there already costs one datagram each way, so two peers on the same duty do no harm; and one peer that lies about
//! what it holds does not stop the repair.
//!
//! After news more is asked. Who has the duty may not have noticed what happened to a peer far from itself, so any other
//! holder that did asks all that should hold the block, as far as it knows them, and offers it to those that lack it. This
//! goes for copies outside the set too: it can be that nobody within it has noticed.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::config::{MAX_REPAIRS, REPAIR_DELAY, REPAIR_RETRY, REPUBLISH_INTERVAL};
use crate::id::Key;
use crate::node::desk::Desk;
use crate::node::jobs::Urgency;
use crate::node::notice::Notice;
use crate::node::part::{Answered, News, Owner, Part, Reply, Step, Ticket};
use crate::node::trouble::Trouble;
use crate::overlay::{Goal, Target};
use crate::peer::Peer;
use crate::time::Time;
use crate::wire::{Request, Response};

/// Nearer peers that must say they hold a block before this one leaves its repair to them.
const DUTY_HOLDERS: usize = 2;

/// More news than this at a time concern every block, without asking for each.
const MANY_NEWS: usize = 8;

/// The checks under way. When each other block is checked next stands with the holdings.
#[derive(Default)]
pub(in crate::node) struct Repair {
    running: BTreeMap<Key, Check>,
    /// Peers that came or went and whose blocks are not scheduled yet, and when they will be.
    news: Vec<Peer>,
    news_due: Option<Time>,
}

/// A check under way.
struct Check {
    /// Peers that were found to hold it.
    holders: Vec<Peer>,
    /// Nearer peers that were not asked yet whether they hold the block.
    nearer: VecDeque<Peer>,
    /// The other peers that should hold it, as far as this peer knows; only after news.
    further: Vec<Peer>,
    /// Nearer peers that say they hold it.
    claims: usize,
    /// Questions without an answer.
    asked: usize,
    /// Peers that should hold it and do not say so.
    lacking: Vec<Peer>,
    /// The check is due to news.
    stirred: bool,
    /// Offers without an answer.
    offered: usize,
    missing: usize,
    /// News came while the check ran: check again.
    again: bool,
}

impl Part for Repair {
    fn on(&mut self, desk: &mut Desk, ticket: Ticket, reply: Reply) {
        let Step::Block(key) = ticket.step else { return };
        match reply {
            Reply::Answer(Answered { to, answer, .. }) => {
                self.on_probe(desk, key, to, matches!(answer, Ok(Response::Node(_))));
            }
            Reply::Silence { to, .. } => {
                desk.suspect(to.addr);
                self.on_probe(desk, key, to, false);
            }
            Reply::Holder(peer) => {
                if let Some(check) = self.running.get_mut(&key) {
                    check.holders.push(peer);
                }
            }
            Reply::Found(found) => self.on_found(desk, key, found.peers),
            Reply::Offered { to, result } => self.on_offered(desk, key, to, result),
            Reply::Done { .. } | Reply::Settled(_) => {}
        }
    }

    fn on_news(&mut self, desk: &mut Desk, news: News<'_>) {
        match news {
            News::Up(peer) | News::Down(peer) => self.on_peer_change(desk, peer),
            News::Found => {
                // Where they belong may have changed while this peer was away.
                let soon = desk.now() + REPAIR_DELAY * 2;
                let times = (0..desk.holdings().len()).map(|_| soon + desk.jittered(REPAIR_DELAY * 4)).collect();
                desk.holdings_mut().plan_all(times);
            }
            News::Held(key) => self.watch(desk, *key),
            _ => {}
        }
    }

    /// Starts the checks that are due.
    fn on_tick(&mut self, desk: &mut Desk) {
        if self.news_due.is_some_and(|due| due <= desk.now()) {
            self.take_news(desk);
        }
        while self.running.len() < MAX_REPAIRS && !desk.is_leaving() {
            let now = desk.now();
            let Some((key, stirred)) = desk.holdings_mut().take_due(now) else { break };
            self.start(desk, key, stirred);
        }
    }

    fn next_wake(&self, desk: &Desk) -> Option<Time> {
        let due = desk.holdings().next_due().filter(|_| self.running.len() < MAX_REPAIRS);
        [due, self.news_due].into_iter().flatten().min().filter(|_| !desk.is_leaving())
    }

    fn under_way(&self) -> usize {
        self.running.len()
    }

    /// Whether what is scheduled and what is held agree.
    fn check(&self, desk: &Desk) -> Result<(), String> {
        let known = |key: &Key| desk.holdings().due(key).is_some() || self.running.contains_key(key);
        let watched = desk.config().guest || desk.is_leaving() || desk.held().all(|(key, _)| known(&key));
        let right = watched && self.running.len() <= MAX_REPAIRS;
        right.then_some(()).ok_or_else(|| "a block is held and never checked".to_owned())
    }
}

impl Repair {
    /// A block is held here from now on. Its sender may have died half-way, or been cut off from those that should hold
    /// it: it is looked after soon, and then in due time.
    fn watch(&mut self, desk: &mut Desk, key: Key) {
        if desk.holdings().due(&key).is_none() && !self.running.contains_key(&key) {
            plan(desk, &key, REPAIR_RETRY);
        }
    }

    /// A peer came or went: the blocks that it concerns are checked soon, many such news at once.
    fn on_peer_change(&mut self, desk: &mut Desk, peer: &Peer) {
        if desk.held().next().is_some() && !desk.is_leaving() {
            self.news.push(*peer);
            self.news_due.get_or_insert(desk.now() + REPAIR_DELAY);
        }
    }

    /// Schedules the blocks that the news concern.
    fn take_news(&mut self, desk: &mut Desk) {
        self.news_due = None;
        let news = std::mem::take(&mut self.news);
        let latest = desk.now() + REPAIR_DELAY;
        let concerned =
            |key: &Key, desk: &Desk| news.len() > MANY_NEWS || news.iter().any(|peer| desk.concerns(key, peer));
        let keys: Vec<Key> = desk.held().map(|(key, _)| key).filter(|key| concerned(key, desk)).collect();
        for key in keys {
            desk.holdings_mut().stir(&key);
            if let Some(check) = self.running.get_mut(&key) {
                check.again = true;
            } else if desk.holdings().due(&key).is_none_or(|due| due > latest) {
                plan(desk, &key, REPAIR_DELAY);
            }
        }
    }

    fn start(&mut self, desk: &mut Desk, key: Key, stirred: bool) {
        let set = desk.replica_set(&key, desk.config().replicas);
        desk.share_with(&set);
        let rank = set.iter().position(|peer| desk.is_me(peer)).unwrap_or(set.len());
        let further = if stirred { set.iter().skip(rank + 1).copied().collect() } else { Vec::new() };
        let nearer = set.into_iter().take(rank).collect();
        let check = Check {
            holders: Vec::new(),
            nearer,
            further,
            claims: 0,
            asked: 0,
            lacking: Vec::new(),
            stirred,
            offered: 0,
            missing: 0,
            again: false,
        };
        self.running.insert(key, check);
        self.ask_nearer(desk, key);
    }

    /// Asks the next nearer peer whether the block is its duty; if nobody is left to ask, it is ours.
    fn ask_nearer(&mut self, desk: &mut Desk, key: Key) {
        let Some(check) = self.running.get_mut(&key) else { return };
        match check.nearer.pop_front() {
            Some(to) => {
                check.asked += 1;
                desk.ask(Ticket::block(Owner::Repair, key), to, Request::FindValue { key });
            }
            None => {
                desk.look_up(Ticket::block(Owner::Repair, key), key, Goal::Holders);
            }
        }
    }

    /// A peer said whether it holds the block; silence is a no.
    fn on_probe(&mut self, desk: &mut Desk, key: Key, to: Target, holds: bool) {
        let Some((check, to)) = self.running.get_mut(&key).zip(to.peer()) else { return };
        check.asked -= 1;
        check.claims += usize::from(holds);
        if !holds {
            check.lacking.push(to);
        }
        if check.claims < DUTY_HOLDERS {
            return self.ask_nearer(desk, key);
        }
        if check.stirred {
            let rest: Vec<Peer> = check.nearer.drain(..).chain(check.further.drain(..)).collect();
            for to in rest {
                check.asked += 1;
                desk.ask(Ticket::block(Owner::Repair, key), to, Request::FindValue { key });
            }
        }
        if check.asked == 0 {
            let lacking = if check.stirred { std::mem::take(&mut check.lacking) } else { Vec::new() };
            self.offer(desk, key, lacking);
        }
    }

    /// The replica set is known, and who of it holds the block: the others are offered it.
    fn on_found(&mut self, desk: &mut Desk, key: Key, peers: Vec<Peer>) {
        let holders = self.running.get_mut(&key).map_or(Vec::new(), |check| std::mem::take(&mut check.holders));
        let lacks = |peer: &Peer| !desk.is_me(peer) && !holders.iter().any(|holder| holder.id == peer.id);
        let lacking = peers.into_iter().take(desk.config().replicas).filter(lacks).collect();
        self.offer(desk, key, lacking);
    }

    /// Offers a block to those that should hold it and do not.
    fn offer(&mut self, desk: &mut Desk, key: Key, lacking: Vec<Peer>) {
        let Some(check) = self.running.get_mut(&key) else { return };
        let Some(size) = desk.size_of(&key).filter(|_| !lacking.is_empty()) else {
            return self.end(desk, key, REPUBLISH_INTERVAL);
        };
        for peer in lacking {
            check.offered += 1;
            desk.offer(Ticket::block(Owner::Repair, key), Urgency::Others, (key, size), peer);
        }
    }

    /// A peer took a block, or did not.
    fn on_offered(&mut self, desk: &mut Desk, key: Key, to: Peer, result: Result<(), String>) {
        let Some(check) = self.running.get_mut(&key) else { return };
        check.offered -= 1;
        match result {
            Ok(()) => desk.notify(Notice::BlockRepaired { key, to }),
            Err(reason) => {
                desk.trouble(Trouble::NotTaken { key, to, reason });
                check.missing += 1;
            }
        }
        if check.offered == 0 {
            let next = if check.missing == 0 { REPUBLISH_INTERVAL } else { REPAIR_RETRY };
            if check.missing > 0 && check.stirred {
                desk.holdings_mut().stir(&key);
            }
            self.end(desk, key, next);
        }
    }

    fn end(&mut self, desk: &mut Desk, key: Key, next: Duration) {
        let Some(check) = self.running.remove(&key) else { return };
        if check.again {
            let soon = desk.now() + REPAIR_DELAY;
            desk.holdings_mut().plan(&key, soon);
        } else {
            plan(desk, &key, next);
        }
        self.on_tick(desk);
    }
}

/// A block is checked after about `wait`.
fn plan(desk: &mut Desk, key: &Key, wait: Duration) {
    let at = desk.now() + desk.jittered(wait);
    desk.holdings_mut().plan(key, at);
}
