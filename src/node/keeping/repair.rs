//! Keeping replica sets full.
//!
//! The blocks held here fall into [regions](super::regions), each with the peers that should hold it. With each of
//! those peers this one compares what is held, range by range, after a peer came or went and otherwise once an hour
//! ([`REPUBLISH_INTERVAL`](crate::config::REPUBLISH_INTERVAL)). A block that has come is compared by itself. So a check
//! costs each such peer a request for each class, and for each 2,048 blocks where more are held.
//!
//! What the other lacks it is offered. So that not every peer offers it, each block has one peer whose duty that is: of
//! its members, the one whose id is nearest to the key. The others look again after a while, and take over where the
//! number of missing blocks has not shrunk.
//!
//! A block that this peer should not hold, and one that a member's full store refused, has its replica set
//! [looked at by itself](super::strays). A peer that does not answer, or takes nothing, is tried ever more rarely; and
//! whatever happens, upkeep spends no more than its [budget](crate::node::budget).

use std::net::SocketAddr;
use std::time::Duration;

use super::comparison;
use super::conduct::Conducts;
use super::neighbours::{ComparisonPass, Neighbour, NeighbourTable, WINDOW};
use super::regions::Regions;
use super::strays::{STRAY, StrayBlocks};
use crate::config::{REPAIR_DELAY, REPAIR_RETRY};
use crate::id::{Id, Key};
use crate::node::budget::Favours;
use crate::node::desk::Desk;
use crate::node::job::Urgency;
use crate::node::notice::Notice;
use crate::node::part::Part;
use crate::node::refusal::Refusal;
use crate::node::ticket::{About, Answered, News, PartId, Reply, Taken, Ticket};
use crate::node::trouble::Trouble;
use crate::overlay::Asker;
use crate::peer::Peer;
use crate::time::Time;
use crate::wire::{Request, RequestKind, Response};

/// From one look through all regions to the next it takes this long at least.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Blocks that a peer lacks and that are looked through in one turn of the node.
const LACKED_A_TURN: usize = 256;

/// Comparisons of others that are answered in a second, in all.
const COMPARISONS_A_SECOND: u32 = 400;

/// An answer counts as one more comparison for each so many looks that it took.
const LOOKS_A_COMPARISON: usize = 4096;

/// What this peer owes to the replica sets of its blocks.
#[derive(Default)]
pub(in crate::node) struct Repair {
    regions: Regions,
    neighbours: NeighbourTable,
    conducts: Conducts,
    /// The number of the last comparison. The first has 1: [`STRAY`] stands for none.
    last_pass: u64,
    strays: StrayBlocks,
    /// When the regions are looked through anew.
    sweep_due: Option<Time>,
    /// When that was begun last.
    swept: Time,
    answers: Favours<COMPARISONS_A_SECOND>,
}

impl Part for Repair {
    fn on(&mut self, desk: &mut Desk, ticket: Ticket, reply: Reply) {
        if ticket.number == STRAY {
            self.strays.on(desk, ticket, reply, &mut self.conducts);
            return self.strays.go_on(desk, &self.regions, &self.conducts);
        }
        match (ticket.about, reply) {
            (About::Whole, Reply::Answer(Answered { to, answer, .. })) => {
                if let Some(peer) = to.id {
                    self.on_compared(desk, ticket.number, &peer, answer);
                }
            }
            (About::Whole, Reply::Silence { to, .. }) => {
                desk.suspect(to.addr);
                if let Some(peer) = to.id {
                    self.on_failed(desk, ticket.number, &peer);
                }
            }
            (About::Block(key), Reply::OfferEnded { to, result }) => {
                self.on_offer_ended(desk, ticket.number, key, to, result)
            }
            _ => {}
        }
    }

