//! Thousands of contacts on one socket: peers that introduce themselves and answer every ping.
//!
//! The loopback network is a /8, and a socket bound to every address receives for all of it. So each contact has an
//! address of its own, 127.16.0.0 and up; the kernel tells which one a datagram was for, and is told which one the
//! answer comes from.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use kadring::id::{ID_BITS, Id};
use kadring::peer::Peer;
use kadring::wire::{Body, Message, Request, Response, Sender, kad};
use nix::libc::{in_addr, in_pktinfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, sendmsg, setsockopt, sockopt,
};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::process::PeerProcess;
use super::wrap::Wrap;

/// Contacts that share each length of common prefix with the peer: a bucket's worth.
const A_BUCKET: usize = 20;

/// The address of contact 0.
const FIRST: u32 = u32::from_be_bytes([127, 16, 0, 0]);

/// How long a peer has to come to know its contacts, and how long without a new one is taken for all.
const GETTING_KNOWN: Duration = Duration::from_secs(120);
const NO_NEWS: Duration = Duration::from_secs(5);

/// Contacts that live until dropped.
pub(crate) struct Contacts {
    shared: Arc<Shared>,
    answering: Option<JoinHandle<()>>,
}

struct Shared {
    socket: UdpSocket,
    ids: Vec<Id>,
    wrap: Mutex<Wrap>,
    stop: AtomicBool,
}

impl Contacts {
    /// `count` contacts, spread over the buckets of the peer `of` so that it can know as many of them as possible.
    pub(crate) fn start(of: &Id, count: usize) -> io::Result<Self> {
        Self::wrapped(of, count, Wrap::new(None))
    }

    /// [`start`](Self::start), and they speak in such words.
    pub(crate) fn wrapped(of: &Id, count: usize, wrap: Wrap) -> io::Result<Self> {
        let mut rng = StdRng::seed_from_u64(2);
        let ids = (0..count).map(|index| id_sharing_prefix(of, index / A_BUCKET % ID_BITS, &mut rng)).collect();
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        setsockopt(&socket, sockopt::RcvBuf, &(4 << 20))?;
        let shared = Arc::new(Shared { socket, ids, wrap: Mutex::new(wrap), stop: AtomicBool::new(false) });
        let answering = {
            let shared = Arc::clone(&shared);
            thread::Builder::new().name("contacts".into()).spawn(move || shared.answer())?
        };
        Ok(Self { shared, answering: Some(answering) })
    }

    /// Introduces all of them until the peer's table takes no more; how many it keeps.
    pub(crate) fn get_known(&self, peer: &mut PeerProcess) -> io::Result<usize> {
        let start = Instant::now();
        let (mut known, mut news) = (0, start);
        while known < self.shared.ids.len() && start.elapsed() < GETTING_KNOWN && news.elapsed() < NO_NEWS {
            self.introduce(peer.addr)?;
            // It pings those that it heard of at its own pace.
            thread::sleep(Duration::from_millis(500));
            let now = peer.ask("status")?["peers"].as_u64().unwrap_or(0) as usize;
            if now > known {
                (known, news) = (now, Instant::now());
            }
        }
        Ok(known)
    }

    /// Has every contact say a word to the peer at `to`, so that it becomes a candidate for the peer's table.
    fn introduce(&self, to: SocketAddr) -> io::Result<()> {
        for (index, _) in self.shared.ids.iter().enumerate() {
            let me = self.shared.contact(index);
            let ping = Message::request(index as u64, Sender::member(me.id, me.addr), Request::Ping);
            self.shared.send(&ping, to, me.addr)?;
            // A peer's receive buffer holds a few hundred datagrams.
            if index % 64 == 63 {
                thread::sleep(Duration::from_millis(5));
            }
        }
        Ok(())
    }
}

impl Drop for Contacts {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(answering) = self.answering.take() {
            answering.join().expect("the contacts do not panic");
        }
    }
}

impl Shared {
    fn contact(&self, index: usize) -> Peer {
        let ip = Ipv4Addr::from(FIRST + index as u32);
        let port = self.socket.local_addr().expect("a bound socket has an address").port();
        Peer::new(self.ids[index], SocketAddrV4::new(ip, port).into())
    }

    fn answer(&self) {
        let mut buffer = [0; 2048];
        while !self.stop.load(Ordering::Relaxed) {
            let Ok((len, from, index)) = self.receive(&mut buffer) else { continue };
            let Some(text) = self.wrap.lock().expect("nobody panics").open(&buffer[..len]) else { continue };
            let Ok(Message { magic, body: Body::Request(request), .. }) = kad::decode(&text) else { continue };
            let Some(me) = (index < self.ids.len()).then(|| self.contact(index)) else { continue };
            let response = match request {
                Request::Ping => Response::Node(me),
                _ => Response::Nodes(vec![me]),
            };
            // A lost answer is asked for again.
            let _ = self.send(&Message::response(magic, request.kind(), response), from, me.addr);
        }
    }

    /// The next datagram: its length, its sender, and the contact it is for.
    fn receive(&self, buffer: &mut [u8]) -> nix::Result<(usize, SocketAddr, usize)> {
        let mut space = nix::cmsg_space!(in_pktinfo);
        let mut slices = [IoSliceMut::new(buffer)];
        let message = recvmsg::<SockaddrIn>(self.socket.as_raw_fd(), &mut slices, Some(&mut space), MsgFlags::empty())?;
        let to = message.cmsgs()?.find_map(|control| match control {
            ControlMessageOwned::Ipv4PacketInfo(info) => Some(u32::from_be(info.ipi_addr.s_addr)),
            _ => None,
        });
        let from = message.address.map(SocketAddrV4::from);
        let (to, from) = to.zip(from).ok_or(nix::errno::Errno::EPROTO)?;
        Ok((message.bytes, from.into(), to.wrapping_sub(FIRST) as usize))
    }

    fn send(&self, message: &Message, to: SocketAddr, from: SocketAddr) -> nix::Result<()> {
        let mut text = Vec::new();
        kad::encode(message, &mut text);
        let text = self.wrap.lock().expect("nobody panics").seal(text);
        let (SocketAddr::V4(to), SocketAddr::V4(from)) = (to, from) else {
            return Err(nix::errno::Errno::EAFNOSUPPORT);
        };
        let source = in_addr { s_addr: u32::from(*from.ip()).to_be() };
        let info = in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: source, ipi_addr: source };
        let control = [ControlMessage::Ipv4PacketInfo(&info)];
        let slices = [IoSlice::new(&text)];
        sendmsg(self.socket.as_raw_fd(), &slices, &control, MsgFlags::empty(), Some(&SockaddrIn::from(to)))?;
        Ok(())
    }
}

/// A random id whose first bit that differs from `of` is bit `prefix`.
fn id_sharing_prefix(of: &Id, prefix: usize, rng: &mut StdRng) -> Id {
    let random = Id::random(rng);
    let mut bytes = *of.as_bytes();
    for bit in prefix..ID_BITS {
        let mask = 0x80 >> (bit % 8);
        let differs = bit == prefix || (of.as_bytes()[bit / 8] ^ random.as_bytes()[bit / 8]) & mask != 0;
        if differs {
            bytes[bit / 8] ^= mask;
        }
    }
    Id::from_bytes(bytes)
}
