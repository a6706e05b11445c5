//! The connections that are served: what each waits for, and which of them makes room for another.

use std::collections::BTreeMap;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::seldom::Seldom;
use crate::locks::{self, Ranked};
use crate::time::Time;

/// A client that has taken nothing for this long makes room where there is none.
const STALLED: Duration = Duration::from_secs(1);

/// Names a connection.
pub(super) type ConnectionId = u64;

/// The connections that are served now.
pub(super) struct Served {
    open: Ranked<BTreeMap<ConnectionId, Entry>>,
    /// Bytes of blocks and files sent by way of any. It stands alone (`Relaxed`).
    sent: AtomicU64,
    /// A block could not be read.
    pub(super) unreadable: Seldom,
}

impl Default for Served {
    fn default() -> Self {
        Self {
            open: Ranked::new(&locks::SERVED, BTreeMap::new()),
            sent: AtomicU64::default(),
            unreadable: Seldom::default(),
        }
    }
}

struct Entry {
    stream: Arc<TcpStream>,
    state: State,
}

/// What a connection waits for; in this order they make room.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum State {
    /// For a request, since then.
    Idle(Time),
    /// For its client to take what it is sent, since then.
    Sending(Time),
}

impl Served {
    /// A client took so many bytes of a block or a file.
    pub(super) fn count_sent(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes of blocks and files sent since the start.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// What this connection waits for now.
    pub(super) fn mark(&self, connection: ConnectionId, state: State) {
        if let Some(entry) = self.open.lock().get_mut(&connection) {
            entry.state = state;
        }
    }

    pub(super) fn insert(&self, connection: ConnectionId, stream: Arc<TcpStream>, now: Time) {
        self.open.lock().insert(connection, Entry { stream, state: State::Idle(now) });
    }

    pub(super) fn remove(&self, connection: ConnectionId) {
        self.open.lock().remove(&connection);
    }

    /// Ends the connection that was idle longest, or whose client took nothing for longest; false if there is none.
    pub(super) fn make_room(&self, now: Time) -> bool {
        let mut served = self.open.lock();
        let first = served.iter().map(|(id, entry)| (entry.state, *id)).min();
        let dispensable = |(state, _): &(State, _)| match state {
            State::Idle(_) => true,
            State::Sending(since) => now.since(*since) >= STALLED,
        };
        let Some(entry) = first.filter(dispensable).and_then(|(_, id)| served.remove(&id)) else { return false };
        let _ = entry.stream.shutdown(Shutdown::Both);
        true
    }

    /// Ends all connections, and so their threads.
    pub(super) fn end_all(&self) {
        for entry in self.open.lock().values() {
            let _ = entry.stream.shutdown(Shutdown::Both);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.open.lock().len()
    }
}

/// Takes a connection from the list, however its thread ends.
pub(super) struct ServedUntilDrop<'a>(&'a Served, ConnectionId);

impl<'a> ServedUntilDrop<'a> {
    pub(super) fn new(served: &'a Served, connection: ConnectionId) -> Self {
        Self(served, connection)
    }
}

impl Drop for ServedUntilDrop<'_> {
    fn drop(&mut self) {
        self.0.remove(self.1);
    }
}