    /// Another peer compares what it holds with what is held here.
    fn on_request(&mut self, desk: &mut Desk, asker: Asker, request: Request) {
        let Request::Compare { ranges, held, copies } = request else { return };
        let now = desk.now();
        if desk.is_leaving() {
            return desk.refuse(&asker, Refusal::Leaving);
        }
        if !desk.has_proof(&asker) {
            return;
        }
        let Some(favour) = desk.grant(&mut self.answers, &asker, 1) else {
            return desk.refuse(&asker, Refusal::Busy);
        };
        let (response, extra, looks) = comparison::answer(desk.holdings(), &ranges, &held, copies);
        self.answers.charge(desk.now(), favour, (looks / LOOKS_A_COMPARISON) as u32);
        desk.respond(&asker, RequestKind::Compare, response);
        let surprised = |neighbour: &&mut Neighbour| neighbour.peer.addr == asker.addr && neighbour.holds_all();
        if extra && let Some(neighbour) = self.neighbours.values_mut().find(surprised) {
            neighbour.wake(self.conducts.of(&neighbour.peer.id).earliest(now + REPAIR_DELAY));
        }
    }

    fn on_news(&mut self, desk: &mut Desk, news: News<'_>) {
        match news {
            News::Up => self.plan_sweep(desk),
            News::Down(peer) => {
                self.neighbours.remove(&peer.id);
                self.conducts.left(&peer.id);
                self.plan_sweep(desk);
            }
            // Where they belong may have changed while this peer was away.
            News::StoreRead { .. } => self.plan_sweep(desk),
            News::Held(key) | News::Recounted(key) => self.watch(desk, key),
            News::Dialled(addr) => self.on_dialled(desk, addr),
            _ => {}
        }
    }

    fn on_tick(&mut self, desk: &mut Desk) {
        if desk.is_leaving() {
            return;
        }
        if !self.regions.are_all_known(desk) {
            self.plan_sweep(desk);
        }
        if self.sweep_due.is_some_and(|due| due <= desk.now()) {
            self.sweep_due = None;
            self.swept = desk.now();
            self.regions.begin_sweep(desk);
        }
        if self.regions.go_on(desk) {
            self.share_out(desk, desk.now());
        }
        let now = desk.now();
        let (mut ready, most) = (Vec::new(), comparison::begun_a_turn(desk.holdings().len()));
        for (id, neighbour) in &mut self.neighbours {
            if ready.len() == most {
                // The others have theirs: what is due and ready wakes the node at once.
                break;
            }
            if neighbour.due().is_some_and(|due| due <= now) {
                self.last_pass += 1;
                let has_grown = neighbour.begin(now, self.last_pass, desk.holdings().len());
                self.conducts.note(id, |conduct| conduct.begin(now, has_grown));
            }
            ready.extend(neighbour.pass.as_ref().is_some_and(|pass| pass.is_ready()).then_some(*id));
        }
        for id in ready {
            self.go_on(desk, &id);
        }
        self.strays.go_on(desk, &self.regions, &self.conducts);
    }

    fn next_wake(&self, desk: &Desk) -> Option<Time> {
        if desk.is_leaving() {
            return None;
        }
        let now = desk.now();
        let opens = desk.repair_opens();
        let wake = |neighbour: &Neighbour| match &neighbour.pass {
            Some(pass) => pass.is_ready().then_some(opens.max(now)),
            None => neighbour.due().map(|due| due.max(opens)),
        };
        let news = self.sweep_due.is_none() && !self.regions.are_all_known(desk) && desk.holdings().len() > 0;
        let sweep = if self.regions.is_sweeping() || news { Some(now) } else { self.sweep_due };
        self.neighbours.values().filter_map(wake).chain(sweep).chain(self.strays.next_wake(now, opens)).min()
    }

    fn under_way(&self) -> usize {
        let passes = self.neighbours.values().filter(|neighbour| neighbour.pass.is_some()).count();
        passes + self.strays.under_way() + usize::from(self.regions.is_sweeping())
    }

    /// Whether each block held here has its region, or will have.
    fn check(&self, desk: &Desk) -> Result<(), String> {
        let watched = desk.config().guest
            || desk.is_leaving()
            || self.sweep_due.is_some()
            || self.regions.is_sweeping()
            || !self.regions.are_all_known(desk)
            || desk.held().all(|(key, _)| self.regions.of(desk, &key).is_some());
        let right = watched && self.regions.check() && self.strays.check();
        right.then_some(()).ok_or_else(|| {
            "a block is held and never checked, or the regions or strays contradict themselves".to_owned()
        })
    }
}

