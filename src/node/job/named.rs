//! Jobs about files of the classroom ring, which version of one is better, and what comes of such a job.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::id::Id;
use crate::name::FileName;

/// A job about files of the classroom ring: `NAME.pdf` in the working directory. Its outcome is an
/// [`Outcome::Named`](super::Outcome::Named).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum NamedJob {
    /// List the named files in the working directory.
    Scan,
    /// Look whether this file is in the working directory.
    Find {
        /// The file's name.
        file: FileName,
    },
    /// Make the file, empty, unless it exists.
    Touch {
        /// The file's name.
        file: FileName,
    },
    /// Copy the file from another peer. A file that the user put here is never replaced.
    Keep {
        /// The file's name.
        file: FileName,
        /// The peer that holds it.
        from: SocketAddr,
        /// The version at `from`, if known.
        offered: Option<Version>,
        /// The version that an earlier `Keep` wrote here.
        ours: Option<Version>,
        /// Whether `ours` may be replaced by a version that is not newer.
        replace: bool,
    },
    /// Fetch the file as `received_NAME.pdf`, replacing an earlier one.
    Receive {
        /// The file's name.
        file: FileName,
        /// The peer that holds it.
        from: SocketAddr,
        /// Our own port, so that the sender knows which peer asked.
        port: u16,
    },
}

/// One version of a named file: two with the same size and time are taken to be the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Version {
    /// The file's size in bytes.
    pub size: u64,
    /// The time of its last change, in microseconds since 1970; a copy keeps the time of its original, unless it was
    /// [stored over](Self::stored_over) another version.
    pub modified: u64,
}

impl Version {
    /// This version, just stored, as it is kept in place of the one `here`: what was stored last shall be the newest
    /// wherever copies of the two meet, though the file may have been changed before the other one.
    pub fn stored_over(self, here: Option<Self>) -> Self {
        let after = here.map_or(0, |here| here.modified.saturating_add(1));
        Self { modified: self.modified.max(after), ..self }
    }
}

/// What happens to the file here when another peer's file of the same name is to be kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resolution {
    /// The file here stays: it is the offered version, or a newer one that this run wrote.
    Stays,
    /// The offered version takes its place: the file here is an older copy, or empty, or missing.
    Replaced,
    /// The file here is the user's own and stays; the transfer fails unless both have the same bytes.
    Compared,
}

/// What happens to the version `here` if another peer's version is `theirs`. `ours` is the version that a
/// [`NamedJob::Keep`] of this run wrote; `replace` says whether a version that is not newer may replace it.
pub fn resolve(here: Option<Version>, theirs: Option<Version>, ours: Option<Version>, replace: bool) -> Resolution {
    let Some(here) = here else { return Resolution::Replaced };
    // What a user has just stored may be another file of a copy's size and time.
    if theirs == Some(here) && !(replace && ours == Some(here)) {
        return Resolution::Stays;
    }
    if here.size == 0 {
        return Resolution::Replaced;
    }
    match theirs {
        Some(theirs) if ours == Some(here) && (replace || theirs.modified > here.modified) => Resolution::Replaced,
        Some(_) if ours == Some(here) => Resolution::Stays,
        // Nothing better is known than that it is here.
        None => Resolution::Stays,
        Some(_) => Resolution::Compared,
    }
}

/// The outcome of a [`NamedJob`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum NamedOutcome {
    /// [`NamedJob::Scan`]: the named files in the working directory.
    Scanned {
        /// The files, in the order of names.
        files: Vec<(FileName, Version)>,
    },
    /// [`NamedJob::Find`]: the file's version.
    Found {
        /// The file's version; none if there is no such file.
        version: Option<Version>,
    },
    /// [`NamedJob::Touch`], [`NamedJob::Keep`]: the file is in the working directory.
    Kept {
        /// The version that lies here now.
        version: Version,
        /// Whether this job wrote it.
        written: bool,
    },
    /// [`NamedJob::Receive`]: the file has arrived and is verified.
    Received {
        /// The file's size in bytes.
        size: u64,
        /// SHA-256, as the sender announced it.
        sha256: Id,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Version = Version { size: 3, modified: 10 };
    const NEW: Version = Version { size: 4, modified: 20 };
    const EMPTY: Version = Version { size: 0, modified: 30 };

    #[test]
    fn what_a_user_put_here_is_never_replaced() {
        for (replace, theirs) in [(false, NEW), (true, NEW), (true, OLD)] {
            for here in [OLD, NEW].into_iter().filter(|here| *here != theirs) {
                assert_eq!(resolve(Some(here), Some(theirs), None, replace), Resolution::Compared);
                assert_eq!(
                    resolve(Some(here), Some(theirs), Some(theirs), replace),
                    Resolution::Compared,
                    "changed since"
                );
            }
        }
    }

    #[test]
    fn an_own_copy_gives_way_to_a_newer_one_and_to_the_one_that_is_stored() {
        assert_eq!(resolve(Some(OLD), Some(NEW), Some(OLD), false), Resolution::Replaced);
        assert_eq!(resolve(Some(NEW), Some(OLD), Some(NEW), false), Resolution::Stays);
        assert_eq!(resolve(Some(NEW), Some(OLD), Some(NEW), true), Resolution::Replaced);
        assert_eq!(resolve(Some(OLD), Some(OLD), Some(OLD), true), Resolution::Replaced, "it may be another file");
    }

    #[test]
    fn what_is_stored_last_is_the_newest_whenever_it_was_changed() {
        for (stored, here) in [(OLD, NEW), (NEW, OLD), (OLD, OLD)] {
            let kept = stored.stored_over(Some(here));
            assert_eq!(kept.size, stored.size);
            assert_eq!(resolve(Some(kept), Some(here), Some(kept), false), Resolution::Stays);
            assert_eq!(resolve(Some(here), Some(kept), Some(here), false), Resolution::Replaced);
        }
        assert_eq!(OLD.stored_over(None), OLD);
        assert_eq!(NEW.stored_over(Some(OLD)), NEW, "the time of its original");
    }

    #[test]
    fn nothing_and_an_empty_file_give_way_and_the_same_file_stays() {
        assert_eq!(resolve(None, Some(OLD), None, false), Resolution::Replaced);
        assert_eq!(resolve(Some(EMPTY), Some(OLD), None, false), Resolution::Replaced);
        assert_eq!(resolve(Some(OLD), Some(OLD), None, true), Resolution::Stays);
        assert_eq!(resolve(Some(OLD), Some(OLD), Some(OLD), false), Resolution::Stays);
    }
}
