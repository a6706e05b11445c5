//! `signals`: waits for SIGINT, SIGTERM, SIGHUP and SIGQUIT.
//!
//! The first asks the peer what its owner chose (usually to quit with a handover); the second ends the process at once,
//! for a user who does not want to wait. At a terminal SIGINT (Ctrl-C) is asked as an interrupt: as long as that only
//! ends commands, it counts as none; and an owner may choose that it ends the process at once, as the classroom ring
//! does. SIGHUP, which the end of a terminal sends, is asked as SIGTERM is. One that was ignored when the process
//! started stays so. SIGQUIT (Ctrl-\) ends nothing: it shows what each thread is at.

use std::io;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};
use signal_hook::low_level;

use super::look;
use super::threads::Roster;
use super::{Handle as PeerHandle, LastAct, Role, fault};
use crate::gauges;
use crate::node::{Answer, Command, Notice};

/// A node that goes on says so this soon.
const GOES_ON: Duration = Duration::from_millis(500);

/// What the signals ask of the peer.
pub(super) struct Asks {
    /// SIGINT.
    pub(super) interrupt: Command,
    /// SIGTERM and SIGHUP.
    pub(super) terminate: Command,
    /// SIGINT, or a second signal, ends the process by that signal once this is done.
    pub(super) abrupt: Option<LastAct<i32>>,
}

/// What ends the thread.
pub(super) struct Watch {
    handle: Handle,
}

impl Watch {
    /// Asks the peer as `asks` says when a signal comes.
    pub(super) fn start(roster: &Roster, peer: PeerHandle, asks: Asks) -> io::Result<Self> {
        let mut signals = Signals::new(ends().into_iter().chain([SIGQUIT]))?;
        let handle = signals.handle();
        roster.spawn(Role::Signals, move || {
            let mut asked = false;
            let mut signals = signals.forever();
            while let Some(signal) = gauges::wait(|| signals.next()) {
                if signal == SIGQUIT {
                    look::dump();
                    continue;
                }
                fault::point(Role::Signals);
                if asked || (signal == SIGINT && asks.abrupt.is_some()) {
                    end_at_once(signal, asks.abrupt.as_ref());
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

/// Ends the process.
fn end_at_once(signal: i32, abrupt: Option<&LastAct<i32>>) {
    match abrupt {
        Some(LastAct(act)) => {
            act(signal);
            log::logger().flush();
            let _ = low_level::emulate_default_handler(signal);
        }
        None => {
            log::warn!("ended at once by a second signal");
            log::logger().flush();
        }
    }
    std::process::exit(128 + signal);
}

/// The signals that tell this process to end: not those that it was started to ignore, as `nohup` has it for SIGHUP and
/// a script's `&` for SIGINT.
pub fn ends() -> Vec<i32> {
    // Where the system does not tell, a peer that shall outlive its terminal does, and others can be ended.
    let ignored = ignored().unwrap_or(1 << (SIGHUP - 1));
    [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 0).collect()
}

/// The signals that this process was started to ignore, a bit for each.
fn ignored() -> Option<u64> {
    u64::from_str_radix(&status_field("SigIgn")?, 16).ok()
}

/// What the system says of this process under a name.
pub(super) fn status_field(name: &str) -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(value.trim().to_owned())
}

/// Asks the peer; whether that only ended commands, so that it goes on.
fn goes_on(peer: &PeerHandle, command: &Command) -> bool {
    let notices = peer.submit(command.clone());
    let interrupts = matches!(command, Command::Interrupt { .. });
    // The answer to anything else may take long, and the next signal must not wait for it.
    let answer = interrupts.then(|| notices.recv_timeout(GOES_ON).ok()).flatten();
    matches!(answer, Some(Notice::Answer { answer: Answer::Interrupted { .. }, .. }))
}
