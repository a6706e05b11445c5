//! From where strangers come, as far as they can be told apart, and how they share what is bounded.
//!
//! Two rules hold everywhere. Places that can be taken back are given to any source that comes, and a source that has
//! fewer than another takes its place where none is left ([`who_gives_way`]); where each source has one, the [`Giving`]
//! rule says whose a newcomer takes, for many sources may be one user. Of what is not taken back, no source has more
//! than it leaves to others, or seven times as much of the room for blocks, which is not to lie idle
//! ([`leaves_enough`]). So one source may have all, or a large part, while no other comes, and its flood keeps none
//! out.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Addresses that one user can have at will: an IPv4 address of a local network, a /24 elsewhere, a /64 of IPv6.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Subnet(IpAddr);

impl Subnet {
    pub(crate) fn of(addr: SocketAddr) -> Self {
        match addr.ip().to_canonical() {
            ip @ IpAddr::V4(_) if AddressScope::of(&addr).is_of_a_lab() => Self(ip),
            ip => Self(network(ip)),
        }
    }

    /// The first address of it.
    pub(crate) fn ip(self) -> IpAddr {
        self.0
    }

    /// The /16 or /48 around it, of which one user may have many such sources.
    pub(crate) fn site(self) -> Self {
        Self(match self.0 {
            IpAddr::V4(ip) => (ip & Ipv4Addr::new(255, 255, 0, 0)).into(),
            IpAddr::V6(ip) => (ip & Ipv6Addr::from(!0 << 80)).into(),
        })
    }

    /// The [site](Self::site) of a source of the open internet. A local network is no site: its hosts are many users'.
    pub(crate) fn open_site(self) -> Option<Self> {
        (!AddressScope::of(&(self.0, 0).into()).is_of_a_lab()).then(|| self.site())
    }

    /// The network, a /24 or a /64, of which only so many are let in. None for the addresses of a local network, which
    /// are exempt unless it is `strict`: there many peers run side by side.
    pub(crate) fn network_of(addr: SocketAddr, strict: bool) -> Option<Self> {
        let counts = strict || !AddressScope::of(&addr).is_of_a_lab();
        counts.then(|| Self(network(addr.ip().to_canonical())))
    }
}

/// The /24 or /64 that an address belongs to.
fn network(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => (ip & Ipv4Addr::new(255, 255, 255, 0)).into(),
        IpAddr::V6(ip) => (ip & Ipv6Addr::from(!0 << 64)).into(),
    }
}

/// Which source may lose a place to a newcomer where none is left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Giving {
    /// This source, which has most.
    Source(Subnet),
    /// Any source of this site: each has one place. It is the site that has most of them, or that of the newcomer, if
    /// none has more.
    Site(Subnet),
    /// Any source: each has one place, and nothing tells them apart.
    Any,
    /// No source: the newcomer has as much as any other.
    Nobody,
}

impl Giving {
    /// Which may give way to the newcomer, of sources that have so many places.
    pub(crate) fn way(newcomer: Subnet, having: impl Iterator<Item = (Subnet, usize)> + Clone) -> Self {
        if let Some(most) = who_gives_way(newcomer, having.clone()) {
            return Self::Source(most);
        }
        if having.clone().any(|(source, own)| source == newcomer && own > 0) {
            return Self::Nobody;
        }
        let (site, sites) = (newcomer.site(), count(having.map(|(source, _)| source.site())));
        let own = sites.contains_key(&site).then_some(site);
        who_gives_way(site, sites.iter().map(|(site, count)| (*site, *count))).or(own).map_or(Self::Any, Self::Site)
    }

    /// Whether that is this source.
    pub(crate) fn includes(self, source: Subnet) -> bool {
        match self {
            Self::Source(most) => source == most,
            Self::Site(most) => source.site() == most,
            Self::Any => true,
            Self::Nobody => false,
        }
    }
}

