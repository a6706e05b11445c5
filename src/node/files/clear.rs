//! `clear`: drop the local copies of a file's blocks, as far as they and the lists that name them are here.
//!
//! Unless that is forced, another holder of each block is found first, which says itself that it holds it: what may be
//! the only copy stays.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use super::task::{Task, Tasks};
use super::{Flow, GOES_ON, OVER};
use crate::file::tree::list_keys;
use crate::id::Key;
use crate::node::command::{Command, CommandId, Source};
use crate::node::desk::Desk;
use crate::node::job::{Holder, Job, Outcome, Urgency};
use crate::node::notice::{Answer, FailureKind};
use crate::node::ticket::{About, Answered, PartId, Reply, Ticket};
use crate::overlay::{Goal, LookupId};
use crate::wire::{Request, Response};

/// The `clear`s under way.
pub(in crate::node) type Clears = Tasks<Clear>;

/// A `clear` under way: one step at a time.
#[derive(Default)]
pub(in crate::node) struct Clear {
    command: CommandId,
    force: bool,
    queue: VecDeque<ClearStep>,
    /// Blocks of which another holder is looked for, and those that have one.
    seeking: BTreeMap<Key, Seeking>,
    found: VecDeque<Key>,
    cleared: u64,
    kept: u64,
    cancelled: bool,
    current: Option<ClearStep>,
}

/// Another holder of a block is looked for.
struct Seeking {
    lookup: Option<LookupId>,
    /// Peers that were asked whether they hold it, and have not answered.
    asked: BTreeSet<SocketAddr>,
}

#[derive(Clone, Debug)]
enum ClearStep {
    /// Read a local manifest and delete what it lists.
    List(Source),
    /// Read a manifest block from the own store and delete what it lists, then itself.
    Tree(Key),
    Delete(Key),
}

impl Task for Clear {
    fn begin(desk: &mut Desk, id: CommandId, command: Command) -> Option<Self> {
        let Command::Clear { sources, force } = command else { return None };
        let queue = sources.into_iter().map(ClearStep::List).collect();
        let mut clear = Self { command: id, force, queue, ..Self::default() };
        clear.go_on(desk).is_continue().then_some(clear)
    }

    fn command(&self) -> CommandId {
        self.command
    }

    fn on(&mut self, desk: &mut Desk, about: About, reply: Reply) -> Flow {
        match (about, reply) {
            (_, Reply::Done { outcome, .. }) => self.on_step(desk, outcome),
            (About::Block(key), reply) => self.on_sought(desk, key, reply),
            _ => GOES_ON,
        }
    }

    /// What the user cancels ends after the step that is under way.
    fn end(&mut self, _desk: &mut Desk, kind: FailureKind, _reason: &str) -> Flow {
        self.cancelled |= kind == FailureKind::Cancelled;
        GOES_ON
    }
}

impl Clear {
    /// Orders the next step, and looks for others that hold what is to go; answers when nothing is left.
    fn go_on(&mut self, desk: &mut Desk) -> Flow {
        if self.cancelled && self.current.is_none() {
            self.seeking.values_mut().for_each(|seeking| desk.cancel_lookup(seeking.lookup.take()));
            let reason = format!("cancelled; blocks cleared before that: {}", self.cleared);
            desk.fail(self.command, FailureKind::Cancelled, reason);
            return OVER;
        }
        while self.current.is_none() {
            if let Some(key) = self.found.pop_front() {
                desk.delete(self.ticket(key), Urgency::Own, key);
                self.current = Some(ClearStep::Delete(key));
                break;
            }
            if self.seeking.len() >= desk.config().window {
                break;
            }
            let Some(step) = self.queue.pop_front() else { break };
            self.take(desk, step);
        }
        if self.current.is_some() || !self.seeking.is_empty() {
            return GOES_ON;
        }
        desk.answer(self.command, Answer::Cleared { blocks: self.cleared, kept: self.kept });
        OVER
    }

