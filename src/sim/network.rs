//! The virtual network: how long a message takes, and whether it comes at all.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

use super::bursts::LossBursts;
use crate::config::{BRIEF_QUESTION_BYTES_IPV4, QUESTION_BYTES, QUESTION_BYTES_IPV4};
use crate::wire::{Body, Message, Request, Response, Sender};

/// Port of every simulated peer; the address tells them apart.
const PORT: u16 = 7000;
/// The first peer's address, 10.0.0.0; the others follow.
const FIRST_ADDRESS: u32 = 0x0a00_0000;
/// Peers that the address range has room for.
pub const MAX_PEERS: usize = 1 << 22;

/// How the network treats datagrams. Chances are between 0 and 1.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Weather {
    /// Round trip between any two peers, at the least.
    pub rtt: Duration,
    /// Each message takes up to this much longer; messages then overtake one another.
    pub jitter: Duration,
    /// Chance that a datagram is lost.
    pub loss: f64,
    /// Chance that a datagram comes twice.
    pub duplicate: f64,
    /// Chance that a datagram takes up to four round trips more, and comes after those sent later.
    pub reorder: f64,
    /// Losses that come in bursts, besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bursts: Option<LossBursts>,
    /// Share of all pairs of peers between which datagrams pass one way only. Connections stand.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub one_way: f64,
}

fn is_zero(share: &f64) -> bool {
    *share == 0.0
}

impl Weather {
    /// A still network: nothing is lost, every round trip takes `rtt`.
    pub const fn still(rtt: Duration) -> Self {
        Self { rtt, jitter: Duration::ZERO, loss: 0.0, duplicate: 0.0, reorder: 0.0, bursts: None, one_way: 0.0 }
    }

    /// The delay of one way, without loss or reordering.
    pub(super) fn delay(&self, rng: &mut StdRng) -> Duration {
        self.rtt / 2 + spread(self.jitter, rng)
    }

    /// The delays after which the copies of one datagram arrive; no copy if it is lost. `in_burst` tells whether its
    /// sender's way out is in a burst of losses.
    pub(super) fn datagram(&self, in_burst: &mut bool, rng: &mut StdRng) -> [Option<Duration>; 2] {
        let swallowed = self.bursts.is_some_and(|bursts| bursts.loses(in_burst, rng));
        let lost = swallowed || chance(self.loss, rng);
        let copies = if lost { 0 } else { 1 + usize::from(chance(self.duplicate, rng)) };
        let mut delays = [None; 2];
        for delay in &mut delays[..copies] {
            let late = if chance(self.reorder, rng) { spread(self.rtt * 4, rng) } else { Duration::ZERO };
            *delay = Some(self.delay(rng) + late);
        }
        delays
    }

