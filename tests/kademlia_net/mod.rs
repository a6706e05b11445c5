//! A network of Kademlia overlays without nodes: questions travel, answers come back, silence becomes failure.
//!
//! Time is virtual and everything happens in one order, so a test that fails once fails always.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use kadring::id::{Id, Key};
use kadring::overlay::kademlia::Kademlia;
use kadring::overlay::{Asker, Cause, Effect, Entrances, Goal, Incoming, LookupId, Overlay, Tag, Target};
use kadring::peer::Peer;
use kadring::time::Time;
use kadring::wire::{Request, Response, Sender, Via};
use rand::SeedableRng;
use rand::rngs::StdRng;

/// One way between two peers.
pub(crate) const LATENCY: Duration = Duration::from_millis(5);

/// How long a try waits for an answer; each further try waits twice as long.
pub(crate) const TIMEOUT: Duration = Duration::from_millis(500);

/// Names in the answer to an address that has not shown that it receives.
const NAMES_FOR_STRANGERS: usize = 3;

/// One call in so many is followed by a look at every invariant.
const CHECKED: u64 = 7;

/// What a peer that is no overlay says to a request; none is silence.
pub(crate) type Script = Box<dyn FnMut(&Request) -> Option<Response>>;

/// Something that travels, or a silence that ends.
enum Parcel {
    Request { from: Sender, to: SocketAddr, request: Request, tag: Tag },
    Response { to: SocketAddr, from: SocketAddr, tag: Tag, response: Response, sent: Time },
    Silence { to: SocketAddr, tag: Tag, asked: Target },
}

/// A question that has neither an answer nor failed.
struct Open {
    sent: Time,
}

/// What a lookup found.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) peers: Vec<Peer>,
    pub(crate) hops: u32,
    pub(crate) at: Time,
}

/// What was asked of whom.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Asked {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) request: Request,
    pub(crate) at: Time,
}

#[derive(Default)]
pub(crate) struct Net {
    pub(crate) now: Time,
    pub(crate) peers: BTreeMap<SocketAddr, Kademlia>,
    /// Peers that are no overlays.
    pub(crate) scripted: BTreeMap<SocketAddr, Script>,
    /// Addresses that are cut off: nothing comes in or goes out.
    pub(crate) dead: BTreeSet<SocketAddr>,
    /// Addresses that answer this much later than others.
    pub(crate) slow: BTreeMap<SocketAddr, Duration>,
    /// Peers on the far side of a cut.
    pub(crate) island: BTreeSet<SocketAddr>,
    /// Peers that say goodbye with every request.
    pub(crate) leaving: BTreeSet<SocketAddr>,
    pub(crate) found: BTreeMap<LookupId, Found>,
    pub(crate) holders: BTreeMap<LookupId, Vec<Peer>>,
    pub(crate) joined: BTreeMap<SocketAddr, Vec<usize>>,
    /// Who came up and down, in whose eyes.
    pub(crate) news: Vec<(SocketAddr, Effect)>,
    pub(crate) asked: Vec<Asked>,
    guests: BTreeSet<SocketAddr>,
    validated: BTreeSet<(SocketAddr, SocketAddr)>,
    under_way: BTreeMap<(Time, u64), Parcel>,
    open: BTreeMap<(SocketAddr, Tag), Open>,
    /// When each overlay wants to be called.
    wakes: BTreeMap<SocketAddr, Time>,
    alarms: BTreeSet<(Time, SocketAddr)>,
    calls: u64,
    next: u64,
}

pub(crate) fn addr(n: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, (n >> 8) as u8, n as u8], 4000))
}

/// A peer with an id of its own, drawn from its number.
pub(crate) fn peer(n: u16) -> Peer {
    Peer::new(Id::of(&n.to_le_bytes()), addr(n))
}

/// An id that shares exactly `prefix` bits with `id`; `salt` tells several apart.
pub(crate) fn id_sharing(id: &Id, prefix: usize, salt: u16) -> Id {
    let mut rng = StdRng::seed_from_u64(u64::from(salt));
    let mut other = Id::random(&mut rng);
    for bit in 0..=prefix {
        if (other.bit(bit) == id.bit(bit)) == (bit == prefix) {
            other = other.flip_bit(bit);
        }
    }
    other
}

/// The `count` nearest to `key` among `peers`.
pub(crate) fn nearest(peers: impl IntoIterator<Item = Peer>, key: &Key, count: usize) -> Vec<Peer> {
    let mut peers: Vec<Peer> = peers.into_iter().collect();
    peers.sort_by_cached_key(|peer| peer.id.distance(key));
    peers.truncate(count);
    peers
}

