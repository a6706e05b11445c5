//! One peer to look at, others that stand where a test wants them, and networks of them.

use std::net::SocketAddr;
use std::time::Duration;

use kadring::id::{Id, Key};
use kadring::overlay::kademlia::{K, Kademlia};
use kadring::overlay::{Asker, Cause, Effect, Incoming, Overlay};
use kadring::peer::Peer;
use kadring::wire::{Request, Sender};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::net::{self, by_distance};

pub(crate) type Net = net::Net<Kademlia>;

pub(crate) const ME: u16 = 9000;

pub(crate) const WIDTH: usize = 7;

/// A bucket of neighbours.
pub(crate) const NEAR: usize = 5;

pub(crate) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn addr(n: u16) -> SocketAddr {
    net::addr(n.into())
}

/// A peer with an id of its own, drawn from its number.
pub(crate) fn peer(n: u16) -> Peer {
    Peer::new(Id::of(&n.to_le_bytes()), addr(n))
}

pub(crate) fn kademlia(peer: Peer) -> Kademlia {
    Kademlia::new(peer, *peer.id.as_bytes(), false)
}

/// An id that shares exactly `prefix` bits with `id`; `salt` tells several apart.
fn id_sharing(id: &Id, prefix: usize, salt: u16) -> Id {
    let mut rng = StdRng::seed_from_u64(u64::from(salt));
    let mut other = Id::random(&mut rng);
    for bit in 0..=prefix {
        if (other.bit(bit) == id.bit(bit)) == (bit == prefix) {
            other = other.flip_bit(bit);
        }
    }
    other
}

/// Contact number `n` of the bucket `prefix` of `peer(ME)`.
pub(crate) fn in_bucket(prefix: usize, n: u16) -> Peer {
    Peer::new(id_sharing(&peer(ME).id, prefix, n), addr(n))
}

/// The `count` nearest to `key` among `peers`.
pub(crate) fn nearest(peers: impl IntoIterator<Item = Peer>, key: &Key, count: usize) -> Vec<Peer> {
    let mut peers = by_distance(&peers.into_iter().collect::<Vec<_>>(), key);
    peers.truncate(count);
    peers
}

/// A network of nobody.
pub(crate) fn nobody() -> Net {
    let mut net = Net::new(1);
    net.timeout = Duration::from_millis(500);
    net
}

/// A network of one overlay, `peer(ME)`, and whom a test adds.
pub(crate) fn alone() -> Net {
    let mut net = nobody();
    net.start(kademlia(peer(ME)), false, &[]);
    net
}

/// The same where K contacts are nearer than those of the buckets before [`NEAR`].
pub(crate) fn surrounded() -> Net {
    let mut net = alone();
    for n in 0..K as u16 {
        net.meet(in_bucket(NEAR, 1000 + n));
    }
    net
}

/// `count` peers that join one after the other, each through the first.
pub(crate) fn grown(count: u16) -> Net {
    let mut net = nobody();
    for n in 1..=count {
        let known = [addr(1)];
        net.start(kademlia(peer(n)), false, &known[usize::from(n == 1)..]);
        net.run(Duration::from_millis(300));
    }
    net.run(secs(5));
    net
}

impl Net {
    /// A peer that is no overlay asks the peer at `to` for those near itself.
    pub(crate) fn introduce(&mut self, from: Sender, to: SocketAddr) {
        self.request(from, to, &Request::FindNode { id: from.peer.id });
    }

    /// A request of a peer that is no overlay is there at once.
    pub(crate) fn request(&mut self, from: Sender, to: SocketAddr, request: &Request) {
        let incoming = Incoming { asker: Asker::connected(from.peer.addr, 0), sender: Some(from) };
        self.with(to, |overlay, now, out| overlay.on(now, Cause::Request { from: &incoming, request }, out));
    }

    /// A scripted peer introduces itself to `peer(ME)`, and is pinged.
    pub(crate) fn meet(&mut self, peer: Peer) {
        self.script(peer, vec![]);
        self.introduce(Sender::member(peer.id, peer.addr), addr(ME));
        self.run(Duration::from_millis(100));
    }

    /// What was asked at `to` since the `since`th question of all.
    pub(crate) fn asked_of(&self, to: SocketAddr, since: usize) -> Vec<Request> {
        self.asked[since..].iter().filter(|asked| asked.to == to).map(|asked| asked.request.clone()).collect()
    }

    /// Whom `peer(ME)` knows.
    pub(crate) fn known(&self) -> Vec<Peer> {
        self.inside(addr(ME)).peers()
    }

    /// Who came up and down in the eyes of the peer at `at`.
    pub(crate) fn news(&self, at: SocketAddr) -> Vec<&Effect> {
        let is_news = |effect: &&Effect| matches!(effect, Effect::PeerUp(_) | Effect::PeerDown(_));
        self.told.iter().filter(|(_, who, _)| *who == at).map(|(_, _, effect)| effect).filter(is_news).collect()
    }
}
