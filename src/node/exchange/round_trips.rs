//! How long the answers of each address take.
//!
//! A round trip is measured where one datagram was sent (Karn's rule). Where several were, the first answer may be one
//! to any of them; but each that arrives is answered, so if another answer follows, the first one answered an earlier
//! datagram, and the round trip is taken from the first of all. Where the others were lost, nothing follows, and their
//! loss is not taken for a longer way.

use std::net::SocketAddr;
use std::time::Duration;

use crate::config::{MAX_TIMEOUT, MIN_TIMEOUT, RTT_MEMORY};
use crate::recent::Recent;
use crate::time::Time;

/// Answers that are remembered because it is unclear which datagram they answered.
const UNCLEAR: usize = 256;

/// Round trips of an address that are remembered.
const ROUND_TRIPS_KEPT: usize = 5;

/// The latest round trips of an address, in microseconds. Their median stands for them, and not a mean: a datagram that
/// was late once would have all that follow wait for it.
#[derive(Clone, Copy, Default, Debug)]
struct RoundTrip {
    /// The latest is written over the oldest.
    latest: [u32; ROUND_TRIPS_KEPT],
    measured: usize,
}

impl RoundTrip {
    fn measure(&mut self, rtt: Duration) {
        self.latest[self.measured % ROUND_TRIPS_KEPT] = u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX);
        self.measured += 1;
    }

    /// The median round trip.
    fn usual(&self) -> Option<Duration> {
        self.median().map(micros)
    }

    /// The median round trip plus three median deviations, each a 32nd of it at least. RFC 6298, section 2, has a mean
    /// plus four mean deviations, and thrice the first measurement, where this has twice that: a repeat costs it more
    /// than one datagram.
    fn timeout(&self) -> Option<Duration> {
        let usual = self.median()?;
        let deviation = match self.measured {
            1 => usual / 3,
            _ => Self { latest: self.latest.map(|trip| trip.abs_diff(usual)), ..*self }.median()?.max(usual / 32),
        };
        Some((micros(usual) + 3 * micros(deviation)).clamp(MIN_TIMEOUT, MAX_TIMEOUT))
    }

    /// The one in the middle; of the two there, the smaller one.
    fn median(mut self) -> Option<u32> {
        let measured = &mut self.latest[..self.measured.min(ROUND_TRIPS_KEPT)];
        measured.sort_unstable();
        measured.get(measured.len().checked_sub(1)? / 2).copied()
    }
}

fn micros(micros: u32) -> Duration {
    Duration::from_micros(micros.into())
}

/// An answer of which it is unclear which datagram it answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unclear {
    pub(super) from: SocketAddr,
    /// From the first datagram to the answer.
    pub(super) took: Duration,
    pub(super) came: Time,
    /// What lay between the last datagrams.
    pub(super) gap: Duration,
}

/// The round trips to the addresses that answered last.
#[derive(Default)]
pub(super) struct RoundTrips {
    trips: Recent<SocketAddr, RoundTrip, RTT_MEMORY>,
    /// By the magic of the request.
    unclear: Recent<u64, Unclear, UNCLEAR>,
}

impl RoundTrips {
    /// How long an answer from `addr` takes at most, as a rule.
    pub(super) fn timeout(&self, addr: &SocketAddr) -> Option<Duration> {
        self.trips.get(addr).and_then(RoundTrip::timeout)
    }

    /// The usual round trip to `addr`.
    pub(super) fn usual(&self, addr: &SocketAddr) -> Option<Duration> {
        self.trips.get(addr)?.usual()
    }

    /// An answer from `addr` took this long.
    pub(super) fn measure(&mut self, addr: SocketAddr, rtt: Duration) {
        let mut trip = self.trips.get(&addr).copied().unwrap_or_default();
        trip.measure(rtt);
        self.trips.insert(addr, trip);
    }

    /// The request `magic` went out several times, and this is its first answer.
    pub(super) fn on_unclear(&mut self, magic: u64, answer: Unclear) {
        self.unclear.insert(magic, answer);
    }

    /// Another answer came to a request that was answered before. If it is one to another datagram, and no copy that
    /// the network made, then the first answer came from an earlier one: it took this long.
    pub(super) fn on_another(&mut self, now: Time, magic: u64, from: SocketAddr) -> Option<Duration> {
        let &Unclear { took, came, gap, .. } = self.unclear.get(&magic).filter(|unclear| unclear.from == from)?;
        if now.since(came) < gap / 2 {
            return None;
        }
        self.unclear.remove(&magic);
        Some(took)
    }
}
