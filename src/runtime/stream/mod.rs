//! Bytes and streams in place of files: stored from any reader, retrieved to any writer, whole or in part.
//!
//! What is stored is read twice, once to hash and once to serve, so it is copied to a file of the temporary folder
//! first ([`Spooled`]), which needs as much room as the stream is long. What is retrieved is written in order while its
//! blocks arrive: a window of them is under way, each to a small file of its own that is gone once it is written. There
//! is never a copy of the whole.
//!
//! Each call is a [`Session`] of its own: one that was begun through a session is ended by another thread that has a
//! clone of it.

mod origin;
mod outlet;
mod spool;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

pub(crate) use origin::Origin;
pub use outlet::Outlet;
pub use spool::Spooled;
pub(super) use spool::is_spooled;

use self::origin::{Hashed, OpenedFile};
use super::temporary::WorkFolder;
use super::{Handle, Session, stopwatch};
use crate::file::Manifest;
use crate::file::tree::{Stop, TreeWalk};
use crate::id::Key;
use crate::lease::Lease;
use crate::node::{Answer, Command, Failure, FailureKind, Notice, Progress};

/// Blocks of one file that are under way at a time.
const WINDOW: usize = 16;

impl Handle {
    /// Stores what `from` gives, to its end, and waits until it is in the network. The key retrieves it. All of it is
    /// copied to the temporary folder first (`TMPDIR`, else the system's), and is gone from there when this returns. If
    /// `limit` passes before, or the peer ends, it fails; a read that does not return is waited for all the same.
    /// Another thread can end a call that is made through a [`session`](Self::session): see [`Session::put`]. No user
    /// can delete what is stored so: see [`put_on`](Self::put_on).
    ///
    /// # Errors
    /// What [`Command::Store`] fails with, [`FailureKind::TimedOut`], or `from` cannot be read. The caller is not told
    /// of blocks that had been stored until then.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use kadring::runtime::{LocalPeer, Options};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let peer = LocalPeer::start(Options::default())?;
    /// peer.ready(None).ok_or("the peer ended before it was ready")?;
    ///
    /// let limit = Some(Duration::from_secs(60));
    /// let key = peer.handle().put(&b"any bytes"[..], limit)?;
    /// println!("retrieve it with {key}");
    /// # Ok(())
    /// # }
    /// ```
    pub fn put(&self, from: impl Read, limit: Option<Duration>) -> Result<Key, Failure> {
        self.session().put(from, limit)
    }

    /// [`put`](Self::put), on behalf of a lease. What is on none is kept as long as there is room for it, and no user
    /// can delete it. What is on one goes once that ends: at its time, or when a user who has its secret says so.
    ///
    /// # Errors
    /// Those of [`put`](Self::put), and [`FailureKind::Other`] if the lease is known to have ended.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use kadring::lease::{Lease, Secret};
    /// use kadring::node::{Command, LeaseChange};
    /// use kadring::runtime::{LocalPeer, Options};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let peer = LocalPeer::start(Options::default())?;
    /// # peer.ready(None).ok_or("the peer ended before it was ready")?;
    /// let limit = Some(Duration::from_secs(60));
    /// // 32 bytes that nobody can guess; the program keeps them as long as it may want to delete what it stores.
    /// # let unguessable = [7; 32];
    /// let secret = Secret::from_bytes(unguessable);
    /// let lease = Lease { id: secret.id(), until: None, copies: 0 };
    /// let key = peer.handle().put_on(&b"any bytes"[..], lease, limit)?;
    ///
    /// let changes = vec![(key, LeaseChange::Ended(secret))];
    /// let ended = peer.submit(Command::Lease { changes, listed: Default::default(), copies: 0 });
    /// # assert!(!format!("{:?}", ended.iter().last()).contains("Failed"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn put_on(&self, from: impl Read, lease: Lease, limit: Option<Duration>) -> Result<Key, Failure> {
        self.session().put_on(from, lease, limit)
    }

    /// Writes the file `key` to `to`, in order, while its blocks arrive. How many bytes it has. If `limit` passes
    /// before, it fails; a write that does not return is waited for all the same.
    ///
    /// # Errors
    /// [`FailureKind::NotFound`], [`FailureKind::TimedOut`], [`FailureKind::Folder`] and whatever else a retrieve fails
    /// with, or `to` cannot be written. What was written until then is the beginning of the file, each block verified.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use kadring::runtime::{LocalPeer, Options};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let peer = LocalPeer::start(Options::default())?;
    /// # peer.ready(None).ok_or("the peer ended before it was ready")?;
    /// let limit = Some(Duration::from_secs(60));
    /// let key = peer.handle().put(&b"any bytes"[..], limit)?;
    ///
    /// let mut bytes = Vec::new();
    /// assert_eq!(peer.handle().get(key, &mut bytes, limit)?, 9);
    /// assert_eq!(bytes, b"any bytes");
    /// # Ok(())
    /// # }
    /// ```
    pub fn get(&self, key: Key, to: impl Write, limit: Option<Duration>) -> Result<u64, Failure> {
        self.get_range(key, 0..u64::MAX, to, limit)
    }

    /// [`get`](Self::get) for a part of the file: bytes `range.start` up to `range.end`, or the file's end where that
    /// comes first. Blocks outside are not fetched.
    ///
    /// # Errors
    /// Those of [`get`](Self::get).
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use kadring::runtime::{LocalPeer, Options};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let peer = LocalPeer::start(Options::default())?;
    /// # peer.ready(None).ok_or("the peer ended before it was ready")?;
    /// let limit = Some(Duration::from_secs(60));
    /// let key = peer.handle().put(&b"any bytes"[..], limit)?;
    ///
    /// let mut bytes = Vec::new();
    /// peer.handle().get_range(key, 4..100, &mut bytes, limit)?;
    /// assert_eq!(bytes, b"bytes");
    /// # Ok(())
    /// # }
    /// ```
    pub fn get_range(
        &self,
        key: Key,
        range: Range<u64>,
        to: impl Write,
        limit: Option<Duration>,
    ) -> Result<u64, Failure> {
        self.session().get_range(key, range, to, limit)
    }
}

