//! What the user asks about the network or the blocks held here: answered at once, over some turns of the node, or by
//! questions to others.

use std::collections::{BTreeMap, BTreeSet};

use super::command::{Command, CommandId, is_meant};
use super::desk::Desk;
use super::exchange::NO_WAY;
use super::notice::{Answer, FailureKind, Progress};
use super::part::Part;
use super::ticket::{Answered, PartId, Reply, Ticket};
use crate::id::Key;
use crate::overlay::{Found, Goal, LookupId, Target};
use crate::peer::{Peer, on_which_bind};
use crate::time::Time;
use crate::wire::Request;

/// The user's lookups and lists under way, and what stands for several commands.
#[derive(Default)]
pub(super) struct User {
    lookups: BTreeMap<CommandId, UserLookup>,
    spans: BTreeSet<CommandId>,
    lists: BTreeMap<CommandId, List>,
}

/// The blocks held here, as far as they were gathered, and the one to go on at.
struct List {
    blocks: Vec<(Key, u32)>,
    from: Key,
}

/// Blocks that are gathered for a list in one turn of the node.
const LISTED_A_TURN: usize = 8192;

struct UserLookup {
    name: LookupId,
    key: Key,
    since: Time,
    holders: Vec<Peer>,
}

impl Part for User {
    fn on(&mut self, desk: &mut Desk, ticket: Ticket, reply: Reply) {
        let command = ticket.number;
        match reply {
            Reply::Answer(answered) => pong(desk, command, answered),
            Reply::Silence { to, reason: NO_WAY } => {
                let reason = format!("{}: {NO_WAY}; is its network up?", to.addr);
                desk.fail(command, FailureKind::TimedOut, reason);
            }
            Reply::Silence { to, .. } => {
                let reason = format!("no answer from {}; does a peer run there{}?", to.addr, on_which_bind(&[to.addr]));
                desk.fail(command, FailureKind::TimedOut, reason);
            }
            Reply::Holder(peer) => {
                if let Some(lookup) = self.lookups.get_mut(&command) {
                    lookup.holders.push(peer);
                }
            }
            Reply::Found(Found { peers, hops, .. }) => {
                let Some(UserLookup { name, key, since, mut holders }) = self.lookups.remove(&command) else { return };
                if desk.holds(&key) {
                    holders.insert(0, desk.me());
                }
                let took = desk.now().since(since);
                let asked = desk.explanation(name);
                desk.answer(command, Answer::Lookup { key, peers, holders, hops, took, asked });
            }
            reply => debug_assert!(false, "the user's part asks for no such thing: {reply:?}"),
        }
    }

    fn on_command(&mut self, desk: &mut Desk, id: CommandId, command: Command) {
        match command {
            Command::List => {
                // To make room for more of a million blocks while they are gathered would copy them, in one turn.
                let blocks = Vec::with_capacity(desk.holdings().len());
                self.lists.insert(id, List { blocks, from: Key::ZERO });
                self.go_on(desk, id);
            }
            Command::Peers => {
                let peers = desk.acquaintances();
                desk.answer(id, Answer::Peers { peers });
            }
            Command::Table => {
                let rows = desk.table();
                desk.answer(id, Answer::Table { rows });
            }
            Command::Ping { addr } => {
                desk.ask(Ticket::of(PartId::User, id), Target { id: None, addr }, Request::Ping);
            }
            Command::Lookup { key } | Command::Explain { key } => {
                let ticket = Ticket::of(PartId::User, id);
                let name = match command {
                    Command::Explain { .. } => desk.look_up_explained(ticket, key, Goal::Survey),
                    _ => desk.look_up(ticket, key, Goal::Survey),
                };
                self.lookups.insert(id, UserLookup { name, key, since: desk.now(), holders: Vec::new() });
            }
            Command::Span => {
                self.spans.insert(id);
                desk.progress(id, Progress::Begun { bytes: 0 });
            }
            command => debug_assert!(false, "{command:?} is for another part"),
        }
    }

    fn on_tick(&mut self, desk: &mut Desk) {
        if let Some((&id, _)) = self.lists.first_key_value() {
            self.go_on(desk, id);
        }
    }

    fn next_wake(&self, desk: &Desk) -> Option<Time> {
        (!self.lists.is_empty()).then(|| desk.now())
    }

    fn end(&mut self, desk: &mut Desk, whose: Option<CommandId>, kind: FailureKind, reason: &str) -> usize {
        let (spans, others): (BTreeSet<_>, _) = self.spans.iter().partition(|&&command| is_meant(whose, command));
        self.spans = others;
        spans.iter().for_each(|&command| desk.fail(command, kind, reason));
        if kind != FailureKind::Cancelled {
            return spans.len();
        }
        let pings = desk.abandon(|ticket| ticket.owner == PartId::User && is_meant(whose, ticket.number));
        let mut ended: Vec<CommandId> = pings.iter().map(|ticket| ticket.number).collect();
        self.lookups.retain(|&command, lookup| {
            if is_meant(whose, command) {
                desk.cancel_lookup(lookup.name);
                desk.explanation(lookup.name);
                ended.push(command);
            }
            !is_meant(whose, command)
        });
        ended.extend(self.lists.keys().copied().filter(|&command| is_meant(whose, command)));
        self.lists.retain(|&command, _| !is_meant(whose, command));
        ended.iter().for_each(|&command| desk.fail(command, kind, reason));
        spans.len() + ended.len()
    }
}

impl User {
    /// Goes on with a list; once it is whole, that is the answer.
    fn go_on(&mut self, desk: &mut Desk, id: CommandId) {
        let Some(list) = self.lists.get_mut(&id) else { return };
        let (some, next) = desk.holdings().some(&list.from, LISTED_A_TURN);
        list.blocks.extend(some);
        match next {
            Some(next) => list.from = next,
            None => {
                let blocks = std::mem::take(&mut list.blocks);
                self.lists.remove(&id);
                desk.answer(id, Answer::List { blocks });
            }
        }
    }
}

/// A ping of the user's is answered.
fn pong(desk: &mut Desk, command: CommandId, Answered { to, by, answer, rtt }: Answered) {
    match (answer, by) {
        (Err(reason), _) => desk.fail(command, FailureKind::Other, format!("{} refused: {reason}", to.addr)),
        (Ok(_), Some(peer)) => desk.answer(command, Answer::Pong { peer, rtt }),
        (Ok(_), None) => {
            desk.fail(command, FailureKind::Other, format!("{} answers, but not as a peer does", to.addr));
        }
    }
}
