//! Lines of bounded length from a stream, and the bytes behind them.
//!
//! Every exchange over TCP begins with a line: a request, the head of a reply, a control line of the ring. What follows
//! it may be bytes, and a read may bring both at once. A line without an end takes no more memory than one of full
//! length.
//!
//! The console's reader (`console/lines.rs`) is another: it passes over a line that is too long, tells how long it was
//! and reads on, where a connection just ends.

use std::io::{self, Read};

use super::clock::Clock;
use super::secrecy::Stream;
use crate::time::Time;

/// Bytes that one read brings at most.
const READ_AT_ONCE: usize = 4096;

/// What a stream says next.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum StreamLine {
    /// A line, without its newline.
    Text(Vec<u8>),
    /// A line that is longer than it may be. The stream is of no use any more.
    TooLong,
    /// The stream has ended. An unfinished line is none.
    End,
}

/// The lines of a stream, and what was read and not taken yet.
#[derive(Default)]
pub(super) struct BoundedLines {
    buffer: Vec<u8>,
    /// What lies before was taken already.
    begin: usize,
}

impl BoundedLines {
    /// The next line of `input`. `longest` tells, from its first bytes, how many it may have with its newline.
    pub(super) fn next(&mut self, mut input: impl Read, longest: impl Fn(&[u8]) -> usize) -> io::Result<StreamLine> {
        let mut searched = self.begin;
        loop {
            if let Some(at) = self.buffer[searched..].iter().position(|&byte| byte == b'\n') {
                let line = self.buffer[self.begin..searched + at].to_vec();
                self.begin = searched + at + 1;
                return Ok(if line.len() < longest(&line) { StreamLine::Text(line) } else { StreamLine::TooLong });
            }
            self.buffer.drain(..self.begin);
            (self.begin, searched) = (0, self.buffer.len());
            if self.buffer.len() >= longest(&self.buffer) {
                return Ok(StreamLine::TooLong);
            }
            let mut room = [0; READ_AT_ONCE];
            match uninterrupted(|| input.read(&mut room))? {
                0 => return Ok(StreamLine::End),
                count => self.buffer.extend_from_slice(&room[..count]),
            }
        }
    }

    /// The next line of a reply, which has to be one of at most `longest` bytes.
    pub(super) fn reply(&mut self, input: impl Read, longest: usize) -> io::Result<String> {
        match self.next(input, |_| longest)? {
            StreamLine::Text(line) => Ok(String::from_utf8_lossy(&line).into_owned()),
            StreamLine::TooLong => Err(io::Error::new(io::ErrorKind::InvalidData, "its reply has no end")),
            StreamLine::End => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// The bytes behind the last line: first those that came with it, then those of `input`.
    pub(super) fn read(&mut self, mut input: impl Read, room: &mut [u8]) -> io::Result<usize> {
        self.ahead(room).map_or_else(|| uninterrupted(|| input.read(room)), Ok)
    }

    /// The same of a connection that is waited on once; none if what is sealed has not come to its end yet.
    pub(super) fn read_some(&mut self, stream: &Stream, room: &mut [u8]) -> io::Result<Option<usize>> {
        self.ahead(room).map_or_else(|| uninterrupted(|| stream.read_some(room)), |count| Ok(Some(count)))
    }

    /// Gives the bytes that came with the last line; none if there are none left.
    fn ahead(&mut self, room: &mut [u8]) -> Option<usize> {
        let ahead = &self.buffer[self.begin..];
        let count = room.len().min(ahead.len());
        room[..count].copy_from_slice(&ahead[..count]);
        let any = !ahead.is_empty();
        self.begin += count;
        any.then_some(count)
    }
}

/// A connection that is read until a moment, however slowly its bytes come. Its read timeout is changed by that.
pub(super) struct UntilDeadline<'a> {
    stream: &'a Stream,
    clock: Clock,
    limit: Time,
}

impl<'a> UntilDeadline<'a> {
    pub(super) fn new(stream: &'a Stream, clock: Clock, limit: Time) -> Self {
        Self { stream, clock, limit }
    }
}

impl Read for UntilDeadline<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        loop {
            let left = self.limit - self.clock.now();
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.stream.tcp().set_read_timeout(Some(left))?;
            if let Some(count) = self.stream.read_some(room)? {
                return Ok(count);
            }
        }
    }
}

