//! Users of the classroom ring in a storm. They put files into their working directories, and store and request them by
//! name; the storm keeps account of what was promised to them.
//!
//! What is promised, and checked here:
//! - What a user put into a directory stays there as it is.
//! - A peer that holds the last copy of a stored file does not let go of it.
//! - What comes for a request is a content that some user gave this name.
//! - In the end each stored file whose holders did not all die at once is at the peer responsible and its first
//!   successors, and every peer can request it. Files of which different peers' directories had different versions when
//!   peers started are left out: no peer can know which version is the user's own.
//!
//! Hostile peers of a classroom are members like any other as long as they answer, so a file may be theirs to keep, and
//! is gone with them. What can be held against those who take and never give is that others of the file's peers have
//! it. So they are two at most, fewer than a file has copies; each has a number right behind an honest peer's, and no
//! file has that number, so that none is a hostile peer's alone to keep while the honest one before it is up. What a
//! hostile peer says that it has stored while that one is down is not promised. Holders are honest peers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use super::Storm;
use crate::config::{Config, FILE_COPIES};
use crate::id::Id;
use crate::name::FileName;
use crate::node::job::Version;
use crate::node::{Answer, Command, CommandId};
use crate::overlay::{OverlayKind, RingOptions};
use crate::sim::check::ANSWER_LIMIT;
use crate::sim::network;
use crate::sim::truth::{Directory, Geometry};
use crate::sim::world::{Rules, Violation};
use crate::time::Time;

/// How often the accounts are brought up to date.
const LOOK: Duration = Duration::from_millis(100);
/// Bytes of the largest file that a user stores.
const LARGEST: usize = 2_000_000;
/// The date at virtual time zero, in microseconds since 1970.
const EPOCH: u64 = 1_600_000_000_000_000;

/// What the users of a classroom ring stored and requested, and what was promised to them.
#[derive(Default)]
pub(super) struct NamedFiles {
    files: BTreeMap<FileName, FileAccount>,
    /// Versions that users put into directories, by slot.
    own: BTreeMap<(usize, FileName), Version>,
    /// Versions that were in the directories when the peers' present lives began.
    found: BTreeMap<(usize, FileName), Version>,
    storing: Vec<(usize, CommandId, FileName, Option<Version>)>,
    /// And whether the file had been stored before.
    requesting: Vec<(usize, CommandId, FileName, bool)>,
}

/// The account of one file: what users gave it, and where it is.
#[derive(Default)]
struct FileAccount {
    /// The hash of every content that a user gave it.
    contents: BTreeSet<Id>,
    /// The newest version that a user has put anywhere.
    newest: Option<Version>,
    /// The newest version of those that users were told are stored.
    stored: Option<Version>,
    /// The peers that hold that version or a newer one: slot and number of life.
    holders: BTreeSet<(usize, u32)>,
    /// Whether the peer that took it was gone by the time its user heard of it.
    gone_with_it: bool,
    /// Whether all holders died at once.
    lost: bool,
    /// Whether directories have different versions that no peer may replace, or an older one was stored again.
    contested: bool,
}

/// The settings of a classroom ring's world, as `kadring ring` makes one. The ping interval and whether there are
/// fingers are drawn from the seed.
pub(super) fn rules(seed: u64) -> Rules {
    let mut rng = StdRng::seed_from_u64(seed ^ 0xc1a55);
    let interval = Duration::from_millis(rng.random_range(500..=5000));
    let fingers = rng.random_bool(0.3);
    let options = RingOptions { fingers, ..RingOptions::classroom(interval, Vec::new()) };
    let mut rules = Rules::of(seed, OverlayKind::Ring, options);
    rules.config = Config { named_files: true, ..Config::default() };
    rules
}

