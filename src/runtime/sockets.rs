//! The two sockets of a peer: one port number, UDP and TCP, both bound before any thread runs.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
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
    let ip = if addr.ip().is_unspecified() { loopback(addr.is_ipv4()) } else { addr.ip() };
    SocketAddr::new(ip, addr.port())
}

/// Where others reach a socket bound at `bound`. The ring tells its address to peers that never had a datagram from it,
/// so an address that stands for all of this machine's will not do: it takes the one that datagrams to `known` peers
/// leave from, else to the rest of the world, else one of a network that this machine is on.
pub(super) fn advertised(bound: SocketAddr, known: impl Iterator<Item = SocketAddr>) -> SocketAddr {
    if !bound.ip().is_unspecified() {
        return bound;
    }
    let v4 = bound.is_ipv4();
    let known = known.filter(|addr| addr.is_ipv4() == v4 && !addr.ip().is_loopback()).map(|addr| addr.ip());
    // Whoever is known on this machine alone can be told any address of it, and others may come from outside.
    let ip = known.chain([elsewhere(v4)]).find_map(way_to).or_else(|| of_interfaces(v4));
    SocketAddr::new(ip.unwrap_or_else(|| loopback(v4)), bound.port())
}

fn loopback(v4: bool) -> IpAddr {
    if v4 { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() }
}

/// An address that is nobody's, kept for documentation (RFC 5737, RFC 3849): the way there is the way to everybody.
fn elsewhere(v4: bool) -> IpAddr {
    if v4 { Ipv4Addr::new(192, 0, 2, 1).into() } else { Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into() }
}

/// The address of ours that datagrams to `there` leave from. Nothing is sent: the system only looks up the way.
fn way_to(there: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = if there.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
    socket.connect(SocketAddr::new(there, 9)).ok()?;
    socket.local_addr().ok().map(|addr| addr.ip()).filter(tells_where)
}

/// The first address of a network that this machine is on.
fn of_interfaces(v4: bool) -> Option<IpAddr> {
    let up = |flags: InterfaceFlags| flags.contains(InterfaceFlags::IFF_UP);
    let addresses = getifaddrs().ok()?.filter(|interface| up(interface.flags)).filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::from(address.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::from(address.ip())))
    });
    addresses.filter(|ip| ip.is_ipv4() == v4).find(tells_where)
}

/// Whether an address says to others which machine is meant.
fn tells_where(ip: &IpAddr) -> bool {
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !(ip.is_unspecified() || ip.is_loopback() || link_local)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_on_all_addresses_is_told_of_as_one_that_says_which_machine_it_is_on() {
        for any in ["0.0.0.0:7000", "[::]:7000"] {
            let bound: SocketAddr = any.parse().unwrap();
            let told = advertised(bound, std::iter::empty());
            assert!(!told.ip().is_unspecified() && told.is_ipv4() == bound.is_ipv4() && told.port() == 7000, "{told}");
            let local = SocketAddr::new(loopback(bound.is_ipv4()), 7001);
            assert_eq!(advertised(bound, std::iter::once(local)), told, "a neighbour on this machine tells nothing");
        }
    }

    #[test]
    fn a_socket_on_one_address_is_told_of_as_that() {
        let bound = "127.0.0.1:7000".parse().unwrap();
        assert_eq!(advertised(bound, std::iter::once("192.0.2.1:7000".parse().unwrap())), bound);
    }
}
