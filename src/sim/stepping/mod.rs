//! Step by step through what happened: forwards, backwards, and with a look at each peer on the way.
//!
//! What happened is a `Tape` of moments, whatever its `StepSource`: a record, or a storm that is run for the
//! purpose. To stand between two of its moments is a number, so going back costs nothing; what a peer is like there is
//! found out by giving a new node the moments up to there (`look`).

mod look;
mod source;
mod storm;
mod tape;

use std::io::{self, BufRead, Write};
use std::time::Duration;

use self::look::{Looks, ViewKind};
use self::source::{Recording, StepRefusal, StepSource};
use self::storm::Rehearsal;
use self::tape::Tape;
use super::moments::columns::{Style, cut, paint};
use super::moments::history::{CameOf, History};
use super::moments::reader::RecordError;
use super::storm::StormPlan;
use crate::time::Time;

/// The words, what they take, and what they do.
const WORDS: [(&str, &str, &str); 10] = [
    ("next", "[N]", "let the next moment happen, or the next N"),
    ("back", "[N]", "take the last moment back, or the last N"),
    ("run", "", "go on to a break, or else to the end"),
    ("until", "TIME", "go on to this time, such as 12.5 (seconds) or 300ms, or to a break before it"),
    ("break", "[WORD]", "stop before each EVENT, PEER or KEY of this name; alone: list; none: forget all"),
    ("show", "WHAT [PEER]", "a peer's table, pending, jobs, holdings or threads"),
    ("why", "", "the chain of causes that led to the last moment"),
    ("choose", "[N]", "in a storm: let another thing that waits come first; alone: list what waits"),
    ("help", "", "these words; a beginning of one is enough"),
    ("quit", "", "end"),
];

/// Characters of a line of which there may be many.
const LINE_WIDTH: usize = 110;
/// What stands before what a moment brought.
const INDENT: &str = "          ";

/// A console that steps through what happened.
pub struct Stepper {
    source: Box<dyn StepSource>,
    /// How many moments have happened.
    done: usize,
    looks: Looks,
    breaks: Vec<String>,
    /// Where a break stopped last: the way goes on from there.
    stopped: Option<usize>,
    style: Style,
}

/// Whether there is more to come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StepFlow {
    /// The next line can be done.
    GoOn,
    /// The user has had enough.
    End,
}

/// The words that can be typed.
pub fn words() -> impl Iterator<Item = &'static str> {
    WORDS.iter().map(|(word, ..)| *word)
}

impl Stepper {
    /// Steps through the record of a peer called `name`, or of many; with `only`, of this one of many.
    ///
    /// # Errors
    /// It is no record that can be read, or has no such peer.
    pub fn of_record(name: &str, record: impl BufRead, only: Option<usize>, style: Style) -> Result<Self, RecordError> {
        Ok(Self::new(Box::new(Recording::read(name, record, only)?), style))
    }

    /// Steps through a storm, which is run for that.
    ///
    /// # Errors
    /// Its own record cannot be read: a fault of the program.
    pub fn of_storm(plan: StormPlan, style: Style) -> Result<Self, RecordError> {
        Ok(Self::new(Box::new(Rehearsal::of(plan)?), style))
    }

    fn new(source: Box<dyn StepSource>, style: Style) -> Self {
        Self { source, done: 0, looks: Looks::default(), breaks: Vec::new(), stopped: None, style }
    }

    /// What to ask for the next line with.
    pub fn prompt(&self) -> String {
        format!("step {} of {}> ", self.done, self.tape().len())
    }

    /// Whether the core does today what was recorded.
    pub fn is_faithful(&self) -> bool {
        self.tape().unfaithful().is_none()
    }

    /// Says what there is, and where one stands.
    ///
    /// # Errors
    /// The writer's.
    pub fn greet(&self, out: &mut dyn Write) -> io::Result<()> {
        let tape = self.tape();
        let (steps, peers) = (tape.len(), tape.history.peers.len());
        let until = tape.at(steps.saturating_sub(1));
        writeln!(out, "{steps} moments of {}, until {until} s; `help` tells the words", count(peers, "peer"))?;
        if let Some(moment) = tape.unfaithful() {
            let at = moment + 1;
            writeln!(
                out,
                "from moment {at} on the core does something else today: what is shown of peers may be wrong"
            )?;
        }
        Ok(())
    }

