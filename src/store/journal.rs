//! The journal of leases: a line for each [`Note`], appended as it comes, put in order when a peer starts and whenever
//! it has become much longer than it need be.
//!
//! A line is written before the block that it is about has its name, so no process that dies leaves a block whose
//! leases are not known. A power cut may take the last lines with it: then a block is kept for ever that need not be,
//! never the other way about, for what is added to a block that is here already is synced, and a block that comes
//! without a lease has a line too: there may be an older one, of the leases on which it was here before.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::memory::changed;
use super::{DiskStore, StoreError};
use crate::id::Key;
use crate::lease::{EndOfLease, Lease, LeaseId, MAX_LEASES, Note, RememberedEnds, UnixTime};
use crate::sums::{self, checked, with_sum};
use crate::whole_file::{self, MAX_GROWING_FILE};

/// The journal's name in the data folder.
const JOURNAL: &str = "leases";

/// A journal is put in order once it has more than twice the lines that it needs, and so many more: at a start, and
/// later.
const SLACK: usize = 64;
const SLACK_LATER: usize = 1024;

/// How long the journal is.
#[derive(Debug, Default)]
pub(super) struct Length {
    /// How many lines it has.
    lines: usize,
    /// Those that it had when it was put in order. The blocks of later ones may be on their way to their places still.
    ordered: usize,
}

impl DiskStore {
    /// Adds to the journal. Where `durably`, it outlives a power cut.
    ///
    /// # Errors
    /// The system refuses to write the file.
    pub fn note(&self, notes: &[Note], durably: bool) -> Result<(), StoreError> {
        if notes.is_empty() || self.lock.is_none() {
            return Ok(());
        }
        self.be_here()?;
        let path = self.folder.join(JOURNAL);
        let lines = lines(notes);
        let append = || {
            let length = &mut *self.journal.lock();
            // Its readers know the names of leases.
            let mut file = File::options().create(true).read(true).append(true).mode(0o600).open(&path)?;
            sums::append(&mut file, &lines)?;
            length.lines += notes.len();
            if length.lines > SLACK_LATER + 2 * length.ordered {
                self.put_in_order(length);
                file = File::open(&path)?;
            }
            Ok(file)
        };
        // The lock is free while the disk is waited for.
        let written = append().and_then(|file| if durably { file.sync_data() } else { Ok(()) });
        written.map_err(self.failed("write", &path))
    }

    /// Rewrites the journal in as few lines as will do, while the peer works. Where that fails, it is tried again when
    /// there are twice as many.
    fn put_in_order(&self, length: &mut Length) {
        let ordered = std::mem::replace(&mut length.ordered, length.lines);
        let rewrite = || {
            let path = self.folder.join(JOURNAL);
            let (read, damaged) =
                read_lines(&whole_file::read_own(&path, MAX_GROWING_FILE).map_err(StoreError::on("read", &path))?);
            // What is damaged is set aside at the next start.
            if damaged > 0 {
                return Ok(length.lines);
            }
            let is_needed = |at: usize, key: &Key| at >= ordered || self.path(key).exists();
            let notes = in_order(read, written(&path), is_needed);
            self.replace(JOURNAL, whole(&notes).as_bytes())?;
            Ok::<_, StoreError>(notes.len())
        };
        match rewrite() {
            Ok(lines) => *length = Length { lines, ordered: lines },
            Err(error) => log::warn!("the journal of leases cannot be put in order: {error}"),
        }
    }

