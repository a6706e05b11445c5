//! Whether all blocks of a file have a holder that heard what becomes of its leases.
//!
//! A peer that was told says how many of its blocks carry these leases. Where that is the number of blocks that should
//! be there, by what was looked up, it has them, and no message is spent on asking. A block of which this is true of no
//! peer is doubtful: who holds it is to be found out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use crate::id::Key;
use crate::node::command::LeaseChange;
use crate::peer::Peer;

/// What concerns a block.
#[derive(Clone)]
pub(super) struct Concern {
    /// The numbers of the changes of the leases on it.
    pub(super) changes: Vec<usize>,
    /// Copies that there should be of it; 0 where that is not known.
    pub(super) copies: usize,
}

impl Concern {
    /// A change of leases on blocks that are not known.
    pub(super) fn of_no_block(change: usize) -> Self {
        Self { changes: vec![change], copies: 0 }
    }
}

/// What concerns the files of which there is something to tell.
pub(super) struct Concerns {
    /// What there is to tell, each thing once: several keys may make up one file, a folder.
    pub(super) changes: Vec<LeaseChange>,
    pub(super) concerns: Vec<Concern>,
    /// Each file, with the number of what concerns it: one may have several leases.
    pub(super) keys: Vec<(Key, usize)>,
}

impl Concerns {
    /// Of these changes. There should be `usual` copies of a block, unless its leases say otherwise; of leases that end
    /// `copies` says it, unless it is 0.
    pub(super) fn new(changes: &[(Key, LeaseChange)], usual: usize, copies: u8) -> Self {
        let told: Vec<LeaseChange> =
            changes.iter().map(|(_, change)| *change).collect::<BTreeSet<_>>().into_iter().collect();
        let numbers: BTreeMap<LeaseChange, usize> = told.iter().copied().zip(0..).collect();
        let mut of_keys: BTreeMap<Key, BTreeSet<usize>> = BTreeMap::new();
        for (key, change) in changes {
            of_keys.entry(*key).or_default().insert(numbers[change]);
        }
        let wanted = |number: &usize| match &told[*number] {
            LeaseChange::Renewed(lease) => lease.copies_or(usual),
            LeaseChange::Ended(_) if copies == 0 => usual,
            LeaseChange::Ended(_) => copies.into(),
        };
        let (mut known, mut concerns, mut keys) = (BTreeMap::new(), Vec::new(), Vec::new());
        for (key, _) in changes {
            let Some(of_key) = of_keys.remove(key) else { continue };
            let concern = *known.entry(of_key).or_insert_with_key(|of_key| {
                let copies = of_key.iter().map(wanted).max().unwrap_or(usual);
                concerns.push(Concern { changes: of_key.iter().copied().collect(), copies });
                concerns.len() - 1
            });
            keys.push((*key, concern));
        }
        Self { changes: told, concerns, keys }
    }
}

/// A peer that is told.
pub(super) struct Listener {
    pub(super) peer: Peer,
    /// The changes that it was told of, or is about to be.
    pub(super) known: BTreeSet<usize>,
    pub(super) due: VecDeque<usize>,
    /// Requests without an answer, and how many there may be.
    pub(super) asked: usize,
    pub(super) at_a_time: usize,
    pub(super) silent: bool,
}

/// What was told to one peer in one message.
type MessageNumber = u64;

/// What is known of the blocks whose holders are told.
#[derive(Default)]
pub(super) struct Coverage {
    /// What concerns a block, and the peers that should hold it.
    sets: BTreeMap<(usize, Vec<SocketAddr>), usize>,
    /// Each block, with such a set.
    blocks: BTreeSet<(Key, usize)>,
    /// In which message a peer was told of a change.
    told: BTreeMap<(usize, SocketAddr), MessageNumber>,
    /// How many blocks the peer then said that it has.
    has: BTreeMap<MessageNumber, u64>,
}

impl Coverage {
    /// A block should be at these peers, which are to hear what concerns it.
    pub(super) fn should_hold(&mut self, concern: usize, key: Key, peers: Vec<SocketAddr>) {
        let number = self.sets.len();
        let set = *self.sets.entry((concern, peers)).or_insert(number);
        self.blocks.insert((key, set));
    }

