//! Replays a record: gives its events to a new node, and compares the node's actions with the recorded ones.

use std::io::{self, BufRead};

use thiserror::Error;

use crate::classroom;
use crate::node::record::{Beginning, Label, Moment, VERSION};
use crate::node::{Action, Event};
use crate::time::Time;

/// The result of a replay.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Replayed {
    /// How the recorded node began.
    pub beginning: Beginning,
    /// Events that were given to the node.
    pub events: u64,
    /// Actions that the node answered with.
    pub actions: u64,
    /// The time of the last event.
    pub until: Time,
    /// Whether the record ends in the middle of a line, as that of a killed peer may.
    pub cut: bool,
    /// The first action that differs from the record; the replay ends there.
    pub difference: Option<Difference>,
}

/// The first action that differs from the record, and its event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// Line of the record, counted from 1.
    pub line: u64,
    /// The event's time, by the node's clock.
    pub at: Time,
    /// The event.
    pub event: Event,
    /// The number of the differing action of this event, from 0.
    pub nth: usize,
    /// The recorded action; none if the record has no further one.
    pub recorded: Option<Action>,
    /// The node's action; none if the node has no further one.
    pub replayed: Option<Action>,
}

/// Why a record cannot be replayed.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// The file cannot be read.
    #[error("the record cannot be read: {0}")]
    Io(#[from] io::Error),
    /// The first line is not what a record begins with.
    #[error("this is no record of a peer: {0}")]
    NoRecord(serde_json::Error),
    /// The record has another version.
    #[error("this record is of version {0}, and only version {VERSION} can be replayed")]
    Version(u32),
    /// A line cannot be read as a moment.
    #[error("line {line} of the record is damaged: {error}")]
    Damaged {
        /// The number of the line, from 1.
        line: u64,
        /// What is wrong with the line.
        error: serde_json::Error,
    },
}

/// Gives a record's events to a new node, up to the end or the first difference.
///
/// # Errors
/// The record cannot be read. (That the node does otherwise is no error: it is what one wants to know.)
pub fn replay(mut record: impl BufRead) -> Result<Replayed, ReplayError> {
    let mut text = String::new();
    record.read_line(&mut text)?;
    // Of another version nothing else need be readable.
    let Label { kadring_record } = serde_json::from_str(&text).map_err(ReplayError::NoRecord)?;
    if kadring_record != VERSION {
        return Err(ReplayError::Version(kadring_record));
    }
    let beginning: Beginning = serde_json::from_str(&text).map_err(ReplayError::NoRecord)?;
    let mut node = classroom::join(beginning.node());
    let mut replayed = Replayed { beginning, events: 0, actions: 0, until: Time::ZERO, cut: false, difference: None };
    let mut actions = Vec::new();
    for line in 2.. {
        text.clear();
        if record.read_line(&mut text)? == 0 {
            break;
        }
        let moment: Moment = match serde_json::from_str(&text) {
            Ok(moment) => moment,
            Err(_) if !text.ends_with('\n') => {
                replayed.cut = true;
                break;
            }
            Err(error) => return Err(ReplayError::Damaged { line, error }),
        };
        node.handle(moment.at, moment.event.clone(), &mut actions);
        replayed.events += 1;
        replayed.actions += actions.len() as u64;
        replayed.until = moment.at;
        replayed.difference = difference(line, moment, &actions);
        if replayed.difference.is_some() {
            break;
        }
        actions.clear();
    }
    Ok(replayed)
}