/// One call that another thread may end, by [`cancel`](Session::cancel) of a clone; the session is over with the call.
impl Session {
    /// [`Handle::put`].
    ///
    /// # Errors
    /// Those of [`Handle::put`], and [`FailureKind::Cancelled`].
    ///
    /// ```
    /// use std::thread;
    ///
    /// use kadring::node::FailureKind;
    /// use kadring::runtime::{LocalPeer, Options};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let peer = LocalPeer::start(Options::default())?;
    /// # peer.ready(None).ok_or("the peer ended before it was ready")?;
    /// let call = peer.handle().session();
    /// let (endless, put) = (std::io::repeat(7), call.clone());
    /// let other = thread::spawn(move || put.put(endless, None));
    /// call.cancel();
    /// let failed = other.join().expect("it does not panic").expect_err("it never ends by itself");
    /// assert_eq!(failed.kind, FailureKind::Cancelled);
    /// # Ok(())
    /// # }
    /// ```
    pub fn put(&self, from: impl Read, limit: Option<Duration>) -> Result<Key, Failure> {
        self.put_as(from, None, limit)
    }

    /// [`Handle::put_on`].
    ///
    /// # Errors
    /// Those of [`Handle::put_on`], and [`FailureKind::Cancelled`].
    pub fn put_on(&self, from: impl Read, lease: Lease, limit: Option<Duration>) -> Result<Key, Failure> {
        self.put_as(from, Some(lease), limit)
    }

    fn put_as(&self, from: impl Read, lease: Option<Lease>, limit: Option<Duration>) -> Result<Key, Failure> {
        let call = Call::begin(self.clone(), limit);
        let spooled = Spooled::read(from, &mut |_| call.check())?;
        let store = Command::Store { path: spooled.path(), manifest: None, keep: false }.on(lease);
        match call.answer(&call.submit(store), &mut |_| ())? {
            Answer::Stored { key, .. } => Ok(key),
            other => Err(Failure::from(other)),
        }
    }

    /// [`Handle::get`].
    ///
    /// # Errors
    /// Those of [`Handle::get`], and [`FailureKind::Cancelled`].
    pub fn get(&self, key: Key, to: impl Write, limit: Option<Duration>) -> Result<u64, Failure> {
        self.get_range(key, 0..u64::MAX, to, limit)
    }

    /// [`Handle::get_range`].
    ///
    /// # Errors
    /// Those of [`Handle::get`], and [`FailureKind::Cancelled`].
    pub fn get_range(
        &self,
        key: Key,
        range: Range<u64>,
        mut to: impl Write,
        limit: Option<Duration>,
    ) -> Result<u64, Failure> {
        match self.stream(Origin::Key(key), range, &mut to, limit, &mut |_| ())? {
            Answer::Retrieved { bytes, .. } => Ok(bytes),
            other => Err(Failure::from(other)),
        }
    }

