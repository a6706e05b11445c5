//! `renew` and `delete`: the holders of files hear that a lease lasts longer or has ended.
//!
//! A lease is on all blocks of its file, so a peer hears of it once, however many of them it holds; and of several
//! leases at a time: once they fill a message, it is to hear of no other, or all lists are read. Holders that are not
//! reached, or not looked for, hear of it later: when they offer a block, or are offered one. A block of which no peer
//! that heard [is known to have it](super::coverage) is looked for once more; where no holder is found, it counts as
//! missing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use super::coverage::{Concern, Concerns, Coverage, Listener};
use super::walk::{Walk, WalkItem, Walked};
use crate::id::Key;
use crate::lease::{LeaseNews, MAX_LEASES, Secret};
use crate::node::command::{Command, CommandId, LeaseChange};
use crate::node::desk::Desk;
use crate::node::files::task::{Task, Tasks};
use crate::node::files::{Flow, GOES_ON, OVER};
use crate::node::job::{Outcome, Urgency};
use crate::node::notice::{Answer, FailureKind};
use crate::node::refusal::Refusal;
use crate::node::ticket::{About, Answered, PartId, Reply};
use crate::node::trouble::Trouble;
use crate::overlay::Found;
use crate::peer::Peer;
use crate::time::Time;
use crate::wire::{Request, Response};

/// Requests to one peer without an answer, at first and at most: each has something written down there. One more is
/// allowed with each that it answers, and half as many when it is busy.
const REQUESTS_AT_FIRST: usize = 2;
const MOST_AT_A_TIME: usize = 16;

/// Places all over the network in which peers are looked up that may hold anything. Each finds the peers nearest to it.
const TOLD_PLACES: u8 = 64;

/// The key of one of them: they stand at even distances.
fn place_in_network(place: u8) -> Key {
    let mut bytes = [0; 32];
    bytes[0] = place * (u8::MAX / TOLD_PLACES + 1);
    Key::from_bytes(bytes)
}

/// The commands under way.
pub(in crate::node) type LeaseChanges = Tasks<Telling>;

/// A command under way.
pub(in crate::node) struct Telling {
    command: CommandId,
    since: Time,
    /// What is told, each thing once.
    changes: Vec<LeaseChange>,
    /// What concerns a block.
    concerns: Vec<Concern>,
    walk: Walk,
    coverage: Coverage,
    heard: BTreeMap<SocketAddr, Listener>,
    /// Requests, and notes of this peer's own, without an answer: who is told, and of which changes.
    asked: BTreeMap<u64, (SocketAddr, Vec<usize>)>,
    /// What this peer will have [counted](Self::count) once it is written down.
    noting: BTreeMap<u64, (u32, u32)>,
    copies: u64,
    free: u64,
    missing: u64,
}

impl Task for Telling {
    fn begin(desk: &mut Desk, id: CommandId, command: Command) -> Option<Self> {
        let mut telling = match command {
            Command::Lease { changes, listed, copies } => Self::of_files(desk, id, changes, &listed, copies),
            Command::Disown { secrets } => Self::disowning(desk, id, secrets),
            _ => return None,
        };
        telling.go_on(desk).is_continue().then_some(telling)
    }

    fn command(&self) -> CommandId {
        self.command
    }

    fn on(&mut self, desk: &mut Desk, about: About, reply: Reply) -> Flow {
        match about {
            About::Item(number) if self.walk.is_at(number) => {
                let walked = self.walk.on(desk, number, reply);
                self.on_walked(desk, number, walked);
            }
            About::Item(number) => self.on_told(desk, number, reply),
            About::Around(number) => {
                let walked = self.walk.on_around(desk, number, reply);
                self.on_walked(desk, number, walked);
            }
            About::Whole | About::Block(_) | About::AroundBlock(_) => {}
        }
        self.go_on(desk)
    }

    fn on_tick(&mut self, desk: &mut Desk) -> Flow {
        self.walk.on_tick(desk);
        self.go_on(desk)
    }

    fn next_wake(&self, _desk: &Desk) -> Option<Time> {
        self.walk.next_wake()
    }

    /// What this peer itself has heard is still written down.
    fn end(&mut self, desk: &mut Desk, kind: FailureKind, reason: &str) -> Flow {
        self.walk.end(desk);
        desk.fail(self.command, kind, format!("{reason} before all holders had heard of it; give it again"));
        OVER
    }
}

