//! What others ask a node to hold.

use super::*;
use crate::config::{MAX_BLOCK_SIZE, MAX_JOBS, MAX_PULLS};
use crate::lease::{Lease, Secret};
use crate::node::job::JobErrorKind;
use crate::node::{Command, Source};
use crate::wire::Difference;
use crate::wire::ring::RingRequest;

pub(super) fn store(n: u64) -> Request {
    Request::Store { key: key(n), size: Some(1000), leases: vec![] }
}

/// A node that has seen `peer(1)` answer.
pub(super) fn acquainted() -> Bench {
    let mut bench = Bench::new(Config::default(), 2, 0).start(&[]);
    bench.does(Event::Validated { addr: peer(1).addr });
    bench
}

#[test]
fn saved_is_said_only_once_the_block_is_durable() {
    let mut bench = acquainted();
    let actions = bench.hears_request(peer(1), 5, store(1));
    let work = Job::Pull { key: key(1), size: Some(1000), from: peer(1).addr, leases: vec![Lease::NOBODYS] };
    assert_eq!(jobs(&actions), [(0, work)]);
    assert_eq!(responses(&actions), []);
    let actions = bench.ends(0, Outcome::Stored { size: 1000 });
    assert_eq!(responses(&actions), [(peer(1).addr, 5, Ok(Response::Saved))]);
    let actions = bench.hears_request(peer(1), 6, store(1));
    assert_eq!(
        jobs(&actions),
        [(1, Job::Verify { key: key(1), leases: vec![] })],
        "a block that is here is looked at, not pulled again"
    );
    let actions = bench.ends(1, Outcome::Sound { size: 1000 });
    assert_eq!(
        (jobs(&actions), responses(&actions)),
        (vec![(2, Job::Sample { key: key(1), magic: 6, by: peer(0).id })], vec![]),
        "that it is here has to be shown, for nobody pulled it"
    );
    assert_eq!(bench.hears_request(peer(1), 6, store(1)), [], "the same offer again gets the one answer");
    let actions = bench.ends(2, Outcome::Sampled { sample: key(7) });
    assert_eq!(responses(&actions), [(peer(1).addr, 6, Ok(Response::Shown { sample: key(7) }))]);
}

#[test]
fn of_two_that_offer_a_block_the_one_is_asked_for_it_and_the_other_is_shown_it() {
    let mut bench = acquainted();
    bench.does(Event::Validated { addr: peer(2).addr });
    bench.hears_request(peer(1), 5, store(1));
    assert_eq!(bench.hears_request(peer(2), 6, store(1)), []);
    let actions = bench.ends(0, Outcome::Stored { size: 1000 });
    assert_eq!(responses(&actions), [(peer(1).addr, 5, Ok(Response::Saved))]);
    assert_eq!(jobs(&actions), [(1, Job::Sample { key: key(1), magic: 6, by: peer(0).id })]);
    let actions = bench.ends(1, failed(JobErrorKind::Io));
    assert!(matches!(&responses(&actions)[..], [(_, 6, Err(reason))] if reason.contains("disk")), "{actions:?}");
}

#[test]
fn a_block_that_cannot_be_vouched_for_is_pulled_anew_before_it_is_called_saved() {
    // Its file may be damaged (then the node has heard of that already), or the disk may refuse to show it.
    for damaged in [true, false] {
        let mut bench = Bench::new(Config::default(), 2, 0).start(&[(key(1), 4)]);
        bench.does(Event::Validated { addr: peer(1).addr });
        assert_eq!(
            jobs(&bench.hears_request(peer(1), 5, store(1))),
            [(0, Job::Verify { key: key(1), leases: vec![] })]
        );
        if damaged {
            bench.does(Event::Damaged { key: key(1) });
        }
        let actions = bench.ends(0, failed(if damaged { JobErrorKind::Corrupt } else { JobErrorKind::Io }));
        assert_eq!(responses(&actions), []);
        let pull = |(_, job): &(JobId, Job)| matches!(job, Job::Pull { from, .. } if *from == peer(1).addr);
        let Some((pull, _)) = jobs(&actions).into_iter().find(pull) else { panic!("{actions:?}") };
        let actions = bench.ends(pull, Outcome::Stored { size: 1000 });
        assert_eq!(responses(&actions), [(peer(1).addr, 5, Ok(Response::Saved))]);
        assert_eq!(bench.node.held().collect::<Vec<_>>(), [(key(1), 1000)]);
    }
}

