//! What Sybils and liars can do to those who store, look up and retrieve.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use rand::RngExt;

use super::hostile::HostileRole;
use super::world::{Rules, World};
use crate::config::REPLICAS;
use crate::id::{Id, Key};
use crate::lease::{Lease, Secret};
use crate::node::{Answer, Command, LeaseChange, Source};
use crate::overlay::{OverlayKind, RingOptions};

const BOTH: [OverlayKind; 2] = [OverlayKind::Kademlia, OverlayKind::Ring];
/// Bytes of a block.
const BLOCK: u32 = 4096;
/// No user waits longer for a command.
const LIMIT: Duration = Duration::from_secs(120);

/// A network of honest peers, in the first slots, and others.
pub(super) struct SybilNet {
    pub(super) world: World,
    honest: usize,
}

impl SybilNet {
    fn new(seed: u64, honest: usize) -> Self {
        Self::on(OverlayKind::Kademlia, seed, honest)
    }

    fn on(kind: OverlayKind, seed: u64, honest: usize) -> Self {
        Self::of(kind, seed, honest, REPLICAS)
    }

    /// A network of this overlay that keeps so many copies.
    pub(super) fn of(kind: OverlayKind, seed: u64, honest: usize, copies: usize) -> Self {
        let mut rules = Rules::of(seed, kind, RingOptions::default());
        rules.config.replicas = copies;
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
    pub(super) fn join(&mut self, ids: impl IntoIterator<Item = Id>, role: HostileRole) {
        for id in ids {
            let slot = self.world.add(id);
            self.world.turn_hostile(slot, role);
            let through = self.world.rng().random_range(0..self.honest);
            self.world.start(slot, &[through]);
        }
        self.world.run_for(Duration::from_secs(20)).expect("nothing breaks");
    }

    /// A guest that knows one honest peer; its slot.
    pub(super) fn newcomer(&mut self) -> usize {
        let id = Id::random(self.world.rng());
        let (guest, through) = (self.world.add(id), self.world.rng().random_range(0..self.honest));
        self.world.start_guest(guest, &[through]);
        self.world.run_for(Duration::from_secs(1)).expect("nothing breaks");
        guest
    }

    /// So many ids that hide the peers behind the key.
    fn before_all(&mut self, kind: OverlayKind, key: &Key, count: usize) -> Vec<Id> {
        match kind {
            OverlayKind::Kademlia => self.around(key, count),
            OverlayKind::Ring => (0..count).map(|n| key.plus_power_of_two(100 + n, 256)).collect(),
        }
    }

    /// As many ids as near to the key as an attacker could make.
    pub(super) fn around(&mut self, key: &Key, count: usize) -> Vec<Id> {
        let mut near = || {
            let mut bytes = *key.as_bytes();
            self.world.rng().fill(&mut bytes[8..]);
            Id::from_bytes(bytes)
        };
        (0..count).map(|_| near()).collect()
    }

    pub(super) fn answer(&mut self, slot: usize, command: Command) -> (Answer, Duration) {
        let began = self.world.now();
        let id = self.world.command(slot, command);
        assert!(self.world.run_until_answered(slot, id, LIMIT).expect("nothing breaks"), "it is answered");
        (self.world.take_answer(slot, id).expect("it was answered"), self.world.now().since(began))
    }

    /// Puts a file of so many bytes where the peer in `slot` can store it.
    pub(super) fn file(&mut self, slot: usize, bytes: usize) -> (PathBuf, Vec<u8>) {
        let mut content = vec![0; bytes];
        self.world.rng().fill(&mut content[..]);
        let path = PathBuf::from(format!("/own/{}", Id::of(&content)));
        self.world.disk_mut(slot).write_file(&path, content.clone().into());
        (path, content)
    }

    pub(super) fn store(&mut self, slot: usize, bytes: usize) -> Answer {
        let (path, _) = self.file(slot, bytes);
        self.answer(slot, Command::Store { path, manifest: None, keep: false }).0
    }

    /// Honest peers that hold this block.
    pub(super) fn copies(&self, key: &Key) -> usize {
        self.world.holders().get(key).map_or(0, Vec::len)
    }

    /// How long the file takes to come, if it does.
    pub(super) fn retrieve(&mut self, slot: usize, key: Key) -> Option<Duration> {
        let dest = PathBuf::from(format!("/back/{key}"));
        let (answer, took) = self.answer(slot, Command::Retrieve { source: Source::Key(key), dest, replace: true });
        matches!(answer, Answer::Retrieved { .. }).then_some(took)
    }
}

#[test]
fn with_thirty_hostile_peers_of_a_hundred_lookups_end_at_an_honest_holder() {
    let mut net = SybilNet::new(1, 70);
    let ids: Vec<Id> = (0..30).map(|_| Id::random(net.world.rng())).collect();
    net.join(ids, HostileRole::Liar);
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
        let mut net = SybilNet::new(seed, 20);
        let Answer::Stored { key, .. } = net.store(0, 1000) else { panic!("it is stored") };
        let ids = net.around(&key, sybils);
        net.join(ids, HostileRole::Liar);
        for slot in [3, 7, 11, 15, 19] {
            took.push(net.retrieve(slot, key));
        }
        for _ in 0..3 {
            let guest = net.newcomer();
            took.push(net.retrieve(guest, key));
        }
    }
    let came: Vec<Duration> = took.iter().flatten().copied().collect();
    let soon = came.iter().filter(|took| **took <= Duration::from_secs(5)).count();
    println!("{} of {} came, {soon} within 5 s, the last after {:?}", came.len(), took.len(), came.iter().max());
    assert_eq!(soon, took.len(), "{} came", came.len());
}

