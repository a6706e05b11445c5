//! Lines in files that tell whether they are as they were written.
//!
//! A flipped bit may leave a line that reads as well as before and says something else. So a line ends with a sum of
//! what stands before: the first digits of its SHA-256. An object of JSON stays one, with the sum as its last member.
//! Lines without a sum, of older programs, count as they are.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

use data_encoding::HEXLOWER;

use crate::id::Id;

/// Hexadecimal digits of a sum: of four thousand million damaged lines one passes.
const DIGITS: usize = 8;

/// What stands before the sum, and behind it: in an object of JSON, and in other text.
const DRESSES: [(&str, &str); 2] = [(",\"sum\":\"", "\"}"), (" sum=", "")];

fn sum(text: &str) -> String {
    HEXLOWER.encode(&Id::of(text.as_bytes()).as_bytes()[..DIGITS / 2])
}

/// The line with its sum.
pub(crate) fn with_sum(line: &str) -> String {
    let (text, (before, behind)) = line.strip_suffix('}').map_or((line, DRESSES[1]), |open| (open, DRESSES[0]));
    format!("{text}{before}{}{behind}", sum(text))
}

/// The text of a whole file of such lines. Where there is none, one is empty: so a file of no byte was cut.
pub(crate) fn file_of(lines: String) -> String {
    if lines.is_empty() { "\n".to_owned() } else { lines }
}

/// The line as it was before it got its sum, but that an object of JSON keeps it; none if it is not as it was written.
pub(crate) fn checked(line: &str) -> Option<&str> {
    let Some((text, digits, is_object)) = parted(line) else { return Some(line) };
    (sum(text) == digits).then_some(if is_object { line } else { text })
}

/// Whether a line has the right sum: then it is whole, whatever it says.
pub(crate) fn is_whole(line: &str) -> bool {
    parted(line).is_some_and(|(text, digits, _)| sum(text) == digits)
}

/// What a line has before its sum, the digits of that, and whether it is an object; none if it has no sum.
fn parted(line: &str) -> Option<(&str, &str, bool)> {
    DRESSES.iter().find_map(|(before, behind)| {
        let line = line.strip_suffix(behind)?;
        let (text, digits) = line.split_at_checked(line.len().checked_sub(DIGITS)?)?;
        Some((text.strip_suffix(before)?, digits, !behind.is_empty()))
    })
}

/// Adds lines to a file that is open to read and to append. A line that its process could not end, because it died or
/// the disk was full, stays one of its own.
///
/// # Errors
/// The file cannot be read or written.
pub(crate) fn append(file: &mut File, lines: &str) -> io::Result<()> {
    let is_cut = match file.seek(SeekFrom::End(-1)) {
        Ok(_) => {
            let mut last = [0];
            file.read_exact(&mut last)?;
            last != *b"\n"
        }
        // There is nothing yet.
        Err(_) => false,
    };
    // In one piece, so that lines of several threads never mix.
    file.write_all(if is_cut { format!("\n{lines}") } else { lines.to_owned() }.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: [&str; 4] = [r#"{"name":"a","lease":{"copies":3}}"#, "renewed 00:5:3", "sum=12345678", ""];

    #[test]
    fn a_line_reads_back_as_it_was_and_one_without_a_sum_counts_as_it_is() {
        for line in LINES {
            let summed = with_sum(line);
            assert_eq!((checked(line), is_whole(line), is_whole(&summed)), (Some(line), false, true));
            let read = checked(&summed).unwrap();
            match serde_json::from_str::<serde_json::Value>(line) {
                Ok(mut object) => {
                    assert_eq!(read, summed);
                    let mut read: serde_json::Value = serde_json::from_str(read).unwrap();
                    read.as_object_mut().unwrap().remove("sum").unwrap();
                    assert_eq!((read.take(), 1), (object.take(), 1));
                }
                Err(_) => assert_eq!(read, line),
            }
        }
    }

    /// Each bit of each line. Where the sum itself can no longer be told, what it was about is as it was.
    #[test]
    fn no_flipped_bit_passes_for_what_was_written() {
        for line in LINES {
            let summed = with_sum(line);
            for at in 0..summed.len() * 8 {
                let mut bytes = summed.clone().into_bytes();
                bytes[at / 8] ^= 1 << (at % 8);
                let Ok(flipped) = String::from_utf8(bytes) else { continue };
                let text = line.strip_suffix('}').unwrap_or(line);
                assert!(checked(&flipped).is_none_or(|read| read.starts_with(text)), "{flipped}");
            }
        }
    }
}
