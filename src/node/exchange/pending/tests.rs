//! When a request is sent again, when its peer is doubted, and when it is given up.

use rand::SeedableRng;

use super::*;
use crate::config::MIN_TIMEOUT;
use crate::wire::{Body, Dialect};

fn target(port: u16) -> Target {
    Target { id: None, addr: SocketAddr::from(([127, 0, 0, 1], port)) }
}

fn asked(pending: &mut Pending, now: Time, tries: u8) -> u64 {
    let mut rng = StdRng::seed_from_u64(now.as_micros());
    pending.ask(now, &mut rng, target(1), (Request::Ping, SentFor::Pulse), Patience::Tries(tries))
}

fn timeout(pending: &Pending, port: u16) -> Duration {
    pending.round_trips.timeout(&target(port).addr).expect("it was measured")
}

fn after(duration: Duration) -> Time {
    Time::ZERO + duration
}

#[test]
fn a_peer_that_did_not_run_reads_what_came_meanwhile_before_it_gives_anybody_up() {
    let mut pending = Pending::new(false, Dialect::Kademlia);
    let magic = asked(&mut pending, Time::ZERO, patience::ONCE);
    let woken = after(Duration::from_secs(20));
    assert!(matches!(pending.next_due(woken), Some(Due::Waits { late: None, .. })));
    assert!(pending.next_due(woken + Duration::from_millis(10)).is_none());
    let completed = pending.complete(woken + Duration::from_millis(10), magic, target(1).addr);
    assert_eq!(completed.expect("it still waits").rtt, None, "how long it took nobody knows");
    asked(&mut pending, woken, patience::ONCE);
    let failed = woken + patience::silence(patience::ONCE);
    assert!(matches!(pending.next_due(failed), Some(Due::Failed { .. })), "on time it fails as ever");
}

#[test]
fn an_offer_that_was_out_while_this_peer_did_not_run_has_the_time_that_it_had_left() {
    let mut pending = Pending::new(false, Dialect::Kademlia);
    let mut rng = StdRng::seed_from_u64(0);
    let offer = (Request::Ping, SentFor::Pulse);
    pending.ask(Time::ZERO, &mut rng, target(1), offer, Patience::Moved(patience::OFFER));
    let stopped = pending.next_deadline().expect("it goes out again");
    let woken = after(patience::OFFER * 2);
    let mut now = woken;
    while let Some(Due::Waits { .. }) = pending.next_due(now) {
        now = pending.next_deadline().expect("it is waited for");
    }
    let left = patience::OFFER - (stopped - Time::ZERO);
    assert_eq!(now, woken + left);
}

#[test]
fn an_answer_counts_once_and_only_from_the_address_that_was_asked() {
    let mut pending = Pending::new(false, Dialect::Kademlia);
    let magic = asked(&mut pending, Time::ZERO, 3);
    assert!(magic < MAGIC_LIMIT);
    assert!(pending.complete(Time::ZERO, magic, target(2).addr).is_none());
    assert!(pending.complete(Time::ZERO, magic ^ 1, target(1).addr).is_none());
    assert!(matches!(pending.complete(Time::ZERO, magic, target(1).addr).unwrap().waiting.why, SentFor::Pulse));
    assert!(pending.complete(Time::ZERO, magic, target(1).addr).is_none(), "a late copy is ignored");
    assert_eq!(pending.next_deadline(), None);
}

/// When each datagram to a silent peer went out, when it was late, and when the request failed.
fn ask_the_silent(pending: &mut Pending, start: Time, tries: u8) -> (Vec<Duration>, Duration, u8) {
    asked(pending, start, tries);
    let (mut sent, mut doubted_after) = (vec![Duration::ZERO], 0);
    loop {
        let due = pending.next_deadline().expect("every request has a deadline");
        assert!(pending.next_due(Time::from_micros(due.as_micros() - 1)).is_none(), "never early");
        match pending.next_due(due).expect("due") {
            Due::Waits { late, again, .. } => {
                pending.check().unwrap();
                if late == Some(Late::Doubtful) {
                    doubted_after = u8::try_from(sent.len()).unwrap();
                }
                assert_eq!(late == Some(Late::Overdue), sent.len() == 1);
                if again {
                    sent.push(due - start);
                }
            }
            Due::Failed { waiting, .. } => {
                assert!(matches!(waiting.why, SentFor::Pulse) && pending.len() == 0);
                return (sent, due - start, doubted_after);
            }
        }
    }
}

