//! The file that gets a peer's events.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use kadring::console::events::EventLog;
use kadring::network::NetworkName;
use kadring::runtime::Tell;
use nix::fcntl::OFlag;

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

/// Opens the file for what is added to it. Events tell the keys of blocks, which only the owner may read, and no user
/// who may write in the folder can have them written elsewhere by a symbolic link.
fn open(path: &Path) -> io::Result<File> {
    let there = fs::metadata(path).map(|there| there.file_type()).ok();
    if let Some(kind) = there.filter(|kind| !kind.is_file() && !kind.is_dir()) {
        // Opening a named pipe for writing alone waits for its reader.
        let file = OpenOptions::new().read(kind.is_fifo()).write(true).open(path)?;
        let is_file = file.metadata()?.is_file();
        return if is_file { Err(io::Error::other("another file came there")) } else { Ok(file) };
    }
    let file =
        OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(OFlag::O_NOFOLLOW.bits()).open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_its_owner_reads_the_events_and_no_link_leads_them_elsewhere() {
        let folder = tempfile::tempdir().expect("a folder");
        let [new, old, link, victim] = ["new", "old", "link", "victim"].map(|name| folder.path().join(name));
        fs::write(&old, "before\n").expect("written");
        fs::write(&victim, "mine").expect("written");
        fs::set_permissions(&old, Permissions::from_mode(0o644)).expect("mine");
        for path in [&new, &old] {
            open(path).expect("it may be written");
            assert_eq!(fs::metadata(path).expect("there").permissions().mode() & 0o777, 0o600, "{path:?}");
        }
        assert_eq!(fs::read(&old).expect("there"), b"before\n", "what stood there stays");
        symlink(&victim, &link).expect("a link");
        assert!(open(&link).is_err());
        assert!(open(Path::new("/dev/null")).is_ok(), "a device is no file of anybody's");
    }
}
