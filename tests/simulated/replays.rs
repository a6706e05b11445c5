//! That a rebuilt core does what it did: recordings of live peers, and the digests of fifty storms.
//!
//! A change that is meant to change an action changes what stands here, and says so: with `KADRING_NEW_DIGESTS=1` this
//! test writes the digests anew; a recording is made by `--record` (see the README).

use std::fs;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use kadring::overlay::OverlayKind;
use kadring::sim::replay::replay;
use kadring::sim::{StormPlan, Trace};

/// The storms whose digests are kept.
const STORMS: [(OverlayKind, &str, u64); 2] = [(OverlayKind::Kademlia, "kad", 30), (OverlayKind::Ring, "ring", 20)];

fn recordings() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings")
}

/// Replays a recording: how many events, and the first thing done otherwise.
#[track_caller]
fn replays(name: &str) {
    let file = fs::File::open(recordings().join(name)).expect("it is committed");
    let replayed = replay(BufReader::new(file)).expect("it is a whole recording");
    assert!(replayed.events > 100 && !replayed.cut, "{} events", replayed.events);
    assert!(replayed.difference.is_none(), "{:#?}", replayed.difference);
}

#[test]
fn a_recorded_kademlia_peer_does_the_same_again() {
    replays("kad.jsonl");
}

#[test]
fn a_recorded_ring_peer_does_the_same_again() {
    replays("ring.jsonl");
}

#[test]
fn a_recorded_classroom_peer_does_the_same_again() {
    replays("classroom.jsonl");
}

/// The line of a storm: its overlay, its seed and the SHA-256 of its trace, if it kept every promise.
fn line((kind, name, seed): (OverlayKind, &str, u64)) -> String {
    // Small ones: what a change changes shows in few peers too.
    let plan = StormPlan { peers: 10, faults: 8, ..StormPlan::random(kind, seed) };
    match plan.run(Trace::digest_only()) {
        Ok(report) => format!("{name} {seed} {}", report.digest.expect("the trace was on")),
        Err(violation) => format!("{name} {seed} {violation}: {plan} --shrink"),
    }
}

#[test]
fn fifty_storms_keep_every_promise_and_are_the_same_to_the_byte() {
    let storms: Vec<_> =
        STORMS.into_iter().flat_map(|(kind, name, seeds)| (0..seeds).map(move |seed| (kind, name, seed))).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let storm = || storms.get(next.fetch_add(1, Ordering::Relaxed));
        std::iter::from_fn(|| storm().map(|storm| (*storm, line(*storm)))).collect::<Vec<_>>()
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut lines: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("no storm panics")).collect()
    });
    lines.sort_by_key(|((_, name, seed), _)| (*name, *seed));
    let text: String = lines.into_iter().map(|(_, line)| line + "\n").collect();
    let kept = recordings().join("storms.txt");
    if std::env::var_os("KADRING_NEW_DIGESTS").is_some() {
        fs::write(&kept, &text).expect("the source is writable");
    }
    let before = fs::read_to_string(&kept).expect("it is committed");
    let differs = text.lines().zip(before.lines()).find(|(now, before)| now != before);
    assert!(differs.is_none() && text.lines().count() == before.lines().count(), "now and before: {differs:#?}");
}
