//! Storing a folder: large files as files, small ones in packs, and last the listing.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use super::answer::StoredFolder;
use super::flight::{CommandSpan, Flight};
use super::packs::{PackFile, Packed, PlannedFile, Plans};
use super::standing::UnmadeLinks;
use super::walk::{EntryKind, FolderEntry, SeenFile, walk};
use super::{Tree, changed, name, no_temporary};
use crate::console::perform::Performer;
use crate::console::reply::{ConsoleAnswer, LeftOut, LineReply};
use crate::console::spec::Store;
use crate::console::terms::Terms;
use crate::console::{Backend, finding};
use crate::file::LocalManifest;
use crate::file::folder::pack;
use crate::file::folder::{Content, FileBytes, Item, ItemKind, ListingWriter};
use crate::id::{Id, Key};
use crate::lease::Lease;
use crate::node::{Answer, Command, Failure, FailureKind, Progress};
use crate::runtime::{Session, stopwatch};

impl<B: Backend> Performer<B> {
    /// Stores files and folders, one after the other.
    pub(in crate::console) fn store_all(&self, store: Store) -> LineReply {
        let (name, tree, terms) = (store.name.clone(), store.tree.clone(), store.terms);
        let one = |command, name| match command {
            Command::Store { path, manifest, keep } if path.is_dir() => {
                let stored = self.store_folder(&path, manifest.as_ref(), name, keep, (&tree, terms));
                stored.unwrap_or_else(|failure| LineReply::of_file(path, Answer::Failed(failure)))
            }
            command => self.reply_on(command, name, Some(terms)),
        };
        match <[Command; 1]>::try_from(store.commands()) {
            Ok([command]) => one(command, name),
            Err(_) if name.is_some() => LineReply::failed(FailureKind::Usage, "--name is of one file"),
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
    ) -> Result<LineReply, Failure> {
        if let Some(LocalManifest { path, .. }) = manifest {
            let reason = format!("{} cannot be written: a folder has no manifest; its key is all it takes", name(path));
            return Err(Failure::new(FailureKind::Usage, reason));
        }
        let took = stopwatch();
        let span = CommandSpan::begin(&self.backend)?;
        let whole = Command::StoreListing { path: folder.to_owned(), keep };
        let mut show = self.shows.begin(&whole);
        let mut gathered = Gathered::begin(folder, self.session());
        gathered.sum.skips = tree.skip_unreadable;
        let walked = walk(folder, tree, &|| span.check(), &mut |found| gathered.add(found))?;
        show(&Progress::Begun { bytes: walked.bytes });
        let (owned, lease) = self.lease_on(folder, called.as_ref(), terms)?.unzip();
        let mut sum = gathered.send(Flight::new(&span, &mut *show), keep, lease)?;
        let listing = sum.listing().map_err(|error| no_temporary("write the folder's listing in", &error))?;
        let stored = self.answer_to(Command::StoreListing { path: path_of(&listing), keep }.on(lease));
        let Answer::Stored { key, sha256, .. } = stored else { return Err(Failure::from(stored)) };
        sum.count(&stored);
        let mut stored = sum.answer(folder, key, walked.skipped, took());
        stored.is_partial = !stored.skipped.is_empty() && !tree.skip_unreadable;
        if let Some(catalogue) = &self.catalogue {
            finding::remember_folder((catalogue, &*self.shows), &stored, called, owned, sha256)?;
        }
        Ok(LineReply::Console(ConsoleAnswer::StoredFolder(stored)))
    }
}

/// What is under way.
enum SentItem {
    /// A pack, whose file stays open until it has been read.
    Pack(PackFile),
    /// The file of this item.
    File { item: usize, size: u64 },
}

/// What came of it all.
#[derive(Default)]
struct StoreSum {
    items: Vec<Item>,
    /// Whether what cannot be read is left out, instead of the whole.
    skips: bool,
    /// Items that changed, went or became unreadable since they were looked at, and why they are left out.
    left: BTreeMap<usize, String>,
    blocks: u64,
    lists: u64,
    copies: Vec<u64>,
    wanted: usize,
    unreached: usize,
    lacking: Option<String>,
}

impl StoreSum {
    fn count(&mut self, answer: &Answer) {
        let Answer::Stored { blocks, lists, copies, wanted, unreached, lacking, .. } = answer else { return };
        self.blocks += blocks;
        self.lists += lists;
        self.copies.resize(self.copies.len().max(copies.len()), 0);
        copies.iter().zip(&mut self.copies).for_each(|(more, sum)| *sum += more);
        self.wanted = self.wanted.max(*wanted);
        self.unreached = self.unreached.max(*unreached);
        self.lacking = self.lacking.take().or_else(|| lacking.clone());
    }

