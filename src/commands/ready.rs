//! How a peer tells that it is ready: by a file, and to the service manager that started it.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use kadring::console::json::Announced;
use kadring::network::NetworkName;
use kadring::runtime::Ready;
use kadring::whole_file;
use sd_notify::NotifyState;
use serde::Deserialize;

use super::Failed;

/// Removes the ready file of an earlier run. Another file of that name is left alone, and is an error.
pub(super) fn forget(path: &Path) -> Result<(), Failed> {
    let cannot = |error| Failed::start(format!("cannot replace the ready file {}: {error}", path.display()));
    let there = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        there => there.map_err(cannot)?,
    };
    let is_ready = || {
        serde_json::from_slice::<Process>(&whole_file::read_own(path, whole_file::SHORT).unwrap_or_default()).is_ok()
    };
    if !there.is_file() || (there.len() > 0 && !is_ready()) {
        let reason = format!("{} is there and is no ready file, so it is not replaced; name another", path.display());
        return Err(Failed::usage(reason));
    }
    fs::remove_file(path).map_err(cannot)
}

/// The part of a ready file by which it is told from another file.
#[derive(Deserialize)]
struct Process {
    #[serde(rename = "pid")]
    _pid: u32,
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
