//! Scrub: all blocks held here are read and hashed once in a while, because disks rot and it may be years before a peer
//! asks for them.
//!
//! In the background one block is read at a time, so that a pass through all of them takes the time that the user gave,
//! and after each this part rests 49 times as long as it took: it takes 2 % of the disk's time and of a core at most,
//! and rather takes longer. `scrub` does it now, without rests, a few blocks at a time. What is found damaged is moved
//! aside, told and [healed](super::heal) as always.
//!
//! A pass begins at a key that chance gives to each start of this peer and goes once round all keys: a peer that is
//! often started anew does not read the same blocks each time.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::id::Key;
use crate::node::command::{Command, CommandId, is_meant};
use crate::node::desk::Desk;
use crate::node::health::{Scrubbed, Scrubbing};
use crate::node::job::{Job, JobErrorKind, Outcome, Urgency};
use crate::node::notice::{Answer, FailureKind, Progress};
use crate::node::part::Part;
use crate::node::ticket::{About, News, PartId, Reply, Ticket};
use crate::time::Time;

/// After a block was read, this many times as long nothing is.
const REST: u32 = 49;

/// Blocks that are read at a time where the user asked for it.
const MAX_READS: usize = 2;

/// The reading of all blocks.
pub(in crate::node) struct Scrub {
    /// Where a pass begins.
    start: Key,
    /// The pass under way, in the background or for the user.
    pass: Option<ScrubPass>,
    /// Blocks that are being read, since when; whether each was found damaged.
    reading: BTreeMap<Key, (Time, bool)>,
    /// When the next block is read in the background.
    due: Option<Time>,
    /// The last pass, and when it ended.
    last: Option<(Scrubbed, Time)>,
}

/// A pass through all blocks.
struct ScrubPass {
    /// Where to go on; none once all were begun with.
    next: Option<Key>,
    /// Whether it has gone past the greatest key.
    wrapped: bool,
    began: Time,
    done: Scrubbed,
    /// The commands that wait for it; none of one in the background.
    commands: Vec<CommandId>,
}

impl ScrubPass {
    fn new(start: Key, began: Time, commands: Vec<CommandId>) -> Self {
        Self { next: Some(start), wrapped: false, began, done: Scrubbed::default(), commands }
    }

    /// The next block; none if all were begun with.
    fn next(&mut self, desk: &Desk, start: &Key) -> Option<Key> {
        let from = self.next?;
        let found = match desk.holdings().first_from(&from) {
            None if !self.wrapped => {
                self.wrapped = true;
                desk.holdings().first_from(&Key::ZERO)
            }
            found => found,
        };
        let found = found.filter(|key| !self.wrapped || key < start);
        self.next = found.and_then(|key| key.next());
        if found == Some(Key::MAX) && !self.wrapped {
            (self.next, self.wrapped) = (Some(Key::ZERO), true);
        }
        found
    }
}

impl Part for Scrub {
    fn on(&mut self, desk: &mut Desk, ticket: Ticket, reply: Reply) {
        if let (About::Block(key), Reply::Done { outcome, .. }) = (ticket.about, reply)
            && let Some((since, damaged)) = self.reading.remove(&key)
        {
            self.on_read(desk, key, &outcome, damaged);
            self.go_on(desk, desk.now().since(since));
        }
    }

    /// The user wants it done now. A command that comes while it is done for another gets the same answer.
    fn on_command(&mut self, desk: &mut Desk, id: CommandId, _command: Command) {
        match &mut self.pass {
            Some(pass) if !pass.commands.is_empty() => pass.commands.push(id),
            _ => self.pass = Some(ScrubPass::new(self.start, desk.now(), vec![id])),
        }
        self.due = None;
        let bytes = desk.holdings().bytes();
        desk.progress(id, Progress::Begun { bytes });
        self.read_for_user(desk);
    }

    fn on_news(&mut self, desk: &mut Desk, news: News<'_>) {
        match news {
            News::StoreRead { .. } | News::Held(_) => self.plan(desk),
            News::Damaged { key, .. } => {
                if let Some((_, damaged)) = self.reading.get_mut(key) {
                    *damaged = true;
                }
            }
            _ => {}
        }
    }

    fn on_tick(&mut self, desk: &mut Desk) {
        if self.due.is_none_or(|due| due > desk.now()) || desk.is_leaving() {
            return;
        }
        self.due = None;
        match self.pass.as_mut().and_then(|pass| pass.next(desk, &self.start)) {
            Some(key) => self.read(desk, key),
            None => self.end_pass(desk),
        }
    }

    fn next_wake(&self, desk: &Desk) -> Option<Time> {
        self.due.filter(|_| !desk.is_leaving())
    }

    fn under_way(&self) -> usize {
        self.pass.as_ref().map_or(0, |pass| pass.commands.len())
    }

    /// A pass that no command wants any more goes on in the background.
    fn end(&mut self, desk: &mut Desk, whose: Option<CommandId>, kind: FailureKind, reason: &str) -> usize {
        let Some(pass) = &mut self.pass else { return 0 };
        let (ended, left): (Vec<_>, Vec<_>) =
            std::mem::take(&mut pass.commands).into_iter().partition(|id| is_meant(whose, *id));
        pass.commands = left;
        ended.iter().for_each(|id| desk.fail(*id, kind, reason));
        self.plan(desk);
        ended.len()
    }

