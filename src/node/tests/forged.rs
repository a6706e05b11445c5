//! Floods of offers: of blocks that never come, and in the name of a member that did not make them.

use super::offers::store;
use super::*;
use crate::lease::{Lease, LeaseNews};

/// When each job ends, and how.
type JobEnds = BTreeMap<(Time, JobId), Outcome>;

/// Ends the jobs that are done by then; returns what the node does in turn.
fn end_until(bench: &mut Bench, ends: &mut JobEnds, now: Time) -> Vec<Action> {
    let mut actions = Vec::new();
    while let Some(first) = ends.first_entry().filter(|first| first.key().0 <= now) {
        let ((at, job), outcome) = first.remove_entry();
        bench.now = at;
        actions.extend(bench.ends(job, outcome));
    }
    bench.now = now;
    actions
}

/// How many of 29 stores of a member, one a second, are saved while so many offers a second come in its name, of blocks
/// that it does not have; and how many of another member's. To connect and ask takes 20 ms.
fn saved_beside_forged(rate: u64) -> [usize; 2] {
    let mut bench = Bench::new(Config::default(), 0, 0).start(&[]);
    let members = [7, 8].map(|n| Peer::new(Id::from_u64(n.into()), SocketAddr::from(([10, 0, 0, n], 7000))));
    members.iter().for_each(|member| drop(bench.does(Event::Validated { addr: member.addr })));
    let (mut ends, mut saved) = (JobEnds::new(), [0; 2]);
    for n in 0..rate * 30 {
        let now = Time::from_micros(1_000_000 / rate * n);
        let mut actions = end_until(&mut bench, &mut ends, now);
        actions.extend(bench.hears_request(members[0], n, store(1_000_000 + n)));
        if n % rate == rate - 1 {
            for (member, own) in members.iter().zip([0, 1000]) {
                actions.extend(bench.hears_request(*member, u64::MAX - n, store(own + n / rate)));
            }
        }
        for (job, work) in jobs(&actions) {
            let Job::Pull { key: block, .. } = work else { panic!("{work:?}") };
            let is_had = (0..2000).any(|n| key(n) == block);
            let outcome = if is_had { Outcome::Stored { size: 1000 } } else { failed(JobErrorKind::NotFound) };
            ends.insert((bench.now + Duration::from_millis(20), job), outcome);
        }
        for (to, _, answer) in responses(&actions) {
            let at = members.iter().position(|member| member.addr == to).expect("a member");
            saved[at] += usize::from(answer.is_ok());
        }
    }
    saved
}

#[test]
fn offers_forged_in_a_members_name_cost_it_no_store_at_a_hundred_a_second_and_others_none_at_any_rate() {
    assert_eq!(saved_beside_forged(100), [29, 29]);
    assert_eq!(saved_beside_forged(1000)[1], 29);
}

#[test]
fn four_hundred_offers_a_second_that_are_never_delivered_cost_no_honest_newcomer_a_store() {
    let mut bench = Bench::new(Config::default(), 0, 0).start(&[]);
    let (attackers, honest) = ([10, 0, 0, 66], [10, 0, 0, 7]);
    let peer_at = |ip, port| Peer::new(Id::from_u64(u64::from(port)), SocketAddr::from((ip, port)));
    // A silent peer holds its place for five seconds.
    let mut ends = JobEnds::new();
    let (mut saved, mut refused) = (0, Vec::new());
    for n in 0..400 * 30 {
        let now = Time::from_micros(2_500 * n);
        let (offers, stores) = (if n == 0 { 1100 } else { 1 }, n % 400 == 399);
        let mut actions = end_until(&mut bench, &mut ends, now);
        for offer in 0..offers {
            let from = peer_at(attackers, 2000 + (n + offer) as u16 % 8);
            bench.does(Event::Validated { addr: from.addr });
            actions.extend(bench.hears_request(from, n + offer, store(10_000 + n + offer)));
        }
        if stores {
            // A guest of one command: never seen before.
            let from = peer_at(honest, 3000 + (n / 400) as u16);
            bench.does(Event::Validated { addr: from.addr });
            actions.extend(bench.hears_request(from, n, store(1_000_000 + n)));
        }
        for (job, work) in jobs(&actions) {
            let Job::Pull { from, .. } = work else { panic!("{work:?}") };
            let (after, outcome) = if from.ip() == peer_at(honest, 1).addr.ip() {
                (10, Outcome::Stored { size: 1000 })
            } else {
                (5000, failed(JobErrorKind::TimedOut))
            };
            ends.insert((bench.now + Duration::from_millis(after), job), outcome);
        }
        let to_honest = responses(&actions).into_iter().filter(|(to, ..)| to.port() >= 3000);
        for (to, _, answer) in to_honest {
            match answer {
                Ok(_) => saved += 1,
                Err(reason) => refused.push((now, to, reason)),
            }
        }
    }
    assert!(refused.is_empty() && saved == 29, "{saved} saved, refused: {refused:?}");
}