    /// What the journal says of the blocks `held`, which come in the order of keys; each lease of a block once. Lines
    /// that cannot be read are set aside.
    ///
    /// # Errors
    /// The system refuses to read or write the file.
    pub fn load_notes(&self, held: &[(Key, u32)]) -> Result<Vec<Note>, StoreError> {
        if self.lock.is_none() {
            return Ok(Vec::new());
        }
        let path = self.folder.join(JOURNAL);
        // Nothing is added to what may be replaced.
        let mut journal = self.journal.lock();
        let bytes = match whole_file::read_own(&path, MAX_GROWING_FILE) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                let aside = self.free_name(JOURNAL);
                fs::rename(&path, &aside).map_err(StoreError::on("set aside", &path))?;
                log::warn!(
                    "the journal of leases has more than {MAX_GROWING_FILE} bytes; it is kept as '{}', and what it told of is \
                     kept for ever, as if it had no lease",
                    aside.display()
                );
                return Ok(Vec::new());
            }
            read => read.map_err(StoreError::on("read", &path))?,
        };
        let (read, damaged) = read_lines(&bytes);
        let count = read.len();
        let is_held = |_, key: &Key| held.binary_search_by_key(key, |(key, _)| *key).is_ok();
        let notes = in_order(read, written(&path), is_held);
        if damaged > 0 {
            let aside = self.set_aside(JOURNAL)?;
            log::warn!(
                "{damaged} lines of '{}' cannot be read; the file is kept as '{}'",
                path.display(),
                aside.display()
            );
        }
        if bytes.is_empty() {
            log::warn!("'{}' was emptied: what it told of is kept for ever, as if it had no lease", path.display());
        }
        if bytes.is_empty() || damaged > 0 || count > SLACK + 2 * notes.len() {
            self.replace(JOURNAL, whole(&notes).as_bytes())?;
        }
        *journal = Length { lines: count, ordered: notes.len() };
        Ok(notes)
    }

    /// Copies a file of the data folder to a name that is free.
    pub(super) fn set_aside(&self, name: &str) -> Result<PathBuf, StoreError> {
        let (path, aside) = (self.folder.join(name), self.free_name(name));
        fs::copy(&path, &aside).map_err(StoreError::on("set aside", &path))?;
        Ok(aside)
    }

    fn free_name(&self, name: &str) -> PathBuf {
        let of = |number: u32| self.folder.join(format!("{name}.damaged-{number}"));
        of((1..).find(|number| !of(*number).exists()).unwrap_or(1))
    }
}

/// The text of a journal of these.
fn whole(notes: &[Note]) -> String {
    sums::file_of(lines(notes))
}

fn lines(notes: &[Note]) -> String {
    notes.iter().map(|note| with_sum(&note.to_string()) + "\n").collect()
}

/// What the lines say, and how many cannot be read.
fn read_lines(bytes: &[u8]) -> (Vec<Note>, usize) {
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let note = |line| std::str::from_utf8(line).ok().and_then(|line| checked(line)?.parse().ok());
    let read: Vec<Option<Note>> = lines.map(note).collect();
    let count = read.len();
    let notes: Vec<Note> = read.into_iter().flatten().collect();
    let damaged = count - notes.len();
    (notes, damaged)
}

/// The same at `now`, in as few lines as will do. Whether a line about a block is needed, its place and the block tell.
fn in_order(notes: Vec<Note>, now: UnixTime, is_needed: impl Fn(usize, &Key) -> bool) -> Vec<Note> {
    // A tree for each block would take many times the memory of the one lease that most have.
    let mut laid: BTreeMap<Key, Vec<Lease>> = BTreeMap::new();
    let mut renewed: BTreeMap<LeaseId, Lease> = BTreeMap::new();
    let (mut ended, mut remembered): (BTreeMap<LeaseId, UnixTime>, RememberedEnds) = Default::default();
    for (at, note) in notes.into_iter().enumerate() {
        match note {
            Note::Laid { key, leases } if is_needed(at, &key) => {
                laid.entry(key).and_modify(|known| known.extend(&leases)).or_insert(leases);
            }
            Note::Laid { .. } => {}
            Note::Renewed(lease) => renewed.entry(lease.id).or_insert(lease).merge(&lease),
            Note::Ended { secret, at, by } => {
                ended.entry(secret.id()).or_insert(at);
                remembered.add(EndOfLease { secret, at, by });
            }
        }
    }
    let laid = laid.into_iter().map(|(key, mut leases)| {
        for lease in &mut leases {
            renewed.get(&lease.id).inspect(|better| lease.merge(better));
        }
        Note::Laid { key, leases: still_on(leases, &ended, now) }
    });
    let laid: Vec<Note> = laid.collect();
    remembered.notes().chain(laid).collect()
}