impl Net {
    pub(crate) fn add(&mut self, peer: Peer, guest: bool) {
        self.add_overlay(Kademlia::new(peer, *peer.id.as_bytes(), guest), guest);
    }

    pub(crate) fn add_overlay(&mut self, overlay: Kademlia, guest: bool) {
        let addr = overlay.me().addr;
        if guest {
            self.guests.insert(addr);
        }
        self.peers.insert(addr, overlay);
    }

    /// `count` peers that join one after the other, each through the first.
    pub(crate) fn grown(count: u16) -> Self {
        let mut net = Self::default();
        for n in 1..=count {
            net.add(peer(n), false);
            let known = if n == 1 { vec![] } else { vec![addr(1)] };
            net.join(addr(n), &known);
            net.run_for(Duration::from_millis(300));
        }
        net.run_for(Duration::from_secs(5));
        net
    }

    /// Calls the overlay at `at`, and takes care of its effects.
    pub(crate) fn call(&mut self, at: SocketAddr, what: impl FnOnce(&mut Kademlia, Time, &mut Vec<Effect>)) {
        let mut effects = Vec::new();
        let overlay = self.peers.get_mut(&at).expect("the peer exists");
        what(overlay, self.now, &mut effects);
        self.calls += 1;
        if self.calls.is_multiple_of(CHECKED) {
            overlay.check().expect("the overlay is sound");
        }
        if let Some(wake) = self.wakes.remove(&at) {
            self.alarms.remove(&(wake, at));
        }
        if let Some(wake) = overlay.next_tick() {
            self.wakes.insert(at, wake);
            self.alarms.insert((wake, at));
        }
        for effect in effects {
            self.settle(at, effect);
        }
    }

    pub(crate) fn join(&mut self, at: SocketAddr, known: &[SocketAddr]) {
        let entrances = Entrances { known, ..Entrances::default() };
        self.call(at, |overlay, now, out| overlay.join(now, &entrances, out));
    }

    /// Looks up `key` from the peer at `at`, and waits for the result.
    pub(crate) fn look_up(&mut self, at: SocketAddr, key: Key, goal: Goal) -> (LookupId, Found) {
        self.next += 1;
        let lookup = self.next;
        self.call(at, |overlay, now, out| overlay.lookup(now, lookup, key, goal, out));
        let limit = self.now + Duration::from_secs(60);
        while !self.found.contains_key(&lookup) {
            assert!(self.step(limit), "the lookup ends");
        }
        (lookup, self.found[&lookup].clone())
    }

    fn post(&mut self, after: Duration, parcel: Parcel) {
        self.next += 1;
        self.under_way.insert((self.now + after, self.next), parcel);
    }

    fn settle(&mut self, at: SocketAddr, effect: Effect) {
        match effect {
            Effect::Ask { to, request, tag, tries, .. } => {
                self.asked.push(Asked { from: at, to: to.addr, request: request.clone(), at: self.now });
                let before = self.open.insert((at, tag), Open { sent: self.now });
                assert!(before.is_none(), "a tag is used once");
                let me = self.peers[&at].me();
                let from = Sender { peer: me, guest: self.guests.contains(&at), leaving: self.leaving.contains(&at) };
                self.post(LATENCY, Parcel::Request { from, to: to.addr, request, tag });
                let patience = TIMEOUT * ((1 << tries) - 1);
                self.post(patience, Parcel::Silence { to: at, tag, asked: to });
            }
            Effect::Respond { to: Asker { addr: to, magic, .. }, mut response, .. } => {
                if let Response::Nodes(nodes) = &mut response
                    && !self.validated.contains(&(at, to))
                {
                    nodes.truncate(NAMES_FOR_STRANGERS);
                }
                self.respond(at, to, magic, response);
            }
            Effect::Holder { lookup, peer } => self.holders.entry(lookup).or_default().push(peer),
            Effect::Found { lookup, peers, hops, .. } => {
                let before = self.found.insert(lookup, Found { peers, hops, at: self.now });
                assert!(before.is_none(), "a lookup ends once");
            }
            Effect::Joined { peers } => self.joined.entry(at).or_default().push(peers),
            Effect::PeerUp(_) | Effect::PeerDown(_) => self.news.push((at, effect)),
            Effect::Forward { .. } | Effect::Ring(_) => panic!("Kademlia forwards nothing"),
        }
    }

    fn respond(&mut self, from: SocketAddr, to: SocketAddr, tag: Tag, response: Response) {
        let sent = self.open.get(&(to, tag)).map_or(self.now, |open| open.sent);
        let delay = LATENCY + self.slow.get(&from).copied().unwrap_or_default();
        self.post(delay, Parcel::Response { to, from, tag, response, sent });
    }

