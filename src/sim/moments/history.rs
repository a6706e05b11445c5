//! The moments of several peers on one clock: which arrival is which message, and what each moment came of.
//!
//! A message is known again by its addresses, its magic number and whether it asks or answers. Of several that are the
//! same (a datagram that is sent again) the first that came is the first that was sent, if all came; else an arrival is
//! the last that was sent before it. A tick came of the moment that set the deadline: a new node is fed the same
//! events, and asked after each when it wants to be woken.

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead;
use std::net::SocketAddr;

use super::align;
use super::reader::{RecordError, RecordLine, RecordReader};
use super::words::Names;
use crate::classroom;
use crate::node::job::{Holder, Job, JobId};
use crate::node::{Action, Event, Node};
use crate::overlay::OverlayKind;
use crate::peer::Peer;
use crate::record::{Beginning, LockWait, Moment, Queued, Timing, Work};
use crate::time::Time;
use crate::wire::{Body, Message};

/// The recorded moments of several peers, in the order in which they happened.
pub struct History {
    /// The recorded peers, in the order of their names: numbers first, by their size, then words.
    pub peers: Vec<Recorded>,
    /// All moments.
    pub moments: Vec<Seen>,
    /// Messages that came from one recorded peer to another, and those of them whose sending was found.
    pub messages: (usize, usize),
    /// Messages that came before they were sent, or no later: clocks that no shift puts right.
    pub backwards: usize,
    /// How each life began.
    pub(in crate::sim) beginnings: Vec<Beginning>,
    pub(super) names: Names,
}

/// A recorded peer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recorded {
    /// What it is called here: its slot, or its file's name.
    pub name: String,
    /// Its id and address.
    pub me: Peer,
    /// The overlay that it routes by.
    pub overlay: OverlayKind,
    /// Bits of an id there.
    pub bits: usize,
}

/// A moment among those of other peers.
pub struct Seen {
    /// The number of its peer.
    pub peer: usize,
    /// Microseconds since the first moment of all.
    pub at: i64,
    /// What happened, and what was done about it.
    pub moment: Moment,
    /// What it came of.
    pub cause: CameOf,
    /// Whether the core, given the same, does the same today.
    pub faithful: bool,
    /// The number of its life.
    pub(in crate::sim) life: usize,
    nth: usize,
    /// Its place among all that was read.
    line: usize,
}

/// What a moment came of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CameOf {
    /// An earlier moment, by its number.
    Moment(usize),
    /// Something outside of what was recorded.
    Root(&'static str),
    /// It should have come of a moment, which was not found.
    Unknown,
}

/// One life of a peer, as it was recorded.
struct PeerLife {
    beginning: Beginning,
    moments: Vec<Recalled>,
    /// When the node wanted to be woken after each moment.
    wakes: Vec<Option<Time>>,
    /// None once a moment is missing: it cannot know what is due then.
    node: Option<Node>,
}

/// A moment as it was read.
struct Recalled {
    line: usize,
    moment: Moment,
    faithful: bool,
}

/// What tells a message from others.
type Mark = (SocketAddr, SocketAddr, u64, u8);

fn mark(from: SocketAddr, to: SocketAddr, message: &Message) -> Mark {
    let sort = match message.body {
        Body::Request(_) => 0,
        Body::Response(_) | Body::Error(_) => 1,
    };
    (from, to, message.magic, sort)
}

/// Collects records, and makes a history of them.
#[derive(Default)]
pub struct Collection {
    peers: Vec<Recorded>,
    lives: Vec<PeerLife>,
    /// How many moments were read.
    read: usize,
    /// If given, other peers of a record of many are passed over.
    pub only: Option<usize>,
    /// What is wrong with the records, for people.
    pub complaints: Vec<String>,
}

