//! Writing down what happens to a live node, so that the same core can be fed the same events again.
//!
//! The node only hands over what happened, at the end of each turn; the thread `recorder` makes text of it and writes.
//! The node never waits for it: where [`MOMENTS`] is full, moments are lost, and a line of the record says how many. A
//! record can be replayed up to the first such line, and shown beyond. Where processors are scarce the recorder comes
//! last, so that a peer that is busy answers nearly as much as without a record.

use std::fs::{File, Permissions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::{Receiver, RecvError, Sender};
use nix::fcntl::OFlag;

use super::channels::{Gauged, MOMENTS};
use super::post::lock_waits;
use super::threads::Roster;
use super::{Role, fault};
use crate::gauges;
use crate::node::{Action, Event};
use crate::record::{Beginning, Label, Moment, Timing, lost_line, moment_line, start_line};
use crate::time::Time;

/// Bytes of the longest first line of a record.
const LONGEST_START: u64 = 64 * 1024;

/// The nice value of the recorder: beside a busy node it gets about a tenth of a processor.
#[cfg(target_os = "linux")]
const YIELDING: i32 = 10;

/// A record that has begun: its first line stands.
pub(super) struct Record {
    path: PathBuf,
    file: BufWriter<File>,
}

/// What the node hands over.
enum RecordItem {
    Moment(Box<Moment>),
    /// So many moments are missing here.
    Lost(u64),
}

/// Takes what shall be recorded.
pub(super) struct Recorder {
    path: PathBuf,
    entries: Sender<RecordItem>,
    /// Those of the present turn.
    turn: Vec<RecordItem>,
    /// Moments lost since the last one that was not, and before that.
    lost: u64,
    lost_before: u64,
    written: WrittenCount,
}

/// Moments that were written: a number that tells progress, and lets no thread read anything else (`Relaxed`).
#[derive(Clone, Default)]
pub(super) struct WrittenCount(Arc<AtomicU64>);

/// An error if another file than a record stands at `path`: a record would take its place.
fn check_place(path: &Path) -> io::Result<()> {
    if !std::fs::metadata(path).is_ok_and(|there| there.is_file()) {
        return Ok(());
    }
    let mut line = Vec::new();
    BufReader::new(File::open(path)?).take(LONGEST_START).read_until(b'\n', &mut line)?;
    let is_record = line.is_empty() || serde_json::from_slice::<Label>(&line).is_ok();
    if is_record { Ok(()) } else { Err(io::Error::other("another file is there; name a new one")) }
}

impl Record {
    /// Begins a record in a new file, or in the place of an older record.
    pub(super) fn begin(path: &Path, beginning: &Beginning) -> io::Result<Self> {
        check_place(path)?;
        // It tells the node's random numbers, so that others could forge answers: only its owner may read it.
        let mut options = File::options();
        options.write(true).create(true).truncate(true).mode(0o600).custom_flags(OFlag::O_NOFOLLOW.bits());
        let file = options.open(path)?;
        if file.metadata()?.is_file() {
            file.set_permissions(Permissions::from_mode(0o600))?;
        }
        let mut file = BufWriter::new(file);
        file.write_all(start_line(beginning).map_err(io::Error::from)?.as_bytes())?;
        file.flush()?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Goes on with it on a thread of its own.
    pub(super) fn go_on(self, roster: &Roster) -> io::Result<Recorder> {
        let (entries, inbox) = MOMENTS.open();
        let written = WrittenCount::default();
        let (so_far, to) = (written.clone(), self.path.clone());
        roster.spawn(Role::Recorder, move || {
            give_way();
            let Self { path, file } = self;
            if let Err(error) = write(&inbox, file, &so_far) {
                log::error!("the record '{}' ends here: {error}", path.display());
            }
        })?;
        Ok(Recorder::new(to, entries, written))
    }
}

/// Lets other threads have the processor first, where this can be asked for one thread.
fn give_way() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, YIELDING) {
        log::debug!("the recorder runs as any other thread: {error}");
    }
}

impl Recorder {
    fn new(path: PathBuf, entries: Sender<RecordItem>, written: WrittenCount) -> Self {
        Self { path, entries, turn: Vec::new(), lost: 0, lost_before: 0, written }
    }

    /// Something is about to happen. Returns what to keep of it for the record; none if it is lost.
    pub(super) fn begin(&mut self, event: &Event) -> Option<Event> {
        // After a loss there shall be room for a while: few gaps serve a reader better than many.
        let room = if self.lost > 0 { MOMENTS.most() / 2 } else { MOMENTS.most() };
        if self.entries.len() + self.turn.len() < room {
            return Some(event.clone());
        }
        if self.lost + self.lost_before == 0 {
            log::warn!("the record '{}' cannot follow this peer: moments are lost", self.path.display());
        }
        self.lost += 1;
        None
    }

    /// It happened, at `at`, and the node wants this done about it. `way` tells how it came to the node.
    pub(super) fn add(&mut self, at: Time, event: Event, actions: &[Action], way: Option<&Timing>) {
        self.tell_lost();
        let timing = Timing { thread: Role::Node.name().into(), ..way.cloned().unwrap_or_default() };
        let moment = Moment { peer: None, at, event, actions: actions.to_vec(), timing: Some(timing) };
        self.turn.push(RecordItem::Moment(Box::new(moment)));
    }

