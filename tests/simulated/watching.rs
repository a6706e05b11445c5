//! Knowing who is alive: what that costs, how soon a death is known and to whom, and that nobody is declared dead who
//! lives. Whole peers, in virtual time.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use kadring::config::Config;
use kadring::id::Id;
use kadring::node::{Command, Notice};
use kadring::overlay::OverlayKind;
use kadring::overlay::ring::{RingOptions, SUCCESSOR_PING_EVERY};
use kadring::peer::Peer;
use kadring::sim::grown::{Shape, populate};
use kadring::sim::load::{LoadPlan, LoadReport};
use kadring::sim::network::address;
use kadring::sim::{Rules, Weather, World};
use kadring::time::Time;

const KIND: OverlayKind = OverlayKind::Kademlia;

fn run(plan: &LoadPlan) -> LoadReport {
    plan.run(|_| {}).expect("nothing breaks")
}

/// A grown network of so many whole peers.
fn world(kind: OverlayKind, peers: usize, weather: Weather) -> World {
    let mut rules = Rules::new(1, Box::new(move |me, config, seed| kind.build(me, seed, config.guest)));
    rules.weather = weather;
    let mut world = World::new(rules);
    populate(&mut world, &Shape::usual(kind), peers, |_| {});
    world
}

/// The peers that run and have `peer` in their tables.
fn knowing(world: &World, peer: &Peer) -> Vec<usize> {
    let knows = |slot: &usize| world.node(*slot).is_some_and(|node| node.overlay().peers().contains(peer));
    world.up().into_iter().filter(knows).collect()
}

#[test]
fn a_peer_of_an_idle_network_sends_at_most_one_message_a_second_whatever_the_size() {
    for (kind, peers) in [(KIND, &[2, 10, 40, 1000][..]), (OverlayKind::Ring, &[2, 8, 40, 200])] {
        for &peers in peers {
            let plan = LoadPlan::idle(kind, peers, Duration::from_secs(300));
            // What a new network does in its first minutes is left out.
            let report = run(&plan);
            let rest = &report.slices[report.slices.len() / 2..];
            let messages: u64 = rest.iter().map(|slice| slice.sent.all().messages).sum();
            let each = messages as f64 / (plan.lasts.as_secs_f64() / 2.0) / peers as f64;
            assert!(each <= 1.0, "{kind:?}: {each:.2} messages a second among {peers}");
        }
    }
}

#[test]
fn a_death_is_known_to_its_whole_replica_set_within_ten_seconds_ninety_nine_times_in_a_hundred() {
    let bound = Duration::from_secs(10);
    let lasts = Duration::from_secs(600);
    for kind in [KIND, OverlayKind::Ring] {
        let deaths = run(&LoadPlan { churn: 30.0, ..LoadPlan::idle(kind, 300, lasts) }).deaths;
        let late = deaths.known.iter().chain(&deaths.unknown).filter(|took| **took > bound).count();
        assert!(deaths.deaths > 200 && late * 100 <= deaths.deaths, "{kind:?}: {late} late of {deaths:?}");
        assert_eq!(deaths.false_alarms, 0, "{kind:?}");
    }
}

/// Most often a process is gone and its machine is not: that refuses the connection that is tried once a ping is missed.
#[test]
fn a_death_on_the_ring_is_known_to_all_near_it_a_second_after_the_next_ping_where_connections_are_refused() {
    for slot in 1..12 {
        let mut world = world(OverlayKind::Ring, 12, Weather::default());
        world.refuse_at_once();
        world.run_for(Duration::from_secs(20 + slot as u64)).expect("nothing breaks");
        let declared = declared(&mut world);
        let (dead, since) = (world.peer(slot), world.now());
        world.crash(slot);
        world.run_for(Duration::from_secs(20)).expect("nothing breaks");
        let known: Vec<Duration> = declared.borrow().iter().map(|(at, ..)| at.since(since)).collect();
        assert!(declared.borrow().iter().all(|(_, _, peer)| *peer == dead) && known.len() == 11, "{known:?}");
        let latest = known.into_iter().max().expect("eleven");
        assert!(latest <= SUCCESSOR_PING_EVERY + Duration::from_secs(1), "peer {slot}: after {latest:?}");
    }
}