impl Collection {
    /// Adds the record of a peer or of many. What comes behind a damaged line is left out, and complained about.
    ///
    /// # Errors
    /// It is no record at all, one of another version, or has nothing of the only peer that is wanted.
    pub fn add(&mut self, name: &str, record: impl BufRead) -> Result<(), RecordError> {
        let (mut reader, first) = RecordReader::begin(record)?;
        // The present life of each slot; none where it is passed over.
        let mut present = BTreeMap::from([(first.peer, self.begin(name, first))]);
        let complaint = loop {
            match reader.next_line() {
                Ok(Some((line, RecordLine::Lost(lost)))) => {
                    let complaint = "moments are missing, which the recorder could not follow";
                    self.complaints.push(format!("{name}: before line {}, {lost} {complaint}", line + 1));
                    present.values().flatten().for_each(|&life| self.lives[life].node = None);
                }
                Ok(Some((_, RecordLine::Beginning(beginning)))) => {
                    present.insert(beginning.peer, self.begin(name, *beginning));
                }
                Ok(Some((line, RecordLine::Moment(moment)))) => match present.get(&moment.peer) {
                    Some(&Some(life)) => {
                        self.lives[life].push(self.read, *moment);
                        self.read += 1;
                    }
                    Some(None) => {}
                    None => break Some(RecordError::Orphan { line, moments: reader.read().1 - 1 }.to_string()),
                },
                Ok(None) if reader.is_cut() => {
                    let (line, moments) = reader.read();
                    let whole = format!("the {moments} moments before it are whole");
                    break Some(format!("the record ends in the middle of a line, its line {line}; {whole}"));
                }
                Ok(None) => break None,
                Err(error) => break Some(error.to_string()),
            }
        };
        if let (Some(peer), None) = (self.only, present.values().flatten().next()) {
            return Err(RecordError::no_peer(peer, present.keys().copied()));
        }
        self.complaints.extend(complaint.map(|complaint| format!("{name}: {complaint}")));
        Ok(())
    }

    fn begin(&mut self, name: &str, beginning: Beginning) -> Option<usize> {
        if self.only.is_some() && beginning.peer != self.only {
            return None;
        }
        let me = beginning.me;
        if self.peers.iter().all(|recorded| recorded.me.addr != me.addr) {
            let name = beginning.peer.map_or(name.to_owned(), |slot| slot.to_string());
            let (overlay, bits) = (beginning.overlay, beginning.ring.bits);
            self.peers.push(Recorded { name, me, overlay, bits });
        }
        let node = Some(classroom::join(beginning.node()));
        self.lives.push(PeerLife { beginning, moments: Vec::new(), wakes: Vec::new(), node });
        Some(self.lives.len() - 1)
    }

    /// Whether no record was added.
    pub fn is_empty(&self) -> bool {
        self.lives.is_empty()
    }

    /// The history that all records tell together.
    pub fn history(self) -> History {
        self.tell(|history| {
            let shifts = align::shifts(history.beginnings.len(), &history.least());
            history.moments.iter_mut().for_each(|seen| seen.at += shifts[seen.life]);
            history.moments.sort_by_key(|seen| (seen.at, seen.life, seen.nth));
        })
    }

    /// The history that one record tells, in the order of its lines.
    pub fn in_order(self) -> History {
        self.tell(|history| history.moments.sort_by_key(|seen| seen.line))
    }