    /// Whether no datagram passes from one peer to another, in the world of this seed.
    pub(super) fn is_closed(&self, seed: u64, from: usize, to: usize) -> bool {
        if self.one_way <= 0.0 {
            return false;
        }
        let pair = (from.min(to) as u64) << 32 | from.max(to) as u64;
        let mut lots = StdRng::seed_from_u64(seed ^ pair.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        lots.random_bool(self.one_way.min(1.0)) && lots.random_bool(0.5) == (from < to)
    }
}

impl Default for Weather {
    /// A home network: 20 ms there and back, 5 ms more or less, nothing lost.
    fn default() -> Self {
        Self { jitter: Duration::from_millis(5), ..Self::still(Duration::from_millis(20)) }
    }
}

/// True with the chance `p`. No number is drawn where there is no doubt, so that turning a misfortune off costs
/// nothing.
pub(super) fn chance(p: f64, rng: &mut StdRng) -> bool {
    p > 0.0 && rng.random_bool(p.min(1.0))
}

/// A random time from zero to `most`, uniform in microseconds.
pub(super) fn spread(most: Duration, rng: &mut impl Rng) -> Duration {
    let most = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
    if most == 0 { Duration::ZERO } else { Duration::from_micros(rng.random_range(0..=most)) }
}

/// The address of the peer in slot `index`.
pub fn address(index: usize) -> SocketAddr {
    let index = u32::try_from(index).unwrap_or(u32::MAX);
    SocketAddr::new(IpAddr::V4(Ipv4Addr::from_bits(FIRST_ADDRESS + index)), PORT)
}

/// The slot behind an address.
pub fn slot(addr: SocketAddr) -> Option<usize> {
    match addr.ip() {
        IpAddr::V4(ip) => ip.to_bits().checked_sub(FIRST_ADDRESS).map(|index| index as usize),
        IpAddr::V6(_) => None,
    }
}

/// About how many bytes the message has on the wire (the JSON of a node has about 120, an envelope about 60).
pub(super) fn wire_size(message: &Message) -> u32 {
    const ENVELOPE: u32 = 60;
    const NODE: u32 = 120;
    const WORD: u32 = 85;
    const ID: u32 = 66;
    const ASKS: u32 = 24;
    let sender = if message.sender.is_some() { NODE } else { 0 };
    let body = match &message.body {
        Body::Request(Request::Ping) => 0,
        Body::Request(Request::FindNode { .. } | Request::FindValue { .. }) => match message.sender {
            Some(Sender { recalls: true, .. }) => return BRIEF_QUESTION_BYTES_IPV4 as u32,
            Some(_) => return QUESTION_BYTES_IPV4 as u32,
            None => ID + 10,
        },
        Body::Request(Request::Verify { .. } | Request::Terms { .. }) => return QUESTION_BYTES as u32,
        Body::Request(_) => ID + 10,
        Body::Response(Response::Nodes(peers)) => NODE * peers.len() as u32,
        Body::Response(Response::Named(peers)) => WORD * peers.len() as u32,
        Body::Response(Response::Saved | Response::Here) => 10,
        Body::Response(_) => NODE,
        Body::Error(reason) => reason.len() as u32,
    };
    ENVELOPE + sender + body + message.asks.map_or(0, |_| ASKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_and_its_address_name_one_another() {
        for index in [0, 1, 255, 256, 99_999, MAX_PEERS - 1] {
            assert_eq!(slot(address(index)), Some(index));
        }
    }

    #[test]
    fn misfortune_strikes_as_often_as_it_is_told_to() {
        let mut rng = StdRng::seed_from_u64(1);
        let weather = Weather { loss: 0.2, duplicate: 0.1, reorder: 0.3, ..Weather::still(Duration::from_millis(10)) };
        let (mut lost, mut twice, mut late) = (0, 0, 0);
        for _ in 0..10_000 {
            match weather.datagram(&mut false, &mut rng) {
                [None, _] => lost += 1,
                [Some(first), second] => {
                    twice += usize::from(second.is_some());
                    late += usize::from(first > Duration::from_millis(5));
                }
            }
        }
        assert!((1_850..2_150).contains(&lost), "{lost}");
        assert!((700..900).contains(&twice), "{twice}");
        assert!((2_200..2_600).contains(&late), "{late}");
    }

    #[test]
    fn of_the_pairs_that_are_hit_each_is_closed_one_way_and_open_the_other() {
        let weather = Weather { one_way: 0.3, ..Weather::default() };
        let mut hit = 0;
        for (from, to) in (0..100).flat_map(|from| (0..from).map(move |to| (from, to))) {
            let closed = [weather.is_closed(7, from, to), weather.is_closed(7, to, from)];
            assert_ne!(closed, [true, true], "{from} {to}");
            assert_eq!(closed[0], weather.is_closed(7, from, to), "it stays so");
            hit += usize::from(closed != [false, false]);
        }
        assert!((1_350..1_620).contains(&hit), "{hit} of 4950");
        assert!(!Weather::default().is_closed(7, 1, 2));
    }

    #[test]
    fn a_still_network_draws_no_lots() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut untouched = StdRng::seed_from_u64(1);
        let weather = Weather::still(Duration::from_millis(10));
        assert_eq!(weather.datagram(&mut false, &mut rng), [Some(Duration::from_millis(5)), None]);
        assert_eq!(rng.random::<u64>(), untouched.random::<u64>());
    }
}
