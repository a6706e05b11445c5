//! What lost datagrams and silent peers cost those who store and retrieve, in virtual time.

use std::path::PathBuf;
use std::time::Duration;

use kadring::id::Id;
use kadring::node::{Answer, Command, Source};
use kadring::overlay::OverlayKind;
use kadring::sim::grown::{Shape, populate};
use kadring::sim::{Rules, Weather, World};

const PEERS: usize = 16;
const COPIES: usize = 3;
const FILES: usize = 20;

/// Peers that joined one after another, in this weather. A round trip takes 20 to 30 ms.
fn started(seed: u64, weather: Weather) -> World {
    let names = (0..PEERS).map(|n| Id::of(&n.to_be_bytes()));
    joined(OverlayKind::Kademlia, (seed, COPIES), weather, names)
}

/// The same of peers of these names, with so many copies of each block.
fn joined(kind: OverlayKind, (seed, copies): (u64, usize), weather: Weather, names: impl Iterator<Item = Id>) -> World {
    let mut rules = Rules::new(seed, Box::new(move |me, config, seed| kind.build(me, seed, config.guest)));
    rules.config.replicas = copies;
    let mut world = World::new(rules);
    world.set_weather(weather);
    for name in names {
        let slot = world.add(name);
        world.start(slot, &[0]);
        pass(&mut world, Duration::from_millis(500));
    }
    world
}

/// A network that has come to rest.
fn network(seed: u64) -> World {
    let mut world = started(seed, Weather::default());
    pass(&mut world, Duration::from_secs(30));
    world
}

fn pass(world: &mut World, span: Duration) {
    world.run_for(span).expect("every invariant holds");
}

/// Gives the peer `slot` a command; `meanwhile` happens while it is under way. The answer, and how long it took.
fn perform(world: &mut World, slot: usize, command: Command, meanwhile: impl FnOnce(&mut World)) -> (Answer, Duration) {
    let (begin, limit) = (world.now(), Duration::from_secs(60));
    let command = world.command(slot, command);
    meanwhile(world);
    assert!(
        world.run_until_answered(slot, command, limit).expect("every invariant holds"),
        "no answer after {limit:?}"
    );
    (world.answer(slot, command).expect("it was answered").clone(), world.now() - begin)
}

/// Stores file number `n`, which is one full block and its list, through the peer `slot`.
fn store(world: &mut World, n: usize, slot: usize, meanwhile: impl FnOnce(&mut World)) -> (Answer, Duration) {
    let path = PathBuf::from(n.to_string());
    world.disk_mut(slot).write_file(&path, n.to_be_bytes().repeat((1 << 20) / size_of::<usize>()).into());
    perform(world, slot, Command::Store { path, manifest: None, keep: false }, meanwhile)
}

/// The blocks that live peers hold, all copies counted.
fn copies(world: &World) -> usize {
    world.up().iter().map(|&slot| world.disk(slot).held().len()).sum()
}

fn middle(times: &mut [Duration]) -> (Duration, Duration) {
    times.sort();
    (times[times.len() / 2], times[times.len() - 1])
}

#[test]
fn where_a_third_of_all_datagrams_get_lost_a_mebibyte_is_stored_within_a_second_and_retrieved_within_a_third_of_one() {
    let mut world = network(1);
    world.set_weather(Weather { loss: 0.3, duplicate: 0.1, reorder: 0.2, ..Weather::default() });
    pass(&mut world, Duration::from_secs(5));
    let (mut stores, mut retrieves) = (Vec::new(), Vec::new());
    for n in 0..FILES {
        let before = copies(&world);
        let (answer, took) = store(&mut world, n, n % PEERS, |_| ());
        let Answer::Stored { key, copies: stored, .. } = answer else { panic!("{answer:?}") };
        assert!(stored.iter().rposition(|count| *count > 0) <= Some(COPIES), "more copies than wanted: {stored:?}");
        let made = copies(&world) - before;
        assert!((2 * COPIES..=2 * COPIES + 2).contains(&made), "{made} copies of two blocks of file {n}");
        stores.push(took);
        let retrieve = Command::Retrieve { source: Source::Key(key), dest: "back".into(), replace: true };
        let (answer, took) = perform(&mut world, (n + 5) % PEERS, retrieve, |_| ());
        assert!(matches!(answer, Answer::Retrieved { .. }), "{answer:?}");
        retrieves.push(took);
    }
    let (store, slowest) = middle(&mut stores);
    let (retrieve, slowest_retrieve) = middle(&mut retrieves);
    println!("store {store:?}, at most {slowest:?}; retrieve {retrieve:?}, at most {slowest_retrieve:?}");
    assert!(store < Duration::from_secs(1) && slowest < Duration::from_secs(3), "{stores:?}");
    assert!(retrieve < Duration::from_millis(300) && slowest_retrieve < Duration::from_secs(1), "{retrieves:?}");
}

