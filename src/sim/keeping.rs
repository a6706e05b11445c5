//! What it costs to keep replica sets full, and how long it takes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::kind;
use super::tally::PurposeTally;
use super::world::{Rules, World};
use crate::config::{Config, GRACE, REPAIR_BOUND, REPUBLISH_INTERVAL};
use crate::file::{ManifestEntry, tree};
use crate::id::{Id, Key};
use crate::lease::{Lease, Note, Secret};
use crate::node::{Answer, Command, LeaseChange, Purpose};
use crate::overlay::OverlayKind;

const BOTH: [OverlayKind; 2] = [OverlayKind::Kademlia, OverlayKind::Ring];

/// Half of what a peer stores a second, over round trips of 20 ms.
const COPIES_A_SECOND: u32 = 1_000;

/// A network whose blocks lie where they belong.
pub(super) struct KeepingNet {
    pub(super) world: World,
    pub(super) keys: Vec<Key>,
    replicas: usize,
    kind: OverlayKind,
    /// Copies of the blocks that ask for a number themselves.
    copies: BTreeMap<Key, usize>,
}

impl KeepingNet {
    /// `peers` peers that found `blocks` small blocks on their disks, each in as many copies as the network keeps, and
    /// that have had the time to find one another and to compare.
    fn at_rest(kind: OverlayKind, peers: usize, blocks: u32, replicas: usize) -> Self {
        Self::with_leases(kind, peers, blocks, replicas, |_| None)
    }

    /// The same, of blocks that carry leases, told by their number.
    pub(super) fn with_leases(
        kind: OverlayKind,
        peers: usize,
        blocks: u32,
        replicas: usize,
        lease: impl Fn(u32) -> Option<Lease>,
    ) -> Self {
        let block = |n: u32| (n.to_be_bytes().to_vec(), lease(n));
        Self::with_blocks(kind, peers, (0..blocks).map(block).collect(), replicas)
    }

    /// The same, of these blocks, each with its lease.
    pub(super) fn with_blocks(
        kind: OverlayKind,
        peers: usize,
        blocks: Vec<(Vec<u8>, Option<Lease>)>,
        replicas: usize,
    ) -> Self {
        let config = Config { replicas, ..Config::default() };
        let make = Box::new(move |me, config: &Config, seed| kind.build(me, seed, config.guest));
        let mut world = World::new(Rules { config, checked: false, ..Rules::new(1, make) });
        for _ in 0..peers {
            let id = Id::random(world.rng());
            world.add(id);
        }
        let mut net = Self { world, keys: Vec::new(), replicas, kind, copies: BTreeMap::new() };
        for (bytes, lease) in blocks {
            let key = Key::of(&bytes);
            net.copies.extend(lease.map(|lease| (key, lease.copies_or(replicas))));
            for slot in net.set(&key) {
                let disk = net.world.disk_mut(slot);
                disk.keep(key, bytes.clone().into());
                disk.notes.extend(lease.map(|lease| Note::Laid { key, leases: vec![lease] }));
            }
            net.keys.push(key);
        }
        for slot in 0..peers {
            net.world.start(slot, &[0]);
        }
        // All have met, and compared what they hold.
        net.pass(Duration::from_secs(120));
        net
    }

    /// The slots of the peers that should hold a block: of those that run, or will.
    fn set(&self, key: &Key) -> Vec<usize> {
        let up = self.world.up();
        let slots = if up.is_empty() { (0..self.world.slots()).collect() } else { up };
        let by_addr: BTreeMap<_, usize> = slots.iter().map(|&slot| (self.world.peer(slot).addr, slot)).collect();
        let peers = slots.iter().map(|&slot| self.world.peer(slot));
        let nearest = kind::geometry(self.kind).nearest(key, peers, self.copies_of(key));
        nearest.iter().map(|peer| by_addr[&peer.addr]).collect()
    }

    fn copies_of(&self, key: &Key) -> usize {
        self.copies.get(key).copied().unwrap_or(self.replicas)
    }

