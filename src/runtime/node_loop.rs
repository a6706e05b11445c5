//! `node`: the thread that owns the core. It waits for one inbox among five, hands what came to [`Node::handle`], and
//! does or delegates what the node wants done. It blocks nowhere else, unless the command [`pause`](super::pause) has
//! it stand still.
//!
//! A turn: take one thing from whichever inbox has something (datagrams count as one, up to a full batch), then
//! send every datagram that came of it (with one system call, where the system has one for many), then tell the sweeper
//! if the next deadline moved forward.

mod datagrams;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, select};

use super::channels::{ANSWERS, GAUGED, Gauged, TICKS};
use super::links::Links;
use super::post::{Posted, queued};
use super::recorder::Recorder;
use super::state::Readiness;
use super::stream::is_spooled;
use super::submit::{QueuedCommand, SessionId, Submission, Submitted};
use super::sweeper::Alarm;
use super::transfer::{Assignment, OthersPulls, Pool};
use super::udp::{Batch, Datagram, Outgoing};
use super::watchdog::Watchdog;
use super::{Role, Shared, fault};
use crate::gauges::{self, Activity};
use crate::node::job::Outcome;
use crate::node::{
    Action, Answer, Command, CommandId, Event, NamedBy, Node, Notice, Obstacle, Outbox, Phase, Progress,
};
use crate::peer::Peer;
use crate::record::Timing;
use crate::record::words::Names;
use crate::time::Time;
use crate::wire::{Body, MAX_DATAGRAM_SENT, Via};

/// Where things come in.
pub(super) struct Inboxes {
    pub(super) datagrams: Receiver<Batch>,
    /// Emptied batches, back to where they are filled.
    pub(super) spent: Sender<Vec<Datagram>>,
    pub(super) posts: Receiver<Posted>,
    pub(super) commands: Submitted,
    pub(super) ticks: Receiver<Time>,
    /// Leave at once: the program holds the peer no more, or a thread that it needs has failed.
    pub(super) leave: Receiver<()>,
}

/// Everything the node thread works with.
pub(super) struct NodeLoop {
    pub(super) node: Node,
    pub(super) me: Peer,
    pub(super) shared: Arc<Shared>,
    pub(super) inboxes: Inboxes,
    pub(super) alarm: Alarm,
    pub(super) udp: Outgoing,
    pub(super) pool: Pool,
    pub(super) links: Links,
    pub(super) state: Arc<Readiness>,
    pub(super) recorder: Option<Recorder>,
    pub(super) own: LoopState,
}

/// What belongs to the loop itself.
#[derive(Default)]
pub(super) struct LoopState {
    out: Outbox,
    /// What performing an action brought about at once.
    next: VecDeque<Event>,
    armed: Option<Time>,
    asking: BTreeMap<CommandId, Commander>,
    last_command: CommandId,
    watchdog: Watchdog,
    /// Datagrams dropped at the inbox, as far as the node was told.
    dropped: u64,
    stopped: bool,
}

/// The caller that gave a command and waits for its answer.
struct Commander {
    session: SessionId,
    answer: Sender<Notice>,
    /// What those who watch are told at its end, besides.
    named: Option<NamedBy>,
    /// What those who watch are told of, if they are.
    phase: Option<Phase>,
    /// Bytes or blocks that it moves, as far as that is known.
    of: u64,
    /// When the next of its steps is told to those who watch; to the one who asked from `shows_from` on.
    tells_at: Time,
    shows_from: Time,
}

/// How a stream is called: as a user types it.
const STREAM: &str = "-";

/// What the log calls the lines of moments.
const MOMENTS_TARGET: &str = "kadring::moments";

/// A command's steps are told this often at most. The caller is told of none so long after it began: to wake a thread
/// takes longer than most turns.
const PACE: Duration = Duration::from_millis(100);

impl NodeLoop {
    /// Runs until the node has left.
    pub(super) fn run(&mut self, start: Event) {
        self.handle(start);
        self.end_turn();
        while !self.own.stopped {
            self.take_one();
            self.end_turn();
        }
    }

    fn take_one(&mut self) {
        let inboxes = &self.inboxes;
        if let Some((doing, took)) = self.own.watchdog.rest() {
            let (doing, took) = (doing.text(), took.as_millis());
            log::warn!("a turn of the node took {took} ms, in which nobody was answered: it {doing}");
        }
        select! {
            recv(inboxes.datagrams) -> batch => self.on_datagrams(batch.unwrap_or_default()),
            recv(inboxes.posts) -> posted => if let Ok(Posted { event, way }) = posted {
                let now = self.came(Activity::Event);
                let left = inboxes.posts.len();
                self.took(Gauged::Posts, left);
                self.hear_of_pulls(now);
                self.handle_at(now, event, way.as_deref());
            },
            recv(inboxes.commands.queue) -> asked => {
                let now = self.came(Activity::Command);
                let left = inboxes.commands.queue.len();
                self.took(Gauged::Commands, left);
                self.on_command(now, asked.ok());
            }
            recv(inboxes.ticks) -> put => {
                let now = self.came(Activity::Tick);
                let left = inboxes.ticks.len();
                self.took(Gauged::Ticks, left);
                self.on_tick(now, put.unwrap_or(now));
            }
            recv(inboxes.leave) -> _ => self.on_leave(),
        }
    }

