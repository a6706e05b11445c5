//! How many `find_node` requests a live peer answers in a second, against a bare UDP echo under the same load.
//!
//! 64 requests are outstanding at any time. The asking side has one core, the answering side another; the peer's
//! threads share theirs. The echo reads and sends by the batch, as the peer may.

#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]

#[allow(dead_code, reason = "each benchmark uses its own part of it")]
mod common;

use std::error::Error;
use std::io;
use std::net::UdpSocket;
use std::thread;
use std::time::{Duration, Instant};

use common::batch::Batch;
use common::contacts::Contacts;
use common::load::Generator;
use common::measure::{Bound, Samples, Unit, figure, samples, title, verdict};
use common::process::{Bare, PeerProcess, announce, pin, role};
use common::{ANSWERING_CORE, ASKING_CORE, round_time, rounds};
use kadring::config::WIDTH;

/// Contacts known to the peer; the targets hold for the second of these.
const CONTACTS: [usize; 3] = [100, 1_000, 10_000];

/// How long a peer has to come to know its contacts, and how long without a new one is taken for all.
const GETTING_KNOWN: Duration = Duration::from_secs(120);
const NO_NEWS: Duration = Duration::from_secs(5);

fn main() -> Result<(), Box<dyn Error>> {
    if role().is_some() {
        return Ok(echo()?);
    }
    let echo = on_answering_core(|| Bare::serve("echo"))?;
    for count in CONTACTS {
        measure(count, &echo)?;
    }
    Ok(())
}

/// The bare limit: sends every datagram back.
fn echo() -> io::Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    announce(socket.local_addr()?)?;
    let mut batch = Batch::new();
    loop {
        batch.receive(&socket)?;
        batch.reply(&socket)?;
    }
}

fn measure(count: usize, echo: &Bare) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let mut peer = on_answering_core(|| PeerProcess::start(&folder.path().join("peer"), None, &[]))?;
    let memory = peer.usage()?.memory;
    let contacts = Contacts::start(&peer.id, count)?;
    let known = get_known(&mut peer, &contacts, count)?;
    title(format_args!("Answering find_node, 64 outstanding, {count} contacts, of which the table keeps {known}"));
    figure(
        "memory per contact known",
        format_args!("{:.0} bytes", (peer.usage()?.memory - memory) / known.max(1) as f64),
    );

    let (mut to_echo, mut to_peer) = (Generator::new(echo.addr)?, Generator::new(peer.addr)?);
    to_peer.become_known(WIDTH.min(known))?;
    let (mut bare, mut ours, mut lost) = (Samples::default(), Samples::default(), 0);
    let (mut bare_cost, mut our_cost) = (Samples::default(), Samples::default());
    to_echo.run(round_time() / 4, || echo.usage())?;
    to_peer.run(round_time() / 4, || peer.usage())?;
    for _ in 0..rounds() {
        let answered = to_echo.run(round_time(), || echo.usage())?;
        bare.push(answered.per_second);
        bare_cost.push(answered.cost);
        let answered = to_peer.run(round_time(), || peer.usage())?;
        ours.push(answered.per_second);
        our_cost.push(answered.cost);
        lost += answered.lost;
    }
    samples("bare echo", &bare, Unit::PerSecond);
    samples("kadring", &ours, Unit::PerSecond);
    samples("bare echo, processor time an answer", &bare_cost, Unit::Micros);
    samples("kadring, processor time an answer", &our_cost, Unit::Micros);
    figure("requests of ours lost", lost);
    verdict("ratio", ours.median() / bare.median(), Bound::AtLeast(0.45));
    Ok(())
}

/// Introduces the contacts until the peer's table takes no more of them; how many it keeps.
fn get_known(peer: &mut PeerProcess, contacts: &Contacts, count: usize) -> io::Result<usize> {
    let start = Instant::now();
    let (mut known, mut news) = (0, start);
    while known < count && start.elapsed() < GETTING_KNOWN && news.elapsed() < NO_NEWS {
        contacts.introduce(peer.addr)?;
        thread::sleep(Duration::from_millis(500));
        let now = peer.ask("status")?["peers"].as_u64().unwrap_or(0) as usize;
        if now > known {
            (known, news) = (now, Instant::now());
        }
    }
    Ok(known)
}

/// Starts a process on the answering core; this one stays on the asking core.
fn on_answering_core<T>(start: impl FnOnce() -> T) -> T {
    pin(ANSWERING_CORE);
    let started = start();
    pin(ASKING_CORE);
    started
}
