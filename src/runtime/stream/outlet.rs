//! A pipe of another process as a writer.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::runtime::Session;

/// Milliseconds after which it is noticed that the session was told to end while the pipe is full.
const NOTICED_AFTER_MS: u16 = 100;

/// A pipe that another process of this user's reads. A write waits for its reader, until the session is told to end.
#[derive(Debug)]
pub struct Outlet {
    pipe: File,
    session: Session,
}

impl Outlet {
    /// Opens the pipe at `path`, such as `/proc/PID/fd/N`.
    ///
    /// # Errors
    /// What is there is no pipe, or is not to be opened.
    pub fn open(path: &Path, session: &Session) -> io::Result<Self> {
        // Without a reader, and where it is something else, an open that may wait would wait.
        let pipe = OpenOptions::new().write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
        if pipe.metadata()?.file_type().is_fifo() {
            Ok(Self { pipe, session: session.clone() })
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no pipe"))
        }
    }
}

impl Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            if self.session.is_cancelled() {
                return Err(io::Error::other("cancelled"));
            }
            match self.pipe.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    poll(
                        &mut [PollFd::new(self.pipe.as_fd(), PollFlags::POLLOUT)],
                        PollTimeout::from(NOTICED_AFTER_MS),
                    )?;
                }
                written => return written,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
