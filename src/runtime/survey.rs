//! A survey: who is in a running network, and whom does each peer know?
//!
//! A surveyor is a guest: it asks and is never asked, and no table ever holds it. It starts at any peer and asks
//! everybody that it hears of. Of the ring's peers it learns their neighbours; of Kademlia's, whom they know near
//! themselves and near other places. It has no thread of its own: one `poll` waits for all answers.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rand::rngs::{StdRng, SysRng};
use rand::{RngExt, SeedableRng, TryRng};
use serde::Serialize;

use super::clock::Clock;
use crate::id::Id;
use crate::overlay::OverlayKind;
use crate::peer::Peer;
use crate::time::Time;
use crate::wire::ring::{RingRequest, RingResponse};
use crate::wire::{
    Body, Dialect, MAGIC_LIMIT, MAX_CONTROL_LINE, MAX_DATAGRAM_RECEIVED, Message, Request, Response, Sender,
};

/// An answer may take this long.
const PATIENCE: Duration = Duration::from_millis(500);

/// Times that a datagram is sent at most.
const TRIES: usize = 3;

/// Peers that are asked at most.
const MAX_PEERS: usize = 4096;

/// Places near which each Kademlia peer is asked whom it knows: itself, and as many halves, quarters, … of the space.
const PLACES: usize = 8;

/// What is known of one peer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Surveyed {
    /// Who.
    #[serde(flatten)]
    pub peer: Peer,
    /// Whether it answered; the other fields are empty if not.
    pub answered: bool,
    /// The ring: who stands before it, nearest first.
    pub predecessors: Vec<Peer>,
    /// The ring: who stands after it, nearest first.
    pub successors: Vec<Peer>,
    /// Everybody it named.
    pub knows: Vec<Peer>,
    /// How many others named it.
    pub named_by: usize,
}

/// Asks a network's peers.
pub struct Surveyor {
    me: Sender,
    dialect: Dialect,
    clock: Clock,
    rng: StdRng,
    udp: UdpSocket,
    tcp: TcpListener,
}

/// A connection that peers answer on, and the beginning of a line.
struct Inbound {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Surveyor {
    /// A surveyor for the network of the peer at `target`; which overlay that is, it finds out if nobody says.
    ///
    /// # Errors
    /// The system refuses sockets, or nobody answers at `target`.
    pub fn new(target: SocketAddr, overlay: Option<OverlayKind>) -> io::Result<Self> {
        let any: IpAddr = match (target.is_ipv4(), target.ip().is_loopback()) {
            (true, true) => [127, 0, 0, 1].into(),
            (true, false) => [0, 0, 0, 0].into(),
            (false, true) => std::net::Ipv6Addr::LOCALHOST.into(),
            (false, false) => std::net::Ipv6Addr::UNSPECIFIED.into(),
        };
        let tcp = TcpListener::bind((any, 0))?;
        tcp.set_nonblocking(true)?;
        let addr = tcp.local_addr()?;
        let udp = UdpSocket::bind((any, 0))?;
        udp.set_nonblocking(true)?;
        let mut seed = [0; 32];
        SysRng.try_fill_bytes(&mut seed).map_err(io::Error::other)?;
        let mut rng = StdRng::from_seed(seed);
        let me = Sender { peer: Peer::new(Id::random(&mut rng), addr), guest: true, leaving: false };
        let mut surveyor = Self { me, dialect: Dialect::Ring, clock: Clock::start(), rng, udp, tcp };
        let dialects = overlay.map_or(vec![Dialect::Kademlia, Dialect::Ring], |overlay| vec![overlay.dialect()]);
        surveyor.dialect = surveyor.find_dialect(target, &dialects)?;
        Ok(surveyor)
    }

    /// Which overlay the network has.
    pub fn overlay(&self) -> OverlayKind {
        match self.dialect {
            Dialect::Kademlia => OverlayKind::Kademlia,
            Dialect::Ring => OverlayKind::Ring,
        }
    }