impl Telling {
    fn new(
        desk: &Desk,
        command: CommandId,
        changes: Vec<LeaseChange>,
        concerns: Vec<Concern>,
        queue: VecDeque<WalkItem>,
    ) -> Self {
        Self {
            command,
            since: desk.now(),
            changes,
            concerns,
            walk: Walk::new(PartId::LeaseChanges, command, queue),
            coverage: Coverage::default(),
            heard: BTreeMap::new(),
            asked: BTreeMap::new(),
            noting: BTreeMap::new(),
            copies: 0,
            free: 0,
            missing: 0,
        }
    }

    /// Tells of `changes`, and reads no list that is among `listed`; of what ends there should be so many copies.
    fn of_files(
        desk: &Desk,
        command: CommandId,
        changes: Vec<(Key, LeaseChange)>,
        listed: &BTreeSet<Key>,
        copies: u8,
    ) -> Self {
        let Concerns { changes, concerns, keys } = Concerns::new(&changes, desk.config().replicas, copies);
        let queue =
            keys.into_iter().map(|(key, concern)| WalkItem::new(concern, (key, 0), !listed.contains(&key))).collect();
        let mut telling = Self::new(desk, command, changes, concerns, queue);
        if !desk.config().guest {
            // What is kept here may be kept nowhere else.
            (0..telling.changes.len()).for_each(|change| telling.note(desk.me(), change));
        }
        telling
    }

    /// Tells all peers that are known, and all that are found all over the network.
    fn disowning(desk: &Desk, command: CommandId, secrets: Vec<Secret>) -> Self {
        let places = (0..TOLD_PLACES).flat_map(|place| (0..secrets.len()).map(move |change| (change, place)));
        let queue = places.map(|(change, place)| WalkItem::new(change, (place_in_network(place), 0), false)).collect();
        let concerns = (0..secrets.len()).map(Concern::of_no_block).collect();
        let changes = secrets.into_iter().map(LeaseChange::Ended).collect();
        let mut telling = Self::new(desk, command, changes, concerns, queue);
        let me = (!desk.config().guest).then(|| desk.me());
        for peer in desk.peers().into_iter().chain(me) {
            (0..telling.changes.len()).for_each(|change| telling.note(peer, change));
        }
        telling
    }

    fn on_walked(&mut self, desk: &mut Desk, number: u64, walked: Walked) {
        match walked {
            Walked::At { concern, key, found: Found { peers, unreached, .. }, .. } => {
                let Concern { changes, copies } = self.concerns[concern].clone();
                if copies > 0 {
                    let first = peers.iter().take(copies).map(|peer| peer.addr).collect();
                    self.coverage.should_hold(concern, key, first);
                }
                // A peer that was late a moment ago may have been stopped, and hear it yet.
                for peer in peers.into_iter().chain(unreached) {
                    changes.iter().for_each(|change| self.note(peer, *change));
                }
                self.walk.read(desk, number);
            }
            // Others may stand between it and the block's key.
            Walked::Held { concern, by, .. } => {
                self.concerns[concern].changes.clone().into_iter().for_each(|change| self.note(by, change));
            }
            Walked::Missing { .. } => self.missing += 1,
            Walked::Nothing => {}
        }
    }

    /// A peer was told, or this peer has written it down.
    fn on_told(&mut self, desk: &mut Desk, number: u64, reply: Reply) {
        match reply {
            Reply::Done { outcome: Outcome::Failed(error), .. } => {
                self.noting.remove(&number);
                desk.trouble(Trouble::JobFailed { reason: error.to_string() });
                self.was_silent(number);
            }
            Reply::Done { .. } => {
                let counts = self.noting.remove(&number).unwrap_or_default();
                self.count(number, counts);
            }
            Reply::Answer(Answered { answer: Ok(Response::Leased { blocks, free }), .. }) => {
                self.count(number, (blocks, free));
            }
            Reply::Answer(Answered { answer: Err(Refusal::Busy), .. }) => self.was_busy(number),
            Reply::Answer(_) => self.was_silent(number),
            Reply::Silence { to, .. } => {
                desk.suspect(to.addr);
                self.was_silent(number);
            }
            _ => {}
        }
    }

    /// All was told: looks for the holders of the blocks of which none is known to have heard.
    fn doubt(&mut self, desk: &Desk) {
        let concerns = &self.concerns;
        let doubtful = self.coverage.take_doubtful(|concern| concerns[concern].changes[0]);
        // It is told to try again already. (That a peer is silent is no reason: liars name peers that are not there.)
        if self.walk.unread > 0 {
            return;
        }
        self.walk.doubt(doubtful.into_iter().filter(|(key, _)| !desk.holds(key)));
    }

    /// A peer is to hear of a change, unless it has.
    fn note(&mut self, peer: Peer, change: usize) {
        let listener = self.listener(peer);
        // A peer that was not found before is now.
        listener.silent &= !listener.known.is_empty();
        if listener.known.insert(change) {
            listener.due.push_back(change);
        }
    }

