//! What the threads of this process are at, as the command `threads` and SIGQUIT show it.
//!
//! All of it stands in [`gauges`], where the threads write it themselves: no thread is asked, no lock is taken, and no
//! end of a channel is kept. So what is shown is true of a thread that is stuck, too.

use std::fmt::{self, Write};
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Serialize;

use super::channels::{GAUGED, Gauged};
use super::clock::of_process;
use super::{Handle, Role};
use crate::gauges::{self, Activity, GaugePlace, SeenDoing};
use crate::id::Id;
use crate::locks;
use crate::node::job::Job;

/// What threads are at.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct ThreadsSeen {
    /// The threads, the oldest first.
    pub threads: Vec<ThreadSeen>,
    /// The queues between them.
    pub queues: Vec<QueueSeen>,
}

/// What a thread is at.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ThreadSeen {
    /// What it is called.
    pub name: String,
    /// What it waits for, or does.
    pub at: String,
    /// More about it; none for a thread that is not one of a peer's.
    #[serde(flatten)]
    pub gauge: Option<Gauge>,
}

/// How a thread of a peer has fared.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Gauge {
    /// Whether it waits for what its role waits for.
    pub waits: bool,
    /// For how long it has done what it is at.
    #[serde(rename = "for")]
    pub span: Duration,
    /// How often what it waits for came.
    pub handled: u64,
    /// For how long it has run.
    pub age: Duration,
    /// For how long of that it did not wait.
    pub busy: Duration,
    /// For how long a processor worked for it; none where the system does not tell.
    pub processor: Option<Duration>,
    /// The locks that it holds.
    pub holds: Vec<&'static str>,
    /// The lock that it waits for.
    pub wants: Option<WantedLock>,
}

/// A lock that is waited for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct WantedLock {
    /// The lock's name in the table of locks.
    pub lock: &'static str,
    /// What it protects.
    pub protects: &'static str,
    /// The threads that hold a lock of that name.
    pub held_by: Vec<String>,
}

/// A queue, as a thread at one of its ends saw it last.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct QueueSeen {
    /// The queue's name.
    pub name: &'static str,
    /// How many items it held.
    pub length: usize,
    /// How many items it holds at most.
    pub bound: usize,
}

/// The number of threads that are the program's and no peer's.
pub(crate) const PROGRAM: u64 = 0;

/// What threads of the program wait for, which have no role in a peer.
const OTHERS: [(&str, &str); 2] =
    [("main", "the end of the peer, and its notices"), ("log", "lines for standard error, and for its reader")];

/// Bytes that a pipe or a terminal takes at once if it takes anything. A terminal's room counts in steps of 256.
const AT_ONCE: usize = 200;

/// Digits by which a peer is told from others in a log.
const DIGITS: usize = 6;

/// The number by which the gauges know the threads of a peer, the `nth` of this process: its first digits stand in it.
/// The ids of a classroom are small numbers, of which the last digits say more.
pub(super) fn number(id: &Id, nth: u32) -> u64 {
    let bytes = id.as_bytes();
    let digits = if bytes[..29] == [0; 29] { &bytes[29..] } else { &bytes[..DIGITS / 2] };
    digits.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)) << 32 | u64::from(nth)
}

/// The first digits of the peer to which this thread belongs; dashes where it belongs to none.
pub fn own_digits() -> String {
    gauges::own_peer().map_or_else(|| "-".repeat(DIGITS), |number| format!("{:06x}", number >> 32))
}

/// Waits, on a thread that is seen among those of a peer.
pub fn waits<R>(wait: impl FnOnce() -> R) -> R {
    gauges::wait(wait)
}

/// Gives this thread, one of a peer's or the program's, its place among the gauges.
pub(crate) fn enter(peer: u64, name: &str) -> GaugePlace {
    gauges::enter(peer, name, thread_id(), of_process)
}