impl Repair {
    /// Peers came or went: soon the regions are looked through, once for many such news.
    fn plan_sweep(&mut self, desk: &Desk) {
        if desk.holdings().len() > 0 {
            let soon = (desk.now() + REPAIR_DELAY).max(self.swept + SWEEP_EVERY);
            self.sweep_due.get_or_insert(soon);
        }
    }

    /// What a neighbour holds counts from now on, or does not: it is compared with anew.
    fn on_dialled(&mut self, desk: &Desk, addr: SocketAddr) {
        let (conducts, now) = (&self.conducts, desk.now());
        for (id, neighbour) in self.neighbours.iter_mut().filter(|(_, neighbour)| neighbour.peer.addr == addr) {
            if desk.is_shut(&addr) || neighbour.lacks() {
                neighbour.wake(conducts.of(id).earliest(now + REPAIR_DELAY));
            }
        }
    }

    /// A block is held here from now on. Its sender may have died half-way, or been cut off from those that should hold
    /// it: before long they are asked about it.
    fn watch(&mut self, desk: &mut Desk, key: &Key) {
        let soon = desk.now() + desk.jittered(REPAIR_RETRY);
        if self.regions.add(desk, key) {
            self.share_out(desk, soon);
        }
        let (class, held) = (desk.holdings().class(key), desk.holdings().len());
        for peer in self.regions.of(desk, key).iter().flat_map(|region| region.compared()) {
            if let Some(neighbour) = self.neighbours.get_mut(&peer.id) {
                neighbour.hear_of(self.conducts.of(&peer.id).earliest(soon), class, key, held);
            }
        }
    }

    /// Tells each neighbour's state what that peer should hold. A peer that should hold more than before is compared
    /// with at `at`.
    fn share_out(&mut self, desk: &Desk, at: Time) {
        let now = desk.now();
        let shares = self.regions.shares();
        self.neighbours.retain(|id, _| shares.contains_key(id));
        for (id, (peer, shares)) in shares {
            let neighbour = self.neighbours.entry(id).or_insert_with(|| Neighbour::new(now, peer));
            if neighbour.peer != peer || !neighbour.shares_all(&shares) {
                neighbour.grow(self.conducts.of(&peer.id).earliest_grown(at));
            }
            (neighbour.peer, neighbour.shares) = (peer, shares);
        }
    }

    /// Goes on to compare with a peer, and to offer it what it lacks.
    fn go_on(&mut self, desk: &mut Desk, id: &Id) {
        let now = desk.now();
        // A peer that lacks blocks itself may lack this one, a full one takes none, and no other can have it from a
        // peer that cannot be connected to: the duty is another's.
        let is_out = |id: &Id, other: &Neighbour| self.conducts.is_full(id, now) || desk.is_shut(&other.peer.addr);
        let is_unfit = |id: &Id, other: &Neighbour| other.lacks() || is_out(id, other);
        let unfit: Vec<Id> =
            self.neighbours.iter().filter(|(id, other)| is_unfit(id, other)).map(|(id, _)| *id).collect();
        let is_full = self.neighbours.get(id).is_some_and(|neighbour| is_out(id, neighbour));
        let Some(neighbour) = self.neighbours.get_mut(id) else { return };
        let takes_over = neighbour.takes_over();
        for _ in 0..LACKED_A_TURN {
            let Some(pass) = &mut neighbour.pass else { return };
            if desk.repair_opens() > now || pass.offered >= WINDOW {
                return;
            }
            if let Some(key) = pass.lacking.pop_front() {
                let Some(region) = self.regions.of(desk, &key) else { continue };
                let others = region.members.iter().filter(|peer| peer.id != *id && !unfit.contains(&peer.id));
                let mine = !region.stray && is_nearest(&desk.me().id, &key, others);
                match desk.wanted_size(&key) {
                    // The peer whose duty it is finds one to stand in for a full peer.
                    Some(_) if !mine && is_full && !region.stray => {}
                    Some(_) if !mine && !takes_over => pass.left += 1,
                    Some(_) if is_full || region.stray => self.strays.add(key),
                    Some(size) => pass.offer(desk, (key, size), neighbour.peer),
                    None => {}
                }
            } else if pass.comparison.is_asking() {
                return;
            } else if let Some(request) = pass.next(desk.holdings()) {
                return desk.ask_for_repair(Ticket::of(PartId::Repair, pass.number), neighbour.peer, request);
            } else {
                if pass.offered == 0 {
                    self.conducts.note(id, |conduct| neighbour.end(now, conduct, |wait| desk.jittered(wait)));
                }
                return;
            }
        }
    }