    /// [`Handle::get_range`], whose progress `show` gets; what a retrieve answers. The session is over with it.
    pub(crate) fn stream(
        &self,
        origin: Origin,
        range: Range<u64>,
        to: &mut dyn Write,
        limit: Option<Duration>,
        show: &mut dyn FnMut(&Progress),
    ) -> Result<Answer, Failure> {
        let call = Call::begin(self.clone(), limit);
        let OpenedFile { walk, size, sha256, complete, vouched } = origin.open(&call)?;
        let part = range.start.min(size)..range.end.min(size);
        show(&Progress::Begun { bytes: part.end.saturating_sub(part.start) });
        let folder = WorkFolder::make().map_err(|error| trouble("make a temporary folder", &error))?;
        let (coming, holders) = (VecDeque::new(), BTreeSet::new());
        let mut arriving = Arriving { call, walk: walk.within(part.clone()), part, coming, holders, folder };
        let (mut bytes, mut blocks) = (0, 0);
        let mut to = Hashed::new(to, if vouched { None } else { sha256 });
        while let Some(count) = arriving.next(&mut to, show)? {
            bytes += count;
            blocks += 1;
            show(&Progress::Moved { bytes, resumed: 0 });
        }
        to.flush().map_err(|error| trouble("write what was retrieved", &error))?;
        let hashed = !vouched && sha256.is_some() && bytes == size;
        if hashed {
            to.check()?;
        }
        let (holders, took) = (arriving.holders.len(), (arriving.call.took)());
        let (from, standing) = (Vec::new(), false);
        Ok(Answer::Retrieved { bytes, resumed: 0, sha256, hashed, blocks, holders, from, standing, complete, took })
    }
}

/// The commands of one call, which end with it.
struct Call {
    session: Session,
    took: Box<dyn Fn() -> Duration>,
    limit: Option<Duration>,
}

impl Call {
    fn begin(session: Session, limit: Option<Duration>) -> Self {
        Self { session, took: Box::new(stopwatch()), limit }
    }

    /// An error once the limit has passed, the call was ended, or the peer has.
    fn check(&self) -> Result<(), Failure> {
        if self.session.is_cancelled() {
            return Err(Failure::new(FailureKind::Cancelled, "cancelled"));
        }
        if self.session.handle().state.has_ended() {
            return Err(Failure::gone());
        }
        match self.limit {
            Some(limit) if (self.took)() >= limit => Err(late(limit)),
            _ => Ok(()),
        }
    }

    /// Gives the node a command, unless there is no room for it before the limit passes.
    fn submit(&self, command: Command) -> Receiver<Notice> {
        self.session.submit_within(command, self.limit.map(|limit| limit.saturating_sub((self.took)())))
    }

    /// Waits for the answer to a command.
    fn answer(&self, notices: &Receiver<Notice>, show: &mut dyn FnMut(&Progress)) -> Result<Answer, Failure> {
        loop {
            self.check()?;
            let notice = match self.limit {
                None => notices.recv().map_err(|_| Failure::gone()),
                Some(limit) => notices.recv_timeout(limit.saturating_sub((self.took)())).map_err(|error| match error {
                    RecvTimeoutError::Timeout => late(limit),
                    RecvTimeoutError::Disconnected => Failure::gone(),
                }),
            };
            match notice? {
                Notice::Answer { answer: Answer::Failed(failure), .. } => return Err(failure),
                Notice::Answer { answer, .. } => return Ok(answer),
                Notice::Progress { progress, .. } => show(&progress),
                _ => {}
            }
        }
    }