    /// Copies that peers which should hold a block do not.
    fn missing(&self) -> usize {
        let lacks = |key: &&Key| self.set(key).into_iter().filter(|&slot| !self.world.disk(slot).has(key)).count();
        self.keys.iter().map(|key| lacks(&key)).sum()
    }

    /// The peers that should hold each block.
    fn sets(&self) -> Vec<Vec<usize>> {
        self.keys.iter().map(|key| self.set(key)).collect()
    }

    /// Peers that hold a block and should not.
    fn surplus(&self) -> usize {
        let up = self.world.up();
        let holders = |key: &Key| up.iter().filter(|&&slot| self.world.disk(slot).has(key)).count();
        self.keys.iter().map(|key| holders(key).saturating_sub(self.copies_of(key))).sum()
    }

    /// A peer comes that has nothing yet.
    fn join(&mut self) {
        let id = Id::random(self.world.rng());
        let slot = self.world.add(id);
        let known = self.world.up();
        self.world.start(slot, &known[..1]);
    }

    /// Lets time pass; what was sent meanwhile.
    fn pass(&mut self, span: Duration) -> PurposeTally {
        let before = self.world.counts().tally;
        self.world.run_for(span).expect("nothing breaks");
        self.world.counts().tally - before
    }

    /// Lets time pass until no copy is missing, which is promised to be soon.
    fn refill(&mut self) {
        let began = self.world.now();
        let bound = REPAIR_BOUND + Duration::from_secs(self.missing() as u64) / COPIES_A_SECOND;
        while self.missing() > 0 {
            self.pass(Duration::from_secs(1));
            let took = self.world.now().since(began);
            assert!(took <= bound, "{:?}: {} are missing after {took:?}", self.kind, self.missing());
        }
    }
}

#[test]
fn a_death_costs_at_most_ten_messages_a_block_and_sets_are_full_within_the_bound() {
    for kind in BOTH {
        let mut net = KeepingNet::at_rest(kind, 10, 3_000, 7);
        assert_eq!(net.missing(), 0);
        net.world.crash(4);
        let before = net.world.counts().tally;
        net.refill();
        net.pass(Duration::from_secs(75));
        let sent = (net.world.counts().tally - before).of(Purpose::Repair);
        assert!(sent.messages <= 10 * 3_000, "{kind:?}: {sent:?}");
    }
}

#[test]
fn a_membership_event_among_forty_peers_costs_at_most_ten_messages_a_block_that_it_concerns() {
    for kind in BOTH {
        let mut net = KeepingNet::at_rest(kind, 40, 2_970, 7);
        for name in ["a death", "a goodbye", "a join"] {
            let (before, sent) = (net.sets(), net.world.counts().tally);
            match name {
                "a death" => net.world.crash(4),
                "a goodbye" => _ = net.world.command(9, Command::Quit { handover: true }),
                _ => net.join(),
            }
            net.pass(REPAIR_BOUND);
            net.refill();
            net.pass(Duration::from_secs(75));
            let sent = (net.world.counts().tally - sent).of(Purpose::Repair);
            let concerned = net.sets().iter().zip(&before).filter(|(now, before)| now != before).count();
            println!("{kind:?}: {name} concerns {concerned} blocks: {sent:?}");
            assert!(
                concerned > 100 && sent.messages <= 10 * concerned as u64,
                "{kind:?}, {name}: {concerned}, {sent:?}"
            );
        }
    }
}

#[test]
fn a_healthy_block_costs_a_tenth_of_a_message_an_hour() {
    for kind in BOTH {
        let mut net = KeepingNet::at_rest(kind, 10, 3_000, 7);
        let sent = net.pass(REPUBLISH_INTERVAL).of(Purpose::Repair);
        assert!(sent.messages <= 300, "{kind:?}: {sent:?}");
    }
}

#[test]
fn a_peer_that_leaves_hands_its_blocks_over_with_at_most_ten_messages_a_block() {
    for kind in BOTH {
        let mut net = KeepingNet::at_rest(kind, 10, 1_000, 3);
        let before = net.world.counts().tally;
        net.world.command(3, Command::Quit { handover: true });
        net.pass(REPAIR_BOUND);
        assert!(!net.world.is_up(3), "{kind:?}");
        assert_eq!(net.missing(), 0, "{kind:?}");
        let sent = (net.world.counts().tally - before).of(Purpose::Repair);
        assert!(sent.messages <= 3_000, "{kind:?}: {sent:?} for about 300 blocks");
    }
}

