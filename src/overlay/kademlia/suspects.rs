//! Addresses that left lookups' questions without an answer.

use std::net::SocketAddr;
use std::time::Duration;

use crate::recent::Recent;
use crate::time::Time;

/// Suspects that are remembered, at least.
const MAX_SUSPECTS: usize = 256;

/// An address is suspected for this long, unless a peer answers there.
const SUSPICION: Duration = Duration::from_secs(60);

/// How much speaks against the peer at an address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Suspicion {
    /// Its answer is late: lookups doubt it from the start.
    Late,
    /// A question to it was given up: a lookup takes it for dead if it is no contact, for a contact is pinged first.
    Unanswered,
}

#[derive(Default)]
pub(super) struct SuspectAddresses {
    addresses: Recent<SocketAddr, (Time, Suspicion), MAX_SUSPECTS>,
}

impl SuspectAddresses {
    pub(super) fn get(&self, now: Time, addr: &SocketAddr) -> Option<Suspicion> {
        let (since, suspicion) = self.addresses.get(addr)?;
        (now.since(*since) < SUSPICION).then_some(*suspicion)
    }

    /// Takes note of a suspicion. A weaker one leaves a stronger one as it is.
    pub(super) fn suspect(&mut self, now: Time, addr: SocketAddr, suspicion: Suspicion) {
        if self.get(now, &addr).is_none_or(|before| before <= suspicion) {
            self.addresses.insert(addr, (now, suspicion));
        }
    }

    /// A peer answers there.
    pub(super) fn clear(&mut self, addr: &SocketAddr) {
        self.addresses.remove(addr);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_up_is_suspected_for_a_minute_or_until_it_answers() {
        let (mut suspects, addr) = (SuspectAddresses::default(), SocketAddr::from(([10, 0, 0, 1], 7000)));
        suspects.suspect(Time::ZERO, addr, Suspicion::Late);
        suspects.suspect(Time::ZERO, addr, Suspicion::Unanswered);
        suspects.suspect(Time::ZERO + SUSPICION / 2, addr, Suspicion::Late);
        let shortly_before = Time::ZERO + (SUSPICION - Duration::from_millis(1));
        assert_eq!(suspects.get(shortly_before, &addr), Some(Suspicion::Unanswered));
        assert_eq!(suspects.get(Time::ZERO + SUSPICION, &addr), None);
        suspects.suspect(Time::ZERO + SUSPICION, addr, Suspicion::Late);
        assert_eq!(suspects.get(Time::ZERO + SUSPICION, &addr), Some(Suspicion::Late));
        suspects.clear(&addr);
        assert_eq!(suspects.get(Time::ZERO + SUSPICION, &addr), None);
    }
}
