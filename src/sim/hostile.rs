//! Peers that mean harm. Each runs the same node as an honest one, so it joins and stands in others' tables, and does
//! besides, or instead, what its [`HostileRole`] says.
//!
//! What they send is not counted, and they are not among those that are [up](World::up): what is counted and promised
//! is the honest peers'. They speak Kademlia's language alone.

use std::time::Duration;

use rand::{Rng, RngExt};

use super::network;
use super::world::{PlannedEvent, SimEvent, World};
use crate::config::WIDTH;
use crate::id::{ID_BITS, Id, Key};
use crate::node::refusal::Refusal;
use crate::node::{Event, Purpose};
use crate::peer::Peer;
use crate::wire::{Message, Request, RequestKind, Response, Sender, Via, Vouch};

/// What a hostile peer does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum HostileRole {
    /// It says that it holds every block, and that it has saved what it is offered without pulling it. It names its
    /// fellows and peers that it makes up. It gives nothing: who asks waits in vain.
    Liar,
    /// It lies as a liar does, but it pulls what it is offered, and throws it away: so it can show that it pulled it.
    Boaster,
    /// It takes what it is offered, says so, and never gives it.
    Hoarder,
    /// It sends goodbyes, news of deaths and answers in other peers' names.
    Forger,
    /// It asks and offers without end, each time under another id.
    Flooder,
    /// It comes and goes, says so each time, and is silent in between.
    Flapper,
    /// It refuses whatever it is offered.
    Refuser,
    /// It answers all but offers, and takes none of these.
    Idler,
}

/// How long a flapping peer is there, and not there.
const FLAP: Duration = Duration::from_secs(4);

/// Of the names that a liar gives, so many are of nobody.
const MADE_UP: usize = 2;

impl HostileRole {
    /// The roles that peers of storms have.
    pub const ALL: [Self; 7] =
        [Self::Liar, Self::Hoarder, Self::Forger, Self::Flooder, Self::Flapper, Self::Refuser, Self::Idler];

    /// How often it does something of its own accord.
    const fn pace(self) -> Option<Duration> {
        match self {
            Self::Liar | Self::Boaster | Self::Hoarder | Self::Refuser | Self::Idler => None,
            Self::Forger => Some(Duration::from_millis(25)),
            Self::Flooder => Some(Duration::from_millis(10)),
            Self::Flapper => Some(FLAP),
        }
    }
}

impl World {
    /// From now on the peer in `slot` is hostile.
    pub fn turn_hostile(&mut self, slot: usize, role: HostileRole) {
        self.peers[slot].role = Some(role);
        self.plan_mischief(slot);
    }

    /// Whether the peer in `slot` is hostile.
    pub fn is_hostile(&self, slot: usize) -> bool {
        self.peers[slot].role.is_some()
    }

    /// Whether whoever wants a block from this peer waits in vain.
    pub(super) fn withholds(&self, slot: usize) -> bool {
        matches!(
            self.peers[slot].role,
            Some(HostileRole::Liar | HostileRole::Boaster | HostileRole::Hoarder | HostileRole::Flooder)
        )
    }

    fn plan_mischief(&mut self, slot: usize) {
        if let Some(pace) = self.peers[slot].role.and_then(HostileRole::pace) {
            self.plan(self.now + pace, PlannedEvent { slot: slot as u32, life: None, what: SimEvent::Mischief });
        }
    }

    /// Whether a message to a hostile peer is answered, or left without an answer, without its node.
    pub(super) fn is_taken_care_of(&mut self, from: usize, to: usize, via: Via, message: &Message) -> bool {
        let crate::wire::Body::Request(request) = &message.body else { return self.is_away(to) };
        match self.peers[to].role {
            Some(HostileRole::Flapper) => self.is_away(to),
            Some(HostileRole::Idler) => matches!(request, Request::Store { .. }),
            Some(HostileRole::Refuser) if matches!(request, Request::Store { .. }) => {
                let Peer { id, addr } = self.peers[to].me;
                let refusal = Message::error(message.magic, Refusal::Full.to_string());
                self.slip(to, from, Message { sender: Some(Sender::member(id, addr)), ..refusal });
                true
            }
            Some(role @ (HostileRole::Liar | HostileRole::Boaster)) if via == Via::Udp => {
                let lie = self.lie(to, request);
                if let (HostileRole::Boaster, Request::Store { key, .. }, Some(_)) = (role, request, &lie) {
                    let host = self.peers[to].me.addr.ip();
                    self.tell(from, Event::Delivered { blocks: vec![(*key, host)] });
                }
                if let Some(response) = lie.clone() {
                    let Peer { id, addr } = self.peers[to].me;
                    let answer = Message {
                        sender: Some(Sender::member(id, addr)),
                        ..Message::response(message.magic, request.kind(), response)
                    };
                    self.slip(to, from, answer);
                }
                lie.is_some()
            }
            _ => false,
        }
    }

