//! Another peer that runs with our id: a data folder was copied, with the machine or by hand.
//!
//! Of the two only one is in the others' tables, and on the ring only one is let in, so the other holds nothing for the
//! network. When any peer names a peer of our id at another address, that is asked, once in a while; so the one that is
//! in the tables hears from the other, and asks in its turn. Our own address under another name answers too, but then
//! it tells our own address, and the question has come to ourselves.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Effect, Incoming};
use crate::peer::Peer;
use crate::time::Time;

/// Such an address is asked this often at most, however many name it.
const ASKED_EVERY: Duration = Duration::from_secs(60);

/// What is known of other peers of our id.
#[derive(Default)]
pub(super) struct Twins {
    /// When one may be asked again.
    next: Option<Time>,
    /// Requests that came under our id: from ourselves, or from such a peer.
    heard: u64,
    /// The address that was told of last: once is enough.
    told: Option<SocketAddr>,
}

/// Where such a peer may run. It is asked who it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Suspect {
    /// Where the question goes.
    pub(super) addr: SocketAddr,
    /// Requests heard from our own id before it was asked.
    heard: u64,
}

impl Twins {
    /// A request came from `from`. A request of our own id is ours, or that of a peer which has it too.
    pub(super) fn hear(&mut self, now: Time, me: &Peer, from: &Incoming) -> Option<Suspect> {
        from.sender.filter(|sender| sender.peer.id == me.id)?;
        self.heard += 1;
        self.suspect(now, me, &[Peer::new(me.id, from.asker.addr)])
    }

    /// These peers were named: is one of our id among them?
    pub(super) fn suspect(&mut self, now: Time, me: &Peer, named: &[Peer]) -> Option<Suspect> {
        let twin = named.iter().find(|peer| peer.id == me.id && peer.addr != me.addr)?;
        if self.next.is_some_and(|next| now < next) {
            return None;
        }
        self.next = Some(now + ASKED_EVERY);
        Some(Suspect { addr: twin.addr, heard: self.heard })
    }

    /// The peer that runs there has answered, and may have named itself.
    pub(super) fn on_answer(&mut self, me: &Peer, suspect: Suspect, named: Option<Peer>, out: &mut Vec<Effect>) {
        let Suspect { addr, heard } = suspect;
        let is_twin = |named: Peer| named.id == me.id && (named.addr != me.addr || heard == self.heard);
        if named.is_some_and(is_twin) && self.told.replace(addr) != Some(addr) {
            out.push(Effect::Twin { addr });
        }
    }
}
