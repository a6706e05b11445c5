//! The two sockets of a peer: one port number, UDP and TCP, both bound before any thread runs.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, UdpSocket};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
#[cfg(target_os = "linux")]
use nix::sys::socket::{setsockopt, sockopt};
#[cfg(target_os = "linux")]
use rustix::net::sockopt::Ipv4PathMtuDiscovery;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::StartError;

/// Bytes of arriving datagrams that the system keeps for us: a burst from many peers is not loss.
const RECEIVE_BUFFER: usize = 4 << 20;

/// Ports tried when any will do: one that is free for TCP may be taken for UDP.
const PORTS_TRIED: usize = 32;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// Both sockets at `addr`; with port 0, at some port that is free for both.
pub(super) fn bind(addr: SocketAddr) -> Result<(UdpSocket, TcpListener), StartError> {
    // The system takes these too, and then no peer can connect.
    if addr.ip().is_multicast() || addr.ip() == IpAddr::V4(Ipv4Addr::BROADCAST) {
        let error = io::Error::new(io::ErrorKind::InvalidInput, "it is the address of many, not of one machine");
        return Err(StartError::Bind { addr, error });
    }
    let mut tries = if addr.port() == 0 { PORTS_TRIED } else { 1 };
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
    let udp = tcp.local_addr().and_then(|bound| bind_udp(at_port(addr, bound.port())));
    Ok((udp.map_err(|error| ("UDP", error))?, tcp))
}

/// The same address with another port, and of the same link if it is one of a link alone.
pub(super) fn at_port(mut addr: SocketAddr, port: u16) -> SocketAddr {
    addr.set_port(port);
    addr
}

/// What is bound to all addresses serves those of both families, whatever the system's habit is.
fn open_to_both(socket: &Socket, addr: SocketAddr) -> io::Result<()> {
    if is_dual(addr) { socket.set_only_v6(false) } else { Ok(()) }
}

/// Whether a socket bound at `addr` serves both families.
pub(super) fn is_dual(addr: SocketAddr) -> bool {
    addr.is_ipv6() && addr.ip().is_unspecified()
}

/// A free port on all addresses of this machine, of both families where the system has both.
pub fn every_address() -> SocketAddr {
    let any: SocketAddr = (Ipv6Addr::UNSPECIFIED, 0).into();
    if bind_udp(any).is_ok() { any } else { (Ipv4Addr::UNSPECIFIED, 0).into() }
}

/// An address as it is known on the wire: one of the older family that a socket of the newer one wraps is itself again.
pub fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, addr.port()),
        IpAddr::V6(_) => addr,
    }
}

/// An address as a socket that serves both families takes it.
pub(super) fn mapped(addr: SocketAddr) -> SocketAddr {
    match addr.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), addr.port()),
        IpAddr::V6(_) => addr,
    }
}

/// Has the routers on an IPv4 path cut what is too long for it. Else they drop it, and their word of that is often
/// dropped too: then long packets vanish, and short ones come through. Nothing of the newer family is ever cut.
fn pass_any_path(socket: &Socket) {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::net::sockopt::set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::DONT) {
        log::debug!("packets are not cut on their way: {error}");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = socket;
}

