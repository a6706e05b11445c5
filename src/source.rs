//! From where strangers come, as far as they can be told apart.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Addresses that one user can have at will: an IPv4 address of a local network, a /24 elsewhere, a /64 of IPv6.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Source(IpAddr);

impl Source {
    pub(crate) fn of(addr: SocketAddr) -> Self {
        Self(match addr.ip().to_canonical() {
            IpAddr::V4(ip) if ip.is_private() || ip.is_loopback() || ip.is_link_local() => ip.into(),
            IpAddr::V4(ip) => (ip & Ipv4Addr::new(255, 255, 255, 0)).into(),
            IpAddr::V6(ip) => (ip & Ipv6Addr::from(!0 << 64)).into(),
        })
    }

    /// The network, a /24 or a /64, of which only so many are let in. None for the addresses of a local network, which are
    /// exempt unless it is `strict`: there many peers run side by side.
    pub(crate) fn network_of(addr: SocketAddr, strict: bool) -> Option<Self> {
        let ip = addr.ip().to_canonical();
        let is_local = ip.is_loopback()
            || match ip {
                IpAddr::V4(ip) => ip.is_private() || ip.is_link_local(),
                IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local(),
            };
        (strict || !is_local).then(|| {
            Self(match ip {
                IpAddr::V4(ip) => (ip & Ipv4Addr::new(255, 255, 255, 0)).into(),
                IpAddr::V6(ip) => (ip & Ipv6Addr::from(!0 << 64)).into(),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_networks_are_exempt_unless_it_is_strict() {
        let network = |addr: &str, strict| Source::network_of(addr.parse().unwrap(), strict);
        for local in
            ["127.0.0.1:5", "10.1.2.3:5", "192.168.1.9:5", "169.254.1.1:5", "[::1]:5", "[fd00::1]:5", "[fe80::1]:5"]
        {
            assert!(network(local, false).is_none() && network(local, true).is_some(), "{local}");
        }
        assert_eq!(network("10.1.2.3:5", true), network("10.1.2.4:5", true));
        assert_eq!(network("1.2.3.4:5", false), network("1.2.3.9:6", false));
        assert!(network("1.2.3.4:5", false) != network("1.2.4.4:5", false));
    }

    #[test]
    fn a_source_is_what_one_user_can_have_at_will() {
        let same = |a: &str, b: &str| Source::of(a.parse().unwrap()) == Source::of(b.parse().unwrap());
        assert!(same("1.2.3.4:5", "1.2.3.9:6") && !same("1.2.3.4:5", "1.2.4.4:5"));
        assert!(same("10.0.0.1:5", "10.0.0.1:6") && !same("10.0.0.1:5", "10.0.0.2:5"));
        assert!(same("[::ffff:10.0.0.1]:5", "10.0.0.1:6"));
        assert!(same("[2001:db8::1]:5", "[2001:db8::f:1]:5") && !same("[2001:db8::1]:5", "[2001:db8:0:1::1]:5"));
    }
}
