//! Leases: on whose behalf a block is kept, until when, and in how many copies.
//!
//! A user who stores a file has a secret drawn, and its hash is the lease's name. Each block of the file carries that
//! lease wherever it goes, so repair needs no peer that stored it. To make a lease last longer its name will do; to end
//! it takes the secret, which proves itself and is told only then. A block without any lease cannot be ended by any
//! user, and is kept for ever; one whose leases all have ended goes. (After the leases of Tahoe-LAFS, which name a
//! secret for each server and share.)

mod ended;

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::as_text::as_text;
use crate::config::WIDTH;
use crate::id::{Id, Key};
pub(crate) use ended::{EndOfLease, RememberedEnds};

/// Leases that one block has at most: all of them fit into an offer's datagram.
pub const MAX_LEASES: usize = 16;

/// Bytes of news after which no more is added: with one more, and all else, it fits a datagram.
const LONGEST_NEWS: usize = 660;

/// The last moment at which a lease may end: what is to end later never does.
pub const LAST: UnixTime = 9_999_999_999;

/// Seconds since 1970 (UTC).
pub type UnixTime = u64;

/// The name of a lease: the first 16 bytes of the SHA-256 of its [`Secret`]. As text: 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId([u8; 16]);

/// What ends a lease. As text: 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Secret(Id);

/// A lease. As text: its name, the second in which it ends (0 if never), and the copies, with colons between them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lease {
    /// Its name, the hash of its secret.
    pub id: LeaseId,
    /// When it ends; none if never.
    pub until: Option<UnixTime>,
    /// Copies of the block that it asks for; 0 leaves that to those who keep them.
    pub copies: u8,
}

/// What is told of leases; at most [`MAX_LEASES`] in all.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct LeaseNews {
    /// Leases that last longer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub renewed: Vec<Lease>,
    /// Secrets of leases that have ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ended: Vec<Secret>,
}

/// What a peer writes down about leases: its journal has a line for each.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Note {
    /// These leases are on this block.
    Laid {
        /// The block.
        key: Key,
        /// The leases, with the terms that they had.
        leases: Vec<Lease>,
    },
    /// A lease lasts longer.
    Renewed(Lease),
    /// A lease has ended.
    Ended {
        /// The secret that ended it.
        secret: Secret,
        /// When it ended, in seconds since 1970.
        at: UnixTime,
        /// The network from which it was ended, if that was another peer.
        by: Option<IpAddr>,
    },
}

impl LeaseNews {
    /// How many leases it tells of.
    pub const fn len(&self) -> usize {
        self.renewed.len() + self.ended.len()
    }

    /// Whether there is no room for more in a datagram.
    pub const fn is_full(&self) -> bool {
        let text = self.renewed.len() * 51 + self.ended.len() * 67;
        self.len() >= MAX_LEASES || text > LONGEST_NEWS
    }

    /// Whether it tells nothing.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The names of the leases as they are from now on.
    pub fn ids(&self) -> Vec<LeaseId> {
        let renewed = self.renewed.iter().map(|lease| lease.id);
        let ended = self.ended.iter().map(Secret::id);
        renewed.chain(ended).collect()
    }
}

/// Text that is not what it should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("not {0}")]
pub struct ParseLeaseError(&'static str);

impl LeaseId {
    /// The lease of nobody: it stands for an offer without any, on a block that has others too. No secret ends it.
    pub const NOBODY: Self = Self([0; 16]);
}

impl Secret {
    /// A secret drawn at random.
    pub fn random(rng: &mut impl Rng) -> Self {
        Self(Id::from_bytes(rng.random()))
    }

    /// The secret of these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Id::from_bytes(bytes))
    }

    /// The secret that this one has for `text`: the same for the same text.
    pub fn derive(&self, text: &[u8]) -> Self {
        Self(Id::of(&[self.0.as_bytes(), text].concat()))
    }

    /// The name of its lease.
    pub fn id(&self) -> LeaseId {
        let mut id = [0; 16];
        id.copy_from_slice(&Id::of(self.0.as_bytes()).as_bytes()[..16]);
        LeaseId(id)
    }
}

impl Lease {
    /// What an offer without any lease means for a block that has some: a user wants it kept for ever.
    pub const NOBODYS: Self = Self { id: LeaseId::NOBODY, until: None, copies: 0 };

    /// Takes over the terms of the same lease, as far as they are better.
    pub fn merge(&mut self, other: &Self) {
        self.until = self.until.zip(other.until).map(|(one, other)| one.max(other));
        self.copies = self.copies.max(other.copies);
    }

    /// Adds it to `leases`, or what is better of its terms to the same one there.
    pub fn join(&self, leases: &mut Vec<Self>) {
        match leases.iter_mut().find(|known| known.id == self.id) {
            Some(known) => known.merge(self),
            None => leases.push(*self),
        }
    }

    /// The copies that it asks for: `usual` where it leaves that open.
    pub fn copies_or(&self, usual: usize) -> usize {
        if self.copies == 0 { usual } else { usize::from(self.copies).min(WIDTH) }
    }

    /// Whether it holds at `now`.
    pub fn holds(&self, now: UnixTime) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0[..4]))
    }
}

impl FromStr for LeaseId {
    type Err = ParseLeaseError;

