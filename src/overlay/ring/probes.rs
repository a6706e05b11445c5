//! How many peers that were only spoken of are pinged at a time, and whose turn it is where many are.

use crate::source::{Subnet, count, who_gives_way};

/// Peers that are pinged at a time because other peers spoke of them, or they for themselves.
const MAX_PROBES: usize = 16;

/// The same while some source takes more of those places than its share: a flood from one host keeps no newcomer out
/// that comes from another.
const MAX_PROBES_SHARED: usize = 2 * MAX_PROBES;

/// Whether one more peer from `source` may be probed, while those from the sources `out` are.
pub(super) fn has_room(source: Subnet, out: impl Iterator<Item = Subnet>) -> bool {
    let shares = count(out);
    let all: usize = shares.values().sum();
    let gives_way = || who_gives_way(source, shares.iter().map(|(other, count)| (*other, *count)));
    all < MAX_PROBES || all < MAX_PROBES_SHARED && gives_way().is_some()
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn source(host: u8) -> Subnet {
        Subnet::of(SocketAddr::from(([10, 0, 0, host], 1)))
    }

    /// Fills the places as long as there is one for the host.
    fn flood(out: &mut Vec<Subnet>, host: u8) -> usize {
        let before = out.len();
        while has_room(source(host), out.iter().copied()) {
            out.push(source(host));
        }
        out.len() - before
    }

    #[test]
    fn one_host_may_take_all_places_and_keeps_none_out_that_come_from_another() {
        let mut out = Vec::new();
        assert_eq!(flood(&mut out, 1), MAX_PROBES);
        assert!(has_room(source(2), out.iter().copied()), "a newcomer on another host");
        assert_eq!(flood(&mut out, 2), MAX_PROBES - 1, "never more than the first one has");
        assert!(has_room(source(3), out.iter().copied()), "and on a third one");
    }

    #[test]
    fn as_many_hosts_as_there_are_places_get_one_each_and_no_more() {
        let mut out: Vec<Subnet> = (0..MAX_PROBES as u8).map(source).collect();
        assert_eq!(flood(&mut out, 200), 0);
    }

    #[test]
    fn however_many_hosts_come_the_number_of_pings_is_bounded() {
        let mut out = Vec::new();
        for host in 0..100 {
            flood(&mut out, host);
        }
        assert!(out.len() <= MAX_PROBES_SHARED);
    }
}
