//! Peers that answer datagrams and that nobody can connect to, in virtual time: what they keep does not count, and on
//! the ring nothing waits for them to pass it on.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use kadring::id::{Id, Key};
use kadring::node::{Answer, Command, FailureKind, Source, Until};
use kadring::overlay::OverlayKind;
use kadring::sim::grown::{Shape, populate};
use kadring::sim::{Rules, World};

const COPIES: usize = 3;
const FILES: usize = 20;

/// So many Kademlia peers, of which those in `shut` are behind a firewall, at rest.
fn network(seed: u64, peers: usize, shut: &[usize]) -> World {
    let overlay = |me, config: &kadring::config::Config, seed| OverlayKind::Kademlia.build(me, seed, config.guest);
    let mut rules = Rules::new(seed, Box::new(overlay));
    rules.config.replicas = COPIES;
    let mut world = World::new(rules);
    for n in 0..peers {
        let slot = world.add(Id::of(&[seed.to_be_bytes(), n.to_be_bytes()].concat()));
        world.shut(slot, shut.contains(&slot));
        world.start(slot, &[0]);
        pass(&mut world, Duration::from_millis(500));
    }
    pass(&mut world, Duration::from_secs(30));
    world
}

/// A ring of so many peers at rest, of which those in `shut` are behind a firewall from now on.
fn ring(seed: u64, peers: usize, shut: &[usize]) -> World {
    let kind = OverlayKind::Ring;
    let mut rules = Rules::new(seed, Box::new(move |me, config, seed| kind.build(me, seed, config.guest)));
    rules.config.replicas = COPIES;
    let mut world = World::new(rules);
    populate(&mut world, &Shape::usual(kind), peers, |_| {});
    pass(&mut world, Duration::from_secs(60));
    shut.iter().for_each(|slot| world.shut(*slot, true));
    world
}

fn pass(world: &mut World, span: Duration) {
    world.run_for(span).expect("every invariant holds");
}

/// Gives the peer `slot` a command. The answer, and how long it took.
fn perform(world: &mut World, slot: usize, command: Command) -> (Answer, Duration) {
    let begin = world.now();
    let command = world.command(slot, command);
    assert!(world.run_until_answered(slot, command, Duration::from_secs(60)).expect("every invariant holds"));
    (world.answer(slot, command).expect("it was answered").clone(), world.now() - begin)
}

/// Stores file number `n` through the peer `slot`. Its key, how many copies of how many wanted, and the time it took.
fn store(world: &mut World, n: usize, slot: usize) -> (Key, (usize, usize), Duration) {
    let path = PathBuf::from(n.to_string());
    world.disk_mut(slot).write_file(&path, n.to_be_bytes().repeat(100).into());
    let (answer, took) = perform(world, slot, Command::Store { path, manifest: None, keep: false });
    let Answer::Stored { key, copies, wanted, .. } = answer else { panic!("{answer:?}") };
    (key, (copies.len() - 1, wanted), took)
}

/// In how many places that can be connected to each block is.
fn open_copies(world: &World, shut: &[usize]) -> BTreeMap<Key, usize> {
    let mut copies = BTreeMap::new();
    for slot in world.up() {
        for (key, _) in world.disk(slot).held() {
            *copies.entry(key).or_default() += usize::from(!shut.contains(&slot));
        }
    }
    copies
}

#[test]
fn a_copy_that_nobody_can_fetch_is_not_counted_and_the_next_nearest_keep_one_instead() {
    let shut = [2, 5, 8, 11];
    let mut world = network(1, 16, &shut);
    let mut took = Vec::new();
    for n in 0..FILES {
        let (_, (copies, wanted), time) = store(&mut world, n, 0);
        assert_eq!((copies, wanted), (COPIES, COPIES));
        took.push(time);
    }
    let few: Vec<_> = open_copies(&world, &shut).into_iter().filter(|(_, copies)| *copies < COPIES).collect();
    assert!(few.is_empty(), "{few:?}");
    took.sort();
    println!("a store takes {:?}, at most {:?}", took[FILES / 2], took[FILES - 1]);
    assert!(took[FILES / 2] < Duration::from_millis(300) && took[FILES - 1] < Duration::from_secs(3), "{took:?}");
}