    fn listener(&mut self, peer: Peer) -> &mut Listener {
        let (known, due) = (BTreeSet::new(), VecDeque::new());
        let fresh = || Listener { peer, known, due, asked: 0, at_a_time: REQUESTS_AT_FIRST, silent: false };
        self.heard.entry(peer.addr).or_insert_with(fresh)
    }

    /// Looks up what can be looked up now, tells what there is to tell; answers when nothing is left.
    fn go_on(&mut self, desk: &mut Desk) -> Flow {
        self.walk.go_on(desk, 0);
        let (is_last, all) = (self.walk.rests(), self.changes.len());
        let is_due = |listener: &Listener| {
            // Of what goes out now, no more can go with it: it is a message full, or nothing else is to be heard.
            let is_full = listener.due.len() >= MAX_LEASES || listener.known.len() == all;
            listener.asked < listener.at_a_time && !listener.due.is_empty() && (is_last || is_full)
        };
        let due = self.heard.values().filter(|listener| is_due(listener)).map(|listener| listener.peer.addr);
        for addr in due.collect::<Vec<SocketAddr>>() {
            while self.heard.get(&addr).is_some_and(is_due) {
                self.tell(desk, addr);
            }
        }
        let all_told = self.heard.values().all(|listener| listener.due.is_empty());
        if !is_last || !all_told || !self.asked.is_empty() {
            return GOES_ON;
        }
        self.doubt(desk);
        if !self.walk.is_done() {
            return self.go_on(desk);
        }
        let silent: Vec<Peer> = self.heard.values().filter(|one| one.silent).map(|one| one.peer).collect();
        let peers = self.heard.len() - silent.len();
        let &mut Self { copies, free, missing, since, .. } = self;
        let (unread, took) = (self.walk.unread, desk.now().since(since));
        desk.answer(self.command, Answer::Leased { copies, free, peers, silent, unread, missing, took });
        OVER
    }

    /// Tells a peer all that it is to hear.
    fn tell(&mut self, desk: &mut Desk, addr: SocketAddr) {
        let Some(listener) = self.heard.get_mut(&addr) else { return };
        let (peer, mut news, mut changes) = (listener.peer, LeaseNews::default(), Vec::new());
        let (number, ticket) = self.walk.next_ticket();
        while !news.is_full()
            && let Some(change) = listener.due.pop_front()
        {
            match self.changes[change] {
                LeaseChange::Renewed(lease) => news.renewed.push(lease),
                LeaseChange::Ended(secret) => news.ended.push(secret),
            }
            self.coverage.told(change, addr, number);
            changes.push(change);
        }
        if !desk.is_me(&peer) {
            desk.ask(ticket, peer, Request::Lease(news));
        } else {
            let notes = desk.change_leases(&news, None);
            let (blocks, free, _) = desk.holdings().leased(&news.ids());
            self.noting.insert(number, (blocks, free));
            desk.note(ticket, Urgency::Own, notes);
        }
        listener.asked += 1;
        self.asked.insert(number, (addr, changes));
    }

    /// A peer has heard, and has so many of the blocks; so many of them no lease keeps any more.
    fn count(&mut self, number: u64, (blocks, free): (u32, u32)) {
        if let Some((listener, _)) = self.heard(number) {
            listener.at_a_time = (listener.at_a_time + 1).min(MOST_AT_A_TIME);
        }
        self.coverage.heard(number, blocks);
        self.copies += u64::from(blocks);
        self.free += u64::from(free);
    }

    /// A peer has not heard what it was told under this number.
    fn was_silent(&mut self, number: u64) {
        self.heard(number).into_iter().for_each(|(listener, _)| listener.silent = true);
    }

    /// A peer has too much to do for what it was told under this number: it hears it once more, after what else it was
    /// told. A peer that is busy with that alone is not told any more.
    fn was_busy(&mut self, number: u64) {
        let Some((listener, changes)) = self.heard(number) else { return };
        listener.silent |= listener.asked == 0;
        if listener.asked > 0 {
            listener.at_a_time = (listener.at_a_time / 2).max(1);
            listener.due.extend(changes);
        }
    }

    /// A peer has heard, or did not answer; with it, what it was told.
    fn heard(&mut self, number: u64) -> Option<(&mut Listener, Vec<usize>)> {
        let (addr, changes) = self.asked.remove(&number)?;
        let listener = self.heard.get_mut(&addr)?;
        listener.asked -= 1;
        Some((listener, changes))
    }
}
