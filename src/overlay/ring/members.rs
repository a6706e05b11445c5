//! The members of a replica set, while they are asked whether they hold a block.
//!
//! The silent are not waited for: for a member that is overdue the peer behind the last one is asked, which the owner
//! named as well, and takes its place once the member is to be doubted. If the member's answer comes before that of its
//! stand-in, it counts. A search for holders is patient: it hears the verdict on each member before another one takes
//! its place, since repair would copy a block where none is missing.
//!
//! An owner may name peers that do not live. So a stranger is no better waited for than a stand-in is, and while of
//! those that the owner named more strangers are late than others have answered, or two that stand in for others, the
//! peers that are known here are asked in place of the other strangers.
//!
//! Whether a member holds the block, a ping asks where that is all that is to be known; a search for holders asks over
//! a connection, as a peer that copies or fetches the block will.
//!
//! A search is *wide* that goes on once all holders have failed, or of which no owner was found: then a peer that is
//! asked and holds nothing may name others, and three times as many are asked. A peer that names others may be a liar,
//! and a connection costs the host at the other end more than a datagram. So a stranger is pinged once, few at a time
//! of those that one source named, and asked only if it answers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::Ring;
use super::admission::is_recent;
use super::questions::QuestionFor;
use super::route::Search;
use super::table::clockwise_from;
use crate::config::{WIDER, WIDTH};
use crate::id::Id;
use crate::overlay::{Effect, Found, Goal, LookupId};
use crate::patience;
use crate::peer::Peer;
use crate::source::{AddressScope, Subnet, count};
use crate::wire::ring::RingRequest;
use crate::wire::{Request, Response};

/// Strangers that are pinged at a time of all that one source named.
const MOST_UNPROVEN: usize = 4;

/// How far the asking of one peer has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum MemberState {
    /// It is asked if one before it is overdue.
    Spare,
    Asked,
    /// Its answer takes longer than usual, and is waited for.
    Overdue,
    /// It takes so long that it is waited for only where no stand-in answers.
    Doubtful,
    Answered,
    /// It did not answer at all.
    Silent,
}

/// The members of a replica set and their stand-ins, nearest first.
pub(super) struct Members {
    me: Id,
    all: Vec<(Peer, MemberState)>,
    /// Those of them that were only heard of.
    strangers: BTreeSet<Id>,
    /// Those of a wide search that have yet to answer a ping, and the source that named each.
    unproven: BTreeMap<Id, Subnet>,
    patient: bool,
    /// Whether those who hold nothing may name others.
    wide: bool,
}

impl Members {
    pub(super) fn new(peers: Vec<Peer>, me: &Peer, goal: Goal) -> Self {
        let patient = goal == Goal::Holders;
        // Where this peer is, others only say.
        let own = |peer: Peer| if peer.id == me.id { *me } else { peer };
        let all = peers.into_iter().map(|peer| (own(peer), MemberState::Spare)).collect();
        let (strangers, unproven) = (BTreeSet::new(), BTreeMap::new());
        Self { me: me.id, all, strangers, unproven, patient, wide: goal == Goal::MoreHolders }
    }

    /// The same for a wide search, if it `is_wide`: one at `owner` named the strangers.
    pub(super) fn widened(mut self, is_wide: bool, owner: SocketAddr) -> Self {
        self.wide |= is_wide;
        if self.wide {
            self.unproven = self.strangers.iter().map(|id| (*id, Subnet::of(owner))).collect();
        }
        self
    }

    /// The same, of which those among the members `before` were asked, and may have answered.
    pub(super) fn after(mut self, before: Option<Self>) -> Self {
        for (peer, standing) in before.into_iter().flat_map(|before| before.all) {
            self.set(&peer, standing);
        }
        self
    }

    /// One at `namer`, who does not hold the block at `key`, names these. Some may have shown that they receive.
    fn hear_of(&mut self, key: &Id, namer: &SocketAddr, named: &[Peer], is_proven: impl Fn(&SocketAddr) -> bool) {
        if !self.wide {
            return;
        }
        for peer in named.iter().take(WIDTH).filter(|peer| AddressScope::may_name(namer, &peer.addr)) {
            let is_new = peer.id != self.me && self.all.iter().all(|(other, _)| other.id != peer.id);
            if is_new && self.all.len() < 2 * WIDER {
                self.all.push((*peer, MemberState::Spare));
                self.strangers.insert(peer.id);
                if !is_proven(&peer.addr) {
                    self.unproven.insert(peer.id, Subnet::of(*namer));
                }
            }
        }
        self.all.sort_by_key(|(peer, _)| clockwise_from(key, peer));
    }