    /// What was sent has come to its end. Bytes of files that are stored with it.
    fn land(&mut self, sent: SentItem, answer: Answer) -> Result<u64, Failure> {
        self.count(&answer);
        match (sent, answer) {
            (SentItem::Pack(PackFile { size, files, .. }), Answer::Stored { key: pack, bytes, .. })
                if bytes == u64::from(size) =>
            {
                for Packed { item, offset, sha256 } in files {
                    if let ItemKind::File(content) = &mut self.items[item].kind {
                        (content.sha256, content.place) = (sha256, FileBytes::Packed { pack, size, offset });
                    }
                }
                Ok(bytes - pack::HEAD.len() as u64)
            }
            (SentItem::File { item, size }, Answer::Stored { key, sha256, bytes, .. }) if size == bytes => {
                if let ItemKind::File(content) = &mut self.items[item].kind {
                    (content.sha256, content.place) = (sha256, FileBytes::Own(key));
                }
                Ok(bytes)
            }
            (SentItem::File { item, .. }, Answer::Stored { .. }) => {
                self.leave_out(item, changed(&self.items[item].path)).map(|()| 0)
            }
            // It changed while it was read, or is not there any more.
            (SentItem::File { item, .. }, Answer::Failed(failure))
                if matches!(failure.kind, FailureKind::Integrity | FailureKind::NotFound) =>
            {
                self.leave_out(item, failure).map(|()| 0)
            }
            (_, answer) => Err(Failure::from(answer)),
        }
    }

    /// The file of this item could not be read.
    fn leave_out(&mut self, item: usize, failure: Failure) -> Result<(), Failure> {
        if !self.skips {
            return Err(failure);
        }
        self.left.insert(item, failure.reason);
        Ok(())
    }

    /// What the folder has now.
    fn kept(&self) -> impl Iterator<Item = &Item> {
        self.items.iter().enumerate().filter(|(at, _)| !self.left.contains_key(at)).map(|(_, item)| item)
    }

    /// The listing, in a temporary file without a name.
    fn listing(&self) -> io::Result<File> {
        let mut out = io::BufWriter::new(tempfile::tempfile()?);
        let (mut writer, text) = ListingWriter::begin();
        out.write_all(text.as_bytes())?;
        for item in self.kept() {
            out.write_all(writer.item(item).as_bytes())?;
        }
        out.into_inner().map_err(io::IntoInnerError::into_error)
    }

    fn answer(self, folder: &Path, key: Key, mut skipped: Vec<LeftOut>, took: std::time::Duration) -> StoredFolder {
        let left = self.left.iter().map(|(&at, reason)| (self.items[at].path.clone(), reason.clone()));
        skipped.extend(left.map(|(file, reason)| LeftOut { file, reason }));
        let count = |is: fn(&ItemKind) -> bool| self.kept().filter(|item| is(&item.kind)).count() as u64;
        let size = |item: &Item| if let ItemKind::File(content) = &item.kind { content.size } else { 0 };
        let mut unmade = UnmadeLinks::default();
        for item in self.kept() {
            if let ItemKind::Link { target } = &item.kind {
                unmade.look_at(&item.path, target);
            }
        }
        StoredFolder {
            file: folder.to_owned(),
            key,
            bytes: self.kept().map(size).sum(),
            files: count(|kind| matches!(kind, ItemKind::File(_))),
            folders: count(|kind| matches!(kind, ItemKind::Folder)),
            links: count(|kind| matches!(kind, ItemKind::Link { .. })),
            blocks: self.blocks,
            lists: self.lists,
            copies: self.copies,
            wanted: self.wanted,
            unreached: self.unreached,
            lacking: self.lacking,
            skipped,
            unmade: unmade.named().0,
            is_partial: false,
            took,
        }
    }
}

/// What is in a folder, gathered to be sent.
struct Gathered<'a> {
    folder: &'a Path,
    sum: StoreSum,
    /// Small files, which are read already; nothing is sent before all that is in the folder was looked at.
    plans: Plans,
    /// Files that share no block: their items, and how large they are.
    large: Vec<(usize, u64)>,
}

