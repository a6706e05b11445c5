//! Waiting for what a running peer says, for as long as it lives.
//!
//! A command may take its time and say nothing meanwhile. So where nothing comes for a while, the peer is asked two
//! more things, each on a connection of its own: `status`, which its node answers, and `help`, which needs no node. A
//! peer that does not answer these is stopped or stuck, and is not waited for without an end. Each version of this
//! program answers both.

use std::env;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use kadring::console::control::{ClientSays, tell};
use kadring::runtime::{MAX_PAUSE, connect, stopwatch};
use nix::poll::{PollFd, PollFlags, poll};

use super::signals::{end_by_signal, is_told};

/// Milliseconds between two looks at whether a signal came, or the peer lives.
pub(super) const LOOK_EVERY: u16 = 500;

/// A peer that was told of a signal, and says nothing for so long, stands still.
const STANDS_STILL: Duration = Duration::from_secs(10);

/// A peer that says nothing for so long is asked whether it lives.
const QUIET: Duration = Duration::from_secs(3);

/// Where it has not answered that after so long, the person is told what is waited for.
const TOLD_AFTER: Duration = Duration::from_secs(2);

/// Where no thread of it has after so long, it is given up: it is stopped, or its machine has no time for it.
const STOPPED_AFTER: Duration = Duration::from_secs(30);

/// Where its node alone has not: a `pause` is not for longer.
const STUCK_AFTER: Duration = MAX_PAUSE.saturating_add(STOPPED_AFTER);

type Elapsed = Box<dyn Fn() -> Duration>;

/// How long a peer is waited for.
pub(super) struct PeerWait<'a> {
    /// Its data folder.
    data: &'a Path,
    /// Since when a signal is known of that tells this process to end.
    told: Option<Elapsed>,
    /// Since when the peer says nothing.
    quiet: Elapsed,
    asked: Option<LifeProbes>,
}

impl<'a> PeerWait<'a> {
    /// With the peer of this data folder, which said something just now.
    pub(super) fn with(data: &'a Path) -> Self {
        Self { data, told: None, quiet: Box::new(stopwatch()), asked: None }
    }

    /// Returns when the peer has something to say.
    ///
    /// # Errors
    /// It does not live.
    pub(super) fn wait_for(&mut self, peer: &UnixStream) -> io::Result<()> {
        while !is_ready(peer, LOOK_EVERY) {
            self.look()?;
        }
        Ok(())
    }

    /// The same, for what goes on to standard output as it comes.
    ///
    /// # Errors
    /// It does not live; or the reader of standard output has gone: see [`is_unread`].
    pub(super) fn wait_while_read(&mut self, peer: &UnixStream) -> io::Result<()> {
        let out = io::stdout();
        loop {
            let mut ready = [PollFd::new(peer.as_fd(), PollFlags::POLLIN), end_of_reader(&out)];
            match poll(&mut ready, LOOK_EVERY) {
                Ok(1..) if ready[1].any() == Some(true) => return Err(io::ErrorKind::BrokenPipe.into()),
                Ok(1..) => return Ok(()),
                _ => self.look()?,
            }
        }
    }

    /// The peer does something.
    pub(super) fn hear(&mut self) {
        (self.quiet, self.asked) = (Box::new(stopwatch()), None);
    }

    /// Ends this process by the signal that told it to, if the peer has had time enough to end the command.
    ///
    /// # Errors
    /// The peer says nothing, and does not live.
    pub(super) fn look(&mut self) -> io::Result<()> {
        if is_told() && self.told.get_or_insert_with(|| Box::new(stopwatch()))() >= STANDS_STILL {
            log::warn!("the peer says nothing: whether the command is done there is not known");
            end_by_signal();
        }
        if (self.quiet)() < QUIET {
            return Ok(());
        }
        let data = self.data;
        if self.asked.get_or_insert_with(|| LifeProbes::ask(data)).is_answered()? {
            self.hear();
        }
        Ok(())
    }
}

/// Whether the peer has said something that was not read yet, or has ended.
fn is_ready(peer: &UnixStream, within: u16) -> bool {
    matches!(poll(&mut [PollFd::new(peer.as_fd(), PollFlags::POLLIN)], within), Ok(1..))
}

/// An output of which a poll tells nothing but that its reader has gone.
pub(super) fn end_of_reader(out: &impl AsFd) -> PollFd<'_> {
    PollFd::new(out.as_fd(), PollFlags::empty())
}

/// Whether the reader of standard output has gone. Where there never was one, as with a file, it has not.
pub(super) fn is_unread() -> bool {
    matches!(poll(&mut [end_of_reader(&io::stdout())], 0_u16), Ok(1..))
}

/// What a peer was asked to learn whether it lives.
struct LifeProbes {
    /// Answered by its node.
    node: io::Result<UnixStream>,
    /// Answered without it.
    process: io::Result<UnixStream>,
    since: Elapsed,
    is_told: bool,
}

impl LifeProbes {
    fn ask(data: &Path) -> Self {
        let asked = |word: &str| {
            let peer = connect(data)?;
            let folder = env::current_dir().unwrap_or_default();
            tell(&peer, &ClientSays { words: vec![word.to_owned()], folder, to: None, columns: None }).map(|()| peer)
        };
        Self { node: asked("status"), process: asked("help"), since: Box::new(stopwatch()), is_told: false }
    }

    /// Whether the peer lives. Says what is waited for, once, where it does not seem to.
    ///
    /// # Errors
    /// It does not, for so long that it is not waited for any more.
    fn is_answered(&mut self) -> io::Result<bool> {
        if has_answered(&self.node) {
            return Ok(true);
        }
        let (trouble, limit) = match has_answered(&self.process) {
            true => ("its node stands still (a pause of it, or a fault)", STUCK_AFTER),
            false => ("it is stopped, or its machine has no time for it", STOPPED_AFTER),
        };
        let since = (self.since)();
        if since >= limit {
            let reason = format!("{trouble}; whether it will do what it was told is not known");
            return Err(io::Error::new(io::ErrorKind::TimedOut, reason));
        }
        if since >= TOLD_AFTER && !self.is_told {
            self.is_told = true;
            let left = (limit - since).as_secs();
            log::warn!("the peer says nothing: {trouble}; it is waited for, {left} s at most");
        }
        Ok(false)
    }
}

/// Whether that was answered. A peer that takes no connection because it ends will close all that it has.
fn has_answered(asked: &io::Result<UnixStream>) -> bool {
    match asked {
        Ok(peer) => is_ready(peer, 0),
        Err(error) => !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
    }
}