#[test]
fn a_silent_peer_is_asked_again_until_it_is_doubted_and_then_ever_more_slowly() {
    let mut pending = Pending::new(false, Dialect::Kademlia);
    let doubt = pending.conditions.doubt_after();
    let (sent, failed, doubted_after) = ask_the_silent(&mut pending, Time::ZERO, patience::CHECK);
    let gaps: Vec<Duration> = sent.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let (steady, slower) = gaps.split_at(usize::from(doubt) - 1);
    assert!(steady.iter().all(|gap| *gap == FIRST_TIMEOUT), "{gaps:?}");
    assert!(slower.windows(2).all(|pair| pair[1] == 2 * pair[0]), "{gaps:?}");
    assert_eq!(failed, patience::silence(patience::CHECK));
    assert!(failed - sent[sent.len() - 1] >= *gaps.last().unwrap(), "the last datagram has its time too");
    assert_eq!(doubted_after, doubt.min(u8::try_from(sent.len() - 1).unwrap()));
}

#[test]
fn the_news_of_a_death_takes_as_long_as_one_datagram_and_is_several() {
    let (sent, failed, _) =
        ask_the_silent(&mut Pending::new(false, Dialect::Kademlia), Time::ZERO, patience::DEATH_NEWS);
    assert!(sent.len() >= 3 && failed == patience::silence(patience::ONCE), "{sent:?}");
}

#[test]
fn where_answers_are_quick_repeats_are_too_and_the_verdict_comes_no_sooner() {
    let mut pending = Pending::new(false, Dialect::Kademlia);
    let trip = Duration::from_millis(20);
    let mut now = Time::ZERO;
    for _ in 0..100 {
        let magic = asked(&mut pending, now, 3);
        now += trip;
        assert!(pending.complete(now, magic, target(1).addr).is_some());
    }
    let (sent, failed, doubted_after) = ask_the_silent(&mut pending, now, patience::QUESTION);
    assert!(sent[1] < trip * 2 && sent.len() == 2, "fast, and few: {sent:?}");
    let silence = patience::silence_after(MIN_DECISION, patience::QUESTION);
    assert_eq!((failed, doubted_after), (silence, pending.conditions.doubt_after()));
}

#[test]
fn once_the_first_answer_tells_how_long_they_take_what_went_out_with_it_waits_no_longer() {
    let (mut pending, mut rng) = (Pending::new(false, Dialect::Kademlia), StdRng::seed_from_u64(0));
    let mut ask = |pending: &mut Pending, port, tries| {
        pending.ask(Time::ZERO, &mut rng, target(port), (Request::Ping, SentFor::Pulse), Patience::Tries(tries))
    };
    let [answered, lost] = [1, 2].map(|port| ask(&mut pending, port, patience::QUESTION));
    ask(&mut pending, 3, patience::ONCE);
    let millis = |millis| after(Duration::from_millis(millis));
    assert_eq!(pending.next_deadline(), Some(after(FIRST_TIMEOUT)));
    pending.complete(millis(40), answered, target(1).addr).expect("it waits");
    assert_eq!(pending.next_deadline(), Some(millis(88)));
    assert!(matches!(pending.next_due(millis(88)), Some(Due::Waits { magic, .. }) if magic == lost));
    assert_eq!(pending.next_deadline(), Some(millis(176)), "and so at the next time");
}

