//! Demonstrations for a lecture.

use std::io::{self, Write};

use anyhow::Context;
use kadring::runtime::demo::{self, WAITERS};

use super::Exit;
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
    io::stdout().write_all(text.as_bytes()).context("cannot write it")?;
    Ok(Exit::Done)
}
