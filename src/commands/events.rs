//! The file that gets a peer's events.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::sync::Arc;

use kadring::console::events::EventLog;
use kadring::network::NetworkName;
use kadring::runtime::Tell;

use super::Failed;
use super::standard::is_standard;

/// Has the events of a peer of this network written to the file `path`; `-` is standard output.
pub(super) fn to(path: &Path, network: (bool, NetworkName)) -> Result<Tell, Failed> {
    if is_standard(path) {
        return Ok(Tell(Arc::new(move |me, notices| EventLog::new(io::stdout(), network).run(&me, &notices))));
    }
    let file =
        open(path).map_err(|error| Failed::start(format!("cannot write events to {}: {error}", path.display())))?;
    Ok(Tell(Arc::new(move |me, notices| EventLog::new(&file, network).run(&me, &notices))))
}

fn open(path: &Path) -> io::Result<File> {
    // Who opens a named pipe for writing alone waits for its reader.
    let is_pipe = fs::metadata(path).is_ok_and(|there| there.file_type().is_fifo());
    if is_pipe {
        return OpenOptions::new().read(true).write(true).open(path);
    }
    OpenOptions::new().append(true).create(true).open(path)
}