#[test]
fn an_answer_to_what_has_failed_tells_once_that_its_peer_lives_and_how_slow_it_is() {
    let mut pending = Pending::new(false, Dialect::Kademlia);
    let magic = asked(&mut pending, Time::ZERO, patience::ONCE);
    let failed = after(patience::silence(patience::ONCE));
    while let Some(Due::Waits { .. }) = pending.next_due(failed) {}
    let late = after(Duration::from_millis(1300));
    assert!(pending.complete(late, magic, target(1).addr).is_none());
    assert!(!pending.is_too_late(late, magic, target(2).addr), "another address answers");
    assert!(pending.is_too_late(late, magic, target(1).addr) && !pending.is_too_late(late, magic, target(1).addr));
    assert!(timeout(&pending, 1) > Duration::from_millis(1300));
}

#[test]
fn a_way_of_which_nothing_is_known_is_taken_to_be_as_long_as_the_longest() {
    let mut pending = Pending::new(true, Dialect::Kademlia);
    assert_eq!(pending.usual_trip(&target(1).addr), Duration::ZERO, "nothing is known at all");
    pending.learn(Time::ZERO, target(1).addr, Duration::from_millis(400));
    assert_eq!(pending.usual_trip(&target(1).addr), Duration::from_millis(400));
    assert_eq!(pending.usual_trip(&target(2).addr), Duration::from_millis(440));
}

#[test]
fn repeats_come_slowly_where_hardly_anybody_answers() {
    let mut pending = Pending::new(false, Dialect::Kademlia);
    for port in 2..100 {
        let mut rng = StdRng::seed_from_u64(port.into());
        pending.ask(
            Time::ZERO,
            &mut rng,
            target(port),
            (Request::Ping, SentFor::Pulse),
            Patience::Tries(patience::QUESTION),
        );
    }
    let mut rng = StdRng::seed_from_u64(1);
    pending.conditions.measure(Duration::from_millis(1));
    let magic =
        pending.ask(Time::ZERO, &mut rng, target(1), (Request::Ping, SentFor::Pulse), Patience::Tries(patience::CHECK));
    assert_eq!(pending.requests.due(&magic), Some(after(FIRST_TIMEOUT)));
}

#[test]
fn what_is_passed_on_and_answered_by_another_peer_is_answered() {
    let mut pending = Pending::new(false, Dialect::Kademlia);
    let mut rng = StdRng::seed_from_u64(1);
    let line =
        br#"{"type":"join","source":{"id":4,"ip":"127.0.0.1","port":4},"destination":{"ip":"127.0.0.1","port":5},
        "stamp":7,"content":{"origin":{"id":3,"ip":"127.0.0.1","port":3}}}"#;
    let Body::Request(join) = Dialect::Ring.decode(line).unwrap().body else { unreachable!("it asks") };
    for _ in 0..100 {
        let (asked, patience) = ((join.clone(), SentFor::Pulse), Patience::Tries(patience::SEARCH));
        let magic = pending.ask(Time::ZERO, &mut rng, target(1), asked, patience);
        assert!(pending.complete(after(Duration::from_millis(2)), magic, target(2).addr).is_some());
    }
    assert!(!pending.conditions.is_choked(false));
}

#[test]
fn timeouts_follow_the_measured_round_trip_between_the_bounds() {
    let mut pending = Pending::new(false, Dialect::Kademlia);
    let mut now = Time::ZERO;
    for _ in 0..50 {
        let magic = asked(&mut pending, now, 3);
        now += Duration::from_millis(200);
        let completed = pending.complete(now, magic, target(1).addr).unwrap();
        assert_eq!(completed.rtt, Some(Duration::from_millis(200)));
    }
    let timeout = timeout(&pending, 1);
    assert!((Duration::from_millis(200)..Duration::from_millis(230)).contains(&timeout), "{timeout:?}");
    assert_eq!(pending.conditions.patience(), Duration::from_millis(220), "a stranger's");
}

