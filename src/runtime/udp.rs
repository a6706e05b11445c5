//! `udp-recv`: waits for datagrams. And the other direction, which the node thread does itself.
//!
//! Both move up to [`BATCH`] datagrams with one system call (`recvmmsg`, `sendmmsg`): at a hundred thousand requests a
//! second the calls, the wake-ups and the channel are what costs, so each is paid once a batch. A batch that finds the
//! node's inbox full is lost, as datagrams may be, and counted.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::{Receiver, Sender, TrySendError};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg};

use super::Shared;
use crate::wire::{Dialect, MAX_DATAGRAM_RECEIVED, Malformed, Message};

/// Datagrams that one system call moves at most.
const BATCH: usize = 64;

/// A datagram that came.
pub(super) struct Datagram {
    /// The address it came from.
    pub(super) from: SocketAddr,
    /// Its length.
    pub(super) bytes: u32,
    /// What it says, or what is wrong with it where its sender should know.
    pub(super) message: Result<Message, Malformed>,
}

/// Where `udp-recv` puts what it receives, and gets emptied batches back from.
pub(super) struct Inbox {
    pub(super) batches: Sender<Vec<Datagram>>,
    pub(super) spent: Receiver<Vec<Datagram>>,
}

/// Receives until the peer stops.
pub(super) fn run(shared: &Shared, socket: &UdpSocket, dialect: Dialect, inbox: &Inbox) {
    // One byte more than allowed shows which ones are too long.
    let mut buffers = vec![[0_u8; MAX_DATAGRAM_RECEIVED + 1]; BATCH];
    let mut headers = MultiHeaders::preallocate(BATCH, None);
    while !shared.stopping.load(Ordering::Relaxed) {
        let mut batch = inbox.spent.try_recv().unwrap_or_default();
        if let Err(error) = receive(socket, dialect, &mut buffers, &mut headers, &mut batch) {
            // An earlier datagram of ours met a closed port, or a signal came: neither ends anything.
            log::debug!("receiving: {error}");
            continue;
        }
        let count = batch.len() as u64;
        match inbox.batches.try_send(batch) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                shared.dropped.fetch_add(count, Ordering::Relaxed);
            }
            Err(TrySendError::Disconnected(_)) => return,
        }
    }
}

fn receive(
    socket: &UdpSocket,
    dialect: Dialect,
    buffers: &mut [[u8; MAX_DATAGRAM_RECEIVED + 1]],
    headers: &mut MultiHeaders<SockaddrStorage>,
    batch: &mut Vec<Datagram>,
) -> io::Result<()> {
    let mut came = [(0_usize, None); BATCH];
    let mut count = 0;
    let mut slices: Vec<_> = buffers.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
    for received in recvmmsg(socket.as_raw_fd(), headers, slices.iter_mut(), MsgFlags::MSG_WAITFORONE, None)? {
        came[count] = (received.bytes, received.address.as_ref().and_then(to_std));
        count += 1;
    }
    for (buffer, (len, from)) in buffers.iter().zip(&came[..count]) {
        let Some(from) = *from else { continue };
        if *len > MAX_DATAGRAM_RECEIVED || from.port() == 0 {
            continue;
        }
        let message = dialect.decode(&buffer[..*len]);
        if !matches!(message, Err(Malformed { magic: None, .. })) {
            batch.push(Datagram { from, bytes: *len as u32, message });
        }
    }
    Ok(())
}

fn to_std(address: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(SocketAddrV4::new(v4.ip(), v4.port()).into());
    }
    let v6 = address.as_sockaddr_in6()?;
    Some(SocketAddrV6::new(v6.ip(), v6.port(), v6.flowinfo(), v6.scope_id()).into())
}

/// Datagrams on their way out: collected during a turn of the node, sent together at its end.
pub(super) struct Outgoing {
    socket: Arc<UdpSocket>,
    texts: Vec<Vec<u8>>,
    to: Vec<Option<SockaddrStorage>>,
    headers: MultiHeaders<SockaddrStorage>,
}

impl Outgoing {
    pub(super) fn new(socket: Arc<UdpSocket>) -> Self {
        let texts = std::iter::repeat_with(Vec::new).take(BATCH).collect();
        Self { socket, texts, to: Vec::with_capacity(BATCH), headers: MultiHeaders::preallocate(BATCH, None) }
    }

    /// Adds a datagram whose text `write` writes, unless it is longer than `limit` bytes.
    pub(super) fn push(&mut self, to: SocketAddr, limit: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let text = &mut self.texts[self.to.len()];
        text.clear();
        write(text);
        if text.len() > limit {
            return;
        }
        self.to.push(Some(to.into()));
        if self.to.len() == BATCH {
            self.flush();
        }
    }

    /// Sends what was added. What the system refuses is lost, as datagrams may be.
    pub(super) fn flush(&mut self) {
        let count = self.to.len();
        let mut done = 0;
        while done < count {
            let slices: Vec<_> = self.texts[done..count].iter().map(|text| [IoSlice::new(text)]).collect();
            // Never waiting: a full buffer is loss, and the node does not block.
            let flags = MsgFlags::MSG_DONTWAIT;
            match sendmmsg(self.socket.as_raw_fd(), &mut self.headers, slices.iter(), &self.to[done..], [], flags) {
                Ok(sent) => done += sent.count().max(1),
                Err(Errno::EINTR) => {}
                Err(error) => {
                    log::debug!("a datagram was refused: {error}");
                    done += 1;
                }
            }
        }
        self.to.clear();
    }
}