    /// Goes to where so many moments have happened.
    ///
    /// # Errors
    /// There are not so many.
    pub fn start_at(&mut self, done: usize) -> Result<(), String> {
        let len = self.tape().len();
        if done > len {
            return Err(format!("--at goes from 0 to {len}, the number of moments"));
        }
        self.done = done;
        Ok(())
    }

    /// Does what a line says. What cannot be done is said too, with what there is instead.
    ///
    /// # Errors
    /// The writer's.
    pub fn obey(&mut self, line: &str, out: &mut dyn Write) -> io::Result<StepFlow> {
        let typed: Vec<&str> = line.split_whitespace().collect();
        let Some((word, arguments)) = typed.split_first() else { return Ok(StepFlow::GoOn) };
        let done = match find(word) {
            Ok("quit") => {
                self.closing_note(out)?;
                return Ok(StepFlow::End);
            }
            Ok(word) => self.perform(word, arguments, out)?,
            Err(refusal) => Err(refusal),
        };
        done.or_else(|refusal| writeln!(out, "{refusal}"))?;
        Ok(StepFlow::GoOn)
    }

    /// What is said at the end.
    ///
    /// # Errors
    /// The writer's.
    pub fn closing_note(&self, out: &mut dyn Write) -> io::Result<()> {
        self.source.chosen().map_or(Ok(()), |again| writeln!(out, "to go the same way again: {again}"))
    }

    fn perform(&mut self, word: &str, arguments: &[&str], out: &mut dyn Write) -> io::Result<Result<(), StepRefusal>> {
        let argument = arguments.first().copied();
        let most =
            WORDS.iter().find(|(name, ..)| *name == word).map_or(0, |(_, takes, _)| takes.split_whitespace().count());
        if let Some(extra) = arguments.get(most) {
            return Ok(Err(format!("'{extra}' is too much: {}", usage(word))));
        }
        match word {
            "next" => return number(argument).map_or_else(|no| Ok(Err(no)), |steps| self.next(steps, out).map(Ok)),
            "back" => return number(argument).map_or_else(|no| Ok(Err(no)), |steps| self.back(steps, out).map(Ok)),
            "run" => self.go_on(None, out)?,
            "until" => match self.time(argument) {
                Ok(time) => self.go_on(Some(time), out)?,
                Err(refusal) => return Ok(Err(refusal)),
            },
            "break" => return self.set_break(argument, out),
            "show" => return self.show(argument, arguments.get(1).copied(), out),
            "why" => self.why(out)?,
            "choose" => return self.choose(argument, out),
            _ => help(out)?,
        }
        Ok(Ok(()))
    }

    fn tape(&self) -> &Tape {
        self.source.tape()
    }

    fn next(&mut self, steps: usize, out: &mut dyn Write) -> io::Result<()> {
        for nth in 0..steps {
            if self.done == self.tape().len() {
                return self.tell_end(out);
            }
            if nth > 0 && self.is_break(self.done) {
                return self.tell_break(out);
            }
            self.done += 1;
            self.tell_last(out)?;
        }
        Ok(())
    }

    fn back(&mut self, steps: usize, out: &mut dyn Write) -> io::Result<()> {
        self.done = self.done.saturating_sub(steps);
        if self.done == 0 {
            return writeln!(out, "this is the beginning: nothing has happened");
        }
        self.tell_last(out)
    }

    /// Goes on to the first break, or else to the end, or to where the next moment comes after `until`.
    fn go_on(&mut self, until: Option<Time>, out: &mut dyn Write) -> io::Result<()> {
        let (from, tape) = (self.done, self.tape());
        let is_late = |moment: &usize| until.is_some_and(|until| tape.at(*moment) > until);
        let end = (from..tape.len()).find(is_late).unwrap_or(tape.len());
        let is_break = |moment: &usize| self.stopped != Some(*moment) && self.is_break(*moment);
        let found = (from..end).find(is_break);
        self.done = found.unwrap_or(end);
        if self.done > from {
            writeln!(out, "{}", count(self.done - from, "moment"))?;
            self.tell_last(out)?;
        }
        if found.is_some() {
            self.tell_break(out)
        } else if self.done == self.tape().len() {
            self.tell_end(out)
        } else {
            writeln!(out, "the next moment is at {} s", self.tape().at(self.done))
        }
    }

