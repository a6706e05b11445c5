//! How long a lookup takes in an idle network of 64 peer processes, in round trips of a bare two-thread server.
//!
//! The bare server has the shape that every peer has: one thread receives, a channel, another thread answers. The
//! asking peer shares a core with this benchmark, all others share the second; so do the bare client and server.
//!
//! And how that grows with the contacts that the asking peer knows.

#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]

#[allow(dead_code, reason = "each benchmark uses its own part of it")]
mod common;

use std::error::Error;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::Instant;

use common::contacts::Contacts;
use common::load::Generator;
use common::measure::{Bound, Samples, Unit, samples, title, verdict};
use common::process::{Bare, PeerProcess, announce, pin, role};
use common::{ANSWERING_CORE, ASKING_CORE, GROWTH, knob, rounds};
use kadring::id::Id;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::Value;

/// Lookups and round trips of one measurement round.
const LOOKUPS: usize = 100;
const ROUND_TRIPS: usize = 1_000;

fn main() -> Result<(), Box<dyn Error>> {
    if role().is_some() {
        return Ok(two_threads()?);
    }
    pin(ANSWERING_CORE);
    let server = Bare::serve("two-threads")?;
    let mut bare = Generator::new(server.addr)?;
    among_processes(knob("PEERS", 64), &mut bare)?;
    for count in GROWTH {
        with_contacts(count, &mut bare)?;
    }
    Ok(())
}

fn among_processes(peers: usize, bare: &mut Generator) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    pin(ANSWERING_CORE);
    let mut others: Vec<PeerProcess> = Vec::new();
    for number in 1..peers {
        let bootstrap = others.first().map(|peer| peer.addr);
        others.push(PeerProcess::start(&folder.path().join(number.to_string()), bootstrap, &[])?);
    }
    pin(ASKING_CORE);
    let bootstrap = others.first().map(|peer| peer.addr);
    let mut asking = PeerProcess::start(&folder.path().join("asking"), bootstrap, &[])?;
    let times = Times::measure(&mut asking, bare)?;

    title(format_args!("Looking up random keys among {peers} peer processes"));
    times.show();
    let Times { round_trips, lookups, .. } = times;
    verdict("median lookup / bare round trip", lookups.median() / round_trips.median(), Bound::AtMost(3.0));
    verdict("99th percentile / median lookup", lookups.quantile(0.99) / lookups.median(), Bound::AtMost(5.0));
    Ok(())
}

/// The asking peer knows so many contacts; those that it asks know nobody nearer. So what grows is its own work.
fn with_contacts(count: usize, bare: &mut Generator) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    pin(ASKING_CORE);
    let mut asking = PeerProcess::start(&folder.path().join("asking"), None, &[])?;
    pin(ANSWERING_CORE);
    let contacts = Contacts::start(&asking.id, count)?;
    pin(ASKING_CORE);
    let known = contacts.get_known(&mut asking)?;
    let times = Times::measure(&mut asking, bare)?;
    title(format_args!("Looking up random keys with {known} contacts that know nobody nearer"));
    times.show();
    Ok(())
}

/// Microseconds, in several rounds of both sides in turn.
#[derive(Default)]
struct Times {
    round_trips: Samples,
    /// As the peer tells.
    lookups: Samples,
    /// From typing the command to reading the answer.
    typed: Samples,
}

impl Times {
    fn measure(asking: &mut PeerProcess, bare: &mut Generator) -> io::Result<Self> {
        let mut rng = StdRng::seed_from_u64(3);
        let mut times = Self::default();
        for round in 0..=rounds() {
            let bare_round = (0..ROUND_TRIPS).map(|_| Ok(bare.round_trip()?.as_secs_f64() * 1e6));
            let bare_round = bare_round.collect::<io::Result<Vec<f64>>>()?;
            let our_round = (0..LOOKUPS).map(|_| look_up(asking, &Id::random(&mut rng)));
            let our_round = our_round.collect::<io::Result<Vec<_>>>()?;
            // The first round warms up.
            if round > 0 {
                times.round_trips.extend(bare_round);
                times.lookups.extend(our_round.iter().map(|(took, _)| *took));
                times.typed.extend(our_round.iter().map(|(_, answered)| *answered));
            }
        }
        Ok(times)
    }

    fn show(&self) {
        samples("bare round trip", &self.round_trips, Unit::Micros);
        samples("lookup, as the peer tells", &self.lookups, Unit::Micros);
        samples("lookup, from typing it to reading the answer", &self.typed, Unit::Micros);
    }
}

/// Microseconds that a lookup took by the peer's own account, and until its answer was read here.
fn look_up(peer: &mut PeerProcess, key: &Id) -> io::Result<(f64, f64)> {
    let start = Instant::now();
    let answer = peer.ask(&format!("lookup {key}"))?;
    let answered = start.elapsed().as_secs_f64() * 1e6;
    let took = micros(&answer["took"]).ok_or_else(|| io::Error::other(answer.to_string()))?;
    Ok((took, answered))
}

/// A time as answers have it, in microseconds.
fn micros(took: &Value) -> Option<f64> {
    Some(took.as_f64()? * 1e3)
}

/// The bare limit: one thread receives, another sends every datagram back.
fn two_threads() -> io::Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    announce(socket.local_addr()?)?;
    let (sender, receiver) = crossbeam_channel::bounded::<(Vec<u8>, SocketAddr)>(1024);
    let receiving = socket.try_clone()?;
    thread::Builder::new().name("receiving".into()).spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((len, from)) = receiving.recv_from(&mut buffer) {
            if sender.send((buffer[..len].to_vec(), from)).is_err() {
                return;
            }
        }
    })?;
    for (datagram, from) in receiver {
        socket.send_to(&datagram, from)?;
    }
    Ok(())
}
