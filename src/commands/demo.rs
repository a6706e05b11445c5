//! Demonstrations for a lecture.

use anyhow::Context;
use kadring::runtime::demo::{self, WAITERS};

use super::Exit;
use super::standard::say;
use crate::args::Demo;

/// Runs `kadring demo`.
pub(crate) fn run(demo: Demo) -> anyhow::Result<Exit> {
    let text = match demo {
        Demo::Lock => {
            let (seen, count) = demo::lock().context("cannot start a thread")?;
            format!(
                "One thread holds a lock while {WAITERS} others wait for it:\n\n{seen}\n\n\
                 Then it was let go, and the others had it one after another: {count} times.\n"
            )
        }
    };
    say(text.as_bytes())
}
