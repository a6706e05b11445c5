//! Leaving in good order: each block held here is first given to the peers that should hold it in this peer's stead.

use std::collections::{BTreeMap, VecDeque};

use crate::config::MAX_REPAIRS;
use crate::id::Key;
use crate::node::command::{Command, CommandId};
use crate::node::desk::Desk;
use crate::node::jobs::Urgency;
use crate::node::notice::Answer;
use crate::node::part::{Owner, Part, Reply, Step, Ticket};
use crate::overlay::Goal;
use crate::peer::Peer;
use crate::time::Time;

/// The departure of this peer, once it was told to leave and nothing keeps it any more.
#[derive(Default)]
pub(in crate::node) struct Departure(Option<Handover>);

/// A peer on its way out.
struct Handover {
    command: CommandId,
    queue: VecDeque<Key>,
    running: BTreeMap<Key, Handing>,
    deadline: Time,
    handover: bool,
    /// Blocks held when the departure began. What is pulled to its end after that is not called saved.
    blocks: u64,
    handed_over: u64,
}

/// A block that is being handed over.
#[derive(Default)]
struct Handing {
    /// Other peers that hold it.
    holders: Vec<Peer>,
    /// Offers without an answer.
    offered: usize,
    /// Another peer of the replica set holds it.
    safe: bool,
}

impl Part for Departure {
    fn on(&mut self, desk: &mut Desk, ticket: Ticket, reply: Reply) {
        let (Some(handover), Step::Block(key)) = (&mut self.0, ticket.step) else { return };
        let Some(handing) = handover.running.get_mut(&key) else { return };
        match reply {
            Reply::Holder(peer) => return handing.holders.push(peer),
            Reply::Found(found) => handing.offer(desk, key, found.peers),
            Reply::Offered { result, .. } => {
                handing.offered -= 1;
                handing.safe |= result.is_ok();
            }
            Reply::Answer(_) | Reply::Silence { .. } | Reply::Done { .. } | Reply::Settled(_) => return,
        }
        if handing.offered == 0 {
            handover.handed_over += u64::from(handing.safe);
            handover.running.remove(&key);
            self.go_on(desk);
        }
    }

    /// The departure begins.
    fn on_command(&mut self, desk: &mut Desk, command: CommandId, how: Command) {
        let handover = matches!(how, Command::Quit { handover: true });
        let held: Vec<Key> = desk.held().map(|(key, _)| key).collect();
        let (blocks, deadline) = (held.len() as u64, desk.now() + desk.config().handover_limit);
        let queue = if handover { held.into() } else { VecDeque::new() };
        self.0 =
            Some(Handover { command, queue, running: BTreeMap::new(), deadline, handover, blocks, handed_over: 0 });
        self.go_on(desk);
    }

    fn on_tick(&mut self, desk: &mut Desk) {
        if self.0.as_ref().is_some_and(|handover| handover.deadline <= desk.now()) {
            self.go_on(desk);
        }
    }

    fn next_wake(&self, _desk: &Desk) -> Option<Time> {
        self.0.as_ref().map(|handover| handover.deadline)
    }
}

impl Departure {
    /// Starts as many blocks as may be under way; says goodbye when none is left, or when time is up.
    fn go_on(&mut self, desk: &mut Desk) {
        let Some(handover) = &mut self.0 else { return };
        let late = desk.now() >= handover.deadline;
        while !late && handover.running.len() < MAX_REPAIRS {
            let Some(key) = handover.queue.pop_front() else { break };
            handover.running.insert(key, Handing::default());
            desk.look_up(Ticket::block(Owner::Departure, key), key, Goal::Holders);
        }
        if late || handover.running.is_empty() {
            let &mut Handover { command, handover: offered, blocks, handed_over, .. } = handover;
            self.0 = None;
            desk.say_goodbye();
            let (left_behind, kept) = (blocks - handed_over, desk.config().lasting);
            desk.answer(command, Answer::Left { handed_over, left_behind, offered, kept });
        }
    }
}

impl Handing {
    /// The replica set is known: those of it that do not hold the block are offered it.
    fn offer(&mut self, desk: &mut Desk, key: Key, peers: Vec<Peer>) {
        let size = desk.size_of(&key).unwrap_or(0);
        let heirs: Vec<Peer> =
            peers.into_iter().filter(|peer| !desk.is_me(peer)).take(desk.config().replicas).collect();
        for heir in heirs {
            if self.holders.iter().any(|holder| holder.id == heir.id) {
                self.safe = true;
            } else {
                self.offered += 1;
                desk.offer(Ticket::block(Owner::Departure, key), Urgency::Others, (key, size), heir);
            }
        }
    }
}