#[test]
fn a_peer_that_comes_and_goes_all_the_time_does_not_set_the_others_moving() {
    for kind in BOTH {
        let mut net = KeepingNet::at_rest(kind, 10, 1_000, 3);
        let before = net.world.counts().tally;
        for _ in 0..20 {
            net.world.crash(2);
            net.pass(Duration::from_secs(10));
            net.world.start(2, &[0]);
            net.pass(Duration::from_secs(5));
        }
        let sent = (net.world.counts().tally - before).of(Purpose::Repair);
        // The blocks move once, to those that stand in; after that nothing is missing any more.
        assert!(sent.messages <= 10 * 300 + 20 * 400, "{kind:?}: {sent:?}");
        net.pass(REPAIR_BOUND);
        assert_eq!(net.missing(), 0, "{kind:?}");
    }
}

#[test]
fn empty_peers_that_join_are_given_their_blocks_at_a_bounded_rate_and_then_all_is_quiet() {
    for kind in BOTH {
        let mut net = KeepingNet::at_rest(kind, 1, 5_000, 3);
        for _ in 0..2 {
            let id = Id::random(net.world.rng());
            let slot = net.world.add(id);
            net.world.start(slot, &[0]);
        }
        let before = net.world.counts().tally;
        net.refill();
        let sent = (net.world.counts().tally - before).of(Purpose::Repair);
        assert!(sent.messages <= 8 * 10_000, "{kind:?}: {sent:?} for 10,000 copies");
        net.pass(Duration::from_secs(30));
        let quiet = net.pass(Duration::from_secs(600)).of(Purpose::Repair);
        assert!(quiet.messages <= 100, "{kind:?}: {quiet:?}");
    }
}

#[test]
fn sets_are_full_again_within_the_bound_after_each_death_and_each_join() {
    for kind in BOTH {
        let mut net = KeepingNet::at_rest(kind, 20, 300, 3);
        for _ in 0..10 {
            let up = net.world.up();
            let leaver = net.world.any(&up).expect("peers run");
            net.world.crash(leaver);
            net.refill();
            net.pass(Duration::from_secs(60));
            net.join();
            net.refill();
            net.pass(Duration::from_secs(60));
        }
    }
}

fn secret(n: u8) -> Secret {
    format!("{n:02x}").repeat(32).parse().expect("64 digits")
}

#[test]
fn a_deleted_file_goes_from_all_holders_and_one_that_slept_does_not_bring_it_back() {
    for kind in BOTH {
        let lease = |n: u32| Some(Lease { id: secret(n as u8 % 2).id(), until: None, copies: 3 });
        let mut net = KeepingNet::with_leases(kind, 8, 40, 3, lease);
        let asleep = net.set(&net.keys[0])[0];
        net.world.crash(asleep);
        net.refill();
        // Each block is a file of its own here.
        let changes = net.keys.iter().step_by(2).map(|key| (*key, LeaseChange::Ended(secret(0)))).collect();
        let by = net.world.up()[0];
        net.world.command(by, Command::Lease { changes, listed: BTreeSet::new(), copies: 0 });
        net.pass(Duration::from_secs(30));
        net.world.start(asleep, &[by]);
        // It finds out when it compares, within the hour, and its own grace comes after that.
        net.pass(GRACE * 4);
        let copies =
            |net: &KeepingNet, key: &Key| net.world.up().iter().filter(|&&slot| net.world.disk(slot).has(key)).count();
        for (n, key) in net.keys.iter().enumerate() {
            let expected = if n % 2 == 0 { 0..=0 } else { 3..=4 };
            assert!(expected.contains(&copies(&net, key)), "{kind:?}: {} copies of block {n}", copies(&net, key));
        }
    }
}

