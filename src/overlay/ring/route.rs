//! What this peer sends to the peer responsible for a key: its lookups, and requests about files by their names.

use std::net::SocketAddr;

use super::hop::SentLookup;
use super::members::Members;
use super::router::{RingEffect, RouteNotice, RouteOutcome};
use super::table::{Hop, clockwise_from};
use super::unverified::OwnFileRequest;
use super::{MAX_ROUND, QuestionFor, Ring, admission};
use crate::config::{MAX_TIMEOUT, WIDER, WIDTH};
use crate::id::{ID_BITS, Id, Key};
use crate::overlay::{Effect, Found, Goal, LookupId, Tag};
use crate::patience;
use crate::peer::Peer;
use crate::time::Time;
use crate::wire::Request;
use crate::wire::ring::{RingRequest, Route, Routed};

/// Ways tried for one search before what is known here must do.
const MAX_WAYS: usize = 6;

/// Ways that a search goes, if there are so many, before those that are known are asked as well.
const WAYS_OF_SILENCE: usize = 3;

/// A lookup of this peer's own.
pub(super) struct Search {
    pub(super) key: Key,
    pub(super) goal: Goal,
    /// First hops that led nowhere.
    pub(super) tried: Vec<SocketAddr>,
    /// The question that went the last of these ways, and how often its answer was late.
    pub(super) latest: Tag,
    pub(super) late: u32,
    /// The replica set, whose members are asked, and the hops it took, once known.
    pub(super) found: Option<(Members, u32)>,
    /// Peers that the owner named, and that are known here to be silent.
    pub(super) unreached: Vec<Peer>,
    /// The owner has answered, or is this peer.
    pub(super) conclusive: bool,
    /// No owner was found yet: those that are known name others.
    pub(super) wide: bool,
}

impl Search {
    /// It goes to this peer, by the question that is asked next.
    pub(super) fn goes(&mut self, to: Peer, tag: Tag) {
        self.tried.push(to.addr);
        (self.latest, self.late) = (tag, 0);
    }
}

impl Ring {
    pub(super) fn check_searches(&self) -> Result<(), String> {
        let waited_for = |id: LookupId| {
            self.asked
                .values()
                .any(|why| matches!(why, QuestionFor::Search(_) | QuestionFor::Value { .. } | QuestionFor::Nearer { .. } if why.lookup() == Some(id)))
        };
        match self.searches.keys().find(|id| !waited_for(**id) && !self.membership.is_pending()) {
            Some(id) => Err(format!("lookup {id} waits for nothing")),
            None => Ok(()),
        }
    }

    pub(super) fn start_search(&mut self, now: Time, lookup: LookupId, key: Key, goal: Goal, out: &mut Vec<Effect>) {
        let around = goal.level().map(|level| key.plus_power_of_two(ID_BITS - 1 - level, ID_BITS));
        let search = Search {
            key: around.unwrap_or(key),
            goal,
            tried: Vec::new(),
            latest: 0,
            late: 0,
            found: None,
            unreached: Vec::new(),
            conclusive: false,
            wide: false,
        };
        self.searches.insert(lookup, search);
        // While this peer is joining it knows no peer to ask: its searches start when it is in.
        if !self.membership.is_pending() {
            self.search_on(now, lookup, out);
        }
    }

    /// Starts what had to wait until this peer was in the ring.
    pub(super) fn start_waiting_searches(&mut self, now: Time, out: &mut Vec<Effect>) {
        let waiting: Vec<LookupId> = self.searches.keys().copied().collect();
        for lookup in waiting {
            self.search_on(now, lookup, out);
        }
    }

    /// Sends a search on its way, the first time or another one. The first answer counts, whichever way it comes.
    pub(super) fn search_on(&mut self, now: Time, lookup: LookupId, out: &mut Vec<Effect>) {
        let Some(search) = self.searches.get(&lookup).filter(|search| search.found.is_none()) else { return };
        if self.hears == Some(false) {
            let unreached = self.table.others().collect();
            self.searches.entry(lookup).and_modify(|search| search.unreached = unreached);
            return self.answer_search(lookup, Vec::new(), 0, out);
        }
        if search.goal.level().is_some() {
            // Those who stand nearer to the key would be on the way.
            return self.ask_known(lookup, out);
        }
        let what = Routed::Lookup { key: search.key };
        let hop = if search.tried.len() < MAX_WAYS { self.hop_past(what, &search.tried) } else { Hop::Nowhere };
        match hop {
            Hop::Mine => {
                let set = self.owned_set();
                self.searches.entry(lookup).and_modify(|search| search.conclusive = true);
                self.answer_search(lookup, set, 0, out);
            }
            hop @ (Hop::Last(to) | Hop::Via(to)) => {
                let again = !search.tried.is_empty();
                // An answer that was no answer (a refusal) must not lead there again.
                if let Some(search) = self.searches.get_mut(&lookup) {
                    search.goes(to, self.next_tag);
                }
                let request = self.routed(what, hop, false);
                self.ask(to, request, QuestionFor::Search(lookup), out);
                self.mind_hop(now, to, SentLookup::Own(lookup), again, out);
            }
            // The last ways may yet lead there.
            Hop::Nowhere if self.is_on_its_way(lookup) => {}
            Hop::Nowhere => self.ask_known(lookup, out),
        }
    }