#[cfg(target_os = "linux")]
fn thread_id() -> u32 {
    nix::unistd::gettid().as_raw().unsigned_abs()
}

#[cfg(not(target_os = "linux"))]
fn thread_id() -> u32 {
    0
}

impl Handle {
    /// What the peer's threads are at.
    pub fn look(&self) -> ThreadsSeen {
        look(|peer| peer == self.roster.number() || peer == PROGRAM)
    }
}

/// What the threads of the peers that are `meant` are at.
pub(super) fn look(meant: impl Fn(u64) -> bool) -> ThreadsSeen {
    let mut seen = gauges::look(of_process());
    seen.retain(|seen| meant(seen.peer));
    seen.sort_by_key(|seen| std::cmp::Reverse(seen.age));
    let queues = Gauged::ALL.into_iter().filter_map(|queue| {
        let (_, length) = seen.iter().filter_map(|seen| seen.queues[queue as usize]).max()?;
        let channel = &GAUGED[queue as usize];
        Some(QueueSeen { name: channel.name, length: usize::from(length), bound: channel.most() })
    });
    ThreadsSeen { queues: queues.collect(), threads: seen.iter().map(|one| of(one, &seen)).collect() }
}

fn of(one: &SeenDoing, all: &[SeenDoing]) -> ThreadSeen {
    let wants = one.wants.and_then(|rank| {
        let (lock, protects) = locks::of_rank(rank)?;
        let holds = |other: &&SeenDoing| other.peer == one.peer && other.holds.contains(&rank);
        let held_by = all.iter().filter(holds).map(|other| other.name.clone()).collect();
        Some(WantedLock { lock, protects, held_by })
    });
    let waits = one.doing == Activity::Waits;
    let other = || OTHERS.iter().find(|(name, _)| *name == one.name).map(|(_, waits_for)| *waits_for);
    let at = match Role::of_thread(&one.name).map(Role::waits_for).or_else(other).filter(|_| waits) {
        Some(waits_for) => format!("waits for {waits_for}"),
        None => one.doing.text().to_owned(),
    };
    let gauge = Gauge {
        waits,
        span: one.span,
        handled: one.handled,
        age: one.age,
        busy: one.busy,
        processor: processor_time(one.thread),
        holds: one.holds.iter().filter_map(|rank| locks::of_rank(*rank)).map(|(name, _)| name).collect(),
        wants,
    };
    ThreadSeen { name: one.name.clone(), at, gauge: Some(gauge) }
}

/// What a worker does that has this job.
pub(super) const fn at(work: &Job) -> Activity {
    match work {
        Job::ReadNext { .. } | Job::Publish { .. } | Job::ReadManifest { .. } => Activity::Reads,
        Job::Keep { .. } => Activity::Keeps,
        Job::Pull { .. } | Job::Fetch { .. } | Job::Unpack { .. } | Job::Lend { .. } | Job::ReadBack { .. } => {
            Activity::Brings
        }
        Job::Dial { .. } => Activity::Connects,
        Job::Resolve => Activity::Resolves,
        Job::Open { .. } | Job::Finish { .. } | Job::Named(_) => Activity::Writes,
        Job::Check { .. } | Job::Verify { .. } | Job::Rehash { .. } | Job::Pack { .. } | Job::Sample { .. } => {
            Activity::Hashes
        }
        Job::Note { .. } | Job::SavePeers { .. } => Activity::Notes,
        Job::Delete { .. } => Activity::Deletes,
    }
}

/// How long a processor has worked for a thread of this process.
fn processor_time(thread: u32) -> Option<Duration> {
    let told = fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).ok()?;
    told.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

