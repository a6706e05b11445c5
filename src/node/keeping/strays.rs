//! Blocks whose replica set is looked at by itself: copies that this peer should not have and that a member may lack,
//! and blocks that a member's full store refused.

use std::collections::{BTreeMap, BTreeSet};

use super::conduct::Conducts;
use super::regions::{BlockRegion, Regions};
use crate::config::{MAX_REPAIRS, REPAIR_RETRY, REPUBLISH_INTERVAL};
use crate::id::{Id, Key};
use crate::node::desk::Desk;
use crate::node::notice::Notice;
use crate::node::ticket::{About, Answered, PartId, Reply, Ticket};
use crate::node::trouble::Trouble;
use crate::overlay::Goal;
use crate::patience::doubled;
use crate::peer::Peer;
use crate::time::Time;
use crate::wire::{Request, Response};

/// What a ticket is about: a block by itself, or else the comparison with this number and its offers.
pub(super) const STRAY: u64 = 0;

/// Blocks that are begun with in one turn of the node.
const STRAYS_A_TURN: usize = 64;

/// Of so many times the peers that a replica set has, the nearest may stand in for its full members.
pub(super) const NEAR_SETS: usize = 3;

#[derive(Default)]
pub(super) struct StrayBlocks {
    waiting: BTreeSet<Key>,
    running: BTreeMap<Key, SetCheck>,
    /// Blocks whose sets could not be filled.
    failed: BTreeSet<Key>,
    /// When those wait again.
    retry: Option<Time>,
    /// How often in a row they did.
    rounds: u32,
}

/// A block whose replica set is being looked at.
#[derive(Default)]
struct SetCheck {
    /// Peers that a lookup met and that hold it.
    holders: Vec<Id>,
    /// Questions and offers without an answer.
    open: usize,
    /// A peer did not take it.
    failed: bool,
}

impl StrayBlocks {
    /// The replica set of a block that is held here is to be looked at.
    pub(super) fn add(&mut self, key: Key) {
        if !self.running.contains_key(&key) && !self.failed.contains(&key) {
            self.waiting.insert(key);
        }
    }

    pub(super) fn next_wake(&self, now: Time, opens: Time) -> Option<Time> {
        let free = !self.waiting.is_empty() && self.running.len() < MAX_REPAIRS;
        if free { Some(opens.max(now)) } else { self.retry }
    }

    pub(super) fn under_way(&self) -> usize {
        self.running.len()
    }

    pub(super) fn check(&self) -> bool {
        self.running.len() <= MAX_REPAIRS && self.failed.is_empty() == self.retry.is_none()
    }

    /// Begins with as many blocks as may be under way.
    pub(super) fn go_on(&mut self, desk: &mut Desk, regions: &Regions, conducts: &Conducts) {
        if self.retry.is_some_and(|due| due <= desk.now()) {
            self.retry = None;
            self.rounds += 1;
            self.waiting.append(&mut self.failed);
        }
        for _ in 0..STRAYS_A_TURN {
            if self.running.len() >= MAX_REPAIRS || desk.is_leaving() || desk.repair_opens() > desk.now() {
                return;
            }
            let Some(key) = self.waiting.pop_first() else { break };
            if let Some(region) = regions.of(desk, &key).filter(|_| desk.holds(&key)) {
                self.begin(desk, key, region, conducts);
            }
        }
        if self.waiting.is_empty() && self.running.is_empty() && self.failed.is_empty() {
            self.rounds = 0;
        }
    }

    fn begin(&mut self, desk: &mut Desk, key: Key, region: &BlockRegion, conducts: &Conducts) {
        if region.stray {
            self.running.insert(key, SetCheck { open: 1, ..SetCheck::default() });
            desk.look_up(ticket(key), key, Goal::Holders);
            return;
        }
        // The peers next to the set stand in for its members that are full or cannot be connected to.
        let now = desk.now();
        let is_full = |peer: &&Peer| conducts.is_full(&peer.id, now) || desk.is_shut(&peer.addr);
        let wanted = region.members.iter().filter(is_full).count();
        let near = desk.replica_set(&key, desk.copies_of(&key) * NEAR_SETS);
        let outside = |peer: &&Peer| !desk.is_me(peer) && region.members.iter().all(|member| member.id != peer.id);
        let stand_ins: Vec<&Peer> = near.iter().filter(outside).filter(|peer| !is_full(peer)).take(wanted).collect();
        if !stand_ins.is_empty() {
            self.running.insert(key, SetCheck { open: stand_ins.len(), ..SetCheck::default() });
        }
        for peer in stand_ins {
            desk.ask_for_repair(ticket(key), *peer, Request::FindValue { key });
        }
    }