#[test]
fn who_does_not_know_which_blocks_a_lease_is_on_ends_it_at_all_holders() {
    for kind in BOTH {
        let lease = |_| Some(Lease { id: secret(1).id(), until: None, copies: 3 });
        let mut net = KeepingNet::with_leases(kind, 60, 40, 3, lease);
        let copies = |net: &KeepingNet| {
            let held = |slot: &usize| net.keys.iter().filter(|key| net.world.disk(*slot).has(key)).count();
            net.world.up().iter().map(held).sum::<usize>() as u64
        };
        let command = net.world.command(0, Command::Disown { secrets: vec![secret(1)] });
        let answered = net.world.run_until_answered(0, command, Duration::from_secs(60));
        assert_eq!(answered.map_err(|violation| violation.to_string()), Ok(true));
        let answer = net.world.take_answer(0, command);
        let Some(Answer::Leased { copies: told, free, silent, unread: 0, .. }) = answer else { panic!("{answer:?}") };
        assert_eq!((told, free, silent.len()), (copies(&net), copies(&net), 0), "{kind:?}");
    }
}

#[test]
fn leases_end_by_themselves_and_a_renewed_one_does_not() {
    for kind in BOTH {
        let until = |hours: u64| Some(super::peers::UNIX_TIME + hours * 3600);
        let lease = |n: u32| Some(Lease { id: secret(n as u8 % 2).id(), until: until(2), copies: 3 });
        let mut net = KeepingNet::with_leases(kind, 6, 20, 3, lease);
        let renewed = Lease { id: secret(1).id(), until: until(9), copies: 3 };
        let changes = net.keys.iter().skip(1).step_by(2).map(|key| (*key, LeaseChange::Renewed(renewed))).collect();
        net.world.command(0, Command::Lease { changes, listed: BTreeSet::new(), copies: 0 });
        net.pass(Duration::from_secs(4 * 3600));
        let kept =
            |net: &KeepingNet, n: usize| net.world.up().iter().any(|&slot| net.world.disk(slot).has(&net.keys[n]));
        assert!((0..20).all(|n| kept(&net, n) == (n % 2 == 1)), "{kind:?}");
        net.pass(Duration::from_secs(7 * 3600));
        assert!((0..20).all(|n| !kept(&net, n)), "{kind:?}");
    }
}

#[test]
fn a_file_with_a_block_whose_holders_are_all_gone_is_not_called_renewed_or_deleted() {
    for (kind, copies) in [(OverlayKind::Kademlia, 2), (OverlayKind::Ring, 2), (OverlayKind::Ring, 0)] {
        let lease = Lease { id: secret(1).id(), until: None, copies };
        let data: Vec<Vec<u8>> = (0..40_u32).map(|n| n.to_be_bytes().to_vec()).collect();
        let entries = data.iter().map(|data| ManifestEntry { key: Key::of(data), size: 4 });
        let list = tree::lists(entries, Id::of(&data.concat()))[0].encode();
        let blocks = data.into_iter().chain([list]).map(|bytes| (bytes, Some(lease)));
        let mut net = KeepingNet::with_blocks(kind, 9, blocks.collect(), 3);
        let (list, by) = (net.keys[40], net.world.up()[0]);
        let tell = |net: &mut KeepingNet, change| {
            let changes = vec![(list, change)];
            let command = net.world.command(by, Command::Lease { changes, listed: BTreeSet::new(), copies });
            let answered = net.world.run_until_answered(by, command, Duration::from_secs(60));
            assert_eq!(answered.map_err(|violation| violation.to_string()), Ok(true));
            let answer = net.world.take_answer(by, command).expect("it was answered");
            let Answer::Leased { missing, unread, ref silent, .. } = answer else { panic!("{answer:?}") };
            assert_eq!((silent.len(), unread, answer.verdict().is_some()), (0, 0, missing > 0), "{kind:?}: {answer:?}");
            missing
        };
        assert_eq!(tell(&mut net, LeaseChange::Renewed(lease)), 0, "{kind:?}");
        let stays = [&net.set(&list)[..1], &[by]].concat();
        let holding = |key: &Key| net.world.up().into_iter().filter(|slot| net.world.disk(*slot).has(key)).collect();
        let mut sets = net.keys[..40].iter().map(holding);
        let lies_elsewhere = |set: &Vec<usize>| !set.iter().any(|slot| stays.contains(slot));
        let holders = sets.find(lies_elsewhere).expect("one of them does");
        holders.iter().for_each(|slot| net.world.crash(*slot));
        // The peers that are left find that out, and make the copies that they can.
        net.pass(Duration::from_secs(90));
        let held = |key: &Key| net.world.up().iter().any(|slot| net.world.disk(*slot).has(key));
        let lost = net.keys.iter().filter(|key| !held(key)).count() as u64;
        assert!(lost > 0, "{kind:?}");
        for change in [LeaseChange::Renewed(lease), LeaseChange::Ended(secret(1))] {
            assert_eq!(tell(&mut net, change), lost, "{kind:?}: {change:?}");
        }
    }
}

