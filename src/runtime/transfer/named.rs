//! Jobs about files by name: looked for, pulled from other peers, verified.
//!
//! A file is received under a temporary name, hashed on the way, and gets its own name once its hash is the one that
//! the sender announced at the end: a reader sees the old file or the new one, never a part.
//!
//! The line that asks and the answer to it stand in [`crate::wire::ring`]. The first line of the answer names the
//! version (size and `modified`, in microseconds since 1970); what is here stays unless that version may replace it,
//! and a copy that is kept gets the time of its original, so that both are the same version.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use super::cancel::Cancel;
use super::connections::{SILENCE_LIMIT, lost, refused, reply_in_time};
use super::{Workbench, cannot_write, failed, io_failed};
use crate::id::Id;
use crate::name::FileName;
use crate::node::job::{JobError, JobErrorKind, NamedJob, NamedOutcome, Resolution, Version, resolve};
use crate::runtime::bounded_lines::{BoundedLines, is_timeout};
use crate::runtime::named::{FileRequest, PART_ENDING, WorkingFolder, ask, time_of, version_of};
use crate::runtime::secrecy::Stream;
use crate::store::hash_all;
use crate::wire::MAX_REQUEST_LINE;

/// Bytes a second that a peer brings of a file at least on the whole; one that brings less is given up.
const LEAST_BROUGHT: u64 = 64 * 1024;

/// A file that is on its way here.
struct IncomingFile<'a> {
    bench: &'a Workbench,
    stream: Stream,
    from: SocketAddr,
    file: FileName,
    version: Version,
    /// The lines before and behind the file's bytes.
    lines: BoundedLines,
    cancel: Cancel,
}

/// A file that came, under its temporary name.
struct ArrivedFile {
    temporary: NamedTempFile,
    sha256: Id,
}

impl Workbench {
    pub(super) fn named(&self, job: NamedJob, cancel: &Cancel, piece: &mut [u8]) -> Result<NamedOutcome, JobError> {
        let Some(folder) = &self.shared.folder else {
            return Err(failed(JobErrorKind::Io, "this peer has no working directory"));
        };
        let subject = match job {
            NamedJob::Find { file } | NamedJob::Touch { file } | NamedJob::Keep { file, .. } => Some(file),
            NamedJob::Scan | NamedJob::Receive { .. } => None,
        };
        let outcome = self.named_in(folder, job, cancel, piece)?;
        // The node looks for what its user stores and for what it is responsible for, and for nothing else.
        subject.into_iter().for_each(|file| folder.give(file));
        Ok(outcome)
    }

    fn named_in(
        &self,
        folder: &WorkingFolder,
        job: NamedJob,
        cancel: &Cancel,
        piece: &mut [u8],
    ) -> Result<NamedOutcome, JobError> {
        let cannot = |what: &str, path: &Path| {
            let what = format!("{what} '{}'", path.display());
            move |error: io::Error| io_failed(&what, &error)
        };
        match job {
            NamedJob::Scan => {
                let files = folder.scan().map_err(cannot("look through", folder.path()))?;
                Ok(NamedOutcome::Scanned { files })
            }
            NamedJob::Find { file } => {
                let version = folder.find(file).map_err(cannot("look for", &folder.place(file)))?;
                Ok(NamedOutcome::Found { version })
            }
            NamedJob::Touch { file } => touch(folder, file).map_err(|error| cannot_write(&folder.place(file), &error)),
            NamedJob::Keep { file, from, offered, ours, replace } => {
                let here = folder.find(file).map_err(cannot("look for", &folder.place(file)))?;
                let wish = KeepRequest { file, from, offered, ours, replace, here };
                self.keep_named(folder, &wish, cancel, piece)
            }
            NamedJob::Receive { file, from, port } => {
                let incoming = self.request_named(FileRequest { file, port: Some(port) }, from, cancel)?;
                folder.check_room(file, incoming.version.size)?;
                let (size, dest) = (incoming.version.size, folder.received(file));
                let ArrivedFile { temporary, sha256 } = incoming.receive(folder, &dest, piece)?;
                temporary.persist(&dest).map_err(|error| cannot_write(&dest, &error.error))?;
                Ok(NamedOutcome::Received { size, sha256 })
            }
        }
    }

