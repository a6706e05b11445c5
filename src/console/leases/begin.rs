//! The lease that a store lays, which the catalogue has before anything is sent.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use super::{draw, now, stamp};
use crate::console::Backend;
use crate::console::begun::EntryLine;
use crate::console::catalogue::Owned;
use crate::console::finding;
use crate::console::perform::Performer;
use crate::console::terms::Terms;
use crate::lease::Lease;
use crate::node::{Failure, FailureKind};

impl<B: Backend> Performer<B> {
    /// The lease that `path` gets when it is stored on these terms under a name, and its secret. The catalogue has it
    /// on the disk when this returns. None where nothing remembers it, or there is nothing to store.
    ///
    /// # Errors
    /// As [`begin_on`](Self::begin_on).
    pub(in crate::console) fn lease_on(
        &self,
        path: &Path,
        name: Option<&String>,
        terms: Terms,
    ) -> Result<Option<(Owned, Lease)>, Failure> {
        let begun = self.begin_on(path, name, terms)?;
        Ok(begun.map(|(owned, lease, mut line)| {
            line.sync();
            (owned, lease)
        }))
    }

    /// [`lease_on`](Self::lease_on), with the line of the catalogue, which is still to be synced.
    ///
    /// # Errors
    /// Terms were given, and cannot be kept: nothing remembers the lease. What is stored on the usual ones is stored
    /// all the same, for ever.
    pub(in crate::console) fn begin_on(
        &self,
        path: &Path,
        name: Option<&String>,
        terms: Terms,
    ) -> Result<Option<(Owned, Lease, EntryLine)>, Failure> {
        let without = |cannot: String| {
            if terms != Terms::default() {
                let reason = format!("nothing was stored, for its lease could not be renewed or ended: {cannot}");
                return Err(Failure::new(FailureKind::Other, reason));
            }
            self.shows.say(&format!("it is stored without a lease, for ever: {cannot}"));
            Ok(None)
        };
        let Some(catalogue) = &self.catalogue else {
            return if terms == Terms::default() { Ok(None) } else { without("there is no catalogue".to_owned()) };
        };
        let Ok(there) = fs::metadata(path) else { return Ok(None) };
        let secret = match () {
            () if there.is_dir() => catalogue.begun_folder(path).and_then(|begun| begun.map_or_else(draw, Ok)),
            () if !there.is_file() => return Ok(None),
            // What is piped has nothing to be known by again.
            () if path.starts_with("/proc") => draw(),
            () if File::open(path).is_err() => return Ok(None),
            () => catalogue.secret(&stamp(path, &there)),
        };
        let begun = secret.and_then(|secret| {
            let lease = terms.lease(&secret, now());
            let lasts = terms.lasts.map(|lasts| lasts.as_secs());
            let owned = Owned { secrets: vec![secret], until: lease.until, lasts, copies: lease.copies };
            let line = finding::begin(catalogue, path, name.cloned(), there.is_dir(), &owned)?;
            let line = line.told_by(Arc::clone(&self.shows));
            Ok((owned, lease, line))
        });
        begun.map(Some).or_else(|error| without(catalogue.cannot("write", &error)))
    }
}
