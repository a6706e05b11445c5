//! Demonstrations for a lecture: what goes wrong between threads, made so that it can be looked at.

use std::io;
use std::sync::Arc;
use std::thread;

use crossbeam_channel::bounded;

use super::channels::LEAVE;
use super::look;
use super::threads::Roster;
use super::{Role, ThreadsSeen};
use crate::id::Id;
use crate::locks::{self, Ranked};

/// Threads that wait for the lock of [`lock`].
pub const WAITERS: u64 = 20;

/// One thread holds a lock while [`WAITERS`] others wait for it. Returns what the threads are at then, and how often
/// the lock was given on once its holder had let it go.
///
/// # Errors
/// The system refuses a thread.
pub fn lock() -> io::Result<(ThreadsSeen, u64)> {
    let (leave, _leaving) = LEAVE.open();
    let roster = Roster::new(&Id::ZERO, leave);
    let count = Arc::new(Ranked::new(&locks::DEMONSTRATION, 0));
    // Each thread waits here until the other one has come so far.
    let (holds, held) = bounded::<()>(0);
    // So it does here.
    let (looked, looks) = bounded::<()>(0);
    let of_holder = Arc::clone(&count);
    roster.spawn_another(Role::Command, 0, move || {
        let _count = of_holder.lock();
        drop(holds);
        // It ends when the channel's sender is gone.
        let _ = looks.recv();
    })?;
    let _ = held.recv();
    for number in 1..=WAITERS {
        let count = Arc::clone(&count);
        roster.spawn_another(Role::Command, number, move || *count.lock() += 1)?;
    }
    let seen = loop {
        let seen = look::look(|peer| peer == roster.number());
        let gauges = seen.threads.iter().filter_map(|thread| thread.gauge.as_ref());
        if gauges.filter(|gauge| gauge.wants.is_some()).count() as u64 == WAITERS {
            break seen;
        }
        thread::yield_now();
    };
    drop(looked);
    roster.join(|_| true, None);
    let count = *count.lock();
    Ok((seen, count))
}
