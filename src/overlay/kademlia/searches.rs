//! Lookups under way: their questions go out, answers come in, results are told (section 2.3).

use std::net::SocketAddr;
use std::time::Duration;

use super::contacts::{Bid, is_reachable};
use super::lookup::{self, Lookup, Name, PeerKnowledge, ShortlistEvent};
use super::suspects::Suspicion;
use super::{Kademlia, QuestionPurpose};
use crate::config::WIDTH;
use crate::id::Key;
use crate::overlay::{Effect, Found, Goal, Late, Tag};
use crate::patience;
use crate::peer::Peer;
use crate::source::AddressScope;
use crate::time::Time;
use crate::wire::{Request, Response};

/// Contacts that a lookup starts from: more than its width, for some may be dead.
const START: usize = 2 * WIDTH;

/// The same where those nearest to the key may be liars, who name one another.
const START_WIDE: usize = 10 * WIDTH;

/// A peer that named itself longer ago than this has to do so again in a lookup: another may be at its address.
const NAMED: Duration = Duration::from_secs(60);

/// A contact that answered within this time counts as alive: it has hardly had time to die.
const ALIVE_FOR: Duration = Duration::from_secs(1);

impl Kademlia {
    /// Starts a lookup.
    pub(super) fn search(&mut self, now: Time, name: Name, key: Key, goal: Goal, out: &mut Vec<Effect>) {
        let key = goal.level().map_or(key, |level| key.flip_bit(level));
        self.table.note_lookup(now, &key);
        let is_wary = matches!(goal, Goal::MoreHolders | Goal::Around(_));
        let start = self.met(now, &key, if is_wary { START_WIDE } else { START });
        let asks_fresh = is_wary || goal == Goal::Holders || matches!(name, Name::Own(_));
        let is_fresh = |peer: &Peer| {
            let silence = match self.table.contact(peer) {
                Some(contact) => contact.is_sound().then(|| contact.silence(now)),
                None => self.acquaintances.silence(now, peer),
            };
            !asks_fresh && silence.is_some_and(|silence| silence < ALIVE_FOR)
        };
        let lookup = Lookup::new(key, goal, self.me.id, start, is_fresh);
        self.lookups.insert(name, lookup);
        self.advance(now, name, out);
    }

    /// The peers nearest to `key` that this one has met: `count` of the table, and some more.
    fn met(&self, now: Time, key: &Key, count: usize) -> Vec<Peer> {
        let mut met = self.nearest_sound(key, count);
        if met.len() < WIDTH {
            met = self.table.nearest(key, count, |_| true);
        }
        met.extend(self.acquaintances.nearest(now, key, WIDTH, NAMED));
        met
    }

    /// Asks what the lookup may ask now, and ends it if it is over.
    fn advance(&mut self, now: Time, name: Name, out: &mut Vec<Effect>) {
        loop {
            let Some(lookup) = self.lookups.get_mut(&name) else { return };
            let (table, acquaintances, watch) = (&self.table, &self.acquaintances, &self.watch);
            let suspects = &self.suspects;
            let known = |peer: &Peer| PeerKnowledge {
                named: match table.contact(peer) {
                    Some(contact) => contact.since_identified(now) < NAMED,
                    None => acquaintances.knows(now, peer, NAMED),
                },
                dead: watch.is_buried(now, peer)
                    || table.contact(peer).is_none() && suspects.get(now, &peer.addr) == Some(Suspicion::Unanswered),
            };
            let Some(lookup::LookupQuestion { peer, request, reason }) = lookup.next(known) else {
                if !lookup.begins_to_ask_again() {
                    break;
                }
                let key = lookup.key;
                let met = self.met(now, &key, START);
                self.lookups.entry(name).and_modify(|lookup| lookup.join(met));
                continue;
            };
            if self.suspects.get(now, &peer.addr).is_some() {
                lookup.on(&peer.addr, ShortlistEvent::Late(Late::Doubtful));
            }
            self.ask(
                peer.into(),
                request,
                patience::QUESTION,
                QuestionPurpose::Step { lookup: name, peer, reason },
                out,
            );
        }
        if self.lookups.get(&name).is_some_and(Lookup::is_over)
            && let Some(lookup) = self.lookups.remove(&name)
        {
            self.finish(now, name, &lookup, out);
        }
    }

