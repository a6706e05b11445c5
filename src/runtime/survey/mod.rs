//! A survey: who is in a running network, and whom does each peer know?
//!
//! A surveyor is a guest: it asks and is never asked, and no table ever holds it. It starts at any peer and asks
//! everybody that it hears of. Of the ring's peers it learns their neighbours; of Kademlia's, whom they know near
//! themselves and near other places. It has no thread of its own: one `poll` waits for all answers.

mod calls;
mod crowd;

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rand::rngs::{StdRng, SysRng};
use rand::{RngExt, SeedableRng, TryRng};
use serde::Serialize;

use calls::Calls;
use crowd::Crowd;

use super::clock::Clock;
use super::sockets;
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

/// All of it takes no longer: whoever was not asked by then counts as silent.
const LIMIT: Duration = Duration::from_secs(15);

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
    /// Where the peer answers that it was made for.
    target: SocketAddr,
}

/// Somebody who was asked something by a datagram.
struct Asked {
    addr: SocketAddr,
    request: Request,
    tries: usize,
    /// When it is sent again, or given up.
    due: Time,
}

/// A connection that peers answer on, and the beginning of a line.
struct Inbound {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Surveyed {
    fn new(peer: Peer, answered: bool) -> Self {
        let none = Vec::new;
        Self { peer, answered, predecessors: none(), successors: none(), knows: none(), named_by: 0 }
    }
}

impl Surveyor {
    /// A surveyor for the network of the peer at any of the addresses `targets`; which overlay that is, it finds out if
    /// nobody says. It listens on all addresses of this machine, for that peer names others that are elsewhere.
    ///
    /// # Errors
    /// The system refuses sockets, or nobody answers.
    pub fn new(targets: &[SocketAddr], overlay: Option<OverlayKind>) -> io::Result<Self> {
        let (any, targets) = (sockets::every_address(), targets.iter().copied().map(sockets::canonical));
        let targets: Vec<SocketAddr> = targets.collect();
        let tcp = sockets::bind_tcp(any)?;
        tcp.set_nonblocking(true)?;
        let addr = sockets::advertised(tcp.local_addr()?, targets.iter().copied());
        let udp = sockets::bind_udp(any)?;
        udp.set_nonblocking(true)?;
        let mut seed = [0; 32];
        SysRng.try_fill_bytes(&mut seed).map_err(io::Error::other)?;
        let mut rng = StdRng::from_seed(seed);
        let me = Sender { peer: Peer::new(Id::random(&mut rng), addr), guest: true, leaving: false };
        let (dialect, target) = (Dialect::Ring, addr);
        let mut surveyor = Self { me, dialect, clock: Clock::start(), rng, udp, tcp, target };
        let dialects = overlay.map_or(vec![Dialect::Kademlia, Dialect::Ring], |overlay| vec![overlay.dialect()]);
        (surveyor.target, surveyor.dialect) = surveyor.find_dialect(&targets, &dialects)?;
        Ok(surveyor)
    }

    /// Where a peer answered: one of the addresses that were named.
    pub fn target(&self) -> SocketAddr {
        self.target
    }

    /// Which overlay the network has.
    pub fn overlay(&self) -> OverlayKind {
        match self.dialect {
            Dialect::Kademlia => OverlayKind::Kademlia,
            Dialect::Ring => OverlayKind::Ring,
        }
    }

    /// Asks the peers at `seeds`, and everybody that they and the others name, all at the same time: whoever is silent
    /// holds nobody else up. Who is known comes back in the order of ids.
    ///
    /// # Errors
    /// The sockets are of no use any more. That nobody answers is none.
    pub fn survey(&mut self, seeds: &[SocketAddr]) -> io::Result<Vec<Surveyed>> {
        let end = self.clock.now() + LIMIT;
        let mut crowd = Crowd::default();
        seeds.iter().for_each(|addr| crowd.meet(*addr));
        match self.dialect {
            Dialect::Ring => self.survey_ring(&mut crowd, end)?,
            Dialect::Kademlia => self.survey_kademlia(&mut crowd, end)?,
        }
        Ok(crowd.into_surveyed())
    }