/// A peer that holds the only copy that can be fetched says so: `wait safe` does not come true, and who quits tells
/// what it leaves behind. Once the firewall is gone the other counts.
#[test]
fn who_cannot_be_connected_to_takes_nothing_over_until_it_can_be() {
    let shut = [1, 2];
    let mut world = network(2, 3, &shut);
    let (_, (copies, wanted), _) = store(&mut world, 0, 0);
    assert_eq!((copies, wanted), (1, COPIES), "its own");
    let safe = |limit| Command::Wait { until: Until::Safe, limit: Some(Duration::from_secs(limit)) };
    let (answer, _) = perform(&mut world, 0, safe(20));
    assert_eq!(answer.verdict(), Some(FailureKind::TimedOut));
    let Answer::Failed(failure) = answer else { panic!("{answer:?}") };
    assert!(failure.reason.contains("2 peers cannot be connected to"), "{failure}");

    world.shut(1, false);
    pass(&mut world, Duration::from_secs(300));
    let (answer, took) = perform(&mut world, 0, safe(20));
    assert_eq!(answer.verdict(), None, "{answer:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
    world.shut(1, true);
    world.crash(1);
    pass(&mut world, Duration::from_secs(60));
    let (answer, took) = perform(&mut world, 0, Command::Quit { handover: true });
    let Answer::Left { handed_over, left_behind, .. } = answer else { panic!("{answer:?}") };
    assert!(handed_over == 0 && left_behind > 0, "{answer:?}");
    assert!(took < Duration::from_secs(1), "it is known: {took:?}");
}

/// Repair too: what a peer behind a firewall says that it holds fills nobody's place.
#[test]
fn repair_finds_other_places_for_what_stands_behind_a_firewall() {
    let mut world = network(3, 9, &[]);
    let keys: Vec<Key> = (0..FILES).map(|n| store(&mut world, n, 0).0).collect();
    let shut = [3, 7];
    shut.iter().for_each(|slot| world.shut(*slot, true));
    // What is known of the ways from before counts for an hour; in each hour all is compared once.
    pass(&mut world, Duration::from_secs(9000));
    let few: Vec<_> = open_copies(&world, &shut).into_iter().filter(|(_, copies)| *copies < COPIES).collect();
    assert!(few.is_empty(), "{few:?}");
    shut.iter().for_each(|slot| world.crash(*slot));
    for key in keys {
        let dest = PathBuf::from(format!("back {key}"));
        let get = Command::Retrieve { source: Source::Key(key), dest, replace: false };
        assert_eq!(perform(&mut world, 1, get).0.verdict(), None);
    }
}

/// An eighth of a ring is behind a firewall: it lies on the way to the others' keys, and some keys are its own.
#[test]
fn a_lookup_on_the_ring_whose_way_leads_through_peers_that_cannot_be_connected_to_costs_no_second() {
    const PEERS: usize = 64;
    let shut: Vec<usize> = (1..PEERS).step_by(8).collect();
    let mut world = ring(4, PEERS, &shut);
    let mut open: Vec<Id> = (0..PEERS).filter(|slot| !shut.contains(slot)).map(|slot| world.peer(slot).id).collect();
    open.sort_unstable();
    let theirs: Vec<Key> = shut.iter().map(|slot| world.peer(*slot).id).collect();
    let others = (0..40_u32).map(|n| Id::of(&n.to_be_bytes()));
    let mut took = Vec::new();
    for key in others.chain(theirs) {
        let (answer, time) = perform(&mut world, 0, Command::Lookup { key });
        let Answer::Lookup { peers, .. } = answer else { panic!("{answer:?}") };
        let nearest = open.iter().find(|id| **id >= key).unwrap_or(&open[0]);
        assert!(peers.iter().any(|peer| peer.id == *nearest), "{key}: {peers:?}");
        took.push(time);
    }
    took.sort();
    let (most, nearly_all) = (took[took.len() - 1], took[took.len() * 19 / 20]);
    println!("a lookup takes {:?}, {nearly_all:?}, at most {most:?}", took[took.len() / 2]);
    // Several of them may stand one after another.
    assert!(nearly_all < Duration::from_secs(1) && most < Duration::from_secs(2), "{took:?}");
}

#[test]
fn a_store_on_the_ring_beside_peers_that_cannot_be_connected_to_has_all_its_copies_in_a_second_or_little_more() {
    let shut = [2, 5, 8, 11];
    let mut world = ring(5, 16, &shut);
    let mut took = Vec::new();
    for n in 0..FILES {
        let (_, copies, time) = store(&mut world, n, 0);
        assert_eq!(copies, (COPIES, COPIES));
        took.push(time);
    }
    let few: Vec<_> = open_copies(&world, &shut).into_iter().filter(|(_, copies)| *copies < COPIES).collect();
    assert!(few.is_empty(), "{few:?}");
    took.sort();
    let (most, nearly_all) = (took[FILES - 1], took[FILES * 9 / 10]);
    println!("a store takes {:?}, {nearly_all:?}, at most {most:?}", took[FILES / 2]);
    // Each file is two blocks, one after the other.
    assert!(nearly_all < Duration::from_secs(1) && most < Duration::from_millis(1500), "{took:?}");
}

/// A client comes through a peer that the others are cut off from, as its user is.
#[test]
fn what_is_asked_through_a_peer_that_is_cut_off_is_neither_called_stored_in_full_nor_called_lost() {
    for (kind, after) in
        [60, 300].into_iter().flat_map(|after| [OverlayKind::Kademlia, OverlayKind::Ring].map(|kind| (kind, after)))
    {
        let mut rules = Rules::new(3, Box::new(move |me, config, seed| kind.build(me, seed, config.guest)));
        rules.config.replicas = COPIES;
        let mut world = World::new(rules);
        populate(&mut world, &Shape::usual(kind), 6, |_| {});
        pass(&mut world, Duration::from_secs(30));
        (1..6).for_each(|slot| world.crash(slot));
        pass(&mut world, Duration::from_secs(after));
        let client = world.add(Id::of(b"client"));
        world.start_guest(client, &[0]);
        pass(&mut world, Duration::from_secs(1));
        let path = PathBuf::from("file");
        world.disk_mut(client).write_file(&path, b"what is stored".to_vec().into());
        let (stored, _) = perform(&mut world, client, Command::Store { path, manifest: None, keep: false });
        let is_stored = matches!(stored, Answer::Stored { .. });
        assert!(is_stored && stored.verdict() == Some(FailureKind::TooFewCopies), "{kind:?}: {stored:?}");
        let (source, dest) = (Source::Key(Id::of(b"elsewhere")), PathBuf::from("dest"));
        let client = world.add(Id::of(b"another client"));
        world.start_guest(client, &[0]);
        pass(&mut world, Duration::from_secs(1));
        let (missed, _) = perform(&mut world, client, Command::Retrieve { source, dest, replace: false });
        assert_eq!(missed.verdict(), Some(FailureKind::TimedOut), "{kind:?}: {missed:?}");
    }
}

#[test]
fn two_peers_that_are_left_of_three_miss_nobody_a_minute_later() {
    for kind in [OverlayKind::Kademlia, OverlayKind::Ring] {
        let mut rules = Rules::new(3, Box::new(move |me, config, seed| kind.build(me, seed, config.guest)));
        rules.config.replicas = COPIES;
        let mut world = World::new(rules);
        populate(&mut world, &Shape::usual(kind), 3, |_| {});
        pass(&mut world, Duration::from_secs(30));
        world.crash(2);
        pass(&mut world, Duration::from_secs(60));
        let path = PathBuf::from("file");
        world.disk_mut(0).write_file(&path, b"what is stored".to_vec().into());
        let (stored, _) = perform(&mut world, 0, Command::Store { path, manifest: None, keep: false });
        let Answer::Stored { unreached, wanted, .. } = stored else { panic!("{kind:?}: {stored:?}") };
        assert_eq!((unreached, wanted), (0, 2), "{kind:?}");
    }
}

/// An eighth of a ring is behind a firewall, and newcomers come to stand right behind such peers too: the peer before
/// lets them in.
#[test]
fn newcomers_enter_a_ring_within_two_seconds_beside_peers_that_cannot_be_connected_to() {
    for seed in 0..8 {
        let mut world = ring(seed, 16, &[3, 11]);
        for n in 0..8_u64 {
            let slot = world.add(Id::of(&[seed.to_be_bytes(), n.to_be_bytes()].concat()));
            world.start(slot, &[0]);
            pass(&mut world, Duration::from_secs(2));
            let known = world.node(slot).expect("it is up").overlay().peers().len();
            assert!(known >= 3, "seed {seed}, newcomer {n} knows {known} peers");
        }
        pass(&mut world, Duration::from_secs(30));
        let mut all: Vec<Id> = world.up().into_iter().map(|slot| world.peer(slot).id).collect();
        all.sort_unstable();
        for slot in world.up() {
            let me = world.peer(slot).id;
            let first = all.binary_search(&me).expect("it is one of them");
            let known = world.node(slot).expect("it is up").overlay().replica_set(&me, 4);
            let right = all.iter().cycle().skip(first).take(4);
            assert!(known.iter().map(|peer| &peer.id).eq(right), "seed {seed}, peer {slot} and those behind it");
        }
    }
}

/// The only peer that a newcomer was told of answers its datagrams, and no connection reaches it: a neighbour of that one
/// lets it in, once its silence has lasted for as long as a `join` may.
#[test]
fn a_newcomer_to_the_ring_whose_only_door_takes_no_connection_enters_within_seven_seconds() {
    for seed in 0..6 {
        let mut world = ring(seed, 16, &[0]);
        let slot = world.add(Id::of(&seed.to_be_bytes()));
        world.start(slot, &[0]);
        pass(&mut world, Duration::from_secs(7));
        let known = world.node(slot).expect("it is up").overlay().peers().len();
        assert!(known >= 3, "seed {seed}: it knows {known} peers");
    }
}
