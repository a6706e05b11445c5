//! Standard error, which one thread writes.
//!
//! The reader of standard error may be slow or stuck. Neither the node, whose warnings go there, nor the end of the
//! program may wait for it. So lines go through a bounded channel to the thread `log`, which alone waits. Where the
//! channel is full, lines are lost; a line in their place says how many, as soon as the reader goes on.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, SendTimeoutError, Sender, bounded};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Screen;
use crate::gauges;
use crate::runtime::{PROGRAM, enter_gauges};

/// Lines that may wait to be written; further lines are lost.
const LINES_WAITING: usize = 1024;

/// Bytes of a line that are kept while it waits, so that the channel has a bound in bytes too.
const LONGEST_KEPT: usize = 8 * 1024;

/// How long a caller that must not lose its text waits; if no line was written meanwhile, the reader counts as stuck.
const STUCK: Duration = Duration::from_millis(500);

/// How many times in a row a flush waits for a slow reader.
const WAITS: u32 = 4;

/// Bytes that are written without waiting, if the system says that there is room.
const AT_ONCE: usize = 4096;

/// The process has one standard error, and so at most one of these.
static OF_PROCESS: OnceLock<Stderr> = OnceLock::new();

/// The way to standard error. Each text written to it is one or more whole lines.
pub struct Stderr {
    /// What waits lies in boxes: the channel has room for all of it from the start.
    sender: Sender<Box<LogMessage>>,
    count: Arc<Count>,
}

/// What has become of lines: numbers that stand alone. The lines themselves go through the channel (`Relaxed`).
#[derive(Default)]
struct Count {
    /// Lines lost and not yet reported.
    lost: AtomicU64,
    /// Lines written, or refused by a closed standard error.
    done: AtomicU64,
}

enum LogMessage {
    /// Lines to be written, and how many were lost before them.
    Text { lost: u64, text: String },
    /// Asks whether everything that came before could be written.
    Flush(Sender<io::Result<()>>),
}

impl Stderr {
    /// Standard error of this process. The first call names the screen that shows it, and starts its thread.
    pub fn of_process(screen: &Arc<Screen>) -> &'static Self {
        OF_PROCESS.get_or_init(|| {
            let screen = Arc::clone(screen);
            Self::start(move |text| screen.print(text))
        })
    }

    /// Standard error of this process, if its thread was started.
    pub fn started() -> Option<&'static Self> {
        OF_PROCESS.get()
    }

    /// Starts the thread that has lines written by `print`. It is never joined: a thread that is stuck in a write
    /// cannot be woken.
    fn start(print: impl FnMut(&str) -> io::Result<()> + Send + 'static) -> Self {
        let (sender, receiver) = bounded(LINES_WAITING);
        let count = Arc::new(Count::default());
        let writer = LogWriter { receiver, count: Arc::clone(&count), print, last: None };
        // Without a thread the channel is closed, and lines go out where there is room for them.
        let _ = thread::Builder::new().name("log".to_owned()).spawn(move || writer.run());
        Self { sender, count }
    }

    /// Passes a line to the thread and never waits: a line that finds no room is lost. A long line is cut.
    pub fn log(&self, line: &str) {
        self.deliver(shortened(line), Duration::ZERO);
    }

    /// Passes a text to the thread; waits at most `STUCK` for room, so that it is not lost among other lines.
    pub fn say(&self, text: &str) {
        self.deliver(text.to_owned(), STUCK);
    }

    fn deliver(&self, text: String, limit: Duration) {
        let lost = self.count.lost.swap(0, Ordering::Relaxed);
        match self.sender.send_timeout(Box::new(LogMessage::Text { lost, text }), limit) {
            Ok(()) => {}
            Err(SendTimeoutError::Timeout(_)) => {
                self.count.lost.fetch_add(lost + 1, Ordering::Relaxed);
            }
            Err(SendTimeoutError::Disconnected(message)) => {
                if let LogMessage::Text { text, .. } = *message {
                    write_at_once(&text);
                }
            }
        }
    }

    /// Waits until all texts so far are written: two seconds at most, and less if standard error is not read.
    ///
    /// # Errors
    /// Not all of it was written: standard error is not read, or is closed.
    pub fn flush(&self) -> io::Result<()> {
        // One word comes, so the log never waits to say it.
        let (tells, told) = bounded(1);
        let mut ask = Some(Box::new(LogMessage::Flush(tells)));
        let mut waits = 0;
        while waits < WAITS {
            let before = self.count.done.load(Ordering::Relaxed);
            if let Some(message) = ask.take() {
                match self.sender.send_timeout(message, STUCK) {
                    Ok(()) => continue,
                    Err(SendTimeoutError::Timeout(message)) => ask = Some(message),
                    Err(SendTimeoutError::Disconnected(_)) => return Err(io::ErrorKind::BrokenPipe.into()),
                }
            } else {
                match told.recv_timeout(STUCK) {
                    Ok(result) => return result,
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return Err(io::ErrorKind::BrokenPipe.into()),
                }
            }
            waits += 1;
            if self.count.done.load(Ordering::Relaxed) == before {
                break;
            }
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "standard error is not read"))
    }
}