fn difference(line: u64, moment: Moment, replayed: &[Action]) -> Option<Difference> {
    let Moment { at, event, actions: recorded } = moment;
    let longest = recorded.len().max(replayed.len());
    let nth = (0..longest).find(|&nth| recorded.get(nth) != replayed.get(nth))?;
    let (recorded, replayed) = (recorded.get(nth).cloned(), replayed.get(nth).cloned());
    Some(Difference { line, at, event, nth, recorded, replayed })
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use super::*;
    use crate::config::Config;
    use crate::id::Id;
    use crate::node::record::{event_line, start_line};
    use crate::node::{Command, job::Outcome};
    use crate::overlay::OverlayKind;
    use crate::overlay::ring::RingOptions;
    use crate::peer::Peer;
    use crate::wire::{Message, Request, Sender, Via};

    fn addr(n: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, n], 7000))
    }

    /// A short life: a join, a stranger's request, a command that fails, and time.
    fn record() -> String {
        let me = Peer::new(Id::of(b"me"), addr(1));
        let beginning =
            Beginning::new(me, OverlayKind::Kademlia, RingOptions::default(), Config::default(), ([7; 32], [8; 32]));
        let mut node = beginning.node();
        let stranger = Sender::member(Id::of(b"stranger"), addr(2));
        let events = [
            Event::Start {
                bootstrap: vec![addr(3)],
                hosts: Vec::new(),
                remembered: Vec::new(),
                held: vec![(Id::of(b"block"), 5)],
                notes: Vec::new(),
                unix_time: 0,
            },
            Event::Message {
                from: addr(2),
                via: Via::Udp,
                bytes: 256,
                message: Message::request(77, stranger, Request::FindNode { id: Id::ZERO }),
            },
            Event::Command { id: 1, command: Command::Store { path: "/a".into(), manifest: None, keep: false } },
            Event::JobDone { job: 0, outcome: Outcome::End { size: 0, sha256: Id::of(b"") } },
            Event::Command { id: 2, command: Command::Status },
        ];
        let mut text = start_line(&beginning).unwrap();
        let mut now = Time::ZERO;
        for event in events.into_iter().chain((0..50).map(|_| Event::Tick)) {
            let mut actions = Vec::new();
            node.handle(now, event.clone(), &mut actions);
            text += &event_line(now, &event, &actions).unwrap();
            now = node.next_wake().map_or(now, |due| due.max(now)) + Duration::from_millis(3);
        }
        text
    }

    #[test]
    fn the_same_events_give_the_same_actions() {
        let replayed = replay(record().as_bytes()).unwrap();
        assert_eq!((replayed.events, replayed.cut, &replayed.difference), (55, false, &None));
        assert!(replayed.actions > 20, "{replayed:?}");
    }

    #[test]
    fn the_first_action_that_differs_is_shown() {
        let text = record();
        let at = text.find("10.0.0.3:7000\",\"via\"").expect("the bootstrap peer is asked");
        let forged = [&text[..at], "10.0.0.9", &text[at + "10.0.0.3".len()..]].concat();
        let difference = replay(forged.as_bytes()).unwrap().difference.expect("one action was forged");
        assert_eq!(difference.line, 2);
        assert!(matches!(difference.recorded, Some(Action::Send { to, .. }) if to == addr(9)), "{difference:?}");
        assert!(matches!(difference.replayed, Some(Action::Send { to, .. }) if to == addr(3)), "{difference:?}");
    }

    #[test]
    fn a_record_that_was_cut_is_replayed_as_far_as_it_goes_and_nonsense_is_refused() {
        let text = record();
        let cut = replay(&text.as_bytes()[..text.len() - 20]).unwrap();
        assert!(cut.cut && cut.events == 54 && cut.difference.is_none());
        assert!(matches!(replay(&b"nonsense\n"[..]), Err(ReplayError::NoRecord(_))));
        assert!(matches!(replay(&b""[..]), Err(ReplayError::NoRecord(_))));
        let (_, moments) = text.split_once('\n').unwrap();
        let other = format!("{{\"kadring_record\":99,\"what\":\"nobody knows\"}}\n{moments}");
        assert!(matches!(replay(other.as_bytes()), Err(ReplayError::Version(99))));
        let damaged = text.replacen("\"at\"", "\"ta\"", 1);
        assert!(matches!(replay(damaged.as_bytes()), Err(ReplayError::Damaged { line: 2, .. })));
    }
}
