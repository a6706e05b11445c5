//! A k-bucket: the contacts that share one length of common prefix with this peer (section 2.2).
//!
//! Contacts stand in the order in which they were last heard from, the least recently seen first. A full bucket keeps
//! the contacts that live: peers that have been up for long are the likeliest to stay up, and no attacker can flush a
//! bucket by making many new peers. Peers that found no place wait as *spares* in the replacement cache (section 4.1).

use std::net::SocketAddr;
use std::time::Duration;

use super::compact::{Address, CompactTime};
use crate::id::Id;
use crate::peer::Peer;
use crate::time::Time;

/// A peer that answered us at its address.
#[derive(Clone, Debug)]
pub(super) struct Contact {
    pub(super) id: Id,
    addr: Address,
    /// When it last answered.
    seen: CompactTime,
    /// When it last named itself: other answers only show that some peer is at its address.
    identified: CompactTime,
    /// Requests in a row that it left without an answer.
    pub(super) failures: u8,
    /// A ping is out that decides whether it stays.
    pub(super) checking: bool,
}

impl Contact {
    /// A contact that named itself just now.
    pub(super) fn new(now: Time, peer: Peer) -> Self {
        Self {
            id: peer.id,
            addr: peer.addr.into(),
            seen: now.into(),
            identified: now.into(),
            failures: 0,
            checking: false,
        }
    }

    pub(super) fn peer(&self) -> Peer {
        Peer::new(self.id, SocketAddr::from(&self.addr))
    }

    pub(super) fn is_at(&self, addr: &SocketAddr) -> bool {
        self.addr == *addr
    }

    /// A number that contacts of one address share, and hardly any others.
    pub(super) fn address_mark(&self) -> u64 {
        self.addr.mark()
    }

    pub(super) fn shares_address(&self, other: &Self) -> bool {
        self.addr == other.addr
    }

    pub(super) fn is(&self, peer: &Peer) -> bool {
        self.id == peer.id && self.is_at(&peer.addr)
    }

    /// It answered everything it was asked lately.
    pub(super) fn is_sound(&self) -> bool {
        self.failures == 0
    }

    /// When it last answered.
    pub(super) fn last_seen(&self) -> CompactTime {
        self.seen
    }

    /// How long it has been silent.
    pub(super) fn silence(&self, now: Time) -> Duration {
        CompactTime::from(now).since(self.seen)
    }

    /// It named itself just now.
    pub(super) fn identify(&mut self, now: Time) {
        self.identified = now.into();
    }

    /// Time since it last named itself.
    pub(super) fn since_identified(&self, now: Time) -> Duration {
        CompactTime::from(now).since(self.identified)
    }
}

/// A peer that waits for a place. It proves that it lives when it gets one.
#[derive(Clone, Debug)]
struct Spare {
    id: Id,
    addr: Address,
}

#[derive(Clone, Debug)]
pub(super) struct Bucket {
    /// Bits that its contacts share with this peer before the first that differs.
    pub(super) index: usize,
    contacts: Vec<Contact>,
    spares: Vec<Spare>,
    /// When an id in its range was last looked for.
    pub(super) refreshed: Time,
}

impl Bucket {
    pub(super) fn new(now: Time, index: usize) -> Self {
        Self { index, contacts: Vec::new(), spares: Vec::new(), refreshed: now }
    }

    /// Its contacts, the least recently seen first.
    pub(super) fn contacts(&self) -> &[Contact] {
        &self.contacts
    }

    pub(super) fn get(&self, id: &Id) -> Option<&Contact> {
        self.contacts.iter().find(|contact| contact.id == *id)
    }

    pub(super) fn get_mut(&mut self, id: &Id) -> Option<&mut Contact> {
        self.contacts.iter_mut().find(|contact| contact.id == *id)
    }

    /// A new contact, seen just now.
    pub(super) fn push(&mut self, contact: Contact) {
        self.spares.retain(|spare| spare.id != contact.id);
        self.contacts.push(contact);
    }

    pub(super) fn remove(&mut self, id: &Id) -> Option<Contact> {
        let at = self.contacts.iter().position(|contact| contact.id == *id)?;
        Some(self.contacts.remove(at))
    }

    /// The contact answered: it goes to the end, as the most recently seen.
    pub(super) fn touch(&mut self, now: Time, at: usize) -> &mut Contact {
        self.contacts[at..].rotate_left(1);
        let last = self.contacts.len() - 1;
        let contact = &mut self.contacts[last];
        contact.seen = now.into();
        contact.failures = 0;
        contact
    }

    pub(super) fn position_at(&self, addr: &SocketAddr) -> Option<usize> {
        self.contacts.iter().position(|contact| contact.is_at(addr))
    }

    /// Its spares, the one heard of last at the end.
    pub(super) fn spares(&self) -> impl DoubleEndedIterator<Item = Peer> + ExactSizeIterator {
        self.spares.iter().map(|spare| Peer::new(spare.id, SocketAddr::from(&spare.addr)))
    }

    /// Puts a peer into the replacement cache as the most recent of at most `room`; the oldest goes.
    pub(super) fn spare(&mut self, peer: &Peer, room: usize) {
        self.spares.retain(|spare| spare.id != peer.id && spare.addr != peer.addr);
        if self.spares.len() >= room {
            self.spares.remove(0);
        }
        self.spares.push(Spare { id: peer.id, addr: peer.addr.into() });
    }

    pub(super) fn forget_spare(&mut self, id: &Id) {
        self.spares.retain(|spare| spare.id != *id);
    }

    /// Makes room for exactly so many contacts more.
    pub(super) fn reserve(&mut self, contacts: usize) {
        self.contacts.reserve_exact(contacts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u16) -> Peer {
        Peer::new(Id::from_u64(n.into()), SocketAddr::from(([10, 0, 0, 1], n)))
    }

    #[test]
    fn a_contact_takes_64_bytes() {
        assert_eq!(size_of::<Contact>(), 64);
    }

    #[test]
    fn a_contact_that_answers_becomes_the_most_recently_seen() {
        let mut bucket = Bucket::new(Time::ZERO, 0);
        for n in 1..=3 {
            bucket.push(Contact::new(Time::ZERO, peer(n)));
        }
        let at = bucket.position_at(&peer(1).addr).unwrap();
        bucket.touch(Time::from_micros(5_000_000), at);
        let order: Vec<_> = bucket.contacts().iter().map(Contact::peer).collect();
        assert_eq!(order, [peer(2), peer(3), peer(1)]);
        assert_eq!(bucket.contacts()[2].silence(Time::from_micros(7_000_000)), Duration::from_secs(2));
    }

    #[test]
    fn the_replacement_cache_keeps_the_latest() {
        let mut bucket = Bucket::new(Time::ZERO, 0);
        for n in [1, 2, 3, 2, 4] {
            bucket.spare(&peer(n), 3);
        }
        assert!(bucket.spares().eq([peer(3), peer(2), peer(4)]));
    }
}
