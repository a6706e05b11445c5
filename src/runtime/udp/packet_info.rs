//! At which of our addresses a datagram arrived, and from which one it shall leave: what Linux tells and is told.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;

use nix::libc;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, setsockopt, sockopt};

/// Has the system tell with each datagram where it arrived, if a socket that will be bound to `addr` serves several
/// addresses.
pub(in crate::runtime) fn tell_where_asked(socket: &impl AsFd, addr: SocketAddr) -> io::Result<()> {
    match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ok(setsockopt(socket, sockopt::Ipv4PacketInfo, &true)?),
        IpAddr::V6(ip) if ip.is_unspecified() => Ok(setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)?),
        _ => Ok(()),
    }
}

/// Room for what the system tells of where a datagram arrived, or is told.
pub(super) fn room() -> Vec<u8> {
    nix::cmsg_space!(libc::in6_pktinfo)
}

/// The address that a datagram arrived at, from what came with it.
pub(super) fn arrived_at(told: impl Iterator<Item = ControlMessageOwned>) -> Option<IpAddr> {
    let mut at = told.filter_map(|told| match told {
        ControlMessageOwned::Ipv4PacketInfo(info) => Some(IpAddr::from(info.ipi_spec_dst.s_addr.to_ne_bytes())),
        ControlMessageOwned::Ipv6PacketInfo(info) => Some(IpAddr::from(info.ipi6_addr.s6_addr).to_canonical()),
        _ => None,
    });
    // Nothing leaves from an address that is a group's.
    at.next().filter(|ip| !ip.is_multicast() && !ip.is_unspecified())
}

/// What tells the system where a datagram shall leave from.
pub(super) enum LeavesFrom {
    V4(libc::in_pktinfo),
    V6(libc::in6_pktinfo),
}

impl LeavesFrom {
    /// This address, of a socket of the newer family if `v6`.
    pub(super) fn new(ip: IpAddr, v6: bool) -> Self {
        match ip {
            IpAddr::V4(ip) if !v6 => {
                let addr = |s_addr| libc::in_addr { s_addr };
                let (ipi_spec_dst, ipi_addr) = (addr(u32::from_ne_bytes(ip.octets())), addr(0));
                Self::V4(libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst, ipi_addr })
            }
            IpAddr::V4(ip) => Self::of_v6(ip.to_ipv6_mapped()),
            IpAddr::V6(ip) => Self::of_v6(ip),
        }
    }

    fn of_v6(ip: Ipv6Addr) -> Self {
        let ipi6_addr = libc::in6_addr { s6_addr: ip.octets() };
        Self::V6(libc::in6_pktinfo { ipi6_addr, ipi6_ifindex: 0 })
    }

    pub(super) fn message(&self) -> ControlMessage<'_> {
        match self {
            Self::V4(info) => ControlMessage::Ipv4PacketInfo(info),
            Self::V6(info) => ControlMessage::Ipv6PacketInfo(info),
        }
    }
}