#[test]
fn a_way_that_became_longer_is_measured_again() {
    let mut pending = Pending::new(false, Dialect::Kademlia);
    let mut now = Time::ZERO;
    for trip in [1, 350, 350, 350, 350_u64].map(Duration::from_millis) {
        let magic = asked(&mut pending, now, 9);
        // Each datagram is answered.
        let (back, mut answers) = (now + trip, vec![now + trip]);
        while let Some(due) = pending.next_deadline().filter(|due| *due < back) {
            assert!(matches!(pending.next_due(due), Some(Due::Waits { .. })));
            answers.push(due + trip);
        }
        assert!(pending.complete(back, magic, target(1).addr).is_some());
        for answer in &answers[1..] {
            assert!(pending.complete(*answer, magic, target(1).addr).is_none());
        }
        now = answers[answers.len() - 1];
    }
    assert!(timeout(&pending, 1) > Duration::from_millis(200));
}

#[test]
fn a_peer_whose_answers_are_late_now_and_then_is_asked_again_as_soon_as_others() {
    let (mut pending, mut now) = (Pending::new(false, Dialect::Kademlia), Time::ZERO);
    let mut ask = |pending: &mut Pending, millis| {
        let magic = asked(pending, now, patience::ONCE);
        now += Duration::from_millis(millis);
        assert!(pending.complete(now, magic, target(1).addr).is_some());
    };
    // The first answer of all was late, and later every third one.
    for millis in [600, 1, 1, 1, 600, 1, 1, 600, 1, 1, 600, 1, 1] {
        ask(&mut pending, millis);
        if millis == 1 {
            assert_eq!(timeout(&pending, 1), MIN_TIMEOUT);
        }
    }
}

#[test]
fn where_half_of_all_datagrams_get_lost_or_come_twice_the_way_grows_no_longer() {
    let (mut pending, mut rng, mut now) =
        (Pending::new(false, Dialect::Kademlia), StdRng::seed_from_u64(3), Time::ZERO);
    let trip = Duration::from_millis(1);
    for _ in 0..1000 {
        let magic = asked(&mut pending, now, 9);
        while rng.random_bool(0.5) {
            now = pending.next_deadline().expect("it is waited for");
            if let Some(Due::Failed { .. }) = pending.next_due(now) {
                break;
            }
        }
        now += trip;
        (0..2).for_each(|_| drop(pending.complete(now, magic, target(1).addr)));
        pending.check().unwrap();
    }
    assert_eq!((timeout(&pending, 1), pending.conditions.patience()), (MIN_TIMEOUT, MIN_TIMEOUT));
}

#[test]
fn a_request_sent_twice_measures_nothing() {
    let mut pending = Pending::new(false, Dialect::Kademlia);
    let magic = asked(&mut pending, Time::ZERO, 3);
    assert!(matches!(pending.next_due(after(FIRST_TIMEOUT)), Some(Due::Waits { .. })));
    let completed = pending.complete(after(FIRST_TIMEOUT), magic, target(1).addr).unwrap();
    assert_eq!((completed.rtt, completed.took(after(FIRST_TIMEOUT))), (None, FIRST_TIMEOUT));
    assert_eq!(pending.round_trip(&target(1).addr), None);
}

#[test]
fn an_offer_is_repeated_until_its_limit() {
    let mut pending = Pending::new(false, Dialect::Kademlia);
    let mut rng = StdRng::seed_from_u64(0);
    pending.ask(Time::ZERO, &mut rng, target(1), (Request::Ping, SentFor::Pulse), Patience::Moved(patience::OFFER));
    let mut sent = vec![Duration::ZERO];
    while let Some(due) = pending.next_deadline() {
        match pending.next_due(due) {
            Some(Due::Waits { .. }) => sent.push(due - Time::ZERO),
            Some(Due::Failed { .. }) => assert!(due >= after(patience::OFFER)),
            None => unreachable!("due at its own deadline"),
        }
    }
    let millis: Vec<u128> = sent.iter().take(6).map(Duration::as_millis).collect();
    // Before anything is known of the network. Four in a row are hardly ever lost.
    assert_eq!(millis, [0, 250, 500, 750, 1000, 1500]);
    pending.conditions.measure(Duration::from_millis(1));
    let magic =
        pending.ask(Time::ZERO, &mut rng, target(1), (Request::Ping, SentFor::Pulse), Patience::Moved(patience::OFFER));
    assert_eq!(pending.requests.due(&magic), Some(after(patience::RESEND_FIRST)));
}
