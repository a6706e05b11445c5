//! The faults that can strike a world, and random schedules of them.

use std::fmt;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};

use super::network::{Weather, spread};

/// A fault. One that lasts says how long.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum Fault {
    /// A peer ends without a goodbye.
    Crash {
        /// The peer's slot.
        slot: usize,
        /// Whether its disk is lost too; then it comes back with a new id.
        wipe: bool,
        /// The time until it is started again; none if it stays down.
        back_after: Option<Duration>,
    },
    /// A peer's user types `quit`.
    Leave {
        /// The peer's slot.
        slot: usize,
        /// Whether it hands its blocks over first.
        handover: bool,
    },
    /// A new peer joins.
    Join,
    /// Some peers reach one another, but not the others.
    Partition {
        /// The slots of the peers on the smaller side.
        slots: Vec<usize>,
        /// How long the fault lasts.
        lasts: Duration,
    },
    /// The network turns bad for all peers.
    Storm {
        /// The network's delays and losses meanwhile.
        weather: Weather,
        /// How long the fault lasts.
        lasts: Duration,
    },
    /// A peer's clock stops; when it goes on, all that was sent meanwhile arrives at once.
    Freeze {
        /// The peer's slot.
        slot: usize,
        /// How long the fault lasts.
        lasts: Duration,
    },
    /// A peer's messages and jobs are late.
    Slow {
        /// The peer's slot.
        slot: usize,
        /// How much later than usual.
        lag: Duration,
        /// How long the fault lasts.
        lasts: Duration,
    },
    /// No connection reaches a peer, as behind a firewall that lets datagrams through.
    Shut {
        /// The peer's slot.
        slot: usize,
        /// How long the fault lasts.
        lasts: Duration,
    },
    /// Bits rot on a peer's disk.
    Rot {
        /// The peer's slot.
        slot: usize,
        /// The number of the block, in the order of keys, modulo the number of blocks.
        nth: usize,
    },
}

/// A fault and when it strikes, counted from the end of the calm before.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Strike {
    /// The time at which the fault strikes.
    pub after: Duration,
    /// The fault.
    #[serde(flatten)]
    pub fault: Fault,
}

/// Beside so many random faults one peer is put behind a firewall.
const FIREWALL_BESIDE: usize = 8;

/// A random schedule of `count` faults over `span` for a network of `peers`, in the order in which they strike, and
/// after those the firewalls that come up beside them.
pub fn schedule(rng: &mut StdRng, peers: usize, count: usize, span: Duration) -> Vec<Strike> {
    let mut strikes: Vec<Strike> =
        (0..count).map(|_| Strike { after: spread(span, rng), fault: random_fault(rng, peers) }).collect();
    strikes.sort_by_key(|strike| strike.after);
    strikes.extend((0..count / FIREWALL_BESIDE).map(|_| {
        let (slot, lasts) = (rng.random_range(0..peers), seconds(rng, 5, 60));
        Strike { after: spread(span, rng), fault: Fault::Shut { slot, lasts } }
    }));
    strikes
}

fn seconds(rng: &mut StdRng, from: u64, to: u64) -> Duration {
    Duration::from_millis(rng.random_range(from * 1000..=to * 1000))
}

fn random_fault(rng: &mut StdRng, peers: usize) -> Fault {
    let slot = rng.random_range(0..peers);
    match rng.random_range(0..100) {
        0..28 => {
            let back_after = rng.random_bool(0.7).then(|| seconds(rng, 1, 60));
            Fault::Crash { slot, wipe: rng.random_bool(0.2), back_after }
        }
        28..38 => Fault::Leave { slot, handover: rng.random_bool(0.5) },
        38..50 => Fault::Join,
        50..60 => {
            let share = rng.random_range(0.05..0.5);
            let slots = (0..peers).filter(|_| rng.random_bool(share)).collect();
            Fault::Partition { slots, lasts: seconds(rng, 1, 60) }
        }
        60..72 => Fault::Storm { weather: bad_weather(rng), lasts: seconds(rng, 1, 40) },
        72..82 => Fault::Freeze { slot, lasts: seconds(rng, 1, 30) },
        82..90 => {
            let lag = Duration::from_millis(rng.random_range(10..=800));
            Fault::Slow { slot, lag, lasts: seconds(rng, 5, 60) }
        }
        _ => Fault::Rot { slot, nth: rng.random_range(0..1000) },
    }
}

fn bad_weather(rng: &mut StdRng) -> Weather {
    Weather {
        rtt: Duration::from_millis(rng.random_range(5..=300)),
        jitter: Duration::from_millis(rng.random_range(0..=100)),
        loss: rng.random_range(0.0..0.3),
        duplicate: rng.random_range(0.0..0.2),
        reorder: rng.random_range(0.0..0.2),
        ..Weather::still(Duration::ZERO)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crash { slot, wipe, back_after } => {
                write!(f, "peer {slot} crashes{}", if *wipe { " and loses its disk" } else { "" })?;
                back_after.map_or(Ok(()), |after| write!(f, ", back after {after:.1?}"))
            }
            Self::Leave { slot, handover } => {
                write!(f, "peer {slot} leaves{}", if *handover { " and hands its blocks over" } else { "" })
            }
            Self::Join => f.write_str("a new peer joins"),
            Self::Partition { slots, lasts } => write!(f, "peers {slots:?} are cut off for {lasts:.1?}"),
            Self::Storm { weather, lasts } => write!(
                f,
                "for {lasts:.1?} round trips of {:.0?} to {:.0?}, {:.0} % lost, {:.0} % twice, {:.0} % late",
                weather.rtt,
                weather.rtt + weather.jitter * 2,
                weather.loss * 100.0,
                weather.duplicate * 100.0,
                weather.reorder * 100.0
            ),
            Self::Freeze { slot, lasts } => write!(f, "peer {slot} freezes for {lasts:.1?}"),
            Self::Slow { slot, lag, lasts } => write!(f, "peer {slot} is {lag:.0?} late for {lasts:.1?}"),
            Self::Shut { slot, lasts } => write!(f, "no connection reaches peer {slot} for {lasts:.1?}"),
            Self::Rot { slot, nth } => write!(f, "a block (number {nth}, counted round) rots at peer {slot}"),
        }
    }
}

impl fmt::Display for Strike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>7.1} s  {}", self.after.as_secs_f64(), self.fault)
    }
}