    /// The comparison with a peer that has this number, if it is under way.
    fn pass(&mut self, number: u64, id: &Id) -> Option<&mut ComparisonPass> {
        self.neighbours.get_mut(id)?.pass.as_deref_mut().filter(|pass| pass.number == number)
    }

    /// A peer answered what it was asked.
    fn on_compared(&mut self, desk: &mut Desk, number: u64, id: &Id, answer: Result<Response, Refusal>) {
        let at = self.neighbours.get(id).map(|neighbour| neighbour.peer.addr);
        if let Some(addr) = at {
            desk.dial(addr, Urgency::Others);
        }
        let counts = !self.conducts.has_lied(id) && !at.is_some_and(|addr| desk.is_shut(&addr));
        let mut claimed = Vec::new();
        let Some(pass) = self.pass(number, id).filter(|pass| pass.comparison.is_asking()) else { return };
        let lacking = &mut pass.lacking;
        // A peer that lied, or cannot be connected to, lacks all that it says that it holds.
        let found = |key: &Key, held: bool| {
            if held && counts { claimed.push(*key) } else { lacking.push_back(*key) }
        };
        if !pass.comparison.hear(answer, found) {
            return self.on_failed(desk, number, id);
        }
        pass.lacks |= !pass.lacking.is_empty();
        if pass.probe.is_none() && self.conducts.is_to_show(id, desk.now()) {
            self.probe(desk, id, &claimed);
        }
        self.go_on(desk, id);
    }

    /// Any peer can say that nothing is missing. Now and then a peer is offered one of the blocks that it says it
    /// holds, so that it has to show it, and cannot know which.
    fn probe(&mut self, desk: &mut Desk, id: &Id, claimed: &[Key]) {
        let Some(key) = desk.any_to_show(claimed) else { return };
        let Some(size) = desk.wanted_size(&key) else { return };
        let Some(neighbour) = self.neighbours.get_mut(id) else { return };
        if let Some(pass) = &mut neighbour.pass {
            pass.probe = Some(key);
            pass.offer(desk, (key, size), neighbour.peer);
        }
    }

    /// A peer cannot be compared with now.
    fn on_failed(&mut self, desk: &mut Desk, number: u64, id: &Id) {
        if let Some(pass) = self.pass(number, id) {
            pass.give_up();
            self.go_on(desk, id);
        }
    }

    /// A peer took a block, or did not.
    fn on_offer_ended(&mut self, desk: &mut Desk, number: u64, key: Key, to: Peer, result: Result<Taken, Refusal>) {
        let is_full = self.conducts.judge(&to.id, desk.now(), &result);
        if is_full {
            self.strays.add(key);
        }
        let mut was_probe = false;
        if let Some(pass) = self.pass(number, &to.id) {
            pass.offered -= 1;
            was_probe = pass.probe.take_if(|probe| *probe == key).is_some();
            if matches!(result, Err(Refusal::Unjudged(_))) || was_probe && result == Ok(Taken::Unclear) {
                // That is no fault of its. It is to show another block next time.
            } else if was_probe && result != Ok(Taken::Had) {
                // What it says of the others is worth nothing: it is compared with anew.
                pass.give_up();
            } else if result.is_err() && !is_full {
                pass.refused();
            }
        }
        match result {
            Ok(Taken::Had | Taken::Unclear) if was_probe => {}
            Ok(Taken::Pulled) if was_probe => self.conducts.boasted(&to.id, desk.now()),
            Ok(_) => desk.notify(Notice::BlockRepaired { key, to }),
            Err(refusal) => desk.trouble(Trouble::NotTaken { key, to, reason: refusal.to_string() }),
        }
        self.go_on(desk, &to.id);
        self.strays.go_on(desk, &self.regions, &self.conducts);
    }
}

/// Whether `me` is nearer to the key than any of these peers.
fn is_nearest<'a>(me: &Id, key: &Key, mut peers: impl Iterator<Item = &'a Peer>) -> bool {
    let distance = me.distance(key);
    peers.all(|peer| distance < peer.id.distance(key))
}
