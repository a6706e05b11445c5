//! The iterative lookup (section 2.3): ask the nearest peers known for nearer ones, until nobody nearer is left.
//!
//! The *shortlist* holds everybody named so far, nearest first. ALPHA questions are out at a time. When an answer
//! brings nobody nearer, all of the WIDTH nearest are asked at once. A peer that keeps us waiting longer than usual is
//! *overdue*: its answer still counts, but it no longer occupies a place, so a dead peer costs no pause. Who fails is
//! struck. The lookup is over when the WIDTH nearest that are left have all answered.
//!
//! A question asks two things: who is nearer, and are you alive? A contact that answered a moment ago (it is *fresh*)
//! need not say again that it lives, and the ALPHA nearest know their neighbourhood; so the fresh ones behind them are
//! not asked. In a busy network that saves most questions. Lookups of our own, which fill the table, ask everybody.
//!
//! Names are hearsay, so the lookup believes little. An address stands in the shortlist once. A peer that is not in the
//! routing table is also pinged, and counts only if it answers under the id that it was named with. Thus a liar can
//! neither put the dead into a result nor itself at many places.

use std::net::SocketAddr;

use super::ALPHA;
use crate::config::WIDTH;
use crate::id::{Id, Key};
use crate::overlay::{Goal, LookupId};
use crate::peer::Peer;
use crate::wire::Request;

/// Questions a lookup asks at most: far more than any network needs, and few enough for liars to win nothing.
const MAX_QUESTIONS: u32 = 400;

/// Whose lookup it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Name {
    /// The node's.
    User(LookupId),
    /// Our own, to fill or refresh the table.
    Own(u64),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Named, not asked.
    New,
    /// Asked a moment ago.
    Asked,
    /// Asked, and it takes long.
    Overdue,
    /// It answered.
    Answered,
    /// It did not.
    Failed,
    /// It was not who it was said to be, or said goodbye.
    Void,
}

/// Whether a peer is to be asked a second time, because its first answer may have left out names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Again {
    No,
    Wanted,
    Done,
}

#[derive(Clone, Debug)]
struct Entry {
    peer: Peer,
    distance: Id,
    state: State,
    /// It has proved that it has this id at this address.
    proven: bool,
    /// A contact that answered us a moment ago.
    fresh: bool,
    /// It was asked before it knew that we receive what is sent to us.
    stranger: bool,
    again: Again,
    /// It says that it holds the block.
    holds: bool,
    /// Requests in the chain that leads to it.
    depth: u32,
}

impl Entry {
    /// Whether it is out of the search.
    fn is_out(&self) -> bool {
        matches!(self.state, State::Failed | State::Void)
    }

    fn lives(&self) -> bool {
        self.state == State::Answered && self.proven || self.is_spared()
    }

    fn is_done(&self) -> bool {
        self.state == State::Answered && self.proven && self.again != Again::Wanted
    }

    /// Whether it is among the living though it was not asked.
    fn is_spared(&self) -> bool {
        self.state == State::New && self.fresh
    }
}

/// What a lookup wants to ask.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Question {
    pub(super) peer: Peer,
    pub(super) request: Request,
    /// A ping shall go along, for it has yet to prove its id.
    pub(super) prove: bool,
}

pub(super) struct Lookup {
    pub(super) key: Key,
    pub(super) goal: Goal,
    me: Id,
    shortlist: Vec<Entry>,
    /// The last answer brought nobody nearer.
    wide: bool,
    asked: u32,
    /// Names that an answer has at least: whoever gives fewer may have yet to learn that we receive what is sent to us.
    expected: usize,
}

impl Lookup {
    /// A lookup that starts from peers in the routing table; `is_fresh` says which of them need not be asked whether
    /// they live.
    pub(super) fn new(key: Key, goal: Goal, me: Id, start: Vec<Peer>, is_fresh: impl Fn(&Peer) -> bool) -> Self {
        // Each of them knows the others, but for itself.
        let expected = start.len().saturating_sub(1).min(WIDTH);
        let mut lookup = Self { key, goal, me, shortlist: Vec::new(), wide: false, asked: 0, expected };
        for peer in start {
            lookup.offer(peer, 1, false);
        }
        for entry in &mut lookup.shortlist {
            entry.fresh = is_fresh(&entry.peer);
        }
        lookup
    }

