//! A small network of overlays in one thread: virtual time, chosen losses, deaths, delays and cuts. It does for each
//! overlay what the node does: request ids, repeated datagrams, answers to blocks that are held, short answers to
//! strangers, undeliverable messages. (The simulator's world holds whole nodes, which ask and answer for themselves;
//! here a test stands in the node's place, sees each question, and speaks to one overlay alone.)

mod travel;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use kadring::id::{Id, Key};
use kadring::overlay::kademlia::Kademlia;
use kadring::overlay::ring::Ring;
use kadring::overlay::{Cause, Effect, Entrances, Goal, LookupId, Overlay, Tag, Target};
use kadring::peer::Peer;
use kadring::time::Time;
use kadring::wire::{Request, RequestKind, Response, Sender, Via};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// One way through the network.
pub(crate) const LATENCY: Duration = Duration::from_millis(2);

/// Names in a datagram to an address that has not shown that it receives.
const NAMES_FOR_STRANGERS: usize = 3;

/// An overlay in the net.
pub(crate) trait Inside {
    fn overlay(&self) -> &dyn Overlay;
    fn overlay_mut(&mut self) -> &mut dyn Overlay;
}

macro_rules! inside {
    ($($overlay:ty),+) => {
        $(impl Inside for $overlay {
            fn overlay(&self) -> &dyn Overlay {
                self
            }
            fn overlay_mut(&mut self) -> &mut dyn Overlay {
                self
            }
        })+
    };
}

inside!(Kademlia, Ring);

impl Inside for Box<dyn Overlay> {
    fn overlay(&self) -> &dyn Overlay {
        &**self
    }
    fn overlay_mut(&mut self) -> &mut dyn Overlay {
        &mut **self
    }
}

struct Member<O> {
    inside: O,
    guest: bool,
    leaving: bool,
    validated: BTreeSet<SocketAddr>,
    held: BTreeSet<Key>,
    /// The time of its entry in the alarms.
    wake: Option<Time>,
}

/// A peer that is no overlay: it answers pings with its name, and all else with these names.
struct Scripted {
    me: Peer,
    names: Vec<Peer>,
}

/// A question that an overlay asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Asked {
    pub(crate) at: Time,
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) request: Request,
    pub(crate) tries: u8,
}

struct Waiting {
    by: SocketAddr,
    to: Target,
    tag: Tag,
    request: Request,
    tries: u8,
    timeout: Duration,
    from_anyone: bool,
}

enum Arrival {
    Request { from: SocketAddr, sender: Sender, to: SocketAddr, via: Via, magic: u64, request: Request },
    Response { from: SocketAddr, to: SocketAddr, magic: u64, kind: RequestKind, response: Response },
    Undeliverable { by: SocketAddr, to: SocketAddr, forwarded: Option<(u64, Request)> },
    Overdue { magic: u64 },
}

/// The network. Members are named by their addresses.
pub(crate) struct Net<O> {
    pub(crate) now: Time,
    /// Chance that a datagram is lost.
    pub(crate) loss: f64,
    /// A datagram is sent again after this, then twice, then four times this.
    pub(crate) timeout: Duration,
    /// What the overlays told, with who and when: all but questions and answers.
    pub(crate) told: Vec<(Time, SocketAddr, Effect)>,
    /// What the overlays asked, once for all tries.
    pub(crate) asked: Vec<Asked>,
    /// Where answers went, over whatever.
    pub(crate) answers: Vec<SocketAddr>,
    /// Messages sent.
    pub(crate) sent: u64,
    members: BTreeMap<SocketAddr, Member<O>>,
    scripted: BTreeMap<SocketAddr, Scripted>,
    /// Addresses where the machine is gone: a connection there is not even refused.
    vanished: BTreeSet<SocketAddr>,
    /// How much later than others these addresses answer.
    slow: BTreeMap<SocketAddr, Duration>,
    /// When each overlay wants to be called.
    alarms: BTreeSet<(Time, SocketAddr)>,
    /// Which side of a cut each address is on; messages stay on one side.
    sides: BTreeMap<SocketAddr, u8>,
    queue: BTreeMap<(Time, u64), Arrival>,
    waiting: BTreeMap<u64, Waiting>,
    next: u64,
    /// The member that acted last.
    acted: Option<SocketAddr>,
    next_lookup: LookupId,
    rng: StdRng,
}

