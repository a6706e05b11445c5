//! `tcp-accept`: waits for connections, and gives each a thread of its own to be served by.
//!
//! The number of connections is bounded, and that of these threads. When all are taken, one that is idle or stalled
//! makes room, as `Served::make_room` chooses, or the newcomer is turned away: so neither a slow or silent client nor a
//! crowd of them at one address keeps others out. A thread whose connection made room may be stuck in a disk: there are
//! twice as many threads as connections at most.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::channels::CONNECTIONS;
use super::descriptors::ConnectionShares;
use super::post::Post;
use super::seldom::Seldom;
use super::served::{ConnectionId, ServedUntilDrop};
use super::sockets::canonical;
use super::tcp_serve;
use super::threads::{Roster, Worker};
use super::{Role, Shared, fault};
use crate::gauges;
use crate::source::Subnet;
use crate::store::is_shortage;

/// After the system refused to accept (no descriptors left, for example), the next try is made this much later.
const BREATH: Duration = Duration::from_millis(50);

/// Accepts until the peer stops.
pub(super) fn run(shared: &Arc<Shared>, listener: &TcpListener, events: &Post, roster: &Roster) {
    let mut next: ConnectionId = 0;
    let refused = Seldom::default();
    let mut threads: Vec<Worker> = Vec::new();
    let most = ConnectionShares::of_process().served.min(CONNECTIONS.most());
    loop {
        let accepted = gauges::wait(|| listener.accept());
        if shared.stopping.load(Ordering::Relaxed) {
            return;
        }
        fault::point(Role::TcpAccept);
        next += 1;
        threads.retain(|thread| !thread.is_finished());
        let served = accepted.and_then(|(stream, from)| {
            let from = canonical(from);
            let room = || shared.served.make_room(Some(Subnet::of(from)), shared.clock.now());
            let room = threads.len() < 2 * most && (shared.served.len() < most || room());
            if room { serve(shared, events, roster, next, stream, from).map(Some) } else { Ok(None) }
        });
        match served {
            Ok(Some(thread)) => threads.push(thread),
            Ok(None) => log::debug!("a connection was turned away: all {most} are busy"),
            Err(error) => {
                log::log!(refused.level(shared.clock.now()), "a connection could not be taken: {error}");
                // For want of a thread it would block.
                if is_shortage(&error) || error.kind() == io::ErrorKind::WouldBlock {
                    shared.served.make_room(None, shared.clock.now());
                }
                std::thread::park_timeout(BREATH);
            }
        }
    }
}

fn serve(
    shared: &Arc<Shared>,
    events: &Post,
    roster: &Roster,
    connection: ConnectionId,
    stream: TcpStream,
    from: SocketAddr,
) -> io::Result<Worker> {
    stream.set_nodelay(true)?;
    let stream = Arc::new(stream);
    shared.served.insert(connection, Arc::clone(&stream), Subnet::of(from), shared.clock.now());
    let (of_thread, events) = (Arc::clone(shared), events.clone());
    let thread = roster.spawn_another(Role::TcpServe, connection, move || {
        let _served = ServedUntilDrop::new(&of_thread.served, connection);
        let outcome = tcp_serve::run(&of_thread, connection, &stream, from, &events);
        if let Err(error) = outcome {
            log::debug!("the connection from {from} ended: {error}");
        }
    });
    thread.inspect_err(|_| shared.served.remove(connection))
}