    fn tell(self, order: impl FnOnce(&mut History)) -> History {
        let Self { mut peers, lives, .. } = self;
        peers.sort_by_cached_key(|peer| (peer.name.parse().unwrap_or(u64::MAX), peer.name.clone()));
        let known = lives.iter().find_map(|life| life.beginning.unix_micros).unwrap_or_default();
        let (mut beginnings, mut wakes): (Vec<Beginning>, Vec<Vec<Option<Time>>>) = (Vec::new(), Vec::new());
        let mut moments: Vec<Seen> = Vec::with_capacity(lives.iter().map(|life| life.moments.len()).sum());
        for (number, life) in lives.into_iter().enumerate() {
            let date = life.beginning.unix_micros.unwrap_or(known) as i64;
            let is_it = |recorded: &Recorded| recorded.me.addr == life.beginning.me.addr;
            let peer = peers.iter().position(is_it).unwrap_or_default();
            for (nth, Recalled { line, moment, faithful }) in life.moments.into_iter().enumerate() {
                let at = date + moment.at.as_micros() as i64;
                moments.push(Seen { peer, at, moment, cause: CameOf::Unknown, faithful, life: number, nth, line });
            }
            beginnings.push(life.beginning);
            wakes.push(life.wakes);
        }
        let names = Names::default();
        let mut history = History { peers, moments, messages: (0, 0), backwards: 0, beginnings, names };
        order(&mut history);
        let first = history.moments.first().map_or(0, |seen| seen.at);
        history.moments.iter_mut().for_each(|seen| seen.at -= first);
        history.find_causes(&wakes);
        history.name();
        history
    }
}

impl PeerLife {
    fn push(&mut self, line: usize, mut moment: Moment) {
        // A list that was read has room for more actions than most moments have.
        moment.actions.shrink_to_fit();
        let mut actions = Vec::new();
        if let Some(node) = &mut self.node {
            node.handle(moment.at, moment.event.clone(), &mut actions);
        }
        self.wakes.push(self.node.as_ref().and_then(Node::next_wake));
        let faithful = self.node.is_none() || actions == moment.actions;
        self.moments.push(Recalled { line, moment, faithful });
    }
}

/// Which queue the event waited in and for how long, who did its job from when to when, how long its turn took, and
/// which locks were waited for; nothing where that was not recorded.
fn timing(seen: &Seen) -> String {
    let Some(Timing { queued, took, work, locks, .. }) = &seen.moment.timing else { return String::new() };
    let work =
        work.iter().map(|Work { worker, from, until }| format!("{worker} {}–{}", seen.time(*from), seen.time(*until)));
    let queued =
        queued.iter().map(|Queued { queue, put, .. }| format!("{queue} {} µs", seen.moment.at.since(*put).as_micros()));
    let locks = locks.iter().map(|LockWait { thread, lock, took, held_by }| {
        format!("{thread} waited {took} µs for the lock {lock}, held by {}", held_by.join(", "))
    });
    let parts: Vec<String> = work.chain(queued).chain([format!("turn {took} µs")]).chain(locks).collect();
    format!(" [{}]", parts.join(", "))
}

impl Seen {
    /// A time of its peer on the clock of all.
    pub fn time(&self, time: Time) -> i64 {
        self.at + time.as_micros() as i64 - self.moment.at.as_micros() as i64
    }
}

impl History {
    /// All messages that were sent, by their marks: the moments, in the order of `moments`.
    fn sent(&self) -> BTreeMap<Mark, Vec<usize>> {
        let mut sent: BTreeMap<Mark, Vec<usize>> = BTreeMap::new();
        for (number, seen) in self.moments.iter().enumerate() {
            for action in &seen.moment.actions {
                if let Action::Send { to, message, .. } = action {
                    let from = self.peers[seen.peer].me.addr;
                    sent.entry(mark(from, *to, message)).or_default().push(number);
                }
            }
        }
        sent
    }

    /// The mark of the message that came in this moment.
    fn arrival(&self, seen: &Seen) -> Option<Mark> {
        let Event::Message { from, message, .. } = &seen.moment.event else { return None };
        Some(mark(*from, self.peers[seen.peer].me.addr, message))
    }

