//! `clear`: drop the local copies of a file's blocks, as far as they and the lists that name them are here.
//!
//! Unless that is forced, another holder of each block is found first, which says itself that it holds it: what may be
//! the only copy stays.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;

use super::task::{Task, Tasks};
use super::{Flow, GOES_ON, OVER};
use crate::file::tree::list_keys;
use crate::id::Key;
use crate::node::command::{Command, CommandId, Source};
use crate::node::desk::Desk;
use crate::node::job::{Holder, Job, Outcome};
use crate::node::jobs::Urgency;
use crate::node::notice::{Answer, FailureKind};
use crate::node::part::{About, Answered, PartId, Reply, Ticket};
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
    seeking: Option<Seeking>,
    cleared: u64,
    kept: u64,
    cancelled: bool,
    current: Option<ClearStep>,
}

/// Another holder of a block is looked for.
struct Seeking {
    key: Key,
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
        match (reply, &mut self.seeking) {
            (Reply::Done { outcome, .. }, _) => self.on_step(desk, outcome),
            (reply, Some(seeking)) if about == About::Block(seeking.key) => self.on_sought(desk, reply),
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
    /// Orders the next step, or answers when none is left.
    fn go_on(&mut self, desk: &mut Desk) -> Flow {
        if self.cancelled {
            let reason = format!("cancelled; blocks cleared before that: {}", self.cleared);
            desk.fail(self.command, FailureKind::Cancelled, reason);
            return OVER;
        }
        while let Some(step) = self.queue.pop_front() {
            let ticket = Ticket::of(PartId::Clears, self.command);
            let work = match &step {
                ClearStep::List(Source::Manifest(path)) => Job::ReadManifest { path: path.clone() },
                ClearStep::List(Source::Key(key)) => {
                    self.queue.push_front(ClearStep::Tree(*key));
                    continue;
                }
                ClearStep::Tree(key) | ClearStep::Delete(key) if !desk.holds(key) => continue,
                ClearStep::Tree(key) => Job::Unpack { key: *key, from: Holder::Own },
                ClearStep::Delete(key) if self.force => return self.delete(desk, *key),
                ClearStep::Delete(key) => {
                    let ticket = Ticket { about: About::Block(*key), ..ticket };
                    let lookup = Some(desk.look_up(ticket, *key, Goal::Holders));
                    self.seeking = Some(Seeking { key: *key, lookup, asked: BTreeSet::new() });
                    return GOES_ON;
                }
            };
            self.current = Some(step);
            desk.order(ticket, work, Urgency::Own);
            return GOES_ON;
        }
        desk.answer(self.command, Answer::Cleared { blocks: self.cleared, kept: self.kept });
        OVER
    }

    fn delete(&mut self, desk: &mut Desk, key: Key) -> Flow {
        let ticket = Ticket { about: About::Block(key), ..Ticket::of(PartId::Clears, self.command) };
        desk.delete(ticket, Urgency::Own, key);
        self.current = Some(ClearStep::Delete(key));
        GOES_ON
    }

    /// Something came of the search for another holder. One that is named is asked itself.
    fn on_sought(&mut self, desk: &mut Desk, reply: Reply) -> Flow {
        let Some(seeking) = &mut self.seeking else { return GOES_ON };
        let key = seeking.key;
        match reply {
            Reply::Holder(peer) if !desk.is_me(&peer) && seeking.asked.insert(peer.addr) => {
                let ticket = Ticket { about: About::Block(key), ..Ticket::of(PartId::Clears, self.command) };
                desk.ask(ticket, peer, Request::FindValue { key });
            }
            Reply::Found(_) => seeking.lookup = None,
            Reply::Answer(Answered { answer: Ok(Response::Node(_) | Response::Holder { .. }), .. }) => {
                desk.cancel_lookup(seeking.lookup.take());
                self.seeking = None;
                return self.delete(desk, key);
            }
            Reply::Answer(Answered { to, .. }) | Reply::Silence { to, .. } => drop(seeking.asked.remove(&to.addr)),
            _ => {}
        }
        if seeking.lookup.is_none() && seeking.asked.is_empty() {
            self.seeking = None;
            self.kept += 1;
            return self.go_on(desk);
        }
        GOES_ON
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
