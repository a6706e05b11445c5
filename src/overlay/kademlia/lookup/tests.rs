//! A lookup, answer by answer.

use std::collections::BTreeSet;

use super::*;
use crate::overlay::Late;

fn peer(n: u16) -> Peer {
    Peer::new(Id::from_u64(n.into()), SocketAddr::from(([10, 0, 0, 1], n)))
}

fn lookup(start: &[u16]) -> Lookup {
    Lookup::new(Id::ZERO, Goal::Peers, Id::from_u64(9999), start.iter().map(|&n| peer(n)).collect(), |_| false)
}

/// The next question, where `named` says who named itself lately.
fn next(lookup: &mut Lookup, named: impl Fn(&Peer) -> bool) -> Option<LookupQuestion> {
    lookup.next(|peer| PeerKnowledge { named: named(peer), dead: false })
}

fn asked(lookup: &mut Lookup) -> Vec<u64> {
    std::iter::from_fn(|| next(lookup, |_| true)).filter_map(|question| question.peer.id.to_u64()).collect()
}

/// These names, and far ones until the answer is as long as they usually are.
fn among_others(names: &[u16]) -> Vec<Peer> {
    names.iter().copied().chain(1000..).take(WIDTH).map(peer).collect()
}

#[test]
fn alpha_are_asked_and_all_of_the_nearest_once_nobody_nearer_comes() {
    let mut lookup = lookup(&[10, 20, 30, 40, 50, 60, 70, 80]);
    assert_eq!(asked(&mut lookup), [10, 20, 30]);
    lookup.on_names(&peer(10).addr, &among_others(&[5]), WIDTH);
    assert_eq!(asked(&mut lookup), [5], "the answer brought somebody nearer");
    lookup.on_names(&peer(5).addr, &among_others(&[90]), WIDTH);
    assert_eq!(asked(&mut lookup), [40, 50, 60], "it did not");
    assert!(!lookup.is_over());
    for n in [20, 30, 40, 50, 60] {
        lookup.on_names(&peer(n).addr, &among_others(&[]), WIDTH);
    }
    assert_eq!(asked(&mut lookup), Vec::<u64>::new());
    assert!(lookup.is_over());
    let (peers, hops) = lookup.result();
    assert_eq!(peers, [5, 10, 20, 30, 40, 50, 60].map(peer));
    assert_eq!(hops, 2);
}

#[test]
fn contacts_that_answered_a_moment_ago_are_asked_only_where_somebody_nearer_may_be_known() {
    let start = (1..=9).map(|n| peer(n * 10)).collect();
    let fresh = |asked: &Peer| *asked != peer(50);
    let mut lookup = Lookup::new(Id::ZERO, Goal::Peers, Id::from_u64(9999), start, fresh);
    assert_eq!(asked(&mut lookup), [10, 20, 50], "the one contact that has long been silent is asked too");
    lookup.on_names(&peer(10).addr, &among_others(&[20, 15]), WIDTH);
    assert_eq!(asked(&mut lookup), [15], "a new name");
    for n in [15, 20] {
        lookup.on_names(&peer(n).addr, &among_others(&[]), WIDTH);
    }
    assert!(!lookup.is_over());
    lookup.on(&peer(50).addr, ShortlistEvent::Failed);
    assert!(lookup.is_over());
    assert_eq!(lookup.result().0, [10, 15, 20, 30, 40, 60, 70].map(peer));
}

#[test]
fn a_survey_that_meets_a_holder_asks_all_who_should_be_one() {
    let start = (1..=9).map(|n| peer(n * 10)).collect();
    let mut lookup = Lookup::new(Id::ZERO, Goal::Survey, Id::from_u64(9999), start, |_| true);
    assert_eq!(asked(&mut lookup), [10, 20]);
    lookup.on_holder(&peer(20).addr, peer(20).id);
    assert_eq!(asked(&mut lookup), [30, 40, 50, 60, 70]);
}

#[test]
fn liars_near_the_key_hide_no_holder_behind_them_when_more_are_wanted() {
    let mut lookup = lookup(&(1..=9).map(|n| n * 10).collect::<Vec<_>>());
    lookup.goal = Goal::MoreHolders;
    let mut heard = Vec::new();
    while let Some(question) = next(&mut lookup, |_| true) {
        let n = question.peer.id.to_u64().unwrap();
        if n <= 80 && matches!(question.request, Request::FindValue { .. }) {
            lookup.on_holder(&question.peer.addr, question.peer.id);
        } else {
            lookup.on_names(&question.peer.addr, &[], WIDTH);
        }
        heard.push(n);
    }
    assert!(lookup.is_over());
    assert!(heard.contains(&90), "{heard:?}");
}

