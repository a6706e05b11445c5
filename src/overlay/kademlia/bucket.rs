//! A k-bucket: the contacts that share one length of common prefix with this peer (section 2.2).
//!
//! Contacts stand in the order in which they were last heard from, the least recently seen first. A full bucket keeps
//! whoever lives: peers that have been up for long are the likeliest to stay up, and nobody can flush a bucket by
//! making many new peers. Those who found no place wait as *spares* in the replacement cache (section 4.1).

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use crate::id::Id;
use crate::peer::Peer;
use crate::time::Time;

/// An address in half the room: a simulated network of 100,000 peers has to fit into memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Address {
    V4(Ipv4Addr, u16),
    V6(Box<SocketAddrV6>),
}

impl Address {
    pub(super) fn is(&self, addr: &SocketAddr) -> bool {
        match (self, addr) {
            (Self::V4(ip, port), SocketAddr::V4(addr)) => port == &addr.port() && ip == addr.ip(),
            (Self::V6(own), SocketAddr::V6(addr)) => **own == *addr,
            _ => false,
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(addr: SocketAddr) -> Self {
        match addr {
            SocketAddr::V4(addr) => Self::V4(*addr.ip(), addr.port()),
            SocketAddr::V6(addr) => Self::V6(Box::new(addr)),
        }
    }
}

impl From<&Address> for SocketAddr {
    fn from(address: &Address) -> Self {
        match address {
            Address::V4(ip, port) => Self::from((*ip, *port)),
            Address::V6(addr) => Self::V6(**addr),
        }
    }
}

/// A peer that answered us at its address: 64 bytes.
#[derive(Clone, Debug)]
pub(super) struct Contact {
    pub(super) id: Id,
    addr: Address,
    /// When it last answered, in tenths of a second.
    seen: u32,
    /// When it last named itself, in tenths of a second: other answers only show that somebody is at its address.
    named: u32,
    /// Until when it is taken to hold blocks that we hold too, in tenths of a second.
    sharing: u32,
    /// Its round trip in milliseconds, rounded up; 0 until it is known.
    rtt: u16,
    /// Requests in a row that it left without an answer.
    pub(super) failures: u8,
    /// A ping is out that decides whether it stays.
    pub(super) checking: bool,
}

impl Contact {
    pub(super) fn new(now: Time, peer: Peer) -> Self {
        Self {
            id: peer.id,
            addr: peer.addr.into(),
            seen: tenths(now),
            named: tenths(now),
            sharing: 0,
            rtt: 0,
            failures: 0,
            checking: false,
        }
    }

    pub(super) fn peer(&self) -> Peer {
        Peer::new(self.id, SocketAddr::from(&self.addr))
    }

    pub(super) fn is_at(&self, addr: &SocketAddr) -> bool {
        self.addr.is(addr)
    }

    pub(super) fn is(&self, peer: &Peer) -> bool {
        self.id == peer.id && self.is_at(&peer.addr)
    }

    /// It answered everything it was asked lately.
    pub(super) fn is_sound(&self) -> bool {
        self.failures == 0
    }

    /// How long it has been silent.
    pub(super) fn silence(&self, now: Time) -> Duration {
        Duration::from_millis(100) * tenths(now).saturating_sub(self.seen)
    }

    /// It named itself just now.
    pub(super) fn name(&mut self, now: Time) {
        self.named = tenths(now);
    }

    /// How long ago it named itself.
    pub(super) fn namelessness(&self, now: Time) -> Duration {
        Duration::from_millis(100) * tenths(now).saturating_sub(self.named)
    }

    /// It holds blocks that we hold too, and will until then.
    pub(super) fn share(&mut self, until: Time) {
        self.sharing = tenths(until);
    }

    /// Whether it holds blocks that we hold too.
    pub(super) fn is_sharing(&self, now: Time) -> bool {
        self.sharing > tenths(now)
    }

    /// Its usual round trip, if it is known.
    pub(super) fn rtt(&self) -> Option<Duration> {
        (self.rtt > 0).then(|| Duration::from_millis(self.rtt.into()))
    }

    pub(super) fn set_rtt(&mut self, rtt: Duration) {
        self.rtt = u16::try_from(rtt.as_micros().div_ceil(1000).max(1)).unwrap_or(u16::MAX);
    }
}

/// Thirteen years of tenths of a second fit.
fn tenths(now: Time) -> u32 {
    u32::try_from(now.as_micros() / 100_000).unwrap_or(u32::MAX)
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
        contact.seen = tenths(now);
        contact.failures = 0;
        contact
    }

    pub(super) fn position_at(&self, addr: &SocketAddr) -> Option<usize> {
        self.contacts.iter().position(|contact| contact.is_at(addr))
    }

    pub(super) fn spares(&self) -> usize {
        self.spares.len()
    }

    /// Puts a peer into the replacement cache as the most recent of at most `room`; the oldest goes.
    pub(super) fn spare(&mut self, peer: &Peer, room: usize) {
        self.spares.retain(|spare| spare.id != peer.id && !spare.addr.is(&peer.addr));
        if self.spares.len() >= room {
            self.spares.remove(0);
        }
        self.spares.push(Spare { id: peer.id, addr: peer.addr.into() });
    }

    /// Takes the spare heard of last.
    pub(super) fn take_spare(&mut self) -> Option<Peer> {
        self.spares.pop().map(|spare| Peer::new(spare.id, SocketAddr::from(&spare.addr)))
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
    fn a_contact_takes_64_bytes_and_keeps_any_address() {
        assert_eq!(size_of::<Contact>(), 64);
        for addr in ["10.1.2.3:4", "[fe80::1%7]:9", "[::ffff:1.2.3.4]:5"] {
            let addr: SocketAddr = addr.parse().unwrap();
            let kept = Contact::new(Time::ZERO, Peer::new(Id::ZERO, addr));
            assert!(kept.is_at(&addr));
            assert_eq!(kept.peer().addr, addr);
        }
    }

    #[test]
    fn whoever_answers_becomes_the_most_recently_seen() {
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
    fn the_replacement_cache_keeps_the_latest_and_gives_the_latest_first() {
        let mut bucket = Bucket::new(Time::ZERO, 0);
        for n in [1, 2, 3, 2, 4] {
            bucket.spare(&peer(n), 3);
        }
        let taken: Vec<_> = std::iter::from_fn(|| bucket.take_spare()).collect();
        assert_eq!(taken, [peer(4), peer(2), peer(3)]);
    }
}
