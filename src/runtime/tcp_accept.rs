//! `tcp-accept`: waits for connections, and gives each a thread of its own to be served by.
//!
//! The number of these threads is bounded. When all are taken, the connection that has waited longest for its client to
//! say something makes room, or else the one whose client has taken nothing for longest: a slow or silent client never
//! keeps others out. If all of them take what they are sent, the newcomer is turned away.

use std::collections::BTreeMap;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::Sender;

use super::channels::CONNECTIONS;
use super::sockets::canonical;
use super::tcp_serve;
use super::threads::Roster;
use super::{Role, Shared, fault};
use crate::locks::{self, Ranked};
use crate::node::Event;
use crate::time::Time;

/// Connections served at a time.
const MAX_CONNECTIONS: usize = CONNECTIONS.most();

/// A client that has taken nothing for this long makes room where there is none.
const STALLED: Duration = Duration::from_secs(1);

/// After the system refused to accept (no descriptors left, for example), the next try is made this much later.
const BREATH: Duration = Duration::from_millis(50);

/// Names a connection.
pub(super) type ConnectionId = u64;

/// The connections that are served now.
pub(super) struct Served(Ranked<BTreeMap<ConnectionId, Entry>>);

impl Default for Served {
    fn default() -> Self {
        Self(Ranked::new(&locks::SERVED, BTreeMap::new()))
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
    /// What this connection waits for now.
    pub(super) fn mark(&self, connection: ConnectionId, state: State) {
        if let Some(entry) = self.0.lock().get_mut(&connection) {
            entry.state = state;
        }
    }

    fn insert(&self, connection: ConnectionId, stream: Arc<TcpStream>, now: Time) {
        self.0.lock().insert(connection, Entry { stream, state: State::Idle(now) });
    }

    fn remove(&self, connection: ConnectionId) {
        self.0.lock().remove(&connection);
    }

    /// Ends the connection that was idle longest, or whose client took nothing for longest; false if there is none.
    fn make_room(&self, now: Time) -> bool {
        let mut served = self.0.lock();
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
        for entry in self.0.lock().values() {
            let _ = entry.stream.shutdown(Shutdown::Both);
        }
    }

    fn len(&self) -> usize {
        self.0.lock().len()
    }
}

/// Accepts until the peer stops.
pub(super) fn run(shared: &Arc<Shared>, listener: &TcpListener, events: &Sender<Event>, roster: &Roster) {
    let mut next: ConnectionId = 0;
    let mut refused = false;
    loop {
        let accepted = listener.accept();
        if shared.stopping.load(Ordering::Relaxed) {
            return;
        }
        fault::point(Role::TcpAccept);
        next += 1;
        let served = accepted.and_then(|(stream, from)| {
            let room = shared.served.len() < MAX_CONNECTIONS || shared.served.make_room(shared.clock.now());
            let from = canonical(from);
            if room { serve(shared, events, roster, next, stream, from).map(Some) } else { Ok(None) }
        });
        match served {
            Ok(Some(())) => refused = false,
            Ok(None) => log::debug!("a connection was turned away: all {MAX_CONNECTIONS} are busy"),
            Err(error) => {
                // Once is enough, however long it lasts.
                let level = if refused { log::Level::Debug } else { log::Level::Warn };
                log::log!(level, "a connection could not be taken: {error}");
                refused = true;
                shared.served.make_room(shared.clock.now());
                std::thread::park_timeout(BREATH);
            }
        }
    }
}

fn serve(
    shared: &Arc<Shared>,
    events: &Sender<Event>,
    roster: &Roster,
    connection: ConnectionId,
    stream: TcpStream,
    from: SocketAddr,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let stream = Arc::new(stream);
    shared.served.insert(connection, Arc::clone(&stream), shared.clock.now());
    let (of_thread, events) = (Arc::clone(shared), events.clone());
    let thread = roster.spawn_another(Role::TcpServe, connection, move || {
        let _served = ServedUntilDrop(&of_thread.served, connection);
        let outcome = tcp_serve::run(&of_thread, connection, &stream, from, &events);
        if let Err(error) = outcome {
            log::debug!("the connection from {from} ended: {error}");
        }
    });
    thread.map(|_| ()).inspect_err(|_| shared.served.remove(connection))
}

/// Takes a connection from the list, however its thread ends.
struct ServedUntilDrop<'a>(&'a Served, ConnectionId);

impl Drop for ServedUntilDrop<'_> {
    fn drop(&mut self) {
        self.0.remove(self.1);
    }
}
