//! Bringing a folder back: what is missing of it is fetched, several files and packs at a time, and put in its place.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::answer::RetrievedFolder;
use super::flight::{CommandSpan, Flight};
use super::listing::{ListedExtent, Listing};
use super::single::{check, make_executable, slice};
use super::staging::{FolderPlace as Dest, Staging};
use super::standing::{UnmadeLinks, holds, stands, why_not};
use super::trouble;
use crate::console::Backend;
use crate::console::part::{NOTHING, kept};
use crate::console::perform::Performer;
use crate::console::reply::{ConsoleAnswer, LeftOut, LineReply};
use crate::file::folder::{Content, FileBytes, Item, ItemKind};
use crate::id::Key;
use crate::node::{Answer, Command, Failure, FailureKind, Progress, Source};
use crate::runtime::stopwatch;

impl<B: Backend> Performer<B> {
    /// Brings the folder `key`, or the folder `inside` it, to `dest`.
    pub(super) fn bring_folder(
        &self,
        key: Key,
        inside: &Path,
        dest: &Path,
        replace: bool,
    ) -> Result<LineReply, Failure> {
        let took = stopwatch();
        let span = CommandSpan::begin(&self.backend)?;
        let mut show = self.shows.begin(&Command::RetrieveListing { key, dest: dest.to_owned() });
        let dest = Dest::of(dest)?;
        let mut staging = Staging::open(&dest, &key, inside)?;
        let (listing, extent) =
            self.listing(key, inside, staging.file("listing")).map_err(|failure| staging.named(&dest, failure))?;
        let answered = |standing, resumed, aside, (skipped, unmade): (Vec<LeftOut>, u64)| {
            let ListedExtent { bytes, files, folders, links, .. } = extent;
            let links = links - unmade;
            let took = took();
            let folder = RetrievedFolder { bytes, resumed, files, folders, links, standing, aside, skipped, took };
            LineReply::Console(ConsoleAnswer::RetrievedFolder(folder))
        };
        if dest.is_taken() {
            if stands(&dest.path, &listing, &|| span.check())? {
                let skipped = skipped(&listing)?;
                staging.discard();
                return Ok(answered(true, extent.bytes, None, skipped));
            }
            if !replace {
                return Err(dest.exists());
            }
        }
        staging.check_room(&dest, extent.bytes, extent.files + extent.folders + extent.links)?;
        show(&Progress::Begun { bytes: extent.bytes });
        let mut flight = Flight::new(&span, &mut *show);
        let mut unpacking =
            Unpacking { span: &span, flight: &mut flight, tree: staging.tree(), staging: &staging, files: 0 };
        let unpacked = unpacking.run(&listing).map_err(|failure| staging.named(&dest, failure));
        let (done, resumed) = (flight.reached(), flight.resumed());
        drop(flight);
        let skipped = match unpacked {
            Ok(()) => make_links(&listing, &staging.tree())?,
            Err(Failure { kind, reason }) if done > 0 => {
                staging.keep();
                let kept = if staging.is_there() { kept(done, extent.bytes) } else { NOTHING.to_owned() };
                return Err(Failure::new(kind, reason + &kept));
            }
            Err(failure) => return Err(failure),
        };
        span.check()?;
        let aside = staging.finish(&dest, replace)?;
        Ok(answered(false, resumed, aside, skipped))
    }
}

/// The links that are not made, and how many there are of them.
fn skipped(listing: &Listing) -> Result<(Vec<LeftOut>, u64), Failure> {
    let mut unmade = UnmadeLinks::default();
    listing.each(&mut |path, item| {
        if let ItemKind::Link { target } = &item.kind {
            unmade.look_at(path, target);
        }
        Ok(())
    })?;
    Ok(unmade.named())
}

/// Makes the links, last of all, so that nothing is ever written through one. Those that are not made.
fn make_links(listing: &Listing, tree: &Path) -> Result<(Vec<LeftOut>, u64), Failure> {
    listing.each(&mut |path, item| {
        let ItemKind::Link { target } = item.kind else { return Ok(()) };
        if why_not(path, &target).is_some() {
            return Ok(());
        }
        let at = tree.join(path);
        let made = match symlink(&target, &at) {
            // An earlier run made it.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_file(&at).and_then(|()| symlink(&target, &at))
            }
            made => made,
        };
        made.map_err(|error| trouble("make the link", &at, &error))
    })?;
    skipped(listing)
}

/// A file that is missing.
struct Missing {
    at: PathBuf,
    content: Content,
}

/// A pack's key and size, and what is missing of it: each with its place in the pack.
type OfPack = ((Key, u32), Vec<(Missing, u32)>);

/// What is under way.
enum BroughtItem {
    /// A pack, which comes to this file, and what is missing of it: each with its place in the pack.
    Pack { file: PathBuf, missing: Vec<(Missing, u32)> },
    /// A file of its own, which comes to this other place first.
    Own { file: PathBuf, missing: Missing },
}

