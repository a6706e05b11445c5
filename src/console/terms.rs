//! What those who store and renew say of leases: for how long, and how many copies.

use std::time::Duration;

use super::escape::quoted;
use super::options::GivenOptions;
use crate::config::WIDTH;
use crate::lease::{LAST, Lease, Secret, UnixTime};
use crate::time::parse_time;

/// What a user who stores a file asks of its holders.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Terms {
    /// How long the copies are kept; for ever, without it.
    pub lasts: Option<Duration>,
    /// How many there are to be; as many as the peers usually keep, without it.
    pub copies: Option<u8>,
}

/// What holders of files are told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// They are kept longer: for so long from now, or as long as at first.
    Renew(Option<Lasting>),
    /// They are not kept any longer, on behalf of who stored them here.
    Delete,
    /// So many copies of each block are kept.
    Copies(u8),
}

/// How long something is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lasting {
    /// For ever.
    Ever,
    /// For this long, from when it is stored or renewed.
    For(Duration),
}

impl Terms {
    /// Reads `--for` and `--copies`.
    ///
    /// # Errors
    /// For people: what is wrong with them.
    pub fn read(lasts: Option<&str>, copies: Option<&str>) -> Result<Self, String> {
        let lasts = match lasts.map(parse_lasting).transpose()? {
            Some(Lasting::For(lasts)) => Some(lasts),
            Some(Lasting::Ever) | None => None,
        };
        Ok(Self { lasts, copies: copies.map(parse_copies).transpose()? })
    }

    /// The lease that this secret has with these terms, from `now` on.
    pub(super) fn lease(self, secret: &Secret, now: UnixTime) -> Lease {
        let until = self.lasts.map(|lasts| now.saturating_add(lasts.as_secs())).filter(|until| *until <= LAST);
        Lease { id: secret.id(), until, copies: self.copies.unwrap_or(0) }
    }
}

/// Reads how long something is to be kept: `30d`, or `ever`.
///
/// # Errors
/// For people: it is no time, or too short a one.
pub fn parse_lasting(word: &str) -> Result<Lasting, String> {
    if ["ever", "forever"].contains(&word) {
        return Ok(Lasting::Ever);
    }
    let time = parse_time(word)?;
    if time.as_secs() == 0 { Err(format!("{} is no time at all", quoted(word))) } else { Ok(Lasting::For(time)) }
}

/// Reads how many copies of each block are to be kept.
///
/// # Errors
/// For people: it is no number of copies.
pub fn parse_copies(word: &str) -> Result<u8, String> {
    let copies = word.parse().ok().filter(|copies| (1..=WIDTH as u8).contains(copies));
    copies.ok_or_else(|| format!("{} is no number of copies: 1 to {WIDTH}", quoted(word)))
}

/// Reads the option `--for` of `renew`.
pub(super) fn read_renew(options: &GivenOptions) -> Result<Change, String> {
    options.value("--for").map(parse_lasting).transpose().map(Change::Renew)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_read_and_nonsense_is_refused() {
        assert_eq!(parse_lasting("30d"), Ok(Lasting::For(Duration::from_secs(30 * 86_400))));
        assert_eq!(parse_lasting("ever"), Ok(Lasting::Ever));
        for bad in ["0", "-1d", "soon", ""] {
            assert!(parse_lasting(bad).is_err(), "{bad}");
        }
    }
}
