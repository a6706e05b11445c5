//! The lock of a file that another process may hold for a moment.

use std::fs::{File, TryLockError};
use std::io;
use std::thread;
use std::time::Duration;

use super::stopwatch;

/// A command that is cancelled, and the system for a process that is killed, lets go of its files within this time.
pub(crate) const LETS_GO: Duration = Duration::from_secs(1);

const AGAIN: Duration = Duration::from_millis(1);

/// Locks the file, or waits until it can, so long at most. Whether it is locked.
pub(crate) fn lock_within(file: &File, limit: Duration) -> io::Result<bool> {
    let elapsed = stopwatch();
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if elapsed() < limit => thread::park_timeout(AGAIN),
            Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Error(error)) => return Err(error),
            Ok(()) => return Ok(true),
        }
    }
}