    fn magic(&mut self) -> u64 {
        self.rng.random_range(0..MAGIC_LIMIT)
    }

    /// Which of `targets` answers a ping first, and in which of `dialects`.
    fn find_dialect(&mut self, targets: &[SocketAddr], dialects: &[Dialect]) -> io::Result<(SocketAddr, Dialect)> {
        let none = Calls::new(PATIENCE);
        for _ in 0..TRIES {
            let magic = self.magic();
            let mut sent: Option<io::Result<usize>> = None;
            for (&target, dialect) in targets.iter().flat_map(|target| dialects.iter().map(move |of| (target, of))) {
                let mut text = Vec::new();
                let ping = Message::request(magic, self.me, Request::Ping);
                dialect.encode(&ping, &self.me.peer, target, &mut text);
                // One way that is closed says nothing of the others.
                let way = self.send(&text, target);
                if way.is_ok() || sent.is_none() {
                    sent = Some(way);
                }
            }
            sent.transpose()?;
            let limit = self.clock.now() + PATIENCE;
            while self.wait(&[], &none, limit)? {
                for (from, text) in self.datagrams() {
                    let answers = |dialect: &&Dialect| {
                        let message = dialect.decode(&text).ok();
                        targets.contains(&from)
                            && message.is_some_and(|message| {
                                message.magic == magic && matches!(message.body, Body::Response(Response::Node(_)))
                            })
                    };
                    if let Some(dialect) = dialects.iter().find(answers) {
                        return Ok((from, *dialect));
                    }
                }
            }
        }
        let names: Vec<String> = targets.iter().map(SocketAddr::to_string).collect();
        let reason = format!("nobody answers at {}; does a peer run there?", names.join(", "));
        Err(io::Error::new(io::ErrorKind::TimedOut, reason))
    }

    /// Pings peers over TCP, where an answer may be of any length. They answer over connections of their own.
    fn survey_ring(&mut self, crowd: &mut Crowd, end: Time) -> io::Result<()> {
        let mut calls = Calls::new(PATIENCE);
        let mut waiting: BTreeMap<u64, (SocketAddr, Time)> = BTreeMap::new();
        let mut inbound: Vec<Inbound> = Vec::new();
        loop {
            let now = self.clock.now();
            while let Some(addr) = crowd.next.pop() {
                let magic = self.magic();
                let ping = RingRequest::Ping { predecessors: Vec::new(), successors: Vec::new(), quiet: true };
                let mut text = Vec::new();
                let message = Message::request(magic, self.me, Request::Ring(ping));
                self.dialect.encode(&message, &self.me.peer, addr, &mut text);
                calls.add(addr, text);
                waiting.insert(magic, (addr, now + calls.longest() + PATIENCE));
            }
            calls.go_on(now);
            waiting.retain(|_, (_, limit)| *limit > now);
            let Some(first) = waiting.values().map(|(_, limit)| *limit).min().filter(|_| now < end) else {
                return Ok(());
            };
            self.wait(&inbound, &calls, first.min(end))?;
            while let Ok((stream, _)) = self.tcp.accept() {
                stream.set_nonblocking(true)?;
                inbound.push(Inbound { stream, buffer: Vec::new() });
            }
            inbound.retain_mut(|connection| {
                let goes_on = connection.fill();
                while let Some(line) = connection.line() {
                    if let Some(surveyed) = self.pong(&line, &mut waiting) {
                        crowd.hear(surveyed);
                    }
                }
                goes_on
            });
        }
    }

