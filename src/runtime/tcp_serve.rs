//! `tcp-serve-N`: waits for requests on one connection and answers them with blocks.
//!
//! A request is a line of 64 hexadecimal digits. The answer is the block's size and its bytes, which go from the disk
//! to the network as `send_file` does it. A line that starts with `{` is a control line of the ring: a message for the
//! node. On the classroom ring, `file` and a name ask for a file: see `named.rs`.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::bounded_lines::{BoundedLines, StreamLine, UntilDeadline, is_timeout};
use super::lent::LentBlock;
use super::named;
use super::post::Post;
use super::secrecy::Stream;
use super::send_file::{send_head, send_part};
use super::served::{ConnectionId, ConnectionState};
use super::sockets::at_port;
use super::{Role, Shared, fault};
use crate::gauges::{self, Activity};
use crate::id::Key;
use crate::name::FileName;
use crate::node::Event;
use crate::store::StoreErrorKind;
use crate::time::Time;
use crate::wire::{Dialect, MAX_CONTROL_LINE, MAX_REQUEST_LINE, Via};

/// What a client is told whose block had to be moved aside. It tells damage from absence by these words.
pub(super) const FOUND_DAMAGED: &str = "this block was found damaged here";

/// A connection whose client says nothing for this long is closed.
pub(crate) const IDLE_LIMIT: Duration = Duration::from_secs(40);

/// A client that takes nothing for this long is given up, and so is one that does not show the network key.
const STUCK_LIMIT: Duration = Duration::from_secs(10);

/// A client that broke the rules is read from so often, for so long at most each time, so that it takes notice.
const PARTING_LIMIT: Duration = Duration::from_millis(500);
const PARTING_READS: usize = 64;

/// Bytes that are sent between two looks at the clock.
const BETWEEN_LOOKS: usize = 256 * 1024;

/// Bytes that are read, hashed and sent at a time: they stay in the processor's cache between the three, and the C
/// library asks the system for no memory just for them.
const CHUNK: usize = 64 * 1024;

/// The bytes at the end of a block that are sent only once it is noted that the block is delivered.
const LAST_BYTES: u64 = 4096;

/// Bytes a second that a client takes at least on the whole; one that takes less is given up. Several clients share a
/// slow way, and each gives up by itself what comes too slowly.
const LEAST_TAKEN: u64 = 4 * 1024;

/// Lines that are no requests are answered so often; a client that sends more speaks another protocol.
const MAX_STRANGE: u32 = 8;

/// Serves one connection until its client closes it, goes silent or breaks the rules.
pub(super) fn run(
    shared: &Shared,
    connection: ConnectionId,
    tcp: &Arc<TcpStream>,
    from: SocketAddr,
    events: &Post,
) -> io::Result<()> {
    tcp.set_write_timeout(Some(STUCK_LIMIT))?;
    let stream = &Stream::accept(Arc::clone(tcp), shared.keys.as_deref(), STUCK_LIMIT)?;
    let mut lines = BoundedLines::default();
    let mut strange = 0;
    loop {
        let since = shared.clock.now();
        shared.served.mark(connection, ConnectionState::Idle(since));
        // However its bytes come, the whole line has one time limit.
        let next = || lines.next(UntilDeadline::new(stream, shared.clock, since + IDLE_LIMIT), longest);
        let line = match gauges::wait(next) {
            Ok(StreamLine::Text(line)) => line,
            Ok(StreamLine::End) => return Ok(()),
            Err(error) if is_timeout(&error) => return Ok(()),
            Err(error) => return Err(error),
            Ok(StreamLine::TooLong) => {
                refuse(stream, "a request line has at most 128 bytes, a control line 65536")?;
                return take_leave(stream);
            }
        };
        fault::point(Role::TcpServe);
        if !stream.is_in_force(shared.keys.as_deref()) {
            return Ok(());
        }
        let stage = AnsweredConnection { shared, connection, stream };
        stage.moves_on();
        gauges::name(Activity::Sends);
        if let Err(reason) = obey(stage, from, &line, events)? {
            refuse(stream, reason)?;
            strange += 1;
            if strange >= MAX_STRANGE || is_http(&line) {
                return take_leave(stream);
            }
        }
    }
}

/// Whether a line begins a request of the web's. What follows is none of ours, even where it looks like one: a page can
/// have a browser send a body that is a control line.
fn is_http(line: &[u8]) -> bool {
    line.windows(5).any(|part| part == b"HTTP/")
}

/// Does what a line asks for, or says why it is no request.
fn obey(
    stage: AnsweredConnection<'_>,
    from: SocketAddr,
    line: &[u8],
    events: &Post,
) -> io::Result<Result<(), &'static str>> {
    if line.first() == Some(&b'{') {
        return control(stage.shared, from, line, events);
    }
    if let Some(asked) = named::parse(line) {
        return match asked {
            Ok(asked) => send_named(stage, from, asked, events).map(Ok),
            Err(reason) => Ok(Err(reason)),
        };
    }
    let key = std::str::from_utf8(line).ok().and_then(|text| text.trim_end_matches('\r').parse::<Key>().ok());
    match key {
        Some(key) => answer(stage, from, &key, events).map(Ok),
        None => Ok(Err("a request is the 64 hexadecimal digits of a block's key")),
    }
}

