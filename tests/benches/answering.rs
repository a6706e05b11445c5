//! How many `find_node` requests a live peer answers in a second, against a bare UDP echo under the same load.
//!
//! 64 requests are outstanding at any time. The asking side has one core, the answering side another; the peer's
//! threads share theirs. The echo reads and sends by the batch, as the peer may. And how many it answers while it
//! records its moments, on that same core: what the recorder cannot follow is lost, and the peer answers on. And how
//! many under a network key, where the asking side seals its questions too and leaves the answers closed.

#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]

#[allow(dead_code, reason = "each benchmark uses its own part of it")]
mod common;

use std::error::Error;
use std::fs;
use std::io;
use std::net::UdpSocket;

use common::batch::Batch;
use common::contacts::Contacts;
use common::load::Generator;
use common::measure::{Bound, Samples, Unit, figure, samples, title, verdict};
use common::process::{Bare, PeerProcess, announce, pin, role};
use common::wrap::Wrap;
use common::{ANSWERING_CORE, ASKING_CORE, GROWTH, round_time, rounds};
use kadring::config::WIDTH;

/// A network key.
const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

fn main() -> Result<(), Box<dyn Error>> {
    if role().is_some() {
        return Ok(echo()?);
    }
    let echo = on_answering_core(|| Bare::serve("echo"))?;
    // The targets hold for the second of these.
    for count in GROWTH {
        measure(count, &echo)?;
    }
    measure_record(GROWTH[0])?;
    measure_key(GROWTH[0])
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
    let known = contacts.get_known(&mut peer)?;
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
    verdict("ratio", ours.median() / bare.median(), Bound::AtLeast(0.6));
    Ok(())
}

fn measure_record(count: usize) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("record");
    let record = ["--record", path.to_str().ok_or("a temporary folder's name is text")?];
    compare(count, "--record", &record, None, Bound::AtLeast(0.80))
}

fn measure_key(count: usize) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("key");
    fs::write(&path, KEY)?;
    let key = ["--network-key-file", path.to_str().ok_or("a temporary folder's name is text")?];
    compare(count, "a network key", &key, Some(KEY), Bound::AtLeast(0.6))
}

/// A peer with these options against one without, each among contacts that know the key, if there is one.
fn compare(count: usize, what: &str, options: &[&str], key: Option<&str>, bound: Bound) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let mut peers = Vec::new();
    for (name, options, key) in [("plain", &[][..], None), ("other", options, key)] {
        let mut peer = on_answering_core(|| PeerProcess::start(&folder.path().join(name), None, options))?;
        let contacts = Contacts::wrapped(&peer.id, count, Wrap::new(key))?;
        let known = contacts.get_known(&mut peer)?;
        let mut generator = Generator::wrapped(peer.addr, Wrap::new(key))?;
        generator.become_known(WIDTH.min(known))?;
        generator.run(round_time() / 4, || peer.usage())?;
        peers.push((peer, contacts, generator, Samples::default(), Samples::default()));
    }
    for _ in 0..rounds() {
        for (peer, _, generator, answers, costs) in &mut peers {
            let answered = generator.run(round_time(), || peer.usage())?;
            answers.push(answered.per_second);
            costs.push(answered.cost);
        }
    }
    title(format_args!("The same with and without {what}, {count} contacts"));
    let [(.., plain, plain_cost), (.., other, other_cost)] = &peers[..] else { return Err("there are two".into()) };
    samples("without", plain, Unit::PerSecond);
    samples("with it", other, Unit::PerSecond);
    samples("without, processor time an answer", plain_cost, Unit::Micros);
    samples("with it, processor time an answer", other_cost, Unit::Micros);
    verdict("ratio", other.median() / plain.median(), bound);
    Ok(())
}

/// Starts a process on the answering core; this one stays on the asking core.
fn on_answering_core<T>(start: impl FnOnce() -> T) -> T {
    pin(ANSWERING_CORE);
    let started = start();
    pin(ASKING_CORE);
    started
}
