//! Leaving in good order: each block held here is first given to the peers that should hold it in this peer's stead.
//!
//! A peer knows the replica sets that it belongs to, so it asks their members itself which of them hold the block, and
//! offers it to the others. Only for a block far from it is the set looked up. If everybody leaves at once, nobody is
//! waited for twice: a peer that leaves too, or is silent, is asked about no other block, and once all are gone the
//! departure ends and tells what stays behind.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::pulls::LEAVING;
use crate::config::{MAX_REPAIRS, WIDTH};
use crate::id::{Id, Key};
use crate::node::command::{Command, CommandId};
use crate::node::desk::Desk;
use crate::node::jobs::Urgency;
use crate::node::notice::Answer;
use crate::node::part::{Answered, News, Owner, Part, Reply, Step, Ticket};
use crate::overlay::Goal;
use crate::peer::Peer;
use crate::time::Time;
use crate::wire::{Request, Response};

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
    /// Peers that leave too, or are silent: they take nothing.
    gone: BTreeSet<Id>,
}

/// A block that is being handed over.
#[derive(Default)]
struct Handing {
    /// Peers that a lookup met and that hold it.
    holders: Vec<Peer>,
    /// Peers that have yet to say whether they hold it, or to take it.
    waits_for: Vec<Id>,
    /// Peers that were asked whether they hold it, or offered it.
    tried: Vec<Id>,
    /// Another peer of the replica set holds it.
    safe: bool,
}

impl Part for Departure {
    fn on(&mut self, desk: &mut Desk, ticket: Ticket, reply: Reply) {
        let (Some(handover), Step::Block(key)) = (&mut self.0, ticket.step) else { return };
        let Some(handing) = handover.running.get_mut(&key) else { return };
        let over = match reply {
            Reply::Holder(peer) => return handing.holders.push(peer),
            Reply::Found(found) => {
                handover.on_found(desk, key, found.peers);
                handover.is_over(desk, key)
            }
            Reply::Answer(Answered { to, answer, .. }) => {
                let Some(peer) = to.peer().filter(|peer| handing.waits_for.contains(&peer.id)) else { return };
                match answer {
                    Ok(Response::Node(_)) => handing.settle(peer.id, true),
                    Ok(_) => return offer(desk, key, peer),
                    Err(_) => handing.settle(peer.id, false),
                }
                handover.is_over(desk, key)
            }
            Reply::Silence { to, .. } => to.id.is_some_and(|silent| handover.lose(desk, silent)),
            Reply::Offered { to, result: Err(reason) } if reason == LEAVING => handover.lose(desk, to.id),
            Reply::Offered { to, result } => {
                handing.settle(to.id, result.is_ok());
                handover.is_over(desk, key)
            }
            Reply::Done { .. } | Reply::Settled(_) => return,
        };
        if over {
            self.go_on(desk);
        }
    }

    /// The departure begins.
    fn on_command(&mut self, desk: &mut Desk, command: CommandId, how: Command) {
        let handover = matches!(how, Command::Quit { handover: true });
        let held: Vec<Key> = desk.held().map(|(key, _)| key).collect();
        let (blocks, deadline) = (held.len() as u64, desk.now() + desk.config().handover_limit);
        self.0 = Some(Handover {
            command,
            queue: if handover { held.into() } else { VecDeque::new() },
            running: BTreeMap::new(),
            deadline,
            handover,
            blocks,
            handed_over: 0,
            gone: BTreeSet::new(),
        });
        self.go_on(desk);
    }