/// Which of these addresses, each of which has a place, may give its place to the `newcomer` where none is left.
pub(crate) fn who_may_give_way(newcomer: SocketAddr, having: &[SocketAddr]) -> Vec<SocketAddr> {
    let counts = count(having.iter().copied().map(Subnet::of));
    let giving = Giving::way(Subnet::of(newcomer), counts.iter().map(|(source, count)| (*source, *count)));
    having.iter().copied().filter(|addr| giving.includes(Subnet::of(*addr))).collect()
}

/// How many each source has.
pub(crate) fn count(sources: impl Iterator<Item = Subnet>) -> BTreeMap<Subnet, usize> {
    let mut counts = BTreeMap::new();
    for source in sources {
        *counts.entry(source).or_default() += 1;
    }
    counts
}

/// Whose place the `newcomer` takes where none is left, of those who have so many: of the one who has most, unless the
/// newcomer would have as many then.
pub(crate) fn who_gives_way<K: Copy + Eq>(newcomer: K, having: impl Iterator<Item = (K, usize)> + Clone) -> Option<K> {
    let own = having.clone().find(|(who, _)| *who == newcomer).map_or(0, |(_, own)| own);
    having.max_by_key(|(_, count)| *count).filter(|(_, most)| *most > own + 1).map(|(who, _)| who)
}

/// Whether one who has so much leaves `others` as much, `more` for himself included.
pub(crate) const fn leaves_enough(has: u64, more: u64, others: u64) -> bool {
    more <= others.saturating_sub(has)
}

/// From where an address can be reached; the later, the more private.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum AddressScope {
    /// From everywhere.
    Everywhere,
    /// From the same site.
    Site,
    /// From the same wire.
    Wire,
    /// From the same machine.
    Machine,
}

impl AddressScope {
    pub(crate) fn of(addr: &SocketAddr) -> Self {
        match addr.ip().to_canonical() {
            ip if ip.is_loopback() => Self::Machine,
            IpAddr::V4(ip) if ip.is_link_local() => Self::Wire,
            IpAddr::V6(ip) if ip.is_unicast_link_local() => Self::Wire,
            IpAddr::V4(ip) if ip.is_private() || is_shared(ip) => Self::Site,
            IpAddr::V6(ip) if ip.is_unique_local() => Self::Site,
            _ => Self::Everywhere,
        }
    }

    /// Whether many peers may well run at such an address: on one machine, or behind one of a local network.
    pub(crate) fn is_of_a_lab(self) -> bool {
        self != Self::Everywhere
    }

    /// Whether a peer at `namer` can know one at `named`. If not, it would have us send to a machine or a network that
    /// it does not reach itself.
    pub(crate) fn may_name(namer: &SocketAddr, named: &SocketAddr) -> bool {
        Self::of(named) <= Self::of(namer)
    }
}