#[test]
fn a_peer_that_starts_with_a_clock_a_year_ahead_drops_nothing_that_its_neighbours_keep() {
    for kind in BOTH {
        let until = Some(super::peers::UNIX_TIME + 30 * 24 * 3600);
        let lease = |n: u32| Some(Lease { id: secret(n as u8 % 2).id(), until, copies: 3 });
        let mut net = KeepingNet::with_leases(kind, 6, 20, 3, lease);
        let by = net.world.up()[0];
        let wrong = *net.set(&net.keys[0]).iter().find(|slot| **slot != by).expect("three hold it");
        let held = |net: &KeepingNet| net.keys.iter().filter(|key| net.world.disk(wrong).has(key)).count();
        net.world.crash(wrong);
        net.world.set_clock_ahead(wrong, 365 * 24 * 3600);
        let before = held(&net);
        net.world.start(wrong, &[by]);
        net.pass(Duration::from_secs(3 * 3600));
        assert!(before > 0 && held(&net) >= before, "{kind:?}: {} of {before}", held(&net));
    }
}

#[test]
fn files_keep_the_number_of_copies_that_they_ask_for_whatever_the_peers_usual_one() {
    for kind in BOTH {
        let lease = |n| {
            let copies = [0, 2, 6][n as usize % 3];
            (copies > 0).then(|| Lease { id: secret(copies).id(), until: None, copies })
        };
        let mut net = KeepingNet::with_leases(kind, 12, 900, 4, lease);
        // Peers that start at once offer more than they need, before they have met.
        let surplus = net.surplus();
        assert!(net.missing() == 0 && surplus < 300, "{kind:?}: {} are missing, {surplus} too many", net.missing());
        let sent = net.pass(REPUBLISH_INTERVAL).of(Purpose::Repair);
        // Each pair asks about each of the three classes, either way; and about what lies where it need not.
        assert!(sent.messages <= 3 * 12 * 11 * 3 + 6 * surplus as u64, "{kind:?}: {sent:?} in an hour of rest");
        for slot in [3, 8] {
            net.world.crash(slot);
            net.refill();
            net.pass(Duration::from_secs(75));
        }
        assert_eq!(net.missing(), 0, "{kind:?}");
        net.join();
        net.refill();
    }
}

#[test]
fn another_number_of_copies_is_kept_from_then_on() {
    for kind in BOTH {
        let lease = |n: u8, copies| Lease { id: secret(n).id(), until: None, copies };
        let mut net = KeepingNet::with_leases(kind, 9, 1, 3, |_| Some(lease(1, 3)));
        let key = net.keys[0];
        for (n, copies) in [(1, 6), (2, 2)] {
            net.world.command(0, Command::Lay { keys: vec![key], lease: lease(n + 1, copies) });
            net.pass(Duration::from_secs(60));
            let changes = vec![(key, LeaseChange::Ended(secret(n)))];
            net.world.command(0, Command::Lease { changes, listed: BTreeSet::new(), copies: 0 });
            net.copies.insert(key, usize::from(copies));
            net.pass(GRACE + Duration::from_secs(300));
            assert_eq!((net.missing(), net.surplus()), (0, 0), "{kind:?}: {copies} copies");
        }
    }
}
