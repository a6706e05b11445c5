//! When a peer is dead, in doubt, or back.

use super::super::RingOptions;
use super::*;

const INTERVAL: Duration = Duration::from_secs(10);

fn peer(id: u64, port: u16) -> Peer {
    Peer::new(Id::from_u64(id), SocketAddr::from(([127, 0, 0, 1], port)))
}

fn table_of(peers: &[Peer]) -> RingTable {
    let mut table = RingTable::new(peer(0, 1), &RingOptions::default());
    table.fill(peers, None);
    table
}

/// Pings without an answer that make a peer dead, one after the other, each of which is waited for so long.
fn deadly(vitals: &mut Vitals, id: &Id, waited: Duration, variant: RingVariant) -> u32 {
    let at = |count: u32| Time::ZERO + waited * count;
    (1..).find(|count| vitals.miss(at(*count), id, at(*count - 1), variant)).expect("it dies")
}

const BOTH: [RingVariant; 2] = [RingVariant::Chord, RingVariant::Classroom];

#[test]
fn silence_of_some_seconds_is_a_death_and_what_this_peer_slept_through_counts_little() {
    let (mut vitals, id) = (Vitals::default(), Id::from_u64(5));
    for variant in BOTH {
        assert_eq!(deadly(&mut vitals, &id, Duration::from_millis(700), variant), 8);
        vitals.alive(Time::ZERO, &id);
        assert_eq!(deadly(&mut vitals, &id, Duration::from_secs(60), variant), 3);
        vitals.alive(Time::ZERO, &id);
        let now = Time::ZERO + PING_SILENCE;
        let both = [(); 4].map(|()| vitals.miss(now, &id, Time::ZERO, variant));
        assert_eq!(both, [false; 4], "pings that are out at the same time are one silence");
        vitals.alive(Time::ZERO, &id);
    }
}

#[test]
fn a_sign_of_life_between_two_silences_starts_anew() {
    let (mut vitals, id) = (Vitals::default(), Id::from_u64(5));
    for variant in BOTH {
        let miss = |vitals: &mut Vitals, ping: u64| {
            let at = |ping| Time::ZERO + INTERVAL * ping as u32;
            vitals.miss(at(ping + 1), &id, at(ping), variant)
        };
        assert_eq!([0, 1].map(|ping| miss(&mut vitals, ping)), [false, false]);
        vitals.alive(Time::ZERO, &id);
        assert_eq!([2, 3, 4].map(|ping| miss(&mut vitals, ping)), [false, false, true]);
        vitals.alive(Time::ZERO, &id);
    }
}

#[test]
fn a_peer_that_was_stopped_again_and_again_counts_any_number_of_misses() {
    let (mut vitals, id) = (Vitals::default(), Id::from_u64(5));
    for _ in 0..1000 {
        assert!(!vitals.miss(Time::ZERO, &id, Time::ZERO, RingVariant::Chord));
        vitals.wake();
    }
}

#[test]
fn who_is_told_of_a_death_believes_it_after_one_ping_unless_the_peer_answers() {
    let (mut vitals, id) = (Vitals::default(), Id::from_u64(5));
    vitals.tell(&id, DeathNews::ByWatcher);
    vitals.tell(&id, DeathNews::ByNeighbour);
    assert_eq!(vitals.told(&id), Some(DeathNews::ByWatcher));
    vitals.alive(Time::ZERO, &id);
    assert!(!vitals.miss(Time::ZERO, &id, Time::ZERO, RingVariant::Chord));
    vitals.tell(&id, DeathNews::ByNeighbour);
    assert!(vitals.miss(Time::ZERO, &id, Time::ZERO, RingVariant::Chord));
}

#[test]
fn a_death_is_news_for_a_while_and_disbelieved_for_longer() {
    let (mut vitals, five) = (Vitals::default(), peer(5, 2));
    vitals.died(Time::ZERO, five);
    assert!(vitals.is_news(Time::ZERO + NEWS / 2, &five) && !vitals.is_news(Time::ZERO + NEWS, &five));
    assert!(vitals.is_dead(&five));
}

