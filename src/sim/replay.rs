//! Replays a record: gives its events to a new node, and compares the node's actions with the recorded ones.

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead;

use super::moments::reader::{RecordError, RecordLine, RecordReader};
use crate::classroom;
use crate::node::{Action, Event, Node};
use crate::record::{Beginning, Moment};
use crate::time::Time;

/// The result of a replay.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Replayed {
    /// How the recorded node began, or the first one of many.
    pub beginning: Beginning,
    /// Peers that were replayed.
    pub peers: usize,
    /// Lives of theirs: a peer of a storm may be started again.
    pub lives: u64,
    /// Events that were given to the node.
    pub events: u64,
    /// Actions that the node answered with.
    pub actions: u64,
    /// The time of the last event.
    pub until: Time,
    /// Whether the record ends in the middle of a line, as that of a killed peer may.
    pub cut: bool,
    /// Moments that the recorder lost, if some are missing; the replay ends there.
    pub lost: Option<u64>,
    /// The first action that differs from the record; the replay ends there.
    pub difference: Option<ActionDifference>,
}

/// The first action that differs from the record, and its event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ActionDifference {
    /// Line of the record, counted from 1.
    pub line: u64,
    /// The peer's slot, where the record holds many.
    pub peer: Option<usize>,
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

/// Gives a record's events to a new node, up to the end, to where moments were lost or to the first difference; where
/// the record holds many peers, to a node for each.
///
/// # Errors
/// The record cannot be read. (That the node does otherwise is no error: it is what one wants to know.)
pub fn replay(record: impl BufRead) -> Result<Replayed, RecordError> {
    replay_peer(record, None)
}

/// The same for one peer of a record of many, by its slot.
///
/// # Errors
/// The record cannot be read, or holds no such peer.
pub fn replay_peer(record: impl BufRead, only: Option<usize>) -> Result<Replayed, RecordError> {
    let (mut reader, beginning) = RecordReader::begin(record)?;
    let wanted = |peer: Option<usize>| only.is_none() || peer == only;
    let mut replayed = Replayed {
        beginning: beginning.clone(),
        peers: 0,
        lives: 0,
        events: 0,
        actions: 0,
        until: Time::ZERO,
        cut: false,
        lost: None,
        difference: None,
    };
    let mut there = BTreeSet::new();
    let mut nodes: BTreeMap<Option<usize>, Node> = BTreeMap::new();
    let mut actions = Vec::new();
    let mut next = Some((1, RecordLine::Beginning(Box::new(beginning))));
    while let Some((number, line)) = next {
        match line {
            RecordLine::Beginning(beginning) => {
                there.insert(beginning.peer);
                if wanted(beginning.peer) {
                    replayed.lives += 1;
                    nodes.insert(beginning.peer, classroom::join(beginning.node()));
                    if replayed.lives == 1 {
                        replayed.beginning = *beginning;
                    }
                }
            }
            RecordLine::Moment(moment) if wanted(moment.peer) => {
                let node = nodes.get_mut(&moment.peer).ok_or_else(|| {
                    let moments = reader.read().1 - 1;
                    RecordError::Orphan { line: number, moments }
                })?;
                actions.clear();
                node.handle(moment.at, moment.event.clone(), &mut actions);
                replayed.events += 1;
                replayed.actions += actions.len() as u64;
                replayed.until = replayed.until.max(moment.at);
                replayed.difference = difference(number, *moment, &actions);
                if replayed.difference.is_some() {
                    break;
                }
            }
            RecordLine::Moment(_) => {}
            RecordLine::Lost(lost) => {
                replayed.lost = Some(lost);
                break;
            }
        }
        next = reader.next_line()?;
    }
    if let (Some(peer), true) = (only, nodes.is_empty()) {
        return Err(RecordError::no_peer(peer, there));
    }
    replayed.peers = nodes.len();
    replayed.cut = reader.is_cut();
    Ok(replayed)
}

fn difference(line: u64, moment: Moment, replayed: &[Action]) -> Option<ActionDifference> {
    let Moment { peer, at, event, actions: recorded, .. } = moment;
    let longest = recorded.len().max(replayed.len());
    let nth = (0..longest).find(|&nth| recorded.get(nth) != replayed.get(nth))?;
    let (recorded, replayed) = (recorded.get(nth).cloned(), replayed.get(nth).cloned());
    Some(ActionDifference { line, peer, at, event, nth, recorded, replayed })
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use super::*;
    use crate::config::Config;
    use crate::id::Id;
    use crate::node::{Command, job::Outcome};
    use crate::overlay::OverlayKind;
    use crate::overlay::ring::RingOptions;
    use crate::peer::Peer;
    use crate::record::{event_line, lost_line, start_line};
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
                ran: 0,
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
            text += &event_line(None, now, &event, &actions).unwrap();
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
    fn a_record_is_replayed_as_far_as_no_moment_is_missing() {
        let text = record();
        let lines: Vec<&str> = text.lines().collect();
        let lost = lost_line(7).unwrap();
        let with_gap = [&lines[..10], &[lost.trim_end()], &lines[30..]].concat().join("\n");
        let replayed = replay(with_gap.as_bytes()).unwrap();
        assert_eq!((replayed.events, replayed.lost, replayed.difference), (9, Some(7), None));
    }

    #[test]
    fn a_record_that_was_cut_is_replayed_as_far_as_it_goes_and_nonsense_is_refused() {
        let text = record();
        let cut = replay(&text.as_bytes()[..text.len() - 20]).unwrap();
        assert!(cut.cut && cut.events == 54 && cut.difference.is_none());
        assert!(matches!(replay(&b"nonsense\n"[..]), Err(RecordError::NoRecord(_))));
        assert!(matches!(replay(&b""[..]), Err(RecordError::NoRecord(_))));
        let (_, moments) = text.split_once('\n').unwrap();
        let other = format!("{{\"kadring_record\":99,\"what\":\"nobody knows\"}}\n{moments}");
        assert!(matches!(replay(other.as_bytes()), Err(RecordError::Version { line: 1, version: 99, moments: 0 })));
        let damaged = text.replacen("\"at\"", "\"ta\"", 1);
        assert!(matches!(replay(damaged.as_bytes()), Err(RecordError::Damaged { line: 2, .. })));
        let late = text.replacen("\n{\"at\":0,\"event\":\"Tick\"", "\n{\"ta\":0,\"event\":\"Tick\"", 1);
        let damage = replay(late.as_bytes()).map(|_| ()).map_err(|error| error.to_string());
        assert_eq!(damage.is_err(), late != text, "{damage:?}");
    }
}