    /// How many are to answer.
    fn places(&self) -> usize {
        if self.wide { WIDER } else { WIDTH }
    }

    /// The same, of whom these were only heard of.
    pub(super) fn with_strangers(mut self, is_stranger: impl Fn(&Peer) -> bool) -> Self {
        let is_other = |peer: &&Peer| peer.id != self.me && is_stranger(peer);
        self.strangers = self.all.iter().map(|(peer, _)| peer).filter(is_other).map(|peer| peer.id).collect();
        self
    }

    /// Whether of those that the owner named more strangers are late than others have answered, besides the first, the
    /// owner itself; or two are that stand in for others. Behind the last stranger stand only those that are known
    /// here.
    fn is_wary(&self) -> bool {
        let is_stranger = |(peer, _): &(Peer, MemberState)| self.strangers.contains(&peer.id);
        let named = self.all.iter().rposition(is_stranger).map_or(0, |last| last + 1);
        let is_late = |standing| matches!(standing, MemberState::Overdue | MemberState::Doubtful | MemberState::Silent);
        let late = |members: &[(Peer, MemberState)]| {
            members.iter().filter(|member| is_stranger(member) && is_late(member.1)).count()
        };
        let has_answered =
            |(peer, standing): &&(Peer, MemberState)| *standing == MemberState::Answered && peer.id != self.me;
        let answered = self.all[..named].iter().skip(1).filter(has_answered);
        late(&self.all[..named]) > answered.count() || late(self.all.get(WIDTH..).unwrap_or_default()) > 1
    }

    /// Members of this standing that a patient search waits for: those that are known here.
    fn count_waited_for(&self, standing: MemberState) -> usize {
        let is_waited_for = |peer: &Peer| self.patient && !self.strangers.contains(&peer.id);
        self.all.iter().filter(|(peer, other)| *other == standing && is_waited_for(peer)).count()
    }

    fn count(&self, standing: MemberState) -> usize {
        self.all.iter().filter(|(_, other)| *other == standing).count()
    }

    /// The next peer that is to be asked now, with fewer nearer ones than the set has places; this one itself need not
    /// be.
    fn next(&mut self) -> Option<Peer> {
        let (wary, mut places) = (self.is_wary(), self.places());
        let (strangers, patient, pinged) = (&self.strangers, self.patient, self.pinged());
        let waits = |peer: &Peer| {
            self.unproven.get(&peer.id).is_some_and(|namer| pinged.get(namer).is_some_and(|out| *out >= MOST_UNPROVEN))
        };
        for (peer, standing) in &mut self.all {
            let takes_place = match standing {
                MemberState::Answered | MemberState::Asked => true,
                MemberState::Overdue | MemberState::Doubtful => patient && !strangers.contains(&peer.id),
                MemberState::Silent => false,
                MemberState::Spare if wary && strangers.contains(&peer.id) || waits(peer) => false,
                MemberState::Spare if peer.id == self.me => {
                    *standing = MemberState::Answered;
                    true
                }
                MemberState::Spare => {
                    *standing = MemberState::Asked;
                    return Some(*peer);
                }
            };
            places -= usize::from(takes_place);
            if places == 0 {
                return None;
            }
        }
        None
    }

    /// How many strangers are pinged now of those that each source named.
    fn pinged(&self) -> BTreeMap<Subnet, usize> {
        let is_out = |standing| matches!(standing, MemberState::Asked | MemberState::Overdue);
        let out = self.all.iter().filter(|(_, standing)| is_out(*standing));
        count(out.filter_map(|(peer, _)| self.unproven.get(&peer.id).copied()))
    }

    /// The peer has answered, or has not for so long.
    fn set(&mut self, peer: &Peer, to: MemberState) {
        self.all.iter_mut().filter(|(other, _)| other == peer).for_each(|(_, standing)| *standing = to);
    }

