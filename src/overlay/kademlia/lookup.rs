//! The iterative lookup (section 2.3): ask the nearest peers known for nearer ones, until no nearer peer is left.
//!
//! The *shortlist* holds every peer named so far, nearest first. ALPHA questions are out at a time. When an answer
//! brings no nearer peer, all of the WIDTH nearest are asked at once. A peer that keeps us waiting longer than usual is
//! *overdue*: its answer still counts, but it no longer occupies a place, so a dead peer costs no pause. Once it is so
//! late that it is to be *doubted*, the result stands without it if WIDTH others live; so it does from the start
//! without one that left questions unanswered a moment ago. A peer that was found dead is asked once more and not
//! waited for. But a lookup that would end in vain waits for all of them. It is over when the WIDTH nearest that are
//! left have all answered. An answer has room for WIDTH names, so peers that died unnoticed hide those behind them:
//! where the silent leave fewer than WIDTH, those who live are asked once who is near to *them*.
//!
//! A question asks two things: who is nearer, and are you alive? A contact that answered a moment ago (it is *fresh*)
//! need not say again that it lives, and the two nearest know their neighbourhood; so the fresh ones behind them are
//! not asked. In a busy network that saves most questions. Lookups of the overlay's own, which fill the table, searches
//! for holders and looks around a key ask every peer.
//!
//! Names are hearsay, so the lookup believes little. An address stands in the shortlist once, and a peer counts only if
//! it answers under the id that it was named with: its answer says who it is, and where an older peer's does not, a
//! ping asks. Thus a liar can neither put the dead into a result nor itself at many places. Nor can it have many
//! questions sent where no peer answers: of the addresses that peers of one source named, and of those at one source,
//! few are asked before some have answered.

use std::net::SocketAddr;

pub(super) use self::standing::ShortlistEvent;
use self::standing::{IdProof, Lateness, Standing};
use super::ALPHA;
use crate::config::{WIDER, WIDTH};
use crate::id::{Id, Key};
use crate::overlay::{AskReason, Goal, LookupId};
use crate::peer::Peer;
use crate::source::{AddressScope, Subnet};
use crate::wire::Request;

mod standing;

/// Questions a lookup asks at most: far more than any network needs, and few enough for liars to win nothing.
const MAX_QUESTIONS: u32 = 400;

/// From this many questions on, the overdue free no places where less than a third is answered: then it is no matter of
/// single peers, and to ask more of them would only add to what is wrong.
const BRAKED_FROM: u32 = 12;
const ANSWERED_ONE_IN: u32 = 3;

/// The nearest peers, which are asked though they are fresh: one may have met a newcomer that the other has not.
const WITNESSES: usize = 2;

/// Peers at one source of the open internet, and peers that those of one such source named, that are on the shortlist
/// without having answered.
const OF_SOURCE: usize = 4;
const NAMED_BY_SOURCE: usize = 2 * WIDTH;

/// Names a lookup, and says for whom it is: the node, or the overlay itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Name {
    /// A lookup of the node's.
    User(LookupId),
    /// The overlay's own, to fill or refresh the table.
    Own(u64),
}

#[derive(Clone, Debug)]
struct ShortlistEntry {
    peer: Peer,
    distance: Id,
    standing: Standing,
    /// Requests in the chain that leads to it.
    depth: u32,
    /// The peer that named it; none for those that the lookup started from.
    namer: Option<SocketAddr>,
}

/// What a lookup wants to ask.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct LookupQuestion {
    pub(super) peer: Peer,
    pub(super) request: Request,
    pub(super) reason: AskReason,
}

/// What is known of a peer that is about to be asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct PeerKnowledge {
    /// It named itself lately.
    pub(super) named: bool,
    /// It was found dead lately.
    pub(super) dead: bool,
}

pub(super) struct Lookup {
    pub(super) key: Key,
    pub(super) goal: Goal,
    me: Id,
    shortlist: Vec<ShortlistEntry>,
    /// The last answer brought no nearer peer.
    asks_all: bool,
    /// Those who live were asked who is near to them.
    asks_again: bool,
    /// Then those joined the shortlist that were met since the lookup began.
    adds_met: bool,
    asked: u32,
    /// Names that an answer has at least. A peer that gives fewer may have yet to learn that we receive its answers.
    expected: usize,
}

