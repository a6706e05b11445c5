//! How two peers compare what they hold: by ranges of keys, each summed up in a few bytes.
//!
//! One peer tells the ranges that both should hold, how many blocks it holds there, and a digest of their keys. If the
//! other holds the same, that is all there is to say, however many blocks they are. If not, it tells its keys where
//! they are few, else what it holds in each of some smaller ranges, and the first goes on with those that differ
//! (range-based set reconciliation: Meyer, SRDS 2023). In a message a key is told by how it starts: its first 8 bytes.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER_PERMISSIVE;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::as_text::as_text;
use crate::id::Key;

/// Ranges in one request at most: so that it fits a datagram.
pub const MAX_RANGES: usize = 16;

/// Parts in one answer at most.
pub const MAX_PARTS: usize = 9;

/// Keys in one answer at most.
pub const MAX_KEYS: usize = 48;

/// A key by how it starts: its first 8 bytes, most significant first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Start(pub u64);

/// The keys that start with `first`, with `last`, or between them. As text: 16 hexadecimal digits, `-`, and 16 more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Range {
    /// How the least of these keys may start.
    pub first: Start,
    /// How the greatest of these keys may start.
    pub last: Start,
}

/// The blocks that a peer holds in one or several ranges, summed up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Summary {
    /// How many they are.
    pub count: u32,
    /// The digest of their keys.
    pub digest: KeysDigest,
}

/// The first 16 bytes of the SHA-256 of keys, one after another in ascending order. As text: 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeysDigest([u8; 16]);

/// A range and what a peer holds in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RangePart {
    /// The range.
    pub range: Range,
    /// What it holds there.
    #[serde(flatten)]
    pub held: Summary,
}

/// What a peer holds in the ranges that it was asked for, where that is not the same as what the other holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Difference {
    /// All its keys there, at most [`MAX_KEYS`].
    Keys(Vec<Start>),
    /// What it holds in parts of these ranges, at most [`MAX_PARTS`], in ascending order. Of what comes after the last
    /// part it says nothing.
    Parts(Vec<RangePart>),
}

/// Text that is not what it should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("not {0}")]
pub struct ParseSummaryError(&'static str);

impl Start {
    /// How `key` starts.
    pub fn of(key: &Key) -> Self {
        Self(key.as_bytes()[..8].iter().fold(0, |start, byte| start << 8 | u64::from(*byte)))
    }

    /// The key that starts so and whose other bytes are `rest`.
    pub fn key(self, rest: u8) -> Key {
        let mut bytes = [rest; 32];
        bytes[..8].copy_from_slice(&self.0.to_be_bytes());
        Key::from_bytes(bytes)
    }
}

impl Range {
    /// The keys that start as `key` does.
    pub fn around(key: &Key) -> Self {
        Self { first: Start::of(key), last: Start::of(key) }
    }

    /// Whether all keys of `other` lie in this range.
    pub fn contains(&self, other: &Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }

    /// The least and the greatest of its keys.
    pub fn bounds(&self) -> std::ops::RangeInclusive<Key> {
        self.first.key(0)..=self.last.key(u8::MAX)
    }

    /// The part of this range that lies behind `last`.
    pub fn after(&self, last: Start) -> Option<Self> {
        let first = self.first.max(Start(last.0.checked_add(1)?));
        (first <= self.last).then_some(Self { first, last: self.last })
    }
}

impl Summary {
    /// Of these keys, which come in ascending order.
    pub fn of<'a>(keys: impl IntoIterator<Item = &'a Key>) -> Self {
        let (mut count, mut hash) = (0, Sha256::new());
        for key in keys {
            count += 1;
            hash.update(key.as_bytes());
        }
        let mut digest = [0; 16];
        digest.copy_from_slice(&hash.finalize()[..16]);
        Self { count, digest: KeysDigest(digest) }
    }
}

