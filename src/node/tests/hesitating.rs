//! Peers that do not begin with what they are offered, and others in their stead.

use super::slow::{LARGE, all_but_the_last_take_it, asks, client, is_placed, let_offers_fail, live_for, offers, read};
use super::*;
use crate::node::Command;

fn offered_to(peer: Peer, actions: &[Action]) -> Option<(SocketAddr, u64)> {
    offers(actions).into_iter().find(|(to, _)| *to == peer.addr)
}

#[test]
fn another_is_offered_the_block_in_place_of_a_peer_that_does_not_begin_to_pull() {
    let (mut bench, job) = client(4, 3);
    let (out, _) = read(&mut bench, job, 1);
    all_but_the_last_take_it(&mut bench, &out);
    let seen = live_for(&mut bench, Duration::from_secs(2));
    let (to, magic) = offered_to(peer(4), &seen).expect("it is offered to another");
    assert!(is_placed(&bench.hears_answer(to, magic, Response::Saved), 1));
}

#[test]
fn one_that_hesitates_while_others_have_taken_a_block_keeps_nobody_waiting_if_another_is_left() {
    let soon = Duration::from_millis(600);
    let (mut bench, job) = client(4, 3);
    let (out, _) = read(&mut bench, job, 1);
    let seen = live_for(&mut bench, soon);
    assert_eq!(offered_to(peer(4), &seen), None, "the way may be slow, while nobody has taken it");
    all_but_the_last_take_it(&mut bench, &out);
    let (to, magic) = offered_to(peer(4), &live_for(&mut bench, soon)).expect("it is offered to another");
    assert!(is_placed(&bench.hears_answer(to, magic, Response::Saved), 1));
    // Another block is being pulled: that takes its time.
    let (mut bench, job) = client(4, 3);
    let (first, next) = read(&mut bench, job, 1);
    all_but_the_last_take_it(&mut bench, &first);
    read(&mut bench, next.expect("it reads on"), 2);
    asks(&mut bench, 2);
    assert_eq!(offered_to(peer(4), &live_for(&mut bench, soon)), None);
}

#[test]
fn a_store_that_passes_over_who_took_nothing_a_moment_ago_says_why_it_has_fewer_copies() {
    let (mut bench, job) = client(3, 3);
    let (out, _) = read(&mut bench, job, 1);
    all_but_the_last_take_it(&mut bench, &out);
    let_offers_fail(&mut bench, true);
    let command = Command::Store { path: "another".into(), manifest: None, keep: false };
    let [(job, Job::ReadNext { .. })] = jobs(&bench.does(Event::Command { id: 2, command }))[..] else { panic!() };
    let (out, next) = read(&mut bench, job, 2);
    out.iter().for_each(|&(to, magic)| drop(bench.hears_answer(to, magic, Response::Saved)));
    let end = Outcome::End { size: LARGE, sha256: key(99) };
    let [(pack, Job::Pack { .. })] = jobs(&bench.ends(next.expect("it reads on"), end))[..] else { panic!() };
    let out = offers(&bench.ends(pack, Outcome::Packed { key: key(3), size: 200 }));
    let end: Vec<Action> =
        out.into_iter().flat_map(|(to, magic)| bench.hears_answer(to, magic, Response::Saved)).collect();
    let Some(Answer::Stored { copies, lacking: Some(why), .. }) = answer(&end) else { panic!("{end:?}") };
    assert_eq!(copies, [0, 0, 2]);
    assert!(why.starts_with(&peer(3).to_string()) && why.contains("took nothing a moment ago"), "{why}");
}

#[test]
fn who_is_being_sent_a_block_over_a_slow_way_is_not_called_silent_though_its_pings_get_lost() {
    let (mut bench, job) = client(1, 1);
    let (out, _) = read(&mut bench, job, 1);
    asks(&mut bench, 1);
    let again = let_offers_fail(&mut bench, false);
    assert!(again.iter().all(|offer| *offer == out[0]), "it is the same offer: {again:?}");
    assert!(is_placed(&bench.hears_answer(out[0].0, out[0].1, Response::Saved), 1));
}