/// Bytes that a line which begins like this may have, its newline included.
fn longest(line: &[u8]) -> usize {
    if line.first() == Some(&b'{') { MAX_CONTROL_LINE } else { MAX_REQUEST_LINE }
}

fn refuse(mut stream: &Stream, reason: &str) -> io::Result<()> {
    stream.write_all(format!("error: {reason}\n").as_bytes())
}

/// Ends a connection whose client may still be sending, so that it reads what it was told: bytes left unread would make
/// the system reset the connection.
fn take_leave(mut stream: &Stream) -> io::Result<()> {
    stream.tcp().shutdown(Shutdown::Write)?;
    stream.tcp().set_read_timeout(Some(PARTING_LIMIT))?;
    let mut room = [0; 4096];
    for _ in 0..PARTING_READS {
        if stream.read(&mut room)? == 0 {
            break;
        }
    }
    Ok(())
}

/// A connection that is being answered.
#[derive(Clone, Copy)]
struct AnsweredConnection<'a> {
    shared: &'a Shared,
    connection: ConnectionId,
    stream: &'a Stream,
}

impl AnsweredConnection<'_> {
    /// Its client took something.
    fn moves_on(&self) {
        self.shared.served.mark(self.connection, ConnectionState::Sending(self.shared.clock.now()));
    }

    /// When an answer of so many bytes that begins now is to be over.
    fn limit(&self, size: u64) -> Time {
        self.shared.clock.now() + STUCK_LIMIT + Duration::from_secs(size / LEAST_TAKEN)
    }

    /// Its client took so many bytes of an answer that is to be over at `limit`.
    fn took(&self, bytes: usize, limit: Time) -> io::Result<()> {
        self.shared.served.count_sent(bytes as u64);
        self.moves_on();
        if self.shared.clock.now() > limit {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes too long"));
        }
        Ok(())
    }
}

fn answer(stage: AnsweredConnection<'_>, from: SocketAddr, key: &Key, events: &Post) -> io::Result<()> {
    let AnsweredConnection { shared, stream, .. } = stage;
    let delivered = || shared.ledger.note_delivery(*key, from.ip());
    let send_block = |file: &File, offset: u64, size: u32, send: SendRange| {
        let until = stage.limit(size.into());
        send_head(stream, format!("{size}\n").as_bytes(), size > 0)?;
        let send = |part: Range<u64>| send(stage, file, offset + part.start, part.end - part.start, until);
        send_last_noted(size.into(), send, delivered)
    };
    match shared.ledger.note_asked(*key, from.ip()) {
        Some(LentBlock::Bytes(bytes)) => {
            // The reader of a short one is woken once.
            let all = [format!("{}\n", bytes.len()).as_bytes(), &bytes].concat();
            let mut way = CountedStream { stage, limit: stage.limit(all.len() as u64) };
            let send = |part: Range<u64>| way.write_all(&all[part.start as usize..part.end as usize]);
            return send_last_noted(all.len() as u64, send, delivered);
        }
        Some(LentBlock::Slice { file, offset, size }) => return send_block(&file, offset, size, send_lent),
        None => {}
    }
    match shared.store.read(key) {
        Ok(block) => send_block(&block.file, 0, block.size, send_file),
        Err(error) if error.kind() == StoreErrorKind::NotFound => {
            let _ = events.send(Event::Missing { key: *key });
            // Another client may have asked a moment before, or a look of its own may have found it so.
            refuse(stream, if shared.store.found_damaged(key) { FOUND_DAMAGED } else { "this block is not here" })
        }
        Err(error) => {
            if error.kind() != StoreErrorKind::Damaged {
                log::log!(shared.served.unreadable.level(shared.clock.now()), "{error}");
                return refuse(stream, "this block cannot be read here");
            }
            log::warn!("{error}");
            let _ = events.send(Event::Damaged { key: *key });
            refuse(stream, FOUND_DAMAGED)
        }
    }
}

/// Sends so many bytes of a block. That they are delivered is noted before the last of them go out, and so before the
/// puller can say that it has saved them, but not before its system has taken the others.
fn send_last_noted(
    size: u64,
    mut send: impl FnMut(Range<u64>) -> io::Result<()>,
    delivered: impl FnOnce(),
) -> io::Result<()> {
    let first = size.saturating_sub(LAST_BYTES);
    send(0..first)?;
    delivered();
    send(first..size)
}

