//! Clients and members over ways on which a round trip takes up to half a second, in virtual time.

use std::path::PathBuf;
use std::time::Duration;

use kadring::id::Id;
use kadring::node::{Answer, Command, Source};
use kadring::overlay::OverlayKind;
use kadring::sim::{Rules, Weather, World};

const PEERS: usize = 10;

fn pass(world: &mut World, span: Duration) {
    world.run_for(span).expect("every invariant holds");
}

/// A network at rest whose round trips take 300 to 500 ms, and a file of a thousand bytes in three copies there.
fn network(kind: OverlayKind, seed: u64) -> (World, Id) {
    let mut rules = Rules::new(seed, Box::new(move |me, config, seed| kind.build(me, seed, config.guest)));
    rules.config.replicas = 3;
    let mut world = World::new(rules);
    let weather = Weather { jitter: Duration::from_millis(100), ..Weather::still(Duration::from_millis(300)) };
    world.set_weather(weather);
    for n in 0..PEERS {
        let slot = world.add(Id::of(&[n as u8, 99, seed as u8]));
        world.start(slot, &[0]);
        pass(&mut world, Duration::from_secs(5));
    }
    pass(&mut world, Duration::from_secs(60));
    let path = PathBuf::from("file");
    world.disk_mut(0).write_file(&path, seed.to_be_bytes().repeat(125).into());
    let store = world.command(0, Command::Store { path, manifest: None, keep: false });
    assert!(world.run_until_answered(0, store, Duration::from_secs(60)).expect("nothing breaks"));
    let Some(Answer::Stored { key, .. }) = world.answer(0, store) else { panic!("{:?}", world.answer(0, store)) };
    let key = *key;
    pass(&mut world, Duration::from_secs(30));
    (world, key)
}

#[test]
fn a_client_retrieves_what_is_there_through_each_peer_where_connections_take_longer_than_usual_to_come_about() {
    for kind in [OverlayKind::Ring, OverlayKind::Kademlia] {
        for seed in [1, 2] {
            let (mut world, key) = network(kind, seed);
            let mut slowest = Duration::ZERO;
            for entrance in 0..PEERS {
                let client = world.add(Id::of(&[entrance as u8, seed as u8]));
                world.start_guest(client, &[entrance]);
                pass(&mut world, Duration::from_secs(2));
                let (began, source) = (world.now(), Source::Key(key));
                let get = Command::Retrieve { source, dest: PathBuf::from("came"), replace: true };
                let get = world.command(client, get);
                assert!(world.run_until_answered(client, get, Duration::from_secs(60)).expect("nothing breaks"));
                let answer = world.answer(client, get);
                let came = matches!(answer, Some(Answer::Retrieved { .. }));
                assert!(came, "{kind:?}, seed {seed}, through {entrance}: {answer:?}");
                slowest = slowest.max(world.now() - began);
                world.crash(client);
            }
            println!("{kind:?}, seed {seed}: {slowest:?} at most");
            assert!(slowest < Duration::from_secs(10), "{kind:?}, seed {seed}: {slowest:?}");
        }
    }
}