#[test]
fn behind_sybils_that_hold_nothing_and_name_one_another_members_and_newcomers_find_a_file() {
    let nets = (30..35).zip([16, 16, 16, 16, 40]);
    let both = nets.flat_map(|(seed, sybils)| BOTH.map(|kind| (kind, seed, sybils)));
    for (kind, seed, sybils) in both {
        let mut net = SybilNet::on(kind, seed, 20);
        let Answer::Stored { key, .. } = net.store(0, 1000) else { panic!("it is stored") };
        let ids = net.before_all(kind, &key, sybils);
        net.join(ids, HostileRole::Hider);
        let mut took: Vec<_> = [3, 11, 19].map(|member| net.retrieve(member, key)).into();
        for _ in 0..5 {
            let guest = net.newcomer();
            took.push(net.retrieve(guest, key));
        }
        println!("{kind:?}, seed {seed}: {took:?}");
        let is_soon = |took: &Option<Duration>| took.is_some_and(|took| took <= Duration::from_secs(5));
        assert!(took.iter().all(is_soon), "{kind:?}, seed {seed}: {took:?}");
    }
}

/// A block with a lease, without a list, so that its key is the file's, in a network where these Sybils stand before
/// all that hold it.
fn leased_behind(kind: OverlayKind, seed: u64, sybils: (usize, HostileRole), until: Option<u64>) -> (SybilNet, Key) {
    let mut net = SybilNet::on(kind, seed, 20);
    let (path, content) = net.file(0, 1000);
    let lease = Lease { id: SECRET.id(), until, copies: 0 };
    let (key, answer) = (Id::of(&content), net.answer(0, Command::StoreBlock { path, keep: false }.on(Some(lease))).0);
    assert!(matches!(answer, Answer::Stored { .. }), "{answer:?}");
    let ids = net.before_all(kind, &key, sybils.0);
    net.join(ids, sybils.1);
    (net, key)
}

const SECRET: Secret = Secret::from_bytes([7; 32]);

#[test]
fn behind_such_sybils_newcomers_check_a_file_and_tell_its_holders_of_leases() {
    for (kind, seed) in BOTH.into_iter().flat_map(|kind| [(kind, 50), (kind, 51)]) {
        let (mut net, key) = leased_behind(kind, seed, (16, HostileRole::Hider), None);
        let guest = net.newcomer();
        let sources = vec![Source::Key(key)];
        let (answer, took) = net.answer(guest, Command::Check { sources, verify: false, repair: false, lease: None });
        let Answer::Checked(checked) = answer else { panic!("{answer:?}") };
        println!("{kind:?}, seed {seed}: {:?} copies, after {took:?}", checked.copies);
        assert!(checked.copies.len() > 1, "{kind:?}, seed {seed}: it is called lost");
        let other = Lease { id: Secret::from_bytes([8; 32]).id(), until: None, copies: 0 };
        let changes = vec![(key, LeaseChange::Ended(SECRET))];
        let ended = Command::Lease { changes, listed: BTreeSet::from([key]), copies: 0 };
        for (command, least) in [(Command::Lay { keys: vec![key], lease: other }, 1), (ended, 1)] {
            let guest = net.newcomer();
            let (answer, took) = net.answer(guest, command.clone());
            let Answer::Leased { copies, missing: 0, .. } = answer else { panic!("{kind:?}, {seed}: {answer:?}") };
            assert!(copies >= least, "{kind:?}, seed {seed}: {copies} copies, after {took:?}: {command:?}");
        }
    }
}

