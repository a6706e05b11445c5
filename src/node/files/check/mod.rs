//! `check`: how safe is a file? `check --repair`: make it safe now. `wait copies`: wait until it is.
//!
//! The file's tree is walked as a retrieve walks it, some blocks at a time; of each the peers that should hold it are
//! asked whether they do ([`inquiry`]). What they say is gathered in a [`tally`], which becomes the answer.

mod copies;
mod inquiry;
mod refill;
mod tally;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use inquiry::{Inquiry, InquiryTurn};
use tally::CheckTally;

use super::task::{Task, Tasks};
use super::{Flow, GOES_ON, OVER};
use crate::file::Manifest;
use crate::file::tree::{self, TreeWalk};
use crate::id::Key;
use crate::lease::Lease;
use crate::node::command::{Command, CommandId, Source, Until};
use crate::node::desk::Desk;
use crate::node::job::{Job, Outcome, PutId, Urgency};
use crate::node::notice::{Answer, FailureKind, Progress};
use crate::node::ticket::{About, News, PartId, Reply, Ticket};
use crate::time::Time;

/// The checks under way.
pub(in crate::node) type Checks = Tasks<Check>;

/// What is asked for.
#[derive(Default)]
struct CheckOptions {
    /// Holders hash their copies.
    verify: bool,
    /// Copies that are missing are made.
    repair: bool,
    /// The lease that the files' owner has on them.
    lease: Option<Lease>,
    /// It is over when every block has so many copies; without a number, as many as are wanted.
    until: Option<Option<usize>>,
    /// When that has failed.
    deadline: Option<Time>,
}

/// A check under way.
#[derive(Default)]
pub(in crate::node) struct Check {
    command: CommandId,
    /// Its number; the name, too, under which blocks are lent that are not held here.
    put: PutId,
    options: CheckOptions,
    since: Time,
    sources: VecDeque<Source>,
    /// A root or a local manifest is being read: what is in it is checked next.
    opening: bool,
    walk: Option<TreeWalk>,
    inquiries: BTreeMap<Key, Inquiry>,
    /// A list that is inquired about next: it is a data block too, and the inquiry about that is under way.
    held_back: Option<Key>,
    tally: CheckTally,
    lent: bool,
    /// Peers that did not answer.
    silent: BTreeSet<SocketAddr>,
    /// Holders that have hashed nothing since they said that they are busy, and when that was.
    busy: BTreeMap<SocketAddr, Time>,
    /// Holders that a block was read back from.
    honest: BTreeSet<SocketAddr>,
}

impl Task for Check {
    fn begin(desk: &mut Desk, id: CommandId, command: Command) -> Option<Self> {
        let now = desk.now();
        let (sources, options) = match command {
            Command::Check { sources, verify, repair, lease } => {
                (sources, CheckOptions { verify, repair, lease, ..CheckOptions::default() })
            }
            Command::Wait { until: Until::Copies { sources, copies }, limit } => {
                let deadline = limit.map(|limit| now + limit);
                (sources, CheckOptions { until: Some(copies), deadline, ..CheckOptions::default() })
            }
            _ => return None,
        };
        let (put, sources) = (desk.next_transfer(), sources.into());
        let mut check = Self { command: id, put, options, since: now, sources, ..Self::default() };
        check.go_on(desk).is_continue().then_some(check)
    }

    fn command(&self) -> CommandId {
        self.command
    }

    fn number(&self) -> u64 {
        self.put
    }

    fn on(&mut self, desk: &mut Desk, about: About, reply: Reply) -> Flow {
        match (about, reply) {
            (About::Block(key), reply) => self.turn(desk, key, |inquiry, context| inquiry.on(context, reply)),
            (About::AroundBlock(key), reply) => {
                self.turn(desk, key, |inquiry, context| inquiry.on_around(context, reply))
            }
            (About::Whole, Reply::Done { outcome: Outcome::Manifest { entries, .. }, .. }) => {
                self.opening = false;
                self.tally.bytes += entries.iter().map(|entry| entry.size).sum::<u64>();
                self.open(desk, TreeWalk::flat(entries))
            }
            (About::Whole, Reply::Done { outcome: Outcome::Failed(error), .. }) => {
                self.give_up(desk, FailureKind::from(&error), error.reason)
            }
            _ => GOES_ON,
        }
    }