impl<'a> Gathered<'a> {
    fn begin(folder: &'a Path, beside: Option<Session>) -> Self {
        Self { folder, sum: StoreSum::default(), plans: Plans::begin(beside), large: Vec::new() }
    }

    fn add(&mut self, FolderEntry { path, what }: FolderEntry) {
        let item = self.sum.items.len();
        let kind = match what {
            EntryKind::Folder => ItemKind::Folder,
            EntryKind::Link { target } => ItemKind::Link { target },
            EntryKind::File(seen) => {
                match seen.size {
                    0 => {}
                    size if size > pack::LARGEST_PACKED => self.large.push((item, size)),
                    _ => self.plans.add(&path, PlannedFile { item, at: self.folder.join(&path), seen }),
                }
                let SeenFile { size, executable, .. } = seen;
                ItemKind::File(Content { size, executable, sha256: Id::of(b""), place: FileBytes::Nowhere })
            }
        };
        self.sum.items.push(Item { path, kind });
    }

    /// Sends all of it, to be kept on behalf of `lease`, and waits until it is stored.
    fn send<B: Backend>(
        self,
        mut flight: Flight<'_, B, SentItem>,
        keep: bool,
        lease: Option<Lease>,
    ) -> Result<StoreSum, Failure> {
        let Self { folder, mut sum, plans, large } = self;
        for (item, size) in large {
            let command = Command::Store { path: folder.join(&sum.items[item].path), manifest: None, keep };
            flight
                .begin(SentItem::File { item, size }, command.on(lease), &mut |sent, answer| sum.land(sent, answer))?;
        }
        for pack in plans.read() {
            let mut pack = pack?;
            std::mem::take(&mut pack.unread)
                .into_iter()
                .try_for_each(|(item, failure)| sum.leave_out(item, failure))?;
            if pack.files.is_empty() {
                continue;
            }
            let command = Command::StoreBlock { path: path_of(&pack.file), keep };
            flight.begin(SentItem::Pack(pack), command.on(lease), &mut |sent, answer| sum.land(sent, answer))?;
        }
        flight.finish(&mut |sent, answer| sum.land(sent, answer))?;
        Ok(sum)
    }
}

/// A path for an open file without a name, valid in this process as long as it is open.
pub(in crate::console) fn path_of(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek};

    use super::*;

    #[test]
    fn a_file_that_changes_or_goes_while_its_folder_is_stored_is_left_out_if_that_was_asked_for_and_fails_it_else() {
        let file = |path: &str| Item {
            path: path.into(),
            kind: ItemKind::File(Content { size: 5, executable: false, sha256: Id::ZERO, place: FileBytes::Nowhere }),
        };
        for (kind, skips) in
            [(FailureKind::Integrity, true), (FailureKind::NotFound, true), (FailureKind::Integrity, false)]
        {
            let mut sum = StoreSum { items: vec![file("a"), file("log"), file("z")], skips, ..StoreSum::default() };
            let failed = Answer::Failed(Failure::new(kind, "why".to_owned()));
            assert_eq!(sum.land(SentItem::File { item: 1, size: 5 }, failed).is_ok(), skips);
            if skips {
                let mut listing = String::new();
                let mut written = sum.listing().unwrap();
                written.rewind().unwrap();
                written.read_to_string(&mut listing).unwrap();
                assert!(
                    listing.contains("\"a\"") && listing.contains("\"z\"") && !listing.contains("log"),
                    "{listing}"
                );
                let stored = sum.answer(Path::new("folder"), Key::ZERO, Vec::new(), std::time::Duration::ZERO);
                assert_eq!((stored.files, stored.bytes), (2, 10));
                assert_eq!(stored.skipped, [LeftOut { file: "log".into(), reason: "why".to_owned() }]);
            }
        }
        let mut sum = StoreSum { items: vec![file("a")], skips: true, ..StoreSum::default() };
        let unreached = Answer::Failed(Failure::new(FailureKind::TooFewCopies, "nobody".to_owned()));
        assert!(sum.land(SentItem::File { item: 0, size: 5 }, unreached).is_err(), "that is no fault of the file");
    }
}