#[test]
fn a_peer_that_dies_while_it_is_offered_a_block_is_not_waited_for_and_the_next_nearest_takes_it() {
    let mut stores = Vec::new();
    for n in 0..FILES {
        let mut world = network(n as u64);
        let (answer, took) = store(&mut world, n, 0, |world| {
            // One round trip later the first lookups are over: offers are on their way, or about to leave.
            pass(world, Duration::from_millis(25));
            (1..PEERS).step_by(4).for_each(|slot| world.crash(slot));
        });
        let Answer::Stored { copies: stored, wanted, .. } = answer else { panic!("{answer:?}") };
        assert_eq!((stored.len() - 1, wanted), (COPIES, COPIES), "as many copies as wanted: {stored:?}");
        stores.push(took);
    }
    let (store, slowest) = middle(&mut stores);
    println!("store {store:?}, at most {slowest:?}");
    assert!(slowest < Duration::from_secs(1), "{stores:?}");
}

/// What a client takes that joins through one peer, as often as the program does, and retrieves the file `key`; none if
/// it failed.
fn visit(world: &mut World, key: Id, through: usize) -> Option<Duration> {
    const JOINS: usize = 3;
    const JOIN: Duration = Duration::from_millis(1750);
    let slot = world.add(Id::of(&world.slots().to_be_bytes()));
    let begin = world.now();
    let has_joined = |world: &World| world.node(slot).is_some_and(|guest| !guest.overlay().peers().is_empty());
    for _ in 0..JOINS {
        world.start_guest(slot, &[through]);
        let limit = world.now() + JOIN;
        while !has_joined(world) && world.now() < limit {
            pass(world, Duration::from_millis(5));
        }
        if has_joined(world) {
            break;
        }
        world.crash(slot);
    }
    if !has_joined(world) {
        return None;
    }
    let retrieve = Command::Retrieve { source: Source::Key(key), dest: "back".into(), replace: true };
    let (answer, _) = perform(world, slot, retrieve, |_| ());
    world.crash(slot);
    matches!(answer, Answer::Retrieved { .. }).then(|| world.now() - begin)
}

#[test]
fn clients_that_know_one_peer_retrieve_fast_where_a_third_of_all_datagrams_get_lost_and_always_where_half_are() {
    const CLIENTS: usize = 30;
    let mut world = network(1);
    let (Answer::Stored { key, .. }, _) = store(&mut world, 0, 0, |_| ()) else { panic!("it is not stored") };
    for (loss, bound) in [(0.3, Duration::from_millis(500)), (0.5, Duration::from_secs(2))] {
        world.set_weather(Weather { loss, duplicate: 0.1, reorder: 0.1, ..Weather::default() });
        pass(&mut world, Duration::from_secs(10));
        let visits: Vec<_> = (0..CLIENTS).map(|n| visit(&mut world, key, n % PEERS)).collect();
        assert!(visits.iter().all(Option::is_some), "at a loss of {loss}: {visits:?}");
        let (median, slowest) = middle(&mut visits.into_iter().flatten().collect::<Vec<_>>());
        println!("at a loss of {loss}: {median:?}, at most {slowest:?}");
        assert!(median < bound, "at a loss of {loss}: {median:?}");
    }
}

/// Datagrams alone get lost here; connections stand.
#[test]
fn where_half_of_all_datagrams_get_lost_a_mebibyte_is_stored_within_two_seconds_and_retrieved_thirty_times_of_thirty() {
    let mut world = network(1);
    world.set_weather(Weather { loss: 0.5, ..Weather::default() });
    pass(&mut world, Duration::from_secs(30));
    let (mut stores, mut retrieves) = (Vec::new(), Vec::new());
    for n in 0..10 {
        let (answer, took) = store(&mut world, n, n, |_| {});
        let Answer::Stored { key, .. } = answer else { panic!("{answer:?}") };
        stores.push(took);
        for at in 0..3 {
            let dest = PathBuf::from(format!("back {n}"));
            let command = Command::Retrieve { source: Source::Key(key), dest, replace: true };
            let (answer, took) = perform(&mut world, (n + 3 + at) % PEERS, command, |_| {});
            assert!(matches!(answer, Answer::Retrieved { .. }), "number {n}: {answer:?}");
            retrieves.push(took);
        }
    }
    let ((store, slowest), retrieve) = (middle(&mut stores), middle(&mut retrieves));
    println!("stored within {store:?}, at most {slowest:?}; retrieved within {retrieve:?}");
    assert!(store < Duration::from_secs(2), "{stores:?}");
}

#[test]
fn where_half_of_all_datagrams_get_lost_from_the_start_nobody_is_left_alone() {
    for seed in 0..16 {
        let mut world = started(seed, Weather { loss: 0.5, ..Weather::default() });
        pass(&mut world, Duration::from_secs(30));
        let known = |&slot: &usize| world.node(slot).expect("it is up").overlay().peers().len();
        let known: Vec<usize> = world.up().iter().map(known).collect();
        println!("seed {seed}: {known:?}");
        assert!(known.iter().all(|peers| *peers > 0), "seed {seed}: {known:?}");
    }
}