impl Lookup {
    /// A lookup that starts from peers in the routing table; `is_fresh` says which of them need not be asked whether
    /// they live.
    pub(super) fn new(key: Key, goal: Goal, me: Id, start: Vec<Peer>, is_fresh: impl Fn(&Peer) -> bool) -> Self {
        // Each of them knows the others, but for itself.
        let expected = start.len().saturating_sub(1).min(WIDTH);
        let mut lookup = Self {
            key,
            goal,
            me,
            shortlist: Vec::new(),
            asks_all: false,
            asks_again: false,
            adds_met: false,
            asked: 0,
            expected,
        };
        for peer in start {
            lookup.offer(peer, 1, is_fresh(&peer), None);
        }
        lookup
    }

    /// Puts a peer into the shortlist. An address that is there already under another id stands where it would be
    /// nearest, until it is asked who it is: one of the two ids is a former life's, or a lie.
    fn offer(&mut self, peer: Peer, depth: u32, fresh: bool, namer: Option<&SocketAddr>) {
        if peer.id == self.me || namer.is_some_and(|namer| self.is_crowded(&peer.addr, namer)) {
            return;
        }
        let distance = peer.id.distance(&self.key);
        if self.is_hidden(&distance) {
            return;
        }
        if let Some(at) = self.position(&peer.addr) {
            let before = &self.shortlist[at];
            if !matches!(before.standing, Standing::New { .. }) || before.distance <= distance {
                return;
            }
            self.shortlist.remove(at);
        }
        let standing = Standing::New { fresh, proof: IdProof::Missing };
        self.insert(ShortlistEntry { peer, distance, standing, depth, namer: namer.copied() });
    }

    /// Whether a peer at this distance stands nearer to the key than this lookup goes [around](Goal::Around) it.
    fn is_hidden(&self, distance: &Id) -> bool {
        self.goal.level() == Some(distance.leading_zeros())
    }

    /// Whether too many at this source, or named by the source of `namer`, have yet to answer. Those of a lab may be
    /// many.
    fn is_crowded(&self, addr: &SocketAddr, namer: &SocketAddr) -> bool {
        let crowded = |of: &SocketAddr, most: usize, source: fn(&ShortlistEntry) -> Option<Subnet>| {
            let one = Some(Subnet::of(*of));
            let is_of_it =
                |entry: &&ShortlistEntry| entry.namer.is_some() && source(entry) == one && !entry.standing.is_proven();
            !AddressScope::of(of).is_of_a_lab() && self.shortlist.iter().filter(is_of_it).count() >= most
        };
        crowded(addr, OF_SOURCE, |entry| Some(Subnet::of(entry.peer.addr)))
            || crowded(namer, NAMED_BY_SOURCE, |entry| entry.namer.map(Subnet::of))
    }

    fn insert(&mut self, entry: ShortlistEntry) {
        let at = self.shortlist.partition_point(|other| other.distance <= entry.distance);
        self.shortlist.insert(at, entry);
    }

    fn position(&self, addr: &SocketAddr) -> Option<usize> {
        self.shortlist.iter().position(|entry| entry.peer.addr == *addr)
    }

    /// The WIDTH nearest that may be alive, and those among them that keep us waiting, or whose word is worth nothing;
    /// each with its rank.
    fn window(&self) -> impl Iterator<Item = (usize, &ShortlistEntry)> {
        let mut room = if self.goal == Goal::MoreHolders { WIDER } else { WIDTH };
        let left = self.shortlist.iter().filter(|entry| !entry.standing.is_out());
        let window = left.take_while(move |ShortlistEntry { standing, .. }| {
            let takes = room > 0;
            let late = standing.lateness().is_some_and(|late| late > Lateness::Usual);
            let placeless = late || standing.holds() && self.goal == Goal::MoreHolders;
            room -= usize::from(takes && !placeless);
            takes
        });
        window.enumerate()
    }

    /// The address to ask next: the nearest that was not asked; or, once no peer is waited for, the nearest whose
    /// answer was partial, to hear the names that were left out.
    fn next_asked(&self) -> Option<SocketAddr> {
        let (mut waits, mut partial) = (false, None);
        for (rank, ShortlistEntry { peer, standing, .. }) in self.window() {
            match standing {
                Standing::New { fresh, .. } if rank < WITNESSES || !fresh => return Some(peer.addr),
                Standing::Asked { again: false, late: Lateness::Usual, .. } => waits = true,
                Standing::Answered { partial: true, .. } => partial = partial.or(Some(peer.addr)),
                _ => {}
            }
        }
        partial.filter(|_| !waits)
    }

