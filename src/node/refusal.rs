//! Why a peer does not have what it was offered, or does not answer what it was asked.
//!
//! On the wire a refusal is a sentence, which older peers and other programs know. It is read here when it comes, and
//! written here when it goes: in between it is compared as a value.

use std::fmt;

/// Why a peer does not do what it was asked, or why it does not count.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    /// It has no room.
    Full,
    /// Its disk refused to write or to read the block.
    Disk,
    /// More is asked of it than it takes at a time.
    Busy,
    /// It is leaving too.
    Leaving,
    /// It got other bytes than the key tells.
    NotItsHash,
    /// It could not pull the block.
    NotPulled,
    /// No connection from there comes about, so it pulls nothing.
    Unreached,
    /// It pinged who offered the block, and has no answer.
    Unproven,
    /// It says that it has the block, and does not show it; what came of it. No peer says that of itself.
    Unshown(Option<String>),
    /// It may have the block, and no peer can have it from there: it was out of reach, or silent. No peer says that of
    /// itself either.
    Unread(Option<String>),
    /// It has the block, and no connection to it comes about. No peer says that of itself.
    Shut,
    /// It could not pull the block in the time that it allows, and no other peer was faster: the way out of this peer
    /// is slow. No peer says that of itself.
    Slow,
    /// It may have the block: this peer could not look into that.
    Unjudged(String),
    /// By its clock, or what it heard, the leases that it is offered the block on have ended.
    Ended,
    /// For another reason.
    Other(String),
}

/// Those that have words of their own on the wire.
const WORDS: [(Refusal, &str); 9] = [
    (Refusal::Full, "full"),
    (Refusal::Disk, "the disk refused the block"),
    (Refusal::Busy, "busy: too many blocks are on their way here"),
    (Refusal::Leaving, "leaving the network"),
    (Refusal::NotItsHash, "the bytes do not hash to the key"),
    (Refusal::NotPulled, "the block could not be pulled from you"),
    (Refusal::Unreached, "no connection to you comes about, so nothing is pulled from you"),
    (Refusal::Unproven, "you did not answer a ping, so nothing is pulled from you"),
    (Refusal::Ended, "its lease has ended"),
];

impl Refusal {
    /// What the peer that offered the block can do about it.
    pub(crate) const fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Unreached => Some(
                "nobody can connect to this peer: is there a firewall, an address that is translated, or no file descriptor \
                 left here? Store by way of a peer that others reach",
            ),
            Self::Full => Some("start more peers, or let those that run keep more (--capacity)"),
            Self::Ended => Some("by the clocks of others the lease is over already: compare them with this machine's"),
            _ => None,
        }
    }
}

impl<S: Into<String> + AsRef<str>> From<S> for Refusal {
    fn from(words: S) -> Self {
        let known = WORDS.into_iter().find(|(_, known)| *known == words.as_ref());
        known.map_or_else(|| Self::Other(words.into()), |(refusal, _)| refusal)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unshown(None) => f.write_str("it says that it has saved the block, and does not show it"),
            Self::Unshown(Some(why)) => write!(f, "it says that it has saved the block, and does not show it: {why}"),
            Self::Unread(None) => f.write_str("it says that it has saved the block, which cannot be had from there"),
            Self::Unread(Some(why)) => {
                write!(f, "it says that it has saved the block, which cannot be had from there: {why}")
            }
            Self::Shut => f.write_str("it cannot be connected to, so nobody can have the block from there"),
            Self::Slow => f.write_str("the block did not get there in the time that it allows, over a slow way out"),
            Self::Unjudged(why) => {
                write!(f, "it says that it has saved the block, and this peer could not look into that: {why}")
            }
            Self::Other(words) => f.write_str(words),
            known => {
                let words = WORDS.iter().find(|(refusal, _)| refusal == known).map(|(_, words)| words);
                words.map_or(Ok(()), |words| f.write_str(words))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_says_is_read_as_it_was_written_and_no_peer_calls_itself_a_liar() {
        // What stands on the wire: other programs and older peers read it.
        for (refusal, words) in [
            (Refusal::Full, "full"),
            (Refusal::Disk, "the disk refused the block"),
            (Refusal::Busy, "busy: too many blocks are on their way here"),
            (Refusal::Leaving, "leaving the network"),
            (Refusal::NotItsHash, "the bytes do not hash to the key"),
            (Refusal::NotPulled, "the block could not be pulled from you"),
            (Refusal::Unreached, "no connection to you comes about, so nothing is pulled from you"),
            (Refusal::Unproven, "you did not answer a ping, so nothing is pulled from you"),
            (Refusal::Ended, "its lease has ended"),
        ] {
            assert_eq!((Refusal::from(words), refusal.to_string()), (refusal, words.to_owned()));
        }
        let own = [Refusal::Unshown(None), Refusal::Unread(None), Refusal::Shut, Refusal::Slow];
        for refusal in own.into_iter().chain([Refusal::Unjudged("why".to_owned())]) {
            assert!(matches!(Refusal::from(refusal.to_string()), Refusal::Other(_)));
        }
        assert_eq!(Refusal::from("no"), Refusal::Other("no".to_owned()));
    }
}
