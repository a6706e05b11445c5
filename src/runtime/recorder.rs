//! Writing down what happens to a live node, so that the same core can be fed the same events again.
//!
//! The node only hands over what happened; the thread `recorder` makes text of it and writes. The node waits for nobody,
//! and a record with a gap would be of no use. So where the disk is slower than the peer is busy for so long that
//! [`MOMENTS`] is full, the record ends there: what it has can be replayed.

use std::fs::{File, Permissions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::{Receiver, Sender};
use nix::fcntl::OFlag;

use super::channels::{Gauged, MOMENTS};
use super::threads::Roster;
use super::{Role, fault};
use crate::gauges;
use crate::node::record::{Beginning, Label, event_line, start_line};
use crate::node::{Action, Event};
use crate::time::Time;

/// Bytes of the longest first line of a record.
const LONGEST_START: u64 = 64 * 1024;

/// A record that has begun: its first line stands.
pub(super) struct Record {
    path: PathBuf,
    file: BufWriter<File>,
}

/// What the node hands over.
struct Moment {
    at: Time,
    event: Event,
    actions: Vec<Action>,
}

/// Takes what shall be recorded.
pub(super) struct Recorder {
    path: PathBuf,
    /// None once the record has ended, because its channel was full.
    moments: Option<Sender<Moment>>,
    written: Written,
}

/// Moments that were written: a number that tells progress, and lets nobody read anything else (`Relaxed`).
#[derive(Clone, Default)]
pub(super) struct Written(Arc<AtomicU64>);

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
        let (moments, inbox) = MOMENTS.open();
        let written = Written::default();
        let (so_far, to) = (written.clone(), self.path.clone());
        roster.spawn(Role::Recorder, move || {
            let Self { path, file } = self;
            if let Err(error) = write(&inbox, file, &so_far) {
                log::error!("the record '{}' ends here: {error}", path.display());
            }
        })?;
        Ok(Recorder { path: to, moments: Some(moments), written })
    }
}

impl Recorder {
    /// What happened at `at`, and what the node wants done about it.
    pub(super) fn event(&mut self, at: Time, event: Event, actions: &[Action]) {
        let Some(moments) = &self.moments else { return };
        if moments.len() >= MOMENTS.most() {
            log::error!("the record '{}' ends here: its disk takes less than this peer does", self.path.display());
            self.moments = None;
            return;
        }
        // A record that could not be written has ended, and was complained about then.
        let _ = moments.send(Moment { at, event, actions: actions.to_vec() });
    }

    /// No more comes: the thread ends once all of it is written.
    pub(super) fn close(self) -> Written {
        self.written
    }
}

impl Written {
    /// How many.
    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Writes what comes; whenever nothing more waits, all of it is handed to the system, so that a kill loses little.
fn write(inbox: &Receiver<Moment>, mut file: BufWriter<File>, written: &Written) -> io::Result<()> {
    while let Ok(Moment { at, event, actions }) = gauges::wait(|| inbox.recv()) {
        Gauged::Moments.note(inbox.len());
        if matches!(event, Event::Command { .. }) {
            fault::point(Role::Recorder);
        }
        file.write_all(event_line(None, at, &event, &actions).map_err(io::Error::from)?.as_bytes())?;
        if inbox.is_empty() {
            file.flush()?;
        }
        written.0.fetch_add(1, Ordering::Relaxed);
    }
    file.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_whose_disk_takes_nothing_ends_without_a_gap() {
        let (moments, inbox) = MOMENTS.open();
        let mut recorder = Recorder { path: PathBuf::new(), moments: Some(moments), written: Written::default() };
        for micros in 0..MOMENTS.most() as u64 + 10 {
            recorder.event(Time::from_micros(micros), Event::Tick, &[]);
            if micros as usize == MOMENTS.most() {
                // There is room again, too late.
                drop(inbox.recv());
            }
        }
        let rest: Vec<u64> = inbox.iter().map(|moment| moment.at.as_micros()).collect();
        assert_eq!(rest, (1..MOMENTS.most() as u64).collect::<Vec<_>>());
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
