//! `signals`: waits for SIGINT and SIGTERM.
//!
//! The first asks the peer what its owner chose (usually to quit with a handover); the second ends the process at once,
//! for whoever does not want to wait.

use std::io;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

use super::Handle as PeerHandle;
use super::threads::{Roster, Worker};
use crate::node::Command;

/// The thread, and what ends it.
pub(super) struct Watch {
    handle: Handle,
    _thread: Worker,
}

impl Watch {
    /// Asks the peer for `command` when a signal comes.
    pub(super) fn start(roster: &Roster, peer: PeerHandle, command: Command) -> io::Result<Self> {
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let handle = signals.handle();
        let thread = roster.spawn("signals", move || {
            let mut asked = false;
            for signal in signals.forever() {
                if asked {
                    log::warn!("ended at once by a second signal");
                    std::process::exit(128 + signal);
                }
                asked = true;
                log::info!("signal {signal}: leaving the network");
                peer.submit(command.clone());
            }
        })?;
        Ok(Self { handle, _thread: thread })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.handle.close();
    }
}
