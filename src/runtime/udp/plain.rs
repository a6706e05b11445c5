//! The plain way: one datagram with one call. The system chooses the address of ours that a datagram leaves from.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use nix::sys::socket::{MsgFlags, SockaddrStorage, sendto};

use super::{ArrivedDatagram, LeavingDatagram, Receive, SendDatagrams};
use crate::runtime::sockets::{canonical, is_dual, mapped};
use crate::wire::MAX_DATAGRAM_RECEIVED;

/// Receives one datagram at a time.
pub(super) struct DatagramReceiver {
    socket: Arc<UdpSocket>,
    room: Box<[u8]>,
}

impl DatagramReceiver {
    pub(super) fn new(socket: Arc<UdpSocket>) -> Self {
        // One byte more than allowed shows which datagrams are too long.
        Self { socket, room: vec![0; MAX_DATAGRAM_RECEIVED + 1].into() }
    }
}

impl Receive for DatagramReceiver {
    fn receive(&mut self, take: &mut dyn FnMut(ArrivedDatagram<'_>)) -> io::Result<()> {
        let (count, from) = self.socket.recv_from(&mut self.room)?;
        take(ArrivedDatagram { from: canonical(from), at: None, bytes: &self.room[..count] });
        Ok(())
    }
}

/// Sends one datagram at a time.
pub(super) struct DatagramSender {
    socket: Arc<UdpSocket>,
    dual: bool,
}

impl DatagramSender {
    pub(super) fn new(socket: Arc<UdpSocket>) -> Self {
        let dual = socket.local_addr().is_ok_and(is_dual);
        Self { socket, dual }
    }
}

impl SendDatagrams for DatagramSender {
    fn send(&mut self, datagrams: &mut [LeavingDatagram]) {
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