    /// The connection over which a search is to go its latest way is late: another way too.
    pub(super) fn search_around(&mut self, now: Time, lookup: LookupId, tag: Tag, out: &mut Vec<Effect>) {
        let Some(search) = self.searches.get(&lookup).filter(|search| search.latest == tag) else { return };
        if let Some(late) = search.tried.last().and_then(|addr| self.table.at(addr)) {
            self.vitals.shun(now, &late.id);
        }
        self.search_on(now, lookup, out);
    }

    /// Whether a search has no answer, whichever way it went: a peer on all ways may pass nothing on, or no answer
    /// reaches a guest at all.
    pub(super) fn is_in_vain(&self, lookup: LookupId) -> bool {
        self.searches.get(&lookup).is_some_and(|search| {
            let ways = WAYS_OF_SILENCE.min(self.table.others().count());
            let what = Routed::Lookup { key: search.key };
            search.tried.len() >= ways || self.hop_past(what, &search.tried) == Hop::Nowhere
        })
    }

    /// No way of a search has led to an owner: those that are known here must do, which name others, unless the owner
    /// answers before they have. If none of them answers a guest, it is out of reach: answers come over connections
    /// that others make to it, or by datagrams of theirs, and a firewall or a translated address keeps those out.
    pub(super) fn ask_known(&mut self, lookup: LookupId, out: &mut Vec<Effect>) {
        let Some(search) = self.searches.get_mut(&lookup).filter(|search| search.found.is_none()) else { return };
        search.wide = true;
        let key = search.key;
        let known: Vec<Peer> = self.table.clockwise(&key).take(WIDTH).copied().collect();
        self.stand_in(lookup, &known, 0, out);
    }

    /// Where something leads past the peers at `tried`, which led nowhere. That they are passed over makes this peer
    /// the owner of nothing.
    fn hop_past(&self, what: Routed, tried: &[SocketAddr]) -> Hop {
        match self.hop(what, tried) {
            Hop::Mine if self.hop(what, &[]) != Hop::Mine => Hop::Nowhere,
            hop => hop,
        }
    }

    fn is_on_its_way(&self, lookup: LookupId) -> bool {
        self.asked.values().any(
            |why| matches!(why, QuestionFor::Search(_) | QuestionFor::Nearer { .. } if why.lookup() == Some(lookup)),
        )
    }

    pub(super) fn routed(&self, what: Routed, hop: Hop, quiet: bool) -> RingRequest {
        let route = Route { last: matches!(hop, Hop::Last(_)), quiet, ..Route::of(self.me) };
        RingRequest::Routed { route, what }
    }

    /// The owner of a search's key has answered.
    pub(super) fn on_owner(&mut self, lookup: LookupId, peers: &[Peer], hops: u32, out: &mut Vec<Effect>) {
        let Some(search) = self.searches.get_mut(&lookup).filter(|search| !search.conclusive) else { return };
        (search.conclusive, search.wide) = (true, false);
        self.stand_in(lookup, peers, hops, out);
    }

    /// A search leads to these peers. Any peer can name itself alone, or peers that do not live: so peers that are
    /// known here stand in for those that were named.
    fn stand_in(&mut self, lookup: LookupId, peers: &[Peer], hops: u32, out: &mut Vec<Effect>) {
        let vitals = &self.vitals;
        let Some(search) = self.searches.get_mut(&lookup) else { return };
        let key = search.key;
        search.unreached = peers.iter().take(WIDTH).filter(|peer| vitals.is_missed(peer)).copied().collect();
        let mut named = peers.to_vec();
        named.sort_by_key(|peer| clockwise_from(&key, peer));
        let mut set: Vec<Peer> = Vec::with_capacity(named.len() + WIDTH);
        let stand_ins = if matches!(search.goal, Goal::MoreHolders | Goal::Around(_)) { WIDER } else { WIDTH };
        for peer in named.iter().chain(self.table.clockwise(&key).take(stand_ins)) {
            let fresh = !set.iter().any(|other| other.id == peer.id);
            if fresh && !self.vitals.is_dead(peer) && !self.departures.contains_key(&peer.id) {
                set.push(*peer);
            }
        }
        self.answer_search(lookup, set, hops, out);
    }