/// A file by its name; the node is told once a user's has been sent.
fn send_named(
    stage: AnsweredConnection<'_>,
    from: SocketAddr,
    asked: named::FileRequest,
    events: &Post,
) -> io::Result<()> {
    let AnsweredConnection { shared, stream, .. } = stage;
    let Some(folder) = &shared.folder else { return refuse(stream, "this peer keeps no files by their names") };
    let (file, by) = (asked.file, asked.port.map(|port| at_port(from, port)));
    let tell = |event: fn(FileName, SocketAddr) -> Event| {
        if let Some(by) = by {
            let _ = events.send(event(file, by));
        }
    };
    let send_all = |file: &File, size, hash: Option<&mut Sha256>| {
        tell(|file, by| Event::Fetching { file, by, goes_on: true });
        send_read(stage, file, size, hash, stage.limit(size))
    };
    let sent = || tell(|file, by| Event::Fetched { file, by });
    let is_over = folder.send(stream, file, shared.clock.now(), send_all, sent);
    tell(|file, by| Event::Fetching { file, by, goes_on: false });
    is_over
}

/// Sends so many bytes of a file, from an offset on, until a moment.
type SendRange = fn(AnsweredConnection<'_>, &File, u64, u64, Time) -> io::Result<()>;

fn send_file(stage: AnsweredConnection<'_>, file: &File, offset: u64, size: u64, limit: Time) -> io::Result<()> {
    match send_what_is_there(stage, file, offset, size, limit)? {
        sent if sent < size => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// Sends a part of the user's file, which may have been cut since it was hashed. Zeros stand for what it has lost: then
/// the bytes have another hash, and who pulls them says so. A connection that breaks would look like a bad way.
fn send_lent(stage: AnsweredConnection<'_>, file: &File, offset: u64, size: u64, limit: Time) -> io::Result<()> {
    let sent = send_what_is_there(stage, file, offset, size, limit)?;
    io::copy(&mut io::repeat(0).take(size - sent), &mut CountedStream { stage, limit }).map(drop)
}

/// Returns how many bytes were sent: fewer where the file ends before.
fn send_what_is_there(
    stage: AnsweredConnection<'_>,
    file: &File,
    offset: u64,
    size: u64,
    limit: Time,
) -> io::Result<u64> {
    let stream = stage.stream;
    let (mut at, end) = (offset, offset + size);
    while at < end {
        let most = usize::try_from(end - at).map_or(BETWEEN_LOOKS, |left| left.min(BETWEEN_LOOKS));
        match send_part(stream, file, at, most) {
            Ok(0) => break,
            Ok(count) => {
                at += count as u64;
                stage.took(count, limit)?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(at - offset)
}

/// Sends a file's first `size` bytes by way of this program's memory, and adds them to `hash` on their way. Over one
/// connection that is faster than [`send_part`] also where none is asked for: the receiver, which hashes and writes,
/// gets bytes that are in the processor's cache already (1 GiB over loopback in 1.2 s instead of 1.5 s).
fn send_read(
    stage: AnsweredConnection<'_>,
    mut file: &File,
    size: u64,
    mut hash: Option<&mut Sha256>,
    limit: Time,
) -> io::Result<()> {
    let mut room = vec![0; CHUNK];
    let mut left = size;
    while left > 0 {
        let wanted = CHUNK.min(usize::try_from(left).unwrap_or(CHUNK));
        let count = file.read(&mut room[..wanted])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(hash) = &mut hash {
            hash.update(&room[..count]);
        }
        CountedStream { stage, limit }.write_all(&room[..count])?;
        left -= count as u64;
    }
    Ok(())
}

/// The way to a client: what it takes is counted, and its time is limited.
struct CountedStream<'a> {
    stage: AnsweredConnection<'a>,
    limit: Time,
}

impl Write for CountedStream<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut stream = self.stage.stream;
        let count = stream.write(bytes)?;
        self.stage.took(count, self.limit)?;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A message of the ring: from the address it came from, with the port that its sender claims to listen on.
fn control(shared: &Shared, from: SocketAddr, line: &[u8], events: &Post) -> io::Result<Result<(), &'static str>> {
    if shared.dialect != Dialect::Ring {
        return Ok(Err("this peer does not speak the ring's control lines"));
    }
    let message = match shared.dialect.decode(line) {
        Ok(message) => message,
        Err(malformed) => return Ok(Err(malformed.reason)),
    };
    let Some(sender) = message.sender else { return Ok(Err("a control line names its source")) };
    let from = at_port(from, sender.peer.addr.port());
    let bytes = line.len() as u32;
    let event = Event::Message { from, via: Via::Tcp, bytes, message };
    events.send(event).map(Ok).map_err(|_| io::ErrorKind::BrokenPipe.into())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_block_of_a_file_or_a_list_is_delivered_to_nobody_who_takes_less_than_all_but_its_last_bytes() {
        // Of so many bytes a client takes so many.
        for (size, takes, counts) in
            [(1 << 20, 0, false), (1 << 20, (1 << 20) - LAST_BYTES, true), (LAST_BYTES + 1, 0, false)]
        {
            let (noted, taken) = (Cell::new(false), Cell::new(0));
            let send = |part: Range<u64>| {
                taken.set(taken.get() + part.end - part.start);
                if taken.get() > takes { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
            };
            send_last_noted(size, send, || noted.set(true)).expect_err("it does not take all");
            assert_eq!(noted.get(), counts, "{takes} of {size}");
        }
    }
}
