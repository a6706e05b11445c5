//! Peers that mean harm. Each runs the same node as an honest one, so it joins and stands in others' tables, and does
//! besides, or instead, what its [`HostileRole`] says.
//!
//! What they send is not counted, and they are not among those that are [up](World::up): what is counted and promised
//! is the honest peers'.

use std::time::Duration;

use rand::{Rng, RngExt};

use super::network;
use super::world::{PlannedEvent, SimEvent, World};
use crate::config::WIDTH;
use crate::id::{ID_BITS, Id, Key};
use crate::node::refusal::Refusal;
use crate::node::{Event, Purpose};
use crate::overlay::OverlayKind;
use crate::peer::Peer;
use crate::wire::ring::{FilePlace, RingKind, RingRequest, RingResponse, Route, Routed};
use crate::wire::{Dialect, Message, Request, RequestKind, Response, Sender, Via, Vouch};

/// What a hostile peer does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum HostileRole {
    /// It says that it holds every block, and that it has saved what it is offered without pulling it. It names its
    /// fellows and peers that it makes up. It gives nothing: a peer that asks it waits in vain.
    Liar,
    /// It lies as a liar does, but it pulls what it is offered, and throws it away: so it can show that it pulled it.
    Boaster,
    /// It takes no offer, says of every block that it does not hold it, and names its fellows and peers that it makes
    /// up.
    Hider,
    /// It takes what it is offered, says so, and never gives it.
    Hoarder,
    /// It sends goodbyes, news of deaths and answers in other peers' names, and other names from their addresses.
    Forger,
    /// It asks and offers without end, each time under another id.
    Flooder,
    /// It comes and goes, says so each time (not in a classroom), and is silent in between.
    Flapper,
    /// It refuses whatever it is offered.
    Refuser,
    /// It answers all but offers, and takes none of these.
    Idler,
    /// On the ring: it takes the lookups that it is to pass on or to answer, and does neither.
    Swallower,
    /// It says that it holds every block, and breaks off when it is to give one.
    Breaker,
}

/// How long a flapping peer is there, and not there.
const FLAP: Duration = Duration::from_secs(4);

/// Of the names that a liar gives, so many are of peers that never were.
const MADE_UP: usize = 2;

impl HostileRole {
    /// The roles that peers of storms have. In a classroom lies are about files: see `World::mistreats_file`.
    pub const ALL: [Self; 7] =
        [Self::Liar, Self::Hoarder, Self::Forger, Self::Flooder, Self::Flapper, Self::Refuser, Self::Idler];