    fn on_news(&mut self, desk: &mut Desk, news: News<'_>) -> Flow {
        match news {
            News::Hesitates(addr) | News::Doubtful(addr) | News::Stalls(addr) => {
                let is_offered = |(_, inquiry): &(&Key, &Inquiry)| inquiry.repair.out.contains(&addr);
                for key in self.inquiries.iter().filter(is_offered).map(|(key, _)| *key).collect::<Vec<_>>() {
                    self.turn(desk, key, |inquiry, context| inquiry.on_late(context, news))?;
                }
            }
            News::Up | News::Down(_) => self.inquiries.values_mut().for_each(|inquiry| inquiry.hurry(desk.now())),
            News::Held(key) => self.inquiries.get_mut(key).into_iter().for_each(|inquiry| inquiry.hurry(desk.now())),
            _ => {}
        }
        GOES_ON
    }

    fn on_tick(&mut self, desk: &mut Desk) -> Flow {
        if self.next_wake(desk).is_none_or(|due| due > desk.now()) {
            return GOES_ON;
        }
        if self.options.deadline.is_some_and(|deadline| deadline <= desk.now()) {
            let worst = self.inquiries.iter().max_by_key(|(_, inquiry)| inquiry.health());
            let reason = worst.map_or_else(String::new, |(key, inquiry)| {
                let wanted = self.options.until.flatten().unwrap_or(inquiry.wanted);
                inquiry.shortage(key, wanted, |addr| desk.is_full(addr))
            });
            return self.give_up(desk, FailureKind::TimedOut, format!("not true in time: {reason}"));
        }
        for key in self.inquiries.keys().copied().collect::<Vec<_>>() {
            self.turn(desk, key, Inquiry::on_tick)?;
        }
        GOES_ON
    }

    fn next_wake(&self, _desk: &Desk) -> Option<Time> {
        self.inquiries.values().filter_map(Inquiry::next_wake).chain(self.options.deadline).min()
    }

    fn is_busy(&self) -> bool {
        self.options.until.is_none()
    }

    fn end(&mut self, desk: &mut Desk, kind: FailureKind, reason: &str) -> Flow {
        self.give_up(desk, kind, reason.to_owned())
    }
}