fn number(text: &str) -> Option<u64> {
    let plain = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    plain.then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Start {
    type Err = ParseSummaryError;

    fn from_str(text: &str) -> Result<Self, ParseSummaryError> {
        number(text).map(Self).ok_or(ParseSummaryError("16 hexadecimal digits"))
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl FromStr for Range {
    type Err = ParseSummaryError;

    fn from_str(text: &str) -> Result<Self, ParseSummaryError> {
        let ends = text.split_once('-').and_then(|(first, last)| number(first).zip(number(last)));
        let range = ends.map(|(first, last)| Self { first: Start(first), last: Start(last) });
        range.filter(|range| range.first <= range.last).ok_or(ParseSummaryError("a range of keys"))
    }
}

impl fmt::Display for KeysDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER_PERMISSIVE.encode(&self.0))
    }
}

impl FromStr for KeysDigest {
    type Err = ParseSummaryError;

    fn from_str(text: &str) -> Result<Self, ParseSummaryError> {
        let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or(ParseSummaryError("32 hexadecimal digits"))
    }
}

as_text!(Start, Range, KeysDigest);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Body, Dialect, Message, Request, Sender};

    #[test]
    fn text_is_read_as_it_was_written_and_anything_else_is_refused() {
        let range = Range { first: Start(1), last: Start(u64::MAX) };
        assert_eq!(range.to_string(), "0000000000000001-ffffffffffffffff");
        assert_eq!(range.to_string().parse(), Ok(range));
        let digest = Summary::of(&[Key::of(b"a")]).digest;
        assert_eq!(digest.to_string().parse(), Ok(digest));
        for bad in ["", "1-2", "ffffffffffffffff-0000000000000001", "+000000000000001-0000000000000002"] {
            assert!(bad.parse::<Range>().is_err(), "{bad}");
            assert!(bad.parse::<Start>().is_err() && bad.parse::<KeysDigest>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_range_has_every_key_that_starts_within_it_and_no_other() {
        let keys: Vec<Key> = (0..100_u8).map(|n| Key::of(&[n])).collect();
        for key in &keys {
            let range = Range { first: Start::of(key).min(Start(1 << 63)), last: Start::of(key).max(Start(1 << 63)) };
            for other in &keys {
                let within = range.first <= Start::of(other) && Start::of(other) <= range.last;
                assert_eq!(range.bounds().contains(other), within);
                assert_eq!(range.contains(&Range::around(other)), within);
            }
        }
        let range = Range { first: Start(3), last: Start(9) };
        let rest = |last| range.after(Start(last)).map(|rest| (rest.first.0, rest.last.0));
        assert_eq!([rest(1), rest(5), rest(9), rest(u64::MAX)], [Some((3, 9)), Some((6, 9)), None, None]);
    }

    #[test]
    fn absurd_comparisons_are_refused_or_cut_short() {
        let me = crate::peer::Peer::new(Key::ZERO, ([127, 0, 0, 1], 9000).into());
        let range = Range { first: Start(16), last: Start(32) };
        let ask =
            Request::Compare { ranges: vec![range], held: Summary { count: 77, ..Summary::of(&[]) }, copies: None };
        for dialect in [Dialect::Kademlia, Dialect::Ring] {
            let (mut text, sender) = (Vec::new(), Sender::member(me.id, me.addr));
            dialect.encode(&Message::request(1, sender, ask.clone()), &me, me.addr, &mut text);
            let text = String::from_utf8(text).expect("JSON is text");
            let read = |old: &str, new: &str| dialect.decode(text.replace(old, new).as_bytes());
            assert!(read(&range.to_string(), &range.to_string()).is_ok());
            let reversed = format!("{}-{}", range.last, range.first);
            assert!(
                read(&range.to_string(), &reversed).is_err(),
                "{dialect:?} reads a range that ends before it begins"
            );
            for count in ["18446744073709551616", "4294967296", "-1", "7.5", "1e99", "null"] {
                assert!(read("77", count).is_err(), "{dialect:?} counts {count} blocks");
            }
            let many = vec![range.to_string(); 5_000].join("\",\"");
            if let Ok(message) = read(&range.to_string(), &many) {
                let Body::Request(Request::Compare { ranges, .. }) = message.body else { panic!("{:?}", message.body) };
                assert!(ranges.len() <= MAX_RANGES, "{dialect:?} takes {} ranges", ranges.len());
            }
        }
    }
}
