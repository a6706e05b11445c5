//! How a peer tells that it is ready: by a file, and to the service manager that started it.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use kadring::console::json::Announced;
use kadring::network::NetworkName;
use kadring::runtime::Ready;
use kadring::whole_file;
use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use sd_notify::NotifyState;
use serde::Deserialize;

use super::Failed;

/// Removes the ready file of an earlier run. Another file of that name is left alone, and is an error. That of a
/// process that lives stays: a peer that is about to start may fail to, and that may be the very peer that has the
/// place.
pub(super) fn forget_gone(path: &Path) -> Result<(), Failed> {
    match announced(path)? {
        Some(pid) if pid.is_some_and(lives) => Ok(()),
        Some(_) => remove(path),
        None => Ok(()),
    }
}

/// Removes the ready file of an earlier run, even if that lives: what it tells of has lost its place to this peer.
pub(super) fn forget(path: &Path) -> Result<(), Failed> {
    announced(path)?.map_or(Ok(()), |_| remove(path))
}

/// The process that a ready file tells of; within, none where it is empty. None if no file is there.
fn announced(path: &Path) -> Result<Option<Option<i32>>, Failed> {
    let there = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        there => there.map_err(|error| cannot(path, &error))?,
    };
    let read = || whole_file::read_own(path, whole_file::MAX_SMALL_FILE).unwrap_or_default();
    let process = || serde_json::from_slice::<Process>(&read()).ok();
    match there.is_file().then(process).flatten() {
        Some(Process { pid }) => Ok(Some(i32::try_from(pid).ok())),
        None if there.is_file() && there.len() == 0 => Ok(Some(None)),
        None => {
            let path = path.display();
            Err(Failed::usage(format!("{path} is there and is no ready file, so it is not replaced; name another")))
        }
    }
}

fn remove(path: &Path) -> Result<(), Failed> {
    fs::remove_file(path).map_err(|error| cannot(path, &error))
}

fn cannot(path: &Path, error: &io::Error) -> Failed {
    Failed::start(format!("cannot replace the ready file {}: {error}", path.display()))
}

/// Whether a process is there, this user's or another's.
fn lives(pid: i32) -> bool {
    pid > 0 && kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH)
}

/// The part of a ready file by which it is told from another file.
#[derive(Deserialize)]
struct Process {
    pid: u32,
}

/// Announces that the peer is ready: in the ready file, and to the service manager. Returns the JSON of it.
pub(super) fn announce(ready: &Ready, network: (bool, NetworkName), file: Option<&Path>) -> Result<String, Failed> {
    let text = Announced::new(ready.id, ready.udp, network).shut_out(ready.shut_out).text();
    if let Some(path) = file {
        write_ready_file(path, &text)
            .map_err(|error| Failed::start(format!("cannot write the ready file {}: {error}", path.display())))?;
    }
    tell_supervisor(NotifyState::Ready);
    Ok(text)
}

/// Tells the service manager that started this process, if one did.
pub(super) fn tell_supervisor(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        log::debug!("the service manager cannot be told: {error}");
    }
}

/// Writes the ready file atomically, through a temporary file with a name that no other process can have prepared. Only
/// its owner may read it.
fn write_ready_file(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    writeln!(file, "{text}")?;
    file.persist(path).map(|_| ()).map_err(|error| error.error)
}