#[test]
fn nothing_is_done_for_a_stranger_about_a_block_that_is_here_until_it_answered_at_its_address() {
    let mut bench = Bench::new(Config::default(), 0, 0).start(&[(key(1), 4)]);
    let lease = Lease { id: Secret::from_bytes([1; 32]).id(), until: Some(100_000), copies: 7 };
    let offer = Request::Store { key: key(1), size: Some(1000), leases: vec![lease] };
    let actions = bench.hears_request(peer(9), 5, offer);
    assert_eq!((jobs(&actions), responses(&actions)), (vec![], vec![]));
    let [(to, magic, Request::Ping)] = requests(&actions)[..] else { panic!("{actions:?}") };
    assert!(!bench.node.desk.has_leases(&key(1), &[lease]));
    let actions = bench.hears_answer(to, magic, Response::Node(peer(9)));
    let leases = [Lease::NOBODYS, lease];
    assert!(matches!(&jobs(&actions)[..], [(_, Job::Verify { leases: laid, .. })] if laid.len() == leases.len()));
}

#[test]
fn who_answered_at_its_address_once_is_pulled_from_where_the_block_turns_out_damaged() {
    let mut bench = Bench::new(Config::default(), 0, 0).start(&[(key(1), 4)]);
    let [(to, magic, _)] = requests(&bench.hears_request(peer(9), 5, store(1)))[..] else { panic!("one ping") };
    let actions = bench.hears_answer(to, magic, Response::Node(peer(9)));
    let [(look, Job::Verify { .. })] = jobs(&actions)[..] else { panic!("{actions:?}") };
    bench.does(Event::Damaged { key: key(1) });
    let actions = bench.ends(look, failed(JobErrorKind::Corrupt));
    let pull = |(_, job): &(JobId, Job)| matches!(job, Job::Pull { from, .. } if *from == peer(9).addr);
    assert!(jobs(&actions).iter().any(pull), "{actions:?}");
}

#[test]
fn a_pull_that_failed_is_answered_with_the_reason() {
    for (kind, word) in
        [(JobErrorKind::Full, "full"), (JobErrorKind::Corrupt, "hash"), (JobErrorKind::TimedOut, "pulled")]
    {
        let mut bench = acquainted();
        bench.hears_request(peer(1), 5, store(1));
        let actions = bench.ends(0, failed(kind));
        let [(_, 5, Err(reason))] = &responses(&actions)[..] else { panic!("{actions:?}") };
        assert!(reason.contains(word), "{reason}");
        assert_eq!(bench.node.held().count(), 0);
    }
}

#[test]
fn a_repeated_offer_starts_no_second_pull_and_gets_one_answer() {
    let mut bench = acquainted();
    bench.hears_request(peer(1), 5, store(1));
    assert_eq!(bench.hears_request(peer(1), 5, store(1)), []);
    let actions = bench.ends(0, Outcome::Stored { size: 1000 });
    assert_eq!(responses(&actions).len(), 1);
}

#[test]
fn a_stranger_is_pulled_from_only_after_it_answered_at_its_address() {
    let mut bench = Bench::new(Config::default(), 2, 0).start(&[]);
    let actions = bench.hears_request(peer(9), 5, store(1));
    assert_eq!(jobs(&actions), []);
    let [(to, magic, Request::Ping)] = requests(&actions)[..] else { panic!("{actions:?}") };
    assert_eq!(to, peer(9).addr);
    assert_eq!(
        bench.hears_answer(addr(1), magic, Response::Node(peer(9))),
        [],
        "an answer from elsewhere proves nothing"
    );
    let actions = bench.hears_answer(peer(9).addr, magic, Response::Node(peer(9)));
    assert!(matches!(jobs(&actions)[..], [(0, Job::Pull { from, .. })] if from == peer(9).addr));
}