#[test]
fn doubt_ends_with_a_sign_of_life_and_with_death() {
    let (mut vitals, five) = (Vitals::default(), peer(5, 2));
    for end in [Vitals::alive as fn(&mut Vitals, Time, &Id), |vitals, now, _| vitals.died(now, peer(5, 2))] {
        vitals.doubt(&five.id);
        assert!(vitals.is_doubted(&five.id));
        end(&mut vitals, Time::ZERO, &five.id);
        assert!(!vitals.is_doubted(&five.id));
    }
}

#[test]
fn a_request_spares_its_sender_a_ping_for_a_while_and_not_in_doubt() {
    let (mut vitals, id) = (Vitals::default(), Id::from_u64(5));
    let at = |seconds| Time::ZERO + Duration::from_secs(seconds);
    vitals.spoke(at(1), &id);
    assert_eq!(vitals.quiet_since(&id), None, "it never answered");
    vitals.alive(at(2), &id);
    assert_eq!(vitals.quiet_since(&id), Some(at(2)));
    vitals.spoke(at(6), &id);
    assert_eq!(vitals.quiet_since(&id), Some(at(6)));
    assert!(!vitals.was_heard_within(at(6), &id, Duration::from_secs(4)), "it is no sign of life");
    vitals.spoke(at(60), &id);
    assert_eq!(vitals.quiet_since(&id), Some(at(2) + SPARED));
    vitals.doubt(&id);
    assert_eq!(vitals.quiet_since(&id), Some(at(2)));
}

#[test]
fn three_pings_of_the_interval_without_a_sign_of_life_are_silence_and_more_if_they_are_frequent() {
    let (mut vitals, id) = (Vitals::default(), Id::from_u64(5));
    for _ in 0..3 {
        assert!(!vitals.is_silent(&id, INTERVAL));
        vitals.count_ping(&id);
    }
    assert!(vitals.is_silent(&id, INTERVAL));
    assert!(!vitals.is_silent(&id, Duration::from_millis(100)), "that were 0.3 s");
    vitals.alive(Time::ZERO, &id);
    assert!(!vitals.is_silent(&id, INTERVAL));
}

#[test]
fn the_silence_of_a_peer_that_may_be_starting_counts_nothing_until_its_time_is_over() {
    let (mut vitals, five) = (Vitals::default(), peer(5, 2));
    vitals.trust_given(Time::ZERO, &[five]);
    let table = table_of(&[five]);
    for _ in 0..4 {
        assert!(!vitals.miss(Time::ZERO, &five.id, Time::ZERO, RingVariant::Classroom));
        assert!(vitals.is_awaited(&five.id));
    }
    vitals.forget_old(Time::ZERO + GIVEN_PATIENCE, &table);
    assert!(!vitals.is_awaited(&five.id));
    assert_eq!(deadly(&mut vitals, &five.id, INTERVAL, RingVariant::Classroom), 3);
}

#[test]
fn a_death_is_of_one_address_and_is_over_when_the_peer_is_back_or_after_a_while() {
    let (mut vitals, here, elsewhere) = (Vitals::default(), peer(5, 2), peer(5, 3));
    vitals.died(Time::ZERO, here);
    assert!(vitals.is_dead(&here) && vitals.is_missed(&here) && !vitals.is_dead(&elsewhere));
    vitals.alive(Time::ZERO, &here.id);
    vitals.back(&elsewhere);
    assert!(vitals.is_dead(&here), "another peer has that id now");
    vitals.back(&here);
    assert!(!vitals.is_dead(&here) && vitals.lost().next().is_none());
    vitals.gone(Time::ZERO, here);
    assert!(vitals.is_dead(&here) && !vitals.is_missed(&here), "it said goodbye");
    vitals.forget_old(Time::ZERO + DISBELIEF, &table_of(&[]));
    assert!(!vitals.is_dead(&here) && vitals.health.is_empty());
}

#[test]
fn the_lost_are_tried_in_turn_until_they_are_found() {
    let mut vitals = Vitals::default();
    assert_eq!(vitals.next_lost(), None);
    let (one, two) = (peer(5, 2), peer(6, 3));
    vitals.died(Time::ZERO, one);
    vitals.died(Time::ZERO, two);
    assert_eq!([vitals.next_lost(), vitals.next_lost(), vitals.next_lost()], [Some(one), Some(two), Some(one)]);
    vitals.forget_found(&table_of(&[one]));
    assert_eq!(vitals.next_lost(), Some(two));
}