/// The living that were declared dead, with when and by whom. Everybody must live.
fn declared(world: &mut World) -> Rc<RefCell<Vec<(Time, usize, Peer)>>> {
    let declared = Rc::new(RefCell::new(Vec::new()));
    let heard = Rc::clone(&declared);
    world.watch(Box::new(move |at, by, notice| {
        if let Notice::PeerDown { peer } = notice {
            heard.borrow_mut().push((at, by, *peer));
        }
    }));
    declared
}

/// A ping goes out once, as does a question who is near: both may get lost at the same time.
#[test]
fn at_five_percent_loss_nobody_of_three_hundred_is_declared_dead_while_they_look_keys_up() {
    for seed in 0..6 {
        let mut plan = LoadPlan { seed, lookups: 1000, ..LoadPlan::idle(KIND, 300, Duration::from_secs(60)) };
        plan.weather.loss = 0.05;
        assert_eq!(run(&plan).deaths.false_alarms, 0, "seed {seed}");
    }
}

/// A third of all peers is slow: some answer up to a second late, the others stop for up to 5 s now and then.
#[test]
fn on_the_ring_hardly_anybody_is_declared_dead_for_being_slow() {
    let slow = LoadPlan { slow: 0.3, lookups: 100, ..LoadPlan::idle(OverlayKind::Ring, 40, Duration::from_secs(300)) };
    // Two stops may follow upon one another with no time to answer in between.
    let alarms = run(&LoadPlan { seed: 3, ..slow }).deaths.false_alarms;
    assert!(alarms <= 3, "{alarms} times");
}

/// Of 40 peers four stop in turn; a tenth of all datagrams gets lost.
#[test]
fn on_the_ring_nobody_is_declared_dead_who_stops_for_up_to_five_seconds() {
    let mut world = world(OverlayKind::Ring, 40, Weather { loss: 0.1, ..Weather::default() });
    let declared = declared(&mut world);
    for stop in 0..180_u64 {
        world.run_for(Duration::from_secs(10)).expect("nothing breaks");
        world.freeze((stop % 4) as usize, Duration::from_millis(1_000 + 137 * stop % 4_000));
    }
    assert_eq!(*declared.borrow(), [], "all of them live");
}

/// The assignment's example ring, at rest.
fn classroom(interval: Duration) -> World {
    let mut world = World::new(Rules::of(3, OverlayKind::Ring, RingOptions::classroom(interval, Vec::new())));
    for (slot, id) in [2, 4, 5, 8, 9, 14, 19].into_iter().enumerate() {
        world.add(Id::from_u64(id));
        world.start(slot, if slot == 0 { &[] } else { &[0] });
        world.run_for(Duration::from_secs(1)).expect("nothing breaks");
    }
    world.run_for(Duration::from_secs(40)).expect("nothing breaks");
    world
}

/// Where the user sees three pings without an answer, that is a death. Others go out in between, whose number must not
/// decide.
#[test]
fn in_the_classroom_nobody_is_declared_dead_who_stops_for_five_seconds_in_which_the_user_sees_no_three_pings_missed() {
    for interval in [3, 5, 10, 30] {
        let mut world = classroom(Duration::from_secs(interval));
        let declared = declared(&mut world);
        for stop in 0..42_u64 {
            world.run_for(Duration::from_millis(10_000 + 377 * stop)).expect("nothing breaks");
            world.freeze((stop % 7) as usize, Duration::from_secs(5));
        }
        world.run_for(Duration::from_secs(20)).expect("nothing breaks");
        assert_eq!(*declared.borrow(), [], "pings every {interval} s: all of them live");
    }
}

