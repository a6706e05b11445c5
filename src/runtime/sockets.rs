//! The two sockets of a peer: one port number, UDP and TCP, both bound before any thread runs.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

use super::StartError;

/// Bytes of arriving datagrams that the system keeps for us: a burst from many peers is not loss.
const RECEIVE_BUFFER: usize = 4 << 20;

/// Ports tried when any will do: one that is free for TCP may be taken for UDP.
const TRIES: usize = 32;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// Both sockets at `addr`; with port 0, at some port that is free for both.
pub(super) fn bind(addr: SocketAddr) -> Result<(UdpSocket, TcpListener), StartError> {
    let mut tries = if addr.port() == 0 { TRIES } else { 1 };
    loop {
        tries -= 1;
        match bind_both(addr) {
            Ok(sockets) => return Ok(sockets),
            Err((_, error)) if tries > 0 && error.kind() == io::ErrorKind::AddrInUse => {}
            Err((protocol, error)) if error.kind() == io::ErrorKind::AddrInUse => {
                return Err(StartError::PortInUse { addr, protocol });
            }
            Err((_, error)) => return Err(StartError::Bind { addr, error }),
        }
    }
}

/// A failure comes with the protocol that it is about.
fn bind_both(addr: SocketAddr) -> Result<(UdpSocket, TcpListener), (&'static str, io::Error)> {
    let tcp = bind_tcp(addr).map_err(|error| ("TCP", error))?;
    let udp = tcp.local_addr().and_then(|bound| bind_udp(SocketAddr::new(addr.ip(), bound.port())));
    Ok((udp.map_err(|error| ("UDP", error))?, tcp))
}

fn bind_tcp(addr: SocketAddr) -> io::Result<TcpListener> {
    let tcp = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // A peer that is started again must not wait for its old connections to be forgotten.
    tcp.set_reuse_address(true)?;
    tcp.bind(&addr.into())?;
    tcp.listen(BACKLOG)?;
    Ok(tcp.into())
}

fn bind_udp(addr: SocketAddr) -> io::Result<UdpSocket> {
    let udp = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    udp.bind(&addr.into())?;
    if let Err(error) = udp.set_recv_buffer_size(RECEIVE_BUFFER) {
        log::debug!("the system keeps fewer datagrams for us than asked: {error}");
    }
    Ok(udp.into())
}

/// An address that reaches a socket bound at `addr` from this machine.
pub(super) fn reachable(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        std::net::IpAddr::V4(ip) if ip.is_unspecified() => std::net::Ipv4Addr::LOCALHOST.into(),
        std::net::IpAddr::V6(ip) if ip.is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}