    /// Asks the peers at `seeds`, and everybody that they and the others name. Who is known comes back in the order of ids.
    ///
    /// # Errors
    /// The sockets are of no use any more. That nobody answers is none.
    pub fn survey(&mut self, seeds: &[SocketAddr]) -> io::Result<Vec<Surveyed>> {
        let mut found: BTreeMap<SocketAddr, Surveyed> = BTreeMap::new();
        let mut named: BTreeMap<SocketAddr, Peer> = BTreeMap::new();
        let mut asked: BTreeSet<SocketAddr> = BTreeSet::new();
        let mut next: Vec<SocketAddr> = seeds.to_vec();
        while !next.is_empty() && asked.len() < MAX_PEERS {
            next.retain(|addr| asked.insert(*addr));
            let answers = match self.dialect {
                Dialect::Ring => self.ask_ring(&next)?,
                Dialect::Kademlia => self.ask_kademlia(&next)?,
            };
            next.clear();
            for surveyed in answers {
                for peer in &surveyed.knows {
                    named.insert(peer.addr, *peer);
                    if !asked.contains(&peer.addr) && !next.contains(&peer.addr) {
                        next.push(peer.addr);
                    }
                }
                found.insert(surveyed.peer.addr, surveyed);
            }
        }
        for (addr, peer) in named {
            let silent = Surveyed {
                peer,
                answered: false,
                predecessors: Vec::new(),
                successors: Vec::new(),
                knows: Vec::new(),
                named_by: 0,
            };
            found.entry(addr).or_insert(silent);
        }
        let mut all: Vec<Surveyed> = found.into_values().collect();
        let mentions: Vec<SocketAddr> = all.iter().flat_map(|of| of.knows.iter().map(|peer| peer.addr)).collect();
        for surveyed in &mut all {
            surveyed.named_by = mentions.iter().filter(|addr| **addr == surveyed.peer.addr).count();
        }
        all.sort_unstable_by_key(|surveyed| surveyed.peer);
        Ok(all)
    }

    fn magic(&mut self) -> u64 {
        self.rng.random_range(0..MAGIC_LIMIT)
    }

    /// Which of `dialects` the peer at `target` speaks: the one that it answers a ping in.
    fn find_dialect(&mut self, target: SocketAddr, dialects: &[Dialect]) -> io::Result<Dialect> {
        for _ in 0..TRIES {
            let magic = self.magic();
            for dialect in dialects {
                let mut text = Vec::new();
                let ping = Message::request(magic, self.me, Request::Ping);
                dialect.encode(&ping, &self.me.peer, target, &mut text);
                self.udp.send_to(&text, target)?;
            }
            let limit = self.clock.now() + PATIENCE;
            while self.wait(&[], limit)? {
                for (from, text) in self.datagrams() {
                    let answers = |dialect: &&Dialect| {
                        let message = dialect.decode(&text).ok();
                        from == target
                            && message.is_some_and(|message| {
                                message.magic == magic && matches!(message.body, Body::Response(Response::Node(_)))
                            })
                    };
                    if let Some(dialect) = dialects.iter().find(answers) {
                        return Ok(*dialect);
                    }
                }
            }
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, format!("nobody answers at {target}; does a peer run there?")))
    }

    /// Pings these peers over TCP, where an answer may be of any length. They answer over connections of their own.
    fn ask_ring(&mut self, addrs: &[SocketAddr]) -> io::Result<Vec<Surveyed>> {
        let (mut open, mut waiting) = (Vec::new(), BTreeMap::new());
        for &addr in addrs {
            let magic = self.magic();
            let ping = RingRequest::Ping { predecessors: Vec::new(), successors: Vec::new(), quiet: true };
            let mut text = Vec::new();
            let message = Message::request(magic, self.me, Request::Ring(ping));
            self.dialect.encode(&message, &self.me.peer, addr, &mut text);
            let sent = TcpStream::connect_timeout(&addr, PATIENCE).and_then(|mut stream| {
                stream.set_write_timeout(Some(PATIENCE))?;
                stream.write_all(&text)?;
                Ok(stream)
            });
            if let Ok(stream) = sent {
                waiting.insert(magic, addr);
                open.push(stream);
            }
        }
        let mut answers = Vec::new();
        let mut inbound: Vec<Inbound> = Vec::new();
        let limit = self.clock.now() + PATIENCE * 2;
        while !waiting.is_empty() && self.wait(&inbound, limit)? {
            while let Ok((stream, _)) = self.tcp.accept() {
                stream.set_nonblocking(true)?;
                inbound.push(Inbound { stream, buffer: Vec::new() });
            }
            let dialect = self.dialect;
            inbound.retain_mut(|connection| {
                let goes_on = connection.fill();
                while let Some(line) = connection.line() {
                    let Ok(message) = dialect.decode(&line) else { continue };
                    let Some(addr) = waiting.remove(&message.magic) else { continue };
                    if let Body::Response(Response::Ring(RingResponse::Pong { peer, predecessors, successors })) =
                        message.body
                    {
                        let mut knows: Vec<Peer> = predecessors.iter().chain(&successors).copied().collect();
                        knows.sort_unstable();
                        knows.dedup();
                        let peer = Peer::new(peer.id, addr);
                        answers.push(Surveyed { peer, answered: true, predecessors, successors, knows, named_by: 0 });
                    }
                }
                goes_on
            });
        }
        Ok(answers)
    }