/// Where Sybils that say they have heard stand before a block. Whether each honest copy hears that its lease has ended.
/// That it lasts longer all hear, in the end.
fn honest_copies_hear(kind: OverlayKind, seed: u64) -> bool {
    let minutes = |minutes: u64| Some(super::peers::UNIX_TIME + minutes * 60);
    let (mut net, key) = leased_behind(kind, seed, (8, HostileRole::Liar), minutes(10));
    let held = net.copies(&key);
    let tell = |net: &mut SybilNet, change| {
        let newcomer = net.newcomer();
        let command = Command::Lease { changes: vec![(key, change)], listed: BTreeSet::from([key]), copies: 0 };
        let (answer, took) = net.answer(newcomer, command);
        println!("{kind:?}, seed {seed}: {held} copies; {answer:?}");
        assert!(took < Duration::from_secs(5), "{kind:?}, seed {seed}: {took:?}");
        let Answer::Leased { free, .. } = answer else { panic!("{answer:?}") };
        free as usize
    };
    let longer = Lease { id: SECRET.id(), until: minutes(500), copies: 0 };
    tell(&mut net, LeaseChange::Renewed(longer));
    // The first lease ends meanwhile.
    net.world.run_for(Duration::from_secs(20 * 60)).expect("nothing breaks");
    assert!(net.copies(&key) >= held, "{kind:?}, seed {seed}: {} of {held} are left", net.copies(&key));
    tell(&mut net, LeaseChange::Ended(SECRET)) == held
}

/// A crowd that stands no closer together than chance puts peers is not seen as one: then some copies hear of it later,
/// from one another.
#[test]
fn behind_sybils_that_say_they_have_heard_honest_copies_hear_that_a_lease_lasts_longer_and_mostly_that_it_has_ended() {
    for (kind, least) in [(OverlayKind::Kademlia, 7), (OverlayKind::Ring, 12)] {
        let heard = (60..72).filter(|&seed| honest_copies_hear(kind, seed)).count();
        println!("{kind:?}: in {heard} of 12 networks all hear that it has ended");
        assert!(heard >= least, "{kind:?}: in {heard} of 12 networks");
    }
}

#[test]
fn beside_sybils_that_claim_the_list_of_a_file_and_keep_it_back_checks_and_renewals_take_seconds() {
    for (kind, seed) in BOTH.into_iter().flat_map(|kind| [(kind, 70), (kind, 71)]) {
        let mut net = SybilNet::on(kind, seed, 20);
        let Answer::Stored { key, .. } = net.store(0, 20_000) else { panic!("it is stored") };
        let ids = net.before_all(kind, &key, 16);
        net.join(ids, HostileRole::Liar);
        for member in [None, Some(3), Some(12)] {
            let slot = member.unwrap_or_else(|| net.newcomer());
            let sources = vec![Source::Key(key)];
            let (answer, took) =
                net.answer(slot, Command::Check { sources, verify: false, repair: false, lease: None });
            let Answer::Checked(checked) = answer else { panic!("{answer:?}") };
            println!("{kind:?}, seed {seed}, {member:?}: {:?} copies, after {took:?}", checked.copies);
            assert!(checked.unread == 0 && checked.bytes == 20_000, "{kind:?}, seed {seed}: {checked:?}");
            assert!(took < Duration::from_secs(8), "{kind:?}, seed {seed}: the check took {took:?}");
            let renewed = LeaseChange::Renewed(Lease { id: SECRET.id(), until: None, copies: 0 });
            let changes = vec![(key, renewed)];
            let (answer, took) = net.answer(slot, Command::Lease { changes, listed: BTreeSet::new(), copies: 0 });
            println!("{kind:?}, seed {seed}, {member:?}: {answer:?}");
            assert!(matches!(answer, Answer::Leased { unread: 0, .. }), "{kind:?}, seed {seed}: {answer:?}");
            assert!(took < Duration::from_secs(8), "{kind:?}, seed {seed}: the renewal took {took:?}");
        }
    }
}