    /// Something came, now.
    fn came(&self, doing: Activity) -> Time {
        self.shared.clock.gauged(gauges::came(doing))
    }

    /// One thing was taken from a queue, in which so many are left.
    fn took(&mut self, queue: Gauged, left: usize) {
        if self.own.watchdog.took(queue, left) {
            let channel = GAUGED[queue as usize];
            let (name, most, means) = (channel.name, channel.most(), channel.when_full());
            log::log!(
                if channel.loses() { log::Level::Warn } else { log::Level::Info },
                "the queue '{name}' of the node is full, with {most}: {means}; that is told once until it falls"
            );
        }
    }

    /// Says goodbye, and waits for nothing more. What was asked before gets its answer, or the end without one where
    /// that has to wait for others.
    pub(super) fn on_leave(&mut self) {
        let now = self.shared.clock.now();
        for _ in 0..self.inboxes.commands.queue.len() {
            self.on_command(now, self.inboxes.commands.queue.try_recv().ok());
        }
        // Where it has much to count, or was handing over, the second order is obeyed in its turn.
        (0..2).for_each(|_| self.on_command(now, None));
        self.own.stopped = true;
    }

    /// The node stood still: what is due was not looked at, and what is full is no news.
    pub(super) fn go_on(&mut self) {
        self.own.armed = None;
        self.own.watchdog.stood_still();
    }

    fn end_turn(&mut self) {
        loop {
            while let Some(event) = self.own.next.pop_front() {
                self.handle(event);
            }
            self.udp.flush();
            let Some((to, magic)) = self.udp.next_unsent() else { break };
            self.handle(Event::NoWay { to, magic });
        }
        if self.recorder.as_mut().is_some_and(|recorder| !recorder.end_turn(self.shared.clock.now())) {
            self.recorder = None;
        }
        let Some(wake) = self.node.next_wake() else { return };
        if self.own.armed.is_none_or(|armed| wake < armed) {
            self.own.armed = Some(wake);
            self.alarm.set(wake);
        }
    }

    /// Before anything that others say: a peer that says it saved a block may have pulled it a moment ago. And before
    /// each tick: a peer that is late may have begun. That alone wakes no thread, so it costs no turn.
    fn hear_of_pulls(&mut self, now: Time) {
        let OthersPulls { asked, delivered } = self.shared.ledger.take_pulls();
        if !asked.is_empty() {
            self.handle_at(now, Event::Asked { blocks: asked }, None);
        }
        if !delivered.is_empty() {
            self.handle_at(now, Event::Delivered { blocks: delivered }, None);
        }
    }

    fn on_tick(&mut self, now: Time, put: Time) {
        self.own.armed = None;
        // The deadline may have moved away since the sweeper was told.
        if self.node.next_wake().is_some_and(|wake| wake <= now) {
            self.hear_of_pulls(now);
            let way = self.recorder.as_ref().map(|_| queued(&TICKS, Role::Sweeper, put));
            self.handle_at(now, Event::Tick, way.as_deref());
        }
    }

    /// A command; none once every handle to this peer is gone, which means: leave.
    pub(super) fn on_command(&mut self, now: Time, placed: Option<QueuedCommand>) {
        fault::point(Role::Node);
        let Some(QueuedCommand { asked, way }) = placed else {
            return self.begin(now, Command::Quit { handover: false }, None, None);
        };
        self.inboxes.commands.free_place(&asked);
        let way = way.as_deref();
        match asked {
            Submission::Command { session, mut command, of, answer } => {
                if let Command::Interrupt { commands, .. } = &mut command {
                    commands.extend(self.of_session(session));
                }
                let (phase, named) = (Phase::of(&command), NamedBy::of(&command).map(name_of_stream));
                let (tells_at, shows_from) = (Time::ZERO, now + PACE);
                let commander = Commander { session, answer, named, phase, of, tells_at, shows_from };
                self.begin(now, command, Some(commander), way);
            }
            Submission::Pause { session, span, tell } => self.pause(session, span, &tell),
            Submission::Cancel { session } => {
                for command in self.of_session(session) {
                    self.begin(now, Command::Cancel { command }, None, way);
                }
            }
        }
    }