    fn from_str(text: &str) -> Result<Self, ParseLeaseError> {
        let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or(ParseLeaseError("32 hexadecimal digits"))
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Never the secret itself: a log must not end a lease.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the secret of {:?}", self.id())
    }
}

impl FromStr for Secret {
    type Err = ParseLeaseError;

    fn from_str(text: &str) -> Result<Self, ParseLeaseError> {
        text.parse().map(Self).map_err(|_| ParseLeaseError("64 hexadecimal digits"))
    }
}

impl fmt::Display for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.id, self.until.unwrap_or(0), self.copies)
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}:{}:{}", self.id, self.until.unwrap_or(0), self.copies)
    }
}

impl FromStr for Lease {
    type Err = ParseLeaseError;

    fn from_str(text: &str) -> Result<Self, ParseLeaseError> {
        let wrong = ParseLeaseError("a lease: its name, the second of its end or 0, and the copies");
        let mut parts = text.splitn(3, ':');
        let (Some(id), Some(until), Some(copies)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(wrong);
        };
        let plain = |number: &str| number.bytes().all(|byte| byte.is_ascii_digit());
        let until: UnixTime = until.parse().ok().filter(|_| plain(until)).ok_or(wrong)?;
        let copies = copies.parse().ok().filter(|_| plain(copies)).ok_or(wrong)?;
        Ok(Self { id: id.parse()?, until: (1..=LAST).contains(&until).then_some(until), copies })
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Laid { key, leases } => {
                write!(f, "block {key}")?;
                leases.iter().try_for_each(|lease| write!(f, " {lease}"))
            }
            Self::Renewed(lease) => write!(f, "renewed {lease}"),
            Self::Ended { secret, at, by } => {
                write!(f, "ended {secret} {at}")?;
                by.iter().try_for_each(|by| write!(f, " {by}"))
            }
        }
    }
}

impl FromStr for Note {
    type Err = ParseLeaseError;

    fn from_str(line: &str) -> Result<Self, ParseLeaseError> {
        let wrong = ParseLeaseError("a line of a journal of leases");
        let mut words = line.split(' ');
        let kind = words.next().ok_or(wrong)?;
        let mut word = || words.next().ok_or(wrong);
        let note = match kind {
            "block" => {
                let key = word()?.parse().map_err(|_| wrong)?;
                return Ok(Self::Laid { key, leases: words.map(str::parse).collect::<Result<_, _>>()? });
            }
            "renewed" => Self::Renewed(word()?.parse()?),
            "ended" => {
                let (secret, at) = (word()?.parse()?, word()?.parse().map_err(|_| wrong)?);
                // Older journals do not have it.
                let by = words.next().map(str::parse).transpose().map_err(|_| wrong)?;
                Self::Ended { secret, at, by }
            }
            _ => return Err(wrong),
        };
        words.next().map_or(Ok(note), |_| Err(wrong))
    }
}

as_text!(LeaseId, Secret, Lease, Note);

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(n: u8) -> Secret {
        Secret(Id::from_bytes([n; 32]))
    }

    fn lease(n: u8, until: Option<UnixTime>, copies: u8) -> Lease {
        Lease { id: secret(n).id(), until, copies }
    }

    #[test]
    fn every_text_reads_back_as_what_it_was_written_for() {
        let (one, two) = (lease(1, None, 7), lease(2, Some(1_900_000_000), 0));
        assert_eq!(one.to_string().parse(), Ok(one));
        assert_eq!(two.to_string().parse(), Ok(two));
        assert_eq!(Lease::NOBODYS.to_string(), format!("{}:0:0", "0".repeat(32)));
        for note in [
            Note::Laid { key: Key::of(b"1"), leases: vec![one, two] },
            Note::Renewed(two),
            Note::Ended { secret: secret(3), at: 7, by: None },
            Note::Ended { secret: secret(4), at: 7, by: Some([10, 0, 0, 1].into()) },
        ] {
            assert_eq!(note.to_string().parse(), Ok(note.clone()), "{note}");
        }
        assert_eq!(secret(9).to_string().parse(), Ok(secret(9)));
    }

    #[test]
    fn other_text_is_refused() {
        let good = lease(1, Some(5), 7).to_string();
        for bad in
            [&good[1..], &good[..32], &good.replace(":7", ":256"), &good.replace(":5", ":-5"), &format!("{good}:1")]
        {
            assert!(bad.parse::<Lease>().is_err(), "{bad}");
        }
        for bad in ["", "block", "block abc", "ended 12", "renewed", &format!("renewed {good} {good}"), "other 1 2"] {
            assert!(bad.parse::<Note>().is_err(), "{bad}");
        }
    }

    #[test]
    fn terms_only_get_better_and_for_ever_is_the_longest() {
        let mut one = lease(1, Some(5), 3);
        one.merge(&lease(1, Some(4), 7));
        assert_eq!(one, lease(1, Some(5), 7));
        one.merge(&lease(1, None, 0));
        assert_eq!(one, lease(1, None, 7));
        one.merge(&lease(1, Some(9), 1));
        assert_eq!(one, lease(1, None, 7));
        assert!(lease(1, Some(5), 0).holds(4) && !lease(1, Some(5), 0).holds(5) && one.holds(u64::MAX));
    }

    #[test]
    fn a_secret_is_never_shown_where_it_is_not_asked_for() {
        assert!(!format!("{:?}", Note::Ended { secret: secret(1), at: 0, by: None }).contains("0101"));
    }
}
