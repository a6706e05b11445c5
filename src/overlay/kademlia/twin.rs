//! Another peer that runs with our id: a data folder was copied, with the machine or by hand.
//!
//! Of the two only one is in the others' tables, so the other holds nothing for anybody. When somebody names a peer of
//! our id at another address, that is asked, once in a while; so the one that is in the tables hears from the other,
//! and asks in its turn. Our own address under another name answers too, but then it tells our own address, and the
//! question has come to ourselves.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Kademlia, Question, Target};
use crate::overlay::{Effect, Incoming};
use crate::patience;
use crate::peer::Peer;
use crate::time::Time;
use crate::wire::Request;

/// Such an address is asked this often at most, whoever names it.
const PAUSE: Duration = Duration::from_secs(60);

/// What is known of other peers of our id.
#[derive(Default)]
pub(super) struct Twins {
    /// When one may be asked again.
    next: Option<Time>,
    /// Requests that came from somebody of our id: from ourselves, or from such a peer.
    heard: u64,
    /// The one that was told of last: once is enough.
    told: Option<SocketAddr>,
}

impl Kademlia {
    /// A request came from `from`. One of our own id is ours, or its sender's who has it too.
    pub(super) fn hear_own_id(&mut self, now: Time, from: &Incoming, out: &mut Vec<Effect>) {
        if from.sender.is_some_and(|sender| sender.peer.id == self.me.id) {
            self.twins.heard += 1;
            self.look_for_twin(now, &[Peer::new(self.me.id, from.asker.addr)], out);
        }
    }

    /// Somebody named these peers: is one of our id among them?
    pub(super) fn look_for_twin(&mut self, now: Time, named: &[Peer], out: &mut Vec<Effect>) {
        let twin = named.iter().find(|peer| peer.id == self.me.id && peer.addr != self.me.addr);
        let Some(&Peer { addr, .. }) = twin.filter(|_| self.twins.next.is_none_or(|next| next <= now)) else { return };
        self.twins.next = Some(now + PAUSE);
        let question = Question::Twin { addr, heard: self.twins.heard };
        self.ask(Target { id: None, addr }, Request::Ping, patience::QUESTION, question, out);
    }

    /// Who runs there has answered.
    pub(super) fn on_twin(&mut self, (addr, heard): (SocketAddr, u64), named: Option<Peer>, out: &mut Vec<Effect>) {
        let is_twin = |named: Peer| named.id == self.me.id && (named.addr != self.me.addr || heard == self.twins.heard);
        if named.is_some_and(is_twin) && self.twins.told.replace(addr) != Some(addr) {
            out.push(Effect::Twin { addr });
        }
    }
}