    /// The list of blocks that a key names, none if it names data, and the bytes that either stands for.
    fn manifest(&self, key: Key) -> Result<(Option<Manifest>, u64), Failure> {
        match self.answer(&self.submit(Command::RetrieveManifest { key }), &mut |_| ())? {
            Answer::Manifest { manifest, bytes } => Ok((manifest, bytes)),
            other => Err(Failure::from(other)),
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.session.cancel();
    }
}

/// The folder of a stream that has ended is removed again after this long, so often, while something is made in it.
const REMOVED_AGAIN_AFTER: Duration = Duration::from_millis(10);
const REMOVALS: usize = 100;

/// So long the end of a stream waits for the blocks that are under way.
const SETTLING: Duration = Duration::from_secs(1);

/// Blocks of a file on their way to a writer.
struct Arriving {
    call: Call,
    walk: TreeWalk,
    /// The bytes of the file that are wanted.
    part: Range<u64>,
    /// In the file's order.
    coming: VecDeque<StreamedBlock>,
    /// The peers that sent blocks.
    holders: BTreeSet<SocketAddr>,
    folder: WorkFolder,
}

/// A block that is under way.
struct StreamedBlock {
    notices: Receiver<Notice>,
    /// Where its bytes come to.
    file: PathBuf,
    /// Those of its bytes that are wanted.
    wanted: Range<u64>,
}

impl Arriving {
    /// Waits for the next block, and writes it: how many bytes. None at the end.
    fn next(&mut self, to: &mut dyn Write, show: &mut dyn FnMut(&Progress)) -> Result<Option<u64>, Failure> {
        self.ask_ahead()?;
        let Some(StreamedBlock { notices, file, wanted }) = self.coming.front() else { return Ok(None) };
        let mut retried = |progress: &Progress| {
            if matches!(progress, Progress::Retried { .. }) {
                show(progress);
            }
        };
        if let Answer::Retrieved { from, .. } = self.call.answer(notices, &mut retried)? {
            self.holders.extend(from);
        }
        let count = wanted.end - wanted.start;
        let cannot_read = |error| trouble("read a block that was retrieved", &error);
        let mut block = File::open(file).map_err(cannot_read)?;
        block.seek(SeekFrom::Start(wanted.start)).map_err(cannot_read)?;
        let written = io::copy(&mut block.take(count), &mut Timely { call: &self.call, to });
        let failed = |error| self.call.check().err().unwrap_or_else(|| trouble("write what was retrieved", &error));
        written.map_err(failed)?;
        fs::remove_file(file).map_err(|error| trouble("remove a temporary file", &error))?;
        self.coming.pop_front();
        Ok(Some(count))
    }

    /// Asks for as many blocks as may be under way.
    fn ask_ahead(&mut self) -> Result<(), Failure> {
        while self.coming.len() < WINDOW {
            match self.walk.next_step() {
                Stop::Slot { key, size, offset } => {
                    let file = self.folder.path().join(offset.to_string());
                    let wanted = self.part.start.saturating_sub(offset)..(self.part.end - offset).min(size.into());
                    let notices = self.call.submit(Command::RetrieveBlock { key, size, dest: file.clone() });
                    self.coming.push_back(StreamedBlock { notices, file, wanted });
                }
                Stop::Need { key } => {
                    let (manifest, _) = self.call.manifest(key)?;
                    let wrong = |what: String| {
                        let reason = format!("the file's manifest is wrong: {what}");
                        Failure::new(FailureKind::Integrity, reason)
                    };
                    let bare = || wrong("a block stands where a list of blocks should be".to_owned());
                    let supplied = self.walk.supply(manifest.ok_or_else(bare)?);
                    supplied.map_err(|error| wrong(error.to_string()))?;
                }
                Stop::Wait | Stop::Done => break,
            }
        }
        Ok(())
    }
}

/// A writer of which nothing more is wanted once the call's limit has passed, or it was ended.
struct Timely<'a> {
    call: &'a Call,
    to: &'a mut dyn Write,
}

impl Write for Timely<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.call.check().map_err(|_| io::ErrorKind::TimedOut)?;
        self.to.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

impl Drop for Arriving {
    /// Each block under way is ended before the folder goes that it would be written to, unless the node is held up.
    fn drop(&mut self) {
        self.call.session.cancel();
        let since = (self.call.took)();
        let left = || SETTLING.saturating_sub((self.call.took)() - since);
        for block in &self.coming {
            while block.notices.recv_timeout(left()).is_ok() {}
        }
        // A worker that was about to open a file when its command ended may yet make it.
        for _ in 0..REMOVALS {
            let _ = fs::remove_dir_all(self.folder.path());
            if !self.folder.path().exists() {
                break;
            }
            thread::park_timeout(REMOVED_AGAIN_AFTER);
        }
    }
}

fn late(limit: Duration) -> Failure {
    let reason = format!("it was not done within {} s; allow more time", limit.as_secs_f64());
    Failure::new(FailureKind::TimedOut, reason)
}

fn trouble(what: &str, error: &io::Error) -> Failure {
    Failure::new(FailureKind::Other, format!("cannot {what}: {error}"))
}