    /// A search's replica set is known, perhaps with stand-ins; for holders its members are asked.
    fn answer_search(&mut self, lookup: LookupId, mut peers: Vec<Peer>, hops: u32, out: &mut Vec<Effect>) {
        let vanished = self.vanished();
        let (table, proven, now) = (&self.table, &self.proven, self.now);
        let is_proven = |addr: &SocketAddr| proven.get(addr).is_some_and(|shown| admission::is_recent(now, *shown));
        let is_stranger = |peer: &Peer| table.get(&peer.id) != Some(*peer) && !is_proven(&peer.addr);
        let Some(search) = self.searches.get_mut(&lookup) else { return };
        if vanished.len() > search.unreached.len() {
            search.unreached = vanished;
        }
        if search.goal == Goal::Peers && !search.wide {
            let (unreached, conclusive) = (std::mem::take(&mut search.unreached), search.conclusive);
            peers.truncate(WIDTH);
            let crowded = self.table.is_crowded(&search.key, &peers);
            self.searches.remove(&lookup);
            return out.push(Effect::Found { lookup, found: Found { peers, hops, unreached, conclusive, crowded } });
        }
        let asked = u32::from(peers.iter().any(|peer| peer.id != self.me.id));
        // It stands first among those that it named.
        let owner = peers.first().map_or(self.me.addr, |owner| owner.addr);
        let members =
            Members::new(peers, &self.me, search.goal).with_strangers(is_stranger).widened(search.wide, owner);
        let before = search.found.take();
        search.found = Some((members.after(before.map(|(before, _)| before)), hops + asked));
        self.ask_members(lookup, out);
    }

    /// A peer that is left alone misses those that went silent a moment ago, and no peer names them any longer; and
    /// those that answer and do not let it in.
    pub(super) fn vanished(&self) -> Vec<Peer> {
        let alone = self.table.others().next().is_none();
        let missed = self.vitals.missed(self.now);
        missed.chain(&self.shut).take(if alone { WIDTH } else { 0 }).copied().collect()
    }

    /// Sends something of this peer's own on its way.
    pub(super) fn send_routed(&mut self, now: Time, lookup: LookupId, what: Routed, out: &mut Vec<Effect>) {
        if let Hop::Last(to) | Hop::Via(to) = self.hop(what, &[]) {
            Self::notice(RouteNotice::Forwarded { what, origin: self.me, to }, out);
        }
        self.send_again(now, lookup, what, Vec::new(), out);
    }

    /// Sends it on its way, past peers that led nowhere.
    pub(super) fn send_again(
        &mut self,
        now: Time,
        lookup: LookupId,
        what: Routed,
        mut tried: Vec<SocketAddr>,
        out: &mut Vec<Effect>,
    ) {
        let hop = self.hop_past(what, &tried);
        match hop {
            Hop::Mine => Self::end_route(lookup, RouteOutcome::Here, out),
            Hop::Last(to) | Hop::Via(to) if tried.len() < MAX_WAYS => {
                tried.retain(|addr| *addr != to.addr);
                self.send_to(now, hop, OwnFileRequest { lookup, what, to: to.addr, tried }, out);
            }
            _ => Self::end_route(lookup, RouteOutcome::Lost, out),
        }
    }

    /// Sends it over this hop.
    pub(super) fn send_to(&mut self, now: Time, hop: Hop, file_request: OwnFileRequest, out: &mut Vec<Effect>) {
        let (Hop::Last(to) | Hop::Via(to)) = hop else { return };
        let request = Request::Ring(self.routed(file_request.what, hop, false));
        let tries = self.tries_of_own(now);
        let why = QuestionFor::Routed(OwnFileRequest { to: to.addr, ..file_request });
        self.ask_plain(to.into(), request, why, tries, out);
    }

    /// A request of this peer's own is over.
    pub(super) fn end_route(lookup: LookupId, outcome: RouteOutcome, out: &mut Vec<Effect>) {
        out.push(Effect::Ring(RingEffect::RouteEnded { lookup, outcome }));
    }

    /// How often a request of this peer's own is sent one way. While the ring is starting, a peer on the way may let it
    /// wait; it is told from one sent before by its stamp alone, so that one goes out again and again.
    fn tries_of_own(&self, now: Time) -> u8 {
        let Some(starting) = self.vitals.starting(now) else { return patience::QUESTION };
        // What waits is looked at once a round.
        let more = (starting + 2 * MAX_ROUND).as_millis().div_ceil(MAX_TIMEOUT.as_millis());
        patience::QUESTION.saturating_add(u8::try_from(more).unwrap_or(u8::MAX))
    }

