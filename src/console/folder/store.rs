//! Storing a folder: small files in packs, large ones as files, and last the listing.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::answer::StoredFolder;
use super::flight::{Flight, Span, not_done};
use super::walk::{Seen, What, open, walk};
use super::{Tree, failed, name, trouble};
use crate::console::leases::Terms;
use crate::console::perform::Performer;
use crate::console::reply::{ConsoleAnswer, LeftOut, Reply};
use crate::console::spec::Store;
use crate::console::{Backend, finding};
use crate::file::LocalManifest;
use crate::file::folder::pack::{self, Cutter};
use crate::file::folder::{Content, Item, Kind, Place, Writer};
use crate::id::{Id, Key};
use crate::lease::Lease;
use crate::node::{Answer, Command, Failure, FailureKind, Progress};
use crate::runtime::stopwatch;

impl<B: Backend> Performer<B> {
    /// Stores files and folders, one after the other.
    pub(in crate::console) fn store_all(&self, store: Store) -> Reply {
        let (name, tree, terms) = (store.name.clone(), store.tree.clone(), store.terms);
        let one = |command, name| match command {
            Command::Store { path, manifest, keep } if path.is_dir() => {
                let stored = self.store_folder(&path, manifest.as_ref(), name, keep, (&tree, terms));
                stored.unwrap_or_else(|failure| Reply::of_file(path, Answer::Failed(failure)))
            }
            command => self.reply_on(command, name, Some(terms)),
        };
        match <[Command; 1]>::try_from(store.commands()) {
            Ok([command]) => one(command, name),
            Err(commands) => self.all(commands, |command| one(command, None)),
        }
    }

    fn store_folder(
        &self,
        folder: &Path,
        manifest: Option<&LocalManifest>,
        called: Option<String>,
        keep: bool,
        (tree, terms): (&Tree, Terms),
    ) -> Result<Reply, Failure> {
        if let Some(LocalManifest { path, .. }) = manifest {
            let reason = format!("{} cannot be written: a folder has no manifest; its key is all it takes", name(path));
            return Err(failed(FailureKind::Usage, reason));
        }
        let took = stopwatch();
        let span = Span::begin(&self.backend)?;
        let whole = Command::StoreListing { path: folder.to_owned(), keep };
        let mut show = self.shows.begin(&whole);
        let walked = walk(folder, tree, &|| span.check())?;
        show(&Progress::Begun { bytes: walked.bytes });
        let mut sum = Sum::default();
        let mut flight = Flight::new(&span, &mut *show);
        let (owned, lease) = self.lease_on(folder, called.as_ref(), terms).unzip();
        let mut sending = Sending { folder, keep, lease, flight: &mut flight, sum: &mut sum, pack: Pack::default() };
        for found in walked.found {
            sending.send(found.path, found.what)?;
        }
        sending.end()?;
        let listing = sum.listing().map_err(|error| trouble("write the listing of", folder, &error))?;
        let stored = self.answer_to(Command::StoreListing { path: path_of(&listing), keep }.on(lease));
        let Answer::Stored { key, sha256, .. } = stored else { return Err(not_done(stored)) };
        sum.count(&stored);
        let stored = sum.answer(folder, key, walked.skipped, took());
        if let Some(catalogue) = &self.catalogue {
            finding::remember_folder(catalogue, &stored, called, owned, sha256);
        }
        Ok(Reply::Console(ConsoleAnswer::StoredFolder(stored)))
    }
}

/// What is under way.
enum Sent {
    /// A pack of so many bytes, in a temporary file without a name, and the files in it: item, and where it begins.
    Pack { size: u32, files: Vec<(usize, u32)>, _file: File },
    /// The file of this item.
    File { item: usize, size: u64 },
}

/// What came of it all.
#[derive(Default)]
struct Sum {
    items: Vec<Item>,
    blocks: u64,
    lists: u64,
    copies: Vec<u64>,
    wanted: usize,
    unreached: usize,
}