impl Write for &Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.say(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Stderr::flush(self)
    }
}

/// What the thread `log` owns.
struct LogWriter<P> {
    receiver: Receiver<Box<LogMessage>>,
    count: Arc<Count>,
    print: P,
    /// The error of the last write, if it failed.
    last: Option<io::ErrorKind>,
}

impl<P: FnMut(&str) -> io::Result<()>> LogWriter<P> {
    /// Writes texts until all senders are gone.
    fn run(mut self) {
        let _place = enter_gauges(PROGRAM, "log");
        loop {
            let message = match self.receiver.try_recv() {
                Ok(message) => message,
                Err(_) => {
                    // The lost lines came after everything written so far.
                    self.tell_lost();
                    let Ok(message) = gauges::wait(|| self.receiver.recv()) else { return };
                    message
                }
            };
            match *message {
                LogMessage::Text { lost, text } => {
                    self.write_lost(lost);
                    self.write(&text);
                }
                LogMessage::Flush(tells) => {
                    self.tell_lost();
                    // The caller of `flush` may have stopped waiting.
                    let _ = tells.send(self.last.map_or(Ok(()), |kind| Err(kind.into())));
                }
            }
        }
    }

    fn tell_lost(&mut self) {
        let lost = self.count.lost.swap(0, Ordering::Relaxed);
        self.write_lost(lost);
    }

    fn write_lost(&mut self, lost: u64) {
        let lines = match lost {
            0 => return,
            1 => "1 line was".to_owned(),
            more => format!("{more} lines were"),
        };
        self.write(&format!("{lines} lost here: standard error was not read fast enough\n"));
    }

    fn write(&mut self, text: &str) {
        // A text whose printing panics is lost; later ones are not.
        let written = catch_unwind(AssertUnwindSafe(|| (self.print)(text)));
        self.last = written.map_or(Some(io::ErrorKind::Other), |written| written.err().map(|error| error.kind()));
        self.count.done.fetch_add(1, Ordering::Relaxed);
    }
}