    /// Puts a peer into the shortlist. An address that is there already under another id stands where it would be
    /// nearest, until it is asked who it is: one of the two ids is a former life's, or a lie.
    fn offer(&mut self, peer: Peer, depth: u32, proven: bool) {
        let distance = peer.id.distance(&self.key);
        let before = self.shortlist.iter().position(|entry| entry.peer.addr == peer.addr);
        if let Some(at) = before.filter(|_| peer.id != self.me) {
            if self.shortlist[at].state != State::New || self.shortlist[at].distance <= distance {
                return;
            }
            self.shortlist.remove(at);
        } else if peer.id == self.me {
            return;
        }
        let at = self.shortlist.partition_point(|entry| entry.distance <= distance);
        let (state, again) = (State::New, Again::No);
        let (fresh, stranger, holds) = (false, false, false);
        self.shortlist.insert(at, Entry { peer, distance, state, proven, fresh, stranger, again, holds, depth });
    }

    fn entry_mut(&mut self, addr: &SocketAddr) -> Option<&mut Entry> {
        self.shortlist.iter_mut().find(|entry| entry.peer.addr == *addr)
    }

    /// The WIDTH nearest that may be alive, and those among them that keep us waiting, or whose word is worth nothing.
    fn window(&self) -> impl Iterator<Item = &Entry> {
        let mut room = WIDTH;
        self.shortlist.iter().filter(|entry| !entry.is_out()).take_while(move |entry| {
            let takes = room > 0;
            let placeless = entry.state == State::Overdue || entry.holds && self.goal == Goal::MoreHolders;
            room -= usize::from(takes && !placeless);
            takes
        })
    }

    /// The next question that may go out now.
    pub(super) fn next(&mut self, is_contact: impl Fn(&Peer) -> bool) -> Option<Question> {
        let busy = self.shortlist.iter().filter(|entry| entry.state == State::Asked).count();
        if busy >= if self.wide { WIDTH } else { ALPHA } || self.asked >= MAX_QUESTIONS {
            return None;
        }
        let wanted = |at: usize, entry: &Entry| entry.state == State::New && (at < ALPHA || !entry.fresh);
        let first = self.window().enumerate().find(|(at, entry)| wanted(*at, entry)).map(|(_, entry)| entry.peer.addr);
        let addr = first.or_else(|| {
            // Everybody in the window was asked: time to hear the names that were left out.
            let waits = self.window().any(|entry| entry.state == State::Asked && entry.again == Again::No);
            let entry = self.window().find(|entry| entry.state == State::Answered && entry.again == Again::Wanted)?;
            (!waits).then_some(entry.peer.addr)
        })?;
        self.asked += 1;
        let (key, goal) = (self.key, self.goal);
        let entry = self.entry_mut(&addr)?;
        let second = entry.again == Again::Wanted;
        entry.state = State::Asked;
        entry.proven |= is_contact(&entry.peer);
        if second {
            entry.again = Again::Done;
        } else {
            entry.stranger = !entry.proven;
        }
        let request = match goal {
            Goal::Holders | Goal::MoreHolders | Goal::Survey if !second => Request::FindValue { key },
            _ => Request::FindNode { id: key },
        };
        Some(Question { peer: entry.peer, request, prove: !entry.proven })
    }

    /// The peer at `addr` named others. A stranger has yet to learn that we receive, and sends few names until then; a
    /// contact may never have had a reason to find out.
    pub(super) fn on_names(&mut self, addr: &SocketAddr, names: &[Peer]) {
        let known = self.expected;
        let Some(entry) = self.entry_mut(addr) else { return };
        if !matches!(entry.state, State::Asked | State::Overdue) {
            return;
        }
        entry.state = State::Answered;
        let expected = if entry.stranger { WIDTH } else { known };
        if names.len() < expected && entry.again == Again::No {
            entry.again = Again::Wanted;
        }
        let depth = entry.depth + 1;
        let nearest = self.nearest();
        for &peer in names.iter().take(WIDTH) {
            self.offer(peer, depth, false);
        }
        self.wide = nearest.is_some() && self.nearest() == nearest;
    }

    fn nearest(&self) -> Option<Id> {
        self.shortlist.iter().find(|entry| !entry.is_out()).map(|entry| entry.distance)
    }

