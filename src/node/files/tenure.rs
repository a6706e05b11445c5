//! `renew`, `delete` and `copies`: the holders of files hear that a lease lasts longer or has ended, or get another
//! one.
//!
//! Each file's tree is walked, and the peers that should hold its blocks are looked up. A lease is on all blocks of its
//! file, so a peer hears of it once, however many of them it holds; and of several leases at a time. Holders that are
//! not reached, or that nobody looks for, hear of it later: when they offer a block, or are offered one. A block of
//! which nobody that heard [is known to have it](super::reached) is looked for once more; where no holder is found, it
//! counts as missing.
//!
//! A lease that is laid is another matter: each block of the file is offered with it to those nearest that have it.

use std::collections::btree_map::Entry as BTreeEntry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use super::reached::{Concern, Concerns, Listener, Reached};
use super::{Flow, take_those_of};
use crate::id::Key;
use crate::lease::{Lease, LeaseNews, MAX_LEASES, Secret};
use crate::node::command::{Command, CommandId, LeaseChange};
use crate::node::desk::Desk;
use crate::node::job::{Holder, Job, Outcome};
use crate::node::jobs::Urgency;
use crate::node::notice::{Answer, FailureKind};
use crate::node::part::{Answered, Found, Owner, Part, Reply, Step, Ticket};
use crate::node::refusal::Refusal;
use crate::node::trouble::Trouble;
use crate::overlay::{Goal, LookupId};
use crate::peer::Peer;
use crate::time::Time;
use crate::wire::{Request, Response};

/// Blocks that are looked up at a time.
const WINDOW: usize = 32;

/// Requests to one peer without an answer, at most: each has something written down there.
const AT_A_TIME: usize = 2;

/// Places all over the network in which peers are looked up that may hold anything. Each finds the peers nearest to it.
const PLACES: u8 = 64;

/// The key of one of them: they stand at even distances.
fn place_in_network(place: u8) -> Key {
    let mut bytes = [0; 32];
    bytes[0] = place * (u8::MAX / PLACES + 1);
    Key::from_bytes(bytes)
}

/// The commands under way.
#[derive(Default)]
pub(in crate::node) struct Tenures(BTreeMap<CommandId, Tenure>);

impl Part for Tenures {
    fn on(&mut self, desk: &mut Desk, ticket: Ticket, reply: Reply) {
        if self.0.get_mut(&ticket.number).is_some_and(|tenure| tenure.on(desk, ticket.step, reply) == Flow::Over) {
            self.0.remove(&ticket.number);
        }
    }

    fn on_command(&mut self, desk: &mut Desk, id: CommandId, command: Command) {
        let mut tenure = match command {
            Command::Lease { changes, copies } => Tenure::telling(desk, id, changes, copies),
            Command::Disown { secrets } => Tenure::disowning(desk, id, secrets),
            Command::Lay { keys, lease } => Tenure::laying(desk, id, &keys, lease),
            _ => return,
        };
        if tenure.go_on(desk) == Flow::Goes {
            self.0.insert(id, tenure);
        }
    }

    fn under_way(&self) -> usize {
        self.0.len()
    }

    fn end(&mut self, desk: &mut Desk, whose: Option<CommandId>, kind: FailureKind, reason: &str) -> usize {
        let ended = take_those_of(&mut self.0, whose, |tenure| tenure.command);
        for tenure in &ended {
            tenure.running.values().filter_map(|piece| piece.lookup).for_each(|lookup| desk.cancel_lookup(lookup));
            desk.drop_offers(|ticket| (ticket.owner, ticket.number) == (Owner::Tenures, tenure.command));
            desk.fail(tenure.command, kind, format!("{reason} before all holders had heard of it; give it again"));
        }
        ended.len()
    }
}

/// A command under way.
#[derive(Default)]
struct Tenure {
    command: CommandId,
    since: Time,
    /// What is told, each thing once.
    changes: Vec<LeaseChange>,
    /// What concerns a block.
    concerns: Vec<Concern>,
    reached: Reached,
    /// What is laid on all blocks, if anything is; then nothing is told.
    lease: Option<Lease>,
    laying: BTreeMap<Key, Laying>,
    /// What is left to look up, the next one first.
    queue: VecDeque<Piece>,
    running: BTreeMap<u64, Piece>,
    next: u64,
    heard: BTreeMap<SocketAddr, Listener>,
    /// Requests, and notes of this peer's own, without an answer: who is told.
    asked: BTreeMap<u64, SocketAddr>,
    /// What this peer will have [counted](Self::count) once it is written down.
    noting: BTreeMap<u64, (u32, u32)>,
    copies: u64,
    free: u64,
    unread: u64,
    missing: u64,
}