    /// The least time that a message seems to take from one life to another, of messages that were sent and came once.
    fn least(&self) -> BTreeMap<(usize, usize), i64> {
        let sent = self.sent();
        let mut came: BTreeMap<Mark, Vec<usize>> = BTreeMap::new();
        for (number, seen) in self.moments.iter().enumerate() {
            self.arrival(seen).into_iter().for_each(|mark| came.entry(mark).or_default().push(number));
        }
        let mut least: BTreeMap<(usize, usize), i64> = BTreeMap::new();
        for (mark, came) in came {
            if let ([came], Some([sent])) = (&came[..], sent.get(&mark).map(Vec::as_slice)) {
                let (sent, came) = (&self.moments[*sent], &self.moments[*came]);
                let shortest = least.entry((sent.life, came.life)).or_insert(i64::MAX);
                *shortest = (*shortest).min(came.at - sent.at);
            }
        }
        least
    }

    /// The arrivals of the messages that were sent more than once.
    fn came_again(&self, sent: &BTreeMap<Mark, Vec<usize>>) -> BTreeMap<Mark, Vec<usize>> {
        let mut came: BTreeMap<Mark, Vec<usize>> = BTreeMap::new();
        for (number, seen) in self.moments.iter().enumerate() {
            let mark = self.arrival(seen).filter(|mark| sent.get(mark).is_some_and(|sent| sent.len() > 1));
            mark.into_iter().for_each(|mark| came.entry(mark).or_default().push(number));
        }
        came
    }

    fn find_causes(&mut self, wakes: &[Vec<Option<Time>>]) {
        let sent = self.sent();
        let again = self.came_again(&sent);
        let recorded: BTreeSet<SocketAddr> = self.peers.iter().map(|peer| peer.me.addr).collect();
        let mut places: BTreeMap<(usize, usize), usize> = BTreeMap::new();
        let mut jobs: BTreeMap<(usize, JobId), usize> = BTreeMap::new();
        let mut visits: BTreeMap<(usize, SocketAddr), usize> = BTreeMap::new();
        for number in 0..self.moments.len() {
            let seen = &self.moments[number];
            places.insert((seen.life, seen.nth), number);
            let of = |cause: Option<&usize>| cause.map_or(CameOf::Unknown, |&cause| CameOf::Moment(cause));
            let cause = match &seen.moment.event {
                Event::Start { .. } => CameOf::Root("the peer was started"),
                Event::Command { .. } => CameOf::Root("a user"),
                Event::Damaged { .. }
                | Event::Missing { .. }
                | Event::FolderGone
                | Event::FolderBack { .. }
                | Event::Dropped { .. }
                | Event::Moved { .. }
                | Event::NoWay { .. } => CameOf::Root("this machine"),
                Event::Fetching { .. } | Event::Fetched { .. } | Event::Asked { .. } | Event::Delivered { .. } => {
                    CameOf::Root("a fetcher")
                }
                Event::JobDone { job, .. } | Event::Flows { job, .. } => of(jobs.get(&(seen.life, *job))),
                Event::Validated { addr } => {
                    visits.get(&(seen.life, *addr)).map_or(CameOf::Root("a connection"), |&visit| CameOf::Moment(visit))
                }
                Event::Undeliverable { to, message, .. } => {
                    let sent = sent.get(&mark(self.peers[seen.peer].me.addr, *to, message));
                    of(sent.and_then(|sent| sent.iter().rev().find(|&&sent| sent < number)))
                }
                Event::Message { from, .. } if !recorded.contains(from) => CameOf::Root("a peer that was not recorded"),
                Event::Message { .. } => {
                    let found = self.arrival(seen).and_then(|mark| sending(&sent, &again, mark, number));
                    self.messages.0 += 1;
                    self.messages.1 += usize::from(found.is_some());
                    self.backwards += usize::from(found.is_some_and(|&found| found > number));
                    of(found)
                }
                Event::Tick => of(deadline(&wakes[seen.life], seen.nth).and_then(|nth| places.get(&(seen.life, nth)))),
            };
            for action in &seen.moment.actions {
                if let Action::Start { job, work } = action {
                    jobs.insert((seen.life, *job), number);
                    visits.extend(visited(work).map(|addr| ((seen.life, addr), number)));
                }
            }
            self.moments[number].cause = cause;
        }
    }