    fn tell_end(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}", self.tape().end)
    }

    fn tell_break(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.stopped = Some(self.done);
        let (tape, next) = (self.tape(), self.done);
        let text = format!("a break; next comes: peer {}  {}", tape.peer(next), tape.history.tell(next));
        writeln!(out, "{}", cut(&text, LINE_WIDTH))
    }

    /// The moment that happened last: what it was, and what it changed.
    fn tell_last(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let Self { source, looks, done, style, .. } = self;
        let (tape, last) = (source.tape(), *done - 1);
        let seen = &tape.history.moments[last];
        let (event, actions) = tape.history.tell_apart(last);
        let head = format!("{done:>8}  {:>12}  peer {:<3} {event}", tape.at(last).to_string(), tape.peer(last));
        writeln!(out, "{}", if style.colour { paint(&head, seen.peer) } else { head })?;
        for action in actions {
            writeln!(out, "{INDENT}⇒ {action}")?;
        }
        let count = tape.of_life_until(seen.life, *done);
        let before = looks.at(tape, seen.life, count - 1);
        for change in looks.at(tape, seen.life, count).changes(&before) {
            writeln!(out, "{INDENT}{change}")?;
        }
        for note in tape.notes(*done) {
            writeln!(out, "{INDENT}! {note}")?;
        }
        Ok(())
    }

    fn set_break(&mut self, word: Option<&str>, out: &mut dyn Write) -> io::Result<Result<(), StepRefusal>> {
        match word.map(str::to_lowercase) {
            None if self.breaks.is_empty() => writeln!(out, "no break; {}", there_is(&self.tape().history))?,
            None => writeln!(out, "a break at {}", self.breaks.join(", "))?,
            Some(word) if word == "none" => {
                self.breaks.clear();
                writeln!(out, "no break any more")?;
            }
            Some(word) => {
                let history = &self.tape().history;
                let times = (0..history.moments.len()).filter(|&moment| names(history, moment, &word)).count();
                if times == 0 {
                    return Ok(Err(format!("nothing here is called '{word}'; {}", there_is(history))));
                }
                writeln!(out, "a break at {word}: {} of all", count(times, "moment"))?;
                self.breaks.push(word);
            }
        }
        Ok(Ok(()))
    }

    fn is_break(&self, moment: usize) -> bool {
        self.breaks.iter().any(|word| names(&self.tape().history, moment, word))
    }

    fn show(
        &mut self,
        what: Option<&str>,
        peer: Option<&str>,
        out: &mut dyn Write,
    ) -> io::Result<Result<(), StepRefusal>> {
        let tape = self.source.tape();
        let Some(what) = what else { return Ok(Err(there_are_views())) };
        if what == "threads" {
            writeln!(out, "{}", self.source.threads())?;
            return Ok(Ok(()));
        }
        let Some(view) = ViewKind::ALL.into_iter().find(|view| view.name() == what) else {
            return Ok(Err(format!("'{what}' cannot be shown; {}", there_are_views())));
        };
        let peers = &tape.history.peers;
        let number = match peer {
            Some(name) => peers.iter().position(|peer| peer.name == name),
            None => tape.history.moments.get(self.done.saturating_sub(1)).map(|seen| seen.peer),
        };
        let Some(number) = number else {
            let names: Vec<&str> = peers.iter().map(|peer| peer.name.as_str()).collect();
            let name = peer.unwrap_or_default();
            return Ok(Err(format!(
                "no peer is called '{name}' of which something happens; there are {}",
                names.join(", ")
            )));
        };
        let name = &peers[number].name;
        let Some((life, count)) = tape.life_of(number, self.done) else {
            return Ok(Err(format!("nothing has happened to peer {name} yet")));
        };
        let look = self.looks.at(tape, life, count);
        let rows = look.rows(view);
        writeln!(
            out,
            "peer {name}, {}{}",
            view.name(),
            if rows.is_empty() { format!(": {}", view.none()) } else { String::new() }
        )?;
        for group in rows.chunk_by(|one, other| one.0 == other.0) {
            let about: Vec<&str> = group.iter().map(|(_, about)| about.as_str()).collect();
            writeln!(out, "{INDENT}{:<12} {}", group[0].0, about.join(", "))?;
        }
        Ok(Ok(()))
    }

    fn why(&self, out: &mut dyn Write) -> io::Result<()> {
        let tape = self.tape();
        let Some(last) = self.done.checked_sub(1) else { return writeln!(out, "nothing has happened yet") };
        let chain = tape.history.why(last);
        match tape.history.moments[chain[0]].cause {
            CameOf::Root(outside) => writeln!(out, "first came {outside}")?,
            _ => writeln!(out, "what came first is not known")?,
        }
        for moment in chain {
            let text = format!(
                "{:>8}  {:>12}  peer {:<3} {}",
                moment + 1,
                tape.at(moment).to_string(),
                tape.peer(moment),
                tape.history.tell(moment)
            );
            let text = cut(&text, LINE_WIDTH);
            let peer = tape.history.moments[moment].peer;
            writeln!(out, "{}", if self.style.colour { paint(&text, peer) } else { text })?;
        }
        Ok(())
    }

    fn choose(&mut self, nth: Option<&str>, out: &mut dyn Write) -> io::Result<Result<(), StepRefusal>> {
        let Some(nth) = nth else {
            return Ok(match self.source.waiting(self.done) {
                Ok(waiting) => {
                    for (nth, what) in waiting.iter().enumerate() {
                        writeln!(out, "{:>8}  {}", nth + 1, cut(what, LINE_WIDTH))?;
                    }
                    Ok(())
                }
                Err(refusal) => Err(refusal),
            });
        };
        let chosen = number(Some(nth)).and_then(|nth| self.source.choose(self.done, nth));
        if let Err(refusal) = chosen {
            return Ok(Err(refusal));
        }
        // From here on other things happen.
        (self.looks, self.stopped) = (Looks::default(), None);
        self.next(1, out).map(Ok)
    }

    /// A time to go on to.
    fn time(&self, text: Option<&str>) -> Result<Time, StepRefusal> {
        let text = text.ok_or_else(|| usage("until"))?;
        let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let span = seconds.or_else(|| humantime::parse_duration(text).ok());
        let time = Time::ZERO + span.ok_or_else(|| format!("'{text}' is no time: {}", usage("until")))?;
        let now = self.tape().at(self.done.saturating_sub(1));
        if time < now { Err(format!("it is {now} s already: `back` goes back")) } else { Ok(time) }
    }
}

