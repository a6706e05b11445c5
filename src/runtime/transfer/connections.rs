//! Asking other peers for blocks over kept connections.
//!
//! ```text
//! we    <64 hex>\n
//! they  <size>\n and that many bytes        or   error: <reason>\n
//! ```
//! A connection whose reply was read to its end is kept for the next request to the same peer. The other side may have
//! closed a kept one meanwhile, so a request that dies on it before the first line of a reply is complete is repeated
//! once on a fresh one.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sha2::{Digest, Sha256};
use socket2::SockRef;

use super::cancel::Cancel;
use super::{Buffer, IDLE, failed};
use crate::config::{FLOW, FLOW_LASTS, FLOWS_FROM};
use crate::id::Key;
use crate::locks::{self, Ranked};
use crate::node::Event;
use crate::node::job::{JobError, JobErrorKind};
use crate::recent::Recent;
use crate::runtime::bounded_lines::{BoundedLines, UntilDeadline, is_timeout};
use crate::runtime::clock::Clock;
use crate::runtime::post::Post;
use crate::runtime::secrecy::{Keyring, Stream};
use crate::runtime::sockets::outgoing;
use crate::runtime::tcp_serve::FOUND_DAMAGED;
use crate::source::{Subnet, count, who_gives_way};
use crate::store::is_shortage;
use crate::time::Time;
use crate::wire::{BlockHead, MAX_REQUEST_LINE};

/// A peer that does not take a connection within this time cannot be reached. A worker can wait longer than a
/// [link](crate::runtime::links), which holds up what is passed on: a second attempt of the system to connect, after a
/// second, has two for its round trip.
const WORKER_LIMIT: Duration = Duration::from_secs(3);

/// A peer that sends nothing for this long has gone silent.
pub(super) const SILENCE_LIMIT: Duration = Duration::from_secs(5);

/// Of a block a stretch of so many bytes is to come, time after time, each within this time; a peer that drips slower
/// is given up. A lossy way takes breaks, and on a slow one the blocks that come side by side do not get equal parts.
const STRETCH: usize = 8 * FLOW;
const STRETCH_LIMIT: Duration = Duration::from_secs(8 * FLOW_LASTS.as_secs());

/// Characters that are shown of what another peer says.
const MAX_REASON: usize = 120;

/// Kept connections to one peer at most.
const MAX_KEPT: usize = 16;

/// Hosts at a time that are known for a narrow way, and how long that is remembered.
const MAX_NARROW: usize = 256;
const NARROW_FOR: Duration = Duration::from_secs(3600);

/// An idle connection.
struct IdleConnection {
    to: SocketAddr,
    stream: Stream,
    /// When it was last used.
    used: Time,
}

/// What is known of the ways to others.
#[derive(Default)]
struct KnownWays {
    kept: VecDeque<IdleConnection>,
    /// Hosts whose long packets do not come, and since when that is known.
    narrow: Recent<IpAddr, Time, MAX_NARROW>,
    /// Whether that was told of any.
    told: bool,
}

/// Idle connections that are kept, the one that was used last at the end. Where one more finds no room, the first goes:
/// however many addresses have blocks pulled from them, no more descriptors are taken.
pub(crate) struct Connections {
    known: Ranked<KnownWays>,
    most: usize,
    /// Bytes of blocks received by way of any. It stands alone (`Relaxed`).
    received: AtomicU64,
    /// The one address of ours that they leave from, if it is one.
    source: Option<IpAddr>,
    keys: Option<Arc<Keyring>>,
}

impl Connections {
    /// None yet, and never more than `most`: of a peer that speaks from this address, if it is but one, under these
    /// keys.
    pub(in crate::runtime) fn new(most: usize, source: Option<IpAddr>, keys: Option<Arc<Keyring>>) -> Self {
        let known = Ranked::new(&locks::CONNECTIONS, KnownWays::default());
        Self { known, most, received: AtomicU64::default(), source, keys }
    }

    /// Bytes of blocks received since the start.
    pub(in crate::runtime) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// A new connection to `to`. While it is being made, `cancel` ends that too.
    pub(super) fn connect(&self, clock: Clock, to: SocketAddr, cancel: &Cancel) -> Result<Stream, JobError> {
        let narrow = self.is_narrow(clock.now(), to);
        connect((to, narrow), self.source, self.keys.as_deref(), cancel)
    }

