//! Any bytes as text, so that a name which is no UTF-8 can be typed, sent, remembered and compared as other words are.
//!
//! A byte that is part of no character stands as one of 128 characters of a private range (U+EF80 to U+EFFF); the bytes
//! of those characters themselves stand so too, and so every name comes back as it was. And which names are no files,
//! but streams of the process that opens them.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use serde::{Deserializer, Serializer};

use crate::path_text;

/// The character that stands for a byte is this much greater.
const BASE: u32 = 0xef00;

/// `bytes` as text.
pub fn text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let raw = |byte: &u8| char::from_u32(BASE + u32::from(*byte)).unwrap_or(char::REPLACEMENT_CHARACTER);
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match byte_of(c) {
                Some(_) => text.extend(c.encode_utf8(&mut [0; 4]).as_bytes().iter().map(raw)),
                None => text.push(c),
            }
        }
        text.extend(chunk.invalid().iter().map(raw));
    }
    text
}

/// A name of the system's as text.
pub fn text_of(name: impl AsRef<OsStr>) -> String {
    text(name.as_ref().as_bytes())
}

/// Where a process finds its own streams, by any of their names.
const OWN: [&str; 3] = ["/dev/fd/", "/proc/self/fd/", "/proc/thread-self/fd/"];

/// Which stream of its own a process finds under this name, by its number or `tty`. What reads or writes there takes
/// the lines that are commands, or stands among those that are answers.
pub fn own_stream(word: &str) -> Option<&str> {
    match word {
        "/dev/stdin" => Some("0"),
        "/dev/stdout" => Some("1"),
        "/dev/stderr" => Some("2"),
        "/dev/tty" => Some("tty"),
        other => OWN.iter().find_map(|own| other.strip_prefix(own)),
    }
}

/// Why such a name is refused where a file is meant.
pub fn no_file(word: &str) -> String {
    format!("{word} is a stream of a process and no file: give the name of a file")
}

/// Where something is written beside the answer: a file, but neither `-` nor a stream of this process.
///
/// # Errors
/// For people: it is one.
pub fn output_file(path: PathBuf) -> Result<PathBuf, String> {
    match path.to_str().map(|word| (word, own_stream(word))) {
        Some(("-", _)) => Err("standard output carries the answer; a file of that name is ./-".to_owned()),
        Some((word, Some(_))) => Err(no_file(word)),
        _ => Ok(path),
    }
}

/// The name that `text` stands for.
pub fn path(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    for c in text.chars() {
        match byte_of(c) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    OsString::from_vec(bytes).into()
}

/// The byte that a character stands for, if it does.
pub(crate) fn byte_of(c: char) -> Option<u8> {
    u32::from(c).checked_sub(BASE).and_then(|byte| u8::try_from(byte).ok()).filter(|byte| *byte >= 0x80)
}

/// For a field's `serde(with)`: in JSON such text is what it stands for, an array of bytes.
pub(crate) fn serialize<S: Serializer>(text: &str, to: S) -> Result<S::Ok, S::Error> {
    path_text::serialize(&path(text), to)
}

/// For a field's `serde(with)`.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    path_text::deserialize(from).map(text_of)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_byte_that_is_no_character_stands_as_one() {
        assert_eq!(text(b"na\xc3\xafve"), "na\u{ef}ve");
        assert_eq!(text(b"\xffn\xfe"), "\u{efff}n\u{effe}");
        assert_eq!(text("\u{efff}".as_bytes()), "\u{efee}\u{efbf}\u{efbf}", "its own bytes");
        assert_eq!(path("\u{efff}n").into_os_string().into_vec(), b"\xffn");
    }

    proptest! {
        #[test]
        fn every_name_comes_back_as_it_was(bytes: Vec<u8>) {
            prop_assert_eq!(path(&text(&bytes)).into_os_string().into_vec(), bytes);
        }
    }
}