impl Sum {
    fn count(&mut self, answer: &Answer) {
        let Answer::Stored { blocks, lists, copies, wanted, unreached, .. } = answer else { return };
        self.blocks += blocks;
        self.lists += lists;
        self.copies.resize(self.copies.len().max(copies.len()), 0);
        copies.iter().zip(&mut self.copies).for_each(|(more, sum)| *sum += more);
        self.wanted = self.wanted.max(*wanted);
        self.unreached = self.unreached.max(*unreached);
    }

    /// What was sent has come to its end. Bytes of files that are stored with it.
    fn land(&mut self, sent: Sent, answer: Answer) -> Result<u64, Failure> {
        self.count(&answer);
        match (sent, answer) {
            (Sent::Pack { size, files, .. }, Answer::Stored { key: pack, bytes, .. }) if bytes == u64::from(size) => {
                for (item, offset) in files {
                    if let Kind::File(content) = &mut self.items[item].kind {
                        content.place = Place::Packed { pack, size, offset };
                    }
                }
                Ok(bytes - pack::HEAD.len() as u64)
            }
            (Sent::File { item, size }, Answer::Stored { key, sha256, bytes, .. }) if size == bytes => {
                if let Kind::File(content) = &mut self.items[item].kind {
                    (content.sha256, content.place) = (sha256, Place::Own(key));
                }
                Ok(bytes)
            }
            (Sent::File { item, .. }, Answer::Stored { .. }) => Err(changed(&self.items[item].path)),
            (_, answer) => Err(not_done(answer)),
        }
    }

    /// The listing, in a temporary file without a name.
    fn listing(&self) -> io::Result<File> {
        let mut out = io::BufWriter::new(tempfile::tempfile()?);
        let (mut writer, text) = Writer::begin();
        out.write_all(text.as_bytes())?;
        for item in &self.items {
            out.write_all(writer.item(item).as_bytes())?;
        }
        out.into_inner().map_err(io::IntoInnerError::into_error)
    }

    fn answer(self, folder: &Path, key: Key, skipped: Vec<LeftOut>, took: std::time::Duration) -> StoredFolder {
        let count = |is: fn(&Kind) -> bool| self.items.iter().filter(|item| is(&item.kind)).count() as u64;
        let size = |item: &Item| if let Kind::File(content) = &item.kind { content.size } else { 0 };
        StoredFolder {
            file: folder.to_owned(),
            key,
            bytes: self.items.iter().map(size).sum(),
            files: count(|kind| matches!(kind, Kind::File(_))),
            folders: count(|kind| matches!(kind, Kind::Folder)),
            links: count(|kind| matches!(kind, Kind::Link { .. })),
            blocks: self.blocks,
            lists: self.lists,
            copies: self.copies,
            wanted: self.wanted,
            unreached: self.unreached,
            skipped,
            took,
        }
    }
}

/// A pack that is being filled.
#[derive(Default)]
struct Pack {
    cutter: Cutter,
    /// The files' bytes, behind the pack's first line.
    bytes: Vec<u8>,
    /// The files in it: item, and where it begins.
    files: Vec<(usize, u32)>,
}

/// A folder on its way.
struct Sending<'a, 'f, B: Backend> {
    folder: &'a Path,
    keep: bool,
    /// On whose behalf all of it is kept.
    lease: Option<Lease>,
    flight: &'a mut Flight<'f, B, Sent>,
    sum: &'a mut Sum,
    pack: Pack,
}

impl<B: Backend> Sending<'_, '_, B> {
    fn send(&mut self, path: PathBuf, what: What) -> Result<(), Failure> {
        let kind = match what {
            What::Folder => Kind::Folder,
            What::Link { target } => Kind::Link { target },
            What::File(seen) => return self.send_file(path, seen),
        };
        self.sum.items.push(Item { path, kind });
        Ok(())
    }

    fn send_file(&mut self, path: PathBuf, seen: Seen) -> Result<(), Failure> {
        let (at, item) = (self.folder.join(&path), self.sum.items.len());
        let Seen { size, executable, .. } = seen;
        let content = Content { size, executable, sha256: Id::of(b""), place: Place::Nowhere };
        self.sum.items.push(Item { path, kind: Kind::File(content) });
        if size > pack::MOST {
            let command = Command::Store { path: at, manifest: None, keep: self.keep };
            return self.begin(Sent::File { item, size }, command);
        }
        if size > 0 { self.pack(item, &at, seen) } else { Ok(()) }
    }