    /// The commands of a session that are under way.
    fn of_session(&self, session: SessionId) -> Vec<CommandId> {
        let asked = self.own.asking.iter().filter(|(_, commander)| commander.session == session);
        asked.map(|(&command, _)| command).collect()
    }

    fn begin(&mut self, now: Time, command: Command, commander: Option<Commander>, way: Option<&Timing>) {
        self.own.last_command += 1;
        let id = self.own.last_command;
        if let Some(commander) = commander {
            self.own.asking.insert(id, commander);
        }
        self.handle_at(now, Event::Command { id, command }, way);
    }

    fn handle(&mut self, event: Event) {
        self.handle_at(self.shared.clock.now(), event, None);
    }

    /// `way`: how it came here, for a record.
    fn handle_at(&mut self, now: Time, event: Event, way: Option<&Timing>) {
        if let Event::Moved { addr } = event {
            self.me.addr = addr;
            self.links.move_to(addr);
        }
        let mut out = std::mem::take(&mut self.own.out);
        let recorded = self.recorder.as_mut().and_then(|recorder| recorder.begin(&event));
        let traced = log::log_enabled!(target: MOMENTS_TARGET, log::Level::Trace).then(|| event.clone());
        self.node.handle(now, event, &mut out);
        if let Some(event) = traced {
            // Before anything of it leaves: so of two peers' lines the sender's is the earlier one.
            log::trace!(target: MOMENTS_TARGET, "{}", Names::default().moment(&event, &out, ""));
        }
        if let (Some(recorder), Some(event)) = (&mut self.recorder, recorded) {
            recorder.add(now, event, &out, way);
        }
        for action in out.drain(..) {
            self.perform(action);
        }
        self.own.out = out;
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Send { to, via: Via::Udp, message } => {
                let (me, dialect) = (&self.me, self.shared.dialect);
                let asks = matches!(message.body, Body::Request(_)).then_some(message.magic).or(message.asks);
                self.udp.push(to, asks, MAX_DATAGRAM_SENT, |text| dialect.encode(&message, me, to, text));
            }
            Action::Send { to, via: Via::Tcp, message } => {
                if let (Some(folder), Body::Request(request)) = (&self.shared.folder, &message.body) {
                    request.file_offered().into_iter().for_each(|file| folder.give(file));
                }
                if let Err(message) = self.links.send(to, self.udp.source(&to), message) {
                    self.own.next.push_back(Event::Undeliverable { to, message: *message, obstacle: Obstacle::Crowd });
                }
            }
            Action::Start { job, work } => {
                if let Err((job, error)) = self.pool.start(Assignment { job, work }) {
                    self.own.next.push_back(Event::JobDone { job, outcome: Outcome::Failed(error) });
                }
            }
            Action::Cancel { job } => self.shared.ledger.cancel(job),
            Action::Withdraw { put, key } => self.shared.ledger.withdraw(put, &key),
            Action::ForgetPut { put } => self.pool.forget_put(put),
            Action::ForgetGet { get } => self.pool.forget_get(get),
            Action::Notify(notice) => self.tell(notice),
            Action::Stop => self.own.stopped = true,
        }
    }

    /// Hands a notice to the command that it answers, or to those who watch.
    fn tell(&mut self, mut notice: Notice) {
        if let Notice::Answer { answer: Answer::Status(status), .. } = &mut notice {
            status.sealed = self.shared.keys.is_some();
            status.moved = (self.shared.connections.received(), self.shared.served.sent());
        }
        if let Notice::Joined { peers, shut_out } = notice {
            self.state.ready(peers, shut_out);
        }
        let Some(command) = notice.command() else { return self.state.publish(&notice) };
        // Those who watch hear of files, and of the end. A block that a caller stores or brings by itself is a step of
        // its own work.
        match &notice {
            Notice::Answer { answer: answer @ (Answer::Stored { .. } | Answer::Retrieved { .. }), .. } => {
                let commander = self.own.asking.get_mut(&command);
                if let Some(named) = commander.and_then(|commander| commander.named.take()) {
                    self.state.publish(&Notice::Done { command, answer: answer.clone(), named });
                }
            }
            Notice::Answer { answer: Answer::Left { .. } | Answer::Cleared { .. }, .. } => self.state.publish(&notice),
            _ => {}
        }
        let over = matches!(notice, Notice::Answer { .. });
        let Some(commander) = self.own.asking.get_mut(&command) else { return };
        if let Some(news) = commander.hear(self.shared.clock.now(), command, notice) {
            self.state.publish(&news);
        }
        if over {
            self.own.asking.remove(&command);
        }
    }
}