    /// Whether nothing but short packets comes from there.
    fn is_narrow(&self, now: Time, from: SocketAddr) -> bool {
        self.known.lock().narrow.get(&from.ip()).is_some_and(|since| now.since(*since) < NARROW_FOR)
    }

    /// A peer announced data, and none came: long packets may be lost on the way from there, where no router cuts them.
    pub(super) fn suspect(&self, now: Time, from: SocketAddr) {
        let mut known = self.known.lock();
        known.narrow.insert(from.ip(), now);
        let level = if std::mem::replace(&mut known.told, true) { log::Level::Debug } else { log::Level::Warn };
        drop(known);
        log::log!(level, "connections to {from} open, but data does not come: is the path's MTU smaller?");
    }

    /// Does something with a peer; once more, in short packets, where the way from there turned out to be narrow.
    pub(super) fn whatever_the_way<T>(
        &self,
        clock: Clock,
        from: SocketAddr,
        mut attempt: impl FnMut() -> Result<T, JobError>,
    ) -> Result<T, JobError> {
        let was = self.is_narrow(clock.now(), from);
        attempt().or_else(|error| if !was && self.is_narrow(clock.now(), from) { attempt() } else { Err(error) })
    }

    /// Asks the peer at `from` for a block; a size other than `expected` is an error. A new connection shows that the
    /// peer receives, which the node is told.
    pub(super) fn request(
        &self,
        clock: Clock,
        from: SocketAddr,
        key: &Key,
        expected: Option<u32>,
        cancel: &Cancel,
        events: &Post,
    ) -> Result<IncomingBlock<'_>, JobError> {
        let since = clock.now();
        let mut kept = self.take(from, since);
        loop {
            let reused = kept.is_some();
            let stream = match kept.take() {
                Some(stream) => stream,
                None => {
                    let stream = self.connect(clock, from, cancel)?;
                    let _ = events.send(Event::Validated { addr: from });
                    stream
                }
            };
            cancel.wait_on(Some(Arc::clone(stream.tcp())))?;
            match ask(&stream, key, clock) {
                Ok((line, lines)) => {
                    let size = read_size(&line, from, expected)?;
                    let left = size as usize;
                    let (connections, waits) = (self, ConnectionWait(cancel.clone()));
                    let stretch = Stretch { since, from: 0 };
                    return Ok(IncomingBlock { connections, clock, from, stream, lines, size, left, stretch, waits });
                }
                Err(error) if reused && !is_timeout(&error) => cancel.check()?,
                Err(error) => {
                    cancel.check()?;
                    return Err(lost(from, &error));
                }
            }
        }
    }

    fn take(&self, from: SocketAddr, now: Time) -> Option<Stream> {
        let kept = &mut self.known.lock().kept;
        let newest = kept.iter().rposition(|kept| kept.to == from)?;
        kept.remove(newest).filter(|kept| now.since(kept.used) < IDLE).map(|kept| kept.stream)
    }

    fn keep(&self, to: SocketAddr, stream: Stream, used: Time) {
        let kept = &mut self.known.lock().kept;
        if kept.iter().filter(|kept| kept.to == to).count() >= MAX_KEPT {
            return;
        }
        if kept.len() >= self.most {
            let sources = count(kept.iter().map(|kept| Subnet::of(kept.to)));
            let newcomer = Subnet::of(to);
            let most = who_gives_way(newcomer, sources.iter().map(|(source, count)| (*source, *count)));
            let gives_way = most.unwrap_or(newcomer);
            let at = kept.iter().position(|kept| Subnet::of(kept.to) == gives_way).unwrap_or(0);
            kept.remove(at);
        }
        kept.push_back(IdleConnection { to, stream, used });
    }

    /// Closes connections that were not used for long.
    pub(super) fn close_stale(&self, now: Time) {
        self.known.lock().kept.retain(|kept| now.since(kept.used) < IDLE);
    }
}

/// Sends a request and reads the first line of its reply.
fn ask(mut stream: &Stream, key: &Key, clock: Clock) -> io::Result<(String, BoundedLines)> {
    stream.write_all(format!("{key}\n").as_bytes())?;
    let mut lines = BoundedLines::default();
    let line = reply_in_time(stream, &mut lines, 2 * MAX_REQUEST_LINE, clock)?;
    Ok((line, lines))
}