    /// A peer that is gone is waited for no longer.
    fn on_news(&mut self, desk: &mut Desk, news: News<'_>) {
        if let (Some(handover), News::Down(peer)) = (&mut self.0, news)
            && handover.lose(desk, peer.id)
        {
            self.go_on(desk);
        }
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
            if !handover.start(desk, key) && desk.peers().iter().all(|peer| handover.gone.contains(&peer.id)) {
                // Nobody is left to take anything.
                handover.queue.clear();
            }
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

impl Handover {
    /// Begins with a block. False if there is nobody who could take it.
    fn start(&mut self, desk: &mut Desk, key: Key) -> bool {
        let (nearest, mut handing) = (self.nearest(desk, &key, WIDTH + 1), Handing::default());
        if nearest.iter().any(|peer| desk.is_me(peer)) {
            self.ask_next(desk, key, &mut handing);
            if handing.waits_for.is_empty() {
                return false;
            }
        } else if nearest.is_empty() {
            return false;
        } else {
            desk.look_up(Ticket::block(Owner::Departure, key), key, Goal::Holders);
        }
        self.running.insert(key, handing);
        true
    }

    /// The peers nearest to a key that are known and not gone.
    fn nearest(&self, desk: &Desk, key: &Key, count: usize) -> Vec<Peer> {
        let known = desk.replica_set(key, count + self.gone.len()).into_iter();
        known.filter(|peer| !self.gone.contains(&peer.id)).take(count).collect()
    }

    /// Asks the next peers, as many as a replica set has, whether they hold a block. The second set is the last.
    fn ask_next(&self, desk: &mut Desk, key: Key, handing: &mut Handing) {
        let replicas = desk.config().replicas;
        let nearest = self.nearest(desk, &key, 2 * replicas + 1).into_iter();
        let fresh = nearest.filter(|peer| !desk.is_me(peer) && !handing.tried.contains(&peer.id));
        for peer in fresh.take(replicas).collect::<Vec<_>>() {
            handing.wait_for(&peer);
            desk.ask(Ticket::block(Owner::Departure, key), peer, Request::FindValue { key });
        }
    }

    /// A lookup found the replica set: those of it that do not hold the block are offered it.
    fn on_found(&mut self, desk: &mut Desk, key: Key, peers: Vec<Peer>) {
        let Some(handing) = self.running.get_mut(&key) else { return };
        let heirs = peers.into_iter().filter(|peer| !desk.is_me(peer) && !self.gone.contains(&peer.id));
        for heir in heirs.take(desk.config().replicas).collect::<Vec<_>>() {
            if handing.holders.iter().any(|holder| holder.id == heir.id) {
                handing.safe = true;
            } else {
                handing.wait_for(&heir);
                offer(desk, key, heir);
            }
        }
    }

    /// This peer takes nothing any more. Whether that ends any block.
    fn lose(&mut self, desk: &mut Desk, peer: Id) -> bool {
        self.gone.insert(peer);
        let waiting = self.running.iter_mut().filter(|(_, handing)| handing.waits_for.contains(&peer));
        let blocks: Vec<Key> = waiting.map(|(key, handing)| (*key, handing.settle(peer, false)).0).collect();
        blocks.into_iter().filter(|key| self.is_over(desk, *key)).count() > 0
    }

    /// Whether a block is done with: nobody is waited for. If nobody has it, the next peers are asked first.
    fn is_over(&mut self, desk: &mut Desk, key: Key) -> bool {
        let Some(mut handing) = self.running.remove(&key) else { return false };
        if handing.waits_for.is_empty() && !handing.safe {
            self.ask_next(desk, key, &mut handing);
        }
        if handing.waits_for.is_empty() {
            self.handed_over += u64::from(handing.safe);
            return true;
        }
        self.running.insert(key, handing);
        false
    }
}

impl Handing {
    fn wait_for(&mut self, peer: &Peer) {
        self.waits_for.push(peer.id);
        self.tried.push(peer.id);
    }

    /// A peer that is waited for holds the block, or does not.
    fn settle(&mut self, peer: Id, holds: bool) {
        let before = self.waits_for.len();
        self.waits_for.retain(|other| *other != peer);
        self.safe |= holds && self.waits_for.len() < before;
    }
}

fn offer(desk: &mut Desk, key: Key, heir: Peer) {
    let size = desk.size_of(&key).unwrap_or(0);
    desk.offer(Ticket::block(Owner::Departure, key), Urgency::Others, (key, size), heir);
}