impl Commander {
    /// Takes what its command tells at `now`, each step in its time. What comes back is what those who watch are told.
    fn hear(&mut self, now: Time, command: CommandId, notice: Notice) -> Option<Notice> {
        let session = self.session;
        let done = match &notice {
            // At once: the user who asked may end the command from here on, by the number that this tells.
            Notice::Progress { progress: Progress::Begun { bytes }, .. } => {
                self.of = *bytes;
                hand(&self.answer, notice);
                return None;
            }
            Notice::Progress { progress, .. } if progress.is_a_step() && now < self.tells_at => return None,
            Notice::Progress { progress: Progress::Moved { bytes, .. }, .. } => *bytes,
            Notice::Progress { progress: Progress::HandedOver { blocks, of }, .. } => {
                self.of = *of;
                *blocks
            }
            Notice::Answer { answer, .. } => {
                let failure = answer.verdict();
                hand(&self.answer, notice);
                return self.phase.map(|phase| Notice::Ended { command, session, phase, failure });
            }
            _ => {
                hand(&self.answer, notice);
                return None;
            }
        };
        self.tells_at = now + PACE;
        // A departure whose first step is not told shows nothing as long as it stands still; its bar waits for that.
        if now >= self.shows_from || self.phase == Some(Phase::HandingOver) {
            hand(&self.answer, notice);
        }
        self.phase.map(|phase| Notice::Step { command, session, phase, done, of: self.of })
    }
}

/// A stream that is stored is called as its user would call it, whatever file it was copied to.
fn name_of_stream(named: NamedBy) -> NamedBy {
    match named {
        NamedBy::Stored { file } if is_spooled(&file) => NamedBy::Stored { file: STREAM.into() },
        named => named,
    }
}

/// Hands a notice to the caller who asked. One that does not read misses progress, which the next progress makes up
/// for, but never what was kept nor the answer: of these there is one each.
fn hand(commander: &Sender<Notice>, notice: Notice) {
    let must = !matches!(notice, Notice::Progress { .. })
        || matches!(notice, Notice::Progress { progress: Progress::Kept { .. }, .. });
    if must || commander.len() < ANSWERS.most() {
        // No caller has to listen to an answer.
        let _ = commander.send(notice);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the commander of a store hears of such news at such times, and what those who watch hear.
    fn told(news: &[(u64, Progress)]) -> (Vec<Progress>, Vec<(u64, u64)>) {
        let (answer, notices) = ANSWERS.open();
        let (phase, shows_from) = (Some(Phase::Storing), Time::ZERO + PACE);
        let mut commander =
            Commander { session: 1, answer, named: None, phase, of: 0, tells_at: Time::ZERO, shows_from };
        let steps = news.iter().filter_map(|(millis, progress)| {
            let notice = Notice::Progress { command: 1, progress: progress.clone() };
            match commander.hear(Time::ZERO + Duration::from_millis(*millis), 1, notice)? {
                Notice::Step { done, of, .. } => Some((done, of)),
                other => panic!("{other:?} is no step"),
            }
        });
        let steps = steps.collect();
        let heard = notices.try_iter().filter_map(|notice| match notice {
            Notice::Progress { progress, .. } => Some(progress),
            _ => None,
        });
        (heard.collect(), steps)
    }

    #[test]
    fn ten_steps_a_second_are_told_and_to_the_one_who_asked_none_of_a_command_that_takes_but_a_moment() {
        let begun = Progress::Begun { bytes: 9 };
        let moved = |bytes| Progress::Moved { bytes, resumed: 0 };
        let short = [(1, begun.clone()), (2, moved(5)), (99, moved(9))];
        assert_eq!(told(&short), (vec![begun.clone()], vec![(5, 9)]));
        let long =
            [(1, begun.clone()), (2, moved(1)), (101, moved(2)), (102, moved(3)), (201, moved(4)), (202, moved(5))];
        assert_eq!(told(&long), (vec![begun, moved(3), moved(5)], vec![(1, 9), (3, 9), (5, 9)]));
        let retried = Progress::Retried { key: crate::id::Id::ZERO, reason: String::new() };
        assert_eq!(told(&[(1, retried.clone())]), (vec![retried], vec![]));
    }

    #[test]
    fn who_reads_no_progress_bounds_what_waits_and_still_gets_the_answer() {
        let (asker, notices) = ANSWERS.open();
        for bytes in 0..10_000 {
            hand(&asker, Notice::Progress { command: 1, progress: Progress::Moved { bytes, resumed: 0 } });
        }
        let kept = Notice::Progress { command: 1, progress: Progress::Kept { bytes: 1, of: 2 } };
        let answer = Notice::Answer { command: 1, answer: Answer::Interrupted { commands: 1 } };
        hand(&asker, kept.clone());
        hand(&asker, answer.clone());
        let read: Vec<_> = notices.try_iter().collect();
        assert_eq!(read.len(), ANSWERS.most() + 2);
        assert_eq!(read[ANSWERS.most()..], [kept, answer]);
    }
}