    fn is_complete(&self) -> bool {
        let enough =
            self.count(MemberState::Answered) >= self.places() && self.count_waited_for(MemberState::Doubtful) == 0;
        let awaited = self.count(MemberState::Asked) + self.count(MemberState::Overdue);
        awaited == 0 && (enough || self.count(MemberState::Doubtful) == 0)
    }

    /// The nearest that live, and the others that were named before the last of them.
    fn found(self, is_dead: impl Fn(&Peer) -> bool) -> (Vec<Peer>, Vec<Peer>) {
        let lives = |(peer, standing): &(Peer, MemberState)| {
            *standing == MemberState::Answered || self.patient && !is_dead(peer)
        };
        let silent = self.all.iter().take(WIDTH).filter(|member| !lives(member)).map(|(peer, _)| *peer).collect();
        (self.all.iter().filter(|member| lives(member)).map(|(peer, _)| *peer).take(WIDTH).collect(), silent)
    }
}

impl Ring {
    /// Asks the members whose turn it is, and ends the search if no answer is awaited any more.
    pub(super) fn ask_members(&mut self, lookup: LookupId, out: &mut Vec<Effect>) {
        let Some(search) = self.searches.get_mut(&lookup) else { return };
        let Some((members, _)) = &mut search.found else { return };
        let asked: Vec<Peer> = std::iter::from_fn(|| members.next()).collect();
        let pinged = asked.iter().map(|peer| members.unproven.contains_key(&peer.id)).collect::<Vec<_>>();
        let (key, complete) = (search.key, members.is_complete());
        let tries = if search.goal == Goal::Survey && !search.wide { Some(patience::QUESTION) } else { None };
        for (peer, is_unproven) in asked.into_iter().zip(pinged) {
            self.ask_member(lookup, peer, if is_unproven { Some(patience::ONCE) } else { tries }, out);
        }
        if complete
            && let Some(search) = self.searches.remove(&lookup)
            && let Some((members, hops)) = search.found
        {
            // Answers come over connections that others make to this peer, or by datagrams of theirs: none do.
            if self.options.guest && search.wide && self.hears.is_none() {
                self.hears = Some(false);
            }
            let (mut unreached, conclusive) = (search.unreached, search.conclusive);
            let (peers, silent) = members.found(|peer| self.vitals.is_dead(peer));
            unreached.extend(silent);
            let crowded = self.table.is_crowded(&key, &peers);
            out.push(Effect::Found { lookup, found: Found { peers, hops, unreached, conclusive, crowded } });
        }
    }

    /// Asks a member whether it holds the block: by so many pings, or over a connection.
    fn ask_member(&mut self, lookup: LookupId, peer: Peer, pings: Option<u8>, out: &mut Vec<Effect>) {
        let Some(key) = self.searches.get(&lookup).map(|search| search.key) else { return };
        let is_ping = pings.is_some();
        let request = if is_ping { Request::Ring(RingRequest::Has { key }) } else { Request::FindValue { key } };
        let why = QuestionFor::Value { lookup, peer, is_ping };
        self.ask_plain(peer.into(), request, why, pings.unwrap_or(patience::QUESTION), out);
    }

    /// A member answered a ping without saying that it holds the block. An older peer answers any ping so, and in a
    /// wide search it is to name others.
    pub(super) fn on_member_there(&mut self, lookup: LookupId, peer: Peer, is_older: bool, out: &mut Vec<Effect>) {
        let Some(Search { found: Some((members, _)), .. }) = self.searches.get_mut(&lookup) else { return };
        if members.unproven.remove(&peer.id).is_some() || is_older {
            self.ask_member(lookup, peer, None, out);
        } else {
            self.on_value(lookup, peer, None, out);
        }
    }

    /// A member said whether it holds the block, or whom it knows near the key.
    pub(super) fn on_value(
        &mut self,
        lookup: LookupId,
        peer: Peer,
        response: Option<&Response>,
        out: &mut Vec<Effect>,
    ) {
        let Some(search) = self.searches.get_mut(&lookup) else { return };
        if response.is_some_and(|response| response.node().is_some()) {
            out.push(Effect::Holder { lookup, peer });
        }
        if let Some((members, _)) = &mut search.found {
            members.set(&peer, MemberState::Answered);
            if let Some(Response::Nodes(named)) = response {
                let (proven, now) = (&self.proven, self.now);
                let is_proven = |addr: &SocketAddr| proven.get(addr).is_some_and(|shown| is_recent(now, *shown));
                members.hear_of(&search.key, &peer.addr, named, is_proven);
            }
        }
        self.ask_members(lookup, out);
    }

