//! At which of this machine's addresses each other peer speaks to it.
//!
//! Whoever asks one address waits for an answer from that one: what comes from another is a stranger's, and its way may
//! be closed. A socket bound to one address has no choice. One bound to all of them is told with each datagram where it
//! arrived, and says with each that it sends where it shall leave from. To whom nothing is known, the system chooses.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use nix::libc;
use nix::sys::socket::{ControlMessage, ControlMessageOwned};

/// Addresses of others that are remembered: at least so many, and at most twice as many.
const MEMORY: usize = 4096;

/// Where each other peer spoke to this one last.
#[derive(Default)]
pub(super) struct AskedAt {
    young: HashMap<SocketAddr, IpAddr>,
    /// Those not heard of since `young` was begun.
    old: HashMap<SocketAddr, IpAddr>,
}

impl AskedAt {
    /// Something came from `from` to our address `at`.
    pub(super) fn heard(&mut self, from: SocketAddr, at: IpAddr) {
        if self.young.insert(from, at).is_none() && self.young.len() > MEMORY {
            self.old = std::mem::take(&mut self.young);
        }
    }

    /// Where what goes to `to` shall leave from.
    pub(super) fn source(&self, to: &SocketAddr) -> Option<IpAddr> {
        self.young.get(to).or_else(|| self.old.get(to)).copied()
    }

    /// Nothing can leave from there any longer.
    pub(super) fn forget(&mut self, to: &SocketAddr) {
        self.young.remove(to);
        self.old.remove(to);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_spoke_lately_is_remembered_however_many_others_speak() {
        let addr = |n: usize| SocketAddr::from(([10, 0, (n >> 8) as u8, n as u8], 7000 + (n >> 16) as u16));
        let (here, there): (IpAddr, IpAddr) = ([127, 0, 0, 1].into(), [127, 0, 0, 2].into());
        let mut asked_at = AskedAt::default();
        asked_at.heard(addr(0), here);
        asked_at.heard(addr(0), there);
        assert_eq!((asked_at.source(&addr(0)), asked_at.source(&addr(1))), (Some(there), None));
        for n in 1..200_000 {
            asked_at.heard(addr(n), here);
            assert!(asked_at.young.len() + asked_at.old.len() <= 2 * MEMORY + 2);
            assert_eq!(asked_at.source(&addr(n.saturating_sub(MEMORY / 2).max(1))), Some(here));
        }
        assert_eq!(asked_at.source(&addr(0)), None, "it made room");
        asked_at.forget(&addr(199_999));
        assert_eq!(asked_at.source(&addr(199_999)), None);
    }
}
