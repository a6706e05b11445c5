//! What a peer of the classroom ring writes: the assignment's lines on standard output, everything else in the log.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, after, never, select};
use kadring::console::answers::AnswerSink;
use kadring::console::classroom::{AssignmentLines, MARK, number};
use kadring::console::{Format, LineReply, Output, Screen, json};
use kadring::network::NetworkName;
use kadring::node::{Answer, Notice, Phase};
use kadring::overlay::{OverlayKind, RouteNotice, SuccessorChange};
use kadring::peer::Peer;
use kadring::runtime::{Keyring, since_1970, waits};

use super::place::RingPlace;
use crate::commands::Failed;
use crate::commands::console_thread::Above;
use crate::commands::peers_seen::PeersSeen;
use crate::commands::unjoined::{filtered, strange};

/// A peer that found none to join through is let in by one that comes within this time.
const MAY_COME: Duration = Duration::from_secs(3);

/// So often that time is waited for where something listens that has not answered.
const CHANCES: u8 = 2;

/// What the main thread waits for; none of its kind comes any more.
enum RingMainEvent {
    Notice(Option<Notice>),
    Reply(Option<ConsoleReply>),
    Line(Option<String>),
    /// Time to tell whether this peer has others.
    Company,
}

/// Why the peer `me` found no answer where it was to join, and whether something listens there that may yet answer.
fn why_alone(me: &str, known: &Peer, network: (NetworkName, Option<Arc<Keyring>>)) -> (Failed, bool) {
    let addrs = [known.addr];
    if let Some(reason) = strange(&addrs, OverlayKind::Ring, network) {
        return (Failed::start(format!("peer {me} cannot join: {reason}")), false);
    }
    let filtered = filtered(&addrs);
    let is_there = filtered.is_some();
    let why = filtered.unwrap_or_else(|| "is it running?".to_owned());
    let reason = format!("peer {} does not answer at {}; {why}", number(&known.id), known.addr);
    (Failed::timed_out(format!("peer {me} cannot join: {reason}")), is_there)
}

/// Writes standard output: the assignment's lines, and the answers of other commands.
pub(super) struct RingOutput {
    lines: AssignmentLines,
    format: Format,
    /// With the assignment's mark before each line, where lines are for people.
    pub(super) output: Output,
    /// The same output, without that mark.
    plain: Output,
    /// What is to be printed above the prompt, where there is one.
    pub(super) above: Option<Above>,
    company: PeersSeen,
    /// This peer has left: told last, and to programs alone.
    left: Option<Answer>,
}

impl RingOutput {
    pub(super) fn new(lines: AssignmentLines, format: Format) -> Self {
        let output = match format {
            Format::Text => Output::new(format, Marked(io::stdout())),
            Format::Json => Output::new(format, io::stdout()),
        };
        Self {
            lines,
            format,
            output,
            plain: Output::new(format, io::stdout()),
            above: None,
            company: PeersSeen::new(false),
            left: None,
        }
    }

    /// From now on there is a prompt below all that is written.
    pub(super) fn go_above_prompt(&mut self, screen: &Arc<Screen>) {
        self.output = Output::new(self.format, Marked(AbovePrompt(Arc::clone(screen))));
        self.plain = Output::new(self.format, AbovePrompt(Arc::clone(screen)));
    }

    /// Writes the lines of notices until this peer is in the ring. The peer to join through may be started a little
    /// later.
    pub(super) fn until_joined(
        &mut self,
        notices: &Receiver<Notice>,
        place: &RingPlace,
        network: (NetworkName, Option<Arc<Keyring>>),
    ) -> Result<(), Failed> {
        let (me, mut refused, mut over, mut chances) = (place.name(), None, never(), CHANCES);
        let mut alone = false;
        loop {
            let notice = select! {
                recv(notices) -> notice => notice.map_err(|_| Failed::start("this peer ended before it had joined"))?,
                recv(over) -> _ => {
                    let Some(known) = &place.known else { return Ok(()) };
                    chances -= 1;
                    let (why, is_there) = why_alone(&me, known, network.clone());
                    // It may have answered meanwhile.
                    if let Some(answered) = notices.try_iter().find_map(|notice| self.answered(&me, &notice)) {
                        return answered;
                    }
                    if chances == 0 || !is_there {
                        return Err(why);
                    }
                    over = after(MAY_COME);
                    continue;
                }
            };
            match self.answered(&me, &notice) {
                Some(answered) if alone => return answered,
                Some(answered) => refused = answered.err(),
                None => {}
            }
            match notice {
                Notice::Joined { peers: 0, .. } if place.known.is_some() => {
                    if let Some(refused) = refused.take() {
                        return Err(refused);
                    }
                    (alone, over) = (true, after(MAY_COME));
                }
                // It may have been told to leave before it was in.
                Notice::Joined { .. } | Notice::Answer { answer: Answer::Left { .. }, .. } => return Ok(()),
                _ => {}
            }
        }
    }

    /// Writes the lines of a notice. Where that is the answer to the `join` of the peer `me`: whether it was let in, or
    /// why not.
    fn answered(&mut self, me: &str, notice: &Notice) -> Option<Result<(), Failed>> {
        self.tell(notice);
        match notice {
            Notice::Route { route: RouteNotice::Successors { why: SuccessorChange::Welcomed, .. } } => Some(Ok(())),
            Notice::Route { route: RouteNotice::JoinRefused { reason } } => {
                Some(Err(Failed::start(format!("peer {me} was not let into the ring: {reason}"))))
            }
            _ => None,
        }
    }