/// Whether it is one of the addresses that a provider, or a private network over others, gives out within itself
/// (100.64.0.0/10, RFC 6598).
fn is_shared(ip: Ipv4Addr) -> bool {
    let [first, second, ..] = ip.octets();
    first == 100 && second & 0xc0 == 64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_networks_are_exempt_unless_it_is_strict() {
        let network = |addr: &str, strict| Subnet::network_of(addr.parse().unwrap(), strict);
        for local in [
            "127.0.0.1:5",
            "10.1.2.3:5",
            "100.64.1.2:5",
            "100.127.255.1:5",
            "192.168.1.9:5",
            "169.254.1.1:5",
            "[::1]:5",
            "[fd00::1]:5",
            "[fe80::1]:5",
        ] {
            assert!(network(local, false).is_none() && network(local, true).is_some(), "{local}");
        }
        assert!(["100.63.1.2:5", "100.128.1.2:5"].iter().all(|addr| network(addr, false).is_some()));
        assert_eq!(network("10.1.2.3:5", true), network("10.1.2.4:5", true));
        assert_eq!(network("1.2.3.4:5", false), network("1.2.3.9:6", false));
        assert!(network("1.2.3.4:5", false) != network("1.2.4.4:5", false));
    }

    #[test]
    fn a_source_is_what_one_user_can_have_at_will() {
        let same = |a: &str, b: &str| Subnet::of(a.parse().unwrap()) == Subnet::of(b.parse().unwrap());
        assert!(same("1.2.3.4:5", "1.2.3.9:6") && !same("1.2.3.4:5", "1.2.4.4:5"));
        assert!(same("10.0.0.1:5", "10.0.0.1:6") && !same("10.0.0.1:5", "10.0.0.2:5"));
        assert!(same("[::ffff:10.0.0.1]:5", "10.0.0.1:6"));
        assert!(same("[2001:db8::1]:5", "[2001:db8::f:1]:5") && !same("[2001:db8::1]:5", "[2001:db8:0:1::1]:5"));
    }

    #[test]
    fn who_has_most_gives_way_to_who_would_have_fewer_still() {
        let having = [('a', 3), ('b', 1), ('c', 4)];
        let gives_way = |newcomer| who_gives_way(newcomer, having.into_iter());
        assert_eq!(['b', 'z', 'a', 'c'].map(gives_way), [Some('c'), Some('c'), None, None]);
        assert_eq!(who_gives_way('z', [('a', 1)].into_iter()), None, "each has one");
        assert!(leaves_enough(2, 3, 5) && !leaves_enough(2, 4, 5) && !leaves_enough(6, 1, 5));
    }

    #[test]
    fn where_each_source_has_one_place_a_newcomer_takes_one_of_the_site_that_has_most_or_any() {
        let source = |text: &str| Subnet::of(text.parse().unwrap());
        let way = |newcomer: Subnet, sources: &[&str]| {
            let counts = count(sources.iter().map(|text| source(text)));
            Giving::way(newcomer, counts.iter().map(|(source, count)| (*source, *count)))
        };
        let newcomer = source("9.9.9.9:5");
        let ones = ["1.2.1.1:5", "1.2.2.1:5", "[2001:db8:1::1]:5"];
        let giving = way(newcomer, &ones);
        assert_eq!(giving, Giving::Site(source("1.2.1.1:5").site()));
        assert_eq!(ones.map(|one| giving.includes(source(one))), [true, true, false]);
        let few = ["1.2.1.1:5", "[2001:db8:1::1]:5", "[2001:db8:2::1]:5"];
        assert_eq!(way(newcomer, &few), Giving::Any);
        assert_eq!(way(source("1.2.1.9:5"), &few), Giving::Nobody, "it has one");
        let own = source("1.2.7.1:5");
        assert_eq!(way(own, &ones), Giving::Site(own.site()), "its site has most itself");
        let two = ["1.2.1.1:5", "1.2.1.2:5", "1.3.2.1:5"];
        assert_eq!(way(newcomer, &two), Giving::Source(source("1.2.1.1:5")));
    }

    #[test]
    fn nobody_names_addresses_that_it_cannot_reach() {
        let addresses = ["1.2.3.4:5", "192.168.1.2:5", "169.254.1.2:5", "127.0.0.1:5"];
        let v6 = ["[2001:db8::1]:5", "[fd00::1]:5", "[fe80::1]:5", "[::1]:5"];
        for (at, namer) in addresses.iter().enumerate() {
            for (other, named) in addresses.iter().zip(v6).enumerate() {
                let may_name = |named: &str| AddressScope::may_name(&namer.parse().unwrap(), &named.parse().unwrap());
                assert_eq!([may_name(named.0), may_name(named.1)], [other <= at; 2], "{namer} names {named:?}");
            }
        }
        assert!(AddressScope::may_name(&"[::ffff:127.0.0.1]:5".parse().unwrap(), &"127.0.0.1:6".parse().unwrap()));
    }
}