#[test]
fn a_lookup_around_a_key_asks_nobody_who_stands_nearer_to_it() {
    // From ids that begin as 64 does, in place of 0.
    let (target, near, around) = (Id::from_u64(64), [1, 2, 9, 60], [64, 70, 90, 130]);
    let goal = Goal::Around(u8::try_from(target.leading_zeros()).unwrap());
    let start = near.iter().chain(&around[..3]).copied().map(peer).collect();
    let mut lookup = Lookup::new(target, goal, Id::from_u64(9999), start, |_| false);
    let mut heard = BTreeSet::new();
    while let Some(question) = next(&mut lookup, |_| true) {
        lookup.on_names(&question.peer.addr, &among_others(&[3, 4, 130]), WIDTH);
        heard.insert(question.peer);
    }
    assert!(lookup.is_over());
    assert!(near.iter().chain(&[3, 4]).all(|&n| !heard.contains(&peer(n))), "{heard:?}");
    assert_eq!(lookup.result().0[..4], around.map(peer));
}

#[test]
fn a_slow_peer_gives_up_its_place_and_still_counts_if_it_answers() {
    let mut lookup = lookup(&[1, 2, 3, 4]);
    assert_eq!(asked(&mut lookup), [1, 2, 3]);
    assert!(asked(&mut lookup).is_empty(), "it may still be quick");
    lookup.on(&peer(1).addr, ShortlistEvent::Late(Late::Overdue));
    assert_eq!(asked(&mut lookup), [4]);
    let all = [1, 2, 3, 4].map(peer);
    for n in [2, 3, 4] {
        lookup.on_names(&peer(n).addr, &all, WIDTH);
    }
    assert!(!lookup.is_over(), "it may still answer");
    lookup.on_names(&peer(1).addr, &all, WIDTH);
    assert!(lookup.is_over());
    assert_eq!(lookup.result().0.len(), 4);
}

#[test]
fn a_result_stands_without_the_doubtful_once_enough_others_live() {
    let start: Vec<u16> = (1..=8).collect();
    let mut lookup = lookup(&start);
    asked(&mut lookup);
    lookup.on(&peer(1).addr, ShortlistEvent::Late(Late::Doubtful));
    for n in 2..=8 {
        assert!(!lookup.is_over(), "{n} has yet to answer");
        asked(&mut lookup);
        lookup.on_names(&peer(n).addr, &among_others(&[]), WIDTH);
    }
    assert!(lookup.is_over());
    assert_eq!(lookup.result().0, [2, 3, 4, 5, 6, 7, 8].map(peer));
    assert_eq!(lookup.unreached().len(), 1);
    lookup.on_names(&peer(1).addr, &among_others(&[]), WIDTH);
    assert_eq!(lookup.result().0[0], peer(1), "its answer came late and counts");

    let mut small = self::lookup(&[1, 2, 3]);
    asked(&mut small);
    small.on(&peer(1).addr, ShortlistEvent::Late(Late::Doubtful));
    for n in [2, 3] {
        small.on_names(&peer(n).addr, &[1, 2, 3].map(peer), WIDTH);
    }
    assert!(!small.is_over(), "too few live to do without it");
    small.on(&peer(1).addr, ShortlistEvent::Failed);
    assert!(small.is_over());
}

#[test]
fn who_was_found_dead_is_asked_and_not_waited_for() {
    let mut lookup = lookup(&[1, 2, 3]);
    let dead = |asked: &Peer| PeerKnowledge { named: true, dead: *asked == peer(1) };
    assert_eq!(std::iter::from_fn(|| lookup.next(dead)).count(), 3);
    for n in [2, 3] {
        assert!(!lookup.is_over());
        lookup.on_names(&peer(n).addr, &[1, 2, 3].map(peer), WIDTH);
    }
    assert!(lookup.is_over());
    assert_eq!((lookup.result().0, lookup.unreached().len()), (vec![peer(2), peer(3)], 1));
    lookup.on_names(&peer(1).addr, &[2, 3].map(peer), WIDTH);
    assert_eq!(lookup.result().0.len(), 3, "it lives after all");
}

