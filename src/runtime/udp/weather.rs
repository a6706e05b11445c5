//! Bad weather for tests: of the datagrams that leave, some are lost, some leave twice, and some after later ones.
//!
//! The environment variable `KADRING_WEATHER` says how many of a hundred, such as `30,10,20`. A build for release has
//! neither the variable nor the weather. The node is not told of what finds no way under it.

use rand::rngs::StdRng;
use rand::{RngExt, make_rng};

use super::LeavingDatagram;

/// What becomes of datagrams.
pub(super) struct DatagramWeather {
    /// Of a hundred, so many are lost, leave twice, leave late.
    percent: [u32; 3],
    /// What leaves after the next ones.
    late: Vec<LeavingDatagram>,
    rng: StdRng,
}

impl DatagramWeather {
    /// The weather that the environment asks for, if it does.
    ///
    /// # Panics
    /// It asks for something else.
    pub(super) fn of_environment() -> Option<Self> {
        let asked = std::env::var("KADRING_WEATHER").ok().filter(|asked| !asked.is_empty())?;
        let percent: Vec<u32> = asked.split(',').filter_map(|number| number.parse().ok()).collect();
        let percent = percent.try_into().expect("KADRING_WEATHER is three numbers");
        Some(Self { percent, late: Vec::new(), rng: make_rng() })
    }

    /// What is to leave now where these would.
    pub(super) fn through(&mut self, leaving: &[LeavingDatagram]) -> Vec<LeavingDatagram> {
        let [lost, doubled, late] = self.percent;
        let (mut now, mut later) = (Vec::new(), Vec::new());
        for datagram in leaving {
            let mut happens = |percent| self.rng.random_range(0..100) < percent;
            if happens(lost) {
                continue;
            }
            let copies = if happens(doubled) { 2 } else { 1 };
            for _ in 0..copies {
                if happens(late) { later.push(datagram.clone()) } else { now.push(datagram.clone()) }
            }
        }
        now.append(&mut self.late);
        self.late = later;
        now
    }
}