    /// A member did not answer in time, or not at all.
    pub(super) fn on_no_value(&mut self, lookup: LookupId, peer: Peer, how: MemberState, out: &mut Vec<Effect>) {
        if let Some(Search { found: Some((members, _)), .. }) = self.searches.get_mut(&lookup) {
            members.set(&peer, how);
        }
        self.ask_members(lookup, out);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::super::RingOptions;
    use super::*;
    use crate::overlay::{Cause, Overlay};
    use crate::time::Time;
    use crate::wire::ring::RingResponse;

    fn peers(count: u16) -> Vec<Peer> {
        (1..=count).map(|n| Peer::new(Id::from_u64(n.into()), ([127, 0, 0, 1], n).into())).collect()
    }

    fn asked(members: &mut Members) -> usize {
        std::iter::from_fn(|| members.next()).count()
    }

    #[test]
    fn where_all_holders_failed_those_are_asked_too_whom_an_honest_member_names_and_only_then() {
        for (goal, expected) in [(Goal::Holders, 0), (Goal::MoreHolders, 3)] {
            let (all, key) = (peers(9), Id::from_u64(0));
            // Two liars, which name nobody else, and one that is known here.
            let mut members = Members::new(vec![all[0], all[1], all[8]], &peers(10)[9], goal);
            assert_eq!(asked(&mut members), 3);
            let afar = [93, 184, 216, 34].into();
            members.hear_of(&key, &SocketAddr::new(afar, 9), &all, |_| true);
            assert_eq!(asked(&mut members), 0, "no peer of the open internet names one of this machine");
            members.hear_of(&key, &all[0].addr, &[all[0], all[1], all[2], all[3], all[4]], |_| true);
            assert_eq!(asked(&mut members), expected, "{goal:?}");
            (0..20).for_each(|_| members.hear_of(&key, &all[0].addr, &peers(200)[100..], |_| true));
            assert!(members.all.len() <= 2 * WIDER, "{}", members.all.len());
        }
    }

    /// A liar names seven addresses to a wide search of the peer 5. One of them, or none, has a peer that answers.
    fn asked_of_named(answering: Option<usize>) -> Vec<(SocketAddr, Request, u8)> {
        let peer = |n: u8| Peer::new(Id::from_u64(u64::from(n) * 1000), ([10, 0, 0, n], 7000).into());
        let named: Vec<Peer> =
            (1..=7).map(|n| Peer::new(Id::from_u64(1500 + n), ([203, 0, 113, 1], 80 + n as u16).into())).collect();
        let (mut ring, mut out) = (Ring::new(peer(5), RingOptions::default()), Vec::new());
        ring.fill(Time::ZERO, &(1..=20).map(peer).collect::<Vec<_>>());
        ring.lookup(Time::ZERO, 1, Id::from_u64(1500), Goal::MoreHolders, &mut out);
        let (mut asked, mut waiting) = (Vec::new(), VecDeque::new());
        loop {
            for effect in std::mem::take(&mut out) {
                let (to, tag, tries, request) = match effect {
                    Effect::Ask { to, tag, tries, request, .. } => (to, tag, tries, request),
                    Effect::Found { .. } => return asked,
                    _ => continue,
                };
                let owner = RingResponse::Owner { peers: vec![peer(2)], hops: 0, trail: Vec::new(), brief: false };
                let response = match request {
                    request if named.iter().any(|peer| peer.addr == to.addr) => {
                        asked.push((to.addr, request.clone(), tries));
                        waiting.push_back((to, tag, request));
                        assert!(waiting.len() <= MOST_UNPROVEN, "{waiting:?}");
                        continue;
                    }
                    Request::FindValue { .. } if to.addr == peer(2).addr => Response::Nodes(named.clone()),
                    Request::FindValue { .. } => Response::Nodes(Vec::new()),
                    Request::Ring(RingRequest::Routed { .. }) => Response::Ring(owner),
                    _ => continue,
                };
                ring.on(Time::ZERO, Cause::Answer { tag, from: to.addr, by: to.peer(), response: &response }, &mut out);
            }
            if out.is_empty() {
                let (to, tag, request) = waiting.pop_front().expect("it ends");
                let none = RingResponse::Has { peer: to.peer().expect("it was named"), has: false };
                let is_there = answering.is_some_and(|at| named[at].addr == to.addr);
                let response = match request {
                    Request::FindValue { .. } => Response::Nodes(Vec::new()),
                    _ => Response::Ring(none),
                };
                let answer = Cause::Answer { tag, from: to.addr, by: to.peer(), response: &response };
                let cause = if is_there { answer } else { Cause::NoAnswer { tag, to } };
                ring.on(Time::ZERO, cause, &mut out);
            }
        }
    }

    #[test]
    fn whom_a_liar_names_to_a_wide_search_gets_one_ping_four_at_a_time_and_a_connection_once_it_answered() {
        let ping = Request::Ring(RingRequest::Has { key: Id::from_u64(1500) });
        let is_ping = |(_, request, tries): &&(SocketAddr, Request, u8)| *request == ping && *tries == patience::ONCE;
        let silent = asked_of_named(None);
        let addresses: BTreeSet<SocketAddr> = silent.iter().map(|(addr, ..)| *addr).collect();
        assert!(silent.iter().all(|asked| is_ping(&asked)) && addresses.len() == silent.len(), "{silent:?}");
        let mixed = asked_of_named(Some(1));
        let (pings, questions): (Vec<_>, Vec<_>) = mixed.iter().partition(is_ping);
        let [(addr, Request::FindValue { .. }, patience::QUESTION)] = questions[..] else { panic!("{mixed:?}") };
        let at = |(asked, ..): &&(SocketAddr, Request, u8)| asked == addr;
        assert!(mixed.iter().position(|asked| at(&asked)) == pings.iter().position(at), "the ping first");
    }

    #[test]
    fn this_peer_is_where_it_is_and_not_where_others_say() {
        let all = peers(3);
        let elsewhere = Peer::new(all[1].id, ([10, 0, 0, 1], 7).into());
        let mut members = Members::new(vec![all[0], elsewhere, all[2]], &all[1], Goal::Survey);
        assert_eq!(asked(&mut members), 2);
        all.iter().for_each(|peer| members.set(peer, MemberState::Answered));
        assert_eq!(members.found(|_| false), (all, Vec::new()));
    }

    #[test]
    fn for_a_member_that_is_overdue_the_next_peer_is_asked_and_the_first_seven_answers_are_the_set() {
        let all = peers(9);
        let mut members = Members::new(all.clone(), &all[2], Goal::Survey);
        assert_eq!(asked(&mut members), WIDTH - 1, "this peer is a member too");
        all[..6].iter().for_each(|peer| members.set(peer, MemberState::Answered));
        assert!(!members.is_complete());
        members.set(&all[6], MemberState::Overdue);
        assert_eq!(members.next(), Some(all[7]));
        members.set(&all[7], MemberState::Answered);
        assert!(!members.is_complete(), "the member may answer yet");
        members.set(&all[6], MemberState::Doubtful);
        assert!(members.is_complete());
        let right = [&all[..6], &all[7..8]].concat();
        assert_eq!(members.found(|_| false), (right, vec![all[6]]));
    }

    #[test]
    fn an_answer_that_is_late_counts_if_it_comes_before_that_of_the_stand_in() {
        let all = peers(9);
        let mut members = Members::new(all.clone(), &all[8], Goal::Survey);
        assert_eq!(asked(&mut members), WIDTH);
        all[1..7].iter().for_each(|peer| members.set(peer, MemberState::Answered));
        members.set(&all[0], MemberState::Overdue);
        assert_eq!(members.next(), Some(all[7]));
        members.set(&all[0], MemberState::Answered);
        assert!(!members.is_complete(), "the stand-in was asked, and may answer");
        members.set(&all[7], MemberState::Doubtful);
        assert!(members.is_complete());
        assert_eq!(members.found(|_| false), (all[..WIDTH].to_vec(), vec![]));
    }

    #[test]
    fn strangers_are_asked_in_place_of_strangers_unless_more_of_them_are_late_than_have_answered() {
        let all = peers(12);
        let strangers = |peer: &Peer| peer.id <= all[9].id;
        let begin = || {
            let mut members = Members::new(all.clone(), &all[11], Goal::Survey).with_strangers(strangers);
            assert_eq!(asked(&mut members), WIDTH);
            members
        };
        let mut honest = begin();
        all[2..7].iter().for_each(|peer| honest.set(peer, MemberState::Answered));
        all[..2].iter().for_each(|peer| honest.set(peer, MemberState::Silent));
        assert_eq!([honest.next(), honest.next()], [Some(all[7]), Some(all[8])]);
        let mut made_up = begin();
        made_up.set(&all[0], MemberState::Overdue);
        assert_eq!([made_up.next(), made_up.next()], [Some(all[10]), None]);
        all[1..3].iter().for_each(|peer| made_up.set(peer, MemberState::Answered));
        made_up.set(&all[3], MemberState::Overdue);
        assert_eq!(made_up.next(), Some(all[7]), "some of them live");
    }

    #[test]
    fn a_liar_with_four_live_peers_has_two_strangers_more_asked_and_nobody_waits_for_their_verdict() {
        let all = peers(20);
        for goal in [Goal::Survey, Goal::Holders] {
            let mut members = Members::new(all.clone(), &all[19], goal).with_strangers(|peer| peer.id <= all[14].id);
            assert_eq!(asked(&mut members), WIDTH);
            all[..5].iter().for_each(|peer| members.set(peer, MemberState::Answered));
            all[5..7].iter().for_each(|peer| members.set(peer, MemberState::Overdue));
            assert_eq!(
                [members.next(), members.next(), members.next()],
                [Some(all[7]), Some(all[8]), None],
                "{goal:?}"
            );
            all[7..9].iter().for_each(|peer| members.set(peer, MemberState::Overdue));
            assert_eq!([members.next(), members.next(), members.next()], [Some(all[15]), Some(all[16]), None]);
            all[15..17].iter().for_each(|peer| members.set(peer, MemberState::Answered));
            assert!(!members.is_complete(), "they may answer yet");
            all[5..9].iter().for_each(|peer| members.set(peer, MemberState::Doubtful));
            assert!(members.is_complete(), "{goal:?}");
        }
    }

    #[test]
    fn one_stranger_that_is_late_among_members_that_answer_keeps_no_nearer_stranger_out() {
        let all = peers(12);
        // Of the seven all but two are known here.
        let strangers = |peer: &Peer| [3, 6, 7, 8].map(|n: usize| all[n].id).contains(&peer.id);
        let mut members = Members::new(all.clone(), &all[11], Goal::Survey).with_strangers(strangers);
        assert_eq!(asked(&mut members), WIDTH);
        members.set(&all[3], MemberState::Overdue);
        assert_eq!([members.next(), members.next()], [Some(all[9]), None], "nobody has answered yet");
        [0, 1, 2, 4, 5, 6, 9].into_iter().for_each(|n: usize| members.set(&all[n], MemberState::Answered));
        members.set(&all[3], MemberState::Silent);
        assert_eq!([members.next(), members.next()], [Some(all[7]), None], "it stands before the one asked instead");
        members.set(&all[7], MemberState::Answered);
        assert!(members.is_complete());
        let right = [&all[..3], &all[4..8]].concat();
        assert_eq!(members.found(|_| false).0, right);
    }

    #[test]
    fn with_no_stand_in_left_the_verdict_on_the_silent_is_waited_for() {
        let all = peers(3);
        let mut members = Members::new(all.clone(), &all[0], Goal::Survey);
        assert_eq!(asked(&mut members), 2);
        members.set(&all[1], MemberState::Answered);
        members.set(&all[2], MemberState::Doubtful);
        assert!(!members.is_complete());
        members.set(&all[2], MemberState::Silent);
        assert!(members.is_complete());
        assert_eq!(members.found(|_| false), (all[..2].to_vec(), vec![all[2]]));
    }

    #[test]
    fn repair_hears_the_verdict_on_each_member_and_counts_the_silent_until_they_are_dead() {
        let all = peers(9);
        let mut members = Members::new(all.clone(), &all[0], Goal::Holders);
        assert_eq!(asked(&mut members), WIDTH - 1);
        all[1..6].iter().for_each(|peer| members.set(peer, MemberState::Answered));
        members.set(&all[6], MemberState::Doubtful);
        assert!(members.next().is_none() && !members.is_complete());
        members.set(&all[6], MemberState::Silent);
        assert!(members.is_complete());
        assert_eq!(members.found(|_| false).0, all[..WIDTH]);
    }
}
