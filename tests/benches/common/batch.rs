//! Datagrams by the batch: one system call for up to [`BATCH`] of them, for the bare echo as for the load generator.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg};

/// Datagrams of a batch at most.
pub(crate) const BATCH: usize = 64;

/// Bytes of a datagram at most.
const BUFFER: usize = 2048;

/// Room for a batch: filled by [`receive`](Self::receive), sent back by [`reply`](Self::reply).
pub(crate) struct Batch {
    buffers: Vec<[u8; BUFFER]>,
    lens: Vec<usize>,
    from: Vec<Option<SockaddrIn>>,
    // One each: sending overwrites the header's address by one that receiving must not write to.
    received: MultiHeaders<SockaddrIn>,
    sent: MultiHeaders<SockaddrIn>,
}

impl Batch {
    pub(crate) fn new() -> Self {
        Self {
            buffers: vec![[0; BUFFER]; BATCH],
            lens: Vec::new(),
            from: Vec::new(),
            received: MultiHeaders::preallocate(BATCH, None),
            sent: MultiHeaders::preallocate(BATCH, None),
        }
    }

    /// Waits for one datagram and takes whatever else is there.
    pub(crate) fn receive(&mut self, socket: &UdpSocket) -> io::Result<()> {
        self.lens.clear();
        self.from.clear();
        let mut slices: Vec<_> = self.buffers.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
        let flags = MsgFlags::MSG_WAITFORONE;
        for message in recvmmsg(socket.as_raw_fd(), &mut self.received, slices.iter_mut(), flags, None)? {
            self.lens.push(message.bytes);
            self.from.push(message.address);
        }
        Ok(())
    }

    /// The datagrams that were received.
    pub(crate) fn datagrams(&self) -> impl Iterator<Item = &[u8]> {
        self.buffers.iter().zip(&self.lens).map(|(buffer, len)| &buffer[..*len])
    }

    /// Sends each datagram back to where it came from.
    pub(crate) fn reply(&mut self, socket: &UdpSocket) -> io::Result<()> {
        let slices: Vec<_> =
            self.buffers.iter().zip(&self.lens).map(|(buffer, len)| [IoSlice::new(&buffer[..*len])]).collect();
        let mut done = 0;
        while done < slices.len() {
            let (rest, to) = (slices[done..].iter(), &self.from[done..]);
            done += sendmmsg(socket.as_raw_fd(), &mut self.sent, rest, to, [], MsgFlags::empty())?.count();
        }
        Ok(())
    }

    /// Sends `datagrams` to the peer that `socket` is connected to.
    pub(crate) fn send(&mut self, socket: &UdpSocket, datagrams: &[Vec<u8>]) -> io::Result<()> {
        for chunk in datagrams.chunks(BATCH) {
            let slices: Vec<_> = chunk.iter().map(|datagram| [IoSlice::new(datagram)]).collect();
            let mut done = 0;
            while done < slices.len() {
                let (rest, to) = (slices[done..].iter(), vec![None; slices.len() - done]);
                done += sendmmsg(socket.as_raw_fd(), &mut self.sent, rest, to, [], MsgFlags::empty())?.count();
            }
        }
        Ok(())
    }
}