/// Reads again what a signal interrupted: the system does not, where the read has a time limit.
pub(super) fn uninterrupted<T>(mut read: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match read() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// Whether a read or write ended because its time was over.
pub(super) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    const LONGEST: usize = 8;

    fn next(lines: &mut BoundedLines, input: &mut impl Read) -> StreamLine {
        lines.next(input, |_| LONGEST).expect("it can be read")
    }

    fn text(text: &str) -> StreamLine {
        StreamLine::Text(text.into())
    }

    #[test]
    fn lines_are_the_same_wherever_the_stream_is_cut() {
        let bytes = b"first\n\nlast 7!\ncut";
        for at in 0..=bytes.len() {
            let (mut input, mut lines) = (bytes[..at].chain(&bytes[at..]), BoundedLines::default());
            let read: Vec<StreamLine> = (0..4).map(|_| next(&mut lines, &mut input)).collect();
            assert_eq!(read, [text("first"), text(""), text("last 7!"), StreamLine::End], "cut at {at}");
        }
    }

    #[test]
    fn two_lines_that_come_together_are_two() {
        let (mut input, mut lines) = (&b"one\ntwo\n"[..], BoundedLines::default());
        assert_eq!(next(&mut lines, &mut input), text("one"));
        assert!(input.is_empty(), "all of it was read");
        assert_eq!((next(&mut lines, &mut input), next(&mut lines, &mut input)), (text("two"), StreamLine::End));
    }

    #[test]
    fn a_line_is_too_long_by_one_byte_with_an_end_or_without() {
        for too_long in [&b"12345678\n"[..], b"12345678"] {
            assert_eq!(next(&mut BoundedLines::default(), &mut &*too_long), StreamLine::TooLong);
        }
        assert_eq!(next(&mut BoundedLines::default(), &mut &b"1234567\n"[..]), text("1234567"));
        let endless = io::repeat(b'x');
        let mut lines = BoundedLines::default();
        assert_eq!(next(&mut lines, &mut endless.take(1 << 40)), StreamLine::TooLong);
        assert!(lines.buffer.len() <= READ_AT_ONCE, "no more is kept than was read");
    }

    #[test]
    fn how_long_a_line_may_be_depends_on_how_it_begins() {
        let longest = |line: &[u8]| if line.first() == Some(&b'{') { 20 } else { LONGEST };
        let mut input = &b"{control line}\nrequest line\n"[..];
        let mut lines = BoundedLines::default();
        assert_eq!(lines.next(&mut input, longest).expect("text"), text("{control line}"));
        assert_eq!(lines.next(&mut input, longest).expect("text"), StreamLine::TooLong);
    }

    #[test]
    fn bytes_behind_a_line_are_neither_lost_nor_doubled() {
        let bytes = b"5\nbytes9\n";
        for at in 0..=bytes.len() {
            let (mut input, mut lines) = (bytes[..at].chain(&bytes[at..]), BoundedLines::default());
            assert_eq!(lines.reply(&mut input, LONGEST).expect("a line"), "5");
            let mut room = [0; 5];
            let mut count = 0;
            while count < room.len() {
                count += lines.read(&mut input, &mut room[count..]).expect("bytes");
            }
            assert_eq!((&room, lines.reply(&mut input, LONGEST).expect("a line")), (b"bytes", "9".to_owned()), "{at}");
        }
    }

    /// Each read is interrupted once.
    struct Interrupted<'a>(&'a [u8], bool);

    impl Read for Interrupted<'_> {
        fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 { Err(io::ErrorKind::Interrupted.into()) } else { self.0.read(&mut room[..1]) }
        }
    }

    #[test]
    fn a_signal_ends_neither_a_line_nor_the_bytes_behind_it() {
        let (mut input, mut lines) = (Interrupted(b"2\n12", false), BoundedLines::default());
        assert_eq!(lines.reply(&mut input, LONGEST).expect("a line"), "2");
        for byte in b"12" {
            let mut room = [0; 2];
            assert_eq!((lines.read(&mut input, &mut room).expect("a byte"), room[0]), (1, *byte));
        }
    }

    #[test]
    fn a_reply_that_is_none_says_why() {
        let kind = |bytes: &[u8]| BoundedLines::default().reply(bytes, LONGEST).expect_err("no reply").kind();
        assert_eq!(kind(b"cut"), io::ErrorKind::UnexpectedEof);
        assert_eq!(kind(b"much too long\n"), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_line_that_comes_byte_by_byte_has_one_time_limit() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let mut sending = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
        let (stream, _) = listener.accept().expect("it is there");
        sending.write_all(b"never en").expect("it is open");
        let clock = Clock::start();
        let stream = Stream::accept(Arc::new(stream), None, Duration::ZERO).expect("it is open");
        let until = UntilDeadline::new(&stream, clock, clock.now() + Duration::from_millis(50));
        let error = BoundedLines::default().next(until, |_| 100).expect_err("there is no end");
        assert!(is_timeout(&error) && clock.now() >= Time::from_micros(50_000), "{error}");
    }
}