impl fmt::Display for ThreadsSeen {
    /// A line for each thread, and one for the queues; without a line end after the last.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:15} {:>9} {:>9} {:>6} {:>9}  at", "thread", "for", "handled", "busy", "processor")?;
        for ThreadSeen { name, at, gauge } in &self.threads {
            let Some(Gauge { span, handled, age, busy, processor, holds, wants, .. }) = gauge else {
                write!(f, "\n{name:15} {:36}  {at}", "")?;
                continue;
            };
            let processor = processor.map_or_else(String::new, time);
            write!(f, "\n{name:15} {:>9} {handled:>9} {:>6} {processor:>9}  {at}", time(*span), share(*busy, *age))?;
            for lock in holds {
                write!(f, "; holds the lock {lock}")?;
            }
            if let Some(WantedLock { lock, protects, held_by }) = wants {
                let holder = if held_by.is_empty() { "nobody now".to_owned() } else { held_by.join(", ") };
                write!(f, "; wants the lock {lock} ({protects}), held by {holder}")?;
            }
        }
        for (number, QueueSeen { name, length, bound }) in self.queues.iter().enumerate() {
            f.write_str(if number == 0 { "\nqueues: " } else { ", " })?;
            write!(f, "{name} {length} of {bound}")?;
        }
        Ok(())
    }
}

fn time(span: Duration) -> String {
    let seconds = span.as_secs_f64();
    if seconds < 1.0 { format!("{:.1} ms", seconds * 1e3) } else { format!("{seconds:.1} s") }
}

fn share(part: Duration, of: Duration) -> String {
    let of = of.as_secs_f64().max(1e-6);
    format!("{:.1} %", 100.0 * part.as_secs_f64() / of)
}

/// Writes what all threads of this process are at to standard error, past everything that a thread may hold. Where that
/// is not read, the rest is left out: the next signal must not wait for it.
pub(super) fn dump() {
    let (mut text, stderr) = (String::new(), io::stderr());
    // A string takes every text.
    let _ = writeln!(text, "{}", look(|_| true));
    for piece in text.split_inclusive('\n').flat_map(|line| line.as_bytes().chunks(AT_ONCE)) {
        let mut ready = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
        let has_room = poll(&mut ready, PollTimeout::ZERO).is_ok_and(|ready| ready > 0);
        if !has_room || nix::unistd::write(&stderr, piece) != Ok(piece.len()) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Barrier};
    use std::thread;

    use super::*;
    use crate::locks::{HASHES, Ranked};

    #[test]
    fn a_lock_that_twenty_threads_wait_for_is_shown_with_its_holder_and_what_it_protects() {
        const PEER: u64 = u64::MAX - 1;
        let lock = Arc::new(Ranked::new(&HASHES, ()));
        let begun = Arc::new(Barrier::new(2));
        let _place = enter(PEER, "node");
        let held = lock.lock();
        let waiting: Vec<_> = (1..=20)
            .map(|number| {
                let (lock, begun) = (Arc::clone(&lock), Arc::clone(&begun));
                thread::spawn(move || {
                    let _place = enter(PEER, &format!("transfer-{number}"));
                    begun.wait();
                    drop(lock.lock());
                })
            })
            .inspect(|_| {
                begun.wait();
            })
            .collect();
        let wanting = |seen: &ThreadsSeen| {
            let gauges = seen.threads.iter().filter_map(|thread| thread.gauge.as_ref());
            gauges.filter_map(|gauge| gauge.wants.clone()).collect::<Vec<_>>()
        };
        let mut seen = look(|peer| peer == PEER);
        while wanting(&seen).len() < 20 {
            thread::yield_now();
            seen = look(|peer| peer == PEER);
        }
        let (name, protects) = locks::of_rank(6).expect("a rank of the table");
        let expected = WantedLock { lock: name, protects, held_by: vec!["node".to_owned()] };
        assert_eq!(wanting(&seen), vec![expected; 20]);
        let text = seen.to_string();
        assert!(text.contains("works; holds the lock hashes\n"), "{text}");
        let wants = format!("wants the lock {name} ({protects}), held by node");
        assert_eq!(text.matches(&wants).count(), 20, "{text}");
        drop(held);
        waiting.into_iter().for_each(|thread| thread.join().expect("it ends"));
    }
}