#[test]
fn where_the_silent_leave_too_few_those_who_live_are_asked_who_is_near_to_them() {
    let all: Vec<Peer> = (1..=9).map(peer).collect();
    let mut lookup = lookup(&(1..=9).collect::<Vec<_>>());
    asked(&mut lookup);
    for n in [1, 2, 3] {
        lookup.on(&peer(n).addr, ShortlistEvent::Late(Late::Doubtful));
    }
    for n in 4..=9 {
        asked(&mut lookup);
        lookup.on_names(&peer(n).addr, &all, WIDTH);
    }
    assert!(!lookup.is_over(), "six live");
    let again: Vec<LookupQuestion> = std::iter::from_fn(|| next(&mut lookup, |_| true)).collect();
    let reason = AskReason::Repeat;
    let expected =
        (4..=9).map(|n| LookupQuestion { peer: peer(n), request: Request::FindNode { id: peer(n).id }, reason });
    assert_eq!(again, Vec::from_iter(expected));
    for n in 4..=9 {
        lookup.on_names(&peer(n).addr, &[peer(20)], WIDTH);
    }
    assert_eq!(asked(&mut lookup), [20], "nobody named it among the nearest to the key");
    lookup.on_names(&peer(20).addr, &all, WIDTH);
    assert!(asked(&mut lookup).is_empty() && lookup.is_over());
    assert_eq!((lookup.result().0, lookup.unreached().len()), ([4, 5, 6, 7, 8, 9, 20].map(peer).to_vec(), 3));
}

#[test]
fn a_contact_that_names_fewer_than_we_know_is_asked_once_more() {
    let mut lookup = lookup(&[1, 2, 3, 4]);
    assert_eq!(asked(&mut lookup), [1, 2, 3]);
    for n in [1, 2, 3] {
        lookup.on_names(&peer(n).addr, &[1, 2, 3, 4].map(peer)[..if n == 2 { 2 } else { 4 }], WIDTH);
    }
    assert_eq!(asked(&mut lookup), [4]);
    lookup.on_names(&peer(4).addr, &[1, 2, 3].map(peer), WIDTH);
    assert_eq!(asked(&mut lookup), [2], "it may not know yet that we receive");
    lookup.on_names(&peer(2).addr, &[1].map(peer), WIDTH);
    assert!(asked(&mut lookup).is_empty() && lookup.is_over());
}

#[test]
fn a_name_counts_only_under_the_id_that_it_proves() {
    let mut lookup = lookup(&[100]);
    asked(&mut lookup);
    lookup.on_names(&peer(100).addr, &[peer(1), Peer::new(Id::from_u64(2), peer(1).addr)], WIDTH);
    assert_eq!(next(&mut lookup, |_| false).map(|question| question.peer), Some(peer(1)));
    assert_eq!(next(&mut lookup, |_| false), None, "an address stands in the shortlist once");
    lookup.on_names(&peer(1).addr, &[peer(7); 7], WIDTH);
    assert!(lookup.is_unproven(&peer(1).addr));
    lookup.on_identified(&peer(1).addr, Id::from_u64(500));
    next(&mut lookup, |_| false).unwrap();
    lookup.on(&peer(7).addr, ShortlistEvent::Failed);
    assert!(lookup.is_over());
    assert_eq!(lookup.result().0, [peer(100), Peer::new(Id::from_u64(500), peer(1).addr)]);
}

#[test]
fn a_peer_that_came_back_under_another_id_is_not_hidden_by_its_former_one() {
    let mut lookup = lookup(&[100, 900]);
    assert_eq!(next(&mut lookup, |_| true).map(|question| question.peer), Some(peer(100)));
    let reborn = Peer::new(Id::from_u64(1), peer(900).addr);
    lookup.on_names(&peer(100).addr, &[reborn], WIDTH);
    let question = next(&mut lookup, |contact| *contact == peer(900)).unwrap();
    assert_eq!(question.peer, reborn);
    lookup.on_names(&reborn.addr, &[peer(100); 7], WIDTH);
    assert!(lookup.is_unproven(&reborn.addr));
    lookup.on_identified(&reborn.addr, reborn.id);
    assert_eq!(lookup.result().0, [reborn, peer(100)]);
}

#[test]
fn holders_and_strangers_with_few_names_are_asked_again_at_the_end() {
    let mut lookup = lookup(&[1, 2]);
    lookup.goal = Goal::Holders;
    assert_eq!(asked(&mut lookup), [1, 2]);
    assert_eq!(lookup.on_holder(&peer(1).addr, peer(1).id), Some(peer(1)));
    assert_eq!(next(&mut lookup, |_| true), None, "the other may answer first");
    lookup.on_names(&peer(2).addr, &[], WIDTH);
    let again = next(&mut lookup, |_| true).unwrap();
    assert_eq!(again.request, Request::FindNode { id: Id::ZERO });
    lookup.on_names(&peer(1).addr, &[peer(3)], WIDTH);
    assert!(!lookup.is_over());
    assert_eq!(asked(&mut lookup), [3]);
}