    /// Adds a file to the pack, which is sent when it is full.
    fn pack(&mut self, item: usize, at: &Path, seen: Seen) -> Result<(), Failure> {
        let size = seen.size;
        if !self.pack.cutter.has_room(size) {
            self.send_pack()?;
        }
        if self.pack.bytes.is_empty() {
            self.pack.bytes.extend_from_slice(pack::HEAD);
        }
        let begin = self.pack.bytes.len();
        self.pack.bytes.resize(begin + usize::try_from(size).unwrap_or(0), 0);
        let read = |file: File| {
            file.read_exact_at(&mut self.pack.bytes[begin..], 0)?;
            file.metadata()
        };
        let now = open(at).and_then(read).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => changed(at),
            _ => trouble("read", at, &error),
        })?;
        if Seen::of(&now) != Some(seen) {
            return Err(changed(at));
        }
        let Item { path, kind } = &mut self.sum.items[item];
        if let Kind::File(content) = kind {
            content.sha256 = Id::of(&self.pack.bytes[begin..]);
        }
        let ends = self.pack.cutter.add(path, size);
        self.pack.files.push((item, begin as u32));
        if ends { self.send_pack() } else { Ok(()) }
    }

    fn send_pack(&mut self) -> Result<(), Failure> {
        let Pack { bytes, files, .. } = std::mem::take(&mut self.pack);
        if files.is_empty() {
            return Ok(());
        }
        let (file, size) = (temporary(&bytes)?, bytes.len() as u32);
        let command = Command::StoreBlock { path: path_of(&file), keep: self.keep };
        self.begin(Sent::Pack { size, files, _file: file }, command)
    }

    fn begin(&mut self, sent: Sent, command: Command) -> Result<(), Failure> {
        let sum = &mut *self.sum;
        self.flight.begin(sent, command.on(self.lease), &mut |sent, answer| sum.land(sent, answer))
    }

    fn end(mut self) -> Result<(), Failure> {
        self.send_pack()?;
        let sum = &mut *self.sum;
        self.flight.finish(&mut |sent, answer| sum.land(sent, answer))
    }
}

/// These bytes in a file without a name, of which nothing stays behind however this process ends.
pub(in crate::console) fn temporary(bytes: &[u8]) -> Result<File, Failure> {
    let write = || {
        let mut file = tempfile::tempfile()?;
        file.write_all(bytes)?;
        file.rewind()?;
        Ok(file)
    };
    write().map_err(|error| trouble("write a temporary file in", &std::env::temp_dir(), &error))
}

/// A path for an open file without a name, valid in this process as long as it is open.
pub(in crate::console) fn path_of(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

fn changed(path: &Path) -> Failure {
    failed(FailureKind::Integrity, format!("{} changed while it was being stored; store the folder again", name(path)))
}

#[cfg(test)]
mod tests {
    use super::super::flight::tests::Rote;
    use super::*;

    #[test]
    fn a_file_that_changes_while_its_folder_is_stored_is_told() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("log"), "five!").unwrap();
        let rote = Rote::default();
        let span = Span::begin(&rote).unwrap();
        let (mut show, mut sum) = (|_: &Progress| {}, Sum::default());
        let mut flight = Flight::new(&span, &mut show);
        let pack = Pack::default();
        let mut sending =
            Sending { folder: folder.path(), keep: false, lease: None, flight: &mut flight, sum: &mut sum, pack };
        let seen = Seen::of(&folder.path().join("log").metadata().unwrap()).unwrap();
        sending.send("log".into(), What::File(seen)).unwrap();
        for size in [4, 6] {
            let changed = sending.send("log".into(), What::File(Seen { size, ..seen })).unwrap_err();
            assert_eq!(changed.kind, FailureKind::Integrity);
            assert!(changed.reason.contains("log\" changed while it was being stored"), "{}", changed.reason);
        }
    }
}