    /// Gives peers and messages their short names.
    fn name(&mut self) {
        self.names.peers = self.peers.iter().map(|peer| (peer.me.addr, peer.name.clone())).collect();
        let magics = &mut self.names.magics;
        for seen in &self.moments {
            let came = if let Event::Message { message, .. } = &seen.moment.event { Some(message) } else { None };
            let sent = seen.moment.actions.iter().filter_map(|action| match action {
                Action::Send { message, .. } => Some(message),
                _ => None,
            });
            for message in came.into_iter().chain(sent) {
                let next = magics.len() + 1;
                magics.entry(message.magic).or_insert(next);
            }
        }
    }

    /// The moment and what led to it, the first cause first.
    pub fn why(&self, mut moment: usize) -> Vec<usize> {
        let mut chain = vec![moment];
        while let Some(Seen { cause: CameOf::Moment(cause), .. }) = self.moments.get(moment) {
            // A message that came before it was sent has no place in an order.
            if *cause >= moment {
                break;
            }
            moment = *cause;
            chain.push(moment);
        }
        chain.reverse();
        chain
    }

    /// What happened in a moment, in a line.
    pub fn tell(&self, moment: usize) -> String {
        let told = self.moments.get(moment).map(|seen| {
            let Moment { event, actions, .. } = &seen.moment;
            self.names.moment(event, actions, &timing(seen))
        });
        told.unwrap_or_default()
    }

    /// What happened in a moment, and each thing that was done about it.
    pub(in crate::sim) fn tell_apart(&self, moment: usize) -> (String, Vec<String>) {
        let moment = &self.moments[moment].moment;
        (
            self.names.event(&moment.event),
            moment.actions.iter().filter_map(|action| self.names.action(action)).collect(),
        )
    }

    /// An event, in the words of this history.
    pub(in crate::sim) fn tell_event(&self, event: &Event) -> String {
        self.names.event(event)
    }

    /// What a peer is called here.
    pub(in crate::sim) fn name_of(&self, addr: SocketAddr) -> String {
        self.names.peer(&addr)
    }

    /// The short number of a message, as it is shown.
    pub(in crate::sim) fn number_of(&self, magic: u64) -> String {
        self.names.number(magic)
    }

    /// Moments whose cause is known, or lies outside of what was recorded.
    pub fn explained(&self) -> usize {
        self.moments.iter().filter(|seen| seen.cause != CameOf::Unknown).count()
    }
}

/// The moment in which the message was sent that came in moment `number`.
fn sending<'a>(
    sent: &'a BTreeMap<Mark, Vec<usize>>,
    came: &BTreeMap<Mark, Vec<usize>>,
    mark: Mark,
    number: usize,
) -> Option<&'a usize> {
    let sent = sent.get(&mark)?;
    let came = came.get(&mark).filter(|came| came.len() == sent.len());
    let nth = came.and_then(|came| came.iter().position(|moment| *moment == number));
    let nth = nth.and_then(|nth| sent.get(nth)).filter(|sent| **sent < number);
    nth.or_else(|| sent.iter().rev().find(|&&sent| sent < number)).or(sent.first())
}

/// The first of the moments since which the node wanted to be woken at the time that the tick `nth` came for.
fn deadline(wakes: &[Option<Time>], nth: usize) -> Option<usize> {
    let before = wakes.get(..nth)?;
    let due = (*before.last()?)?;
    let since = before.iter().rev().take_while(|wake| **wake == Some(due)).count();
    Some(nth - since)
}

/// The peer that a job connects to.
fn visited(work: &Job) -> Option<SocketAddr> {
    match work {
        Job::Lend { from, .. } | Job::Pull { from, .. } | Job::ReadBack { from, .. } => Some(*from),
        Job::Dial { to } => Some(*to),
        Job::Fetch { from: Holder::Peer(addr), .. } | Job::Unpack { from: Holder::Peer(addr), .. } => Some(*addr),
        _ => None,
    }
}