    fn is_cut(&self, a: &SocketAddr, b: &SocketAddr) -> bool {
        let apart = self.island.contains(a) != self.island.contains(b);
        apart || self.dead.contains(a) || self.dead.contains(b)
    }

    fn deliver(&mut self, parcel: Parcel) {
        match parcel {
            Parcel::Request { from, to, request, tag } => {
                let source = from.peer.addr;
                if self.is_cut(&source, &to) {
                    return;
                }
                if let Some(script) = self.scripted.get_mut(&to) {
                    if let Some(response) = script(&request) {
                        self.respond(to, source, tag, response);
                    }
                } else if self.peers.contains_key(&to) {
                    let validated = self.validated.contains(&(to, source));
                    let allowance = (!validated).then_some(usize::MAX);
                    let asker = Asker { addr: source, via: Via::Udp, magic: tag, allowance };
                    let incoming = Incoming { asker, sender: Some(from) };
                    let cause = Cause::Request { from: &incoming, request: &request };
                    self.call(to, |overlay, now, out| overlay.on(now, cause, out));
                }
            }
            Parcel::Response { to, from, tag, response, sent } => {
                if !self.is_cut(&to, &from) && self.open.remove(&(to, tag)).is_some() {
                    self.validated.insert((to, from));
                    let rtt = self.now.since(sent);
                    self.call(to, |overlay, now, out| {
                        overlay.on(now, Cause::Alive { addr: from, rtt }, out);
                        overlay.on(now, Cause::Answer { tag, from, by: None, response: &response }, out);
                    });
                }
            }
            Parcel::Silence { to, tag, asked } => {
                if self.open.remove(&(to, tag)).is_some() {
                    self.call(to, |overlay, now, out| overlay.on(now, Cause::NoAnswer { tag, to: asked }, out));
                }
            }
        }
    }

    /// Does the next thing that happens by `limit`. Whether there was one.
    pub(crate) fn step(&mut self, limit: Time) -> bool {
        let parcel = self.under_way.first_key_value().map(|(&(at, _), _)| at);
        let tick =
            self.alarms.iter().find(|(_, addr)| !self.dead.contains(addr) && self.peers.contains_key(addr)).copied();
        match (parcel, tick) {
            (parcel, Some((at, addr))) if at <= limit && parcel.is_none_or(|parcel| at <= parcel) => {
                self.now = self.now.max(at);
                self.call(addr, |overlay, now, out| overlay.on(now, Cause::Tick, out));
                let next = self.peers[&addr].next_tick();
                assert!(next.is_none_or(|next| next > self.now), "{addr} does what is due");
                true
            }
            (Some(at), _) if at <= limit => {
                self.now = self.now.max(at);
                if let Some((_, parcel)) = self.under_way.pop_first() {
                    self.deliver(parcel);
                }
                true
            }
            _ => false,
        }
    }

    pub(crate) fn run_for(&mut self, duration: Duration) {
        let limit = self.now + duration;
        while self.step(limit) {}
        self.now = limit;
    }

    /// A peer that is no overlay asks the peer at `to` something.
    pub(crate) fn introduce(&mut self, from: Sender, to: SocketAddr) {
        self.request(from, to, &Request::FindNode { id: from.peer.id });
    }

    /// A request of somebody that is no overlay.
    pub(crate) fn request(&mut self, from: Sender, to: SocketAddr, request: &Request) {
        let incoming = Incoming { asker: Asker::connected(from.peer.addr, 0), sender: Some(from) };
        self.call(to, |overlay, now, out| overlay.on(now, Cause::Request { from: &incoming, request }, out));
    }

    /// Lets `peer` answer every ping with its name and every other question with `names`.
    pub(crate) fn script(&mut self, peer: Peer, names: Vec<Peer>) {
        self.scripted.insert(
            peer.addr,
            Box::new(move |request| {
                Some(match request {
                    Request::Ping => Response::Node(peer),
                    _ => Response::Nodes(names.clone()),
                })
            }),
        );
    }

    /// A scripted peer introduces itself to the peer at `to`, and is pinged.
    pub(crate) fn meet(&mut self, peer: Peer, to: SocketAddr) {
        self.script(peer, vec![]);
        self.introduce(Sender::member(peer.id, peer.addr), to);
        self.run_for(Duration::from_millis(100));
    }

    /// The requests for `to` since the `since`th of all.
    pub(crate) fn asked_of(&self, to: SocketAddr, since: usize) -> Vec<Request> {
        self.asked[since..].iter().filter(|asked| asked.to == to).map(|asked| asked.request.clone()).collect()
    }

    pub(crate) fn knows(&self, at: SocketAddr, peer: &Peer) -> bool {
        self.peers[&at].peers().contains(peer)
    }
}