    fn take(&mut self, desk: &mut Desk, step: ClearStep) {
        let work = match &step {
            ClearStep::List(Source::Manifest(path)) => Job::ReadManifest { path: path.clone() },
            ClearStep::List(Source::Key(key)) => return self.queue.push_front(ClearStep::Tree(*key)),
            ClearStep::Tree(key) | ClearStep::Delete(key) if !desk.holds(key) => return,
            ClearStep::Tree(key) => Job::Unpack { key: *key, from: Holder::Own, root_of: None },
            ClearStep::Delete(key) if self.force => return self.found.push_back(*key),
            // A block may stand in a file twice.
            ClearStep::Delete(key) if self.seeking.contains_key(key) => return,
            ClearStep::Delete(key) => {
                let lookup = Some(desk.look_up(self.ticket(*key), *key, Goal::Holders));
                self.seeking.insert(*key, Seeking { lookup, asked: BTreeSet::new() });
                return;
            }
        };
        self.current = Some(step);
        desk.order(Ticket::of(PartId::Clears, self.command), work, Urgency::Own);
    }

    fn ticket(&self, key: Key) -> Ticket {
        Ticket { about: About::Block(key), ..Ticket::of(PartId::Clears, self.command) }
    }

    /// Something came of the search for another holder. A peer that is named is asked itself.
    fn on_sought(&mut self, desk: &mut Desk, key: Key, reply: Reply) -> Flow {
        let ticket = self.ticket(key);
        let Some(seeking) = self.seeking.get_mut(&key) else { return GOES_ON };
        match reply {
            Reply::Holder(peer) if !desk.is_me(&peer) && seeking.asked.insert(peer.addr) => {
                desk.ask(ticket, peer, Request::FindValue { key });
            }
            Reply::Found(_) => seeking.lookup = None,
            Reply::Answer(Answered { answer: Ok(Response::Node(_) | Response::Holder { .. }), .. }) => {
                desk.cancel_lookup(seeking.lookup.take());
                self.seeking.remove(&key);
                self.found.push_back(key);
                return self.go_on(desk);
            }
            Reply::Answer(Answered { to, .. }) | Reply::Silence { to, .. } => drop(seeking.asked.remove(&to.addr)),
            _ => {}
        }
        if seeking.lookup.is_none() && seeking.asked.is_empty() {
            self.seeking.remove(&key);
            self.kept += 1;
        }
        self.go_on(desk)
    }

    /// A step is done.
    fn on_step(&mut self, desk: &mut Desk, outcome: Outcome) -> Flow {
        match (self.current.take(), outcome) {
            (_, Outcome::Manifest { entries, sha256, .. }) => {
                // The seed's text does not show what the lists above its blocks are.
                let lists = sha256.map(|sha256| list_keys(entries.iter().copied(), sha256)).unwrap_or_default();
                self.queue.extend(entries.into_iter().map(|entry| entry.key).chain(lists).map(ClearStep::Delete));
            }
            (Some(ClearStep::Tree(key)), Outcome::Unpacked { manifest }) => {
                let below = |key| if manifest.level == 0 { ClearStep::Delete(key) } else { ClearStep::Tree(key) };
                self.queue.push_front(ClearStep::Delete(key));
                for entry in manifest.entries.iter().rev() {
                    self.queue.push_front(below(entry.key));
                }
            }
            (Some(ClearStep::Tree(key)), Outcome::NotManifest { .. }) => self.queue.push_front(ClearStep::Delete(key)),
            (Some(ClearStep::Delete(_)), Outcome::Done) => self.cleared += 1,
            (Some(ClearStep::List(_) | ClearStep::Delete(_)), Outcome::Failed(error)) => {
                desk.fail(self.command, FailureKind::Other, error.reason);
                return OVER;
            }
            // A manifest that is damaged or not here lists nothing; what else was asked for is still cleared.
            (Some(ClearStep::Tree(key)), Outcome::Failed(_)) => self.queue.push_front(ClearStep::Delete(key)),
            (step, outcome) => debug_assert!(false, "{step:?} ended with {outcome:?}"),
        }
        self.go_on(desk)
    }
}
