//! Under a limit of address space (`ulimit -v`) the C library's arenas leave none to the rest: it sets 64 MiB or more
//! aside for each of many threads, and memory that is refused then ends the process. How many arenas there may be is
//! said by the environment alone, before the process begins.

use std::env;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Resource, getrlimit};

/// By this variable the C library learns how many arenas it may have.
const ARENAS: &str = "MALLOC_ARENA_MAX";

/// Begins this process anew with few arenas where its address space has a limit and the environment does not say how
/// many there may be. Where that cannot be, it goes on as it is.
pub(crate) fn bound() {
    if getrlimit(Resource::As).current.is_none() || env::var_os(ARENAS).is_some() {
        return;
    }
    let mut words = env::args_os();
    if let (Ok(program), Some(name)) = (env::current_exe(), words.next()) {
        let _ = Command::new(program).arg0(name).args(words).env(ARENAS, "2").exec();
    }
}