/// The address of member number `number`.
pub(crate) fn addr(number: u32) -> SocketAddr {
    let [a, b, c, d] = number.to_be_bytes();
    ([10 | a, b, c, d], 4000).into()
}

impl<O: Inside> Net<O> {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            now: Time::ZERO,
            loss: 0.0,
            timeout: Duration::from_millis(100),
            told: Vec::new(),
            asked: Vec::new(),
            answers: Vec::new(),
            sent: 0,
            members: BTreeMap::new(),
            scripted: BTreeMap::new(),
            vanished: BTreeSet::new(),
            slow: BTreeMap::new(),
            alarms: BTreeSet::new(),
            sides: BTreeMap::new(),
            queue: BTreeMap::new(),
            waiting: BTreeMap::new(),
            next: 0,
            acted: None,
            next_lookup: 0,
            rng: StdRng::seed_from_u64(seed),
        }
    }

    /// Adds a member without telling it anything.
    pub(crate) fn add(&mut self, inside: O, guest: bool) -> SocketAddr {
        let at = inside.overlay().me().addr;
        let (validated, held) = (BTreeSet::new(), BTreeSet::new());
        let member = Member { inside, guest, leaving: false, validated, held, wake: None };
        assert!(self.members.insert(at, member).is_none(), "an address each");
        self.set_alarm(at);
        at
    }

    /// Puts a peer that is no overlay at its address: it answers pings with its name, and all else with `names`.
    pub(crate) fn script(&mut self, me: Peer, names: Vec<Peer>) {
        self.scripted.insert(me.addr, Scripted { me, names });
    }

    /// The scripted peer at this address answers nothing any more.
    pub(crate) fn silence(&mut self, at: SocketAddr) {
        assert!(self.scripted.remove(&at).is_some(), "a scripted peer");
    }

    /// The peer at this address answers this much later than others.
    pub(crate) fn slow_down(&mut self, at: SocketAddr, by: Duration) {
        self.slow.insert(at, by);
    }

    /// Adds a member and has it join through `known`.
    pub(crate) fn start(&mut self, inside: O, guest: bool, known: &[SocketAddr]) -> SocketAddr {
        let at = self.add(inside, guest);
        self.join(at, known);
        at
    }

    pub(crate) fn join(&mut self, at: SocketAddr, known: &[SocketAddr]) {
        let entrances = Entrances { known, ..Entrances::default() };
        self.with(at, |overlay, now, out| overlay.join(now, &entrances, out));
    }

    /// Whether a member is at this address.
    pub(crate) fn has(&self, at: SocketAddr) -> bool {
        self.members.contains_key(&at)
    }

    pub(crate) fn inside(&self, at: SocketAddr) -> &O {
        &self.members[&at].inside
    }

    pub(crate) fn overlay(&self, at: SocketAddr) -> &dyn Overlay {
        self.members[&at].inside.overlay()
    }

    pub(crate) fn fill(&mut self, mut fill: impl FnMut(&mut O, Time)) {
        let now = self.now;
        self.members.values_mut().for_each(|member| fill(&mut member.inside, now));
        let all: Vec<SocketAddr> = self.members.keys().copied().collect();
        all.into_iter().for_each(|at| self.set_alarm(at));
    }

    pub(crate) fn knows(&self, at: SocketAddr, peer: &Peer) -> bool {
        self.overlay(at).peers().contains(peer)
    }

    /// How many peers a member knew when it told that it had joined, each time.
    pub(crate) fn joined(&self, at: SocketAddr) -> Vec<usize> {
        let own = self.told.iter().filter(|(_, who, _)| *who == at);
        own.filter_map(|(_, _, effect)| if let Effect::Joined { peers, .. } = effect { Some(*peers) } else { None })
            .collect()
    }

    /// Members that are no guests, in the order of ids.
    pub(crate) fn peers(&self) -> Vec<Peer> {
        let members = self.members.values().filter(|member| !member.guest);
        let mut peers: Vec<Peer> = members.map(|member| member.inside.overlay().me()).collect();
        peers.sort_by_key(|peer| peer.id);
        peers
    }

    pub(crate) fn hold(&mut self, at: SocketAddr, key: Key) {
        self.members.get_mut(&at).expect("a member").held.insert(key);
    }

    /// A member is gone, at once and silently.
    pub(crate) fn kill(&mut self, at: SocketAddr) -> O {
        let gone = self.members.remove(&at).expect("a member");
        self.waiting.retain(|_, waiting| waiting.by != at);
        self.alarms.retain(|(_, who)| *who != at);
        gone.inside
    }

    /// A member is gone with its machine: nothing that is sent there ever fails or is answered.
    pub(crate) fn vanish(&mut self, at: SocketAddr) {
        self.kill(at);
        self.vanished.insert(at);
    }

    /// The machine of the member at `from` is at `to` from now on. The member is told nothing.
    pub(crate) fn renumber(&mut self, from: SocketAddr, to: SocketAddr) {
        let member = self.members.remove(&from).expect("a member");
        assert!(self.members.insert(to, member).is_none(), "an address each");
        self.waiting.values_mut().filter(|waiting| waiting.by == from).for_each(|waiting| waiting.by = to);
        self.alarms.retain(|(_, who)| *who != from);
        self.set_alarm(to);
        self.vanished.insert(from);
    }

    /// A member says goodbye, and stays for now: its neighbours are yet to hear it.
    pub(crate) fn say_goodbye(&mut self, at: SocketAddr) {
        self.members.get_mut(&at).expect("a member").leaving = true;
        self.with(at, |overlay, now, out| overlay.leave(now, out));
    }

    /// A member says goodbye and is gone.
    pub(crate) fn leave(&mut self, at: SocketAddr) {
        self.say_goodbye(at);
        self.kill(at);
    }

    /// Cuts the network: only members on the same side reach each other.
    pub(crate) fn cut(&mut self, side: impl Fn(&Peer) -> u8) {
        self.sides = self.peers().iter().map(|peer| (peer.addr, side(peer))).collect();
    }

    pub(crate) fn mend(&mut self) {
        self.sides.clear();
    }

    pub(crate) fn lookup(&mut self, at: SocketAddr, key: Key, goal: Goal) -> LookupId {
        let lookup = self.next_lookup;
        self.next_lookup += 1;
        self.with(at, |overlay, now, out| overlay.lookup(now, lookup, key, goal, out));
        lookup
    }

    pub(crate) fn cancel(&mut self, at: SocketAddr, lookup: LookupId) {
        self.with(at, |overlay, _, _| overlay.cancel(lookup));
    }

    /// Looks up and waits for the end: the peers and the hops.
    pub(crate) fn find(&mut self, at: SocketAddr, key: Key) -> (Vec<Peer>, u32) {
        let lookup = self.lookup(at, key, Goal::Peers);
        for _ in 0..600 {
            if let Some(found) = self.found(lookup) {
                return found;
            }
            self.run(Duration::from_millis(100));
        }
        panic!("the lookup never ended");
    }

    /// What a lookup found, if it has ended.
    pub(crate) fn found(&self, id: LookupId) -> Option<(Vec<Peer>, u32)> {
        self.told.iter().rev().find_map(|(_, _, effect)| match effect {
            Effect::Found { lookup, found } if *lookup == id => Some((found.peers.clone(), found.hops)),
            _ => None,
        })
    }

    /// Hands a request to a member as if it had come from `from`.
    pub(crate) fn inject(&mut self, from: SocketAddr, sender: Sender, to: SocketAddr, via: Via, request: Request) {
        let magic = self.magic();
        self.push(LATENCY, Arrival::Request { from, sender, to, via, magic, request });
    }

    /// Somebody at `from` answers what the member at `to` asked last of those that anybody may answer.
    pub(crate) fn answer(&mut self, to: SocketAddr, from: SocketAddr, response: &Response) {
        let asked = self.waiting.iter().filter(|(_, waiting)| waiting.by == to && waiting.from_anyone);
        let last = asked.max_by_key(|(_, waiting)| waiting.tag);
        let (magic, tag) = last.map(|(magic, waiting)| (*magic, waiting.tag)).expect("it asked something");
        self.waiting.remove(&magic);
        self.with(to, |overlay, now, out| overlay.on(now, Cause::Answer { tag, from, by: None, response }, out));
    }

    /// Lets an overlay do something, and does what it wants done.
    pub(crate) fn with(&mut self, at: SocketAddr, act: impl FnOnce(&mut dyn Overlay, Time, &mut Vec<Effect>)) {
        let Some(member) = self.members.get_mut(&at) else { return };
        self.acted = Some(at);
        let mut out = Vec::new();
        act(member.inside.overlay_mut(), self.now, &mut out);
        if let Err(wrong) = member.inside.overlay().check() {
            panic!("at {} {}: {wrong}", self.now, member.inside.overlay().me());
        }
        self.set_alarm(at);
        for effect in out {
            self.perform(at, effect);
        }
    }

    fn set_alarm(&mut self, at: SocketAddr) {
        let Some(member) = self.members.get_mut(&at) else { return };
        let next = member.inside.overlay().next_tick();
        let before = std::mem::replace(&mut member.wake, next);
        before.map(|due| self.alarms.remove(&(due, at)));
        self.alarms.extend(next.map(|due| (due, at)));
    }

    /// Lets `span` pass.
    pub(crate) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while self.step(end) {}
        self.now = end;
    }

    /// Lets `span` pass, and looks at the network after each thing that happens, and at the member that acted last.
    pub(crate) fn run_and_look(&mut self, span: Duration, mut look: impl FnMut(&Self, Option<SocketAddr>)) {
        let end = self.now + span;
        while self.step(end) {
            look(self, self.acted);
        }
        self.now = end;
    }

    /// Does the next thing that is due by `end`.
    fn step(&mut self, end: Time) -> bool {
        let arrival = self.queue.first_key_value().map(|(&(at, _), _)| at);
        let tick = self.alarms.first().copied();
        if let Some((due, at)) = tick.filter(|(due, _)| *due <= end && arrival.is_none_or(|arrival| *due <= arrival)) {
            self.now = self.now.max(due);
            self.with(at, |overlay, now, out| {
                overlay.on(now, Cause::Tick, out);
                assert!(overlay.next_tick().is_none_or(|next| next > now), "a tick that is done is not due again");
            });
            return true;
        }
        match self.queue.first_entry().filter(|entry| entry.key().0 <= end) {
            Some(entry) => {
                self.now = self.now.max(entry.key().0);
                let arrival = entry.remove();
                self.arrive(arrival);
                true
            }
            None => false,
        }
    }

    fn push(&mut self, wait: Duration, arrival: Arrival) {
        self.next += 1;
        self.queue.insert((self.now + wait, self.next), arrival);
    }

    fn magic(&mut self) -> u64 {
        self.rng.random_range(0..1 << 53)
    }

    fn is_there(&self, from: SocketAddr, to: SocketAddr) -> bool {
        let anybody = self.members.contains_key(&to) || self.scripted.contains_key(&to);
        anybody && self.sides.get(&from) == self.sides.get(&to)
    }
}

/// The peer first met clockwise from `key`, and those that follow it.
pub(crate) fn clockwise(peers: &[Peer], key: &Id) -> Vec<Peer> {
    let mut sorted = peers.to_vec();
    sorted.sort_by_key(|peer| (peer.id < *key, peer.id));
    sorted
}

/// The peers nearest to `key` by XOR, nearest first.
pub(crate) fn by_distance(peers: &[Peer], key: &Id) -> Vec<Peer> {
    let mut sorted = peers.to_vec();
    sorted.sort_by_key(|peer| peer.id.distance(key));
    sorted
}