    fn tell_lost(&mut self) {
        if self.lost > 0 {
            self.turn.push(RecordItem::Lost(self.lost));
            self.lost_before += std::mem::take(&mut self.lost);
        }
    }

    /// The turn is over at `now`: hands over what happened in it. Whether the record goes on: one that cannot be
    /// written has ended, and was complained about then.
    pub(super) fn end_turn(&mut self, now: Time) -> bool {
        let mut locks = lock_waits();
        self.turn.drain(..).all(|mut entry| {
            if let RecordItem::Moment(moment) = &mut entry
                && let Some(timing) = &mut moment.timing
            {
                timing.took = u64::try_from(now.since(moment.at).as_micros()).unwrap_or(u64::MAX);
                timing.locks.append(&mut locks);
            }
            self.entries.send(entry).is_ok()
        })
    }

    /// No more comes: the thread ends once all of it is written.
    pub(super) fn close(mut self, now: Time) -> WrittenCount {
        self.tell_lost();
        self.end_turn(now);
        if self.lost_before > 0 {
            log::warn!("the record '{}' lacks {} moments: it could not follow", self.path.display(), self.lost_before);
        }
        self.written
    }
}

impl WrittenCount {
    /// Moments written so far.
    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Writes what comes; whenever nothing more waits, all of it is handed to the system, so that a kill loses little.
fn write(inbox: &Receiver<RecordItem>, mut file: BufWriter<File>, written: &WrittenCount) -> io::Result<()> {
    while let Ok(entry) = next(inbox) {
        Gauged::Moments.note(inbox.len());
        let line = match entry {
            RecordItem::Moment(moment) => {
                if matches!(moment.event, Event::Command { .. }) {
                    fault::point(Role::Recorder);
                }
                moment_line(&moment)
            }
            RecordItem::Lost(lost) => lost_line(lost),
        };
        file.write_all(line.map_err(io::Error::from)?.as_bytes())?;
        if inbox.is_empty() {
            file.flush()?;
        }
        written.0.fetch_add(1, Ordering::Relaxed);
    }
    file.flush()
}

/// What waits already needs no clock to be read for it.
fn next(inbox: &Receiver<RecordItem>) -> Result<RecordItem, RecvError> {
    inbox.try_recv().or_else(|_| gauges::wait(|| inbox.recv()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tick(recorder: &mut Recorder, micros: u64) {
        if let Some(event) = recorder.begin(&Event::Tick) {
            recorder.add(Time::from_micros(micros), event, &[], None);
        }
        assert!(recorder.end_turn(Time::from_micros(micros + 3)));
    }

    #[test]
    fn a_record_that_has_ended_is_made_no_longer() {
        let (entries, inbox) = MOMENTS.open();
        let mut recorder = Recorder::new(PathBuf::new(), entries, WrittenCount::default());
        tick(&mut recorder, 0);
        drop(inbox);
        recorder.add(Time::ZERO, Event::Tick, &[], None);
        assert!(!recorder.end_turn(Time::ZERO));
    }

    #[test]
    fn a_record_whose_disk_takes_nothing_loses_moments_and_says_how_many_and_where() {
        let (entries, inbox) = MOMENTS.open();
        let mut recorder = Recorder::new(PathBuf::new(), entries, WrittenCount::default());
        let most = MOMENTS.most() as u64;
        (0..most + 10).for_each(|micros| tick(&mut recorder, micros));
        // There is room again, but not for long.
        drop(inbox.recv());
        tick(&mut recorder, most + 10);
        inbox.iter().take(MOMENTS.most() / 2).for_each(drop);
        tick(&mut recorder, most + 11);
        let rest: Vec<RecordItem> = inbox.try_iter().collect();
        let at = |entry: &RecordItem| match entry {
            RecordItem::Moment(moment) => {
                (moment.at.as_micros(), moment.timing.as_ref().map_or(0, |timing| timing.took))
            }
            RecordItem::Lost(lost) => (u64::MAX, *lost),
        };
        let seen: Vec<_> = rest.iter().rev().take(3).map(at).collect();
        assert_eq!(seen, [(most + 11, 3), (u64::MAX, 11), (most - 1, 3)]);
        // What is lost at the end is told at the end.
        (0..=most).for_each(|micros| tick(&mut recorder, micros));
        recorder.close(Time::ZERO);
        let last = inbox.iter().last().map(|entry| at(&entry));
        assert_eq!(last, Some((u64::MAX, 1)));
    }

    #[test]
    fn a_record_takes_the_place_of_nothing_but_a_record() {
        let folder = tempfile::tempdir().unwrap();
        let place = |content: &[u8]| {
            let path = folder.path().join("file");
            std::fs::write(&path, content).unwrap();
            check_place(&path).is_ok()
        };
        assert!(check_place(&folder.path().join("new")).is_ok());
        assert!(place(b"") && place(b"{\"kadring_record\":1,\"me\":0}\nand so on"));
        assert!(!place(b"a letter") && !place(b"\xff\xfe\n") && !place(b"{}\n") && !place(&[b'x'; 100_000]));
    }
}