    fn scrubbing(&self, desk: &Desk) -> Option<Scrubbing> {
        let period = desk.config().scrub?;
        let ago = |ended: &Time| desk.now().since(*ended);
        Some(Scrubbing {
            period,
            done: self.pass.as_ref().map_or(0, |pass| pass.done.blocks),
            of: desk.holdings().len() as u64,
            last: self.last.as_ref().map(|(last, _)| *last),
            ago: self.last.as_ref().map(|(_, ended)| ago(ended)),
        })
    }

    fn check(&self, _desk: &Desk) -> Result<(), String> {
        let right = self.reading.len() <= MAX_READS + 1 && (self.reading.is_empty() || self.pass.is_some());
        right.then_some(()).ok_or_else(|| "more blocks are scrubbed at a time than may be".to_owned())
    }
}

impl Scrub {
    /// A scrub whose passes begin at `start`.
    pub(in crate::node) fn new(start: Key) -> Self {
        Self { start, pass: None, reading: BTreeMap::new(), due: None, last: None }
    }

    fn is_for_user(&self) -> bool {
        self.pass.as_ref().is_some_and(|pass| !pass.commands.is_empty())
    }

    /// Plans the next read in the background: so that all that are left take the time that is left, not sooner than
    /// now.
    fn plan(&mut self, desk: &Desk) {
        let Some(period) = desk.config().scrub.filter(|_| !desk.config().guest) else { return };
        let held = desk.holdings().len() as u64;
        if held == 0 || self.is_for_user() || !self.reading.is_empty() {
            return;
        }
        let now = desk.now();
        let pass = self.pass.get_or_insert_with(|| ScrubPass::new(self.start, now, Vec::new()));
        let left = u32::try_from(held.saturating_sub(pass.done.blocks)).unwrap_or(u32::MAX).max(1);
        let pace = (pass.began + period).max(now).since(now) / left;
        let due = now + pace;
        self.due = Some(self.due.map_or(due, |planned| planned.min(due)));
    }

    fn read(&mut self, desk: &mut Desk, key: Key) {
        self.reading.insert(key, (desk.now(), false));
        desk.see(&key);
        let urgency = if self.is_for_user() { Urgency::Own } else { Urgency::Others };
        desk.order(Ticket::block(PartId::Scrub, key), Job::Rehash { key }, urgency);
    }

    fn on_read(&mut self, desk: &mut Desk, key: Key, outcome: &Outcome, damaged: bool) {
        let Some(pass) = &mut self.pass else { return };
        match outcome {
            Outcome::Sound { size } => {
                pass.done.blocks += 1;
                pass.done.bytes += u64::from(*size);
            }
            // It is sound, for all that is known; the next pass reads it.
            Outcome::Failed(error) if error.kind == JobErrorKind::Busy && !damaged => {}
            // The disk says nothing of the block: it may be away.
            Outcome::Failed(error) if error.kind == JobErrorKind::Io && !damaged && desk.holds(&key) => {
                pass.done.unread += 1;
            }
            _ if damaged || desk.holds(&key) => {
                pass.done.blocks += 1;
                pass.done.damaged += 1;
            }
            // It was dropped meanwhile.
            _ => {}
        }
        let bytes = pass.done.bytes;
        pass.commands.iter().for_each(|id| desk.progress(*id, Progress::Moved { bytes, resumed: 0 }));
    }

    /// A block was read, which took so long.
    fn go_on(&mut self, desk: &mut Desk, took: Duration) {
        if self.is_for_user() {
            return self.read_for_user(desk);
        }
        self.plan(desk);
        let rested = desk.now() + took * REST;
        self.due = self.due.map(|due| due.max(rested));
    }

    /// Reads as many blocks as may be read at a time; ends the pass when none is left.
    fn read_for_user(&mut self, desk: &mut Desk) {
        while self.reading.len() < MAX_READS {
            match self.pass.as_mut().and_then(|pass| pass.next(desk, &self.start)) {
                Some(key) if self.reading.contains_key(&key) => {}
                Some(key) => self.read(desk, key),
                None if self.reading.is_empty() => return self.end_pass(desk),
                None => return,
            }
        }
    }

    fn end_pass(&mut self, desk: &mut Desk) {
        let Some(ScrubPass { began, mut done, commands, .. }) = self.pass.take() else { return };
        done.took = desk.now().since(began);
        commands.iter().for_each(|id| desk.answer(*id, Answer::Scrubbed(done)));
        self.last = Some((done, desk.now()));
        // A pass that was done sooner than it had to be leaves its time to the next.
        let period = desk.config().scrub.unwrap_or_default();
        let next = if commands.is_empty() { (began + period).max(desk.now()) } else { desk.now() };
        self.pass = Some(ScrubPass::new(self.start, next, Vec::new()));
        self.plan(desk);
    }
}
