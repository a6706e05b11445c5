//! Peers that are elsewhere by now: a machine got another address, or a peer was started again at another port.
//!
//! An id stands at one address in the lists. A peer that answers under it at another one has shown that it is there,
//! and yet the peer that is known may be there too (a copied data folder, a machine with two addresses, a liar). So
//! that one is looked at: silent for a second or two, or refusing a connection, it is dead where it was known, and the
//! other has its place. (In the classroom an address goes with an id, and its users count pings.)

use std::net::SocketAddr;

use super::neighbours::RingPosition;
use super::relay::Relay;
use super::stabilize::{PingReason, TellingExtent};
use super::{HEARD_LATELY, Ring, RingVariant};
use crate::overlay::Effect;
use crate::peer::Peer;
use crate::time::Time;

/// What answers at another address than the one that is known for its id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Elsewhere {
    /// A member, at this one.
    InRing(SocketAddr),
    /// A peer that asks to be let in.
    AtTheDoor,
}

impl Ring {
    /// A member answered under the id of `known`, at another address.
    pub(super) fn on_elsewhere(&mut self, known: Peer, addr: SocketAddr, out: &mut Vec<Effect>) {
        if self.options.variant == RingVariant::Chord {
            self.vitals.found_elsewhere(&known.id, Elsewhere::InRing(addr));
        }
        self.check_on(known, out);
    }

    /// The origin of a `join` answered under the id of `holder`, at another address. That one is asked over a
    /// connection too, which a machine refuses whose peer was started again at another port. The `join` comes again:
    /// by then the holder has answered, or is gone.
    pub(super) fn on_join_from_elsewhere(&mut self, now: Time, relay: Relay, holder: Peer, out: &mut Vec<Effect>) {
        self.check_on(holder, out);
        let is_there = self.vitals.was_heard_within(now, &holder.id, HEARD_LATELY);
        if is_there || self.options.variant == RingVariant::Classroom {
            return relay.refuse(format!("the id is taken by the peer at {}", holder.addr), out);
        }
        self.vitals.found_elsewhere(&holder.id, Elsewhere::AtTheDoor);
        self.connect(holder, out);
    }

    /// A peer is dead where it was known, at this place ahead of us, and behind. If it is elsewhere, it is met there.
    pub(super) fn meet_elsewhere(
        &mut self,
        peer: Peer,
        (ahead, behind): (Option<usize>, Option<usize>),
        elsewhere: Option<Elsewhere>,
        out: &mut Vec<Effect>,
    ) {
        if let Some(Elsewhere::InRing(addr)) = elsewhere {
            let place = RingPosition { before: behind.is_some(), after: ahead.is_some() };
            self.ping(Peer::new(peer.id, addr), PingReason::Meet(place), false, out);
        }
    }

    /// Others reach this peer at another address from now on. Its neighbours hear of that at once, and its searches
    /// begin anew: what was asked until now is answered where it was.
    pub(super) fn tell_of_move(&mut self, now: Time, out: &mut Vec<Effect>) {
        let neighbours: Vec<Peer> = self.table.others().filter(|peer| self.table.is_neighbour(&peer.id)).collect();
        for peer in neighbours {
            self.ping(peer, PingReason::Stabilize(TellingExtent::All), false, out);
        }
        self.searches.values_mut().for_each(|search| search.tried.clear());
        self.start_waiting_searches(now, out);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{QuestionFor, RingOptions};
    use super::*;
    use crate::id::Id;
    use crate::overlay::{Cause, Overlay, Tag};
    use crate::wire::Response;
    use crate::wire::ring::RingResponse;

    fn peer(n: u8) -> Peer {
        Peer::new(Id::from_u64(u64::from(n) * 1000), ([10, 0, 0, n], 7000).into())
    }

    /// The questions that are out to an address.
    fn asked(ring: &Ring, out: &[Effect], addr: SocketAddr) -> Vec<Tag> {
        let there = |effect: &Effect| match effect {
            Effect::Ask { to, tag, .. } if to.addr == addr && ring.asked.contains_key(tag) => Some(*tag),
            _ => None,
        };
        out.iter().filter_map(there).collect()
    }

    /// Somebody answers under the id of a neighbour at another address, which the neighbour itself `answers` or leaves
    /// without an answer, however often it is asked. Where the neighbour is known after two seconds.
    fn known_at(answers: bool) -> SocketAddr {
        let (mut ring, mut out) = (Ring::new(peer(3), RingOptions::default()), Vec::new());
        ring.fill(Time::ZERO, &(1..=8).map(peer).collect::<Vec<_>>());
        let moved = Peer::new(peer(4).id, ([10, 9, 9, 9], 7000).into());
        ring.ping(moved, PingReason::Meet(RingPosition::AFTER), false, &mut out);
        for tenth in 1..=20 {
            let now = Time::ZERO + Duration::from_millis(100) * tenth;
            for (at, is_there) in [(moved, true), (peer(4), answers)] {
                for tag in asked(&ring, &out, at.addr) {
                    let (predecessors, successors) = (vec![peer(3)], vec![peer(5)]);
                    let pong = RingResponse::Pong { peer: at, predecessors, successors };
                    let is_bare = !matches!(ring.asked[&tag], QuestionFor::Ping(_));
                    let response = if is_bare { Response::Node(at) } else { Response::Ring(pong) };
                    let answer = Cause::Answer { tag, from: at.addr, by: Some(at), response: &response };
                    // A ping that is not answered has failed some tenths of a second after it was sent.
                    let cause = if is_there { answer } else { Cause::NoAnswer { tag, to: at.into() } };
                    if is_there || tenth % 7 == 0 {
                        ring.on(now, cause, &mut out);
                    }
                }
            }
        }
        ring.table.check().expect("an address each");
        ring.table.get(&moved.id).expect("it is known").addr
    }

    #[test]
    fn who_answers_at_another_address_has_its_place_there_once_it_is_silent_where_it_was_and_not_before() {
        assert_eq!(known_at(true), peer(4).addr, "it is where it was");
        assert_eq!(known_at(false), SocketAddr::from(([10, 9, 9, 9], 7000)), "it has moved");
    }
}