    fn finish(&mut self, now: Time, name: Name, lookup: &Lookup, out: &mut Vec<Effect>) {
        let (nearest, hops) = lookup.result();
        // A peer that was found dead a moment ago is named by every peer that has yet to find out.
        for (namer, _, answered) in lookup.words().filter(|(_, peer, _)| !self.watch.is_buried(now, peer)) {
            self.namers.count(namer, answered);
        }
        if !self.guest {
            for peer in lookup.unasked() {
                self.hear_of(now, peer, Bid::Nothing, out);
            }
            self.ping_candidates(now, out);
        }
        match name {
            Name::User(lookup_id) => {
                let peers = self.with_me(&lookup.key, nearest, WIDTH);
                // No contact is left that could name those that were all lost a moment ago.
                let vanished: Vec<Peer> =
                    self.lost.vanished(now).take(if self.table.len() == 0 { WIDTH } else { 0 }).copied().collect();
                let unreached = lookup.unreached();
                let unreached = if vanished.len() > unreached.len() { vanished } else { unreached };
                let conclusive = lookup.is_settled();
                let crowded = self.is_crowded(&lookup.key, &peers);
                out.push(Effect::Found {
                    lookup: lookup_id,
                    found: Found { peers, hops, unreached, conclusive, crowded },
                });
            }
            Name::Own(_) => self.on_own_found(&lookup.key),
        }
    }

    /// A peer answered a step of a lookup, and may have said who it is.
    pub(super) fn on_step(
        &mut self,
        now: Time,
        (name, peer): (Name, Peer),
        by: Option<Peer>,
        response: &Response,
        out: &mut Vec<Effect>,
    ) {
        let me = self.me;
        if let Some(by) = by {
            self.confirm(now, by, Bid::Contest, out);
        }
        let Some(lookup) = self.lookups.get_mut(&name) else { return };
        match response {
            Response::Nodes(nodes) => {
                let suspect = self.twins.suspect(now, &self.me, nodes);
                self.ask_twin(suspect, out);
                let Some(lookup) = self.lookups.get_mut(&name) else { return };
                let mut names = nodes.clone();
                let is_fit = |node: &Peer| node.id != me.id && node.addr != me.addr && is_reachable(&node.addr);
                names.retain(|node| is_fit(node) && AddressScope::may_name(&peer.addr, &node.addr));
                lookup.on_names(&peer.addr, &names, self.namers.believed(&peer.addr));
                if let Some(by) = by {
                    lookup.on_identified(&peer.addr, by.id);
                } else if lookup.is_unproven(&peer.addr) {
                    let why = QuestionPurpose::Identify { lookup: name, addr: peer.addr };
                    self.ask(peer.into(), Request::Ping, patience::QUESTION, why, out);
                }
            }
            Response::Node(named) | Response::Holder { peer: named, .. } if lookup.goal.seeks_holders() => {
                if let (Some(holder), Name::User(lookup)) = (lookup.on_holder(&peer.addr, named.id), name) {
                    out.push(Effect::Holder { lookup, peer: holder });
                }
            }
            _ => drop(lookup.on(&peer.addr, ShortlistEvent::Void)),
        }
        self.advance(now, name, out);
    }

    /// Tells a lookup what happened to a peer that it met.
    pub(super) fn on_met(
        &mut self,
        now: Time,
        name: Name,
        addr: &SocketAddr,
        event: ShortlistEvent,
        out: &mut Vec<Effect>,
    ) {
        if let Some(lookup) = self.lookups.get_mut(&name) {
            lookup.on(addr, event);
        }
        self.advance(now, name, out);
    }

    /// A peer that a lookup met has proved its id.
    pub(super) fn on_identified(&mut self, now: Time, name: Name, peer: &Peer, out: &mut Vec<Effect>) {
        if let Some(lookup) = self.lookups.get_mut(&name) {
            lookup.on_identified(&peer.addr, peer.id);
        }
        self.advance(now, name, out);
    }

    /// The answer to a question is late.
    pub(super) fn on_late(&mut self, now: Time, tag: Tag, late: Late, out: &mut Vec<Effect>) {
        let Some(&QuestionPurpose::Step { lookup, peer, .. }) = self.asked.get(&tag) else { return };
        if late == Late::Doubtful {
            self.suspects.suspect(now, peer.addr, Suspicion::Late);
            self.doubt(&peer, out);
        }
        self.on_met(now, lookup, &peer.addr, ShortlistEvent::Late(late), out);
        self.go_on(now, out);
    }

    /// Something happened to a peer that concerns every lookup.
    pub(super) fn on_met_by_all(&mut self, now: Time, addr: &SocketAddr, event: ShortlistEvent, out: &mut Vec<Effect>) {
        let names: Vec<Name> = self.lookups.keys().copied().collect();
        for name in names {
            self.on_met(now, name, addr, event, out);
        }
    }
}