/// A socket that shall connect to `to` from our address `from`, if there is one; with segments, both ways, that pass
/// any path if it is `narrow`.
pub(super) fn outgoing(to: SocketAddr, from: Option<IpAddr>, narrow: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    pass_any_path(&socket);
    #[cfg(target_os = "linux")]
    if narrow && let Err(error) = setsockopt(&socket, sockopt::TcpMaxSeg, &any_segment(to)) {
        log::debug!("segments to {to} are as long as they are: {error}");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = narrow;
    leave_from(SockRef::from(&socket), from, to);
    Ok(socket)
}

/// Bytes of a segment that passes any path to `to`: what its family promises, less the headers.
#[cfg(target_os = "linux")]
fn any_segment(to: SocketAddr) -> u32 {
    if canonical(to).is_ipv4() { 576 - 40 } else { 1280 - 60 }
}

pub(super) fn bind_tcp(addr: SocketAddr) -> io::Result<TcpListener> {
    let tcp = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    open_to_both(&tcp, addr)?;
    pass_any_path(&tcp);
    // A peer that is started again must not wait for its old connections to be forgotten.
    tcp.set_reuse_address(true)?;
    tcp.bind(&addr.into())?;
    tcp.listen(BACKLOG)?;
    Ok(tcp.into())
}

pub(super) fn bind_udp(addr: SocketAddr) -> io::Result<UdpSocket> {
    let udp = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    open_to_both(&udp, addr)?;
    pass_any_path(&udp);
    // Before anything can come: each datagram tells where it arrived.
    #[cfg(target_os = "linux")]
    super::udp::tell_where_asked(&udp, addr)?;
    udp.bind(&addr.into())?;
    if let Err(error) = udp.set_recv_buffer_size(RECEIVE_BUFFER) {
        log::debug!("the system keeps fewer datagrams for us than asked: {error}");
    }
    Ok(udp.into())
}

/// An address that reaches a socket bound at `addr` from this machine.
pub(super) fn reachable(addr: SocketAddr) -> SocketAddr {
    // A machine may have no loopback address of the newer family; a socket on all addresses serves the older one too.
    if addr.ip().is_unspecified() { SocketAddr::new(loopback(true), addr.port()) } else { addr }
}

/// Where others reach a socket bound at `bound`. The ring tells its address to peers that never had a datagram from it,
/// so an address that stands for all of this machine's will not do: it takes the one that datagrams to `known` peers
/// leave from, else to the rest of the world, else one of a network that this machine is on. Of two families it takes
/// the one of the peers known: the older if there are both, for a peer that listens on the newer reaches that one as
/// well.
pub(super) fn advertised(bound: SocketAddr, known: impl Iterator<Item = SocketAddr>) -> SocketAddr {
    if !bound.ip().is_unspecified() {
        return bound;
    }
    let known: Vec<SocketAddr> = known.collect();
    let first = bound.is_ipv4() || known.iter().any(SocketAddr::is_ipv4);
    let families = if is_dual(bound) { vec![first, !first] } else { vec![first] };
    let found = families.iter().find_map(|&v4| {
        // A peer that is known on this machine alone can be told any address of it, and others may come from outside.
        let known = known.iter().copied().filter(|at| at.is_ipv4() == v4 && !at.ip().is_loopback());
        known.chain([elsewhere(v4).into()]).find_map(way_to).or_else(|| of_interfaces(v4).map(|ip| (ip, 0).into()))
    });
    at_port(found.unwrap_or_else(|| (loopback(first), 0).into()), bound.port())
}

/// Where others reach by now a socket bound at `bound` that was `told` of once: the machine may have moved since, or
/// had no network then.
pub(super) fn by_now(bound: SocketAddr, told: SocketAddr, known: &[SocketAddr]) -> SocketAddr {
    // The way to an address that is ours leaves from it; to one that is ours no longer, from what we have instead.
    let now = advertised(bound, known.iter().copied().chain([told]));
    if now.ip().is_loopback() { told } else { now }
}

/// The one address that a socket bound at `bound` is reached at; none if at all of this machine's.
pub(super) fn only(bound: SocketAddr) -> Option<IpAddr> {
    (!bound.ip().is_unspecified()).then(|| bound.ip())
}

/// Has a connection to `to` leave from our address `from`, if there is one; else the system chooses.
///
/// A peer that asked one address of ours takes no answer from another; an address that is ours no longer is of no use.
fn leave_from(socket: SockRef<'_>, from: Option<IpAddr>, to: SocketAddr) {
    if let Some(from) = from.filter(|from| from.is_ipv4() == to.is_ipv4())
        && let Err(error) = socket.bind(&on_the_link_of(to, from).into())
    {
        log::debug!("{from} is not ours any longer: {error}");
    }
}

/// Our address `ip`: if it is one of a link alone, on that which leads to `to`.
fn on_the_link_of(to: SocketAddr, ip: IpAddr) -> SocketAddr {
    match (ip, to) {
        (IpAddr::V6(ip), SocketAddr::V6(to)) => SocketAddrV6::new(ip, 0, 0, to.scope_id()).into(),
        _ => SocketAddr::new(ip, 0),
    }
}

fn loopback(v4: bool) -> IpAddr {
    if v4 { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() }
}

/// An address of no machine, kept for documentation (RFC 5737, RFC 3849): the way there is the way to the whole world.
fn elsewhere(v4: bool) -> (IpAddr, u16) {
    let ip =
        if v4 { Ipv4Addr::new(192, 0, 2, 1).into() } else { Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into() };
    (ip, 0)
}

/// The address of ours that datagrams to `there` leave from. Nothing is sent: the system only looks up the way. To who
/// is reached over one link alone an address of that link tells enough.
fn way_to(there: SocketAddr) -> Option<SocketAddr> {
    let any: IpAddr = if there.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
    socket.connect(at_port(there, 9)).ok()?;
    let linked = matches!(there, SocketAddr::V6(there) if there.scope_id() != 0);
    socket.local_addr().ok().filter(|addr| tells_where(&addr.ip()) || linked && !addr.ip().is_loopback())
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
    fn an_address_that_many_have_is_refused_and_nobody_listens_there() {
        for many in ["224.0.0.1:0", "255.255.255.255:0", "[ff02::1]:0"] {
            let refused = bind(many.parse().unwrap());
            assert!(matches!(&refused, Err(StartError::Bind { error, .. }) if error.to_string().contains("many")));
        }
    }

    #[test]
    fn a_connection_leaves_from_the_address_it_shall_and_from_any_where_that_is_not_ours() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        for (from, expected) in [("127.0.0.2", "127.0.0.2"), ("203.0.113.1", "127.0.0.1"), ("::1", "127.0.0.1")] {
            let socket = outgoing(to, Some(from.parse().unwrap()), false).unwrap();
            socket.connect(&to.into()).unwrap();
            assert_eq!(listener.accept().unwrap().1.ip().to_string(), expected);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn whatever_is_sent_may_be_cut_on_its_way_so_that_no_path_is_too_narrow_for_it() {
        use rustix::net::sockopt::ip_mtu_discover;
        for any in ["127.0.0.1:0", "0.0.0.0:0", "[::]:0"] {
            let Ok((udp, tcp)) = bind(any.parse().unwrap()) else { continue };
            let here = SocketAddr::from((Ipv4Addr::LOCALHOST, tcp.local_addr().unwrap().port()));
            let leaving = outgoing(here, None, false).unwrap();
            leaving.connect(&here.into()).unwrap();
            let (accepted, _) = tcp.accept().unwrap();
            let told =
                [ip_mtu_discover(&udp), ip_mtu_discover(&tcp), ip_mtu_discover(leaving), ip_mtu_discover(accepted)];
            assert!(told.iter().all(|told| matches!(told, Ok(Ipv4PathMtuDiscovery::DONT))), "{any}: {told:?}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_segments_of_a_narrow_connection_pass_any_path_both_ways() {
        use nix::sys::socket::getsockopt;
        for (at, most) in [("127.0.0.1:0", 536), ("[::1]:0", 1220)] {
            let Ok(listener) = TcpListener::bind(at) else { continue };
            let to = listener.local_addr().unwrap();
            let leaving = outgoing(to, None, true).unwrap();
            leaving.connect(&to.into()).unwrap();
            let (accepted, _) = listener.accept().unwrap();
            let (ours, theirs) = (getsockopt(&leaving, sockopt::TcpMaxSeg), getsockopt(&accepted, sockopt::TcpMaxSeg));
            assert!(ours.unwrap() <= most && theirs.unwrap() <= most, "{at}: {ours:?} {theirs:?}");
        }
    }

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
    fn a_socket_of_both_families_is_told_of_by_an_address_of_the_peers_known() {
        let any: SocketAddr = "[::]:7000".parse().unwrap();
        let known = ["[::1]:7001", "127.0.0.1:7001"].map(|known| known.parse().unwrap());
        let told = advertised(any, known.into_iter());
        let lone = way_to(elsewhere(true).into()).is_none() && of_interfaces(true).is_none();
        assert!(told.is_ipv4() || lone, "{told}");
    }

    #[test]
    fn addresses_of_the_older_family_are_wrapped_and_unwrapped() {
        for (plain, wrapped) in [("10.0.0.1:7", "[::ffff:10.0.0.1]:7"), ("[2001:db8::1]:7", "[2001:db8::1]:7")] {
            let (plain, wrapped): (SocketAddr, SocketAddr) = (plain.parse().unwrap(), wrapped.parse().unwrap());
            assert_eq!((mapped(plain), canonical(wrapped), canonical(plain)), (wrapped, plain, plain));
        }
    }

    #[test]
    fn a_socket_on_all_addresses_is_reached_by_both_families() {
        let Ok((udp, tcp)) = bind("[::]:0".parse().unwrap()) else {
            return assert!(every_address().is_ipv4(), "a system without the newer family has all of the older");
        };
        assert_eq!(every_address(), "[::]:0".parse().unwrap());
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, udp.local_addr().unwrap().port()));
        std::net::TcpStream::connect(here).unwrap();
        assert_eq!(canonical(tcp.accept().unwrap().1).ip(), here.ip());
        let asking = UdpSocket::bind("127.0.0.1:0").unwrap();
        asking.send_to(b"hello", here).unwrap();
        let (_, from) = udp.recv_from(&mut [0; 8]).unwrap();
        assert_eq!(canonical(from), asking.local_addr().unwrap());
    }

    #[test]
    fn a_machine_that_moved_is_told_of_by_the_address_that_it_has_now() {
        let bound = "0.0.0.0:7000".parse().unwrap();
        let now = advertised(bound, std::iter::empty());
        assert_eq!(by_now(bound, now, &[]), now);
        for before in ["203.0.113.7:7000", "127.0.0.1:7000"].map(|before| before.parse().unwrap()) {
            assert_eq!(by_now(bound, before, &[]), if now.ip().is_loopback() { before } else { now });
        }
    }

    #[test]
    fn an_address_of_one_link_keeps_its_link_in_all_that_is_made_of_it() {
        let addr: SocketAddr = "[fe80::3%1]:0".parse().unwrap();
        assert_eq!(at_port(addr, 7).to_string(), "[fe80::3%1]:7");
        assert_eq!((reachable(addr), canonical(addr), mapped(addr)), (addr, addr, addr));
        assert_eq!(advertised(addr, std::iter::empty()), addr);
        assert_eq!(on_the_link_of("[fe80::4%5]:7".parse().unwrap(), addr.ip()).to_string(), "[fe80::3%5]:0");
    }

    #[test]
    fn a_socket_on_one_address_is_told_of_as_that() {
        let bound = "127.0.0.1:7000".parse().unwrap();
        assert_eq!(advertised(bound, std::iter::once("192.0.2.1:7000".parse().unwrap())), bound);
    }
}