/// Writes all of `text` to standard error, even if another process has put it into non-blocking mode.
///
/// # Errors
/// Standard error is closed, or cannot be written to.
pub(super) fn write(text: &str) -> io::Result<()> {
    let mut left = text.as_bytes();
    while !left.is_empty() {
        match io::stderr().write(left) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => left = &left[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                has_room(PollTimeout::NONE);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes the beginning of `text`, or nothing where that would have to wait.
fn write_at_once(text: &str) {
    if has_room(PollTimeout::ZERO) {
        let _ = io::stderr().write(&text.as_bytes()[..text.len().min(AT_ONCE)]);
    }
}

/// Waits until standard error takes something. Returns whether it does.
fn has_room(limit: PollTimeout) -> bool {
    let stderr = io::stderr();
    let mut ready = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    poll(&mut ready, limit).is_ok_and(|ready| ready > 0)
}

/// A line of at most [`LONGEST_KEPT`] bytes, and how much of it is missing.
fn shortened(line: &str) -> String {
    if line.len() <= LONGEST_KEPT {
        return line.to_owned();
    }
    let end = (0..=LONGEST_KEPT).rfind(|&at| line.is_char_boundary(at)).unwrap_or(0);
    format!("{} … and {} bytes more\n", &line[..end], line.len() - end)
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    /// A reader that reads when it is told to.
    struct Reader {
        stderr: Stderr,
        /// Lets one text be printed.
        lets: Sender<()>,
        /// *Protects* what was read. *Held for* one text. *Never held while* anything is waited for.
        read: Arc<Mutex<String>>,
    }

    impl Reader {
        fn new() -> Self {
            let (lets, may) = crossbeam_channel::unbounded();
            let read = Arc::new(Mutex::new(String::new()));
            let reads = Arc::clone(&read);
            let stderr = Stderr::start(move |text| {
                let _ = may.recv();
                if text == "panic\n" {
                    // Without a backtrace, which may take longer to print than a flush waits.
                    std::panic::resume_unwind(Box::new(()));
                }
                reads.lock().push_str(text);
                Ok(())
            });
            Self { stderr, lets, read }
        }

        /// What there is to read once everything may pass.
        fn read_all(mut self) -> String {
            (self.lets, _) = crossbeam_channel::unbounded();
            self.stderr.flush().expect("it is read");
            self.read.lock().clone()
        }
    }

    #[test]
    fn lines_that_nobody_reads_are_lost_and_counted_where_they_were() {
        let reader = Reader::new();
        reader.stderr.log("first\n");
        while !reader.stderr.sender.is_empty() {
            thread::yield_now();
        }
        // The first is being written; as many wait as there is room for.
        for number in 0..LINES_WAITING + 7 {
            reader.stderr.log(&format!("line {number}\n"));
        }
        for _ in 0..2 {
            reader.lets.send(()).expect("it waits");
        }
        while reader.stderr.sender.len() > LINES_WAITING - 2 {
            thread::yield_now();
        }
        reader.stderr.log("after\n");
        let read = reader.read_all();
        let lines: Vec<&str> = read.lines().collect();
        let gap = "7 lines were lost here: standard error was not read fast enough";
        assert_eq!(lines[..2], ["first", "line 0"]);
        assert_eq!(lines[LINES_WAITING..], [&format!("line {}", LINES_WAITING - 1), gap, "after"]);
    }

    #[test]
    fn what_was_lost_at_the_end_is_told_at_the_end() {
        let reader = Reader::new();
        reader.stderr.log("first\n");
        while !reader.stderr.sender.is_empty() {
            thread::yield_now();
        }
        for number in 0..=LINES_WAITING {
            reader.stderr.log(&format!("line {number}\n"));
        }
        let read = reader.read_all();
        assert!(read.ends_with("\n1 line was lost here: standard error was not read fast enough\n"), "{read}");
    }

    #[test]
    fn an_end_waits_for_a_reader_that_reads_and_not_for_one_that_does_not() {
        let reader = Reader::new();
        reader.stderr.log("a line\n");
        assert_eq!(reader.stderr.flush().map_err(|error| error.kind()), Err(io::ErrorKind::TimedOut));
        assert_eq!(reader.read_all(), "a line\n");
    }

    #[test]
    fn a_line_whose_printing_panics_takes_no_other_with_it() {
        let reader = Reader::new();
        for line in ["before\n", "panic\n", "behind\n"] {
            reader.stderr.log(line);
        }
        assert_eq!(reader.read_all(), "before\nbehind\n");
    }

    #[test]
    fn a_closed_standard_error_is_told_to_whoever_asks() {
        let stderr = Stderr::start(|_| Err(io::ErrorKind::BrokenPipe.into()));
        stderr.log("a line\n");
        assert_eq!(stderr.flush().map_err(|error| error.kind()), Err(io::ErrorKind::BrokenPipe));
    }

    #[test]
    fn a_line_that_waits_has_a_bound_in_bytes() {
        let line = shortened(&"é".repeat(LONGEST_KEPT));
        assert!(line.len() < LONGEST_KEPT + 64 && line.ends_with("é … and 8192 bytes more\n"), "{}", line.len());
    }
}