    /// Has a file here as another peer has it, unless what is here must stay.
    fn keep_named(
        &self,
        folder: &WorkingFolder,
        wish: &KeepRequest,
        cancel: &Cancel,
        piece: &mut [u8],
    ) -> Result<NamedOutcome, JobError> {
        let &KeepRequest { file, from, here, .. } = wish;
        if let (Some(version), Resolution::Stays) = (here, wish.resolution(wish.offered)) {
            wish.tell_of_two(wish.offered, true);
            return Ok(NamedOutcome::Kept { version, written: false });
        }
        let incoming = self.request_named(FileRequest { file, port: None }, from, cancel)?;
        let version = incoming.version;
        let resolution = wish.resolution(Some(version));
        match (here, resolution) {
            (Some(version), Resolution::Stays) => {
                wish.tell_of_two(Some(incoming.version), true);
                return Ok(NamedOutcome::Kept { version, written: false });
            }
            (Some(here), Resolution::Compared) if here.size != version.size => return Err(another(file)),
            _ => {}
        }
        folder.check_announced(file, version)?;
        let _share = folder.share(file, version.size, from).map_err(|reason| failed(JobErrorKind::Full, reason))?;
        let dest = folder.place(file);
        let ArrivedFile { temporary, sha256 } = incoming.receive(folder, &dest, piece)?;
        let cannot = |error: &io::Error| cannot_write(&dest, error);
        if let Some(here) = here.filter(|here| resolution == Resolution::Compared || *here == version) {
            let ours = File::open(&dest).and_then(|file| hash_all(&file)).map_err(|error| cannot(&error))?;
            if ours == sha256 {
                return Ok(NamedOutcome::Kept { version: here, written: false });
            }
        }
        if resolution == Resolution::Compared {
            return Err(another(file));
        }
        let version = if wish.replace { version.stored_over(here) } else { version };
        let written = temporary.as_file();
        written.set_modified(time_of(version)).and_then(|()| written.sync_data()).map_err(|error| cannot(&error))?;
        // A file system may keep times less exactly, or not all of them. What counts is what others will find here.
        let version = written.metadata().map(|metadata| version_of(&metadata)).map_err(|error| cannot(&error))?;
        match folder.find(file).map_err(|error| cannot(&error))? {
            now if now == here => {}
            // A peer that shares this directory was faster.
            Some(now) if now == version => return Ok(NamedOutcome::Kept { version, written: false }),
            // The user has put a file here meanwhile.
            _ => return Err(another(file)),
        }
        match here {
            Some(_) => temporary.persist(&dest),
            // Another program may have put a file there meanwhile.
            None => temporary.persist_noclobber(&dest),
        }
        .map_err(|error| cannot(&error.error))?;
        wish.tell_of_two(Some(version), false);
        folder.remember(file, version, sha256);
        folder.note_brought(file, version.size, from);
        Ok(NamedOutcome::Kept { version, written: true })
    }

    /// Asks a peer for a file and reads the first line of its answer.
    fn request_named(
        &self,
        asked: FileRequest,
        from: SocketAddr,
        cancel: &Cancel,
    ) -> Result<IncomingFile<'_>, JobError> {
        let stream = self.shared.connections.connect(self.shared.clock, from, cancel)?;
        let mut lines = BoundedLines::default();
        let clock = self.shared.clock;
        let asking = (&stream).write_all(ask(asked).as_bytes());
        let line = asking.and_then(|()| reply_in_time(&stream, &mut lines, MAX_REQUEST_LINE, clock));
        let line = line.map_err(|error| cancel.check().err().unwrap_or_else(|| lost(from, &error)))?;
        if let Some(reason) = line.strip_prefix("error: ") {
            return Err(refused(from, reason));
        }
        let numbers =
            line.split_once(' ').and_then(|(size, modified)| Some((size.parse().ok()?, modified.parse().ok()?)));
        let Some((size, modified)) = numbers else {
            return Err(failed(
                JobErrorKind::Corrupt,
                format!("peer {from} does not answer as a peer of the ring does"),
            ));
        };
        let version = Version { size, modified };
        Ok(IncomingFile { bench: self, stream, from, file: asked.file, version, lines, cancel: cancel.clone() })
    }
}

/// What a [`NamedJob::Keep`] is about, and what is here.
struct KeepRequest {
    file: FileName,
    from: SocketAddr,
    offered: Option<Version>,
    ours: Option<Version>,
    replace: bool,
    here: Option<Version>,
}

impl KeepRequest {
    /// Two versions of a file met that were stored apart, as on both sides of a cut: one of them goes, and the user who
    /// reads this log hears which. That a user's store takes the place of what was there is as it should be.
    fn tell_of_two(&self, theirs: Option<Version>, ours_stays: bool) {
        if let Some(told) = self.two(theirs, ours_stays) {
            log::warn!("{told}");
        }
    }

    fn two(&self, theirs: Option<Version>, ours_stays: bool) -> Option<String> {
        let (ours, theirs) = (self.here?, theirs?);
        if self.replace || ours == theirs || ours.size == 0 || theirs.size == 0 {
            return None;
        }
        let [kept, gone] = if ours_stays { ["the one here", "theirs"] } else { ["theirs", "the one here"] };
        let (file, from) = (self.file, self.from);
        Some(format!(
            "file {file} was stored twice, here and at {from}: {kept} was changed last and is kept, {gone} goes"
        ))
    }

    /// What becomes of the file here if the other peer has `theirs`.
    fn resolution(&self, theirs: Option<Version>) -> Resolution {
        resolve(self.here, theirs, self.ours, self.replace)
    }
}

