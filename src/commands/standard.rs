//! Standard input and output of a client, in place of files.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::Context;
use kadring::console::Screen;
use kadring::console::progress::TransferBar;
use kadring::node::Progress;
use kadring::runtime::{Spooled, ending_signals};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use signal_hook::low_level::pipe;

use super::Failed;

/// The word for standard input or output in place of a file.
pub(super) const STANDARD: &str = "-";

pub(super) fn is_standard(path: &Path) -> bool {
    path.as_os_str() == STANDARD
}

/// Standard input as a file; how much was read is shown meanwhile.
pub(super) fn spool(screen: &Screen) -> anyhow::Result<Spooled> {
    if was_closed(io::stdin())? {
        return Err(
            Failed::usage("standard input is closed, so there is nothing to store; - needs a pipe or a file").into()
        );
    }
    let mut bar = TransferBar::of_input(screen);
    let spooled = Spooled::read(io::stdin().lock(), &mut |bytes| {
        bar.show(&Progress::Moved { bytes, resumed: 0 });
        Ok(())
    });
    Ok(spooled.map_err(Failed::from)?)
}

/// Standard output. A write waits for its reader until a signal comes that tells this process to end.
pub(super) struct UntilTold {
    out: File,
    told: UnixStream,
}

/// Bytes that a pipe which has room takes without waiting.
const AT_ONCE: usize = 4096;

impl UntilTold {
    pub(super) fn new() -> anyhow::Result<Self> {
        let out = File::from(io::stdout().as_fd().try_clone_to_owned().context("cannot write to standard output")?);
        let (told, tells) = UnixStream::pair().context("cannot watch for signals")?;
        for signal in ending_signals() {
            pipe::register(signal, tells.try_clone()?).context("cannot watch for signals")?;
        }
        Ok(Self { out, told })
    }
}

impl Write for UntilTold {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut ready =
            [PollFd::new(self.out.as_fd(), PollFlags::POLLOUT), PollFd::new(self.told.as_fd(), PollFlags::POLLIN)];
        // A wait that a signal interrupts is an error that its caller takes for none, and writes again.
        poll(&mut ready, PollTimeout::NONE)?;
        if ready[1].any() == Some(true) {
            return Err(io::Error::other("told to end"));
        }
        self.out.write(&bytes[..bytes.len().min(AT_ONCE)])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether a standard stream was closed when this program began. Rust then opens /dev/null in its place for reading and
/// writing; a shell that redirects from /dev/null opens it for reading only.
fn was_closed(stream: impl AsFd) -> anyhow::Result<bool> {
    let file = File::from(stream.as_fd().try_clone_to_owned().context("cannot look at standard input")?);
    let (there, null) = (file.metadata()?, fs::metadata("/dev/null")?);
    let flags = OFlag::from_bits_truncate(fcntl(&file, FcntlArg::F_GETFL).context("cannot look at standard input")?);
    Ok(there.rdev() == null.rdev() && there.file_type().is_char_device() && flags & OFlag::O_ACCMODE == OFlag::O_RDWR)
}