impl Storm<'_> {
    /// A number of the classroom ring that no peer has had.
    pub(super) fn free_number(&mut self) -> Id {
        loop {
            let id = Id::from_u64(self.rng.random_range(0..256));
            if (0..self.world.slots()).all(|slot| self.world.peer(slot).id != id) {
                return id;
            }
        }
    }

    /// A number right behind that of another peer.
    pub(super) fn number_behind(&mut self) -> Id {
        let peers: BTreeSet<Id> = (0..self.world.slots()).map(|slot| self.world.peer(slot).id).collect();
        loop {
            let behind = self.rng.random_range(0..256);
            let number = Id::from_u64((behind + 1) % 256);
            if peers.contains(&Id::from_u64(behind)) && !peers.contains(&number) {
                return number;
            }
        }
    }

    /// A peer whose user may type: `kadring ring` reads no line before the peer is in the ring.
    fn pick_user(&mut self) -> Option<usize> {
        let is_user = |&slot: &usize| self.world.takes_commands(slot) && !self.world.is_hostile(slot);
        let users: Vec<usize> = (0..self.world.slots()).filter(is_user).collect();
        self.pick(&users)
    }

    /// A user stores a file: mostly a new one, or the same again, or a newer version, or one of another user's name, or
    /// one that is not there.
    pub(super) fn store_named(&mut self) {
        let Some(slot) = self.pick_user() else { return };
        let known: Vec<FileName> = self.named.files.keys().copied().collect();
        let mine: Vec<FileName> = self.named.own.keys().filter(|key| key.0 == slot).map(|key| key.1).collect();
        let any = |names: &[FileName], rng: &mut StdRng| names[rng.random_range(0..names.len())];
        let (file, writes) = match self.rng.random_range(0..20) {
            0..3 if !mine.is_empty() => (any(&mine, &mut self.rng), false),
            3..6 if !mine.is_empty() => (any(&mine, &mut self.rng), true),
            6 if !known.is_empty() => (any(&known, &mut self.rng), true),
            7 if !known.is_empty() => (any(&known, &mut self.rng), false),
            8 => (self.new_name(), false),
            _ => (self.new_name(), true),
        };
        if writes {
            self.write_named(slot, file);
        }
        self.store_at(slot, file);
    }

    /// A user stores a file under a name that is new to the ring.
    pub(super) fn store_new(&mut self) {
        let Some(slot) = self.pick_user() else { return };
        let file = self.new_name();
        self.write_named(slot, file);
        self.store_at(slot, file);
    }

    fn store_at(&mut self, slot: usize, file: FileName) {
        let version = self.named.own.get(&(slot, file)).copied();
        let account = self.named.files.entry(file).or_default();
        match self.world.disk(slot).folder().find(file) {
            None => drop(account.contents.insert(Id::of(b""))),
            // What a user stores takes the place of what the ring had, though that may be newer: an old copy may lie
            // here.
            Some(there) => account.contested |= there.size > 0 && Some(there) != account.newest,
        }
        let command = self.world.command(slot, Command::StoreFile { file });
        self.named.storing.push((slot, command, file, version));
    }

    fn new_name(&mut self) -> FileName {
        let names = std::iter::repeat_with(|| format!("{:04}", self.rng.random_range(0..10_000)).parse::<FileName>());
        let hostile =
            |id| (0..self.world.slots()).any(|slot| self.world.is_hostile(slot) && self.world.peer(slot).id == id);
        let new = |name: &FileName| !self.named.files.contains_key(name) && !hostile(name.key());
        names.filter_map(Result::ok).find(new).unwrap_or_else(|| unreachable!("names never end"))
    }

    /// A user puts a random file into the directory of the peer in `slot`.
    fn write_named(&mut self, slot: usize, file: FileName) {
        let size = match self.rng.random_range(0..8) {
            0..2 => self.rng.random_range(1..10),
            2 => self.rng.random_range(1..LARGEST),
            _ => self.rng.random_range(1..20_000),
        };
        let mut bytes = vec![0; size];
        self.rng.fill_bytes(&mut bytes);
        let version = Version { size: size as u64, modified: EPOCH + self.world.now().as_micros() };
        let account = self.named.files.entry(file).or_default();
        account.contents.insert(Id::of(&bytes));
        account.newest = Some(version);
        self.named.own.insert((slot, file), version);
        self.world.disk_mut(slot).folder_mut().write(file, version.modified, bytes.into());
    }

    /// A user requests a file that a user stored, or tried to store.
    pub(super) fn request_named(&mut self) {
        let known: Vec<FileName> = self.named.files.keys().copied().collect();
        let (Some(slot), false) = (self.pick_user(), known.is_empty()) else { return };
        let file = known[self.rng.random_range(0..known.len())];
        let command = self.world.command(slot, Command::RequestFile { file });
        let stored = self.named.files.get(&file).is_some_and(|account| account.stored.is_some());
        self.named.requesting.push((slot, command, file, stored));
    }

    /// Forgets what users put on the disk of the peer in `slot`, which is lost.
    pub(super) fn forget_directory(&mut self, slot: usize) {
        self.named.own.retain(|key, _| key.0 != slot);
    }

    /// The peer in `slot` is about to start: what lies in its directory is its user's, as far as it can know.
    pub(super) fn enter_directory(&mut self, slot: usize) {
        self.world.disk_mut(slot).peers.clear();
        self.named.found.retain(|key, _| key.0 != slot);
        let there = self.world.disk(slot).folder().scan();
        self.named.found.extend(there.into_iter().map(|(file, version)| ((slot, file), version)));
    }

    /// Lets time pass, and keeps the account of who holds what.
    pub(super) fn pass_until(&mut self, until: Time) -> Result<(), Violation> {
        if !self.plan.classroom {
            return self.world.run_until(until);
        }
        while self.world.now() < until {
            let next = until.min(self.world.now() + LOOK);
            self.world.run_until(next)?;
            self.collect_named()?;
            self.observe()?;
        }
        Ok(())
    }

    /// Takes the answers that have come.
    pub(super) fn collect_named(&mut self) -> Result<(), Violation> {
        for (slot, command, file, version) in std::mem::take(&mut self.named.storing) {
            match self.world.take_answer(slot, command) {
                None => self.named.storing.push((slot, command, file, version)),
                Some(answer) => {
                    self.note_named(&answer, true)?;
                    self.tally.stored.1 += 1;
                    if let Answer::FileStored { at, .. } = answer {
                        self.tally.stored.0 += 1;
                        let keeper = network::slot(at.addr).filter(|&slot| !self.world.is_hostile(slot));
                        if let Some(keeper) = keeper {
                            self.stored_named(file, version);
                            let gone = !self.world.is_up(keeper);
                            self.named.files.entry(file).and_modify(|account| account.gone_with_it = gone);
                        }
                    }
                }
            }
        }
        for (slot, command, file, stored) in std::mem::take(&mut self.named.requesting) {
            match self.world.take_answer(slot, command) {
                None => self.named.requesting.push((slot, command, file, stored)),
                Some(answer) => {
                    self.note_named(&answer, stored)?;
                    self.tally.retrieved.1 += 1;
                    if let Answer::FileReceived { sha256, .. } = answer {
                        self.tally.retrieved.0 += 1;
                        self.check_content(slot, file, sha256)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// A user was told that this version of a file is stored; none: the user's directory had no such file.
    fn stored_named(&mut self, file: FileName, version: Option<Version>) {
        let version = version.unwrap_or(Version { size: 0, modified: 0 });
        let account = self.named.files.entry(file).or_default();
        if account.lost || account.stored.is_none_or(|stored| stored.modified < version.modified) {
            account.stored = Some(version);
            account.lost = false;
            account.holders.clear();
        }
    }

    /// Checks that the received content is one that a user gave this name.
    fn check_content(&self, slot: usize, file: FileName, sha256: Id) -> Result<(), Violation> {
        let came = self.world.disk(slot).folder().received(file).map(|bytes| Id::of(bytes));
        let given = self.named.files.get(&file).is_some_and(|account| account.contents.contains(&sha256));
        if given && came == Some(sha256) {
            return Ok(());
        }
        self.breach(format!("file {file} came to peer {slot} changed"))
    }

    /// Compares every directory, and what every peer says that it keeps, with the accounts.
    fn observe(&mut self) -> Result<(), Violation> {
        for (&(slot, file), &version) in &self.named.own {
            if self.world.disk(slot).folder().find(file) != Some(version) {
                return self.breach(format!("what the user of peer {slot} put there as {file} was replaced"));
            }
        }
        let mut kept: BTreeMap<FileName, BTreeSet<(usize, u32)>> = BTreeMap::new();
        for slot in self.world.up() {
            for (file, version) in self.world.node(slot).into_iter().flat_map(|node| node.named_files()) {
                let stored = self.named.files.get(&file).and_then(|account| account.stored);
                let there = self.world.disk(slot).folder().find(file);
                // A user who writes a newer version there lets go of the older one, before the peer knows.
                let there =
                    there == Some(version) || there.is_some() && there.as_ref() == self.named.own.get(&(slot, file));
                if there && stored.is_some_and(|stored| version.modified >= stored.modified) {
                    kept.entry(file).or_default().insert((slot, self.world.life(slot)));
                }
            }
        }
        let contested: Vec<FileName> =
            self.named.files.keys().copied().filter(|&file| self.is_contested(file)).collect();
        for (file, account) in &mut self.named.files {
            account.contested |= contested.contains(file);
            let before = std::mem::replace(&mut account.holders, kept.remove(file).unwrap_or_default());
            let gone_with_it = std::mem::take(&mut account.gone_with_it);
            if account.holders.is_empty() && !account.lost && (!before.is_empty() || gone_with_it) {
                let left = before.iter().find(|&&(slot, life)| self.world.life(slot) == life);
                if let (Some((slot, _)), false) = (left, account.contested) {
                    let what = format!("it held the last copy of file {file}, and let go of it");
                    return Err(Violation { at: self.world.now(), slot: *slot, what });
                }
                account.lost = true;
            }
        }
        Ok(())
    }

    /// Whether a running peer has a version that it must not replace, though there is a newer one.
    fn is_contested(&self, file: FileName) -> bool {
        let newest = self.named.files.get(&file).and_then(|account| account.newest);
        self.world.up().into_iter().any(|slot| self.fixed(slot, file).is_some_and(|version| Some(version) != newest))
    }

    /// The version in the directory of the peer in `slot`, if the peer must take it for its user's own.
    fn fixed(&self, slot: usize, file: FileName) -> Option<Version> {
        let here = self.world.disk(slot).folder().find(file).filter(|version| version.size > 0);
        let known = [self.named.own.get(&(slot, file)), self.named.found.get(&(slot, file))];
        here.filter(|here| known.into_iter().flatten().any(|version| version == here))
    }

    /// Checks that every stored file is where it belongs, and that every peer can request it.
    pub(super) fn reckon_named(&mut self) -> Result<(), Violation> {
        self.world.settle(super::CHECK_MAY_TAKE)?;
        self.collect_named()?;
        self.observe()?;
        self.world.check_rest()?;
        let directory = Directory::new(self.world.living());
        let files = std::mem::take(&mut self.named.files);
        for (&file, account) in &files {
            let Some(stored) = account.stored else { continue };
            self.tally.lost.1 += 1;
            self.tally.lost.0 += usize::from(account.lost);
            if account.lost || account.contested {
                continue;
            }
            for peer in directory.nearest(Geometry::Circle, &file.key(), FILE_COPIES) {
                let slot = network::slot(peer.addr).unwrap_or(usize::MAX);
                let here = self.world.disk(slot).folder().find(file);
                if here.is_none_or(|here| here.modified < stored.modified) {
                    let what = format!("it should hold file {file} as {stored:?}, and has {here:?}");
                    return Err(Violation { at: self.world.now(), slot, what });
                }
            }
        }
        self.named.files = files;
        self.request_all()?;
        self.world.run_for(Duration::from_secs(1))?;
        self.world.settle(super::CHECK_MAY_TAKE)?;
        self.world.check_rest()
    }

    /// Every peer requests every file that is not lost; each must come.
    fn request_all(&mut self) -> Result<(), Violation> {
        let there = |account: &FileAccount| account.stored.is_some() && !account.lost && !account.contested;
        let files: Vec<FileName> =
            self.named.files.iter().filter(|(_, account)| there(account)).map(|(&file, _)| file).collect();
        for file in files {
            for slot in self.world.up() {
                let command = self.world.command(slot, Command::RequestFile { file });
                self.world.run_until_answered(slot, command, ANSWER_LIMIT)?;
                match self.world.take_answer(slot, command) {
                    Some(Answer::FileReceived { sha256, .. }) => self.check_content(slot, file, sha256)?,
                    other => {
                        let what = format!("it requested file {file} and got {other:?}");
                        return Err(Violation { at: self.world.now(), slot, what });
                    }
                }
            }
        }
        Ok(())
    }
}
