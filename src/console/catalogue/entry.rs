//! A line of the catalogue: a file that was stored, and the leases on it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::file::ManifestEntry;
use crate::file::tree::list_keys;
use crate::id::{Id, Key};
use crate::lease::{Lease, Secret, UnixTime};
use crate::path_text;
use crate::raw_text;

/// One file that was stored.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// What it is called: the last part of its path, unless it was given a name.
    #[serde(with = "raw_text")]
    pub name: String,
    /// Where it lay when it was stored.
    #[serde(with = "path_text")]
    pub path: PathBuf,
    /// The file's key; all zeros, and not written down, of one whose store was only [begun](Self::begun).
    #[serde(default = "unknown", skip_serializing_if = "is_unknown")]
    pub key: Key,
    /// The file's SHA-256; the same holds of it.
    #[serde(default = "unknown", skip_serializing_if = "is_unknown")]
    pub sha256: Id,
    /// The file's size in bytes.
    pub bytes: u64,
    /// Copies of each block that were wanted.
    pub copies: usize,
    /// When it was stored, in milliseconds since 1970.
    pub stored: u64,
    /// Whether it is a folder; then the SHA-256 is that of its listing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub folder: bool,
    /// Whether its store was begun and, as far as is known, not finished: what reached the network is on this lease.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub begun: bool,
    /// The lease on its blocks, if it was stored with one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Owned>,
}

/// What stands for a key or a hash that is not known.
const fn unknown() -> Id {
    Id::ZERO
}

pub(super) fn is_unknown(id: &Id) -> bool {
    *id == Id::ZERO
}

/// Leases that were laid from here.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Owned {
    /// What ends them: several where a file was stored several times. They are never shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<Secret>,
    /// When they end, in seconds since 1970; none if never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<UnixTime>,
    /// How long they lasted, in seconds, when they were laid or last renewed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lasts: Option<u64>,
    /// Copies that they ask for; 0 leaves that to those who keep them.
    #[serde(default)]
    pub copies: u8,
}

impl Owned {
    /// When they are to be renewed, in seconds since 1970: once less than half of their time is left.
    pub fn renewal(&self) -> Option<UnixTime> {
        Some(self.until?.saturating_sub(self.lasts?.div_ceil(2)))
    }

    /// Adds others, and takes over their terms as far as they are better.
    pub(in crate::console) fn join(&mut self, other: &Self) {
        self.secrets.extend(&other.secrets);
        self.secrets.sort_unstable();
        self.secrets.dedup();
        self.until = self.until.zip(other.until).map(|(one, other)| one.max(other));
        self.lasts = self.lasts.max(other.lasts).filter(|_| self.until.is_some());
        self.copies = self.copies.max(other.copies);
    }

    /// One of them.
    pub fn lease(&self) -> Option<Lease> {
        let secret = self.secrets.first()?;
        Some(Lease { id: secret.id(), until: self.until, copies: self.copies })
    }
}

impl Entry {
    /// What it is the entry of.
    pub(in crate::console) fn what(&self) -> (&str, &Path, Key) {
        (&self.name, &self.path, self.key)
    }

    /// The block below a file's list that has but one, or none if the file is empty or that block itself; None if its
    /// list has to be read to know them.
    pub(in crate::console) fn only_block(&self) -> Option<Option<Key>> {
        if self.key == self.sha256 {
            return Some(None);
        }
        let block = (self.bytes > 0).then_some(ManifestEntry { key: self.sha256, size: self.bytes });
        (list_keys(block, self.sha256) == [self.key]).then_some(block.map(|block| block.key))
    }

    /// The same; what ends the leases that the same file had before ends them too.
    pub(super) fn with_leases_of(mut self, before: Option<Self>) -> Self {
        let before = before.and_then(|before| before.lease);
        match (&mut self.lease, before) {
            (Some(lease), Some(before)) => {
                let copies = lease.copies;
                lease.join(&before);
                lease.copies = copies;
            }
            (none, before) => *none = none.take().or(before),
        }
        self
    }

    /// The same, to be shown.
    #[must_use]
    pub fn shown(mut self) -> Self {
        if let Some(lease) = &mut self.lease {
            lease.secrets.clear();
        }
        self
    }
}
