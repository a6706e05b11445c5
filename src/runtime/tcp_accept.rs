//! `tcp-accept`: waits for connections, and gives each a thread of its own to be served by.
//!
//! The number of these threads is bounded. When all are taken, the connection that has waited longest for its client to
//! say something makes room: a slow or silent client never keeps others out. If every one is busy sending, the
//! newcomer is turned away.

use std::collections::BTreeMap;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::Sender;
use parking_lot::Mutex;

use super::Shared;
use super::tcp_serve;
use super::threads::{Roster, Worker};
use crate::node::Event;
use crate::time::Time;

/// Connections served at a time.
const MAX_CONNECTIONS: usize = 128;

/// After the system refused to accept (no descriptors left, for example), the next try is made this much later.
const BREATH: Duration = Duration::from_millis(50);

/// Names a connection.
pub(super) type ConnectionId = u64;

/// The connections that are served now.
///
/// *Protects*: the list. *Held for*: one insertion, removal or mark. *Never held while*: anything is received or sent.
#[derive(Default)]
pub(super) struct Served(Mutex<BTreeMap<ConnectionId, Entry>>);

struct Entry {
    stream: Arc<TcpStream>,
    /// Since when its client has nothing asked, if so.
    idle_since: Option<Time>,
}

impl Served {
    /// The client of this connection is waited for since `since`, or being served.
    pub(super) fn mark(&self, connection: ConnectionId, idle_since: Option<Time>) {
        if let Some(entry) = self.0.lock().get_mut(&connection) {
            entry.idle_since = idle_since;
        }
    }

    fn insert(&self, connection: ConnectionId, stream: Arc<TcpStream>, now: Time) {
        self.0.lock().insert(connection, Entry { stream, idle_since: Some(now) });
    }

    pub(super) fn remove(&self, connection: ConnectionId) {
        self.0.lock().remove(&connection);
    }

    /// Ends the connection that was idle longest; false if none is idle.
    fn make_room(&self) -> bool {
        let mut served = self.0.lock();
        let idlest = served.iter().filter_map(|(id, entry)| Some((entry.idle_since?, *id))).min();
        let Some(entry) = idlest.and_then(|(_, id)| served.remove(&id)) else { return false };
        let _ = entry.stream.shutdown(Shutdown::Both);
        true
    }

    fn end_all(&self) {
        for entry in self.0.lock().values() {
            let _ = entry.stream.shutdown(Shutdown::Both);
        }
    }

    fn len(&self) -> usize {
        self.0.lock().len()
    }
}

/// Accepts until the peer stops; then ends and joins every connection's thread.
pub(super) fn run(shared: &Arc<Shared>, listener: &TcpListener, events: &Sender<Event>, roster: &Roster) {
    let mut threads: Vec<Worker> = Vec::new();
    let mut next: ConnectionId = 0;
    let mut refused = false;
    loop {
        let accepted = listener.accept();
        if shared.stopping.load(Ordering::Relaxed) {
            break;
        }
        threads.retain(|thread| !thread.is_finished());
        next += 1;
        let served = accepted.and_then(|(stream, from)| {
            let room = shared.served.len() < MAX_CONNECTIONS || shared.served.make_room();
            if room { serve(shared, events, roster, next, stream, from).map(Some) } else { Ok(None) }
        });
        match served {
            Ok(Some(thread)) => {
                refused = false;
                threads.push(thread);
            }
            Ok(None) => log::debug!("a connection was turned away: all {MAX_CONNECTIONS} are busy"),
            Err(error) => {
                // Once is enough, however long it lasts.
                let level = if refused { log::Level::Debug } else { log::Level::Warn };
                log::log!(level, "a connection could not be taken: {error}");
                refused = true;
                shared.served.make_room();
                std::thread::park_timeout(BREATH);
            }
        }
    }
    shared.served.end_all();
}

fn serve(
    shared: &Arc<Shared>,
    events: &Sender<Event>,
    roster: &Roster,
    connection: ConnectionId,
    stream: TcpStream,
    from: SocketAddr,
) -> io::Result<Worker> {
    stream.set_nodelay(true)?;
    let stream = Arc::new(stream);
    shared.served.insert(connection, Arc::clone(&stream), shared.clock.now());
    let (of_thread, events) = (Arc::clone(shared), events.clone());
    let thread = roster.spawn(&format!("tcp-serve-{}", connection % 10_000), move || {
        let outcome = tcp_serve::run(&of_thread, connection, &stream, from, &events);
        if let Err(error) = outcome {
            log::debug!("the connection from {from} ended: {error}");
        }
        of_thread.served.remove(connection);
    });
    if thread.is_err() {
        shared.served.remove(connection);
    }
    thread
}