    /// What the line of a ring's peer tells, if it is the answer to one of the pings that `waiting` names.
    fn pong(&self, line: &[u8], waiting: &mut BTreeMap<u64, (SocketAddr, Time)>) -> Option<Surveyed> {
        let message = self.dialect.decode(line).ok()?;
        let (addr, _) = waiting.remove(&message.magic)?;
        let Body::Response(Response::Ring(RingResponse::Pong { peer, predecessors, successors })) = message.body else {
            return None;
        };
        let knows = predecessors.iter().chain(&successors).copied().collect();
        let peer = Peer::new(peer.id, addr);
        Some(Surveyed { predecessors, successors, knows, ..Surveyed::new(peer, true) })
    }

    /// Asks peers who they are, and those that answer whom they know.
    fn survey_kademlia(&mut self, crowd: &mut Crowd, end: Time) -> io::Result<()> {
        let none = Calls::new(PATIENCE);
        let mut waiting: BTreeMap<u64, Asked> = BTreeMap::new();
        loop {
            let now = self.clock.now();
            while let Some(addr) = crowd.next.pop() {
                waiting.insert(self.magic(), Asked { addr, request: Request::Ping, tries: 0, due: now });
            }
            waiting.retain(|_, asked| asked.due > now || asked.tries < TRIES);
            for (magic, asked) in waiting.iter_mut().filter(|(_, asked)| asked.due <= now) {
                let mut text = Vec::new();
                let message = Message::request(*magic, self.me, asked.request.clone());
                self.dialect.encode(&message, &self.me.peer, asked.addr, &mut text);
                // A datagram that cannot be sent is a lost one.
                let _ = self.send(&text, asked.addr);
                (asked.tries, asked.due) = (asked.tries + 1, now + PATIENCE);
            }
            let Some(first) = waiting.values().map(|asked| asked.due).min().filter(|_| now < end) else {
                return Ok(());
            };
            self.wait(&[], &none, first.min(end))?;
            for (from, text) in self.datagrams() {
                let Ok(message) = self.dialect.decode(&text) else { continue };
                if waiting.get(&message.magic).is_none_or(|asked| asked.addr != from) {
                    continue;
                }
                waiting.remove(&message.magic);
                match message.body {
                    Body::Response(Response::Node(Peer { id, .. })) => {
                        crowd.hear(Surveyed::new(Peer::new(id, from), true));
                        for id in std::iter::once(id).chain((0..PLACES).map(|bit| id.flip_bit(bit))) {
                            let request = Request::FindNode { id };
                            waiting.insert(self.magic(), Asked { addr: from, request, tries: 0, due: now });
                        }
                    }
                    Body::Response(Response::Nodes(peers)) => crowd.learn(from, &peers),
                    _ => {}
                }
            }
        }
    }

    fn send(&self, text: &[u8], to: SocketAddr) -> io::Result<usize> {
        let dual = sockets::is_dual(self.udp.local_addr()?);
        self.udp.send_to(text, if dual { sockets::mapped(to) } else { to })
    }

    /// Every datagram that is there.
    fn datagrams(&self) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut room = vec![0; MAX_DATAGRAM_RECEIVED];
        let mut all = Vec::new();
        while let Ok((count, from)) = self.udp.recv_from(&mut room) {
            all.push((sockets::canonical(from), room[..count].to_vec()));
        }
        all
    }

    /// Waits until there is something to receive, or to go on with; false once `limit` has come.
    fn wait(&self, inbound: &[Inbound], calls: &Calls, limit: Time) -> io::Result<bool> {
        let now = self.clock.now();
        if limit <= now {
            return Ok(false);
        }
        let left = calls.next_limit().map_or(limit, |first| first.min(limit)) - now;
        let heard = [self.udp.as_fd(), self.tcp.as_fd()].into_iter();
        let heard = heard.chain(inbound.iter().map(|connection| connection.stream.as_fd()));
        let heard = heard.map(|fd: BorrowedFd<'_>| PollFd::new(fd, PollFlags::POLLIN));
        let opened = calls.pollable().map(|fd| PollFd::new(fd, PollFlags::POLLOUT));
        let mut fds: Vec<PollFd<'_>> = heard.chain(opened).collect();
        let left = PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds, left) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(true),
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