    /// The next question that may go out now, to a peer of which the caller tells what it knows.
    pub(super) fn next(&mut self, known: impl Fn(&Peer) -> PeerKnowledge) -> Option<LookupQuestion> {
        let most = if self.is_braked() { Lateness::Overdue } else { Lateness::Usual };
        let occupies = |entry: &&ShortlistEntry| entry.standing.lateness().is_some_and(|late| late <= most);
        let busy = self.shortlist.iter().filter(occupies).count();
        if busy >= if self.asks_all { WIDTH } else { ALPHA } || self.asked >= MAX_QUESTIONS {
            return None;
        }
        self.ask_again();
        let at = self.position(&self.next_asked()?)?;
        self.asked += 1;
        let ShortlistEntry { peer, standing, .. } = &mut self.shortlist[at];
        let PeerKnowledge { named, dead } = known(peer);
        let request = match (self.goal, &standing) {
            (_, Standing::Answered { .. }) if self.asks_again => Request::FindNode { id: peer.id },
            (Goal::Peers | Goal::Around(_), _) | (_, Standing::Answered { .. }) => Request::FindNode { id: self.key },
            (Goal::Holders | Goal::MoreHolders | Goal::Survey, _) => Request::FindValue { key: self.key },
        };
        let reason = match standing {
            Standing::Answered { .. } => AskReason::Repeat,
            _ if self.asks_all => AskReason::Wide,
            _ => AskReason::Nearest,
        };
        *standing = standing.after(ShortlistEvent::Asked { known: named, dead });
        Some(LookupQuestion { peer: *peer, request, reason })
    }

    fn is_braked(&self) -> bool {
        let answered = self.shortlist.iter().filter(|entry| entry.standing.has_answered()).count();
        self.asked >= BRAKED_FROM && answered as u32 * ANSWERED_ONE_IN < self.asked
    }

    /// Has those who live asked once more, if no other peer is left to be asked or waited for and the silent leave too
    /// few.
    fn ask_again(&mut self) {
        let standings = || self.shortlist.iter().map(|entry| entry.standing);
        let goes_on = self.next_asked().is_some() || standings().any(Standing::is_awaited);
        let silent = self.window().any(|(_, entry)| entry.standing.is_given_up(true));
        let live = standings().filter(|standing| standing.lives()).count();
        if self.asks_again || goes_on || !silent || live == 0 || live >= WIDTH {
            return;
        }
        self.asks_again = true;
        for entry in &mut self.shortlist {
            entry.standing = entry.standing.after(ShortlistEvent::AskedAgain);
        }
    }

    /// Whether the silent leave too few, for the first time: others may have been met since the lookup began.
    pub(super) fn begins_to_ask_again(&mut self) -> bool {
        self.asks_again && !std::mem::replace(&mut self.adds_met, self.asks_again)
    }

    /// These were met since the lookup began.
    pub(super) fn join(&mut self, others: Vec<Peer>) {
        others.into_iter().for_each(|peer| self.offer(peer, 1, false, None));
    }

    /// Whether the peer at `addr` answered, and has yet to show who it is.
    pub(super) fn is_unproven(&self, addr: &SocketAddr) -> bool {
        let standing = self.position(addr).map(|at| self.shortlist[at].standing);
        standing.is_some_and(|standing| matches!(standing, Standing::Answered { .. }) && !standing.is_proven())
    }

    /// Something happened to the peer at `addr`. Returns its place in the shortlist if it stands otherwise now.
    pub(super) fn on(&mut self, addr: &SocketAddr, event: ShortlistEvent) -> Option<usize> {
        let at = self.position(addr)?;
        let before = self.shortlist[at].standing;
        self.shortlist[at].standing = before.after(event);
        (self.shortlist[at].standing != before).then_some(at)
    }

    /// The peer at `addr` named others, of whom no more than `most` are believed. A stranger has yet to learn that we
    /// receive, and sends few names until then; a contact may never have had a reason to find out.
    pub(super) fn on_names(&mut self, addr: &SocketAddr, names: &[Peer], most: usize) {
        let Some(at) = self.on(addr, ShortlistEvent::Named { count: names.len(), usual: self.expected }) else {
            return;
        };
        let depth = self.shortlist[at].depth + 1;
        let nearest = self.nearest();
        // Further holders are sought: a peer that says it is one may be a liar, and name its fellows or peers that it
        // made up.
        let counts = self.goal != Goal::MoreHolders || !self.shortlist[at].standing.holds();
        for &peer in names.iter().take(if counts { most } else { 0 }) {
            self.offer(peer, depth, false, Some(addr));
        }
        self.asks_all = nearest.is_some() && self.nearest() == nearest;
    }