#[test]
fn a_stranger_that_stays_silent_gets_one_ping_and_is_forgotten() {
    let mut bench = Bench::new(Config::default(), 2, 0).start(&[]);
    let mut pings = 0;
    for magic in 0..200 {
        pings += requests(&bench.hears_request(peer(9), magic, store(magic))).len();
    }
    assert_eq!(pings, 1);
    while let Some(actions) = bench.wait(Duration::from_secs(60)) {
        assert_eq!(requests(&actions), [], "no second datagram to an address that shows nothing");
    }
}

#[test]
fn a_stranger_whose_offer_came_over_a_connection_is_pinged_again_for_a_ping_may_be_lost() {
    let mut bench = Bench::new(Config::default(), 2, 0).start(&[]);
    let message = Message::request(5, Sender::member(peer(9).id, peer(9).addr), store(1));
    let offer = Event::Message { from: peer(9).addr, via: Via::Tcp, bytes: 250, message };
    let is_ping = |(to, _, request): &(SocketAddr, u64, Request)| *to == peer(9).addr && *request == Request::Ping;
    let mut pings: Vec<_> = requests(&bench.does(offer)).into_iter().filter(is_ping).collect();
    while pings.len() < 3 {
        let actions = bench.wait(Duration::from_secs(10)).expect("it is asked again");
        assert_eq!(responses(&actions), [], "it waits");
        pings.extend(requests(&actions).into_iter().filter(is_ping));
    }
    let actions = bench.hears_answer(peer(9).addr, pings[2].1, Response::Node(peer(9)));
    assert!(jobs(&actions).iter().any(|(_, job)| matches!(job, Job::Pull { from, .. } if *from == peer(9).addr)));
}

#[test]
fn a_flood_of_offers_is_refused_as_busy_not_queued_without_bound() {
    let mut bench = acquainted();
    let mut refused = 0;
    for n in 0..2 * MAX_PULLS as u64 {
        refused += responses(&bench.hears_request(peer(1), n, store(n))).len();
    }
    assert_eq!(refused, MAX_PULLS + MAX_PULLS / 2, "one peer has at most half of what there is");
    bench.does(Event::Validated { addr: peer(2).addr });
    let actions = bench.hears_request(peer(2), 1, store(1 << 40));
    assert!(matches!(jobs(&actions)[..], [(_, Job::Pull { from, .. })] if from == peer(2).addr), "{actions:?}");
}

#[test]
fn who_has_not_delivered_yet_holds_up_nobody_else() {
    let mut bench = acquainted();
    let started: usize = (0..100).map(|n| jobs(&bench.hears_request(peer(1), n, store(n))).len()).sum();
    assert_eq!(started, 2);
    // The first block delivered opens more places; a failure takes them away again.
    assert_eq!(jobs(&bench.ends(0, Outcome::Stored { size: 1000 })).len(), MAX_JOBS / 2 - 1);
    let silent = Outcome::Failed(JobError { kind: JobErrorKind::TimedOut, reason: String::new() });
    assert_eq!(jobs(&bench.ends(1, silent)), []);
    // Offers that waited for longer than their sender does are not pulled any more.
    bench.now += crate::patience::OFFER + Duration::from_secs(1);
    let refused: usize = (2..9).map(|job| responses(&bench.ends(job, Outcome::Stored { size: 1000 })).len()).sum();
    assert_eq!(refused, 98);
}

