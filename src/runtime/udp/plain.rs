//! The plain way: one datagram with one call. The system chooses the address of ours that a datagram leaves from.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use nix::sys::socket::{MsgFlags, SockaddrStorage, sendto};

use super::{Arrived, Leaving, Receive, Send};
use crate::runtime::sockets::{canonical, is_dual, mapped};
use crate::wire::MAX_DATAGRAM_RECEIVED;

/// Receives one datagram at a time.
pub(super) struct Receiver {
    socket: Arc<UdpSocket>,
    room: Box<[u8]>,
}

impl Receiver {
    pub(super) fn new(socket: Arc<UdpSocket>) -> Self {
        // One byte more than allowed shows which datagrams are too long.
        Self { socket, room: vec![0; MAX_DATAGRAM_RECEIVED + 1].into() }
    }
}

impl Receive for Receiver {
    fn receive(&mut self, take: &mut dyn FnMut(Arrived<'_>)) -> io::Result<()> {
        let (count, from) = self.socket.recv_from(&mut self.room)?;
        take(Arrived { from: canonical(from), at: None, bytes: &self.room[..count] });
        Ok(())
    }
}

/// Sends one datagram at a time.
pub(super) struct Sender {
    socket: Arc<UdpSocket>,
    dual: bool,
}

impl Sender {
    pub(super) fn new(socket: Arc<UdpSocket>) -> Self {
        let dual = socket.local_addr().is_ok_and(is_dual);
        Self { socket, dual }
    }
}

impl Send for Sender {
    fn send(&mut self, datagrams: &mut [Leaving]) {
        for leaving in datagrams {
            let to = if self.dual { mapped(leaving.to) } else { leaving.to };
            // A full buffer is loss.
            let to = SockaddrStorage::from(to);
            if let Err(error) = sendto(self.socket.as_raw_fd(), &leaving.text, &to, MsgFlags::MSG_DONTWAIT) {
                leaving.refused(error);
            }
        }
    }
}