    fn nearest(&self) -> Option<Id> {
        self.window().next().map(|(_, entry)| entry.distance)
    }

    /// The peer at `addr` says that it holds the block, and who it is. It is asked once more, for names.
    pub(super) fn on_holder(&mut self, addr: &SocketAddr, id: Id) -> Option<Peer> {
        self.on(addr, ShortlistEvent::Held)?;
        if self.goal == Goal::Survey {
            // A peer holds it: then all holders are to be heard.
            self.goal = Goal::Holders;
            for entry in &mut self.shortlist {
                entry.standing = entry.standing.after(ShortlistEvent::Wanted);
            }
        }
        self.asks_all = true;
        self.on_identified(addr, id);
        Some(Peer::new(id, *addr))
    }

    /// The peer at `addr` said who it is. If that is not who it was said to be, it stands where it belongs.
    pub(super) fn on_identified(&mut self, addr: &SocketAddr, id: Id) {
        self.on(addr, ShortlistEvent::Identified);
        let Some(at) = self.position(addr).filter(|at| self.shortlist[*at].peer.id != id) else { return };
        let mut entry = self.shortlist.remove(at);
        entry.peer.id = id;
        entry.distance = id.distance(&self.key);
        if id == self.me || self.is_hidden(&entry.distance) {
            entry.standing = entry.standing.after(ShortlistEvent::Void);
        }
        self.insert(entry);
    }

    /// Whether it is settled, or may ask no more.
    pub(super) fn is_over(&self) -> bool {
        if self.asked >= MAX_QUESTIONS {
            return !self.shortlist.iter().any(|entry| entry.standing.is_awaited());
        }
        self.is_settled()
    }

    /// Whether the WIDTH nearest that are left have all answered, or need not be waited for.
    pub(super) fn is_settled(&self) -> bool {
        let standings = || self.shortlist.iter().map(|entry| entry.standing);
        let live = standings().filter(|standing| standing.lives()).take(WIDTH).count();
        // Without a holder a search for holders is in vain: one of the silent may be one.
        let seeks = matches!(self.goal, Goal::Holders | Goal::MoreHolders);
        let in_vain = live == 0 || seeks && !standings().any(Standing::holds);
        self.window().all(|(rank, ShortlistEntry { standing, .. })| {
            let given_up = !in_vain && standing.is_given_up(live == WIDTH);
            standing.is_done() || rank >= WITNESSES && standing.is_spared() || given_up
        })
    }

    /// The live peers nearest to the key, and the length of the chain of requests that led to them.
    pub(super) fn result(&self) -> (Vec<Peer>, u32) {
        let mut peers: Vec<Peer> = Vec::with_capacity(WIDTH + 1);
        let mut hops = 0;
        for entry in self.shortlist.iter().filter(|entry| entry.standing.lives()) {
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

    /// The peers that would be among the WIDTH nearest too, had they answered: those that were named and are silent. A
    /// peer that answers at another address is none of them.
    pub(super) fn unreached(&self) -> Vec<Peer> {
        let answers = |id: &Id| self.shortlist.iter().any(|entry| entry.peer.id == *id && entry.standing.lives());
        let counts =
            |entry: &&ShortlistEntry| entry.standing.lives() || entry.standing.is_silent() && !answers(&entry.peer.id);
        let mut nearest: Vec<&ShortlistEntry> = self.shortlist.iter().filter(counts).collect();
        nearest.dedup_by_key(|entry| entry.peer.id);
        nearest.iter().take(WIDTH).filter(|entry| !entry.standing.lives()).map(|entry| entry.peer).collect()
    }

    /// For each peer that was named, was asked and is no longer waited for: the address that named it, the peer, and
    /// whether it has answered.
    pub(super) fn words(&self) -> impl Iterator<Item = (SocketAddr, Peer, bool)> {
        let word = |entry: &ShortlistEntry| {
            let told = entry.standing.has_answered() || entry.standing.is_silent();
            entry.namer.filter(|_| told).map(|namer| (namer, entry.peer, entry.standing.has_answered()))
        };
        self.shortlist.iter().filter_map(word)
    }

    /// Peers that were named and never asked.
    pub(super) fn unasked(&self) -> impl Iterator<Item = Peer> {
        let new = self.shortlist.iter().filter(|entry| matches!(entry.standing, Standing::New { .. }));
        new.map(|entry| entry.peer)
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
