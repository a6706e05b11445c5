//! The end of a peer: who is told, who is waited for, in which order, and who may be left behind.
//!
//! On Linux it needs nothing that the system can refuse: no descriptor, no thread, no connection. And it waits for
//! nothing without a limit: a thread that is stuck in a call that never returns (a read from a disk or a device, say)
//! is named and left behind, and ends with the process. No thread waits for the console.
//!
//! It comes in two halves. The node's thread, which knows first that the node has left, ends those that it feeds
//! ([`end`]). No thread can join itself: so the peer's owner joins the node's, and those that outlive it, in
//! [`join_last`]. What the process does after that, `commands` says.

use std::net::{TcpListener, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::sys::socket::{self, MsgFlags, SockaddrStorage};

use super::control::Control;
use super::node_loop::NodeLoop;
use super::recorder::WrittenCount;
use super::threads::Roster;
use super::{Clock, Role, Shared, signals, sockets};

/// Once all have been told, they have this long to end. What takes a sound thread longest is a link that takes leave of
/// a peer which is gone.
const JOIN_LIMIT: Duration = Duration::from_secs(3);

/// A recorder whose disk has taken nothing for this long is stuck.
const RECORD_LIMIT: Duration = Duration::from_secs(2);

/// Clients of the control socket have this long to read their last answer.
const LAST_ANSWER: Duration = Duration::from_secs(2);

/// A node that was told to leave at once has this long for it, with all of the above.
const NODE_LIMIT: Duration = Duration::from_secs(10);

/// The roles that [`Ending::end`] does not join: [`end`] and [`join_last`] do, and no thread joins the console.
const JOINED_LAST: [Role; 9] = [
    Role::Node,
    Role::Recorder,
    Role::Events,
    Role::Signals,
    Role::Console,
    Role::Control,
    Role::Client,
    Role::Command,
    Role::Renewer,
];

/// What it takes to end the other threads of a peer, whichever of them run.
#[derive(Clone)]
pub(super) struct Ending {
    pub(super) shared: Arc<Shared>,
    pub(super) roster: Roster,
    pub(super) udp: Arc<UdpSocket>,
    pub(super) tcp: Arc<TcpListener>,
}

/// Ends a peer whose node has left or failed. The node's thread does this last.
pub(super) fn end(node: NodeLoop, others: &Ending) {
    let NodeLoop { pool, links, inboxes, alarm, recorder, own, .. } = node;
    // No thread takes what workers still report: let them not wait for it. Callers that wait learn that no answer
    // comes.
    drop((inboxes, own));
    // Workers finish what they have, and wait for no other peer any more. Links send what waits.
    pool.close();
    links.close();
    // The node arms the sweeper no more, and there is nothing more to record.
    drop(alarm);
    let record = recorder.map(|recorder| recorder.close(others.shared.clock.now()));
    others.end();
    if let Some(record) = record {
        others.end_record(&record);
    }
}

impl Ending {
    /// Tells the threads that wait on sockets, and waits for all but those of [`JOINED_LAST`].
    pub(super) fn end(&self) {
        let deadline = self.within(JOIN_LIMIT);
        self.shared.stopping.store(true, Ordering::Relaxed);
        self.wake();
        // Before the connections: it would take new ones.
        let _ = self.roster.join(|role| role == Role::TcpAccept, Some(deadline));
        self.shared.served.end_all();
        let others = |role| !JOINED_LAST.contains(&role);
        leave_behind(&self.roster.join(others, Some(deadline)));
    }

    /// Wakes `udp-recv` and `tcp-accept` by shutting down what they wait on: on Linux that ends a `recvmmsg` (though
    /// the socket has no other end, which is what the error says) and an `accept`, whatever the address, the buffers
    /// and the firewall. Where it does not, the datagram to ourselves that follows wakes
    /// the first.
    fn wake(&self) {
        let _ = socket::shutdown(self.udp.as_raw_fd(), socket::Shutdown::Read);
        let _ = socket::shutdown(self.tcp.as_raw_fd(), socket::Shutdown::Both);
        // Elsewhere it ends no `accept`, but a connection does.
        #[cfg(not(target_os = "linux"))]
        if let Ok(bound) = self.tcp.local_addr() {
            let _ = std::net::TcpStream::connect_timeout(&sockets::reachable(bound), JOIN_LIMIT / 2);
        }
        if let Ok(bound) = self.udp.local_addr() {
            let to = SockaddrStorage::from(sockets::reachable(bound));
            let _ = socket::sendto(self.udp.as_raw_fd(), &[], &to, MsgFlags::MSG_DONTWAIT);
        }
    }

    /// Waits for the recorder as long as it writes.
    fn end_record(&self, record: &WrittenCount) {
        loop {
            let before = record.count();
            let left = self.roster.join(|role| role == Role::Recorder, Some(self.within(RECORD_LIMIT)));
            if left.is_empty() || record.count() == before {
                return leave_behind(&left);
            }
        }
    }

    fn within(&self, limit: Duration) -> Instant {
        within(self.shared.clock, limit)
    }
}

/// Waits for the threads that outlive the others: the node, which was told to leave, then those that write the last
/// answers to clients, then `events` and the renewer, then `signals`.
pub(super) fn join_last(
    roster: &Roster,
    clock: Clock,
    signals: Option<signals::SignalWatch>,
    control: Option<Control>,
) {
    leave_behind(&roster.join(|role| role == Role::Node, Some(within(clock, NODE_LIMIT))));
    // A client that does not read its answer by then gets none.
    let _ = roster.join(|role| role == Role::Command, Some(within(clock, LAST_ANSWER)));
    if let Some(control) = control {
        control.close();
        let those = |role| matches!(role, Role::Control | Role::Client | Role::Command);
        leave_behind(&roster.join(those, Some(within(clock, JOIN_LIMIT))));
    }
    let those = |role| matches!(role, Role::Events | Role::Renewer);
    leave_behind(&roster.join(those, Some(within(clock, JOIN_LIMIT))));
    if let Some(signals) = signals {
        signals.close();
        leave_behind(&roster.join(|role| role == Role::Signals, Some(within(clock, JOIN_LIMIT))));
    }
}

fn within(clock: Clock, limit: Duration) -> Instant {
    clock.instant(clock.now() + limit)
}

/// Says which threads are still there and will end with the process.
fn leave_behind(threads: &[String]) {
    if !threads.is_empty() {
        log::warn!("left behind, stuck in what never returns: the threads {}", threads.join(", "));
    }
}