    pub(super) fn on(&mut self, desk: &mut Desk, ticket: Ticket, reply: Reply, conducts: &mut Conducts) {
        let About::Block(key) = ticket.about else { return };
        let Some(check) = self.running.get_mut(&key) else { return };
        match reply {
            Reply::Holder(peer) => return check.holders.push(peer.id),
            Reply::Found(found) => {
                check.open -= 1;
                // The set is those nearest that hold it, or take it.
                let now = desk.now();
                // The word of a peer counts that has shown another block.
                let shows = |peer: &Peer| conducts.is_honest(&peer.id) && !desk.is_shut(&peer.addr);
                let holds = |peer: &Peer| desk.is_me(peer) || check.holders.contains(&peer.id) && shows(peer);
                let is_out = |peer: &Peer| conducts.is_full(&peer.id, now) || desk.is_shut(&peer.addr);
                let able = |peer: &Peer| holds(peer) || !is_out(peer);
                let lied = |peer: &Peer| conducts.has_lied(&peer.id);
                let further = if found.peers.iter().any(lied) { desk.behind_liars(&key) } else { Vec::new() };
                let further = further.into_iter().filter(|peer| !found.peers.contains(peer));
                let set = found.peers.iter().copied().chain(further).filter(able).take(desk.copies_of(&key));
                for peer in set.filter(|peer| !holds(peer)).collect::<Vec<_>>() {
                    check.open += offer(desk, key, peer);
                }
            }
            Reply::Answer(Answered { to, answer, .. }) => {
                check.open -= 1;
                let (Some(peer), Ok(answer)) = (to.peer(), answer) else { return self.end_if_over(desk, key) };
                let holds = matches!(answer, Response::Node(_) | Response::Holder { .. });
                let believed = conducts.is_honest(&peer.id);
                if matches!(answer, Response::Nodes(_)) || holds && !believed {
                    check.open += offer(desk, key, peer);
                }
            }
            Reply::Silence { to, .. } => {
                desk.suspect(to.addr);
                check.open -= 1;
                check.failed = true;
            }
            Reply::OfferEnded { to, result } => {
                check.open -= 1;
                conducts.judge(&to.id, desk.now(), &result);
                match result {
                    Ok(_) => desk.notify(Notice::BlockRepaired { key, to }),
                    Err(refusal) => {
                        check.failed = true;
                        desk.trouble(Trouble::NotTaken { key, to, reason: refusal.to_string() });
                    }
                }
            }
            Reply::Done { .. } | Reply::RouteEnded(_) | Reply::LateProof(_) | Reply::Claimed { .. } => {}
        }
        self.end_if_over(desk, key);
    }

    /// A block has been looked at when nothing is waited for any more.
    fn end_if_over(&mut self, desk: &mut Desk, key: Key) {
        let is_over = self.running.get(&key).is_some_and(|check| check.open == 0);
        if is_over && self.running.remove(&key).is_some_and(|check| check.failed) {
            self.failed.insert(key);
            let wait = doubled(REPAIR_RETRY, self.rounds, REPUBLISH_INTERVAL);
            self.retry = self.retry.or_else(|| Some(desk.now() + desk.jittered(wait)));
        }
    }
}

fn ticket(key: Key) -> Ticket {
    Ticket { owner: PartId::Repair, number: STRAY, about: About::Block(key) }
}

/// Offers a block to a peer that lacks it. How many offers that makes.
fn offer(desk: &mut Desk, key: Key, to: Peer) -> usize {
    let Some(size) = desk.wanted_size(&key) else { return 0 };
    desk.offer_for_repair(ticket(key), (key, size), to);
    1
}