    /// Writes the lines of notices, and the console's replies among them, until this peer has left.
    pub(super) fn until_left(&mut self, notices: &Receiver<Notice>, mut replies: Receiver<ConsoleReply>) {
        let (mut printed, mut printer) = self.above.take().map_or((never(), None), |(lines, to)| (lines, Some(to)));
        let mut print = |line: String| {
            if let Some(printer) = &mut printer
                && let Err(error) = printer.print(line)
            {
                log::debug!("a line was lost: {error}");
            }
        };
        loop {
            let alone = self.company.due();
            let came = waits(|| {
                select! {
                    recv(notices) -> notice => RingMainEvent::Notice(notice.ok()),
                    recv(alone) -> _ => RingMainEvent::Company,
                    recv(replies) -> reply => RingMainEvent::Reply(reply.ok()),
                    recv(printed) -> line => RingMainEvent::Line(line.ok()),
                }
            });
            match came {
                RingMainEvent::Notice(Some(notice)) => self.tell(&notice),
                RingMainEvent::Notice(None) => break,
                RingMainEvent::Company => drop(self.company.line().inspect(|news| log::warn!("{news}"))),
                RingMainEvent::Reply(Some(reply)) => {
                    // The node sent the notices that led to an answer before the answer: write them first.
                    notices.try_iter().for_each(|notice| self.tell(&notice));
                    self.say(&reply);
                }
                RingMainEvent::Reply(None) => replies = never(),
                RingMainEvent::Line(Some(line)) => print(line),
                RingMainEvent::Line(None) => printed = never(),
            }
        }
        replies.try_iter().for_each(|reply| self.say(&reply));
        if let Some(left) = self.left.take().filter(|_| self.format == Format::Json) {
            self.plain.reply(&LineReply::Node(left));
        }
        printed.try_iter().for_each(print);
    }

    /// Writes a reply of the console. The assignment's lines have told of its own commands already, so for people their
    /// success is but logged, and that this peer has left is told last.
    fn say(&mut self, (job, reply): &ConsoleReply) {
        match reply {
            LineReply::Node(Answer::Left { .. }) => {}
            _ if self.format == Format::Json => self.plain.reply_of(*job, reply),
            LineReply::Node(Answer::FileStored { file, at, bytes, .. }) => {
                let at = number(&at.id);
                match bytes {
                    Some(bytes) => log::info!("file {file} is kept by peer {at} ({bytes} bytes)"),
                    None => log::info!(
                        "there is no {file}.pdf here to give: peer {at} keeps what it has under this name, or an empty file"
                    ),
                }
            }
            LineReply::Node(Answer::FileReceived { file, from, bytes, sha256, .. }) => {
                log::info!("file {file} came from peer {}, {bytes} bytes, SHA-256 {sha256}", number(&from.id));
            }
            reply if reply.failure().is_some() => self.output.reply_of(*job, reply),
            reply => self.plain.reply_of(*job, reply),
        }
    }

    fn tell(&mut self, notice: &Notice) {
        match notice {
            Notice::Step { phase: Phase::HandingOver, .. } => self.company.leave(),
            notice => drop(self.company.hear(notice).inspect(|news| log::warn!("{news}"))),
        }
        let lines = self.lines.of(notice);
        if lines.is_empty() {
            match notice {
                Notice::Joined { peers, .. } => log::info!("peer {} is in the ring; {peers} peers known", self.me()),
                Notice::Answer { answer: left @ Answer::Left { .. }, .. } => self.left = Some(left.clone()),
                Notice::Trouble { .. } => {} // It stands in the log already.
                other => log::debug!("{other:?}"),
            }
        }
        for line in lines {
            match self.format {
                Format::Text => self.output.line(&line),
                Format::Json => self.output.line(&json::line(&line, since_1970())),
            }
        }
    }

    fn me(&self) -> String {
        number(&self.lines.me.id)
    }
}

/// Where lines go, each of which gets the assignment's mark in front.
struct Marked<W>(W);

impl<W: Write> Write for Marked<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut marked = Vec::with_capacity(bytes.len() + 16);
        for line in bytes.split_inclusive(|&byte| byte == b'\n') {
            marked.extend_from_slice(MARK.as_bytes());
            marked.extend_from_slice(line);
        }
        self.0.write_all(&marked)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The part of a terminal above the prompt.
struct AbovePrompt(Arc<Screen>);

impl Write for AbovePrompt {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.print(&String::from_utf8_lossy(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A reply of the console, and the number of its command if that ran beside others. One thread alone writes standard
/// output, so that lines stand in the order of the events that they tell.
pub(super) type ConsoleReply = (Option<u64>, LineReply);

/// Hands the console's replies to the thread that writes them.
pub(super) struct HandedReplies(pub(super) Sender<ConsoleReply>);

impl AnswerSink for HandedReplies {
    fn reply(&self, job: Option<u64>, reply: &LineReply) -> bool {
        // The receiver is gone once the peer has left.
        self.0.send((job, reply.clone())).is_ok()
    }

    fn line(&self, line: &str) {
        log::warn!("{line}");
    }

    /// Each name has its own answer, as soon as that is there.
    fn one_by_one(&self) -> bool {
        true
    }
}
