//! What `check` tells of files, whatever has happened to their holders.

use std::time::Duration;

use super::world::{Rules, World};
use crate::config::{Config, REPAIR_BOUND};
use crate::id::{Id, Key};
use crate::lease::{Lease, Secret};
use crate::node::health::{Checked, CopyState, Health};
use crate::node::{Answer, Command, FailureKind, Source, Until};
use crate::overlay::OverlayKind;

const BOTH: [OverlayKind; 2] = [OverlayKind::Kademlia, OverlayKind::Ring];

const LIMIT: Duration = Duration::from_secs(120);

/// Peers that keep three copies of a file of twenty blocks and a list.
struct CheckingNet {
    world: World,
    key: Key,
}

impl CheckingNet {
    fn new(kind: OverlayKind, peers: usize) -> Self {
        Self::on(kind, peers, None)
    }

    /// The file is stored on a lease, if on any.
    fn on(kind: OverlayKind, peers: usize, lease: Option<Lease>) -> Self {
        let config = Config { replicas: 3, ..Config::default() };
        let make = Box::new(move |me, config: &Config, seed| kind.build(me, seed, config.guest));
        let mut world = World::new(Rules { config, block_size: 1_000, ..Rules::new(3, make) });
        for slot in 0..peers {
            let id = Id::random(world.rng());
            world.add(id);
            world.start(slot, &[0]);
        }
        world.run_for(Duration::from_secs(30)).expect("nothing breaks");
        let bytes: Vec<u8> = (0..20_000_u32).map(|n| (n / 1_000 * 7 + n % 251) as u8).collect();
        world.disk_mut(0).write_file("original", bytes.into());
        let mut net = Self { world, key: Key::ZERO };
        let store = Command::Store { path: "original".into(), manifest: None, keep: false };
        let Answer::Stored { key, .. } = net.answer(0, store.on(lease)) else { panic!("it is stored") };
        net.key = key;
        net.world.run_for(REPAIR_BOUND).expect("nothing breaks");
        net
    }

    fn answer(&mut self, slot: usize, command: Command) -> Answer {
        let id = self.world.command(slot, command);
        assert!(self.world.run_until_answered(slot, id, LIMIT).expect("nothing breaks"), "it is answered");
        self.world.take_answer(slot, id).expect("it was answered")
    }

    fn check(&mut self, slot: usize, verify: bool, repair: bool) -> Checked {
        let sources = vec![Source::Key(self.key)];
        match self.answer(slot, Command::Check { sources, verify, repair, lease: None }) {
            Answer::Checked(checked) => *checked,
            other => panic!("{other:?}"),
        }
    }

    /// The peers that hold any block, but for the first.
    fn holders(&self) -> Vec<usize> {
        (1..self.world.slots()).filter(|&slot| !self.world.disk(slot).held().is_empty()).collect()
    }

    /// The peer comes back with an empty disk, soon enough that no peer takes it for dead.
    fn empty(&mut self, slot: usize) {
        self.world.crash(slot);
        self.world.wipe(slot);
        self.world.start(slot, &[0]);
        self.world.run_for(Duration::from_millis(700)).expect("nothing breaks");
    }
}

fn copies(checked: &Checked, state: CopyState) -> usize {
    checked.each.iter().flat_map(|block| &block.at).filter(|copy| copy.state == state).count()
}

#[test]
fn a_whole_file_is_told_whole_by_every_peer_and_a_guest_with_its_copies_and_their_holders() {
    for kind in BOTH {
        let mut net = CheckingNet::new(kind, 10);
        let guest = Id::random(net.world.rng());
        let guest = net.world.add(guest);
        net.world.start_guest(guest, &[0]);
        net.world.run_for(Duration::from_secs(5)).expect("nothing breaks");
        for slot in [0, 4, 9, guest] {
            let checked = net.check(slot, false, false);
            assert_eq!((checked.health, checked.bytes, checked.blocks), (Health::Whole, 20_000, 21), "{kind:?}");
            assert_eq!((checked.copies.len() > 3, checked.wanted), (true, 3), "{kind:?}: {checked:?}");
            assert_eq!(copies(&checked, CopyState::Verified), 0, "nobody was asked to hash anything");
            let verified = net.check(slot, true, false);
            assert_eq!(copies(&verified, CopyState::Claimed), 0, "{kind:?}");
            assert!(copies(&verified, CopyState::Verified) >= 63 && verified.health == Health::Whole, "{kind:?}");
            let holders = verified.peers.iter().filter(|peer| peer.verified > 0).count();
            assert_eq!(holders, net.holders().len() + usize::from(!net.world.disk(0).held().is_empty()), "{kind:?}");
        }
    }
}

#[test]
fn a_stranger_hears_from_the_holders_how_many_copies_a_file_is_to_have() {
    for kind in BOTH {
        for wanted in [1, 2, 5] {
            let lease = Lease { id: Secret::from_bytes([7; 32]).id(), until: None, copies: wanted };
            let mut net = CheckingNet::on(kind, 10, Some(lease));
            let guest = Id::random(net.world.rng());
            let guest = net.world.add(guest);
            net.world.start_guest(guest, &[0]);
            net.world.run_for(Duration::from_secs(5)).expect("nothing breaks");
            for verify in [false, true] {
                let checked = net.check(guest, verify, false);
                assert_eq!((checked.wanted, checked.health), (wanted.into(), Health::Whole), "{kind:?}: {checked:?}");
            }
        }
    }
}

