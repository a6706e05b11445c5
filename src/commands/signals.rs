//! The signals that tell a client to end: it dies of them, so that a shell's loop ends with it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use anyhow::Context;
use kadring::runtime::ending_signals;
use signal_hook::consts::SIGPIPE;
use signal_hook::{flag, low_level};

use super::Exit;

/// The signal that told a client to end; 0 while none has.
static TOLD: LazyLock<Arc<AtomicUsize>> = LazyLock::new(Arc::default);

/// From now on a signal to end is remembered; what it ends is ended by others.
pub(super) fn watch_signals() {
    for signal in ending_signals() {
        let _ = flag::register_usize(signal, Arc::clone(&TOLD), signal.unsigned_abs() as usize);
    }
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

/// A signal says a byte to the peer, which ends the command; the answer comes all the same. Should the peer be stuck, a
/// second signal ends this process.
pub(super) fn end_by_second_signal() -> anyhow::Result<()> {
    watch_signals();
    let told = Arc::new(AtomicBool::new(false));
    for signal in ending_signals() {
        flag::register_conditional_default(signal, Arc::clone(&told)).context("cannot watch for signals")?;
        flag::register(signal, Arc::clone(&told)).context("cannot watch for signals")?;
    }
    Ok(())
}