/// Which of the leases that were laid on a block are on it still: those that have not `ended`. The last one that ended
/// stays if none lasts longer: it tells when the block's grace began, and that it is not for ever. As at the node, too
/// many are nobody's: of those that lapsed by `now` no more are kept than there is room for.
fn still_on(mut laid: Vec<Lease>, ended: &BTreeMap<LeaseId, UnixTime>, now: UnixTime) -> Vec<Lease> {
    laid.sort_by_key(|lease| lease.id);
    laid.dedup_by(|same, first| {
        let is_same = same.id == first.id;
        if is_same {
            first.merge(same);
        }
        is_same
    });
    let (over, mut live): (Vec<Lease>, Vec<Lease>) = laid.into_iter().partition(|lease| ended.contains_key(&lease.id));
    let end = |lease: &Lease| lease.until.unwrap_or(UnixTime::MAX);
    let end_of = |lease: Lease| Lease { until: ended.get(&lease.id).map(|at| end(&lease).min(*at)), ..lease };
    let last = over.into_iter().map(end_of).max_by_key(end);
    live.extend(last.filter(|last| live.iter().all(|lease| end(lease) < end(last))));
    if live.len() > MAX_LEASES {
        let (holding, mut lapsed): (Vec<Lease>, Vec<Lease>) = live.into_iter().partition(|lease| lease.holds(now));
        lapsed.sort_by_key(|lease| Reverse(lease.until));
        let room = MAX_LEASES.saturating_sub(holding.len());
        live = holding.into_iter().chain(lapsed.into_iter().take(room)).collect();
    }
    if live.len() > MAX_LEASES {
        live.truncate(MAX_LEASES - 1);
        live.push(Lease::NOBODYS);
    }
    live
}