/// A line of a reply, of at most so many bytes. However they come, it has one time limit.
pub(super) fn reply_in_time(
    stream: &Stream,
    lines: &mut BoundedLines,
    longest: usize,
    clock: Clock,
) -> io::Result<String> {
    let line = lines.reply(UntilDeadline::new(stream, clock, clock.now() + SILENCE_LIMIT), longest)?;
    stream.tcp().set_read_timeout(Some(SILENCE_LIMIT))?;
    Ok(line)
}

/// A block that is being received.
pub(super) struct IncomingBlock<'a> {
    connections: &'a Connections,
    clock: Clock,
    from: SocketAddr,
    stream: Stream,
    /// The block's beginning, where it came with the reply's first line.
    lines: BoundedLines,
    size: u32,
    left: usize,
    stretch: Stretch,
    waits: ConnectionWait,
}

/// A job that waits on a connection, until this is dropped.
struct ConnectionWait(Cancel);

impl Drop for ConnectionWait {
    fn drop(&mut self) {
        let _ = self.0.wait_on(None);
    }
}

impl IncomingBlock<'_> {
    /// Bytes of the block, as the peer says.
    pub(super) fn size(&self) -> u32 {
        self.size
    }

    /// The next bytes, read into the beginning of `piece`; none after the last.
    pub(super) fn read_into<'p>(&mut self, piece: &'p mut [u8]) -> Result<Option<&'p [u8]>, JobError> {
        loop {
            if let Some(count) = self.read(piece)? {
                return Ok((count > 0).then_some(&piece[..count]));
            }
        }
    }

    /// Reads the whole block into `buffer`, hashes it on the way, and keeps the connection if it is what was asked for.
    /// As long as a large one comes, `flows` is told.
    pub(super) fn read_verified(
        mut self,
        key: &Key,
        buffer: &mut Buffer,
        flows: impl Fn(u32),
    ) -> Result<usize, JobError> {
        let size = self.size as usize;
        let mut hash = Sha256::new();
        let (mut told, mut told_of) = (None, 0);
        buffer.fill(size, |mut piece, _| {
            while !piece.is_empty() {
                if let Some(count) = self.read(piece)? {
                    hash.update(&piece[..count]);
                    piece = &mut piece[count..];
                }
                let came = self.came();
                if self.size >= FLOWS_FROM && came >= told_of + FLOW && self.is_time(&mut told) {
                    told_of = came;
                    flows(came as u32);
                }
            }
            Ok::<_, JobError>(())
        })?;
        if Key::from_bytes(hash.finalize().into()) != *key {
            return Err(failed(JobErrorKind::Corrupt, format!("peer {} sent other bytes than block {key}", self.from)));
        }
        self.keep();
        Ok(size)
    }

    /// Whether what was `told` then, or never, is to be told again.
    fn is_time(&self, told: &mut Option<Time>) -> bool {
        let now = self.clock.now();
        let is_time = told.is_none_or(|told| now.since(told) >= FLOW_LASTS / 4);
        *told = if is_time { Some(now) } else { *told };
        is_time
    }

    /// The block was received to its end: the connection is good for another.
    pub(super) fn keep(self) {
        if self.left == 0 {
            // From here on another job may take it, and the end of this one must not shut it down.
            drop(self.waits);
            self.connections.keep(self.from, self.stream, self.clock.now());
        }
    }

    /// Waits once for bytes, and reads those that can be read; none if what is sealed has not come to its end yet.
    fn read(&mut self, piece: &mut [u8]) -> Result<Option<usize>, JobError> {
        if self.left == 0 {
            return Ok(Some(0));
        }
        let wanted = piece.len().min(self.left);
        let read = self.lines.read_some(&self.stream, &mut piece[..wanted]).map_err(|error| self.broke(&error))?;
        if read == Some(0) {
            return Err(self.broke(&io::ErrorKind::UnexpectedEof.into()));
        }
        let count = read.unwrap_or(0);
        self.left -= count;
        self.connections.received.fetch_add(count as u64, Ordering::Relaxed);
        let came = self.came();
        if !self.stretch.goes_on(self.clock.now(), came) && self.left > 0 {
            return Err(failed(JobErrorKind::TimedOut, format!("peer {} sends too slowly", self.from)));
        }
        Ok(read)
    }

    /// Bytes of the block that have come, whether or not they can be read yet.
    fn came(&self) -> usize {
        self.size as usize - self.left + self.stream.held()
    }

    fn broke(&self, error: &io::Error) -> JobError {
        if is_timeout(error) && self.came() == 0 && self.waits.0.check().is_ok() {
            self.connections.suspect(self.clock.now(), self.from);
        }
        self.waits.0.check().err().unwrap_or_else(|| lost(self.from, error))
    }
}