#[test]
fn a_file_with_a_copy_less_is_told_thin_and_repair_makes_it_whole_at_once() {
    for kind in BOTH {
        for repairer in [0, 7] {
            let mut net = CheckingNet::new(kind, 10);
            let emptied = *net.holders().iter().find(|&&slot| slot != repairer).expect("somebody holds something");
            net.empty(emptied);
            let thin = net.check(repairer, false, false);
            assert_eq!(thin.health, Health::Thin, "{kind:?}");
            let lacking: Vec<_> = thin.peers.iter().filter(|peer| peer.absent > 0).map(|peer| peer.peer).collect();
            assert!(lacking.contains(&net.world.peer(emptied)), "{kind:?}: {lacking:?}");
            let weakest = thin.each.iter().find(|block| Some(block.key) == thin.weakest).expect("it is one of them");
            assert_eq!((weakest.copies, weakest.wanted, weakest.health), (2, 3, Health::Thin));
            let began = net.world.now();
            let repaired = net.check(repairer, true, true);
            assert!(repaired.health == Health::Whole && repaired.repaired > 0, "{kind:?}: {repaired:?}");
            assert!(net.world.now().since(began) < Duration::from_secs(2), "it is not repair's own round");
            assert_eq!(net.world.leftovers(repairer), None, "what was lent is withdrawn");
        }
    }
}

#[test]
fn a_file_of_which_a_holder_is_silent_is_told_unknown_and_names_it() {
    for kind in BOTH {
        let mut net = CheckingNet::new(kind, 10);
        let silent = net.holders()[1];
        let named = net.world.peer(silent);
        net.world.crash(silent);
        let checked = net.check(0, false, false);
        assert_eq!(checked.health, Health::Unknown, "{kind:?}: {:?}", checked.each);
        let told = checked.peers.iter().filter(|peer| peer.silent > 0).map(|peer| peer.peer);
        assert_eq!(told.collect::<Vec<_>>(), [named], "{kind:?}");
        // Once its death is known and its blocks are elsewhere, all is well again.
        net.world.run_for(REPAIR_BOUND * 2).expect("nothing breaks");
        assert_eq!(net.check(0, false, false).health, Health::Whole, "{kind:?}");
    }
}

#[test]
fn a_file_that_nobody_holds_any_more_is_told_lost() {
    for kind in BOTH {
        let mut net = CheckingNet::new(kind, 5);
        for slot in 0..5 {
            net.world.crash(slot);
            net.world.wipe(slot);
        }
        for slot in 0..5 {
            net.world.start(slot, &[0]);
        }
        net.world.run_for(Duration::from_secs(30)).expect("nothing breaks");
        let checked = net.check(2, false, true);
        assert_eq!((checked.health, checked.blocks, checked.unread), (Health::Lost, 1, 1), "{kind:?}");
    }
}

#[test]
fn a_damaged_copy_counts_until_it_is_hashed_and_is_healed_then() {
    for kind in BOTH {
        let mut net = CheckingNet::new(kind, 10);
        let holder = *net.holders().last().expect("somebody holds something");
        let key = net.world.disk_mut(holder).rot(0).expect("a block is there");
        assert_eq!(net.check(0, false, false).health, Health::Whole, "{kind:?}: it is claimed");
        let checked = net.check(0, true, false);
        let damaged = checked.each.iter().find(|block| block.key == key).expect("it belongs to the file");
        assert_eq!((checked.health, damaged.copies), (Health::Thin, 2), "{kind:?}");
        assert_eq!(copies(&checked, CopyState::Damaged), 1, "{kind:?}");
        net.world.run_for(Duration::from_secs(5)).expect("nothing breaks");
        assert!(net.world.disk(holder).has_sound(&key), "{kind:?}: it was brought back");
        assert_eq!(net.check(0, true, false).health, Health::Whole, "{kind:?}");
    }
}

#[test]
fn who_waits_for_copies_hears_when_they_are_there_or_what_lacks_at_the_deadline() {
    for kind in BOTH {
        let mut net = CheckingNet::new(kind, 10);
        let sources = vec![Source::Key(net.key)];
        let wait = |copies, seconds| Command::Wait {
            until: Until::Copies { sources: sources.clone(), copies },
            limit: Some(Duration::from_secs(seconds)),
        };
        assert!(matches!(net.answer(4, wait(Some(3), 1)), Answer::Waited { .. }), "{kind:?}");
        let emptied = net.holders()[0];
        net.empty(emptied);
        let Answer::Failed(failure) = net.answer(4, wait(None, 1)) else { panic!("{kind:?}: a copy lacks") };
        assert_eq!(failure.kind, FailureKind::TimedOut);
        assert!(failure.reason.contains("has 2 of 3 copies"), "{kind:?}: {}", failure.reason);
        let waiting = net.world.command(4, wait(None, 60));
        net.world.run_for(Duration::from_secs(3)).expect("nothing breaks");
        assert_eq!(net.check(0, false, true).health, Health::Whole, "{kind:?}");
        let told = net.world.run_until_answered(4, waiting, Duration::from_secs(9)).expect("nothing breaks");
        assert!(told && matches!(net.world.answer(4, waiting), Some(Answer::Waited { .. })), "{kind:?}");
    }
}