    /// Asks these peers whom they know.
    fn ask_kademlia(&mut self, addrs: &[SocketAddr]) -> io::Result<Vec<Surveyed>> {
        let mut ids: BTreeMap<SocketAddr, Id> = BTreeMap::new();
        let pings: Vec<(SocketAddr, Request)> = addrs.iter().map(|addr| (*addr, Request::Ping)).collect();
        for (addr, response) in self.ask_all(pings)? {
            if let Response::Node(peer) = response {
                ids.insert(addr, peer.id);
            }
        }
        let places = ids.iter().flat_map(|(addr, id)| {
            let near = std::iter::once(*id).chain((0..PLACES).map(|bit| id.flip_bit(bit)));
            near.map(|id| (*addr, Request::FindNode { id })).collect::<Vec<_>>()
        });
        let places = places.collect();
        let mut knows: BTreeMap<SocketAddr, BTreeSet<Peer>> = BTreeMap::new();
        for (addr, response) in self.ask_all(places)? {
            if let Response::Nodes(peers) = response {
                knows.entry(addr).or_default().extend(peers);
            }
        }
        let surveyed = |(addr, id): (SocketAddr, Id)| Surveyed {
            peer: Peer::new(id, addr),
            answered: true,
            predecessors: Vec::new(),
            successors: Vec::new(),
            knows: knows.remove(&addr).unwrap_or_default().into_iter().filter(|peer| peer.id != id).collect(),
            named_by: 0,
        };
        Ok(ids.into_iter().map(surveyed).collect())
    }

    /// Sends every request as a datagram, again if it must be, and collects what is answered.
    fn ask_all(&mut self, requests: Vec<(SocketAddr, Request)>) -> io::Result<Vec<(SocketAddr, Response)>> {
        let mut waiting: BTreeMap<u64, (SocketAddr, Request)> = BTreeMap::new();
        for request in requests {
            let magic = self.magic();
            waiting.insert(magic, request);
        }
        let mut answers = Vec::new();
        for _ in 0..TRIES {
            for (magic, (addr, request)) in &waiting {
                let mut text = Vec::new();
                let message = Message::request(*magic, self.me, request.clone());
                self.dialect.encode(&message, &self.me.peer, *addr, &mut text);
                // A datagram that cannot be sent is a lost one.
                let _ = self.udp.send_to(&text, addr);
            }
            let limit = self.clock.now() + PATIENCE;
            while !waiting.is_empty() && self.wait(&[], limit)? {
                for (from, text) in self.datagrams() {
                    let Ok(message) = self.dialect.decode(&text) else { continue };
                    if waiting.get(&message.magic).is_none_or(|(addr, _)| *addr != from) {
                        continue;
                    }
                    if let Body::Response(response) = message.body {
                        answers.push((from, response));
                    }
                    waiting.remove(&message.magic);
                }
            }
        }
        Ok(answers)
    }

    /// Every datagram that is there.
    fn datagrams(&self) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut room = vec![0; MAX_DATAGRAM_RECEIVED];
        let mut all = Vec::new();
        while let Ok((count, from)) = self.udp.recv_from(&mut room) {
            all.push((from, room[..count].to_vec()));
        }
        all
    }

    /// Waits until something can be received; false once `limit` has come.
    fn wait(&self, inbound: &[Inbound], limit: Time) -> io::Result<bool> {
        let left = limit - self.clock.now();
        if left.is_zero() {
            return Ok(false);
        }
        let sources = [self.udp.as_fd(), self.tcp.as_fd()].into_iter();
        let sources = sources.chain(inbound.iter().map(|connection| connection.stream.as_fd()));
        let mut fds: Vec<PollFd<'_>> = sources.map(|fd: BorrowedFd<'_>| PollFd::new(fd, PollFlags::POLLIN)).collect();
        let left = PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds, left) {
            Ok(ready) => Ok(ready > 0),
            Err(nix::errno::Errno::EINTR) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }
}

impl Inbound {
    /// Reads what is there; false once there is no more to come, or too much.
    fn fill(&mut self) -> bool {
        let mut room = [0; 4096];
        loop {
            match self.stream.read(&mut room) {
                Ok(0) => return false,
                Ok(count) => self.buffer.extend_from_slice(&room[..count]),
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
            if self.buffer.len() > 2 * MAX_CONTROL_LINE {
                return false;
            }
        }
    }

    fn line(&mut self) -> Option<Vec<u8>> {
        let end = self.buffer.iter().position(|&byte| byte == b'\n')?;
        Some(self.buffer.drain(..=end).collect())
    }
}