#[test]
fn an_offer_that_is_repeated_while_it_waits_for_its_turn_is_pulled_however_long_that_took() {
    let mut bench = acquainted();
    let started: usize = (0..3).map(|n| jobs(&bench.hears_request(peer(1), n, store(n))).len()).sum();
    assert_eq!(started, 2);
    for _ in 0..3 {
        bench.now += crate::patience::OFFER / 2;
        bench.hears_request(peer(1), 2, store(2));
    }
    assert!(matches!(jobs(&bench.ends(0, Outcome::Stored { size: 1000 }))[..], [(_, Job::Pull { .. })]));
}

#[test]
fn a_block_that_one_peer_fails_to_deliver_is_pulled_from_the_next_that_offered_it() {
    let mut bench = acquainted();
    bench.does(Event::Validated { addr: peer(2).addr });
    bench.hears_request(peer(1), 5, store(1));
    assert_eq!(bench.hears_request(peer(2), 6, store(1)), []);
    let silent = Outcome::Failed(JobError { kind: JobErrorKind::TimedOut, reason: String::new() });
    let actions = bench.ends(0, silent);
    assert!(matches!(responses(&actions)[..], [(to, 5, Err(_))] if to == peer(1).addr), "{actions:?}");
    assert!(matches!(jobs(&actions)[..], [(1, Job::Pull { from, .. })] if from == peer(2).addr), "{actions:?}");
    let actions = bench.ends(1, Outcome::Stored { size: 1000 });
    assert_eq!(responses(&actions), [(peer(2).addr, 6, Ok(Response::Saved))]);
}

#[test]
fn a_guest_and_a_departing_peer_keep_no_blocks_and_nobody_keeps_an_oversized_one() {
    let guest = Config { guest: true, ..Config::default() };
    let mut bench = Bench::new(guest, 2, 0).start(&[]);
    assert!(matches!(responses(&bench.hears_request(peer(1), 5, store(1)))[..], [(_, 5, Err(_))]));
    let oversized = Request::Store { key: key(1), size: Some(crate::config::MAX_BLOCK_SIZE + 1), leases: vec![] };
    assert!(matches!(responses(&acquainted().hears_request(peer(1), 5, oversized))[..], [(_, 5, Err(_))]));
}

#[test]
fn who_is_of_another_network_is_told_so_and_nothing_else_comes_of_what_it_asks() {
    let named = |name: &str| Config { network: name.parse().expect("a name"), ..Config::default() };
    let file = "0001".parse().expect("a name");
    for (ours, theirs) in [("kadring", "other"), ("other", "kadring"), ("one", "other")] {
        let mut bench = Bench::new(named(ours), 2, 0).start(&[(key(1), 10)]);
        bench.does(Event::Validated { addr: peer(1).addr });
        let from = Sender { network: named(theirs).network, ..Sender::member(peer(1).id, peer(1).addr) };
        for request in [
            Request::Ping,
            Request::FindNode { id: key(1) },
            Request::FindValue { key: key(1) },
            Request::Verify { key: key(1) },
            store(2),
            Request::Ring(RingRequest::Transfer { file, size: 1, modified: 1, stored: false }),
        ] {
            let request = Message::request(5, from, request);
            for via in [Via::Udp, Via::Tcp] {
                let message = request.clone();
                let actions = bench.does(Event::Message { from: peer(1).addr, via, bytes: 250, message });
                let [(_, 5, Err(reason))] = &responses(&actions)[..] else { panic!("{actions:?}") };
                assert!(actions.len() == 1 && reason.contains(&format!("'{ours}', not of '{theirs}'")), "{actions:?}");
            }
        }
        let from = Sender { network: named(ours).network, ..from };
        let actions = bench.hears(peer(1).addr, Message::request(6, from, Request::FindValue { key: key(1) }));
        assert_eq!(responses(&actions), [(peer(1).addr, 6, Ok(Response::Node(peer(0))))]);
    }
}