    /// A peer is dead: what this peer sent over it goes another way at once.
    pub(super) fn send_around(&mut self, now: Time, gone: SocketAddr, out: &mut Vec<Effect>) {
        let sent_there =
            |why: &QuestionFor| matches!(why, QuestionFor::Routed(OwnFileRequest { to, .. }) if *to == gone);
        let tags: Vec<_> = self.asked.iter().filter(|(_, why)| sent_there(why)).map(|(tag, _)| *tag).collect();
        for tag in tags {
            if let Some(QuestionFor::Routed(OwnFileRequest { lookup, what, mut tried, .. })) = self.asked.remove(&tag) {
                tried.push(gone);
                self.send_again(now, lookup, what, tried, out);
            }
        }
    }
}

/// Where something belongs on the circle.
pub(super) fn key_of(what: Routed, origin: Id) -> Id {
    match what {
        Routed::Join => origin,
        Routed::Lookup { key } => key,
        Routed::Store { file } | Routed::Request { file } => file.key(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::RingOptions;
    use super::*;
    use crate::config::FIRST_TIMEOUT;
    use crate::overlay::{Cause, Late, Overlay};
    use crate::wire::Response;
    use crate::wire::ring::RingResponse;

    fn peer(n: u8) -> Peer {
        Peer::new(Id::from_u64(u64::from(n) * 1000), ([10, 0, 0, n], 7000).into())
    }

    /// How long a search takes whose owner names itself and so many that do not live, and how many of those are asked.
    fn cost_of_made_up(goal: Goal, count: u16) -> (Time, usize) {
        let (mut ring, mut out) = (Ring::new(peer(5), RingOptions::default()), Vec::new());
        ring.fill(Time::ZERO, &(1..=20).map(peer).collect::<Vec<_>>());
        let key = Id::from_u64(1500);
        ring.lookup(Time::ZERO, 1, key, goal, &mut out);
        let made_up = |n: u16| Peer::new(Id::from_u64(1600 + u64::from(n)), ([203, 0, 113, 1], 1 + n).into());
        let here = Response::Nodes(Vec::new());
        let (mut silent, mut order, mut asked) = (BTreeMap::new(), 0, 0);
        let mut now = Time::ZERO;
        loop {
            for effect in std::mem::take(&mut out) {
                let (to, tag, tries, request) = match effect {
                    Effect::Ask { to, tag, tries, request, .. } => (to, tag, tries, request),
                    Effect::Found { found, .. } => {
                        assert_eq!(found.peers.len(), WIDTH, "those that live");
                        return (now, asked);
                    }
                    _ => continue,
                };
                let liar = Peer::new(Id::from_u64(1600), to.addr);
                let peers = std::iter::once(liar).chain((1..=count).map(made_up)).collect();
                let named = Response::Ring(RingResponse::Owner { peers, hops: 0, trail: Vec::new(), brief: false });
                let response = match request {
                    request if request.sought().is_some() && to.addr.ip() == made_up(0).addr.ip() => {
                        asked += 1;
                        order += 1;
                        silent.insert((now + FIRST_TIMEOUT, order, false), (tag, to));
                        silent.insert((now + patience::silence(tries), order, true), (tag, to));
                        continue;
                    }
                    request if request.sought().is_some() => &here,
                    Request::Ring(RingRequest::Routed { .. }) => &named,
                    _ => continue,
                };
                ring.on(now, Cause::Alive { addr: to.addr }, &mut out);
                ring.on(now, Cause::Answer { tag, from: to.addr, by: None, response }, &mut out);
            }
            if out.is_empty() {
                let ((due, _, failed), (tag, to)) = silent.pop_first().expect("it ends");
                now = due;
                let late = Cause::Late { tag, late: Late::Overdue };
                ring.on(now, if failed { Cause::NoAnswer { tag, to } } else { late }, &mut out);
            }
        }
    }

    /// What two searches of a guest find, of which no answer comes by any way, and how many ways had been gone by then.
    /// Those who are asked for the block `hold` it, or do not answer either.
    fn found_without_a_way(hold: bool) -> Vec<(LookupId, usize, usize, usize)> {
        let (mut ring, mut out) =
            (Ring::new(peer(5), RingOptions { guest: true, ..RingOptions::default() }), Vec::new());
        ring.fill(Time::ZERO, &(1..=4).map(peer).collect::<Vec<_>>());
        let (mut ways, mut found) = (Vec::new(), Vec::new());
        for lookup in [1, 2] {
            ring.lookup(Time::ZERO, lookup, Id::from_u64(1500), Goal::Peers, &mut out);
            // All answer pings.
            for _ in 0..10 {
                for effect in std::mem::take(&mut out) {
                    match effect {
                        Effect::Ask { to, tag, request: Request::Ping, .. } => {
                            let by = ring.table.at(&to.addr);
                            let response = Response::Node(by.unwrap());
                            let cause = Cause::Answer { tag, from: to.addr, by, response: &response };
                            ring.on(Time::ZERO, cause, &mut out);
                        }
                        Effect::Ask { to, tag, request: Request::FindValue { .. }, .. } => {
                            let response = Response::Node(to.peer().unwrap());
                            let cause = if hold {
                                Cause::Answer { tag, from: to.addr, by: to.peer(), response: &response }
                            } else {
                                Cause::NoAnswer { tag, to }
                            };
                            ring.on(Time::ZERO, cause, &mut out);
                        }
                        Effect::Ask { tag, .. } => ways.push(tag),
                        Effect::Found { lookup, found: Found { peers, unreached, .. } } => {
                            found.push((lookup, peers.len(), unreached.len(), ways.len()));
                        }
                        _ => {}
                    }
                }
                for &tag in &ways {
                    ring.on(Time::ZERO, Cause::Late { tag, late: Late::Overdue }, &mut out);
                }
            }
        }
        found
    }

    #[test]
    fn a_survey_asks_members_by_ping_and_an_older_one_which_only_says_that_it_is_there_over_a_connection() {
        let (mut ring, mut out) = (Ring::new(peer(5), RingOptions::default()), Vec::new());
        ring.fill(Time::ZERO, &(1..=20).map(peer).collect::<Vec<_>>());
        let key = Id::from_u64(4500);
        ring.lookup(Time::ZERO, 1, key, Goal::Survey, &mut out);
        let (mut by_ping, mut over_connections, mut holders) = (Vec::new(), Vec::new(), Vec::new());
        while !out.is_empty() {
            for effect in std::mem::take(&mut out) {
                let (to, tag, request) = match effect {
                    Effect::Ask { to, tag, request, .. } => (to.peer().expect("it is known"), tag, request),
                    Effect::Holder { peer, .. } => {
                        holders.push(peer);
                        continue;
                    }
                    Effect::Found { found, .. } => {
                        assert_eq!(found.peers, (5..12).map(peer).collect::<Vec<_>>());
                        continue;
                    }
                    other => panic!("{other:?}"),
                };
                // 6 has the block, and so has 8, an older one, as 7 is.
                let response = match request {
                    Request::Ring(RingRequest::Has { .. }) if to == peer(7) || to == peer(8) => Response::Node(to),
                    Request::Ring(RingRequest::Has { .. }) => {
                        by_ping.push(to);
                        Response::Ring(RingResponse::Has { peer: to, has: to == peer(6) })
                    }
                    Request::FindValue { .. } => {
                        over_connections.push(to);
                        if to == peer(8) { Response::Node(to) } else { Response::Nodes(Vec::new()) }
                    }
                    other => panic!("{other:?}"),
                };
                ring.on(Time::ZERO, Cause::Answer { tag, from: to.addr, by: Some(to), response: &response }, &mut out);
            }
        }
        assert_eq!(by_ping, [6, 9, 10, 11].map(peer));
        assert_eq!((over_connections, holders), (vec![peer(7), peer(8)], vec![peer(6), peer(8)]));
    }

    #[test]
    fn a_guest_that_no_answer_reaches_asks_those_it_knows_when_its_ways_are_late_and_from_then_on_nobody() {
        assert_eq!(found_without_a_way(false), [(1, 0, 4, WAYS_OF_SILENCE), (2, 0, 4, WAYS_OF_SILENCE)]);
    }

    #[test]
    fn a_guest_that_holders_answered_is_not_out_of_reach() {
        assert_eq!(found_without_a_way(true), [(1, 4, 0, WAYS_OF_SILENCE), (2, 4, 0, 2 * WAYS_OF_SILENCE)]);
    }

    #[test]
    fn fifteen_peers_that_do_not_live_cost_a_search_two_seconds_and_no_more_questions_than_a_set_has_members() {
        for goal in [Goal::Holders, Goal::Survey] {
            let (took, asked) = cost_of_made_up(goal, 15);
            assert!(took <= Time::ZERO + std::time::Duration::from_secs(2), "{goal:?}: {took:?}");
            assert_eq!(asked, WIDTH - 1, "{goal:?}");
        }
    }
}