/// A block that a lease is laid on.
struct Laying {
    size: u32,
    /// Peers that may have it, nearest first.
    left: VecDeque<Peer>,
    /// Those that were asked and have not answered.
    open: usize,
    laid: usize,
}

/// A block, or a list of blocks.
struct Piece {
    /// The number of what concerns it.
    concern: usize,
    key: Key,
    /// Its size in bytes, if that is known.
    size: u32,
    /// It may be a list, and is read.
    is_list: bool,
    lookup: Option<LookupId>,
    /// Peers that may give the list.
    holders: VecDeque<Peer>,
    /// All was told, and it is not known who has it.
    is_doubtful: bool,
}

impl Tenure {
    fn new(desk: &Desk, command: CommandId) -> Self {
        Self { command, since: desk.now(), ..Self::default() }
    }

    fn laying(desk: &Desk, command: CommandId, keys: &[Key], lease: Lease) -> Self {
        let queue = keys.iter().map(|key| Piece::new(0, (*key, 0), true)).collect();
        Self { lease: Some(lease), queue, ..Self::new(desk, command) }
    }

    /// Tells of `changes`; of what ends there should be so many copies.
    fn telling(desk: &Desk, command: CommandId, changes: Vec<(Key, LeaseChange)>, copies: u8) -> Self {
        let Concerns { changes, concerns, keys } = Concerns::new(&changes, desk.config().replicas, copies);
        let queue = keys.into_iter().map(|(key, concern)| Piece::new(concern, (key, 0), true)).collect();
        let mut tenure = Self { changes, concerns, queue, ..Self::new(desk, command) };
        if !desk.config().guest {
            // What is kept here may be nobody else's business.
            (0..tenure.changes.len()).for_each(|change| tenure.note(desk.me(), change));
        }
        tenure
    }

    /// Tells whoever is known, and whoever is found all over the network.
    fn disowning(desk: &Desk, command: CommandId, secrets: Vec<Secret>) -> Self {
        let places = (0..PLACES).flat_map(|place| (0..secrets.len()).map(move |change| (change, place)));
        let queue = places.map(|(change, place)| Piece::new(change, (place_in_network(place), 0), false)).collect();
        let concerns = (0..secrets.len()).map(Concern::of_no_block).collect();
        let changes: Vec<LeaseChange> = secrets.into_iter().map(LeaseChange::Ended).collect();
        let mut tenure = Self { changes, concerns, queue, ..Self::new(desk, command) };
        let me = (!desk.config().guest).then(|| desk.me());
        for peer in desk.peers().into_iter().chain(me) {
            (0..tenure.changes.len()).for_each(|change| tenure.note(peer, change));
        }
        tenure
    }

    fn on(&mut self, desk: &mut Desk, step: Step, reply: Reply) -> Flow {
        match step {
            Step::Piece(number) => self.on_piece(desk, number, reply),
            Step::Block(key) => self.on_asked(desk, key, &reply),
            _ => {}
        }
        self.go_on(desk)
    }

    fn on_piece(&mut self, desk: &mut Desk, number: u64, reply: Reply) {
        match reply {
            Reply::Holder(peer) => self.on_holder(desk, number, peer),
            Reply::Found(found) => self.on_found(desk, number, found),
            Reply::Done { outcome, .. } if self.running.contains_key(&number) => self.on_read(desk, number, outcome),
            Reply::Done { outcome, .. } => {
                let counts = self.noting.remove(&number).unwrap_or_default();
                match outcome {
                    Outcome::Failed(error) => {
                        desk.trouble(Trouble::JobFailed { reason: error.to_string() });
                        self.heard(number).into_iter().for_each(|listener| listener.silent = true);
                    }
                    _ => self.count(number, counts),
                }
            }
            Reply::Answer(Answered { answer: Ok(Response::Leased { blocks, free }), .. }) => {
                self.count(number, (blocks, free));
            }
            Reply::Answer(_) => self.heard(number).into_iter().for_each(|listener| listener.silent = true),
            Reply::Silence { to, .. } => {
                desk.suspect(to.addr);
                self.heard(number).into_iter().for_each(|listener| listener.silent = true);
            }
            _ => {}
        }
    }

    /// A peer was asked to keep a block on behalf of the lease, and has answered.
    fn on_asked(&mut self, desk: &mut Desk, key: Key, reply: &Reply) {
        let Some(laying) = self.laying.get_mut(&key) else { return };
        let (peer, laid, heard) = match reply {
            // Who cannot be connected to keeps the lease too, and its copy does not count.
            Reply::Offered { to, result } => (*to, result.is_ok(), matches!(result, Ok(_) | Err(Refusal::Shut))),
            Reply::Done { outcome: Outcome::Sound { .. }, .. } => (desk.me(), true, true),
            Reply::Done { .. } => (desk.me(), false, false),
            _ => return,
        };
        laying.open -= 1;
        laying.laid += usize::from(laid);
        if heard {
            self.listener(peer);
        }
        self.lay_on(desk, key);
    }

