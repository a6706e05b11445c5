//! `events`: gives every notice of the peer, from the first one on, to the function in
//! [`Options::events`](super::Options::events).
//!
//! The node waits for no reader, so where this thread's reader or disk is slow, notices are missed, and it is told how
//! many.

use std::fmt;
use std::io;
use std::sync::Arc;

use super::state::Readiness;
use super::threads::Roster;
use super::{Role, fault};
use crate::node::Notice;
use crate::peer::Peer;
use crossbeam_channel::Receiver;

/// What reads the notices of a peer until it has ended, on a thread of its own. It returns when they end: to drop the
/// peer waits for it, three seconds at most, and then leaves its thread behind. It is called back when the peer has
/// joined, for example:
/// ```
/// use std::sync::Arc;
/// use std::sync::mpsc::channel;
///
/// use kadring::node::Notice;
/// use kadring::runtime::{LocalPeer, Options, OverlayKind, Tell};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// for overlay in [OverlayKind::Kademlia, OverlayKind::Ring] {
///     let first = LocalPeer::start(Options { overlay, ..Options::default() })?;
///     let (ready, readies) = channel();
///     let tell = Tell(Arc::new(move |me, notices| {
///         for notice in notices {
///             if let Notice::Joined { peers, .. } = notice {
///                 let _ = ready.send((me, peers));
///             }
///         }
///     }));
///     let bootstrap = vec![first.me().addr];
///     let second = LocalPeer::start(Options { overlay, bootstrap, events: Some(tell), ..Options::default() })?;
///     assert_eq!(readies.recv()?, (second.me(), 1));
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Tell(pub Arc<dyn Fn(Peer, Receiver<Notice>) + Send + Sync>);

impl fmt::Debug for Tell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tell")
    }
}

/// Starts the thread, which ends once the node has.
pub(super) fn start(roster: &Roster, me: Peer, state: &Readiness, Tell(tell): Tell) -> io::Result<()> {
    let notices = state.watch();
    let work = move || {
        fault::point(Role::Events);
        tell(me, notices);
    };
    roster.spawn(Role::Events, work).map(|_| ())
}
