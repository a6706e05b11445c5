//! At which of this machine's addresses each other peer speaks to it.
//!
//! A peer that asks one address waits for an answer from that one: what comes from another is a stranger's, and its way
//! may be closed. A socket bound to one address has no choice. One bound to all of them is told with each datagram
//! where it arrived, and says with each that it sends where it shall leave from. To whom nothing is known, the system
//! chooses.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

/// Addresses of others that are remembered: at least so many, and at most twice as many.
const ASKERS_KEPT: usize = 4096;

/// Where each other peer spoke to this one last.
#[derive(Default)]
pub(super) struct AskedAt {
    young: HashMap<SocketAddr, IpAddr>,
    /// Those not heard of since `young` was begun.
    old: HashMap<SocketAddr, IpAddr>,
}

impl AskedAt {
    /// Something came from `from` to our address `at`.
    pub(super) fn heard(&mut self, from: SocketAddr, at: IpAddr) {
        if self.young.insert(from, at).is_none() && self.young.len() > ASKERS_KEPT {
            self.old = std::mem::take(&mut self.young);
        }
    }

    /// Where what goes to `to` shall leave from.
    pub(super) fn source(&self, to: &SocketAddr) -> Option<IpAddr> {
        self.young.get(to).or_else(|| self.old.get(to)).copied()
    }

    /// Whether no peer is remembered.
    pub(super) fn is_empty(&self) -> bool {
        self.young.is_empty() && self.old.is_empty()
    }

    /// Nothing can leave from there any longer.
    pub(super) fn forget(&mut self, to: &SocketAddr) {
        self.young.remove(to);
        self.old.remove(to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_spoke_lately_is_remembered_however_many_others_speak() {
        let addr = |n: usize| SocketAddr::from(([10, 0, (n >> 8) as u8, n as u8], 7000 + (n >> 16) as u16));
        let (here, there): (IpAddr, IpAddr) = ([127, 0, 0, 1].into(), [127, 0, 0, 2].into());
        let mut asked_at = AskedAt::default();
        asked_at.heard(addr(0), here);
        asked_at.heard(addr(0), there);
        assert_eq!((asked_at.source(&addr(0)), asked_at.source(&addr(1))), (Some(there), None));
        for n in 1..200_000 {
            asked_at.heard(addr(n), here);
            assert!(asked_at.young.len() + asked_at.old.len() <= 2 * ASKERS_KEPT + 2);
            assert_eq!(asked_at.source(&addr(n.saturating_sub(ASKERS_KEPT / 2).max(1))), Some(here));
        }
        assert_eq!(asked_at.source(&addr(0)), None, "it made room");
        asked_at.forget(&addr(199_999));
        assert_eq!(asked_at.source(&addr(199_999)), None);
    }
}
