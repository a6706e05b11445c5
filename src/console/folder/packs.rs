//! Small files that share a block: which of them do, and their bytes, which two threads read.
//!
//! To open, read and look at a small file takes the system longer than to move its bytes. So the thread that stores the
//! folder has another one beside it, which reads the first packs while the rest of the folder is still looked at. Then
//! each takes the next pack that neither has begun with.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::walk::{SeenFile, open};
use super::{changed, temporary, trouble};
use crate::file::folder::pack::{self, Cutter};
use crate::id::Id;
use crate::node::{Failure, FailureKind};
use crate::runtime::Session;

/// Packs that the other thread has read and that wait to be sent, each an open file. It waits for room, or until no
/// thread wants them.
const AHEAD: usize = 16;

/// Packs that either thread may take: some GiB of small files. What is planned beyond them is this thread's alone.
const SHARED: usize = 4096;

/// A file that shall have its place in a pack.
pub(super) struct PlannedFile {
    /// The item of the listing.
    pub(super) item: usize,
    /// The file's path.
    pub(super) at: PathBuf,
    /// What it was like when it was looked at.
    pub(super) seen: SeenFile,
}

/// The packs of a folder, while it is looked at.
pub(super) struct Plans {
    cutter: Cutter,
    /// The files of the pack that has room for more.
    files: Vec<PlannedFile>,
    gives: Sender<Vec<PlannedFile>>,
    /// Has a thread for the other reader, as long as that is not needed.
    beside: Option<Session>,
    packs: Packs,
}

/// A pack, in a temporary file without a name.
pub(super) struct PackFile {
    pub(super) file: File,
    /// Its size in bytes.
    pub(super) size: u32,
    pub(super) files: Vec<Packed>,
    /// Items that were to have a place in it: they changed, went or became unreadable since they were looked at.
    pub(super) unread: Vec<(usize, Failure)>,
}

/// A file in a pack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Packed {
    /// The item of the listing.
    pub(super) item: usize,
    /// Where it begins in the pack.
    pub(super) offset: u32,
    pub(super) sha256: Id,
}

/// Packs, in the order in which they are read.
pub(super) struct Packs {
    plans: Receiver<Vec<PlannedFile>>,
    /// Plans that had no room among those.
    kept: Vec<Vec<PlannedFile>>,
    /// What the other thread has read; without one, there is nothing and never will be.
    ahead: Receiver<Result<PackFile, Failure>>,
    /// Packs that are still to come.
    left: usize,
    /// Where packs are put together, one after the other.
    buffer: Vec<u8>,
}

impl Plans {
    /// None yet. They are read on a thread of the session `beside` too, if there is one.
    pub(super) fn begin(beside: Option<Session>) -> Self {
        let (gives, plans) = bounded(SHARED);
        let (_, ahead) = bounded(AHEAD);
        let packs = Packs { plans, kept: Vec::new(), ahead, left: 0, buffer: Vec::new() };
        Self { cutter: Cutter::default(), files: Vec::new(), gives, beside, packs }
    }

    /// Adds the next file of the listing; there it has the path `path`.
    pub(super) fn add(&mut self, path: &Path, file: PlannedFile) {
        let size = file.seen.size;
        if !self.cutter.has_room(size) {
            self.end();
        }
        self.files.push(file);
        if self.cutter.add(path, size) {
            self.end();
        }
    }

    /// All files were planned: gives out the packs.
    pub(super) fn read(mut self) -> Packs {
        // A pack that is the only one is read here.
        self.beside = None;
        self.end();
        self.packs
    }

    fn end(&mut self) {
        self.cutter.cut();
        let files = std::mem::take(&mut self.files);
        if files.is_empty() {
            return;
        }
        self.packs.left += 1;
        if let Err(full) = self.gives.try_send(files) {
            self.packs.kept.push(full.into_inner());
        }
        if let Some(session) = self.beside.take() {
            let (tells, ahead) = bounded(AHEAD);
            let (taken, mut buffer) = (self.packs.plans.clone(), Vec::new());
            // Where the packs are not wanted any more, that is no error here.
            let work = move || {
                drop(taken.into_iter().map(|plan| read(plan, &mut buffer)).try_for_each(|pack| tells.send(pack)))
            };
            self.packs.ahead = ahead;
            // Where no thread can be had, this one reads all.
            let _ = session.spawn(work);
        }
    }
}

impl Iterator for Packs {
    type Item = Result<PackFile, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        if let Ok(pack) = self.ahead.try_recv() {
            return Some(pack);
        }
        let plan = self.kept.pop().or_else(|| self.plans.try_recv().ok());
        Some(
            plan.map_or_else(|| self.ahead.recv().unwrap_or_else(|_| Err(lost())), |plan| read(plan, &mut self.buffer)),
        )
    }
}

/// The thread beside this one has ended before it had read what it had begun with.
fn lost() -> Failure {
    Failure::new(
        FailureKind::Other,
        "small files were not read by a fault of kadring; store the folder again".to_owned(),
    )
}

