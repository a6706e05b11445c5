//! The signals that tell a client to end: it dies of them, so that a shell's loop ends with it.

use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use anyhow::Context;
use kadring::runtime::ending_signals;
use signal_hook::consts::SIGPIPE;
use signal_hook::low_level::{self, pipe};
use signal_hook::{SigId, flag};

use super::Exit;

/// The signal that told a client to end; 0 while none has.
static TOLD: LazyLock<Arc<AtomicUsize>> = LazyLock::new(Arc::default);

/// From now on a signal to end is remembered; what it ends is ended by others.
pub(super) fn watch_signals() {
    for signal in ending_signals() {
        let _ = flag::register_usize(signal, Arc::clone(&TOLD), signal.unsigned_abs() as usize);
    }
}

/// Does what starts a peer. From then on a signal that comes once the peer has ended changes nothing: this process
/// ends, with the exit code that is known by then.
pub(super) fn outliving_signals<T>(start: impl FnOnce() -> T) -> T {
    let starting = Arc::new(AtomicBool::new(true));
    for signal in ending_signals() {
        let _ = flag::register_conditional_default(signal, Arc::clone(&starting));
    }
    let started = start();
    // The peer gets them by now; nothing else rests on it (`Relaxed`).
    starting.store(false, Ordering::Relaxed);
    started
}

/// Whether a signal came that tells this process to end.
pub(super) fn is_told() -> bool {
    // Nothing else rests on it (`Relaxed`).
    TOLD.load(Ordering::Relaxed) != 0
}

/// The reader of a file on standard output has gone: this process will end as programs do by default, without a word.
pub(super) fn end_as_by_sigpipe() -> Exit {
    // A signal that came before goes first. Nothing else rests on it (`Relaxed`).
    let _ = TOLD.compare_exchange(0, SIGPIPE as usize, Ordering::Relaxed, Ordering::Relaxed);
    Exit::Interrupted
}

/// Ends this process by the signal that ended its command, so that a shell's loop ends with it.
pub(crate) fn end_by_signal() {
    // It was set on this or another thread long before; nothing else rests on it (`Relaxed`).
    end_by(TOLD.load(Ordering::Relaxed));
}

/// Ends this process by a signal, unless it is 0.
pub(super) fn end_by(signal: usize) {
    if let Ok(signal @ 1..) = i32::try_from(signal) {
        let _ = low_level::emulate_default_handler(signal);
    }
}

/// Whether the next signal ends this process at once.
pub(super) struct NextSignal(Arc<AtomicBool>);

impl NextSignal {
    /// A signal says a byte to the peer, which ends the command; the answer comes all the same. Should the peer be
    /// stuck, a second signal ends this process.
    pub(super) fn asks() -> anyhow::Result<Self> {
        watch_signals();
        let told = Arc::new(AtomicBool::new(false));
        for signal in ending_signals() {
            flag::register_conditional_default(signal, Arc::clone(&told)).context("cannot watch for signals")?;
            flag::register(signal, Arc::clone(&told)).context("cannot watch for signals")?;
        }
        Ok(Self(told))
    }

    /// Waits for something that no peer has to be asked to end: a signal ends this process meanwhile, also one that
    /// came just before.
    pub(super) fn ends_while<T>(&self, wait: impl FnOnce() -> T) -> T {
        // A signal that comes now finds this set, or was noted before that is read: one order for both (`SeqCst`).
        self.0.store(true, Ordering::SeqCst);
        end_by(TOLD.load(Ordering::SeqCst));
        let waited = wait();
        self.0.store(false, Ordering::SeqCst);
        waited
    }
}

/// Says a byte at each signal that tells this process to end, until it is dropped.
pub(super) struct SaysSignals(Vec<SigId>);

impl SaysSignals {
    /// Says it at this end of a connection.
    ///
    /// # Errors
    /// There are no more descriptors.
    pub(super) fn at(end: &UnixStream) -> anyhow::Result<Self> {
        let mut says = Self(Vec::new());
        for signal in ending_signals() {
            says.0.push(pipe::register(signal, end.try_clone()?).context("cannot watch for signals")?);
        }
        Ok(says)
    }
}

impl Drop for SaysSignals {
    fn drop(&mut self) {
        for id in self.0.drain(..) {
            low_level::unregister(id);
        }
    }
}
