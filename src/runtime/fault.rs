//! Faults for tests: a role fails in the middle of its work, as a fault of ours in it would make it fail.
//!
//! The environment variable `KADRING_FAULT` names a role whose thread panics, once, at its [`point`]; with `:stuck`
//! after the name, it waits for ever instead. A build for release has neither the variable nor the points.

use super::Role;

/// A place in the work of `role` where it can be made to fail.
#[cfg(debug_assertions)]
pub(crate) fn point(role: Role) {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicBool, Ordering};

    static FAULT: LazyLock<String> = LazyLock::new(|| std::env::var("KADRING_FAULT").unwrap_or_default());
    // One thread of all finds it false, whichever (`Relaxed`).
    static RAISED: AtomicBool = AtomicBool::new(false);
    let (name, how) = FAULT.split_once(':').unwrap_or((&FAULT, "panic"));
    if name != role.name() || RAISED.swap(true, Ordering::Relaxed) {
        return;
    }
    if how == "stuck" {
        log::error!("a fault for a test: waits for ever in {name}");
        loop {
            std::thread::park();
        }
    }
    panic!("a fault for a test, in {name}");
}

/// Does nothing: a build for release has no such faults.
#[cfg(not(debug_assertions))]
pub(crate) fn point(_: Role) {}