    /// Asks as many peers as are wanted to keep a block on behalf of the lease.
    fn lay_on(&mut self, desk: &mut Desk, key: Key) {
        let (Some(lease), Some(laying)) = (self.lease, self.laying.get_mut(&key)) else { return };
        let ticket = Ticket { owner: Owner::Tenures, number: self.command, step: Step::Block(key) };
        while laying.laid + laying.open < desk.copies_for(&lease)
            && let Some(peer) = laying.left.pop_front()
        {
            if !desk.is_me(&peer) {
                // Whoever has the block looks at it and asks for no bytes.
                desk.lay(ticket, Urgency::Own, (key, laying.size), lease, peer);
            } else if desk.holds(&key) {
                desk.look_at(ticket, Urgency::Own, key, &[lease]);
            } else {
                continue;
            }
            laying.open += 1;
        }
        if laying.open == 0 {
            self.copies += laying.laid as u64;
            self.missing += u64::from(laying.laid == 0);
            self.laying.remove(&key);
        }
    }

    /// The peers that should hold a block are known.
    fn on_found(&mut self, desk: &mut Desk, number: u64, Found { peers, unreached, .. }: Found) {
        let Some(piece) = self.running.get_mut(&number) else { return };
        if piece.is_doubtful {
            self.missing += 1;
            self.running.remove(&number);
            return;
        }
        let (concern, key, size) = (piece.concern, piece.key, piece.size);
        piece.lookup = None;
        if piece.is_list {
            piece.holders.extend(peers.iter().filter(|peer| !desk.is_me(peer)));
            if desk.holds(&key) {
                piece.holders.push_front(desk.me());
            }
        }
        if self.lease.is_none() {
            let Concern { changes, copies } = self.concerns[concern].clone();
            if copies > 0 {
                let first = peers.iter().take(copies).map(|peer| peer.addr).collect();
                self.reached.should_hold(concern, key, first);
            }
            // Who was late a moment ago may have been stopped, and hear it yet.
            for peer in peers.into_iter().chain(unreached) {
                changes.iter().for_each(|change| self.note(peer, *change));
            }
        } else if let BTreeEntry::Vacant(place) = self.laying.entry(key) {
            let size = desk.wanted_size(&key).unwrap_or(size);
            place.insert(Laying { size, left: peers.into(), open: 0, laid: 0 });
            self.lay_on(desk, key);
        }
        self.read(desk, number);
    }

    /// A peer holds a block of which that was in doubt.
    fn on_holder(&mut self, desk: &mut Desk, number: u64, peer: Peer) {
        let Some(Piece { concern, lookup, .. }) = self.running.remove(&number) else { return };
        lookup.into_iter().for_each(|lookup| desk.cancel_lookup(lookup));
        // Others may stand between it and the block's key.
        self.concerns[concern].changes.clone().into_iter().for_each(|change| self.note(peer, change));
    }

    /// All was told: looks for the holders of the blocks of which none is known to have heard.
    fn doubt(&mut self, desk: &Desk) {
        let concerns = &self.concerns;
        let doubtful = self.reached.take_doubtful(|concern| concerns[concern].changes[0]);
        // It is told to try again already.
        if self.unread > 0 || self.heard.values().any(|listener| listener.silent) {
            return;
        }
        let doubtful = doubtful.into_iter().filter(|(key, _)| !desk.holds(key));
        let piece = |(key, concern)| Piece { is_doubtful: true, ..Piece::new(concern, (key, 0), false) };
        self.queue.extend(doubtful.map(piece));
    }

    /// Reads the list from the next peer that may hold it.
    fn read(&mut self, desk: &mut Desk, number: u64) {
        let Some(piece) = self.running.get_mut(&number) else { return };
        match piece.holders.pop_front() {
            Some(peer) => {
                let from = if desk.is_me(&peer) { Holder::Own } else { Holder::Peer(peer.addr) };
                let work = Job::Unpack { key: piece.key, from };
                desk.order(self.ticket(number), work, Urgency::Own);
            }
            None => {
                self.unread += u64::from(piece.is_list);
                self.running.remove(&number);
            }
        }
    }