/// Offers from many sources, one each, for which nothing has to be had there: the addresses are made up.
#[test]
fn forged_offers_from_as_many_sources_as_there_are_places_keep_no_stranger_and_no_member_out() {
    let mut bench = Bench::new(Config::default(), 0, 0).start(&[(key(1), 1000)]);
    let at = |n: u64| Peer::new(Id::from_u64(n), SocketAddr::from(([1, (n >> 8) as u8, n as u8, 1], 7000)));
    for n in 0..2000 {
        let actions = bench.hears_request(at(n), n, store(n % 2));
        assert_eq!(jobs(&actions), [], "nothing is done for them");
    }
    let (member, stranger) = (peer(1), at(0x00ff_ffff));
    bench.does(Event::Validated { addr: member.addr });
    let actions = bench.hears_request(member, 5, store(2));
    assert!(matches!(jobs(&actions)[..], [(_, Job::Pull { from, .. })] if from == member.addr), "{actions:?}");
    let actions = bench.hears_request(stranger, 6, store(3));
    let ping = requests(&actions).into_iter().find(|(to, ..)| *to == stranger.addr);
    let Some((_, magic, Request::Ping)) = ping else { panic!("{actions:?}") };
    let actions = bench.hears_answer(stranger.addr, magic, Response::Node(stranger));
    assert!(matches!(jobs(&actions)[..], [(_, Job::Pull { from, .. })] if from == stranger.addr), "{actions:?}");
}

#[test]
fn favours_asked_for_in_the_names_of_others_cost_each_of_them_a_ping_and_leave_a_stranger_its_share() {
    let mut bench = Bench::new(Config::default(), 0, 0).start(&[(key(1), 1000), (key(2), 1000)]);
    let stranger = peer(1);
    bench.does(Event::Validated { addr: stranger.addr });
    let at = |n: u64| Peer::new(Id::from_u64(n), SocketAddr::from(([1, (n >> 8) as u8, n as u8, 1], 7000)));
    let news = LeaseNews { renewed: vec![Lease::NOBODYS], ended: Vec::new() };
    let lease = Request::Lease(news);
    for n in 0..2000 {
        let asked = [Request::Verify { key: key(1) }, lease.clone()];
        let actions: Vec<_> = asked.into_iter().flat_map(|what| bench.hears_request(at(n), n, what)).collect();
        assert!(matches!(requests(&actions)[..], [(_, _, Request::Ping)]), "one ping: {actions:?}");
        assert_eq!((jobs(&actions), responses(&actions)), (vec![], vec![]));
    }
    let actions = bench.hears_request(stranger, 5, Request::Verify { key: key(2) });
    assert!(matches!(jobs(&actions)[..], [(_, Job::Rehash { .. })]), "{actions:?}");
    let actions = bench.hears_request(stranger, 6, lease);
    assert!(matches!(responses(&actions)[..], [(_, 6, Ok(Response::Leased { .. }))]), "{actions:?}");
}

/// The places of those that are pinged for a proof are all taken by addresses that answer nothing.
#[test]
fn favours_asked_for_in_the_names_of_4096_others_keep_no_newcomer_from_its_proof() {
    for host in [|n: u64| [1, (n >> 8) as u8, n as u8, 1], |n: u64| [9, 9, 9, n as u8], |n: u64| [n as u8, 9, 9, 9]] {
        let mut bench = Bench::new(Config::default(), 0, 0).start(&[(key(1), 1000)]);
        let at = |host, n: u64| Peer::new(Id::from_u64(n), SocketAddr::from((host, 7000 + (n >> 8) as u16)));
        let (ask, newcomer) = (Request::Verify { key: key(1) }, at([203, 0, 113, 1], 0));
        for n in 0..4096 {
            bench.hears_request(at(host(n), n), n, ask.clone());
        }
        let actions = bench.hears_request(newcomer, 1, ask.clone());
        let [(to, magic, Request::Ping)] = requests(&actions)[..] else { panic!("no ping: {actions:?}") };
        assert_eq!(to, newcomer.addr);
        bench.hears_answer(newcomer.addr, magic, Response::Node(newcomer));
        let actions = bench.hears_request(newcomer, 2, ask);
        assert!(matches!(jobs(&actions)[..], [(_, Job::Rehash { .. })]), "{actions:?}");
    }
}

#[test]
fn what_is_asked_in_the_name_of_a_peer_that_was_not_heard_for_five_minutes_brings_it_one_ping() {
    let mut bench = Bench::new(Config::default(), 0, 0).start(&[(key(1), 1000)]);
    let former = peer(1);
    bench.does(Event::Validated { addr: former.addr });
    let mut asked_at = |seconds: u64| {
        bench.now = Time::from_micros(seconds * 1_000_000);
        let actions = bench.hears_request(former, seconds, Request::Verify { key: key(1) });
        for (job, _) in jobs(&actions) {
            bench.ends(job, failed(JobErrorKind::NotFound));
        }
        let pings = requests(&actions).into_iter().filter(|(to, ..)| *to == former.addr);
        (jobs(&actions).len(), pings.map(|(_, magic, _)| magic).collect::<Vec<_>>())
    };
    assert_eq!(asked_at(299), (1, vec![]));
    let (0, pings) = asked_at(301) else { panic!("what it said itself is no proof") };
    let [ping] = pings[..] else { panic!("{pings:?}") };
    bench.hears_answer(former.addr, ping, Response::Node(former));
    let actions = bench.hears_request(former, 302, Request::Verify { key: key(1) });
    assert!(matches!(jobs(&actions)[..], [(_, Job::Rehash { .. })]), "{actions:?}");
}
