//! What a contact remembers, packed: it takes 64 bytes instead of 112, and a spare 48 instead of 64.
//!
//! That is what lets a simulated network of 100,000 peers fit into memory. Each type is made from a plain one and read
//! as it again.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use crate::time::Time;

/// A [`SocketAddr`] in half the room; only an IPv6 address, with its flow and scope, stands on the heap.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Address {
    V4(Ipv4Addr, u16),
    V6(Box<SocketAddrV6>),
}

impl Address {
    /// A number that is the same for equal addresses, and for hardly any others: quicker to sort.
    pub(super) fn mark(&self) -> u64 {
        match self {
            Self::V4(ip, port) => u64::from(ip.to_bits()) << 16 | u64::from(*port),
            Self::V6(addr) => {
                let bits = addr.ip().to_bits();
                (bits >> 64 ^ bits) as u64 ^ u64::from(addr.port()) << 48
            }
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(addr: SocketAddr) -> Self {
        match addr {
            SocketAddr::V4(addr) => Self::V4(*addr.ip(), addr.port()),
            SocketAddr::V6(addr) => Self::V6(Box::new(addr)),
        }
    }
}

impl From<&Address> for SocketAddr {
    fn from(address: &Address) -> Self {
        match address {
            Address::V4(ip, port) => Self::from((*ip, *port)),
            Address::V6(addr) => Self::V6(**addr),
        }
    }
}

impl PartialEq<SocketAddr> for Address {
    fn eq(&self, addr: &SocketAddr) -> bool {
        match (self, addr) {
            (Self::V4(ip, port), SocketAddr::V4(addr)) => port == &addr.port() && ip == addr.ip(),
            (Self::V6(own), SocketAddr::V6(addr)) => **own == *addr,
            _ => false,
        }
    }
}

/// A [`Time`] in tenths of a second, rounded down. Thirteen years of them fit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub(super) struct CompactTime(u32);

impl CompactTime {
    /// How long ago `earlier` was, in whole tenths of a second; zero if it is yet to come.
    pub(super) fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(100) * self.0.saturating_sub(earlier.0)
    }
}

impl From<Time> for CompactTime {
    fn from(time: Time) -> Self {
        Self(u32::try_from(time.as_micros() / 100_000).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_address_comes_back_as_it_was() {
        for addr in ["10.1.2.3:4", "[fe80::1%7]:9", "[::ffff:1.2.3.4]:5"] {
            let addr: SocketAddr = addr.parse().unwrap();
            let kept = Address::from(addr);
            assert!(kept == addr && SocketAddr::from(&kept) == addr);
        }
        assert_eq!(size_of::<Address>(), 16);
    }

    #[test]
    fn times_are_kept_to_a_tenth_of_a_second() {
        let moment = |millis: u64| CompactTime::from(Time::from_micros(millis * 1000));
        assert_eq!(moment(5_499).since(moment(1_399)), Duration::from_millis(4_100));
        assert_eq!(moment(1_000).since(moment(2_000)), Duration::ZERO);
    }
}
