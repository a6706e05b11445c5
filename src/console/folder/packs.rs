//! Small files that share a block: which of them do, and their bytes, which two threads read.
//!
//! To open, read and look at a small file takes the system longer than to move its bytes. So the thread that stores the
//! folder has another one beside it: each takes the next pack that nobody has begun with.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crossbeam_channel::{Receiver, bounded};

use super::store::{changed, temporary};
use super::trouble;
use super::walk::{Seen, open};
use crate::file::folder::pack::{self, Cutter};
use crate::id::Id;
use crate::node::{Failure, FailureKind};
use crate::runtime::Session;

/// Packs that the other thread has read and that wait to be sent. It waits for room, or until nobody wants them.
const AHEAD: usize = 1;

/// A file that shall have its place in a pack.
pub(super) struct Planned {
    /// The item of the listing.
    pub(super) item: usize,
    /// The file's path.
    pub(super) at: PathBuf,
    /// What it was like when it was looked at.
    pub(super) seen: Seen,
}

/// The packs of a folder, before anything of them is read.
#[derive(Default)]
pub(super) struct Plans {
    cutter: Cutter,
    /// The files of the pack that has room for more.
    files: Vec<Planned>,
    full: Vec<Vec<Planned>>,
}

/// A pack, in a temporary file without a name.
pub(super) struct Pack {
    pub(super) file: File,
    /// Its bytes.
    pub(super) size: u32,
    pub(super) files: Vec<Packed>,
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
    plans: Receiver<Vec<Planned>>,
    /// What the other thread has read; without one, there is nothing and never will be.
    ahead: Receiver<Result<Pack, Failure>>,
    /// Packs that are still to come.
    left: usize,
}

impl Plans {
    /// Adds the next file of the listing; there it has the path `path`.
    pub(super) fn add(&mut self, path: &Path, file: Planned) {
        let size = file.seen.size;
        if !self.cutter.has_room(size) {
            self.end();
        }
        self.files.push(file);
        if self.cutter.add(path, size) {
            self.end();
        }
    }

    fn end(&mut self) {
        self.cutter.cut();
        let files = std::mem::take(&mut self.files);
        self.full.extend((!files.is_empty()).then_some(files));
    }
}

impl Packs {
    /// Reads what is planned, on a thread of the session `beside` too, if there is one.
    pub(super) fn read(mut plans: Plans, beside: Option<Session>) -> Self {
        plans.end();
        let left = plans.full.len();
        // There is room for all, and no more come.
        let (gives, waiting) = bounded(left);
        plans.full.into_iter().for_each(|plan| drop(gives.send(plan)));
        let (tells, ahead) = bounded(AHEAD);
        let taken = waiting.clone();
        // Where the packs are not wanted any more, that is no error here.
        let work = move || drop(taken.into_iter().map(read).try_for_each(|pack| tells.send(pack)));
        // Where no thread can be had, this one reads all.
        let _ = beside.filter(|_| left > 1).map(|session| session.spawn(work));
        Self { plans: waiting, ahead, left }
    }
}

impl Iterator for Packs {
    type Item = Result<Pack, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let read_ahead = self.ahead.try_recv();
        Some(read_ahead.unwrap_or_else(|_| match self.plans.try_recv() {
            Ok(plan) => read(plan),
            Err(_) => self.ahead.recv().unwrap_or_else(|_| Err(lost())),
        }))
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
fn read(plan: Vec<Planned>) -> Result<Pack, Failure> {
    let mut bytes = pack::HEAD.to_vec();
    bytes.reserve(plan.iter().map(|file| file.seen.size as usize).sum());
    let mut files = Vec::with_capacity(plan.len());
    for Planned { item, at, seen } in plan {
        let begin = bytes.len();
        bytes.resize(begin + seen.size as usize, 0);
        read_into(&mut bytes[begin..], &at, seen)?;
        files.push(Packed { item, offset: begin as u32, sha256: Id::of(&bytes[begin..]) });
    }
    Ok(Pack { file: temporary(&bytes)?, size: bytes.len() as u32, files })
}

/// Reads a file that has not changed since it was looked at.
fn read_into(bytes: &mut [u8], at: &Path, seen: Seen) -> Result<(), Failure> {
    let read = |file: File| {
        file.read_exact_at(bytes, 0)?;
        file.metadata()
    };
    let now = open(at).and_then(read).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => changed(at),
        _ => trouble("read", at, &error),
    })?;
    if Seen::of(&now) == Some(seen) { Ok(()) } else { Err(changed(at)) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::runtime::{LocalPeer, Options};

    /// So many files of 100,000 bytes, planned; their bytes and their folder.
    fn planned(count: usize) -> (Plans, Vec<Vec<u8>>, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let (mut plans, mut all) = (Plans::default(), Vec::new());
        for item in 0..count {
            let (name, bytes) = (item.to_string(), vec![item as u8; 100_000]);
            let at = folder.path().join(&name);
            fs::write(&at, &bytes).unwrap();
            let seen = Seen::of(&at.metadata().unwrap()).unwrap();
            plans.add(Path::new(&name), Planned { item, at, seen });
            all.push(bytes);
        }
        (plans, all, folder)
    }

    #[test]
    fn each_file_is_read_once_whether_one_thread_reads_or_two() {
        let peer = LocalPeer::start(Options::default()).unwrap();
        for beside in [None, Some(peer.handle().session())] {
            let (plans, all, _folder) = planned(60);
            let mut found = vec![None; all.len()];
            for pack in Packs::read(plans, beside) {
                let Pack { file, size, files } = pack.unwrap();
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
    fn what_the_other_thread_had_begun_with_when_it_failed_is_told() {
        let (_, plans) = bounded(1);
        let (tells, ahead) = bounded(AHEAD);
        drop(tells);
        let mut packs = Packs { plans, ahead, left: 1 };
        assert!(packs.next().is_some_and(|pack| pack.is_err_and(|failure| failure.reason.contains("by a fault"))));
        assert!(packs.next().is_none());
    }

    #[test]
    fn a_file_that_changes_while_its_folder_is_stored_is_told() {
        for size in [4, 6] {
            let folder = tempfile::tempdir().unwrap();
            let at = folder.path().join("log");
            fs::write(&at, "five!").unwrap();
            let seen = Seen { size, ..Seen::of(&at.metadata().unwrap()).unwrap() };
            let mut plans = Plans::default();
            plans.add(Path::new("log"), Planned { item: 0, at, seen });
            let changed = Packs::read(plans, None).next().expect("one pack").err().expect("it is not what it was");
            assert_eq!(changed.kind, FailureKind::Integrity);
            assert!(changed.reason.contains("log\" changed while it was being stored"), "{}", changed.reason);
        }
    }
}
