//! Patience: how often each kind of the node's requests goes out, or for how long, before it has failed.
//!
//! A request that is answered at once goes out again when its answer is overdue: soon at first, then ever more slowly
//! (see `node/exchange/schedule.rs`). It has failed much later, for a peer that does not answer at once need not be
//! dead. Each kind has a number of *tries*; it is waited for as long as so many timeouts take (two at least), of which
//! each is twice as long as the one before, but no longer than [`MAX_TIMEOUT`]. The first is [`FIRST_TIMEOUT`], or what
//! the address usually takes, where that is known. The tests of this module compute it.
//!
//! | what goes out | tries | silent for |
//! |---|---|---|
//! | [`ONCE`]: what is said or asked again anyway if it matters, or whose answer tells nothing; one datagram | 1 | 0.75 s |
//! | [`DEATH_NEWS`]: those nearest to a peer that died on Kademlia are told; is a peer still there that said goodbye? | 2 | 0.75 s |
//! | [`QUESTION`]: any other question | 3 | 1.75 s |
//! | [`CHECK`]: is a contact gone that failed once? So many datagrams do not get lost by chance | 3 | 1.75 s |
//! | [`SEARCH`]: a search of the ring's or a `join`, one way | 5 | 5.75 s |
//! | [`OFFER_PULSE`]: is a peer alive that was offered something? | 5 | 5.75 s |
//!
//! A request that is answered once bytes have moved goes out again like any other, but never sooner than after
//! [`RESEND_FIRST`], and in the end every [`RESEND`]:
//!
//! | what goes out | for |
//! |---|---|
//! | [`OFFER`]: a block is offered | 30 s |
//! | [`SLOW_OFFER`]: the same while it is being taken, over a way out that shows itself slow | 150 s |
//! | [`VERIFY`]: a holder is asked to hash its copy of a block | 30 s |
//! | [`FILE`]: a named file is offered; a receiver that went silent is noticed much sooner | 3600 s |
//!
//! What consists of several requests is begun anew:
//!
//! | what is done | times | takes |
//! |---|---|---|
//! | [`FETCHES`]: the holders of a block of a file are looked for | 3 | as long as lookups and fetches do |
//! | [`FILE_REQUESTS`]: a named file is requested again, or of the next peer that should have it | 2 | the same |
//! | [`HEALS`]: a block in place of a damaged one is looked for, with pauses that double | 6 | 310 s |
//!
//! What is tried for ever, after pauses that double, has its pauses beside it: names of bootstrap peers
//! ([`node::bootstrap`](crate::node)), connections to those that let none in (`node::desk::reach`), peers that were
//! lost (`overlay::kademlia::lost`), other ways into a ring (`overlay::ring::join`) and comparisons with who failed
//! (`node::keeping::conduct`). The reporter, which is no peer, has its own in `runtime::survey`.

use std::time::Duration;

use crate::config::{FIRST_TIMEOUT, MAX_TIMEOUT};

/// The least time that stands for a timeout where it is decided that a request has failed: a busy machine may be that
/// slow.
pub const MIN_DECISION: Duration = Duration::from_millis(100);

/// Tries of a request that goes out once.
pub const ONCE: u8 = 1;

/// Tries of the news of a death, to those nearest to the dead in Kademlia's table; and of a ping to a peer that said
/// goodbye, or in whose name another one did: one lost datagram is no proof that it has left.
pub const DEATH_NEWS: u8 = 2;

/// Tries of a question for which no other row stands here.
pub const QUESTION: u8 = 3;

/// Tries of a ping to a contact that failed once.
pub const CHECK: u8 = 3;

/// Tries of a search that goes one way on the ring. A peer on the way takes up to 5 s to notice that the next is gone
/// without a word, and then sends the search around; given up before, a search would meet the same dead peer on every
/// way.
pub const SEARCH: u8 = 5;

/// Tries of a ping to a peer that is slow to take an offer. It is pinged every second, and while blocks fill
/// the way to it a datagram is easily lost: with fewer, many offers would fail by chance.
pub const OFFER_PULSE: u8 = 5;

/// A request that is answered once bytes have moved is repeated after this long at least: the datagram, or its answer,
/// may be lost, but so long it takes to move a block and make it durable.
pub const RESEND_FIRST: Duration = Duration::from_millis(50);

/// It is repeated after this long at most.
pub const RESEND: Duration = Duration::from_secs(1);

/// An offered block has this long to arrive at its holder and become durable.
pub const OFFER: Duration = Duration::from_secs(30);

/// It has this long while it, or another block that the same peer is offered, is on its way there, and no other peer
/// took a block in a quarter of the time.
pub const SLOW_OFFER: Duration = Duration::from_secs(150);

/// A holder has this long to hash its copy of a block, or to say that it is busy.
pub const VERIFY: Duration = Duration::from_secs(30);

/// A named file has this long to arrive where it was sent.
pub const FILE: Duration = Duration::from_secs(3600);

/// Times that the holders of a block of a file are looked for.
pub const FETCHES: u8 = 3;

/// Times that a named file is requested again whose holder failed to send it: so each that should have it is asked.
pub const FILE_REQUESTS: u8 = 2;

/// Times that a block in place of a damaged one is looked for.
pub const HEALS: u32 = 6;

/// How long a silent peer, of which nothing is known, is waited for if it is asked with so many `tries`.
pub fn silence(tries: u8) -> Duration {
    silence_after(FIRST_TIMEOUT, tries)
}

/// The same where the first of its timeouts takes `first`.
pub fn silence_after(first: Duration, tries: u8) -> Duration {
    (0..tries.max(2).into()).map(|doublings| doubled(first, doublings, MAX_TIMEOUT)).sum()
}

/// A pause that was `first` and has doubled so many times, but is no longer than `longest`.
pub fn doubled(first: Duration, doublings: u32, longest: Duration) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(doublings)).min(longest)
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
            ("DEATH_NEWS", DEATH_NEWS),
            ("QUESTION", QUESTION),
            ("CHECK", CHECK),
            ("SEARCH", SEARCH),
            ("OFFER_PULSE", OFFER_PULSE),
        ];
        for (name, tries) in tries {
            let seconds = format!("{} s", silence(tries).as_secs_f64());
            assert_eq!(row(name)[2..4], [tries.to_string(), seconds], "{name}");
        }
        for (name, limit) in [("OFFER", OFFER), ("SLOW_OFFER", SLOW_OFFER), ("VERIFY", VERIFY), ("FILE", FILE)] {
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
