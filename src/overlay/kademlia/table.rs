//! The routing table: a bucket for each length of common prefix, few of which have any contacts (section 2.2).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::bucket::{Bucket, Contact};
use super::selection::Selection;
use crate::id::{ID_BITS, Id, Key};
use crate::peer::Peer;
use crate::source::Subnet;
use crate::time::Time;

/// Contacts of one network in a bucket at most, and in the whole table: more may be one and the same user's.
const OF_NETWORK_IN_BUCKET: usize = 2;
const OF_NETWORK: usize = 10;

pub(super) struct RoutingTable {
    me: Id,
    /// Contacts in a bucket, and spares beside it: the paper's k. A bucket whose peers are among the k nearest to this
    /// one has up to twice as many.
    k: usize,
    /// Local networks are limited like any other.
    pub(super) strict: bool,
    /// Buckets that ever had a contact, by index.
    buckets: Vec<Bucket>,
    len: usize,
}

/// What became of a peer that proved to live at its address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Entered {
    /// It is a contact now.
    New,
    /// It was a contact before.
    Known,
    /// Its bucket is full, or its id has a contact at another address. It waits as a spare; this contact stands first.
    Waits(Peer),
}

impl RoutingTable {
    pub(super) fn new(me: Id, k: usize) -> Self {
        Self { me, k: k.max(1), strict: false, buckets: Vec::new(), len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn buckets(&self) -> &[Bucket] {
        &self.buckets
    }

    /// The bucket that `id` belongs into: the bits it shares with this peer.
    pub(super) fn index_of(&self, id: &Id) -> usize {
        self.me.distance(id).leading_zeros()
    }

    pub(super) fn bucket(&self, index: usize) -> Option<&Bucket> {
        self.buckets.binary_search_by_key(&index, |bucket| bucket.index).ok().map(|at| &self.buckets[at])
    }

    pub(super) fn bucket_mut(&mut self, index: usize) -> Option<&mut Bucket> {
        self.buckets.binary_search_by_key(&index, |bucket| bucket.index).ok().map(|at| &mut self.buckets[at])
    }

    fn bucket_or_new(&mut self, now: Time, index: usize) -> &mut Bucket {
        let at = self.buckets.binary_search_by_key(&index, |bucket| bucket.index).unwrap_or_else(|at| {
            self.buckets.insert(at, Bucket::new(now, index));
            at
        });
        &mut self.buckets[at]
    }

    pub(super) fn get(&self, id: &Id) -> Option<&Contact> {
        self.bucket(self.index_of(id))?.get(id)
    }

    pub(super) fn get_mut(&mut self, id: &Id) -> Option<&mut Contact> {
        self.bucket_mut(self.index_of(id))?.get_mut(id)
    }

    /// The contact that is exactly this peer.
    pub(super) fn contact(&self, peer: &Peer) -> Option<&Contact> {
        self.get(&peer.id).filter(|contact| contact.is(peer))
    }

    /// The contact at an address. It walks the table, a few hundred contacts at most.
    pub(super) fn at(&self, addr: &SocketAddr) -> Option<&Contact> {
        self.contacts().find(|contact| contact.is_at(addr))
    }

    /// Every contact, those with the shortest common prefix first.
    pub(super) fn contacts(&self) -> impl Iterator<Item = &Contact> {
        self.buckets.iter().flat_map(Bucket::contacts)
    }

    /// Whether there is a place for `id`: in its bucket, or beside that for one of the k nearest to this peer. Where
    /// few share more bits with this peer, those in a full bucket are its neighbours too, and the paper splits such a
    /// bucket to keep them all (section 2.4). No contact makes room for them, so there are k of them at most.
    pub(super) fn has_room(&self, id: &Id) -> bool {
        let index = self.index_of(id);
        let held = self.bucket(index).map_or(0, |bucket| bucket.contacts().len());
        held < self.k || held < 2 * self.k && self.is_near(index, id)
    }

    /// Whether fewer than k contacts are nearer to this peer than `id`, which belongs into the bucket `index`.
    fn is_near(&self, index: usize, id: &Id) -> bool {
        let distance = self.me.distance(id);
        let is_nearer = |contact: &&Contact| self.me.distance(&contact.id) < distance;
        let nearer = self.buckets.iter().rev().take_while(|bucket| bucket.index >= index).map(|bucket| {
            let contacts = bucket.contacts();
            if bucket.index > index { contacts.len() } else { contacts.iter().filter(is_nearer).count() }
        });
        nearer.sum::<usize>() < self.k
    }

    /// The contact that has to go before another peer of the same [network](Subnet::network_of) may come in: its
    /// contact in the bucket, or else in the table, that was heard from least recently. None if there is room for it.
    pub(super) fn crowd(&self, peer: &Peer) -> Option<Peer> {
        let network = Subnet::network_of(peer.addr, self.strict)?;
        let of_network = |contact: &&Contact| Subnet::network_of(contact.peer().addr, self.strict) == Some(network);
        let beside = self.bucket(self.index_of(&peer.id)).map_or(&[][..], Bucket::contacts);
        let mut beside = beside.iter().filter(of_network);
        let (first, count) = (beside.next(), 1 + beside.count());
        if let Some(first) = first.filter(|_| count >= OF_NETWORK_IN_BUCKET) {
            return Some(first.peer());
        }
        let all = || self.contacts().filter(of_network);
        let oldest = all().min_by_key(|contact| contact.last_seen());
        oldest.filter(|_| all().count() >= OF_NETWORK).map(Contact::peer)
    }

    /// A peer answered at its address under its id, and no other one is a contact at that address.
    pub(super) fn enter(&mut self, now: Time, peer: Peer) -> Entered {
        let (k, has_room) = (self.k, self.has_room(&peer.id));
        let crowd = self.crowd(&peer);
        let bucket = self.bucket_or_new(now, self.me.distance(&peer.id).leading_zeros());
        let entry = match bucket.get(&peer.id).map(Contact::peer) {
            Some(before) if before.addr != peer.addr => Entered::Waits(before),
            Some(_) => Entered::Known,
            None if crowd.is_none() && has_room => Entered::New,
            None => Entered::Waits(crowd.unwrap_or_else(|| bucket.contacts()[0].peer())),
        };
        match entry {
            Entered::New => {
                bucket.push(Contact::new(now, peer));
                self.len += 1;
            }
            Entered::Known => {
                if let Some(at) = bucket.position_at(&peer.addr) {
                    bucket.touch(now, at).identify(now);
                }
            }
            Entered::Waits(_) => bucket.spare(&peer, k),
        }
        entry
    }

    /// Notes a peer that wants into a full bucket. In its way stands the bucket's least recently seen, or
    /// the contact that has its id at another address.
    pub(super) fn wait(&mut self, peer: &Peer) -> Option<Peer> {
        let (index, k) = (self.index_of(&peer.id), self.k);
        let bucket = self.bucket_mut(index)?;
        bucket.spare(peer, k);
        bucket.get(&peer.id).or_else(|| bucket.contacts().first()).map(Contact::peer)
    }

    /// Something at `addr` answered: the contact there, if there is one, becomes the most recently seen.
    pub(super) fn touch(&mut self, now: Time, addr: &SocketAddr) -> Option<&mut Contact> {
        // Neighbours answer most, and stand in the last buckets.
        self.buckets.iter_mut().rev().find_map(|bucket| {
            let at = bucket.position_at(addr)?;
            Some(bucket.touch(now, at))
        })
    }

    pub(super) fn remove(&mut self, id: &Id) -> Option<Contact> {
        let removed = self.bucket_mut(self.index_of(id))?.remove(id)?;
        self.len -= 1;
        Some(removed)
    }

    /// A spare for the place that became free beside `id`, the one heard of last.
    pub(super) fn take_spare(&mut self, id: &Id) -> Option<Peer> {
        let index = self.index_of(id);
        let spare = self.bucket(index)?.spares().rev().find(|spare| self.has_room(&spare.id))?;
        self.bucket_mut(index)?.forget_spare(&spare.id);
        Some(spare)
    }

    pub(super) fn forget_spare(&mut self, id: &Id) {
        if let Some(bucket) = self.bucket_mut(self.index_of(id)) {
            bucket.forget_spare(id);
        }
    }

    /// The `count` contacts nearest to `key` that `wanted` takes, nearest first.
    ///
    /// No bucket's distances overlap with another's. Let d be the distance of this peer to the key. A contact in
    /// bucket i differs from this peer in bit i, so if d has bit i set the whole bucket is nearer to the key than this
    /// peer is, the smaller i the nearer; if not, it is further away, the smaller i the further. So the walk takes the
    /// buckets whose bit is set in ascending order, then the others in descending order, and sorts only within each.
    pub(super) fn nearest(&self, key: &Key, count: usize, wanted: impl Fn(&Contact) -> bool) -> Vec<Peer> {
        let distance = self.me.distance(key);
        let is_nearer = |bucket: &&Bucket| bucket.index < ID_BITS && distance.bit(bucket.index);
        let nearer = self.buckets.iter().filter(is_nearer);
        let further = self.buckets.iter().rev().filter(|bucket| !is_nearer(bucket));
        let mut nearest = Vec::with_capacity(count.min(self.len));
        let mut selection = Selection::new(key, count.min(self.k));
        for bucket in nearer.chain(further) {
            let room = count - nearest.len();
            if room == 0 {
                break;
            }
            let contacts = bucket.contacts().iter().filter(|contact| wanted(contact));
            nearest.extend(selection.nearest(room, bucket.index, contacts).map(Contact::peer));
        }
        nearest
    }

    /// Sets back the clock of the bucket that `key` falls into: a lookup goes there.
    pub(super) fn note_lookup(&mut self, now: Time, key: &Key) {
        let index = self.index_of(key);
        if let Some(bucket) = self.bucket_mut(index) {
            bucket.refreshed = now;
        }
    }

    /// When the next bucket will have gone without a lookup for `age`.
    pub(super) fn next_stale(&self, age: Duration) -> Option<Time> {
        self.buckets.iter().map(|bucket| bucket.refreshed + age).min()
    }

    /// Makes exactly the room that these peers take, beside what there is.
    pub(super) fn reserve(&mut self, now: Time, peers: &[Peer]) {
        let mut coming: BTreeMap<usize, usize> = BTreeMap::new();
        for peer in peers.iter().filter(|peer| peer.id != self.me) {
            *coming.entry(self.index_of(&peer.id)).or_default() += 1;
        }
        self.buckets.reserve_exact(coming.len());
        let k = self.k;
        for (index, peers) in coming {
            self.bucket_or_new(now, index).reserve(peers.min(k));
        }
    }

    /// What must hold at any time.
    pub(super) fn check(&self) -> Result<(), String> {
        let mut marks = Vec::with_capacity(self.len);
        for bucket in &self.buckets {
            let index = bucket.index;
            if bucket.contacts().len() > 2 * self.k || bucket.spares().len() > self.k {
                return Err(format!("bucket {index} is too full"));
            }
            for (at, contact) in bucket.contacts().iter().enumerate() {
                if self.index_of(&contact.id) != index || contact.id == self.me {
                    return Err(format!("{} does not belong into bucket {index}", contact.peer()));
                }
                if bucket.contacts()[at + 1..].iter().any(|other| other.id == contact.id) {
                    return Err(format!("{} is twice in bucket {index}", contact.peer()));
                }
                marks.push(contact.address_mark());
            }
        }
        marks.sort_unstable();
        if marks.windows(2).any(|pair| pair[0] == pair[1])
            && let Some(shared) =
                self.contacts().find(|one| self.contacts().filter(|other| other.shares_address(one)).count() > 1)
        {
            return Err(format!("two contacts share the address {}", shared.peer().addr));
        }
        let sorted = self.buckets.is_sorted_by(|a, b| a.index < b.index);
        (sorted && marks.len() == self.len).then_some(()).ok_or_else(|| "the buckets are out of order".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use rand::seq::SliceRandom;

    use super::*;

    fn filled(k: usize, peers: u16) -> RoutingTable {
        let mut rng = StdRng::seed_from_u64(7);
        let mut table = RoutingTable::new(Id::random(&mut rng), k);
        for port in 1..=peers {
            let mut id = Id::random(&mut rng);
            if port % 3 == 0 {
                let shared = usize::from(port % 40);
                let mut bytes = *table.me.as_bytes();
                bytes[shared / 8 + 1..].copy_from_slice(&id.as_bytes()[shared / 8 + 1..]);
                id = Id::from_bytes(bytes);
            }
            table.enter(Time::ZERO, Peer::new(id, SocketAddr::from(([10, 0, 0, 1], port))));
        }
        table.check().unwrap();
        table
    }

    #[test]
    fn the_nearest_are_those_that_sorting_everybody_finds() {
        let table = filled(20, 1000);
        let mut rng = StdRng::seed_from_u64(8);
        for round in 0..100 {
            let mut key = Id::random(&mut rng);
            if round % 2 == 0 {
                key = table.contacts().nth(round % table.len()).unwrap().id.flip_bit(255 - round % 200);
            }
            for count in [0, 1, 7, 20, 2000] {
                let mut all: Vec<Peer> = table.contacts().map(Contact::peer).collect();
                all.sort_by_cached_key(|peer| peer.id.distance(&key));
                all.truncate(count);
                assert_eq!(table.nearest(&key, count, |_| true), all);
            }
        }
    }

    /// As in the storm of Kademlia with the seed 3002323, 31 peers and 14 faults.
    #[test]
    fn the_k_nearest_have_a_place_where_few_are_nearer_than_a_full_bucket() {
        let me = Id::ZERO;
        for seed in 0..200 {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut table = RoutingTable::new(me, 20);
            let mut peers: Vec<Peer> = (0..30)
                .map(|n| {
                    let id = Id::random(&mut rng);
                    let id = if id.bit(0) == (n < 25) { id } else { id.flip_bit(0) };
                    Peer::new(id, SocketAddr::from(([10, 0, 0, n], 7000)))
                })
                .collect();
            peers.shuffle(&mut rng);
            for peer in &peers {
                table.enter(Time::ZERO, *peer);
                table.check().unwrap();
            }
            peers.sort_by_cached_key(|peer| peer.id.distance(&me));
            let far = &table.bucket(0).unwrap().contacts().len();
            assert!((20..=25).contains(far), "seed {seed}: {far}");
            assert!(peers[..20].iter().all(|peer| table.contact(peer).is_some()), "seed {seed}");
        }
    }

    #[test]
    fn newcomers_that_are_ever_nearer_take_twenty_places_beside_a_full_bucket_and_nobodys() {
        let mut table = RoutingTable::new(Id::ZERO, 20);
        let peer = |n: u8| Peer::new(Id::from_u64(u64::MAX - u64::from(n)), SocketAddr::from(([10, 0, 0, n], 1)));
        for n in 0..100 {
            assert_eq!(table.enter(Time::ZERO, peer(n)) == Entered::New, n < 40, "{n}");
        }
        assert!((0..40).all(|n| table.contact(&peer(n)).is_some()));
        table.check().unwrap();
    }

    #[test]
    fn two_contacts_of_one_address_or_one_id_are_no_table() {
        let addresses = ["10.0.0.1:7000", "[2001:db8::1]:7000"].map(|addr| addr.parse().unwrap());
        for addr in addresses {
            for (first, second) in [(1, 2), (1, 1)] {
                let mut table = RoutingTable::new(Id::ZERO, 20);
                let elsewhere = SocketAddr::from(([10, 0, 0, 2], 7000));
                for (n, addr) in [(first, addr), (second, if first == second { elsewhere } else { addr })] {
                    let id = Id::from_u64(n << 60 >> 4);
                    let index = table.index_of(&id);
                    table.bucket_or_new(Time::ZERO, index).push(Contact::new(Time::ZERO, Peer::new(id, addr)));
                    table.len += 1;
                }
                let what = table.check().unwrap_err();
                let expected = if first == second { "is twice in bucket" } else { "two contacts share the address" };
                assert!(what.contains(expected), "{what}");
            }
        }
    }

    #[test]
    fn of_one_network_two_are_let_into_a_bucket_and_ten_into_the_table() {
        let mut rng = StdRng::seed_from_u64(9);
        let mut table = RoutingTable::new(Id::ZERO, 20);
        let mut port = 0;
        let mut enter = |table: &mut RoutingTable, bucket: usize, ip: [u8; 4]| {
            port += 1;
            let mut id = *Id::random(&mut rng).as_bytes();
            id[0] = if bucket == 8 { 0 } else { 0x80 >> bucket };
            id[1] |= if bucket == 8 { 0x80 } else { 0 };
            table.enter(Time::ZERO, Peer::new(Id::from_bytes(id), SocketAddr::from((ip, port))))
        };
        for n in 1..=3 {
            let entry = enter(&mut table, 0, [1, 2, 3, n]);
            assert_eq!(entry == Entered::New, n < 3, "{entry:?}");
        }
        assert_eq!(enter(&mut table, 0, [1, 2, 4, 1]), Entered::New, "another network");
        for bucket in 1..=8 {
            enter(&mut table, bucket, [1, 2, 3, 10]);
            enter(&mut table, bucket, [1, 2, 3, 11]);
        }
        let of_network =
            table.contacts().filter(|contact| contact.peer().addr.ip().to_string().starts_with("1.2.3.")).count();
        assert_eq!(of_network, OF_NETWORK);
        table.check().unwrap();
        for n in 1..=9 {
            assert_eq!(enter(&mut table, 3, [10, 0, 0, n]), Entered::New, "a local network is exempt");
        }
        table.strict = true;
        assert!(matches!(enter(&mut table, 3, [10, 0, 0, 10]), Entered::Waits(_)), "unless it is strict");
    }

    #[test]
    fn a_full_bucket_lets_newcomers_wait_behind_its_least_recently_seen() {
        let mut table = RoutingTable::new(Id::ZERO, 2);
        let peer = |n: u8| Peer::new(Id::ZERO.flip_bit(0).flip_bit(n.into()), SocketAddr::from(([10, 0, 0, n], 1)));
        let far = Peer::new(peer(1).id.flip_bit(2), SocketAddr::from(([10, 0, 0, 3], 1)));
        assert_eq!(table.enter(Time::ZERO, peer(1)), Entered::New);
        assert_eq!(table.enter(Time::ZERO, peer(2)), Entered::New);
        assert_eq!(table.enter(Time::ZERO, peer(1)), Entered::Known);
        assert_eq!(table.enter(Time::ZERO, far), Entered::Waits(peer(2)));
        assert_eq!(table.take_spare(&far.id), None, "no place is free");
        assert!(table.remove(&peer(2).id).is_some());
        assert_eq!(table.take_spare(&far.id), Some(far));
        table.check().unwrap();
    }
}
