//! `signals`: waits for SIGINT and SIGTERM.
//!
//! The first asks the peer what its owner chose (usually to quit with a handover); the second ends the process at once,
//! for a user who does not want to wait. At a terminal SIGINT (Ctrl-C) is asked as an interrupt: as long as that only
//! ends commands, it counts as none.

use std::io;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

use super::threads::Roster;
use super::{Handle as PeerHandle, Role, fault};
use crate::node::{Answer, Command, Notice};

/// A node that goes on says so this soon.
const GOES_ON: Duration = Duration::from_millis(500);

/// What the signals ask of the peer.
pub(super) struct Asks {
    /// SIGINT.
    pub(super) interrupt: Command,
    /// SIGTERM.
    pub(super) terminate: Command,
}

/// What ends the thread.
pub(super) struct Watch {
    handle: Handle,
}

impl Watch {
    /// Asks the peer as `asks` says when a signal comes.
    pub(super) fn start(roster: &Roster, peer: PeerHandle, asks: Asks) -> io::Result<Self> {
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let handle = signals.handle();
        roster.spawn(Role::Signals, move || {
            let mut asked = false;
            for signal in signals.forever() {
                fault::point(Role::Signals);
                if asked {
                    log::warn!("ended at once by a second signal");
                    log::logger().flush();
                    std::process::exit(128 + signal);
                }
                let command = if signal == SIGINT { &asks.interrupt } else { &asks.terminate };
                asked = !goes_on(&peer, command);
                match asked {
                    true => log::info!("signal {signal}: leaving the network"),
                    false => log::warn!("Ctrl-C once more leaves the network and ends this peer"),
                }
            }
        })?;
        Ok(Self { handle })
    }

    /// Ends the thread, which waits for nothing else then.
    pub(super) fn close(self) {
        self.handle.close();
    }
}

/// Asks the peer; whether that only ended commands, so that it goes on.
fn goes_on(peer: &PeerHandle, command: &Command) -> bool {
    let notices = peer.submit(command.clone());
    let interrupts = matches!(command, Command::Interrupt { .. });
    // The answer to anything else may take long, and the next signal must not wait for it.
    let answer = interrupts.then(|| notices.recv_timeout(GOES_ON).ok()).flatten();
    matches!(answer, Some(Notice::Answer { answer: Answer::Interrupted { .. }, .. }))
}