    pub(super) fn told(&mut self, change: usize, addr: SocketAddr, telling: MessageNumber) {
        self.told.insert((change, addr), telling);
    }

    pub(super) fn heard(&mut self, telling: MessageNumber, blocks: u32) {
        self.has.insert(telling, blocks.into());
    }

    /// Takes the blocks of which no peer's number shows that it holds them, each with what concerns it. `change_of` is
    /// one of the changes that are a concern.
    pub(super) fn take_doubtful(&mut self, change_of: impl Fn(usize) -> usize) -> Vec<(Key, usize)> {
        let Self { sets, blocks, told, has } = std::mem::take(self);
        let mut sets: Vec<_> = sets.into_iter().collect();
        sets.sort_unstable_by_key(|(_, number)| *number);
        let tellings = |set: usize| {
            let ((concern, peers), _) = &sets[set];
            let of = |addr: &SocketAddr| told.get(&(change_of(*concern), *addr)).copied();
            peers.iter().filter_map(of).collect::<Vec<MessageNumber>>()
        };
        let blocks: Vec<(Key, usize)> = blocks.into_iter().collect();
        let mut should: BTreeMap<MessageNumber, u64> = BTreeMap::new();
        for same in blocks.chunk_by(|(one, _), (other, _)| one == other) {
            // Two files may share a block, and a peer counts it once.
            let of: BTreeSet<MessageNumber> = same.iter().flat_map(|(_, set)| tellings(*set)).collect();
            of.into_iter().for_each(|telling| *should.entry(telling).or_default() += 1);
        }
        let shows = |telling: &MessageNumber| has.get(telling) == should.get(telling);
        let doubtful = blocks.iter().filter(|(_, set)| !tellings(*set).iter().any(shows));
        doubtful.map(|(key, set)| (*key, sets[*set].0.0)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> SocketAddr {
        ([10, 0, 0, 1], port).into()
    }

    /// Of one file, which concern 0 is about: its blocks with the peers that should hold them; what each peer has.
    fn doubtful(blocks: &[(u64, &[u16])], has: &[(u16, u32)]) -> Vec<Key> {
        let mut coverage = Coverage::default();
        for (key, peers) in blocks {
            coverage.should_hold(0, Key::from_u64(*key), peers.iter().copied().map(at).collect());
        }
        for (port, has) in has {
            coverage.told(0, at(*port), (*port).into());
            coverage.heard((*port).into(), *has);
        }
        coverage.take_doubtful(|concern| concern).into_iter().map(|(key, _)| key).collect()
    }

    #[test]
    fn a_block_is_doubtful_unless_a_peer_that_should_hold_it_has_as_many_as_it_should() {
        let file: &[(u64, &[u16])] = &[(1, &[1, 2]), (2, &[2, 3])];
        assert_eq!(doubtful(file, &[(1, 1), (2, 2), (3, 1)]), []);
        assert_eq!(doubtful(file, &[(1, 1), (2, 1), (3, 0)]), [Key::from_u64(2)]);
        assert_eq!(doubtful(file, &[(1, 1)]), [Key::from_u64(2)], "the others were not reached");
        assert_eq!(doubtful(file, &[(2, 3), (3, 1)]), [Key::from_u64(1)], "what it has besides may be instead");
        let repeats: &[(u64, &[u16])] = &[(1, &[1]), (1, &[1]), (2, &[1])];
        assert_eq!(doubtful(repeats, &[(1, 2)]), [], "a block that repeats is one");
    }

    #[test]
    fn a_block_that_two_files_share_is_counted_once_by_who_was_told_of_both_together() {
        for (tellings, has) in [([7, 7], [2, 2]), ([7, 8], [1, 2])] {
            let mut coverage = Coverage::default();
            coverage.should_hold(0, Key::from_u64(1), vec![at(1)]);
            coverage.should_hold(1, Key::from_u64(1), vec![at(1)]);
            coverage.should_hold(1, Key::from_u64(2), vec![at(1)]);
            for (concern, (telling, has)) in tellings.into_iter().zip(has).enumerate() {
                coverage.told(concern, at(1), telling);
                coverage.heard(telling, has);
            }
            assert_eq!(coverage.take_doubtful(|concern| concern), []);
        }
    }
}