/// A folder that is being put together.
struct Unpacking<'a, 'f, B: Backend> {
    span: &'a CommandSpan<'a, B>,
    flight: &'a mut Flight<'f, B, BroughtItem>,
    tree: PathBuf,
    staging: &'a Staging,
    /// Files and packs so far: each gets a name of its own, which another run finds again.
    files: u64,
}

impl<B: Backend> Unpacking<'_, '_, B> {
    fn run(&mut self, listing: &Listing) -> Result<(), Failure> {
        make_folder(&self.tree)?;
        // The pack whose files are being read.
        let mut pack: Option<OfPack> = None;
        listing.each(&mut |path, Item { kind, .. }| {
            let at = self.tree.join(path);
            match kind {
                _ if path.as_os_str().is_empty() => Ok(()),
                ItemKind::Folder => make_folder(&at),
                ItemKind::Link { .. } => Ok(()),
                ItemKind::File(content) => self.file(at, content, &mut pack),
            }
        })?;
        if let Some((pack, missing)) = pack {
            self.begin_pack(pack, missing)?;
        }
        self.flight.finish(&mut |brought, answer| land(brought, &answer))
    }

    fn file(&mut self, at: PathBuf, content: Content, open: &mut Option<OfPack>) -> Result<(), Failure> {
        if let FileBytes::Packed { pack, size, .. } = content.place
            && open.as_ref().is_none_or(|(of, _)| *of != (pack, size))
            && let Some((pack, missing)) = open.replace(((pack, size), Vec::new()))
        {
            self.begin_pack(pack, missing)?;
        }
        // The number of a file is its own, whether or not it is there already.
        self.files += 1;
        if holds(&at, &content, &|| self.span.check())? {
            self.flight.skip(content.size);
            return Ok(());
        }
        let missing = Missing { at, content };
        match (missing.content.place, open) {
            (FileBytes::Packed { offset, .. }, Some((_, of_pack))) => {
                of_pack.push((missing, offset));
                Ok(())
            }
            (FileBytes::Own(key), _) => {
                let file = self.staging.file(&format!("file-{}", self.files));
                let command = Command::Retrieve { source: Source::Key(key), dest: file.clone(), replace: true };
                self.begin(BroughtItem::Own { file, missing }, command)
            }
            _ => write(&missing, &[]),
        }
    }

    fn begin_pack(&mut self, (key, size): (Key, u32), missing: Vec<(Missing, u32)>) -> Result<(), Failure> {
        if missing.is_empty() {
            return Ok(());
        }
        let file = self.staging.file(&format!("pack-{}", self.files));
        let command = Command::RetrieveBlock { key, size, dest: file.clone() };
        self.begin(BroughtItem::Pack { file, missing }, command)
    }

    fn begin(&mut self, brought: BroughtItem, command: Command) -> Result<(), Failure> {
        self.flight.begin(brought, command, &mut |brought, answer| land(brought, &answer))
    }
}

/// What was brought is put in its place: how many bytes.
fn land(brought: BroughtItem, answer: &Answer) -> Result<u64, Failure> {
    match brought {
        BroughtItem::Pack { file, missing } => {
            if !matches!(answer, Answer::Retrieved { .. }) {
                return Err(Failure::from(answer.clone()));
            }
            let pack = File::open(&file).map_err(|error| trouble("read", &file, &error))?;
            let mut bytes = 0;
            for (missing, offset) in missing {
                write(&missing, &slice(&pack, offset, &missing.content)?)?;
                bytes += missing.content.size;
            }
            fs::remove_file(&file).map_err(|error| trouble("remove", &file, &error))?;
            Ok(bytes)
        }
        BroughtItem::Own { file, missing: Missing { at, content } } => {
            check(&content, answer)?;
            let cannot = |error: io::Error| trouble("write", &at, &error);
            if content.executable {
                let mode = fs::metadata(&file).map_err(cannot)?.permissions().mode();
                make_executable(&file, mode).map_err(cannot)?;
            }
            fs::rename(&file, &at).map_err(cannot)?;
            Ok(content.size)
        }
    }
}

/// Writes a small file. What an earlier run left in its place is no file of this content.
fn write(missing: &Missing, bytes: &[u8]) -> Result<(), Failure> {
    let Missing { at, content } = missing;
    let mode = if content.executable { 0o777 } else { 0o666 };
    let make = || OpenOptions::new().write(true).create_new(true).mode(mode).open(at);
    let made = match make() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => fs::remove_file(at).and_then(|()| make()),
        made => made,
    };
    made.and_then(|mut file| file.write_all(bytes)).map_err(|error| trouble("write", at, &error))
}

fn make_folder(at: &Path) -> Result<(), Failure> {
    match fs::create_dir(at) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let is_folder = fs::symlink_metadata(at).is_ok_and(|there| there.is_dir());
            if is_folder {
                Ok(())
            } else {
                Err(Failure::new(FailureKind::Other, format!("{} is no folder", super::name(at))))
            }
        }
        made => made.map_err(|error| trouble("make the folder", at, &error)),
    }
}