/// Reads the files of a pack.
fn read(plan: Vec<PlannedFile>, buffer: &mut Vec<u8>) -> Result<PackFile, Failure> {
    let size = pack::HEAD.len() + plan.iter().map(|file| file.seen.size as usize).sum::<usize>();
    // What an earlier pack left in it is written over.
    buffer.resize(buffer.len().max(size), 0);
    buffer[..pack::HEAD.len()].copy_from_slice(pack::HEAD);
    let (mut begin, mut files, mut unread) = (pack::HEAD.len(), Vec::with_capacity(plan.len()), Vec::new());
    for PlannedFile { item, at, seen } in plan {
        let bytes = &mut buffer[begin..][..seen.size as usize];
        match read_into(bytes, &at, seen) {
            Ok(()) => {
                files.push(Packed { item, offset: begin as u32, sha256: Id::of(bytes) });
                begin += bytes.len();
            }
            Err(failure) => unread.push((item, failure)),
        }
    }
    Ok(PackFile { file: temporary(&buffer[..begin])?, size: begin as u32, files, unread })
}

/// Reads a file that has not changed since it was looked at.
fn read_into(bytes: &mut [u8], at: &Path, seen: SeenFile) -> Result<(), Failure> {
    let read = |file: File| {
        file.read_exact_at(bytes, 0)?;
        file.metadata()
    };
    let now = open(at).and_then(read).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => changed(at),
        _ => trouble("read", at, &error),
    })?;
    if SeenFile::of(&now) == Some(seen) { Ok(()) } else { Err(changed(at)) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::runtime::{LocalPeer, Options};

    /// So many files of 100,000 bytes, planned; their bytes and their folder.
    fn planned(count: usize, beside: Option<Session>) -> (Plans, Vec<Vec<u8>>, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let (mut plans, mut all) = (Plans::begin(beside), Vec::new());
        for item in 0..count {
            let (name, bytes) = (item.to_string(), vec![item as u8; 100_000]);
            let at = folder.path().join(&name);
            fs::write(&at, &bytes).unwrap();
            let seen = SeenFile::of(&at.metadata().unwrap()).unwrap();
            plans.add(Path::new(&name), PlannedFile { item, at, seen });
            all.push(bytes);
        }
        (plans, all, folder)
    }

    #[test]
    fn each_file_is_read_once_whether_one_thread_reads_or_two() {
        let peer = LocalPeer::start(Options::default()).unwrap();
        for beside in [None, Some(peer.handle().session())] {
            let (plans, all, _folder) = planned(60, beside);
            let mut found = vec![None; all.len()];
            for pack in plans.read() {
                let PackFile { file, size, files, .. } = pack.unwrap();
                let mut bytes = vec![0; size as usize];
                file.read_exact_at(&mut bytes, 0).unwrap();
                assert!(bytes.starts_with(pack::HEAD) && file.metadata().unwrap().len() == u64::from(size));
                for Packed { item, offset, sha256 } in files {
                    let within = &bytes[offset as usize..][..all[item].len()];
                    assert!(found[item].replace(within.to_vec()).is_none() && sha256 == Id::of(within), "{item}");
                }
            }
            assert!(found.into_iter().flatten().eq(all));
        }
    }

    #[test]
    fn the_other_thread_reads_while_the_folder_is_still_looked_at() {
        let peer = LocalPeer::start(Options::default()).unwrap();
        let (plans, _, _folder) = planned(60, Some(peer.handle().session()));
        // Nothing asks for packs yet. Without a thread that reads them, this waits for ever.
        let first = plans.packs.ahead.recv().expect("somebody reads").expect("it is readable");
        assert!(first.files.iter().any(|file| file.item == 0));
    }

    #[test]
    fn what_the_other_thread_had_begun_with_when_it_failed_is_told() {
        let (_, plans) = bounded(1);
        let (tells, ahead) = bounded(AHEAD);
        drop(tells);
        let mut packs = Packs { plans, kept: Vec::new(), ahead, left: 1, buffer: Vec::new() };
        assert!(packs.next().is_some_and(|pack| pack.is_err_and(|failure| failure.reason.contains("by a fault"))));
        assert!(packs.next().is_none());
    }

    #[test]
    fn a_file_that_changes_while_its_folder_is_stored_is_told() {
        for size in [4, 6] {
            let folder = tempfile::tempdir().unwrap();
            let at = folder.path().join("log");
            fs::write(&at, "five!").unwrap();
            let seen = SeenFile { size, ..SeenFile::of(&at.metadata().unwrap()).unwrap() };
            let mut plans = Plans::begin(None);
            plans.add(Path::new("log"), PlannedFile { item: 0, at, seen });
            let pack = plans.read().next().expect("one pack").expect("a file");
            let [(0, changed)] = &pack.unread[..] else { panic!("it is not what it was: {:?}", pack.unread) };
            assert_eq!(changed.kind, FailureKind::Integrity);
            assert!(changed.reason.contains("log\" changed while it was being stored"), "{}", changed.reason);
        }
    }
}
