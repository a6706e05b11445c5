//! The moments of several peers on one clock: which arrival is which message, and what each moment came of.
//!
//! A message is known again by its addresses, its magic number and whether it asks or answers; of several that are the
//! same (a datagram that is sent again), an arrival is the last that was sent before it. A tick came of the moment that
//! set the deadline: a new node is fed the same events, and asked after each when it wants to be woken.

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead;
use std::net::SocketAddr;

use super::align;
use super::reader::{Line, Reader, RecordError};
use super::words::Names;
use crate::classroom;
use crate::node::job::{Holder, Job, JobId};
use crate::node::record::{Beginning, Moment};
use crate::node::{Action, Event};
use crate::peer::Peer;
use crate::time::Time;
use crate::wire::{Body, Message};

/// The recorded moments of several peers, in the order in which they happened.
pub struct History {
    /// The recorded peers, in the order of the files.
    pub peers: Vec<Recorded>,
    /// All moments.
    pub moments: Vec<Seen>,
    /// Messages that came from one recorded peer to another, and those of them whose sending was found.
    pub messages: (usize, usize),
    /// Messages that came before they were sent: clocks that no shift puts right.
    pub backwards: usize,
    pub(super) names: Names,
}

/// A recorded peer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recorded {
    /// What it is called here: its slot, or its file's name.
    pub name: String,
    /// Its id and address.
    pub me: Peer,
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
    pub cause: Cause,
    pub(super) life: usize,
    nth: usize,
}

/// What a moment came of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// An earlier moment, by its number.
    Moment(usize),
    /// Something outside of what was recorded.
    Root(&'static str),
    /// It should have come of a moment, which was not found.
    Unknown,
}

/// One life of a peer, as it was recorded.
struct Life {
    peer: usize,
    moments: Vec<Moment>,
    /// When the node wanted to be woken after each moment.
    wakes: Vec<Option<Time>>,
    /// Microseconds since 1970 at its time zero, if that was written down.
    date: Option<u64>,
    node: crate::node::Node,
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
    lives: Vec<Life>,
    /// What is wrong with the records, for people.
    pub complaints: Vec<String>,
}

impl Collection {
    /// Adds the record of a peer or of many. What comes behind a damaged line is left out, and complained about.
    ///
    /// # Errors
    /// It is no record at all, or one of another version.
    pub fn add(&mut self, name: &str, record: impl BufRead) -> Result<(), RecordError> {
        let (mut reader, first) = Reader::begin(record)?;
        // The present life of each slot.
        let mut present = BTreeMap::from([(first.peer, self.begin(name, &first))]);
        let complaint = loop {
            match reader.next_line() {
                Ok(Some((_, Line::Beginning(beginning)))) => {
                    present.insert(beginning.peer, self.begin(name, &beginning));
                }
                Ok(Some((line, Line::Moment(moment)))) => match present.get(&moment.peer) {
                    Some(&life) => self.lives[life].push(*moment),
                    None => break Some(RecordError::Orphan { line }.to_string()),
                },
                Ok(None) if reader.is_cut() => break Some("the record ends in the middle of a line".to_owned()),
                Ok(None) => break None,
                Err(error) => break Some(error.to_string()),
            }
        };
        self.complaints.extend(complaint.map(|complaint| format!("{name}: {complaint}")));
        Ok(())
    }

    fn begin(&mut self, name: &str, beginning: &Beginning) -> usize {
        let me = beginning.me;
        let peer = self.peers.iter().position(|recorded| recorded.me.addr == me.addr).unwrap_or_else(|| {
            let name = beginning.peer.map_or(name.to_owned(), |slot| slot.to_string());
            self.peers.push(Recorded { name, me });
            self.peers.len() - 1
        });
        let node = classroom::join(beginning.node());
        let date = beginning.unix_micros;
        self.lives.push(Life { peer, moments: Vec::new(), wakes: Vec::new(), date, node });
        self.lives.len() - 1
    }

