//! Lines from a stream that may hold anything.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::raw_text;

/// Bytes of the longest line that is read; a longer one is skipped and reported.
pub const MAX_LINE: usize = 64 * 1024;

/// One line, or why it cannot be used. The next line can be read in any case.
#[derive(PartialEq, Eq, Debug)]
pub enum TypedLine {
    /// A line of text, without its end.
    Text(String),
    /// A line that cannot be read; says why, for people.
    Bad(String),
    /// The end of the stream.
    End,
}

/// Reads the next line without ever keeping more than [`MAX_LINE`] bytes of it. The last may lack its newline.
///
/// A byte order mark before a line is no part of it: a stream may be several files of an editor that begins each with
/// one.
///
/// # Errors
/// The stream cannot be read.
pub fn read_line(input: &mut dyn BufRead) -> io::Result<TypedLine> {
    let mut line = Vec::new();
    let (mut length, mut ended) = (0_usize, false);
    while !ended {
        let chunk = match input.fill_buf() {
            Ok(chunk) => chunk,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if chunk.is_empty() {
            break;
        }
        let newline = chunk.iter().position(|&byte| byte == b'\n');
        let part = &chunk[..newline.unwrap_or(chunk.len())];
        let used = part.len() + usize::from(newline.is_some());
        if length + part.len() <= MAX_LINE {
            line.extend_from_slice(part);
        }
        length = length.saturating_add(part.len());
        ended = newline.is_some();
        input.consume(used);
    }
    if length == 0 && !ended {
        return Ok(TypedLine::End);
    }
    if length > MAX_LINE {
        return Ok(TypedLine::Bad(format!("the line is {length} bytes long; at most {MAX_LINE} are read")));
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    // A file's name may be any bytes.
    Ok(TypedLine::Text(without_mark(raw_text::text(&line))))
}

fn without_mark(line: String) -> String {
    line.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(line)
}

/// A stream that another process may have put into non-blocking mode, read as a blocking one.
struct Patient<R>(R);

impl<R: Read + AsFd> Read for Patient<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
            self.wait();
        }
    }
}

impl<R: AsFd> Patient<R> {
    /// Waits until there is something to read, or the last writer has gone.
    fn wait(&self) {
        let mut ready = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        // An interrupted wait is tried again like one that ended too early.
        let _ = poll(&mut ready, PollTimeout::NONE);
    }
}

/// Standard input, under the name by which it can be opened anew.
const STDIN: &str = "/proc/self/fd/0";

/// Standard input as commands are read from it. If it is a named pipe (FIFO), its writers are read one after
/// another, unless `exit_on_eof`: then the end of the first one is the end.
///
/// # Errors
/// Standard input cannot be read.
pub fn standard_input(exit_on_eof: bool) -> io::Result<impl BufRead> {
    let input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let again = if exit_on_eof { None } else { named_pipe().then_some(STDIN) };
    Ok(BufReader::new(Commands { input: Patient(input), again, open: false }))
}

/// Whether standard input is a pipe that has, or had, a name: no one can open the other kind once its writers are gone.
fn named_pipe() -> bool {
    let is_pipe = fs::metadata(STDIN).is_ok_and(|there| there.file_type().is_fifo());
    is_pipe && fs::read_link(STDIN).is_ok_and(|name| !name.as_os_str().as_encoded_bytes().starts_with(b"pipe:["))
}

/// A stream of commands, of one writer or of several after one another.
struct Commands {
    input: Patient<File>,
    /// The name by which it is opened for the next writer.
    again: Option<&'static str>,
    /// Whether the line being read has no newline yet.
    open: bool,
}

impl Read for Commands {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            match (self.input.read(bytes)?, self.again) {
                (0, Some(_)) if bytes.is_empty() => return Ok(0),
                (0, Some(_)) if self.open => {
                    // An unfinished line of one writer is no part of the next writer's first line.
                    self.open = false;
                    bytes[0] = b'\n';
                    return Ok(1);
                }
                (0, Some(name)) => {
                    // The old descriptor is given up once there is a new one: the system keeps what a pipe holds only
                    // as long as a process has it open. The new one does not end before a writer came, so nothing
                    // spins.
                    let next = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(name)?;
                    self.input = Patient(next);
                    self.input.wait();
                }
                (count, _) => {
                    self.open = count > 0 && bytes[count - 1] != b'\n';
                    return Ok(count);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    fn lines(bytes: &[u8]) -> Vec<TypedLine> {
        // A tiny buffer, so that lines span many reads.
        let mut input = BufReader::with_capacity(7, bytes);
        let mut lines = Vec::new();
        loop {
            match read_line(&mut input).unwrap() {
                TypedLine::End => return lines,
                line => lines.push(line),
            }
        }
    }

    fn text(text: &str) -> TypedLine {
        TypedLine::Text(text.to_owned())
    }

    #[test]
    fn lines_end_in_either_fashion_and_the_last_may_not_end_at_all() {
        assert_eq!(
            lines(b"list\r\n\nstore a much longer line\nquit"),
            [text("list"), text(""), text("store a much longer line"), text("quit")]
        );
        assert_eq!(lines(b""), []);
    }

    #[test]
    fn a_line_may_have_any_bytes() {
        let lines = lines(b"ab\xff\xfe\nlist\n");
        assert_eq!(lines, [text("ab\u{efff}\u{effe}"), text("list")]);
        assert_eq!(raw_text::path("ab\u{efff}\u{effe}").as_os_str().as_encoded_bytes(), b"ab\xff\xfe");
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_a_command() {
        let marked = "\u{feff}store f\r\nlist\n\u{feff}\n\u{feff}list\n";
        assert_eq!(lines(marked.as_bytes()), [text("store f"), text("list"), text(""), text("list")]);
    }

    #[test]
    fn an_overlong_line_is_skipped_to_its_end() {
        let mut bytes = vec![b'x'; MAX_LINE + 1];
        bytes.extend_from_slice(b"\nlist\n");
        bytes.extend(vec![b'y'; MAX_LINE]);
        let lines = lines(&bytes);
        assert!(matches!(&lines[0], TypedLine::Bad(reason) if reason.contains("65537")), "{:?}", lines[0]);
        assert_eq!(lines[1], text("list"));
        assert!(matches!(&lines[2], TypedLine::Text(text) if text.len() == MAX_LINE));
    }
}
