//! What Sybils and liars can do to those who store, look up and retrieve.

use std::path::PathBuf;
use std::time::Duration;

use rand::RngExt;

use super::hostile::Role;
use super::world::{Rules, World};
use crate::id::{Id, Key};
use crate::node::{Answer, Command, Source};
use crate::overlay::{OverlayKind, RingOptions};

/// Bytes of a block.
const BLOCK: u32 = 4096;
/// Nobody waits longer for a command.
const LIMIT: Duration = Duration::from_secs(120);

/// A Kademlia of honest peers, in the first slots, and others.
struct Net {
    world: World,
    honest: usize,
}

impl Net {
    fn new(seed: u64, honest: usize) -> Self {
        let mut rules = Rules::of(seed, OverlayKind::Kademlia, RingOptions::default());
        (rules.block_size, rules.checked) = (BLOCK, false);
        let mut world = World::new(rules);
        for slot in 0..honest {
            let id = Id::random(world.rng());
            world.add(id);
            world.start(slot, &[0]);
        }
        world.run_for(Duration::from_secs(20)).expect("nothing breaks");
        Self { world, honest }
    }

    /// More peers of this role come in.
    fn join(&mut self, ids: impl IntoIterator<Item = Id>, role: Role) {
        for id in ids {
            let slot = self.world.add(id);
            self.world.turn_hostile(slot, role);
            let through = self.world.rng().random_range(0..self.honest);
            self.world.start(slot, &[through]);
        }
        self.world.run_for(Duration::from_secs(20)).expect("nothing breaks");
    }

    /// As many ids as near to the key as anybody could make.
    fn around(&mut self, key: &Key, count: usize) -> Vec<Id> {
        let mut near = || {
            let mut bytes = *key.as_bytes();
            self.world.rng().fill(&mut bytes[8..]);
            Id::from_bytes(bytes)
        };
        (0..count).map(|_| near()).collect()
    }

    fn answer(&mut self, slot: usize, command: Command) -> (Answer, Duration) {
        let began = self.world.now();
        let id = self.world.command(slot, command);
        assert!(self.world.run_until_answered(slot, id, LIMIT).expect("nothing breaks"), "it is answered");
        (self.world.take_answer(slot, id).expect("it was answered"), self.world.now().since(began))
    }

    /// Puts a file of so many bytes where the peer in `slot` can store it.
    fn file(&mut self, slot: usize, bytes: usize) -> (PathBuf, Vec<u8>) {
        let mut content = vec![0; bytes];
        self.world.rng().fill(&mut content[..]);
        let path = PathBuf::from(format!("/own/{}", Id::of(&content)));
        self.world.disk_mut(slot).write_file(&path, content.clone().into());
        (path, content)
    }

    fn store(&mut self, slot: usize, bytes: usize) -> Answer {
        let (path, _) = self.file(slot, bytes);
        self.answer(slot, Command::Store { path, manifest: None, keep: false }).0
    }

    /// Honest peers that hold this block.
    fn copies(&self, key: &Key) -> usize {
        self.world.holders().get(key).map_or(0, Vec::len)
    }

    /// How long the file takes to come, if it does.
    fn retrieve(&mut self, slot: usize, key: Key) -> Option<Duration> {
        let dest = PathBuf::from(format!("/back/{key}"));
        let (answer, took) = self.answer(slot, Command::Retrieve { source: Source::Key(key), dest, replace: true });
        matches!(answer, Answer::Retrieved { .. }).then_some(took)
    }
}

#[test]
fn with_thirty_hostile_peers_of_a_hundred_lookups_end_at_an_honest_holder() {
    let mut net = Net::new(1, 70);
    let ids: Vec<Id> = (0..30).map(|_| Id::random(net.world.rng())).collect();
    net.join(ids, Role::Liar);
    let mut keys = Vec::new();
    for n in 0..40 {
        let Answer::Stored { key, .. } = net.store(n, 1000) else { panic!("it is stored") };
        keys.push(key);
    }
    net.world.run_for(Duration::from_secs(60)).expect("nothing breaks");
    let (mut ended, mut honest, mut longest) = (0, 0, Duration::ZERO);
    while ended < 10_000 {
        let wave: Vec<_> = (0..70)
            .map(|slot| {
                let key = keys[net.world.rng().random_range(0..keys.len())];
                (slot, net.world.command(slot, Command::Lookup { key }))
            })
            .collect();
        for (slot, id) in wave {
            net.world.run_until_answered(slot, id, LIMIT).expect("nothing breaks");
            let Some(Answer::Lookup { key, holders, took, .. }) = net.world.take_answer(slot, id) else { continue };
            ended += 1;
            let holds = |slot: usize| slot < 70 && net.world.disk(slot).has_sound(&key);
            honest += usize::from(holders.iter().filter_map(|peer| super::network::slot(peer.addr)).any(holds));
            longest = longest.max(took);
        }
    }
    println!("{honest} of {ended} lookups met an honest holder; the longest took {longest:?}");
    assert!(honest * 100 >= ended * 99, "{honest} of {ended}");
}

#[test]
fn beside_sixteen_sybils_around_its_key_a_file_comes_within_five_seconds_and_beside_forty_too() {
    let mut took = Vec::new();
    for (seed, sybils) in (0..20).map(|seed| (seed, 16)).chain([(20, 40), (21, 40)]) {
        let mut net = Net::new(seed, 20);
        let Answer::Stored { key, .. } = net.store(0, 1000) else { panic!("it is stored") };
        let ids = net.around(&key, sybils);
        net.join(ids, Role::Liar);
        for slot in [3, 7, 11, 15, 19] {
            took.push(net.retrieve(slot, key));
        }
    }
    let came: Vec<Duration> = took.iter().flatten().copied().collect();
    let soon = came.iter().filter(|took| **took <= Duration::from_secs(5)).count();
    println!("{} of {} came, {soon} within 5 s, the last after {:?}", came.len(), took.len(), came.iter().max());
    assert_eq!(soon, took.len(), "{} came", came.len());
}

#[test]
fn a_copy_that_a_sybil_claims_is_none() {
    let (mut told, mut held) = (0, 0);
    for seed in 0..10 {
        let mut net = Net::new(100 + seed, 20);
        let (path, content) = net.file(0, 1000);
        let key = Id::of(&content);
        let ids = net.around(&key, 7);
        net.join(ids, Role::Liar);
        let (answer, took) = net.answer(0, Command::Store { path, manifest: None, keep: false });
        let Answer::Stored { copies, .. } = answer else { panic!("{answer:?}") };
        let least = copies.iter().position(|blocks| *blocks > 0).unwrap_or(0);
        assert!(least <= net.copies(&key), "{least} copies are told, {} are held, seed {seed}", net.copies(&key));
        assert!(took < Duration::from_secs(10), "{took:?}, seed {seed}");
        (told, held) = (told + least, held + net.copies(&key));
    }
    println!("{told} copies told, {held} held");
    assert!(told >= 70);
}