#[test]
fn in_the_classroom_a_death_is_known_to_both_before_the_dead_within_eleven_seconds_at_any_interval() {
    for (interval, within) in [(1, 5), (3, 9), (5, 11), (10, 11), (30, 11)] {
        for killed in 0..7 {
            let mut world = classroom(Duration::from_secs(interval));
            world.run_for(Duration::from_millis(711 * killed as u64)).expect("nothing breaks");
            let declared = declared(&mut world);
            let (peer, at) = (world.peer(killed), world.now());
            world.crash(killed);
            world.run_for(Duration::from_secs(within)).expect("nothing breaks");
            for before in [1, 2].map(|steps| (killed + 7 - steps) % 7) {
                let hears = |(_, by, dead): &&(Time, usize, Peer)| *by == before && *dead == peer;
                let heard = declared.borrow().iter().find(hears).map(|(when, ..)| when.since(at));
                println!("pings every {interval} s: slot {before} misses slot {killed} after {heard:?}");
                assert!(heard.is_some(), "pings every {interval} s: slot {before} misses slot {killed} too late");
            }
        }
    }
}

/// A ring whose peers are all started at once, as by a script; each is told its first two successors.
fn classroom_at_once(interval: Duration, ids: &'static [u64]) -> World {
    let at = move |slot: usize| Peer::new(Id::from_u64(ids[slot % ids.len()]), address(slot % ids.len()));
    let build = move |me: Peer, config: &Config, seed| {
        let slot = ids.iter().position(|id| Id::from_u64(*id) == me.id).expect("one of them");
        let options = RingOptions::classroom(interval, vec![at(slot + 1), at(slot + 2)]);
        OverlayKind::Ring.build_with(me, seed, config, &options)
    };
    let mut world = World::new(Rules::new(3, Box::new(build)));
    for &id in ids {
        world.add(Id::from_u64(id));
    }
    (0..ids.len()).for_each(|slot| world.start(slot, &[]));
    world.run_for(Duration::from_secs(40)).expect("nothing breaks");
    world
}

#[test]
fn in_the_classroom_a_death_is_known_to_both_before_the_dead_within_six_seconds_where_its_machine_refuses_connections()
{
    for interval in [1, 5, 30, 3600] {
        let interval = Duration::from_secs(interval);
        for (start, peers) in [("1 s apart", 7), ("at once", 3), ("at once", 5)] {
            let mut slowest = Duration::ZERO;
            for killed in 0..2 * peers {
                let mut world = match peers {
                    3 => classroom_at_once(interval, &[1, 5, 9]),
                    5 => classroom_at_once(interval, &[1, 5, 9, 14, 20]),
                    _ => classroom(interval),
                };
                world.refuse_at_once();
                world.run_for(Duration::from_millis(711 * killed as u64)).expect("nothing breaks");
                let killed = killed % peers;
                let declared = declared(&mut world);
                let (peer, at) = (world.peer(killed), world.now());
                world.crash(killed);
                world.run_for(Duration::from_secs(6)).expect("nothing breaks");
                for before in [1, 2].map(|steps| (killed + peers - steps) % peers) {
                    let hears = |(_, by, dead): &&(Time, usize, Peer)| *by == before && *dead == peer;
                    let heard = declared.borrow().iter().find(hears).map(|(when, ..)| when.since(at));
                    let took = heard.unwrap_or_else(|| {
                        panic!(
                            "{peers} peers, started {start}, pings every {interval:?}: {before} misses {killed} late"
                        )
                    });
                    slowest = slowest.max(took);
                }
            }
            println!("{peers} peers, started {start}, pings every {interval:?}: the slowest hears after {slowest:?}");
        }
    }
}

