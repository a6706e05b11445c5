//! A running peer, as the program that started it has it.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;

use super::clock::Clock;
use super::control::{self, ServeClient};
use super::renewer::Bell;
use super::start::{self, StartError};
use super::state::Readiness;
use super::{Handle, Options, Role, ending, signals};
use crate::id::Id;
use crate::lease::UnixTime;
use crate::node::{Command, Notice};
use crate::peer::Peer;

/// A peer that is ready: it listens, runs and has joined.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ready {
    /// Its id.
    pub id: Id,
    /// Its UDP port.
    pub udp: u16,
    /// Its TCP port.
    pub tcp: u16,
    /// Peers it found when it joined.
    pub peers: usize,
    /// Where it found none: peers that answer, and did not let it in.
    pub shut_out: usize,
}

/// How a peer ended.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub enum Ended {
    /// It left, as it was told.
    #[default]
    Left,
    /// A fault of ours: one of its threads failed without which it would be half a peer. It left at once.
    Failed {
        /// The thread's name.
        thread: String,
        /// What its panic said.
        reason: String,
    },
}

/// A running peer. Dropping it makes it leave at once, without a handover, and joins its threads, as
/// `ending` says.
pub struct LocalPeer {
    pub(super) handle: Handle,
    pub(super) signals: Option<signals::SignalWatch>,
    pub(super) control: Option<control::Control>,
    pub(super) renewals: Option<Bell>,
    pub(super) clock: Clock,
    pub(super) _temporary: Option<tempfile::TempDir>,
}

impl LocalPeer {
    /// Starts a peer: binds its sockets, opens its store, spawns its threads and begins to join.
    ///
    /// # Errors
    /// [`StartError`] says what could not be had. Nothing is left running then.
    pub fn start(options: Options) -> Result<Self, StartError> {
        start::start(options, Arc::default())
    }

    /// Starts a peer, and watches it from its very first notice on: see [`notices`](Self::notices).
    ///
    /// # Errors
    /// Those of [`start`](Self::start).
    pub fn start_watched(options: Options) -> Result<(Self, Receiver<Notice>), StartError> {
        let state = Arc::<Readiness>::default();
        let notices = state.watch();
        Ok((start::start(options, state)?, notices))
    }

    /// This peer's id and address.
    pub fn me(&self) -> Peer {
        self.handle.me
    }

    /// Waits until the peer has joined, or there is no peer to join. None if `limit` passed or the peer ended before. A
    /// program that would rather be called back gives the peer a [`Tell`](super::Tell).
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use kadring::runtime::{LocalPeer, Options, OverlayKind};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let limit = Some(Duration::from_secs(60));
    /// for overlay in [OverlayKind::Kademlia, OverlayKind::Ring] {
    ///     let first = LocalPeer::start(Options { overlay, ..Options::default() })?;
    ///     let bootstrap = vec![first.me().addr];
    ///     let second = LocalPeer::start(Options { overlay, bootstrap, ..Options::default() })?;
    ///     let ready = second.ready(limit).ok_or("it did not join in time")?;
    ///     assert_eq!(ready.peers, 1);
    ///
    ///     let key = second.handle().put(&b"any bytes"[..], limit)?;
    ///     assert_eq!(first.handle().get(key, std::io::sink(), limit)?, 9);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn ready(&self, limit: Option<Duration>) -> Option<Ready> {
        let handle = &self.handle;
        let (peers, shut_out) = handle.state.wait_ready(limit)?;
        let port = handle.me.addr.port();
        Some(Ready { id: handle.me.id, udp: port, tcp: port, peers, shut_out })
    }

    /// To talk to this peer from other threads. A handle does not keep it running: it ends when it quits, or when this
    /// value is dropped.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Listens for clients on the Unix socket `control` in `folder`, which only this user may open. Each client says
    /// one line, and `serve` does what it says: see [`ServeClient`]. When the client says more, or leaves, the commands
    /// of its session are ended.
    ///
    /// # Errors
    /// The system refuses the socket or the thread.
    pub fn listen(&mut self, folder: &Path, serve: ServeClient) -> io::Result<()> {
        self.control = Some(control::listen(folder, &self.handle, serve)?);
        Ok(())
    }

    /// Renews leases as long as the peer runs, from now on. `renew` renews those that are due by commands to the
    /// `handle`, and returns when the next will be, in seconds since 1970; none if it knows of nothing that ends. That
    /// something is due sooner, the `bell` tells, for the first time too.
    ///
    /// # Errors
    /// The system refuses the thread.
    pub fn renew(
        &mut self,
        bell: &Bell,
        renew: impl FnMut(&Handle) -> Option<UnixTime> + Send + 'static,
    ) -> io::Result<()> {
        self.renewals = Some(bell.clone());
        bell.take(&self.handle, renew)
    }

    /// Asks for `command`: see [`Handle::submit`].
    pub fn submit(&self, command: Command) -> Receiver<Notice> {
        self.handle.submit(command)
    }

    /// What the peer tells unasked: see [`Handle::notices`].
    pub fn notices(&self) -> Receiver<Notice> {
        self.handle.notices()
    }

    /// Waits until the peer has quit, and joins its threads, but those that are stuck. It tells whether the peer left
    /// as it was told; a program that waits for nothing but the end need not look.
    pub fn wait(self) -> Ended {
        let roster = &self.handle.roster;
        roster.join(|role| role == Role::Node, None);
        roster.end()
    }
}

impl fmt::Debug for LocalPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalPeer").field("me", &self.handle.me).finish_non_exhaustive()
    }
}

impl Drop for LocalPeer {
    fn drop(&mut self) {
        // A node that has ended does not hear it.
        self.handle.roster.leave();
        if let Some(renewals) = &self.renewals {
            renewals.close();
        }
        ending::join_last(&self.handle.roster, self.clock, self.signals.take(), self.control.take());
    }
}