    fn on_read(&mut self, desk: &mut Desk, number: u64, outcome: Outcome) {
        let Outcome::Unpacked { manifest } = outcome else {
            if let Outcome::NotManifest { .. } = outcome {
                self.running.remove(&number);
            }
            return self.read(desk, number);
        };
        let Some(Piece { concern, .. }) = self.running.remove(&number) else { return };
        for entry in manifest.entries.iter().rev() {
            // A list's own size is not told.
            let size = if manifest.level > 0 { 0 } else { u32::try_from(entry.size).unwrap_or(0) };
            self.queue.push_front(Piece::new(concern, (entry.key, size), manifest.level > 0));
        }
    }

    /// A peer is to hear of a change, unless it has.
    fn note(&mut self, peer: Peer, change: usize) {
        let listener = self.listener(peer);
        // One that was not found before is now.
        listener.silent &= !listener.known.is_empty();
        if listener.known.insert(change) {
            listener.due.push_back(change);
        }
    }

    fn listener(&mut self, peer: Peer) -> &mut Listener {
        let fresh = || Listener { peer, known: BTreeSet::new(), due: VecDeque::new(), asked: 0, silent: false };
        self.heard.entry(peer.addr).or_insert_with(fresh)
    }

    /// Looks up what can be looked up now, tells what there is to tell; answers when nothing is left.
    fn go_on(&mut self, desk: &mut Desk) -> Flow {
        while self.running.len() + self.laying.len() < WINDOW
            && let Some(mut piece) = self.queue.pop_front()
        {
            self.next += 1;
            let number = self.next;
            let goal = if piece.is_doubtful { Goal::Holders } else { Goal::Peers };
            piece.lookup = Some(desk.look_up(self.ticket(number), piece.key, goal));
            self.running.insert(number, piece);
        }
        let is_last = self.running.is_empty();
        let is_due = |listener: &&mut Listener| {
            let many = listener.due.len() >= MAX_LEASES;
            listener.asked < AT_A_TIME && !listener.due.is_empty() && (is_last || many)
        };
        let due = self.heard.values_mut().filter(is_due).map(|listener| listener.peer.addr);
        let due: Vec<SocketAddr> = due.collect();
        for addr in due {
            self.tell(desk, addr);
        }
        let all_told = self.heard.values().all(|listener| listener.due.is_empty());
        if !is_last || !self.laying.is_empty() || !all_told || !self.asked.is_empty() {
            return Flow::Goes;
        }
        self.doubt(desk);
        if !self.queue.is_empty() {
            return self.go_on(desk);
        }
        let silent: Vec<Peer> = self.heard.values().filter(|one| one.silent).map(|one| one.peer).collect();
        let peers = self.heard.len() - silent.len();
        let &mut Self { copies, free, unread, missing, since, .. } = self;
        desk.answer(
            self.command,
            Answer::Leased { copies, free, peers, silent, unread, missing, took: desk.now().since(since) },
        );
        Flow::Over
    }

    /// Tells a peer all that it is to hear.
    fn tell(&mut self, desk: &mut Desk, addr: SocketAddr) {
        let Some(listener) = self.heard.get_mut(&addr) else { return };
        let (peer, mut news) = (listener.peer, LeaseNews::default());
        self.next += 1;
        while !news.is_full()
            && let Some(change) = listener.due.pop_front()
        {
            match self.changes[change] {
                LeaseChange::Renewed(lease) => news.renewed.push(lease),
                LeaseChange::Ended(secret) => news.ended.push(secret),
            }
            self.reached.told(change, addr, self.next);
        }
        let ticket = Ticket { owner: Owner::Tenures, number: self.command, step: Step::Piece(self.next) };
        if !desk.is_me(&peer) {
            desk.ask(ticket, peer, Request::Lease(news));
        } else {
            let notes = desk.change_leases(&news);
            self.noting.insert(self.next, desk.holdings().leased(&news.ids()));
            desk.note(ticket, Urgency::Own, notes);
        }
        listener.asked += 1;
        self.asked.insert(self.next, addr);
    }

    /// A peer has heard, and has so many of the blocks; so many of them nobody wants any more.
    fn count(&mut self, number: u64, (blocks, free): (u32, u32)) {
        self.heard(number);
        self.reached.heard(number, blocks);
        self.copies += u64::from(blocks);
        self.free += u64::from(free);
    }

    /// A peer has heard, or did not answer.
    fn heard(&mut self, number: u64) -> Option<&mut Listener> {
        let listener = self.heard.get_mut(&self.asked.remove(&number)?)?;
        listener.asked -= 1;
        Some(listener)
    }

    fn ticket(&self, number: u64) -> Ticket {
        Ticket { owner: Owner::Tenures, number: self.command, step: Step::Piece(number) }
    }
}

impl Piece {
    fn new(concern: usize, (key, size): (Key, u32), is_list: bool) -> Self {
        Self { concern, key, size, is_list, lookup: None, holders: VecDeque::new(), is_doubtful: false }
    }
}
