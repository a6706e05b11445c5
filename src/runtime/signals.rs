//! `signals`: waits for SIGINT, SIGTERM, SIGHUP and SIGQUIT.
//!
//! The first asks the peer what its owner chose (usually to quit with a handover); the second ends the process at once,
//! for a user who does not want to wait. At a terminal SIGINT (Ctrl-C) is asked as an interrupt: as long as that only
//! ends commands, it counts as none; and an owner may choose that it ends the process at once, as the classroom ring
//! does. SIGHUP, which the end of a terminal sends, is asked as SIGTERM is, unless the peer was started to outlive its
//! terminal (`nohup`). SIGQUIT (Ctrl-\) ends nothing: it shows what each thread is at.
//!
//! Once no peer of this process waits for signals any more, they do what they did before the first one: what ended the
//! process ends it again ([`Unwatched`]).

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};
use signal_hook::{flag, low_level};

use super::look;
use super::threads::Roster;
use super::{Handle as PeerHandle, LastAct, Role, fault, stopwatch};
use crate::gauges;
use crate::node::{Answer, Command, Notice};

/// A node that goes on says so this soon.
const GOES_ON: Duration = Duration::from_millis(500);

/// The same signal once more within this time is no second one: `timeout` sends it to its child and then to the child's
/// group, and a terminal that ends may be told of by the system and by the shell.
const ECHO: Duration = Duration::from_millis(200);

/// What the signals ask of the peer.
pub(super) struct Asks {
    /// The command that SIGINT stands for.
    pub(super) interrupt: Command,
    /// The command that SIGTERM and SIGHUP stand for.
    pub(super) terminate: Command,
    /// SIGINT, or a second signal, ends the process by that signal once this is done.
    pub(super) abrupt: Option<LastAct<i32>>,
}

/// What ends the thread.
pub(super) struct SignalWatch {
    handle: Handle,
}

impl SignalWatch {
    /// Asks the peer as `asks` says when a signal comes.
    pub(super) fn start(roster: &Roster, peer: PeerHandle, asks: Asks) -> io::Result<Self> {
        let watched: Vec<i32> = ends().into_iter().chain([SIGQUIT]).collect();
        UNWATCHED.leave_to_us(&watched)?;
        let mut signals = Signals::new(watched).inspect_err(|_| UNWATCHED.give_back())?;
        let watch = Self { handle: signals.handle() };
        roster.spawn(Role::Signals, move || {
            let mut asked = false;
            let mut signals = signals.forever();
            let clock = stopwatch();
            let mut before = None;
            while let Some(signal) = gauges::wait(|| signals.next()) {
                if signal == SIGQUIT {
                    look::dump();
                    continue;
                }
                if is_echo((signal, clock()), before) {
                    continue;
                }
                fault::point(Role::Signals);
                if asked || (signal == SIGINT && asks.abrupt.is_some()) {
                    end_at_once(signal, asks.abrupt.as_ref());
                }
                let command = if signal == SIGINT { &asks.interrupt } else { &asks.terminate };
                asked = !goes_on(&peer, command);
                // A signal that came meanwhile is seen now. A signal that only ended commands is followed by others as
                // it was.
                before = asked.then(|| (signal, clock()));
                match asked {
                    true => log::info!("signal {signal}: leaving the network"),
                    false => log::warn!("Ctrl-C once more leaves the network and ends this peer"),
                }
            }
        })?;
        Ok(watch)
    }

    /// Ends the thread, which waits for nothing else then.
    pub(super) fn close(self) {
        self.handle.close();
    }
}

impl Drop for SignalWatch {
    fn drop(&mut self) {
        UNWATCHED.give_back();
    }
}

/// What signals do while no peer of this process waits for them. A handler of ours stays once it is there: it does
/// nothing more where the process ignored the signal or has a handler of its own, and ends the process where the signal
/// did that before.
struct Unwatched {
    /// Peers that wait for signals.
    watches: AtomicUsize,
    /// Whether there is none: the handlers look here.
    ends: Arc<AtomicBool>,
    /// The signals that have such a handler, by their bits.
    handled: AtomicUsize,
}

static UNWATCHED: LazyLock<Unwatched> =
    LazyLock::new(|| Unwatched { watches: AtomicUsize::new(0), ends: Arc::default(), handled: AtomicUsize::new(0) });

impl Unwatched {
    // The number of peers and what the handlers look at are two: in one order for all threads (`SeqCst`), or the last
    // to change the number could miss that another has told of an older one.

    /// A peer waits for these signals from now on.
    fn leave_to_us(&self, signals: &[i32]) -> io::Result<()> {
        for &signal in signals {
            let bit = 1 << signal;
            let before = self.handled.fetch_or(bit, Ordering::SeqCst);
            if before & bit == 0
                && !is_in(signal, "SigIgn").unwrap_or(false)
                && !is_in(signal, "SigCgt").unwrap_or(false)
            {
                flag::register_conditional_default(signal, Arc::clone(&self.ends))?;
            }
        }
        self.watches.fetch_add(1, Ordering::SeqCst);
        self.tell();
        Ok(())
    }

    /// It does no longer.
    fn give_back(&self) {
        self.watches.fetch_sub(1, Ordering::SeqCst);
        self.tell();
    }

    /// Of several threads that change the number at once, the last to write looks once more, and sees the last number.
    fn tell(&self) {
        loop {
            let none = self.watches.load(Ordering::SeqCst) == 0;
            self.ends.store(none, Ordering::SeqCst);
            if none == (self.watches.load(Ordering::SeqCst) == 0) {
                return;
            }
        }
    }
}

/// Whether a signal that came at a time is the one that came `before`, told twice.
fn is_echo((signal, now): (i32, Duration), before: Option<(i32, Duration)>) -> bool {
    before.is_some_and(|(known, at)| known == signal && now.saturating_sub(at) < ECHO)
}

/// Ends the process.
fn end_at_once(signal: i32, abrupt: Option<&LastAct<i32>>) {
    match abrupt {
        Some(LastAct(act)) => act(signal),
        None => log::warn!("ended at once by a second signal"),
    }
    log::logger().flush();
    // By the signal itself, so that a shell's loop ends with it.
    let _ = low_level::emulate_default_handler(signal);
    std::process::exit(128 + signal);
}

/// The signals that tell this process to end. SIGINT is one though a script's `&` has it ignored: a user who sends it
/// to a peer means it.
pub fn ends() -> Vec<i32> {
    let mut signals = vec![SIGINT, SIGTERM];
    if !is_ignored(SIGHUP) {
        signals.push(SIGHUP);
    }
    signals
}

/// Whether this process was started with a signal ignored. Where the system does not tell, it counts as ignored.
fn is_ignored(signal: i32) -> bool {
    is_in(signal, "SigIgn").unwrap_or(true)
}

/// Whether a signal is in a set that the system keeps of this process; none where it does not tell.
fn is_in(signal: i32, set: &str) -> Option<bool> {
    let mask = u64::from_str_radix(&status_field(set)?, 16).ok()?;
    Some(mask >> (signal - 1) & 1 == 1)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_that_is_told_twice_at_once_is_one_and_a_second_one_is_not_overheard() {
        let at = Duration::from_millis;
        assert!(!is_echo((SIGTERM, at(0)), None));
        for (signal, now, expected) in
            [(SIGTERM, 1000, true), (SIGTERM, 1199, true), (SIGTERM, 1200, false), (SIGINT, 1000, false)]
        {
            assert_eq!(is_echo((signal, at(now)), Some((SIGTERM, at(1000)))), expected, "{signal} {now}");
        }
    }
}