    /// The history that all records tell together.
    pub fn history(self) -> History {
        let Self { peers, lives, .. } = self;
        let known = lives.iter().find_map(|life| life.date).unwrap_or_default();
        let dates: Vec<i64> = lives.iter().map(|life| life.date.unwrap_or(known) as i64).collect();
        let wakes: Vec<Vec<Option<Time>>> = lives.iter().map(|life| life.wakes.clone()).collect();
        let mut moments: Vec<Seen> = Vec::new();
        for (number, life) in lives.into_iter().enumerate() {
            for (nth, moment) in life.moments.into_iter().enumerate() {
                let at = dates[number] + moment.at.as_micros() as i64;
                moments.push(Seen { peer: life.peer, at, moment, cause: Cause::Unknown, life: number, nth });
            }
        }
        let names = Names::default();
        let mut history = History { peers, moments, messages: (0, 0), backwards: 0, names };
        let shifts = align::shifts(dates.len(), &history.least());
        history.moments.iter_mut().for_each(|seen| seen.at += shifts[seen.life]);
        history.moments.sort_by_key(|seen| (seen.at, seen.life, seen.nth));
        let first = history.moments.first().map_or(0, |seen| seen.at);
        history.moments.iter_mut().for_each(|seen| seen.at -= first);
        history.find_causes(&wakes);
        history.name();
        history
    }
}

impl Life {
    fn push(&mut self, moment: Moment) {
        let mut actions = Vec::new();
        self.node.handle(moment.at, moment.event.clone(), &mut actions);
        self.wakes.push(self.node.next_wake());
        self.moments.push(moment);
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

    fn find_causes(&mut self, wakes: &[Vec<Option<Time>>]) {
        let sent = self.sent();
        let recorded: BTreeSet<SocketAddr> = self.peers.iter().map(|peer| peer.me.addr).collect();
        let mut places: BTreeMap<(usize, usize), usize> = BTreeMap::new();
        let mut jobs: BTreeMap<(usize, JobId), usize> = BTreeMap::new();
        let mut visits: BTreeMap<(usize, SocketAddr), usize> = BTreeMap::new();
        for number in 0..self.moments.len() {
            let seen = &self.moments[number];
            places.insert((seen.life, seen.nth), number);
            let of = |cause: Option<&usize>| cause.map_or(Cause::Unknown, |&cause| Cause::Moment(cause));
            let cause = match &seen.moment.event {
                Event::Start { .. } => Cause::Root("the peer was started"),
                Event::Command { .. } => Cause::Root("a user"),
                Event::Damaged { .. } | Event::Missing { .. } | Event::Dropped { .. } => Cause::Root("this machine"),
                Event::Fetched { .. } | Event::Delivered { .. } => Cause::Root("a peer that fetches"),
                Event::JobDone { job, .. } | Event::Flows { job } => of(jobs.get(&(seen.life, *job))),
                Event::Validated { addr } => {
                    visits.get(&(seen.life, *addr)).map_or(Cause::Root("a connection"), |&visit| Cause::Moment(visit))
                }
                Event::Undeliverable { to, message, .. } => {
                    let sent = sent.get(&mark(self.peers[seen.peer].me.addr, *to, message));
                    of(sent.and_then(|sent| sent.iter().rev().find(|&&sent| sent < number)))
                }
                Event::Message { from, .. } if !recorded.contains(from) => Cause::Root("a peer that was not recorded"),
                Event::Message { .. } => {
                    let sent = self.arrival(seen).and_then(|mark| sent.get(&mark));
                    let found = sent.and_then(|sent| sent.iter().rev().find(|&&sent| sent < number).or(sent.first()));
                    self.messages.0 += 1;
                    self.messages.1 += usize::from(found.is_some());
                    self.backwards += usize::from(found.is_some_and(|&found| self.moments[found].at > seen.at));
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
            let came = match &seen.moment.event {
                Event::Message { message, .. } => Some(message),
                _ => None,
            };
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
        while let Some(Seen { cause: Cause::Moment(cause), .. }) = self.moments.get(moment) {
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
        self.moments.get(moment).map_or(String::new(), |seen| self.names.moment(&seen.moment))
    }

    /// Moments whose cause is known, or lies outside of what was recorded.
    pub fn explained(&self) -> usize {
        self.moments.iter().filter(|seen| seen.cause != Cause::Unknown).count()
    }
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
        Job::Lend { from, .. } | Job::Pull { from, .. } => Some(*from),
        Job::Fetch { from: Holder::Peer(addr), .. } | Job::Unpack { from: Holder::Peer(addr), .. } => Some(*addr),
        _ => None,
    }
}