impl IncomingFile<'_> {
    /// Receives the file, which is to lie at `dest`, under a temporary name in `folder`, and compares its hash with the
    /// one announced.
    fn receive(mut self, folder: &WorkingFolder, dest: &Path, piece: &mut [u8]) -> Result<ArrivedFile, JobError> {
        let cannot = |error: &io::Error| cannot_write(dest, error);
        let prefix = format!(".{}.pdf.", self.file);
        // As readable as any other file that the user makes.
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        let mut temporary = tempfile::Builder::new()
            .prefix(&prefix)
            .suffix(PART_ENDING)
            .permissions(permissions)
            .tempfile_in(folder.path())
            .map_err(|error| cannot(&error))?;
        // Says that a living process receives it. On a file system without locks no process tidies up.
        let _ = temporary.as_file().lock();
        let clock = self.bench.shared.clock;
        let limit = clock.now() + SILENCE_LIMIT + Duration::from_secs(self.version.size / LEAST_BROUGHT);
        let mut hash = Sha256::new();
        let mut left = self.version.size;
        while left > 0 {
            let wanted = usize::try_from(left).map_or(piece.len(), |left| left.min(piece.len()));
            let count = self.read(&mut piece[..wanted], left)?;
            hash.update(&piece[..count]);
            temporary.as_file_mut().write_all(&piece[..count]).map_err(|error| cannot(&error))?;
            left -= count as u64;
            if clock.now() > limit {
                return Err(failed(JobErrorKind::TimedOut, format!("peer {} sends too slowly", self.from)));
            }
        }
        let announced = reply_in_time(&self.stream, &mut self.lines, MAX_REQUEST_LINE, clock);
        let announced = announced.map_err(|error| self.broke(&error))?;
        let sha256 = Id::from_bytes(hash.finalize().into());
        if announced.parse() != Ok(sha256) {
            let reason = format!("peer {} sent other bytes of file {} than it announced", self.from, self.file);
            return Err(failed(JobErrorKind::Corrupt, reason));
        }
        Ok(ArrivedFile { temporary, sha256 })
    }

    /// Some of the `left` bytes. Where none come, the file is asked for again, by the peer that wants it.
    fn read(&mut self, piece: &mut [u8], left: u64) -> Result<usize, JobError> {
        match self.lines.read(&self.stream, piece) {
            Ok(0) => Err(self.broke(&io::ErrorKind::UnexpectedEof.into())),
            Ok(count) => Ok(count),
            Err(error) => {
                if is_timeout(&error) && left == self.version.size && self.cancel.check().is_ok() {
                    self.bench.shared.connections.suspect(self.bench.shared.clock.now(), self.from);
                }
                Err(self.broke(&error))
            }
        }
    }

    fn broke(&self, error: &io::Error) -> JobError {
        self.cancel.check().err().unwrap_or_else(|| lost(self.from, error))
    }
}

impl Drop for IncomingFile<'_> {
    fn drop(&mut self) {
        let _ = self.cancel.wait_on(None);
    }
}

fn another(file: FileName) -> JobError {
    let reason = format!("another file {file}.pdf lies at the peer that should keep it; it was left as it is");
    failed(JobErrorKind::Io, reason)
}

/// Makes an empty file, older than any other, unless there is one.
fn touch(folder: &WorkingFolder, file: FileName) -> io::Result<NamedOutcome> {
    if let Some(version) = folder.find(file)? {
        return Ok(NamedOutcome::Kept { version, written: false });
    }
    let made = OpenOptions::new().write(true).create_new(true).open(folder.place(file));
    match made {
        Ok(made) => made.set_modified(std::time::UNIX_EPOCH)?,
        // Another peer that shares the directory was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    let version = folder.find(file)?.ok_or_else(|| io::Error::other("what has this name is no file"))?;
    Ok(NamedOutcome::Kept { version, written: true })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_versions_that_were_stored_apart_both_peers_tell_which_one_goes() {
        let (old, new) = (Version { size: 3, modified: 10 }, Version { size: 4, modified: 20 });
        let file = "4103".parse().expect("a name");
        let wish = |here, replace| {
            let from = ([10, 0, 0, 1], 12_000).into();
            KeepRequest { file, from, offered: None, ours: Some(here), replace, here: Some(here) }
        };
        let told = wish(new, false).two(Some(old), true).expect("the one here stays");
        assert!(
            told.contains("file 4103") && told.contains("10.0.0.1:12000") && told.contains("theirs goes"),
            "{told}"
        );
        assert!(wish(old, false).two(Some(new), false).is_some_and(|told| told.contains("the one here goes")));
        assert_eq!(wish(old, true).two(Some(new), false), None, "a user stored it");
        assert_eq!(wish(old, false).two(Some(old), true), None);
        assert_eq!(
            wish(Version { size: 0, modified: 30 }, false).two(Some(old), false),
            None,
            "an empty one stands for none"
        );
    }
}