/// The word that begins so, if there is one alone, or that is it.
fn find(begun: &str) -> Result<&'static str, StepRefusal> {
    let begun = begun.to_lowercase();
    let found: Vec<&str> = words().filter(|word| word.starts_with(&begun)).collect();
    match found[..] {
        [word] => Ok(word),
        _ => {
            let all: Vec<String> =
                WORDS.iter().map(|(word, takes, _)| format!("{word} {takes}").trim().to_owned()).collect();
            Err(format!("'{begun}' is no word of the stepper; there are {}", all.join(", ")))
        }
    }
}

fn usage(word: &str) -> String {
    let row = WORDS.iter().find(|(name, ..)| *name == word);
    row.map_or(String::new(), |(word, takes, does)| format!("{} - {does}", format!("{word} {takes}").trim()))
}

fn help(out: &mut dyn Write) -> io::Result<()> {
    WORDS.iter().try_for_each(|(word, takes, does)| writeln!(out, "{:<20}  {does}", format!("{word} {takes}")))
}

/// A number from 1; one, where none is given.
fn number(text: Option<&str>) -> Result<usize, StepRefusal> {
    match text.map_or(Ok(1), str::parse) {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(format!("'{}' is no number from 1 on", text.unwrap_or_default())),
    }
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Whether a moment is of the peer, the key, or the sort of event, message, job or command that the word names.
fn names(history: &History, moment: usize, word: &str) -> bool {
    let is_peer = history.peers[history.moments[moment].peer].name == word;
    is_peer
        || history.is_command(moment, word)
        || history.is_of(moment, word)
        || (History::is_key(word) && history.mentions(moment, word))
}

/// What a break can be set at.
fn there_is(history: &History) -> String {
    let peers: Vec<&str> = history.peers.iter().map(|peer| peer.name.as_str()).collect();
    format!("{}; and the peers {}", history.there_is(), peers.join(", "))
}

fn there_are_views() -> String {
    let views: Vec<&str> = ViewKind::ALL.into_iter().map(ViewKind::name).collect();
    format!("there are {} and threads", views.join(", "))
}
