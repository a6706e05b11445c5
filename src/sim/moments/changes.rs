//! What the peers of a history know, as far as their moments tell it: whom each believes alive, and what it keeps.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::Serialize;

use super::history::{CameOf, History, Seen};
use crate::id::Key;
use crate::name::FileName;
use crate::node::job::{Job, NamedJob, NamedOutcome, Outcome};
use crate::node::{Action, Event, Notice};
use crate::overlay::RouteNotice;
use crate::peer::Peer;

/// Something that a peer knows from a moment on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum KnownChange {
    /// The peer runs, and keeps this.
    Starts {
        /// The blocks that it found in its store.
        keys: Vec<String>,
    },
    /// It has left.
    Stops,
    /// Its record ends here without a goodbye, and those of others go on.
    FallsSilent,
    /// It believes that the peer at this address is alive.
    Meets {
        /// The address.
        addr: SocketAddr,
    },
    /// It believes that no longer.
    Loses {
        /// The address.
        addr: SocketAddr,
    },
    /// Its successors are these now (ring).
    Follows {
        /// Their addresses, the nearest first.
        addrs: Vec<SocketAddr>,
    },
    /// It keeps a block, or a file of the classroom.
    Keeps {
        /// The block's key or the file's name.
        key: String,
    },
    /// It does not keep it any longer.
    Drops {
        /// The block's key or the file's name.
        key: String,
    },
}

/// A record that ends so much earlier than that of the others, in microseconds, ends too early.
const SILENCE: i64 = 1_000_000;

/// Files that jobs are about.
type JobFiles = BTreeMap<(usize, u64), FileName>;

/// A message, as often as it was sent: the moments of that, and those that its arrivals are said to have come of.
#[derive(Default)]
struct Copies {
    sent: Vec<usize>,
    came: Vec<usize>,
}

impl History {
    /// All changes of what peers know, in order: the moment, and what it changed for its peer.
    pub fn changes(&self) -> Vec<(usize, KnownChange)> {
        let mut last: BTreeMap<usize, usize> = BTreeMap::new();
        for (number, seen) in self.moments.iter().enumerate() {
            last.insert(seen.peer, number);
        }
        let end = self.moments.last().map_or(0, |seen| seen.at);
        let mut files = JobFiles::new();
        let mut found = Vec::new();
        for (number, seen) in self.moments.iter().enumerate() {
            let changes = event_change(seen, &files).into_iter();
            let changes =
                changes.chain(seen.moment.actions.iter().filter_map(|action| action_change(seen, action, &mut files)));
            found.extend(changes.map(|change| (number, change)));
            let stopped = seen.moment.actions.contains(&Action::Stop);
            if last.get(&seen.peer) == Some(&number) && !stopped && end - seen.at > SILENCE {
                found.push((number, KnownChange::FallsSilent));
            }
        }
        found
    }

    /// For each moment that sent something to recorded peers that did not get it: those peers. Of messages that are the
    /// same only so many are missing as came less often than they were sent.
    pub(super) fn lost(&self) -> BTreeMap<usize, Vec<usize>> {
        let peers: BTreeMap<SocketAddr, usize> =
            self.peers.iter().enumerate().map(|(number, peer)| (peer.me.addr, number)).collect();
        // By the sender, the receiver and the magic number.
        let mut messages: BTreeMap<(usize, usize, u64), Copies> = BTreeMap::new();
        for (number, seen) in self.moments.iter().enumerate() {
            for action in &seen.moment.actions {
                if let Action::Send { to, message, .. } = action
                    && let Some(&peer) = peers.get(to)
                {
                    messages.entry((seen.peer, peer, message.magic)).or_default().sent.push(number);
                }
            }
            if let (Event::Message { from, message, .. }, CameOf::Moment(cause)) = (&seen.moment.event, seen.cause)
                && let Some(&peer) = peers.get(from)
            {
                messages.entry((peer, seen.peer, message.magic)).or_default().came.push(cause);
            }
        }
        let mut lost: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for ((_, to, _), Copies { sent, came }) in messages {
            let missing = sent.len().saturating_sub(came.len());
            let unseen = sent.iter().rev().filter(|moment| !came.contains(moment));
            unseen.take(missing).for_each(|moment| lost.entry(*moment).or_default().push(to));
        }
        lost
    }
}

fn event_change(seen: &Seen, files: &JobFiles) -> Option<KnownChange> {
    match &seen.moment.event {
        Event::Start { held, .. } => {
            Some(KnownChange::Starts { keys: held.iter().map(|(key, _)| key.to_string()).collect() })
        }
        Event::JobDone { job, outcome: Outcome::Named(NamedOutcome::Kept { .. }) } => {
            files.get(&(seen.peer, *job)).map(|file| KnownChange::Keeps { key: file.to_string() })
        }
        _ => None,
    }
}

fn action_change(seen: &Seen, action: &Action, files: &mut JobFiles) -> Option<KnownChange> {
    match action {
        Action::Start { job, work: Job::Named(NamedJob::Keep { file, .. } | NamedJob::Touch { file }) } => {
            files.insert((seen.peer, *job), *file);
            None
        }
        Action::Start { work: Job::Delete { key }, .. } => Some(drops(key)),
        Action::Stop => Some(KnownChange::Stops),
        Action::Notify(notice) => match notice {
            Notice::PeerUp { peer } => Some(KnownChange::Meets { addr: peer.addr }),
            Notice::PeerDown { peer } => Some(KnownChange::Loses { addr: peer.addr }),
            Notice::BlockStored { key, .. } => Some(KnownChange::Keeps { key: key.to_string() }),
            Notice::BlockDamaged { key } | Notice::BlockEnded { key } => Some(drops(key)),
            Notice::Route { route: RouteNotice::Successors { successors, .. } } => {
                Some(KnownChange::Follows { addrs: successors.iter().map(|Peer { addr, .. }| *addr).collect() })
            }
            _ => None,
        },
        _ => None,
    }
}

fn drops(key: &Key) -> KnownChange {
    KnownChange::Drops { key: key.to_string() }
}
