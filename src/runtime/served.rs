//! The connections that are served: what each waits for, and which of them makes room for another.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::seldom::Seldom;
use crate::locks::{self, Ranked};
use crate::source::{Subnet, count};
use crate::time::Time;

/// A client that has taken nothing for this long makes room where there is none.
const STALLED: Duration = Duration::from_secs(1);

/// Names a connection.
pub(super) type ConnectionId = u64;

/// The connections that are served now.
pub(super) struct Served {
    open: Ranked<BTreeMap<ConnectionId, ServedConnection>>,
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

struct ServedConnection {
    stream: Arc<TcpStream>,
    from: Subnet,
    state: ConnectionState,
}

/// What a connection waits for; in this order they make room.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum ConnectionState {
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
    pub(super) fn mark(&self, connection: ConnectionId, state: ConnectionState) {
        if let Some(entry) = self.open.lock().get_mut(&connection) {
            entry.state = state;
        }
    }

    pub(super) fn insert(&self, connection: ConnectionId, stream: Arc<TcpStream>, from: Subnet, now: Time) {
        self.open.lock().insert(connection, ServedConnection { stream, from, state: ConnectionState::Idle(now) });
    }

    pub(super) fn remove(&self, connection: ConnectionId) {
        self.open.lock().remove(&connection);
    }

    /// Ends a connection of a source that has more than the newcomer's would have then, of the one that has most if it
    /// has one to spare; else one of the newcomer's own, or where that has none, of any source. Of a source it is the
    /// one that was idle longest, or whose client took nothing for longest. False if there is none: all of them are
    /// busy.
    pub(super) fn make_room(&self, newcomer: Option<Subnet>, now: Time) -> bool {
        let mut served = self.open.lock();
        let counts = count(served.values().map(|entry| entry.from));
        let own = newcomer.and_then(|newcomer| counts.get(&newcomer)).copied().unwrap_or(0);
        let is_dispensable = |state: ConnectionState| match state {
            ConnectionState::Idle(_) => true,
            ConnectionState::Sending(since) => now.since(since) >= STALLED,
        };
        let turn = |source: Subnet| match counts[&source] {
            count if count > own + 1 => Some((0, Reverse(count))),
            count if Some(source) == newcomer => Some((1, Reverse(count))),
            count => (own == 0).then_some((2, Reverse(count))),
        };
        let dispensable = served.iter().filter(|(_, entry)| is_dispensable(entry.state));
        let first = dispensable.filter_map(|(id, entry)| Some((turn(entry.from)?, entry.state, *id))).min();
        let Some(entry) = first.and_then(|(.., id)| served.remove(&id)) else { return false };
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

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Connections from these addresses, each idle for longer than the next.
    fn served(from: &[&str]) -> Served {
        let (served, listener) = (Served::default(), TcpListener::bind("127.0.0.1:0").unwrap());
        for (n, from) in (0..).zip(from) {
            let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            served.insert(n, Arc::new(stream), source(from), Time::from_micros(n));
        }
        served
    }

    fn source(ip: &str) -> Subnet {
        Subnet::of(format!("{ip}:7").parse().unwrap())
    }

    fn left(served: &Served) -> Vec<ConnectionId> {
        served.open.lock().keys().copied().collect()
    }

    #[test]
    fn idle_connections_of_one_source_keep_no_other_out_and_displace_one_another() {
        let (flood, other, third) = ("10.0.0.1", "10.0.0.2", "10.0.0.3");
        let served = served(&[other, other, flood, flood, flood, flood]);
        let now = Time::from_micros(100);
        assert!(served.make_room(Some(source(third)), now) && left(&served) == [0, 1, 3, 4, 5]);
        assert!(served.make_room(Some(source(flood)), now) && left(&served) == [0, 1, 4, 5]);
        // Who has as many takes nobody's place but his own.
        assert!(served.make_room(Some(source(other)), now) && left(&served) == [1, 4, 5]);
        assert!(served.make_room(None, now) && left(&served) == [1, 5]);
        // Each has one, and a newcomer is worth more than what is idle.
        assert!(served.make_room(Some(source(third)), now) && left(&served) == [5]);
    }

    #[test]
    fn a_source_whose_connections_are_all_busy_keeps_no_newcomer_out_while_others_are_idle() {
        let (busy, now) = ("10.0.0.1", Time::from_micros(100));
        let served = served(&[busy, busy, busy, "10.0.0.2", "10.0.0.2", "10.0.0.3"]);
        (0..3).for_each(|n| served.mark(n, ConnectionState::Sending(now)));
        assert!(served.make_room(Some(source("10.0.0.4")), now) && left(&served) == [0, 1, 2, 4, 5]);
        assert!(served.make_room(Some(source("10.0.0.4")), now) && left(&served) == [0, 1, 2, 5]);
        assert!(!served.make_room(Some(source(busy)), now), "it has more than any other");
        assert!(served.make_room(Some(source("10.0.0.4")), now) && left(&served) == [0, 1, 2]);
        assert!(!served.make_room(Some(source("10.0.0.4")), now), "all are busy");
    }

    #[test]
    fn a_lab_of_sixty_peers_at_one_address_shares_all_places() {
        let served = served(&["10.0.0.1"; 60]);
        for n in 0..59 {
            assert!(served.make_room(Some(source("10.0.0.1")), Time::from_micros(100)));
            assert_eq!(left(&served)[0], n + 1, "the one that was idle longest");
        }
        served.mark(59, ConnectionState::Sending(Time::from_micros(100)));
        assert!(!served.make_room(Some(source("10.0.0.1")), Time::from_micros(100)), "it takes what it is sent");
    }
}
