//! To talk to a running peer.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::Receiver;

use super::state::Readiness;
use super::submit::{self, Pause, Submit};
use super::threads::Roster;
use super::{Role, fault, look};
use crate::node::{Command, Notice};
use crate::peer::Peer;

/// Talks to a running peer, from any thread.
#[derive(Clone)]
pub struct Handle {
    pub(super) me: Peer,
    pub(super) commands: Submit,
    pub(super) state: Arc<Readiness>,
    pub(super) roster: Roster,
}

impl Handle {
    /// Asks for `command`. What comes back is its progress, then exactly one answer, then the end. If the peer has
    /// ended before it answers, the end comes without one. Where hundreds of commands wait for the node, this waits for
    /// room. A caller that leaves hundreds of notices unread misses progress, never the answer.
    pub fn submit(&self, command: Command) -> Receiver<Notice> {
        self.commands.submit(submit::NOBODYS, command, None).0
    }

    /// Has the node stand still for `span`, [`MAX_PAUSE`](super::MAX_PAUSE) at most, as if its process was stopped: its
    /// neighbours take it for dead. An interrupt or an order to leave ends that. What comes back is its beginning, then
    /// its end; if the peer has ended, nothing.
    pub fn pause(&self, span: Duration) -> Receiver<Pause> {
        self.commands.pause(submit::NOBODYS, span)
    }

    /// Commands that can be ended together.
    pub fn session(&self) -> Session {
        let (given, cancelled) = Default::default();
        Session { id: self.commands.new_session(), handle: self.clone(), given, cancelled }
    }

    /// What the peer tells unasked: peers that come and go, blocks stored and repaired. A watcher that does not keep up
    /// misses some.
    pub fn notices(&self) -> Receiver<Notice> {
        self.state.watch()
    }

    /// The notices that are `wanted`. The others wake no thread, which costs the node more than most of its turns. The
    /// node's own thread asks `wanted`: a panic in it ends the peer.
    pub fn notices_for(&self, wanted: fn(&Notice) -> bool) -> Receiver<Notice> {
        self.state.watch_for(wanted)
    }

    /// The peer's id, and where others reached it when it was started.
    pub fn me(&self) -> Peer {
        self.me
    }

    /// The names of the peer's threads that run now.
    pub fn threads(&self) -> Vec<String> {
        self.roster.names()
    }

    /// Has this thread, one of the program's, seen among those of the peer for as long as what is returned lives.
    pub fn show_thread(&self, name: &str) -> impl Sized + use<> {
        look::enter(self.roster.number(), name)
    }

    /// Runs `work`, which reads commands, on the thread `console` beside the peer's own. A panic in it ends the peer,
    /// as in any thread that the peer cannot do without. No thread waits for its end: nothing portable wakes a thread
    /// that is stuck in a read of standard input.
    ///
    /// # Errors
    /// The system refuses the thread.
    pub fn spawn_console(&self, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.roster.spawn(Role::Console, work).map(|_| ())
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("me", &self.me).finish_non_exhaustive()
    }
}

/// The commands of one who may end them all at once, such as a client of the control socket.
#[derive(Clone, Debug)]
pub struct Session {
    id: submit::SessionId,
    handle: Handle,
    /// Whether the node was given anything. Set after that was put into its queue, and read by who ends it once
    /// `cancelled` is set: one of the two threads sees the other (`SeqCst`).
    given: Arc<AtomicBool>,
    /// Set once, before the node is told to end the commands that it has. A command that comes to the node after that
    /// was given by a thread that sees it set and tells the node again (`SeqCst`, as the channel to the node).
    cancelled: Arc<AtomicBool>,
}

impl Session {
    /// See [`Handle::submit`].
    pub fn submit(&self, command: Command) -> Receiver<Notice> {
        self.submit_within(command, None)
    }

    /// The same; where there is no room for a command within the `limit`, nothing comes back but the end.
    pub(super) fn submit_within(&self, command: Command, limit: Option<Duration>) -> Receiver<Notice> {
        let (notices, given) = self.handle.commands.submit(self.id, command, limit);
        if given {
            self.has_given();
        }
        notices
    }

    /// Something was given to the node: has it end that, if this session was told to end by then.
    fn has_given(&self) {
        self.given.store(true, Ordering::SeqCst);
        if self.cancelled.load(Ordering::SeqCst) {
            self.handle.commands.cancel(self.id);
        }
    }

    /// See [`Handle::pause`]. The end of this session ends it.
    pub fn pause(&self, span: Duration) -> Receiver<Pause> {
        let told = self.handle.commands.pause(self.id, span);
        self.has_given();
        told
    }

    /// Ends the commands of this session, those under way and those to come; each has its own answer.
    pub fn cancel(&self) {
        // Once is enough: those to come tell the node themselves.
        if !self.cancelled.swap(true, Ordering::SeqCst) && self.given.load(Ordering::SeqCst) {
            self.handle.commands.cancel(self.id);
        }
    }

    /// Its number, which no other session of the peer has.
    pub fn number(&self) -> u64 {
        self.id
    }

    /// Runs `work`, which gives the commands of this session or does a part of one, on the thread `command-N`. A panic
    /// in it ends no more than this work.
    ///
    /// # Errors
    /// The system refuses the thread.
    pub fn spawn(&self, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let work = || {
            fault::point(Role::Command);
            work();
        };
        self.handle.roster.spawn_another(Role::Command, self.id, work).map(|_| ())
    }

    /// Whether it was told to end.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
    }

    /// The peer.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}