/// When the journal was written last; what lapses later has not yet.
fn written(path: &Path) -> UnixTime {
    fs::metadata(path).ok().and_then(|there| changed(&there)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::Secret;

    fn lease(secret: &Secret, until: u64) -> Lease {
        Lease { id: secret.id(), until: Some(until), copies: 3 }
    }

    fn secret(n: u8) -> Secret {
        format!("{n:02x}").repeat(32).parse().expect("64 digits")
    }

    #[test]
    fn what_was_noted_is_read_back_for_blocks_that_are_here_in_as_few_lines_as_will_do() {
        let folder = tempfile::tempdir().unwrap();
        let store = DiskStore::open(folder.path()).unwrap();
        let (here, gone) = (Key::of(b"here"), Key::of(b"gone"));
        let (one, two) = (secret(1), secret(2));
        assert_eq!(store.load_notes(&[]).unwrap(), []);
        for _ in 0..100 {
            let laid = |key| Note::Laid { key, leases: vec![lease(&one, 5)] };
            store.note(&[laid(here), laid(gone)], false).unwrap();
        }
        let ended = Note::Ended { secret: two, at: 9, by: None };
        store.note(&[Note::Renewed(lease(&one, 50)), ended.clone()], true).unwrap();
        let expected = [ended, Note::Laid { key: here, leases: vec![lease(&one, 50)] }];
        assert_eq!(store.load_notes(&[(here, 1)]).unwrap(), expected);
        assert_eq!(fs::read_to_string(folder.path().join(JOURNAL)).unwrap().lines().count(), 2, "it was put in order");
        assert_eq!(store.load_notes(&[(here, 1)]).unwrap(), expected);
    }

    #[test]
    fn a_journal_that_grows_while_a_peer_runs_is_put_in_order_and_loses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = DiskStore::open(folder.path()).unwrap();
        let (key, size) = (Key::of(b"here"), 4);
        let mut writer = store.begin(key, size).unwrap();
        writer.write(b"here").unwrap();
        writer.commit().unwrap();
        let coming = Note::Laid { key: Key::of(b"coming"), leases: vec![lease(&secret(2), 7)] };
        let ended = Note::Ended { secret: secret(3), at: 9, by: None };
        store.note(&[Note::Laid { key, leases: vec![lease(&secret(1), 5)] }, ended.clone()], false).unwrap();
        let mut longest = 0;
        for until in 1..=10_000_u64 {
            if until == 9_000 {
                store.note(std::slice::from_ref(&coming), false).unwrap();
            }
            let gone = Note::Laid { key: Key::of(&until.to_be_bytes()), leases: vec![lease(&secret(4), 1)] };
            store.note(&[Note::Renewed(lease(&secret(1), until)), gone], false).unwrap();
            longest = longest.max(fs::metadata(folder.path().join(JOURNAL)).unwrap().len());
        }
        let line = longest as usize / (lines(std::slice::from_ref(&coming)).len());
        assert!(line <= 4 * SLACK_LATER, "{line} lines");
        let expected = [ended, Note::Laid { key, leases: vec![lease(&secret(1), 10_000)] }];
        let mut held = [(key, size), (Key::of(b"coming"), 6)];
        held.sort_unstable();
        let read = store.load_notes(&held).unwrap();
        assert!(
            read.len() == 3 && expected.iter().all(|note| read.contains(note)) && read.contains(&coming),
            "{read:?}"
        );
    }

    #[test]
    fn who_lays_leases_on_a_block_and_ends_them_without_end_makes_no_journal_longer() {
        let folder = tempfile::tempdir().unwrap();
        let store = DiskStore::open(folder.path()).unwrap();
        let key = Key::of(b"here");
        let mut writer = store.begin(key, 4).unwrap();
        writer.write(b"here").unwrap();
        writer.commit().unwrap();
        let user = Note::Ended { secret: secret(1), at: 1, by: None };
        store.note(std::slice::from_ref(&user), false).unwrap();
        let numbered = |n: u64| Secret::from_bytes(*Key::of(&n.to_be_bytes()).as_bytes());
        let (mut longest, mut last) = (0, None);
        for round in 0..2000_u64 {
            let secrets: Vec<Secret> = (0..15).map(|n| numbered(15 * round + n)).collect();
            let leases = secrets.iter().map(|secret| Lease { id: secret.id(), until: None, copies: 0 });
            let laid = Note::Laid { key, leases: leases.collect() };
            let by = Some([10, 0, 0, 9].into());
            let ended = secrets.iter().map(|&secret| Note::Ended { secret, at: 2 + round, by });
            store.note(&std::iter::once(laid).chain(ended).collect::<Vec<_>>(), false).unwrap();
            last = secrets.last().copied();
            longest = longest.max(fs::metadata(folder.path().join(JOURNAL)).unwrap().len());
        }
        assert!(longest < 8 << 20, "{longest} bytes");
        let read = store.load_notes(&[(key, 4)]).unwrap();
        assert!(read.contains(&user), "its user's end of a lease is remembered");
        let Some(Note::Laid { leases, .. }) = read.last() else { panic!("{:?}", read.last()) };
        assert_eq!(leases.iter().map(|lease| lease.until).collect::<Vec<_>>(), [Some(2001)], "it goes: {leases:?}");
        assert!(read.len() <= 20_001 && last.is_some(), "{}", read.len());
    }

    #[test]
    fn of_leases_that_ended_the_last_stays_where_none_lasts_longer() {
        let one = |n, until| Lease { until, ..lease(&secret(n), 0) };
        let ended = BTreeMap::from([(secret(1).id(), 50), (secret(2).id(), 70)]);
        for (other, expected) in [
            (Some(60), vec![(secret(2).id(), Some(70)), (secret(3).id(), Some(60))]),
            (Some(80), vec![(secret(3).id(), Some(80))]),
            (None, vec![(secret(3).id(), None)]),
        ] {
            let laid = [one(1, None), one(2, Some(90)), one(3, other)].into();
            let mut left: Vec<_> = still_on(laid, &ended, 100).iter().map(|lease| (lease.id, lease.until)).collect();
            left.sort_by_key(|(_, until)| std::cmp::Reverse(*until));
            assert_eq!(left, expected);
        }
    }

    #[test]
    fn of_more_leases_than_a_block_may_have_those_that_lapsed_go_first_and_then_it_is_nobodys() {
        let laid = |until: &[u64]| {
            let leases = until.iter().zip(1..).map(|(until, n)| lease(&secret(n), *until));
            leases.collect::<Vec<_>>()
        };
        let nobody = |leases: &[Lease]| leases.iter().any(|lease| lease.id == LeaseId::NOBODY);
        let all = still_on(laid(&[50; MAX_LEASES]), &BTreeMap::new(), 100);
        assert_eq!((all.len(), nobody(&all)), (MAX_LEASES, false), "they may be renewed");
        let some = still_on(laid(&[&[200, 300][..], &[50; MAX_LEASES]].concat()), &BTreeMap::new(), 100);
        assert_eq!((some.len(), nobody(&some)), (MAX_LEASES, false));
        assert_eq!(some.iter().filter(|lease| lease.holds(100)).count(), 2);
        let many = still_on(laid(&[200; MAX_LEASES + 1]), &BTreeMap::new(), 100);
        assert_eq!((many.len(), nobody(&many)), (MAX_LEASES, true));
    }

    #[test]
    fn a_journal_that_is_too_long_to_be_read_is_set_aside_and_its_blocks_stay() {
        let folder = tempfile::tempdir().unwrap();
        let store = DiskStore::open(folder.path()).unwrap();
        File::create(folder.path().join(JOURNAL)).unwrap().set_len(MAX_GROWING_FILE + 1).unwrap();
        assert_eq!(store.load_notes(&[(Key::of(b"1"), 1)]).unwrap(), []);
        assert_eq!(fs::metadata(folder.path().join("leases.damaged-1")).unwrap().len(), MAX_GROWING_FILE + 1);
        store.note(&[Note::Renewed(lease(&secret(1), 5))], false).unwrap();
    }

    #[test]
    fn a_flipped_bit_that_leaves_a_line_which_reads_well_is_noticed_and_older_lines_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let store = DiskStore::open(folder.path()).unwrap();
        let laid = |n: u8| Note::Laid { key: Key::of(&[n]), leases: vec![lease(&secret(n), 5)] };
        let path = folder.path().join(JOURNAL);
        fs::write(&path, format!("{}\n", laid(1))).unwrap();
        store.note(&[laid(2), laid(3)], true).unwrap();
        let mut held = [1, 2, 3].map(|n| (Key::of(&[n]), 1));
        held.sort_unstable();
        assert_eq!(store.load_notes(&held).unwrap().len(), 3);
        // The lease on the second block ends in second 4.
        let text = fs::read_to_string(&path).unwrap().replacen(
            &laid(2).to_string(),
            &laid(2).to_string().replace(":5:", ":4:"),
            1,
        );
        fs::write(&path, &text).unwrap();
        let read = store.load_notes(&held).unwrap();
        assert_eq!(read.len(), 2, "{read:?}");
        assert!(read.contains(&laid(1)) && read.contains(&laid(3)), "{read:?}");
        assert_eq!(fs::read_to_string(folder.path().join("leases.damaged-1")).unwrap(), text);
    }

    #[test]
    fn a_line_that_was_cut_off_spoils_none_that_comes_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = DiskStore::open(folder.path()).unwrap();
        let laid = |n: u8| Note::Laid { key: Key::of(&[n]), leases: vec![lease(&secret(n), 5)] };
        store.note(&[laid(1), laid(2)], true).unwrap();
        let path = folder.path().join(JOURNAL);
        let whole = fs::read(&path).unwrap();
        // The disk was full, or the power went.
        fs::write(&path, &whole[..whole.len() - 9]).unwrap();
        store.note(&[laid(3)], true).unwrap();
        let mut held = [1, 2, 3].map(|n| (Key::of(&[n]), 1));
        held.sort_unstable();
        let read = store.load_notes(&held).unwrap();
        assert!(read.len() == 2 && read.contains(&laid(1)) && read.contains(&laid(3)), "{read:?}");
    }

    #[test]
    fn lines_that_cannot_be_read_are_set_aside_and_the_others_stay() {
        let folder = tempfile::tempdir().unwrap();
        let store = DiskStore::open(folder.path()).unwrap();
        let key = Key::of(b"1");
        let laid = Note::Laid { key, leases: vec![lease(&secret(1), 5)] };
        store.note(std::slice::from_ref(&laid), false).unwrap();
        let mut bytes = fs::read(folder.path().join(JOURNAL)).unwrap();
        bytes.extend_from_slice(b"block 12\xff\n");
        fs::write(folder.path().join(JOURNAL), &bytes).unwrap();
        assert_eq!(store.load_notes(&[(key, 1)]).unwrap(), std::slice::from_ref(&laid));
        assert_eq!(fs::read(folder.path().join("leases.damaged-1")).unwrap(), bytes);
        assert_eq!(store.load_notes(&[(key, 1)]).unwrap(), [laid]);
        assert!(!folder.path().join("leases.damaged-2").exists());
    }
}
