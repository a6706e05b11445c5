//! Standard input and output of a client, in place of files.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::Context;
use kadring::console::progress::TransferBar;
use kadring::console::{Output, Screen};
use kadring::node::Progress;
use kadring::raw_text::{no_file, own_stream};
use kadring::runtime::Spooled;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::signals::{SaysSignals, end_as_by_sigpipe};
use super::waiting::{LOOK_EVERY, PeerWait, end_of_reader};
use super::{Exit, Failed, stderr};

/// The word for standard input or output in place of a file.
pub(super) const STANDARD: &str = "-";

pub(super) fn is_standard(path: &Path) -> bool {
    path.as_os_str() == STANDARD
}

/// Where an answer goes: to standard output, unless that is for the bytes of a file.
pub(super) fn beside(file: bool) -> Box<dyn Write + Send> {
    if file { Box::new(stderr()) } else { Box::new(io::stdout()) }
}

/// The words of a command for a running peer, which would take streams of this process for its own: standard input that
/// is stored and standard output that is retrieved to are `-`.
///
/// # Errors
/// Another stream is named.
pub(super) fn without_streams(name: Option<&str>, words: Vec<String>) -> Result<Vec<String>, Failed> {
    let last = words.len().saturating_sub(1);
    let renamed = words.into_iter().enumerate().map(|(at, word)| match (name, own_stream(&word)) {
        (_, None) => Ok(word),
        (Some("store"), Some("0")) => Ok(STANDARD.to_owned()),
        (Some("retrieve"), Some("1")) if at == last => Ok(STANDARD.to_owned()),
        _ => Err(Failed::usage(format!("{}, or - for standard input or output", no_file(&word)))),
    });
    renamed.collect()
}

/// Standard input as a file; how much was read is shown meanwhile.
pub(super) fn spool(screen: &Screen) -> anyhow::Result<Spooled> {
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
    _tells: SaysSignals,
    /// Its reader has gone.
    broken: bool,
}

/// Bytes that a pipe which has room takes without waiting.
const AT_ONCE: usize = 4096;

impl UntilTold {
    pub(super) fn new() -> anyhow::Result<Self> {
        let out = File::from(io::stdout().as_fd().try_clone_to_owned().context("cannot write to standard output")?);
        let (told, tells) = UnixStream::pair().context("cannot watch for signals")?;
        Ok(Self { out, told, _tells: SaysSignals::at(&tells)?, broken: false })
    }
}

/// What a peer writes into a pipe of this process goes on to standard output.
pub(super) struct OutputPipe {
    /// The pipe's end that is read here, until standard output cannot be written.
    from: Option<PipeReader>,
    /// The end that the peer opens by its path: it has to be there until the peer has.
    lent: Option<PipeWriter>,
    out: UntilTold,
    piece: Vec<u8>,
    /// Why standard output could not be written.
    trouble: Option<io::Error>,
}

impl OutputPipe {
    pub(super) fn new() -> anyhow::Result<Self> {
        let (from, lent) = io::pipe().context("cannot make a pipe")?;
        Ok(Self { from: Some(from), lent: Some(lent), out: UntilTold::new()?, piece: vec![0; 1 << 16], trouble: None })
    }

    /// The path by which this user's other processes open the pipe.
    pub(super) fn path(&self) -> PathBuf {
        let end = self.lent.as_ref().map_or(-1, AsRawFd::as_raw_fd);
        PathBuf::from(format!("/proc/{}/fd/{end}", std::process::id()))
    }

    /// Passes on what comes, until `peer` has something to say.
    ///
    /// # Errors
    /// It does not live, or the reader of standard output has gone.
    pub(super) fn pass_on(&mut self, peer: &UnixStream, mut patience: PeerWait<'_>) -> io::Result<()> {
        while let Some(from) = &self.from {
            let [from, peer] = [from.as_fd(), peer.as_fd()].map(|end| PollFd::new(end, PollFlags::POLLIN));
            let mut ready = [from, peer, end_of_reader(&self.out.out)];
            match poll(&mut ready, LOOK_EVERY) {
                Ok(1..) if ready[2].any() == Some(true) => return Err(io::ErrorKind::BrokenPipe.into()),
                Ok(1..) if ready[0].any() == Some(true) => {
                    self.pass_piece();
                    patience.hear();
                }
                Ok(1..) => return Ok(()),
                // A wait that a signal interrupts is begun again: the peer was told of it, and will say something.
                _ => patience.look()?,
            }
        }
        patience.wait_while_read(peer)
    }

    /// Passes on the rest, once the peer has done its part. Whether standard output still has a reader.
    ///
    /// # Errors
    /// It could not be written.
    pub(super) fn finish(mut self) -> io::Result<bool> {
        // Now what the pipe gives has an end.
        self.lent = None;
        while self.from.is_some() {
            self.pass_piece();
        }
        match self.trouble {
            _ if self.out.is_broken() => Ok(false),
            trouble => trouble.map_or(Ok(true), Err),
        }
    }

    fn pass_piece(&mut self) {
        let Some(from) = &mut self.from else { return };
        let passed = match from.read(&mut self.piece) {
            Ok(0) => Err(None),
            Ok(count) => self.out.write_all(&self.piece[..count]).map_err(Some),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(Some(error)),
        };
        if let Err(trouble) = passed {
            // A process that writes to the pipe learns that it has no reader.
            self.from = None;
            self.trouble = trouble;
        }
    }
}

impl UntilTold {
    /// Whether its reader has gone. Then there is no reader to tell, and a program ends as by SIGPIPE.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
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
        let written = self.out.write(&bytes[..bytes.len().min(AT_ONCE)]);
        self.broken |= written.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes to standard output what a program that has nothing else to do says.
///
/// # Errors
/// It cannot be written, and not only since its reader has gone.
pub(crate) fn say(text: &[u8]) -> anyhow::Result<Exit> {
    exit_once_said(io::stdout().write_all(text).and_then(|()| io::stdout().flush()))
}

/// How a program ends that wrote to standard output, if it has nothing else to do.
///
/// # Errors
/// It could not be written, and not only since its reader has gone.
pub(crate) fn exit_once_said(said: io::Result<()>) -> anyhow::Result<Exit> {
    match said {
        Ok(()) => Ok(Exit::Done),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(end_as_by_sigpipe()),
        Err(error) => Err(error).context("cannot write to standard output"),
    }
}

/// The exit code where nothing went wrong but, perhaps, that the answer could not be written. Where standard output was
/// closed, Rust has opened /dev/null in its place; that cannot be told from /dev/null itself, to which much is written
/// on purpose, so it is no failure.
pub(super) fn exit_once_written(output: &Output) -> Exit {
    match () {
        () if output.is_unread() => end_as_by_sigpipe(),
        () if output.is_closed() => Exit::Other,
        () => Exit::Done,
    }
}