impl Check {
    /// Has an inquiry take a turn, and goes on with what comes of it.
    fn turn(
        &mut self,
        desk: &mut Desk,
        key: Key,
        act: impl FnOnce(&mut Inquiry, &mut InquiryContext<'_>) -> InquiryTurn,
    ) -> Flow {
        let Some(inquiry) = self.inquiries.get_mut(&key) else { return GOES_ON };
        let ticket = Ticket { owner: PartId::Checks, number: self.put, about: About::Block(key) };
        let mut context = InquiryContext {
            desk,
            ticket,
            key,
            command: self.command,
            options: &self.options,
            lent: &mut self.lent,
            silent: &mut self.silent,
            busy: &mut self.busy,
            honest: &mut self.honest,
        };
        let turn = act(inquiry, &mut context);
        if matches!(turn, InquiryTurn::Goes) {
            return GOES_ON;
        }
        let Some(inquiry) = self.inquiries.remove(&key) else { return GOES_ON };
        self.tally.add(key, &inquiry);
        desk.progress(self.command, Progress::Moved { bytes: self.tally.looked, resumed: 0 });
        let is_root = std::mem::take(&mut self.opening);
        if matches!(turn, InquiryTurn::List(_)) {
            self.tally.note_list(key);
        }
        match turn {
            InquiryTurn::List(manifest) if is_root => {
                self.tally.bytes += manifest.size;
                self.open(desk, TreeWalk::new(manifest))
            }
            InquiryTurn::List(manifest) => self.supply(desk, manifest),
            InquiryTurn::Bare(size) if is_root => {
                self.tally.bytes += u64::from(size);
                self.go_on(desk)
            }
            InquiryTurn::Bare(_) => {
                let reason = "the file's manifest is wrong: a block stands where a list of blocks should be";
                self.give_up(desk, FailureKind::Integrity, reason.to_owned())
            }
            InquiryTurn::Unread => {
                self.tally.unread += 1;
                self.walk = None;
                self.go_on(desk)
            }
            InquiryTurn::Goes | InquiryTurn::Done => {
                self.opening = is_root;
                self.go_on(desk)
            }
        }
    }

    fn open(&mut self, desk: &mut Desk, walk: TreeWalk) -> Flow {
        self.walk = Some(walk);
        desk.progress(self.command, Progress::Begun { bytes: self.tally.bytes });
        self.go_on(desk)
    }

    fn supply(&mut self, desk: &mut Desk, manifest: Manifest) -> Flow {
        match self.walk.as_mut().map_or(Ok(()), |walk| walk.supply(manifest)) {
            Ok(()) => self.go_on(desk),
            Err(error) => self.give_up(desk, FailureKind::Integrity, format!("the file's manifest is wrong: {error}")),
        }
    }

    /// Begins to inquire about as many blocks as the window allows; ends the check when none is left.
    fn go_on(&mut self, desk: &mut Desk) -> Flow {
        if let Some(key) = self.held_back.take() {
            self.inquire_about_list(desk, key)?;
        }
        while self.inquiries.len() < desk.config().window && !self.opening {
            match (self.walk.as_mut().map(TreeWalk::next_step), self.sources.is_empty()) {
                (Some(tree::Stop::Slot { key, size, .. }), _) => {
                    if !self.inquiries.contains_key(&key) && !self.tally.knows(&key) {
                        self.inquire(desk, key, Inquiry::of_block(size))?;
                    }
                }
                // What it lists was met with it: a few small blocks could claim to be exabytes of the same.
                (Some(tree::Stop::Need { key }), _) if self.tally.has_read(&key) => {
                    self.walk.iter_mut().for_each(TreeWalk::pass_over);
                }
                (Some(tree::Stop::Need { key }), _) => self.inquire_about_list(desk, key)?,
                (Some(tree::Stop::Wait), _) => return GOES_ON,
                (Some(tree::Stop::Done), _) => self.walk = None,
                (None, false) => self.open_next(desk)?,
                (None, true) if self.inquiries.is_empty() => return self.succeed(desk),
                (None, true) => return GOES_ON,
            }
        }
        GOES_ON
    }

    fn open_next(&mut self, desk: &mut Desk) -> Flow {
        let Some(source) = self.sources.pop_front() else { return GOES_ON };
        self.opening = true;
        match source {
            Source::Key(key) => self.inquire_about_list(desk, key),
            Source::Manifest(path) => {
                desk.order(Ticket::of(PartId::Checks, self.put), Job::ReadManifest { path }, Urgency::Own);
                GOES_ON
            }
        }
    }

    /// Begins to inquire about a list, unless it has to wait.
    fn inquire_about_list(&mut self, desk: &mut Desk, key: Key) -> Flow {
        if self.inquiries.contains_key(&key) {
            self.held_back = Some(key);
            return GOES_ON;
        }
        self.inquire(desk, key, Inquiry::of_list())
    }

    /// Begins to inquire. Its first step is a lookup, so nothing comes of it at once.
    fn inquire(&mut self, desk: &mut Desk, key: Key, inquiry: Inquiry) -> Flow {
        self.inquiries.insert(key, inquiry);
        self.turn(desk, key, |inquiry, context| {
            inquiry.begin(context);
            InquiryTurn::Goes
        })
    }

    fn succeed(&mut self, desk: &mut Desk) -> Flow {
        let took = desk.now().since(self.since);
        self.drop_lent(desk);
        let tally = std::mem::take(&mut self.tally);
        let answer = match self.options.until {
            Some(_) => Answer::Waited { took },
            None => Answer::Checked(Box::new(tally.checked(took, |addr| desk.is_full(addr)))),
        };
        desk.answer(self.command, answer);
        OVER
    }

    fn give_up(&mut self, desk: &mut Desk, kind: FailureKind, reason: String) -> Flow {
        self.inquiries.values_mut().for_each(|inquiry| inquiry.cancel(desk));
        desk.abandon(|ticket| (ticket.owner, ticket.number) == (PartId::Checks, self.put));
        desk.drop_work(PartId::Checks, self.put);
        self.drop_lent(desk);
        desk.fail(self.command, kind, reason);
        OVER
    }

    fn drop_lent(&mut self, desk: &mut Desk) {
        if std::mem::take(&mut self.lent) {
            desk.forget_put(self.put);
        }
    }
}

/// What an inquiry works with while it takes a turn.
struct InquiryContext<'a> {
    desk: &'a mut Desk,
    ticket: Ticket,
    key: Key,
    command: CommandId,
    options: &'a CheckOptions,
    lent: &'a mut bool,
    silent: &'a mut BTreeSet<SocketAddr>,
    busy: &'a mut BTreeMap<SocketAddr, Time>,
    honest: &'a mut BTreeSet<SocketAddr>,
}

impl InquiryContext<'_> {
    /// What comes back of a look around the block's key.
    fn ticket_around(&self) -> Ticket {
        Ticket { about: About::AroundBlock(self.key), ..self.ticket }
    }
}