#[test]
fn an_address_that_has_shown_nothing_gets_at_most_three_bytes_for_each_it_sent() {
    let mut bench = Bench::new(Config::default(), 7, 0).start(&[]);
    let find = Request::FindNode { id: key(1) };
    let actions = bench.hears_request(peer(9), 5, find.clone());
    let mut sent = 0;
    for action in &actions {
        let Action::Send { message, .. } = action else { continue };
        let mut text = Vec::new();
        crate::wire::Dialect::Kademlia.encode(message, &peer(0), peer(9).addr, &mut text);
        sent += text.len();
    }
    assert!(sent > 0 && sent + crate::config::PING_BYTES <= 3 * 250, "{sent} bytes");
    bench.does(Event::Validated { addr: peer(9).addr });
    let actions = bench.hears_request(peer(9), 6, find);
    let [(_, 6, Ok(Response::Nodes(nodes)))] = &responses(&actions)[..] else { panic!("{actions:?}") };
    assert_eq!(nodes.len(), 8);
}

#[test]
fn a_block_that_is_here_is_said_to_be_here() {
    let mut bench = Bench::new(Config::default(), 2, 0).start(&[(key(1), 10)]);
    let actions = bench.hears_request(peer(1), 5, Request::FindValue { key: key(1) });
    assert_eq!(responses(&actions), [(peer(1).addr, 5, Ok(Response::Node(peer(0))))]);
}

#[test]
fn a_block_that_arrives_while_its_holder_leaves_is_not_called_saved() {
    let overlay = Scripted { me: peer(0), set: vec![peer(1)], holds: false, ends: true, unreached: Vec::new() };
    let mut bench = Bench::on(Config::default(), overlay).start(&[(key(1), 10)]);
    bench.does(Event::Validated { addr: peer(2).addr });
    bench.hears_request(peer(2), 5, store(2));
    let asked = requests(&bench.does(Event::Command { id: 1, command: Command::Quit { handover: true } }));
    let [(heir, magic, Request::Compare { .. })] = asked[..] else { panic!("{asked:?}") };
    let lacks_all = Response::Differs(Difference::Keys(Vec::new()));
    let offers = requests(&bench.hears_answer(heir, magic, lacks_all));
    let [(heir, magic, Request::Store { .. })] = offers[..] else { panic!("{offers:?}") };
    let actions = bench.ends(0, Outcome::Stored { size: 1000 });
    assert!(matches!(responses(&actions)[..], [(_, 5, Err(_))]), "it would go without being handed over: {actions:?}");
    let actions = bench.hears_answer(heir, magic, Response::Saved);
    assert_eq!(answer(&actions), Some(left(1, 0)));
}

/// The node's answers, if it refused at once.
fn refusals(actions: &[Action]) -> Vec<String> {
    responses(actions).into_iter().filter_map(|(.., answer)| answer.err()).collect()
}

#[test]
fn a_block_that_has_no_room_is_refused_before_a_byte_moves_and_room_is_back_when_a_job_fails() {
    let config = Config { capacity: Some(2 * 4096 + 500), ..Config::default() };
    let mut bench = Bench::new(config, 2, 0).start(&[(key(9), 1000)]);
    bench.does(Event::Validated { addr: peer(1).addr });
    let offer = |bench: &mut Bench, n| bench.hears_request(peer(1), n, store(n));
    assert!(matches!(jobs(&offer(&mut bench, 1))[..], [(0, Job::Pull { .. })]));
    let actions = offer(&mut bench, 2);
    assert_eq!((jobs(&actions), refusals(&actions)), (vec![], vec!["full".to_owned()]), "the first has the room");
    bench.ends(0, failed(JobErrorKind::TimedOut));
    assert!(matches!(jobs(&offer(&mut bench, 2))[..], [(1, Job::Pull { .. })]));
    bench.ends(1, Outcome::Stored { size: 1000 });
    assert_eq!(refusals(&offer(&mut bench, 1)), ["full"]);
    assert!(matches!(jobs(&offer(&mut bench, 9))[..], [(2, Job::Verify { .. })]), "what is here needs no more room");
    let command = Command::Clear { sources: vec![Source::Key(key(2))], force: true };
    let [(unpack, Job::Unpack { .. })] = jobs(&bench.does(Event::Command { id: 1, command }))[..] else { panic!() };
    let [(delete, Job::Delete { .. })] = jobs(&bench.ends(unpack, Outcome::NotManifest { size: 1000 }))[..] else {
        panic!()
    };
    bench.ends(delete, Outcome::Done);
    assert!(matches!(jobs(&offer(&mut bench, 1))[..], [(_, Job::Pull { .. })]), "the deleted block gave its room back");
}