#[test]
fn who_stands_still_is_called_dead_when_a_pause_says_that_it_will_be() {
    for kind in [KIND, OverlayKind::Ring] {
        let [least, most] = kind.silence();
        for slot in 1..8 {
            let mut world = world(kind, 12, Weather::default());
            world.run_for(Duration::from_secs(20 + slot as u64)).expect("nothing breaks");
            let declared = declared(&mut world);
            let (peer, since) = (world.peer(slot), world.now());
            world.freeze(slot, Duration::from_secs(30));
            world.run_for(Duration::from_secs(20)).expect("nothing breaks");
            let first = declared.borrow().iter().filter(|(_, _, dead)| *dead == peer).map(|(at, ..)| *at).min();
            let silence = first.expect("it is missed").since(since);
            assert!((least..=most).contains(&silence), "{kind:?}, peer {slot}: after {silence:?}");
        }
    }
}

#[test]
fn who_left_or_died_is_in_no_table_a_minute_later() {
    let mut world = world(KIND, 40, Weather::default());
    world.run_for(Duration::from_secs(60)).expect("nothing breaks");
    for gone in 0..6 {
        assert!(knowing(&world, &world.peer(gone)).len() > 10, "many knew it");
        if gone % 2 == 0 {
            world.crash(gone);
        } else {
            world.command(gone, Command::Quit { handover: false });
        }
    }
    world.run_for(Duration::from_secs(60)).expect("nothing breaks");
    for gone in 0..6 {
        assert!(!world.is_up(gone));
        assert_eq!(knowing(&world, &world.peer(gone)), Vec::<usize>::new(), "peer {gone} is still listed");
    }
}

#[test]
fn at_ten_percent_loss_nobody_is_declared_dead_in_half_an_hour_but_who_stops_and_that_not_for_good() {
    [(KIND, 20), (OverlayKind::Ring, 16)].into_iter().for_each(|(kind, knowing)| only_who_stops(kind, knowing));
}

/// Only a peer that stops now and then for up to ten seconds is declared dead, and so many know it in the end.
fn only_who_stops(kind: OverlayKind, known_by: usize) {
    let mut world = world(kind, 40, Weather { loss: 0.1, ..Weather::default() });
    let paused = world.peer(0);
    let declared = declared(&mut world);
    for pause in 0..60_u64 {
        world.run_for(Duration::from_secs(30)).expect("nothing breaks");
        world.freeze(0, Duration::from_millis(500 + 150 * pause));
    }
    world.run_for(Duration::from_secs(90)).expect("nothing breaks");
    let wrongly: Vec<_> = declared.borrow().iter().filter(|(_, _, peer)| *peer != paused).copied().collect();
    assert_eq!(wrongly, [], "{kind:?}: they live, and never stopped");
    let known = knowing(&world, &paused).len();
    assert!(known >= known_by, "{kind:?}: {known} know the peer that stopped now and then");
}

/// A peer whose answers take far longer than usual for a while is given up by each that asks it. Each hears of that
/// answer all the same, and asks once more with the patience that it now takes.
#[test]
fn a_peer_that_is_slow_for_a_while_is_in_the_tables_that_it_was_in_as_soon_as_it_is_quick_again() {
    for kind in [KIND, OverlayKind::Ring] {
        let mut world = world(kind, 31, Weather::default());
        world.run_for(Duration::from_secs(60)).expect("nothing breaks");
        let slow = world.peer(11);
        let before = knowing(&world, &slow);
        world.slow_down(11, Duration::from_millis(650));
        world.run_for(Duration::from_secs(45)).expect("nothing breaks");
        let during = knowing(&world, &slow);
        world.slow_down(11, Duration::ZERO);
        world.run_for(Duration::from_secs(15)).expect("nothing breaks");
        let missing: Vec<usize> =
            before.iter().copied().filter(|slot| !knowing(&world, &slow).contains(slot)).collect();
        println!("{kind:?}: {} before, {} while it is slow, then missing at {missing:?}", before.len(), during.len());
        assert!(missing.is_empty(), "{kind:?}: {missing:?}");
    }
}