    /// How often it does something of its own accord.
    const fn pace(self) -> Option<Duration> {
        match self {
            Self::Liar | Self::Boaster | Self::Hider | Self::Hoarder | Self::Refuser | Self::Idler => None,
            Self::Swallower | Self::Breaker => None,
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

    /// Whether a peer that wants a block from this one waits in vain.
    pub(super) fn withholds(&self, slot: usize) -> bool {
        matches!(
            self.peers[slot].role,
            Some(HostileRole::Liar | HostileRole::Boaster | HostileRole::Hoarder | HostileRole::Flooder)
        )
    }

    /// Whether a peer that wants a block from this one is soon cut off.
    pub(super) fn breaks_off(&self, slot: usize) -> bool {
        self.peers[slot].role == Some(HostileRole::Breaker)
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
            Some(role) if self.rules.config.named_files && role != HostileRole::Flapper => {
                matches!(request, Request::Ring(ring) if self.mistreats_file((from, to), role, message.magic, ring))
            }
            Some(HostileRole::Flapper) => self.is_away(to),
            Some(HostileRole::Idler | HostileRole::Hider) if matches!(request, Request::Store { .. }) => true,
            Some(HostileRole::Swallower) => {
                matches!(request, Request::Ring(RingRequest::Routed { what: Routed::Lookup { .. }, .. }))
            }
            Some(HostileRole::Refuser) if matches!(request, Request::Store { .. }) => {
                let Peer { id, addr } = self.peers[to].me;
                let refusal = Message::error(message.magic, Refusal::Full.to_string());
                self.slip(to, from, Message { sender: Some(Sender::member(id, addr)), ..refusal });
                true
            }
            Some(role @ (HostileRole::Liar | HostileRole::Boaster | HostileRole::Hider | HostileRole::Breaker)) => {
                let lie = self.lie(to, request);
                if let (HostileRole::Boaster, Request::Store { key, .. }, Some(_)) = (role, request, &lie) {
                    let host = self.peers[to].me.addr.ip();
                    self.tell(from, Event::Delivered { blocks: vec![(*key, host)] });
                }
                if let Some(response) = lie.clone() {
                    // What was passed on is answered to who asked first.
                    let origin = match request {
                        Request::Ring(RingRequest::Routed { route, .. }) => network::slot(route.origin.addr),
                        _ => None,
                    };
                    let asker = origin.filter(|slot| *slot < self.peers.len()).unwrap_or(from);
                    let Peer { id, addr } = self.peers[to].me;
                    let answer = Message {
                        sender: Some(Sender::member(id, addr)),
                        ..Message::response(message.magic, request.kind(), response)
                    };
                    match via {
                        Via::Udp => self.slip(to, asker, answer),
                        Via::Tcp => self.send_line((to, asker), Duration::ZERO, Purpose::Upkeep, answer),
                    }
                }
                lie.is_some()
            }
            _ => false,
        }
    }

    /// A hostile peer of a classroom refuses a file, swallows its offer, says that it has it without taking it, or says
    /// to each peer whose request passes it that no peer has the file. What it gives, if it gives anything, is what a
    /// user stored: no name says what its file is, so no peer could know better.
    fn mistreats_file(
        &mut self,
        (from, to): (usize, usize),
        role: HostileRole,
        magic: u64,
        request: &RingRequest,
    ) -> bool {
        let of = RingKind::Transfer;
        let (asker, response) = match (role, request) {
            (HostileRole::Idler, RingRequest::Transfer { .. }) => return true,
            (HostileRole::Refuser, RingRequest::Transfer { .. }) => {
                (from, RingResponse::Refused { of, reason: "no space left".to_owned() })
            }
            (HostileRole::Liar, RingRequest::Transfer { .. }) => (from, RingResponse::Noted { of }),
            (HostileRole::Liar, RingRequest::Routed { route, what: Routed::Request { file } }) => {
                let Some(asker) = network::slot(route.origin.addr).filter(|slot| *slot < self.peers.len()) else {
                    return false;
                };
                (asker, RingResponse::File { file: *file, place: FilePlace { size: None } })
            }
            _ => return false,
        };
        let Peer { id, addr } = self.peers[to].me;
        let answer = Message::response(magic, RequestKind::Ring, Response::Ring(response));
        let answer = Message { sender: Some(Sender::member(id, addr)), ..answer };
        self.send_line((to, asker), Duration::ZERO, Purpose::Upkeep, answer);
        true
    }

    fn is_away(&self, slot: usize) -> bool {
        let is_flapper = self.peers[slot].role == Some(HostileRole::Flapper);
        is_flapper && (self.now.as_micros() / FLAP.as_micros() as u64) % 2 == 1
    }

    /// What a liar says to a request; nothing of its own to a request that leaves nothing to lie about.
    fn lie(&mut self, slot: usize, request: &Request) -> Option<Response> {
        let hides = self.peers[slot].role == Some(HostileRole::Hider);
        match request {
            request if self.breaks_off(slot) && request.sought().is_none() => None,
            Request::Ring(RingRequest::Routed { what: Routed::Lookup { key }, .. }) if hides => {
                let (peers, trail) = (self.false_names(slot, key), Vec::new());
                Some(Response::Ring(RingResponse::Owner { peers, hops: 0, trail, brief: false }))
            }
            Request::FindValue { key } if hides => Some(Response::Nodes(self.false_names(slot, key))),
            Request::Ring(RingRequest::Has { .. }) if hides => {
                Some(Response::Ring(RingResponse::Has { peer: self.peers[slot].me, has: false }))
            }
            Request::FindNode { id } => Some(Response::Nodes(self.false_names(slot, id))),
            request if request.sought().is_some() => Some(request.answer_of(self.peers[slot].me, None)),
            Request::Verify { .. } => Some(Response::Vouch(Vouch::Verified)),
            Request::Compare { .. } => Some(Response::Same),
            Request::Store { .. } if self.rng.random_bool(0.5) => {
                Some(Response::Shown { sample: Id::random(&mut self.rng) })
            }
            Request::Store { .. } => Some(Response::Saved),
            // It has heard of all, and has a block of each file.
            Request::Lease(news) => Some(Response::Leased { blocks: news.ids().len() as u32, free: 0 }),
            _ => None,
        }
    }

    /// The liar's fellows nearest to a key, and some made-up peers that are nearer still.
    fn false_names(&mut self, slot: usize, key: &Key) -> Vec<Peer> {
        let lies = |role: HostileRole| matches!(role, HostileRole::Liar | HostileRole::Boaster | HostileRole::Hider);
        let fellows = self.peers.iter().filter(|peer| peer.role.is_some_and(lies) && peer.node.is_some());
        let mut names: Vec<Peer> = fellows.map(|peer| peer.me).filter(|peer| *peer != self.peers[slot].me).collect();
        names.sort_by_key(|peer| peer.id.distance(key));
        names.truncate(WIDTH - MADE_UP);
        for _ in 0..MADE_UP {
            let id = key.flip_bit(self.rng.random_range(ID_BITS / 2..ID_BITS));
            names.push(self.nobody(id));
        }
        names
    }

    /// A peer of this id at an address where there is none.
    fn nobody(&mut self, id: Id) -> Peer {
        let nowhere = network::MAX_PEERS - self.rng.random_range(1..1000_usize);
        Peer::new(id, network::address(nowhere))
    }

    /// Sends a datagram that seems to come from `from`.
    pub(super) fn slip(&mut self, from: usize, to: usize, message: Message) {
        self.send_datagram((from, to), Duration::ZERO, Purpose::Upkeep, message);
    }

    /// A hostile peer does what it does of its own accord.
    pub(super) fn do_mischief(&mut self, slot: usize) {
        let up = self.up();
        if self.is_up(slot)
            && let Some(victim) = self.any(&up)
        {
            let on_ring = self.rules.recipe.as_ref().is_some_and(|(kind, _)| *kind == OverlayKind::Ring);
            match self.peers[slot].role {
                Some(HostileRole::Forger) if on_ring => self.forge_on_ring(slot, victim, &up),
                Some(HostileRole::Forger) => self.forge(victim, &up),
                Some(HostileRole::Flooder) if on_ring => self.flood_on_ring(slot, victim),
                Some(HostileRole::Flooder) => self.flood(slot, victim),
                Some(HostileRole::Flapper) if self.rules.config.named_files => {}
                Some(HostileRole::Flapper) if on_ring => self.flap_on_ring(slot, &up),
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
        let message = match self.rng.random_range(0..4) {
            0 => Message::request(magic, Sender { leaving: true, ..member }, Request::Ping),
            1 => Message::request(magic, member, Request::Gone { peer: self.peers[other].me }),
            2 => Message::request(magic, Sender::member(self.peers[other].me.id, addr), Request::Ping),
            _ => Message::response(magic, RequestKind::Ping, Response::Node(self.peers[other].me)),
        };
        self.slip(name, victim, message);
    }

    /// The same on the ring. Of its two carriers, a datagram may seem to come from another's address; a line comes from
    /// the forger's own and names another as its sender.
    fn forge_on_ring(&mut self, slot: usize, victim: usize, up: &[usize]) {
        let (Some(name), Some(other)) = (self.any(up), self.any(up)) else { return };
        let (named, id) = (self.peers[name].me, self.some_id());
        let (nobody, other, magic) = (self.nobody(id), self.peers[other].me, self.rng.next_u64() >> 11);
        let (predecessors, successors) = (vec![other], vec![nobody]);
        let origin = if self.rng.random_bool(0.5) { nobody } else { other };
        let request = match self.rng.random_range(0..7) {
            0 => RingRequest::Ping { predecessors, successors, quiet: false },
            1 => RingRequest::Routed { route: route(origin), what: Routed::Join },
            2 => RingRequest::Quit { predecessors, successors },
            3 => RingRequest::Exit { predecessors: successors },
            4 => RingRequest::Update { successors, joined: Some(nobody) },
            5 => RingRequest::Abrupt { peer: other },
            _ => {
                let pong = RingResponse::Pong { peer: nobody, predecessors, successors };
                return self.slip(name, victim, Message::response(magic, RequestKind::Ring, Response::Ring(pong)));
            }
        };
        self.say_on_ring((name, slot), victim, Sender::member(named.id, named.addr), Request::Ring(request));
    }

    /// An id that a peer of this ring may have.
    fn some_id(&mut self) -> Id {
        if self.rules.config.named_files {
            Id::from_u64(self.rng.random_range(0..256))
        } else {
            Id::random(&mut self.rng)
        }
    }

    /// A request in its carrier: a datagram from the first of these, a line from the second.
    fn say_on_ring(&mut self, (by_datagram, by_line): (usize, usize), to: usize, sender: Sender, request: Request) {
        let via = Dialect::Ring.carrier(&request);
        let message = Message::request(self.rng.next_u64() >> 11, sender, request);
        match via {
            Via::Udp => self.slip(by_datagram, to, message),
            Via::Tcp => self.send_line((by_line, to), Duration::ZERO, Purpose::Upkeep, message),
        }
    }

    /// Requests of the ring under an id that no peer had before.
    fn flood_on_ring(&mut self, slot: usize, victim: usize) {
        let (id, key) = (self.some_id(), self.some_id());
        let me = Peer::new(id, self.peers[slot].me.addr);
        let ping = RingRequest::Ping { predecessors: vec![me], successors: vec![me], quiet: false };
        let lookup = RingRequest::Routed { route: route(me), what: Routed::Lookup { key } };
        let join = RingRequest::Routed { route: route(me), what: Routed::Join };
        let wishes = [
            Request::Ring(ping),
            Request::Ring(lookup),
            Request::Ring(join),
            Request::FindValue { key },
            Request::Store { key, size: Some(1 << 20), leases: Vec::new() },
        ];
        // No peer asks for blocks in a classroom.
        let wished = if self.rules.config.named_files { 3 } else { wishes.len() };
        for wish in wishes.into_iter().take(wished) {
            self.say_on_ring((slot, slot), victim, Sender::member(me.id, me.addr), wish);
        }
    }

    /// Requests under an id that no peer had before.
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

    /// The same on the ring, to each as one of its neighbours.
    fn flap_on_ring(&mut self, slot: usize, up: &[usize]) {
        let (me, leaves) = (self.peers[slot].me, self.is_away(slot));
        for &known in up {
            let (predecessors, successors) = (vec![self.peers[known].me], vec![self.peers[known].me]);
            let request = match leaves {
                true => RingRequest::Quit { predecessors, successors },
                false => RingRequest::Ping { predecessors, successors, quiet: false },
            };
            self.say_on_ring((slot, slot), known, Sender::member(me.id, me.addr), Request::Ring(request));
        }
    }
}

/// The way of a request that has just set out.
fn route(origin: Peer) -> Route {
    Route::of(origin)
}