#[test]
fn a_copy_that_a_sybil_claims_is_none() {
    let (mut told, mut held) = (0, 0);
    for seed in 0..10 {
        let mut net = SybilNet::new(100 + seed, 20);
        let (path, content) = net.file(0, 1000);
        let key = Id::of(&content);
        let ids = net.around(&key, 7);
        net.join(ids, HostileRole::Liar);
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

#[test]
fn a_store_goes_on_past_those_that_refuse_to_the_honest_peers_that_are_known() {
    for (seed, refusers) in [(300, 20), (301, 20), (302, 20), (303, 40)] {
        let mut net = SybilNet::new(seed, 4);
        let ids: Vec<Id> = (0..refusers).map(|_| Id::random(net.world.rng())).collect();
        net.join(ids, HostileRole::Refuser);
        for n in 0..10 {
            let (path, content) = net.file(n % 4, 1000);
            let (answer, took) = net.answer(n % 4, Command::Store { path, manifest: None, keep: false });
            assert!(matches!(answer, Answer::Stored { .. }), "{answer:?}, seed {seed}");
            let copies = net.copies(&Id::of(&content));
            assert!(copies >= 3, "{copies} copies with 4 honest peers, seed {seed}");
            assert!(took < Duration::from_secs(10), "{took:?}, seed {seed}");
        }
    }
}

#[test]
fn a_store_waits_for_no_peer_that_swallows_what_it_is_offered() {
    for seed in 310..314 {
        let mut net = SybilNet::new(seed, 6);
        let id = Id::random(net.world.rng());
        net.join([id], HostileRole::Idler);
        let (path, _) = net.file(0, 1000);
        let (answer, took) = net.answer(0, Command::Store { path, manifest: None, keep: false });
        assert!(matches!(answer, Answer::Stored { .. }), "{answer:?}, seed {seed}");
        assert!(took < Duration::from_secs(5), "{took:?}, seed {seed}");
    }
}

#[test]
fn where_all_that_stand_nearest_swallow_their_offers_those_behind_them_have_the_block_within_seconds() {
    for seed in 320..324 {
        let mut net = SybilNet::new(seed, 12);
        let (path, content) = net.file(0, 1000);
        let key = Id::of(&content);
        let ids = net.around(&key, 7);
        net.join(ids, HostileRole::Idler);
        let (answer, took) = net.answer(0, Command::Store { path, manifest: None, keep: false });
        let Answer::Stored { copies, .. } = answer else { panic!("{answer:?}") };
        let held = net.copies(&key);
        println!("seed {seed}: {copies:?} told, {held} held, after {took:?}");
        assert!(held >= 7 && took < Duration::from_secs(5), "{held} copies are held, after {took:?}, seed {seed}");
    }
}

/// A block that one honest peer alone holds, which has just come in, and seven liars that stand nearer to it than any
/// other; the slot of that peer.
fn last_copy_among(liars: HostileRole, seed: u64) -> (SybilNet, Key, usize) {
    let mut net = SybilNet::new(seed, 20);
    let (_, content) = net.file(0, 1000);
    let key = Id::of(&content);
    let ids = net.around(&key, 7);
    net.join(ids, liars);
    let id = Id::random(net.world.rng());
    let holder = net.world.add(id);
    net.world.disk_mut(holder).keep(key, content.into());
    net.world.start(holder, &[0]);
    net.world.run_for(Duration::from_secs(1)).expect("nothing breaks");
    (net, key, holder)
}

#[test]
fn whoever_leaves_with_the_last_copy_hands_it_to_an_honest_peer_though_liars_say_that_they_hold_it() {
    for (seed, liars) in (200..206).zip([HostileRole::Liar, HostileRole::Boaster].into_iter().cycle()) {
        let (mut net, key, holder) = last_copy_among(liars, seed);
        assert_eq!(net.copies(&key), 1, "seed {seed}");
        let (answer, took) = net.answer(holder, Command::Quit { handover: true });
        assert!(matches!(answer, Answer::Left { left_behind: 0, .. }), "{answer:?}, seed {seed}");
        net.world.run_for(Duration::from_secs(5)).expect("nothing breaks");
        let left = net.copies(&key);
        println!("seed {seed}: {left} honest copies, after {took:?}");
        assert!(!net.world.is_up(holder) && left >= 1, "{left} copies are left, seed {seed}");
    }
}

#[test]
fn repair_goes_on_to_honest_peers_while_those_that_should_hold_a_block_only_say_so() {
    for seed in 210..215 {
        let (mut net, key, _) = last_copy_among(HostileRole::Liar, seed);
        net.world.run_for(Duration::from_secs(120)).expect("nothing breaks");
        let copies = net.copies(&key);
        println!("seed {seed}: {copies} honest copies");
        assert!(copies >= 3, "{copies} copies, seed {seed}");
    }
}

#[test]
fn a_check_that_repairs_counts_no_copy_on_a_liars_word_and_makes_those_that_are_missing() {
    for seed in 220..225 {
        let (mut net, key, _) = last_copy_among(HostileRole::Liar, seed);
        let sources = vec![Source::Key(key)];
        let (answer, took) = net.answer(3, Command::Check { sources, verify: false, repair: true, lease: None });
        let Answer::Checked(checked) = answer else { panic!("{answer:?}") };
        let (told, held) = (checked.copies.len() - 1, net.copies(&key));
        println!("seed {seed}: {told} copies told, {held} held, after {took:?}");
        assert!((7..=held).contains(&told), "{told} copies are told, {held} are held, seed {seed}");
    }
}