/// The hop was heard a moment before, so nothing speaks against it until the lookup is late.
#[test]
fn a_lookup_on_the_ring_whose_next_hop_stopped_a_moment_before_costs_no_second() {
    let ring = OverlayKind::Ring;
    let mut world = World::new(Rules::new(1, Box::new(move |me, config, seed| ring.build(me, seed, config.guest))));
    populate(&mut world, &Shape::usual(ring), 64, |_| {});
    pass(&mut world, Duration::from_secs(60));
    let mut took = Vec::new();
    for hop in 1..=20 {
        let owner = world.peer(hop);
        let lookup = || Command::Lookup { key: owner.id };
        let (Answer::Lookup { peers, .. }, _) = perform(&mut world, 0, lookup(), |_| {}) else { panic!("no answer") };
        assert_eq!(peers[0], owner);
        world.freeze(hop, Duration::from_secs(20));
        let (Answer::Lookup { peers, .. }, late) = perform(&mut world, 0, lookup(), |_| {}) else {
            panic!("no answer")
        };
        assert!(!peers.is_empty());
        took.push(late);
        pass(&mut world, Duration::from_secs(60));
    }
    let (median, slowest) = middle(&mut took);
    println!("{median:?}, at most {slowest:?}");
    // Of that, up to 100 ms are connections that are opened on the way.
    assert!(median < Duration::from_millis(600) && slowest < Duration::from_secs(1), "{took:?}");
}

/// The searches of a file's blocks go through few peers, side by side: what one ping tells of a hop, it tells for all.
#[test]
fn a_peer_that_is_stopped_while_a_client_retrieves_from_the_ring_costs_a_second_at_most() {
    const PEERS: usize = 9;
    let names = (0..PEERS).map(|n| Id::of(&[n as u8, 2]));
    let mut world = joined(OverlayKind::Ring, (2, COPIES), Weather::default(), names);
    pass(&mut world, Duration::from_secs(30));
    let path = PathBuf::from("file");
    let content: Vec<u8> = (0..40_u64).flat_map(|n| n.to_be_bytes().repeat(1 << 17)).collect();
    world.disk_mut(0).write_file(&path, content.into());
    let (answer, _) = perform(&mut world, 0, Command::Store { path, manifest: None, keep: false }, |_| ());
    let Answer::Stored { key, .. } = answer else { panic!("{answer:?}") };
    let mut retrieve = |stopped: Option<(usize, Duration)>| {
        pass(&mut world, Duration::from_secs(60));
        let client = world.add(Id::of(&world.slots().to_be_bytes()));
        world.start_guest(client, &[0]);
        pass(&mut world, Duration::from_millis(200));
        let command = Command::Retrieve { source: Source::Key(key), dest: "back".into(), replace: true };
        let (answer, took) = perform(&mut world, client, command, |world| {
            if let Some((slot, after)) = stopped {
                pass(world, after);
                world.freeze(slot, Duration::from_secs(20));
            }
        });
        assert!(matches!(answer, Answer::Retrieved { .. }), "{stopped:?}: {answer:?}");
        world.crash(client);
        took
    };
    let usual = retrieve(None);
    for slot in 1..PEERS {
        for after in [20, 40, 60].map(Duration::from_millis) {
            let took = retrieve(Some((slot, after)));
            assert!(took < usual + Duration::from_secs(1), "peer {slot}, {after:?}: {took:?} instead of {usual:?}");
        }
    }
}

/// A guest has no contacts that it looks after, and hears of the dead one from all others.
#[test]
fn a_guest_of_a_small_network_waits_at_most_once_for_a_peer_that_died_just_before_it_came() {
    for kind in [OverlayKind::Kademlia, OverlayKind::Ring] {
        let store = |dead| store_as_guest(kind, dead);
        let usual = store(None);
        for dead in 1..SMALL {
            let took = store(Some(dead));
            assert!(took < usual + Duration::from_secs(2), "{kind:?}, peer {dead}: {took:?} instead of {usual:?}");
        }
    }
}

/// Peers of a small network.
const SMALL: usize = 4;

/// What a guest takes to store four windows of blocks in a small network, one of whose peers dies just before.
fn store_as_guest(kind: OverlayKind, dead: Option<usize>) -> Duration {
    let names = (0..SMALL).map(|n| Id::of(&[n as u8, 3]));
    let mut world = joined(kind, (2, 2), Weather::default(), names);
    pass(&mut world, Duration::from_secs(30));
    dead.into_iter().for_each(|slot| world.crash(slot));
    let guest = world.add(Id::of(&[99]));
    world.start_guest(guest, &[0]);
    pass(&mut world, Duration::from_millis(200));
    let path = PathBuf::from("file");
    let content: Vec<u8> = (0..72_u64).flat_map(|n| n.to_be_bytes().repeat(1 << 17)).collect();
    world.disk_mut(guest).write_file(&path, content.into());
    let (answer, took) = perform(&mut world, guest, Command::Store { path, manifest: None, keep: false }, |_| ());
    assert!(matches!(answer, Answer::Stored { .. }), "{answer:?}");
    took
}
