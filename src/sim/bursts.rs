//! Losses that come in bursts, and the weathers that people know by name.
//!
//! The model is Gilbert's (Bell System Technical Journal 39, 1960), as Elliott made it general (the same, 42, 1963): a
//! way is good or bad, it changes with a chance at each datagram, and what is sent while it is bad is lost. Here it is
//! each peer's own way out, as the link to its access point or tower would be, so that what a peer sends at a time is
//! lost together, to whomever it goes.

use std::time::Duration;

use clap::ValueEnum;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};

use super::network::{Weather, chance};

/// A way on which losses come in bursts: what is sent during a burst is lost.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct LossBursts {
    /// Datagrams from the end of a burst to the next, on average.
    pub apart: f64,
    /// Datagrams in a burst, on average.
    pub length: f64,
}

impl LossBursts {
    /// Share of all datagrams that are lost.
    pub fn loss(&self) -> f64 {
        self.length / (self.apart + self.length)
    }

    /// Whether the next datagram is lost.
    pub(super) fn loses(&self, in_burst: &mut bool, rng: &mut StdRng) -> bool {
        let changes = chance(1.0 / if *in_burst { self.length } else { self.apart }, rng);
        *in_burst ^= changes;
        *in_burst
    }
}

/// A network as people know it. Bursts are as str0m's network simulation has them under these names (algesten/str0m,
/// `netem/src/config.rs`). Delays are ours, such as is usual there: see [`weather`](Self::weather).
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum WeatherName {
    /// A good wireless network: 1 % lost, two at a time; round trips of 20 to 40 ms.
    Wifi,
    /// A bad one: 4.8 % lost, two at a time; round trips of 20 to 60 ms.
    WifiLossy,
    /// A mobile network: 2 % lost, two at a time; round trips of 60 to 120 ms.
    Cellular,
    /// By way of a geostationary satellite: 2.9 % lost, three at a time; round trips of 550 to 610 ms.
    Satellite,
    /// Full queues everywhere: 9.1 % lost, two at a time; round trips of 50 to 250 ms.
    Congested,
}

impl WeatherName {
    /// The network. A round trip takes `rtt` to `rtt` + 2 × `jitter`. A geostationary satellite stands 35,786 km high:
    /// its signal takes 0.48 s there and back at the least.
    pub const fn weather(self) -> Weather {
        let (apart, length, rtt, jitter) = match self {
            Self::Wifi => (200.0, 2.0, 20, 10),
            Self::WifiLossy => (40.0, 2.0, 20, 20),
            Self::Cellular => (100.0, 2.0, 60, 30),
            Self::Satellite => (100.0, 3.0, 550, 30),
            Self::Congested => (20.0, 2.0, 50, 100),
        };
        Weather {
            jitter: Duration::from_millis(jitter),
            bursts: Some(LossBursts { apart, length }),
            ..Weather::still(Duration::from_millis(rtt))
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn losses_are_as_many_and_bursts_as_long_and_as_far_apart_as_each_weather_says() {
        for name in WeatherName::value_variants() {
            let bursts = name.weather().bursts.expect("each of them has bursts");
            let (mut rng, mut in_burst) = (StdRng::seed_from_u64(1), false);
            let (mut lost, mut begun) = (0, 0);
            const SENT: u32 = 1_000_000;
            for _ in 0..SENT {
                let before = in_burst;
                lost += u32::from(bursts.loses(&mut in_burst, &mut rng));
                begun += u32::from(!before && in_burst);
            }
            let near = |measured: f64, told: f64| (measured / told - 1.0).abs() < 0.05;
            let loss = f64::from(lost) / f64::from(SENT);
            let length = f64::from(lost) / f64::from(begun);
            let apart = f64::from(SENT - lost) / f64::from(begun);
            assert!(near(loss, bursts.loss()), "{name:?}: {loss} lost");
            assert!(near(length, bursts.length), "{name:?}: {length} in a burst");
            assert!(near(apart, bursts.apart), "{name:?}: {apart} apart");
        }
    }
}
