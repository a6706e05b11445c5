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
    within(limit, || lock_whole(file))
}

/// The same for one byte of the file, be it there or not; or, without it, for all that there could ever be. Where the
/// system locks files as a whole alone, it is the whole file.
pub(crate) fn lock_byte_within(file: &File, at: Option<i64>, limit: Duration) -> io::Result<bool> {
    within(limit, || lock_byte(file, at))
}

fn within(limit: Duration, try_lock: impl Fn() -> io::Result<bool>) -> io::Result<bool> {
    let elapsed = stopwatch();
    while !try_lock()? {
        if elapsed() >= limit {
            return Ok(false);
        }
        thread::park_timeout(AGAIN);
    }
    Ok(true)
}

fn lock_whole(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Such a lock is the open file's, not the process's: two threads that opened the file hold it against one another.
#[cfg(target_os = "linux")]
fn lock_byte(file: &File, at: Option<i64>) -> io::Result<bool> {
    use nix::errno::Errno;
    use nix::fcntl::{FcntlArg, fcntl};
    use nix::libc;

    let lock = libc::flock {
        l_type: libc::F_WRLCK as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: at.unwrap_or(0),
        l_len: at.map_or(0, |_| 1),
        l_pid: 0,
    };
    match fcntl(file, FcntlArg::F_OFD_SETLK(&lock)) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn lock_byte(file: &File, _: Option<i64>) -> io::Result<bool> {
    lock_whole(file)
}