/// When a [`STRETCH`] of a block was complete last, and how much had come by then.
struct Stretch {
    since: Time,
    from: usize,
}

impl Stretch {
    /// Now so many bytes have come. Whether that is in time.
    fn goes_on(&mut self, now: Time, came: usize) -> bool {
        let in_time = now.since(self.since) <= STRETCH_LIMIT;
        if came >= self.from + STRETCH {
            (self.since, self.from) = (now, came);
        }
        in_time
    }
}

/// What the first line of a reply says.
fn read_size(line: &str, from: SocketAddr, expected: Option<u32>) -> Result<u32, JobError> {
    match BlockHead::read(line) {
        BlockHead::Refused(reason) => Err(refused(from, reason)),
        BlockHead::Size(size) if expected.is_none_or(|expected| expected == size) => Ok(size),
        // That peer may be wrong, or who made the list.
        BlockHead::Size(size) => {
            let listed = expected.unwrap_or(size);
            let reason = format!("peer {from} has a block of {size} bytes where the list says {listed}");
            Err(failed(JobErrorKind::Corrupt, reason))
        }
        BlockHead::Malformed => {
            let said: String = line.chars().take(24).flat_map(char::escape_default).collect();
            Err(failed(JobErrorKind::Corrupt, format!("peer {from} announced a block of '{said}' bytes")))
        }
    }
}

/// A connection from our address `source` on which neither side may be silent for long, sealed under `keys`, if there
/// are any; in short packets if the way is `narrow`. While it is being made, `cancel` ends that too.
fn connect(
    (to, narrow): (SocketAddr, bool),
    source: Option<IpAddr>,
    keys: Option<&Keyring>,
    cancel: &Cancel,
) -> Result<Stream, JobError> {
    let ended = Cell::new(None);
    let dial = || {
        let stream = Arc::new(TcpStream::from(outgoing(to, source, narrow)?));
        let wait = || {
            cancel.wait_on(Some(Arc::clone(&stream))).map_err(|why| {
                ended.set(Some(why));
                io::Error::from(io::ErrorKind::Interrupted)
            })
        };
        wait()?;
        let made = SockRef::from(&*stream).connect_timeout(&to.into(), WORKER_LIMIT);
        // It may have been cancelled before there was anything to shut down.
        wait().and(made)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE_LIMIT))?;
        stream.set_write_timeout(Some(SILENCE_LIMIT))?;
        Ok(stream)
    };
    let opened = Stream::open(to, keys, SILENCE_LIMIT, dial);
    let limited = opened.and_then(|stream| stream.tcp().set_read_timeout(Some(SILENCE_LIMIT)).map(|()| stream));
    limited.map_err(|error| {
        let ended = ended.take().or_else(|| cancel.check().err());
        let _ = cancel.wait_on(None);
        ended.unwrap_or_else(|| unreached(to, &error))
    })
}

/// The peer answered that it will not send what it was asked for.
pub(super) fn refused(from: SocketAddr, reason: &str) -> JobError {
    let kind = if reason == FOUND_DAMAGED { JobErrorKind::Corrupt } else { JobErrorKind::NotFound };
    let reason: String = reason.chars().take(MAX_REASON).flat_map(char::escape_default).collect();
    failed(kind, format!("peer {from} says: {reason}"))
}

/// No connection came about. That this peer lacks descriptors tells nothing about the other.
fn unreached(to: SocketAddr, error: &io::Error) -> JobError {
    let kind = if is_shortage(error) { JobErrorKind::Busy } else { JobErrorKind::Unreachable };
    failed(kind, format!("peer {to} cannot be reached: {error}"))
}

pub(super) fn lost(from: SocketAddr, error: &io::Error) -> JobError {
    if is_timeout(error) {
        failed(JobErrorKind::TimedOut, format!("peer {from} went silent"))
    } else {
        failed(JobErrorKind::TimedOut, format!("the connection to peer {from} broke: {error}"))
    }
}

#[cfg(test)]
mod tests;