#[test]
fn a_block_whose_size_nobody_tells_needs_the_room_of_the_largest() {
    let config = Config { capacity: Some(MAX_BLOCK_SIZE.into()), ..Config::default() };
    let mut bench = Bench::new(config, 2, 0).start(&[(key(9), 1)]);
    bench.does(Event::Validated { addr: peer(1).addr });
    let offer =
        |bench: &mut Bench, size| bench.hears_request(peer(1), 5, Request::Store { key: key(1), size, leases: vec![] });
    assert_eq!(refusals(&offer(&mut bench, None)), ["full"]);
    assert!(matches!(jobs(&offer(&mut bench, Some(MAX_BLOCK_SIZE - 4096)))[..], [(_, Job::Pull { .. })]));
}

#[test]
fn a_damaged_block_comes_back_to_a_full_peer_and_its_room_is_kept_while_it_is_renewed() {
    let config = Config { capacity: Some(2 * 4096), ..Config::default() };
    let mut bench = Bench::new(config, 3, 0).start(&[(key(1), 1000), (key(2), 1000)]);
    bench.does(Event::Validated { addr: peer(1).addr });
    let actions = bench.does(Event::Damaged { key: key(1) });
    let pull = Job::Pull { key: key(1), size: Some(1000), from: peer(1).addr, leases: vec![Lease::NOBODYS] };
    assert_eq!(jobs(&actions), [(0, pull)], "it must be what it was: there is no room for more");
    assert_eq!(refusals(&bench.hears_request(peer(1), 5, store(3))), ["full"], "its room is not for others");
    bench.ends(0, Outcome::Stored { size: 1000 });
    assert_eq!(bench.node.held().count(), 2);
}

#[test]
fn a_block_that_a_peer_asked_for_and_did_not_get_is_looked_at_if_it_should_be_here() {
    let mut bench = Bench::new(Config::default(), 3, 0).start(&[(key(1), 10)]);
    assert_eq!(bench.does(Event::Missing { key: key(2) }), []);
    assert_eq!(jobs(&bench.does(Event::Missing { key: key(1) })), [(0, Job::Verify { key: key(1), leases: vec![] })]);
    let actions = bench.does(Event::Damaged { key: key(1) });
    assert!(matches!(jobs(&actions)[..], [(1, Job::Pull { .. })]), "{actions:?}");
}

#[test]
fn a_block_that_is_being_deleted_is_no_sign_of_a_full_store() {
    let mut bench = Bench::new(Config::default(), 2, 0).start(&[(key(3), 1000)]);
    bench.does(Event::Validated { addr: peer(1).addr });
    let [(look, Job::Verify { .. })] = jobs(&bench.hears_request(peer(1), 5, store(3)))[..] else { panic!("a look") };
    let clear = Command::Clear { sources: vec![Source::Key(key(3))], force: true };
    let [(unpack, Job::Unpack { .. })] = jobs(&bench.does(Event::Command { id: 1, command: clear }))[..] else {
        panic!()
    };
    let deletes = jobs(&bench.ends(unpack, Outcome::NotManifest { size: 10 }));
    assert!(matches!(deletes[..], [(_, Job::Delete { .. })]), "{deletes:?}");
    let told = refusals(&bench.ends(look, failed(JobErrorKind::NotFound)));
    assert_eq!(told, ["busy: too many blocks are on their way here"], "it is offered again soon");
}