    /// The peer at `addr` says that it holds the block, and who it is. It is asked once more, for names.
    pub(super) fn on_holder(&mut self, addr: &SocketAddr, id: Id) -> Option<Peer> {
        let entry = self.entry_mut(addr)?;
        if !matches!(entry.state, State::Asked | State::Overdue) {
            return None;
        }
        entry.state = State::Answered;
        entry.holds = true;
        if entry.again == Again::No {
            entry.again = Again::Wanted;
        }
        if self.goal == Goal::Survey {
            // Somebody holds it: then all of them are to be heard.
            self.goal = Goal::Holders;
            self.shortlist.iter_mut().for_each(|entry| entry.fresh = false);
        }
        self.wide = true;
        self.on_identified(addr, id);
        Some(Peer::new(id, *addr))
    }

    /// The peer at `addr` said who it is. If that is not who it was said to be, it stands where it belongs.
    pub(super) fn on_identified(&mut self, addr: &SocketAddr, id: Id) {
        let Some(at) = self.shortlist.iter().position(|entry| entry.peer.addr == *addr) else { return };
        self.shortlist[at].proven = true;
        if self.shortlist[at].peer.id != id {
            let mut entry = self.shortlist.remove(at);
            entry.peer.id = id;
            entry.distance = id.distance(&self.key);
            if id == self.me {
                entry.state = State::Void;
            }
            let at = self.shortlist.partition_point(|other| other.distance <= entry.distance);
            self.shortlist.insert(at, entry);
        }
    }

    /// The question to `addr` takes longer than its answers usually do.
    pub(super) fn on_overdue(&mut self, addr: &SocketAddr) {
        if let Some(entry) = self.entry_mut(addr).filter(|entry| entry.state == State::Asked) {
            entry.state = State::Overdue;
        }
    }

    /// The peer at `addr` did not answer, or is gone.
    pub(super) fn on_failed(&mut self, addr: &SocketAddr) {
        let Some(entry) = self.entry_mut(addr) else { return };
        if entry.again == Again::Done && entry.proven && matches!(entry.state, State::Asked | State::Overdue) {
            // It answered once; only the second answer was lost.
            entry.state = State::Answered;
        } else if entry.state != State::Void {
            entry.state = State::Failed;
        }
    }

    /// The peer at `addr` is no part of the network any longer, or never was.
    pub(super) fn on_void(&mut self, addr: &SocketAddr) {
        if let Some(entry) = self.entry_mut(addr) {
            entry.state = State::Void;
        }
    }

    /// The peer at `addr` did not prove who it is.
    pub(super) fn on_unproven(&mut self, addr: &SocketAddr) {
        if let Some(entry) = self.entry_mut(addr).filter(|entry| !entry.proven && !entry.is_out()) {
            entry.state = State::Failed;
        }
    }

    /// Whether the WIDTH nearest that are left have all answered, or need not be asked.
    pub(super) fn is_over(&self) -> bool {
        if self.asked >= MAX_QUESTIONS {
            return !self.shortlist.iter().any(|entry| matches!(entry.state, State::Asked | State::Overdue));
        }
        self.window().enumerate().all(|(at, entry)| entry.is_done() || (at >= ALPHA && entry.is_spared()))
    }

    /// The live peers nearest to the key, and the length of the chain of requests that led to them.
    pub(super) fn result(&self) -> (Vec<Peer>, u32) {
        let mut peers: Vec<Peer> = Vec::with_capacity(WIDTH + 1);
        let mut hops = 0;
        for entry in self.shortlist.iter().filter(|entry| entry.lives()) {
            if peers.last().is_none_or(|last| last.id != entry.peer.id) {
                peers.push(entry.peer);
                hops = hops.max(entry.depth);
            }
            if peers.len() == WIDTH {
                break;
            }
        }
        (peers, hops)
    }

    /// How many more would be among the WIDTH nearest, had they answered: those that were named and are silent. One that
    /// answers at another address is none of them.
    pub(super) fn unreached(&self) -> usize {
        let answers = |id: &Id| self.shortlist.iter().any(|entry| entry.peer.id == *id && entry.lives());
        let counts = |entry: &&Entry| entry.lives() || entry.state == State::Failed && !answers(&entry.peer.id);
        let mut nearest: Vec<&Entry> = self.shortlist.iter().filter(counts).collect();
        nearest.dedup_by_key(|entry| entry.peer.id);
        nearest.iter().take(WIDTH).filter(|entry| !entry.lives()).count()
    }

    /// Peers that were named and never asked.
    pub(super) fn unasked(&self) -> impl Iterator<Item = Peer> {
        self.shortlist.iter().filter(|entry| entry.state == State::New).map(|entry| entry.peer)
    }
}

#[cfg(test)]
mod tests;
