//! Patience: how often each kind of request goes out, or for how long, before it has failed.
//!
//! A request that is answered at once goes out again when its answer is overdue: after [`FIRST_TIMEOUT`] where nothing
//! is known of the address, then after twice as long each time, but after [`MAX_TIMEOUT`] at most. So a number of tries
//! is a time that a silent peer is waited for; the tests of this module compute it.
//!
//! | what goes out | times | silent for |
//! |---|---|---|
//! | [`ONCE`]: what is said again anyway if it matters, or whose answer tells nothing | 1 | 0.5 s |
//! | [`STRANGER`]: a question to a peer that was only named: it may never have been there | 2 | 1.5 s |
//! | [`PULSE`]: a ping of a neighbour in Kademlia's table; a second round of pings decides | 2 | 1.5 s |
//! | [`QUESTION`]: any other question | 3 | 3.5 s |
//! | [`CHECK`]: is a contact gone that failed once? So many datagrams do not get lost by chance | 3 | 3.5 s |
//! | [`SEARCH`]: a search of the ring's, one way | 4 | 5.5 s |
//! | [`OFFER_PULSE`]: is a peer alive that was offered something? | 5 | 7.5 s |
//!
//! A request that is answered once bytes have moved goes out every [`RESEND`]:
//!
//! | what goes out | for |
//! |---|---|
//! | [`OFFER`]: a block is offered | 30 s |
//! | [`FILE`]: a named file is offered; a receiver that went silent is noticed much sooner | 3600 s |
//!
//! What consists of several requests is begun anew:
//!
//! | what is done | times | takes |
//! |---|---|---|
//! | [`FETCHES`]: the holders of a piece of a file are looked for | 3 | as long as lookups and fetches do |
//! | [`FILE_REQUESTS`]: a named file is requested again: another peer may have it by then | 2 | the same |
//! | [`HEALS`]: a block in place of a damaged one is looked for, with pauses that double | 6 | 310 s |

use std::time::Duration;

use crate::config::{FIRST_TIMEOUT, MAX_TIMEOUT};

/// Times that a request goes out that is not repeated.
pub const ONCE: u8 = 1;

/// Times that a question goes out to a peer that was only named.
pub const STRANGER: u8 = 2;

/// Times that a ping to a neighbour in Kademlia's table goes out.
pub const PULSE: u8 = 2;

/// Times that a question goes out for which no other row stands here.
pub const QUESTION: u8 = 3;

/// Times that a ping goes out to a contact that failed once.
pub const CHECK: u8 = 3;

/// Times that a search goes one way on the ring. A peer on the way takes up to 5 s to notice that the next is gone
/// without a word, and then sends the search around; given up before, a search would meet the same dead peer on every
/// way.
pub const SEARCH: u8 = 4;

/// Times that a ping goes out to a peer that is slow to take an offer. It is pinged every second, and while blocks fill
/// the way to it a datagram is easily lost: with fewer, many offers would fail by chance.
pub const OFFER_PULSE: u8 = 5;

/// A request that is answered once bytes have moved is repeated this often: the datagram, or its answer, may be lost.
pub const RESEND: Duration = Duration::from_secs(1);

/// An offered block has this long to arrive at its holder and become durable.
pub const OFFER: Duration = Duration::from_secs(30);

/// A named file has this long to arrive where it was sent.
pub const FILE: Duration = Duration::from_secs(3600);

/// Times that the holders of a piece of a file are looked for.
pub const FETCHES: u8 = 3;

/// Times that a named file is requested again whose holder failed to send it.
pub const FILE_REQUESTS: u8 = 2;

/// Times that a block in place of a damaged one is looked for.
pub const HEALS: u32 = 6;

/// How long a silent peer, of which nothing is known, is waited for if it is asked `tries` times.
pub fn silence(tries: u8) -> Duration {
    (0..tries.into()).map(|doublings| (FIRST_TIMEOUT * 2_u32.saturating_pow(doublings)).min(MAX_TIMEOUT)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::REPAIR_RETRY;

    /// The row of the tables above that begins with `name`.
    fn row(name: &str) -> Vec<&'static str> {
        let row = include_str!("patience.rs").lines().find(|line| line.starts_with(&format!("//! | [`{name}`]")));
        row.unwrap_or_else(|| panic!("no row for {name}")).split('|').map(str::trim).collect()
    }

    #[test]
    fn the_tables_tell_the_numbers_and_seconds_that_hold() {
        let tries = [
            ("ONCE", ONCE),
            ("STRANGER", STRANGER),
            ("PULSE", PULSE),
            ("QUESTION", QUESTION),
            ("CHECK", CHECK),
            ("SEARCH", SEARCH),
            ("OFFER_PULSE", OFFER_PULSE),
        ];
        for (name, tries) in tries {
            let seconds = format!("{:.1} s", silence(tries).as_secs_f64());
            assert_eq!(row(name)[2..4], [tries.to_string(), seconds], "{name}");
        }
        for (name, limit) in [("OFFER", OFFER), ("FILE", FILE)] {
            assert_eq!(row(name)[2], format!("{} s", limit.as_secs()), "{name}");
        }
        let pauses: Duration = (0..HEALS - 1).map(|doublings| REPAIR_RETRY * 2_u32.pow(doublings)).sum();
        assert_eq!(row("HEALS")[2..4], [HEALS.to_string(), format!("{} s", pauses.as_secs())]);
        assert_eq!(row("FETCHES")[2], FETCHES.to_string());
        assert_eq!(row("FILE_REQUESTS")[2], FILE_REQUESTS.to_string());
    }

    #[test]
    fn a_search_outlasts_the_time_that_a_peer_on_its_way_takes_to_notice_a_death() {
        let noticed = Duration::from_secs(5);
        assert!(silence(SEARCH) > noticed && silence(SEARCH - 1) < noticed);
    }
}