#[test]
fn where_the_silent_leave_too_few_those_that_were_met_meanwhile_stand_in_and_nobody_waits() {
    let mut lookup = lookup(&[10, 20, 30, 40, 50, 60, 70]);
    assert_eq!(asked(&mut lookup), [10, 20, 30]);
    lookup.on_names(&peer(30).addr, &(1..=7).map(|n| peer(n * 10)).collect::<Vec<_>>(), WIDTH);
    assert_eq!(asked(&mut lookup), [40, 50, 60, 70]);
    for n in [10, 40, 50, 60, 70] {
        lookup.on_names(&peer(n).addr, &(1..=7).map(|n| peer(n * 10)).collect::<Vec<_>>(), WIDTH);
    }
    assert!(!lookup.begins_to_ask_again());
    lookup.on(&peer(20).addr, ShortlistEvent::Late(Late::Doubtful));
    let wider = asked(&mut lookup);
    assert!(!wider.is_empty() && lookup.begins_to_ask_again() && !lookup.begins_to_ask_again(), "{wider:?}");
    lookup.join([20, 80].map(peer).to_vec());
    assert_eq!(asked(&mut lookup), [80]);
    for n in wider.into_iter().map(|n| n as u16).chain([80]) {
        lookup.on_names(&peer(n).addr, &(1..=7).map(|n| peer(n * 10)).collect::<Vec<_>>(), WIDTH);
    }
    assert!(asked(&mut lookup).is_empty() && lookup.is_over(), "20 is silent, and not waited for");
    assert_eq!(lookup.result().0, [10, 30, 40, 50, 60, 70, 80].map(peer));
}

#[test]
fn who_was_named_and_is_silent_is_counted_unless_it_lies_or_lives_elsewhere() {
    let mut lookup = lookup(&[10, 20, 30, 40]);
    assert_eq!(asked(&mut lookup), [10, 20, 30]);
    // A stranger at 7 turns out to be 50; 10 is named at a second address, where nobody is.
    let elsewhere = Peer::new(Id::from_u64(10), peer(11).addr);
    let names = [peer(5), peer(6), peer(7), elsewhere];
    lookup.on_names(&peer(10).addr, &names, WIDTH);
    lookup.on_identified(&peer(7).addr, Id::from_u64(50));
    for silent in [5, 6, 11, 20] {
        lookup.on(&peer(silent).addr, ShortlistEvent::Failed);
    }
    lookup.on(&peer(6).addr, ShortlistEvent::Void);
    assert_eq!(lookup.unreached().len(), 2, "5 and 20: 6 said goodbye, 10 answers where it is");
    let mut crowded = self::lookup(&[1, 2, 3, 4, 5, 6, 7, 8, 9]);
    for n in 1..=7 {
        asked(&mut crowded);
        crowded.on_names(&peer(n).addr, &among_others(&[]), WIDTH);
    }
    crowded.on(&peer(9).addr, ShortlistEvent::Failed);
    assert_eq!(crowded.unreached().len(), 0, "it belongs not among the nearest");
}

#[test]
fn a_lookup_that_knows_only_peers_that_were_found_dead_waits_for_them() {
    let mut lookup = lookup(&[10, 20]);
    let dead = |_: &Peer| PeerKnowledge { named: true, dead: true };
    while lookup.next(dead).is_some() {}
    assert!(!lookup.is_over(), "whom else could it hear?");
    lookup.on(&peer(10).addr, ShortlistEvent::Failed);
    assert!(!lookup.is_over());
    lookup.on_names(&peer(20).addr, &among_others(&[20]), WIDTH);
    while let Some(question) = next(&mut lookup, |_| true) {
        lookup.on(&question.peer.addr, ShortlistEvent::Failed);
    }
    assert!(lookup.is_over());
    assert_eq!(lookup.result().0, [peer(20)]);
}

#[test]
fn where_less_than_a_third_is_answered_the_overdue_free_no_places() {
    let asked_while_late = |answered: usize| {
        let mut lookup = lookup(&(1..=40).collect::<Vec<_>>());
        let mut count = 0;
        while let Some(question) = next(&mut lookup, |_| true) {
            count += 1;
            if count <= answered {
                lookup.on_names(&question.peer.addr, &among_others(&[]), WIDTH);
            } else {
                lookup.on(&question.peer.addr, ShortlistEvent::Late(Late::Overdue));
            }
        }
        (count, lookup)
    };
    assert_eq!(asked_while_late(6).0, 3 * 6 + 1, "while a third is answered");
    let (count, mut lookup) = asked_while_late(0);
    assert_eq!(count, BRAKED_FROM as usize);
    lookup.shortlist.iter().map(|entry| entry.peer.addr).collect::<Vec<_>>().iter().for_each(|addr| {
        lookup.on(addr, ShortlistEvent::Late(Late::Doubtful));
    });
    assert!(next(&mut lookup, |_| true).is_some(), "who is doubted is not waited for");
}