    fn is_away(&self, slot: usize) -> bool {
        let is_flapper = self.peers[slot].role == Some(HostileRole::Flapper);
        is_flapper && (self.now.as_micros() / FLAP.as_micros() as u64) % 2 == 1
    }

    /// What a liar says to a request; nothing of its own to one that has nothing in it for it.
    fn lie(&mut self, slot: usize, request: &Request) -> Option<Response> {
        match request {
            Request::FindNode { id } => Some(Response::Nodes(self.false_names(slot, id))),
            Request::FindValue { .. } => Some(Response::Node(self.peers[slot].me)),
            Request::Verify { .. } => Some(Response::Vouch(Vouch::Verified)),
            Request::Compare { .. } => Some(Response::Same),
            Request::Store { .. } if self.rng.random_bool(0.5) => {
                Some(Response::Shown { sample: Id::random(&mut self.rng) })
            }
            Request::Store { .. } => Some(Response::Saved),
            _ => None,
        }
    }

    /// The liar's fellows nearest to a key, and before them some whom nobody knows.
    fn false_names(&mut self, slot: usize, key: &Key) -> Vec<Peer> {
        let fellows = self
            .peers
            .iter()
            .filter(|peer| matches!(peer.role, Some(HostileRole::Liar | HostileRole::Boaster)) && peer.node.is_some());
        let mut names: Vec<Peer> = fellows.map(|peer| peer.me).filter(|peer| *peer != self.peers[slot].me).collect();
        names.sort_by_key(|peer| peer.id.distance(key));
        names.truncate(WIDTH - MADE_UP);
        for _ in 0..MADE_UP {
            let id = key.flip_bit(self.rng.random_range(ID_BITS / 2..ID_BITS));
            let nowhere = network::MAX_PEERS - self.rng.random_range(1..1000_usize);
            names.push(Peer::new(id, network::address(nowhere)));
        }
        names
    }

    /// Sends a datagram that seems to come from `from`.
    fn slip(&mut self, from: usize, to: usize, message: Message) {
        self.send_datagram((from, to), Duration::ZERO, Purpose::Upkeep, message);
    }

    /// A hostile peer does what it does of its own accord.
    pub(super) fn do_mischief(&mut self, slot: usize) {
        let up = self.up();
        if self.is_up(slot)
            && let Some(victim) = self.any(&up)
        {
            match self.peers[slot].role {
                Some(HostileRole::Forger) => self.forge(victim, &up),
                Some(HostileRole::Flooder) => self.flood(slot, victim),
                Some(HostileRole::Flapper) => self.flap(slot, &up),
                _ => {}
            }
        }
        self.plan_mischief(slot);
    }

    /// Something in the name of one of these peers.
    fn forge(&mut self, victim: usize, up: &[usize]) {
        let (Some(name), Some(other)) = (self.any(up), self.any(up)) else { return };
        let Peer { id, addr } = self.peers[name].me;
        let (member, magic) = (Sender::member(id, addr), self.rng.next_u64() >> 11);
        let message = match self.rng.random_range(0..3) {
            0 => Message::request(magic, Sender { leaving: true, ..member }, Request::Ping),
            1 => Message::request(magic, member, Request::Gone { peer: self.peers[other].me }),
            _ => Message::response(magic, RequestKind::Ping, Response::Node(self.peers[other].me)),
        };
        self.slip(name, victim, message);
    }

    /// Requests under an id that nobody had before.
    fn flood(&mut self, slot: usize, victim: usize) {
        let (id, key) = (Id::random(&mut self.rng), Id::random(&mut self.rng));
        let sender = Sender::member(id, self.peers[slot].me.addr);
        let wishes = [
            Request::Ping,
            Request::FindNode { id: key },
            Request::FindValue { key },
            Request::Store { key, size: Some(1 << 20), leases: Vec::new() },
            Request::Store { key: id, size: Some(1), leases: Vec::new() },
        ];
        for wish in wishes {
            let magic = self.rng.next_u64() >> 11;
            self.slip(slot, victim, Message::request(magic, sender, wish));
        }
    }

    /// Goodbye to all that may know it, or hello.
    fn flap(&mut self, slot: usize, up: &[usize]) {
        let Peer { id, addr } = self.peers[slot].me;
        let sender = Sender { leaving: self.is_away(slot), ..Sender::member(id, addr) };
        for &known in up {
            let magic = self.rng.next_u64() >> 11;
            self.slip(slot, known, Message::request(magic, sender, Request::Ping));
        }
    }
}
