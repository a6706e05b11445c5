//! What the word of each peer is worth: of those that it named to lookups, how many answered and how many were silent.
//!
//! A peer that names ever new ones which are not there has questions sent to addresses of its choice. Dead peers are
//! named by every peer now and then, so a few tell nothing; but of a peer whose names are silent most of the time, few
//! are taken, until those answer.

use std::net::SocketAddr;

use crate::config::WIDTH;
use crate::recent::Recent;

/// Peers whose words are remembered, at least.
const REMEMBERED: usize = 256;

/// So many silent ones tell nothing yet: two answers full of them.
const CHANCE: u16 = 2 * WIDTH as u16;

/// Silent ones for each one that answers, where half of a network may have died a moment ago.
const SILENT_RATIO: u16 = 4;

/// Both counts are halved once they are so many together: what was long ago counts less.
const MANY: u16 = 128;

/// Names that are taken of a peer whose word is worth little.
const DOUBTED_NAMES: usize = 1;

#[derive(Default)]
pub(super) struct Namers(Recent<SocketAddr, NamedCount, REMEMBERED>);

#[derive(Clone, Copy, Default)]
struct NamedCount {
    answered: u16,
    silent: u16,
}

impl Namers {
    /// A peer that `namer` named answered, or was silent.
    pub(super) fn count(&mut self, namer: SocketAddr, answered: bool) {
        let mut count = self.0.get(&namer).copied().unwrap_or_default();
        *(if answered { &mut count.answered } else { &mut count.silent }) += 1;
        if count.answered + count.silent >= MANY {
            count = NamedCount { answered: count.answered / 2, silent: count.silent / 2 };
        }
        self.0.insert(namer, count);
    }

    /// Names of an answer of this peer's that are taken.
    pub(super) fn believed(&self, namer: &SocketAddr) -> usize {
        let NamedCount { answered, silent } = self.0.get(namer).copied().unwrap_or_default();
        if silent > CHANCE.max(answered * SILENT_RATIO) { DOUBTED_NAMES } else { WIDTH }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Kademlia;
    use super::*;
    use crate::id::Id;
    use crate::overlay::{Cause, Effect, Goal, Overlay};
    use crate::peer::Peer;
    use crate::time::Time;
    use crate::wire::Response;

    #[test]
    fn a_peer_whose_names_are_silent_most_of_the_time_is_believed_little_until_they_answer() {
        let (mut namers, addr) = (Namers::default(), SocketAddr::from(([10, 0, 0, 1], 7)));
        (0..CHANCE).for_each(|_| namers.count(addr, false));
        assert_eq!(namers.believed(&addr), WIDTH, "that may be chance");
        namers.count(addr, false);
        assert_eq!(namers.believed(&addr), DOUBTED_NAMES);
        (0..4).for_each(|_| namers.count(addr, true));
        assert_eq!(namers.believed(&addr), WIDTH);
        (0..100_000).for_each(|_| namers.count(addr, false));
        assert_eq!(namers.believed(&addr), DOUBTED_NAMES);
        (0..64).for_each(|_| namers.count(addr, true));
        assert_eq!(namers.believed(&addr), WIDTH, "it does not take for ever");
    }

    /// A contact answers each lookup with seven names that nobody runs.
    #[test]
    fn made_up_names_bring_about_few_questions_in_the_long_run() {
        let peer = |n: u64| Peer::new(Id::of(&n.to_be_bytes()), ([10, 0, (n >> 8) as u8, n as u8], 7000).into());
        let liar = peer(1);
        let (mut overlay, mut now, mut made_up, mut questions) =
            (Kademlia::new(peer(0), [0; 32], true), Time::ZERO, 2, 0);
        overlay.fill(now, &[liar]);
        for lookup in 0..50 {
            let mut out = Vec::new();
            overlay.lookup(now, lookup, Id::of(b"key"), Goal::Holders, &mut out);
            while let Some(effect) = out.pop() {
                let Effect::Ask { to, tag, .. } = effect else { continue };
                if to.addr != liar.addr {
                    questions += 1;
                    now += Duration::from_millis(100);
                    overlay.on(now, Cause::NoAnswer { tag, to }, &mut out);
                    continue;
                }
                let response = Response::Nodes((made_up..made_up + 7).map(peer).collect());
                made_up += 7;
                overlay.on(now, Cause::Answer { tag, from: liar.addr, by: Some(liar), response: &response }, &mut out);
            }
        }
        assert!(made_up > 7 * 50, "it answers each lookup");
        assert!(questions < 50 * 3, "{questions} questions");
    }

    #[test]
    fn one_that_names_the_dead_where_half_the_network_died_is_believed() {
        let (mut namers, addr) = (Namers::default(), SocketAddr::from(([10, 0, 0, 1], 7)));
        for n in 0..10_000 {
            namers.count(addr, n % 3 == 0);
            assert_eq!(namers.believed(&addr), WIDTH);
        }
    }
}
