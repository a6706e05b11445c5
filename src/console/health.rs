//! `check` and `wait`: what their words mean, what is asked of the node, and what the answers tell people.

use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use super::Backend;
use super::beside::CommandJobs;
use super::catalogue::Owned;
use super::escape::quoted;
use super::folder::CommandSpan;
use super::options::GivenOptions;
use super::perform::Performer;
use super::reply::LineReply;
use super::text::{amount, copies_of, count, lines, time, who};
use super::words::parse_source;
use crate::config::WIDTH;
use crate::id::Key;
use crate::lease::Lease;
use crate::node::health::{BlockHealth, Checked, CopyState, Health, PeerCopies, Scrubbed, Scrubbing};
use crate::node::{Answer, Command, Failure, FailureKind, Source, Until};
use crate::raw_text;
use crate::runtime::stopwatch;
use crate::time::parse_time;

/// A file to look at, as it was named.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subject {
    /// The file as it was named.
    pub name: PathBuf,
    /// What that is.
    pub meant: Meant,
}

/// What a file's name stands for. A name is looked up once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Meant {
    /// That was not looked up yet.
    Word(Source),
    /// This file.
    Found(Source),
    /// Nothing, and why.
    Nothing(Failure),
}

/// What `check` asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckRequest {
    /// The files.
    pub files: Vec<Subject>,
    /// Whether the holders hash what they have.
    pub verify: bool,
    /// Whether copies that are missing are made now.
    pub repair: bool,
}

/// All that what was named is made of, a folder's parts too.
#[derive(Default)]
struct WholeSource {
    sources: Vec<Source>,
    /// The lease that was laid on it from here.
    lease: Option<Lease>,
    /// Of a folder, the bytes of the files in it.
    bytes: Option<u64>,
}

impl Subject {
    /// The file that a word names.
    ///
    /// # Errors
    /// For people: the word is no name.
    pub fn of(word: &str) -> Result<Self, String> {
        Ok(Self { name: raw_text::path(word), meant: Meant::Word(parse_source(word)?) })
    }
}

impl CheckRequest {
    /// The same, with each source as `place` has it.
    pub fn with_sources(mut self, place: impl Fn(Source) -> Source) -> Self {
        for file in &mut self.files {
            if let Meant::Word(source) | Meant::Found(source) = &mut file.meant {
                *source = place(source.clone());
            }
        }
        self
    }

    /// The same, with each source as `resolve` has it. Of several files one that is not known keeps no other from it.
    ///
    /// # Errors
    /// That of `resolve`, where there is one file.
    pub fn resolved(self, mut resolve: impl FnMut(Source) -> Result<Source, Failure>) -> Result<Self, Failure> {
        let (several, mut files) = (self.files.len() > 1, Vec::new());
        for Subject { name, meant } in self.files {
            let meant = match meant {
                Meant::Word(source) => match resolve(source) {
                    Ok(source) => Meant::Found(source),
                    Err(failure) if several => Meant::Nothing(failure),
                    Err(failure) => return Err(failure),
                },
                known => known,
            };
            files.push(Subject { name, meant });
        }
        Ok(Self { files, ..self })
    }

    /// Reads the words and options of a `check`.
    ///
    /// # Errors
    /// For people: a word is no name.
    pub(super) fn read(words: &[String], options: &GivenOptions) -> Result<Self, String> {
        let files = words.iter().map(|word| Subject::of(word)).collect::<Result<_, _>>()?;
        Ok(Self { files, verify: options.has("--verify"), repair: options.has("--repair") })
    }
}

/// Reads the words and options of a `wait`: the command to the node.
///
/// # Errors
/// For people: what is wrong with the words.
pub(super) fn read_wait(words: &[String], options: &GivenOptions) -> Result<Command, String> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let number = |word: &str, most: usize| {
        let read = word.parse().ok().filter(|number| (1..=most).contains(number));
        read.ok_or_else(|| format!("{} is no number from 1 to {most}", quoted(word)))
    };
    let until = match words[..] {
        ["stable"] => Until::Stable,
        ["peers", count] => Until::Peers { count: number(count, usize::MAX)? },
        ["idle"] => Until::Idle,
        ["safe"] => Until::Safe,
        ["copies", file] => Until::Copies { sources: vec![parse_source(file)?], copies: None },
        ["copies", file, copies] => {
            Until::Copies { sources: vec![parse_source(file)?], copies: Some(number(copies, WIDTH)?) }
        }
        ["copies"] => return Err("copies of which file?".to_owned()),
        ["peers"] => return Err("how many peers?".to_owned()),
        _ => return Err(format!("nothing that can be waited for is called {}", quoted(&words.join(" ")))),
    };
    let limit = options.value("--deadline").map(parse_time).transpose()?;
    Ok(Command::Wait { until, limit })
}

impl<B: Backend> Performer<B> {
    /// The same command, about all that the folders in it are made of. Before a wait until nothing is done, the work
    /// that was begun beside the lines of a console is waited for: not all of it may have come to the node.
    ///
    /// # Errors
    /// A folder's listing cannot be had, or the wait's time is over.
    pub(super) fn prepared(&self, command: Command) -> Result<Command, Failure> {
        Ok(match command {
            Command::Clear { sources, force } => Command::Clear { sources: self.whole(sources)?.sources, force },
            Command::Wait { until: Until::Copies { sources, copies }, limit } => {
                let took = stopwatch();
                let sources = self.whole(sources)?.sources;
                let limit = limit.map(|limit| limit.saturating_sub(took()));
                Command::Wait { until: Until::Copies { sources, copies }, limit }
            }
            Command::Wait { until: Until::Idle, limit } => {
                let limit = self.wait_for_work(limit)?;
                Command::Wait { until: Until::Idle, limit }
            }
            other => other,
        })
    }

    /// Waits for the work beside the lines of consoles; the time that is left.
    fn wait_for_work(&self, limit: Option<Duration>) -> Result<Option<Duration>, Failure> {
        let work = self.jobs().map(CommandJobs::work).unwrap_or_default();
        if work.is_empty() {
            return Ok(limit);
        }
        let (span, took) = (CommandSpan::begin(&self.backend)?, stopwatch());
        let left = || limit.map(|limit| limit.saturating_sub(took()));
        for (job, ended) in work {
            if !span.wait_for(&ended, left())? {
                let reason = format!("not true in time: [{job}] runs");
                return Err(Failure::new(FailureKind::TimedOut, reason));
            }
        }
        Ok(left())
    }

    /// All that what was named is made of.
    fn whole(&self, sources: Vec<Source>) -> Result<WholeSource, Failure> {
        let entries = self.catalogue.as_ref().and_then(|catalogue| catalogue.entries().ok()).unwrap_or_default();
        let mut whole = WholeSource::default();
        for source in sources {
            let Source::Key(key) = source else {
                whole.sources.push(source);
                continue;
            };
            let known = entries.iter().rfind(|entry| entry.key == key);
            whole.lease = known.and_then(|entry| entry.lease.as_ref()).and_then(Owned::lease).or(whole.lease);
            let folder = known.map_or_else(|| self.is_folder(key), |entry| Ok(entry.folder))?;
            let (parts, bytes) = self.parts_and_bytes(key, folder)?;
            whole.sources.extend(parts.into_iter().map(Source::Key));
            whole.bytes = bytes;
        }
        Ok(whole)
    }

    /// Whether a folder has this key, as far as that can be found out: the peer that stored it knows without asking.
    fn is_folder(&self, key: Key) -> Result<bool, Failure> {
        match self.answer_to(Command::RetrieveManifest { key }) {
            Answer::Failed(failure) if failure.kind == FailureKind::Cancelled => Err(failure),
            Answer::Manifest { manifest, .. } => Ok(manifest.is_some_and(|manifest| manifest.folder)),
            _ => Ok(false),
        }
    }

    /// Has each file checked. To cancel one check cancels those that follow too.
    pub(super) fn check(&self, CheckRequest { files, verify, repair }: CheckRequest) -> LineReply {
        let answers = self.one_by_one(files, |Subject { name, meant }| {
            let sources = match meant {
                Meant::Word(source) | Meant::Found(source) => vec![source],
                Meant::Nothing(failure) => return LineReply::of_file(name, Answer::Failed(failure)),
            };
            // What is made of parts is read first, which may take longer than to check them.
            let took = stopwatch();
            let check = |sources, lease| self.ask(Command::Check { sources, verify, repair, lease });
            let whole = self.whole(sources.clone());
            let bytes = whole.as_ref().ok().and_then(|whole| whole.bytes);
            let mut answer = match whole {
                Ok(WholeSource { sources, lease, .. }) => check(sources, lease),
                Err(failure) if failure.kind == FailureKind::Cancelled => Answer::Failed(failure),
                // What the listing lacks tells how safe the folder is; what cannot be read for another reason, nothing.
                Err(failure) => match check(sources, None) {
                    Answer::Checked(checked) if checked.health < Health::Unknown => Answer::Failed(failure),
                    answer => answer,
                },
            };
            if let Answer::Checked(checked) = &mut answer {
                checked.took = checked.took.max(took());
                checked.bytes = bytes.unwrap_or(checked.bytes);
            }
            LineReply::of_file(name, answer)
        });
        LineReply::one_or_all(answers)
    }
}

/// The worst of what was found out about several files; none if one of them was not checked.
pub(super) fn worst(healths: impl Iterator<Item = Option<Health>>) -> Option<Health> {
    healths.collect::<Option<Vec<_>>>()?.into_iter().max()
}

/// How safe a file is, for people.
pub(super) fn checked(checked: &Checked, named: Option<&str>) -> String {
    let Checked { health, bytes, blocks, copies, wanted, asked, repaired, unread, weakest, peers, each, took } =
        checked;
    let named = named.map_or_else(String::new, |name| format!("{name}: "));
    let sum = |of: fn(&PeerCopies) -> u64| peers.iter().map(of).sum::<u64>();
    let (verified, claimed) = (sum(|peer| peer.verified), sum(|peer| peer.claimed));
    let repaired = if *repaired > 0 { format!("; {} made", count(*repaired, "copy")) } else { String::new() };
    // What is whole for the peers there are may be less than its owner meant.
    let is_clamped = asked > wanted;
    let of = (is_clamped && *health == Health::Whole).then(|| format!(" for {}", count(*wanted as u64, "peer")));
    let (of, asked) =
        (of.unwrap_or_default(), if is_clamped { format!("; {asked} were asked for") } else { String::new() });
    let head = format!(
        "{named}{}{of}: {} in {}, {}{asked}; {verified} verified, {claimed} claimed{repaired}, in {}",
        health.word(),
        amount(*bytes),
        count(*blocks, "block"),
        copies_of(copies, *wanted, 0),
        time(*took)
    );
    if *health == Health::Whole {
        return head;
    }
    let unread = (*unread > 0).then(|| {
        let blocks = count(*unread, "block");
        format!("{blocks} cannot be read: what is listed there, if anything is, is not known")
    });
    let weakest =
        weakest.and_then(|key| each.iter().find(|block| block.key == key)).map(|block| block_line(block, &block.key));
    let of_peers = peers.iter().map(peer_line);
    lines([head].into_iter().chain(weakest).chain(unread).chain(of_peers))
}

fn block_line(block: &BlockHealth, key: &Key) -> String {
    let damaged = block.at.iter().filter(|copy| copy.state == CopyState::Damaged).count();
    let damaged = if damaged > 0 { format!(", {damaged} damaged") } else { String::new() };
    format!("weakest {key}: {} of {} copies{damaged}", block.copies, block.wanted)
}

fn peer_line(of_peer: &PeerCopies) -> String {
    let PeerCopies { peer, verified, claimed, damaged, absent, silent, full } = of_peer;
    let counts: [(&str, &u64); 5] =
        [("verified", verified), ("claimed", claimed), ("damaged", damaged), ("missing", absent), ("silent", silent)];
    let told: Vec<String> =
        counts.iter().filter(|(_, number)| **number > 0).map(|(what, number)| told(what, number)).collect();
    let full = if *full { "; it said that it is full" } else { "" };
    format!("  {}  {}{full}", who(peer), told.join(", "))
}

/// What came of reading all blocks, for people.
pub(super) fn scrubbed(Scrubbed { blocks, bytes, damaged, unread, took }: &Scrubbed) -> String {
    let damaged = match damaged {
        0 => "all sound".to_owned(),
        _ => format!("{} moved aside and fetched anew", count(*damaged, "damaged block")),
    };
    let unread = match unread {
        0 => String::new(),
        _ => format!("; {} could not be read, and nothing is known of them", count(*unread, "other")),
    };
    format!("read {}, {}, in {}: {damaged}{unread}", count(*blocks, "block"), amount(*bytes), time(*took))
}

/// The line of `status` about reading all blocks.
pub(super) fn scrubbing(scrubbing: Option<&Scrubbing>) -> String {
    let Some(Scrubbing { period, done, of, last, ago }) = scrubbing else { return "scrub     off".to_owned() };
    let last = match (last, ago) {
        (Some(last), Some(ago)) => format!("the last pass ended {} ago: {}", time(*ago), scrubbed(last)),
        _ => "no pass has ended since the start".to_owned(),
    };
    format!("scrub     {done} of {of} in this pass of {}; {last}", humantime::format_duration(*period))
}

fn told(what: &str, number: impl Display) -> String {
    format!("{number} {what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_looked_up_is_not_looked_up_again_so_a_name_that_nobody_knows_stays_unknown() {
        let (word, key) = ("nosuch", Key::of(b"x"));
        let check = |words: &[&str]| {
            let files = words.iter().map(|word| Subject::of(word)).collect::<Result<_, _>>().unwrap();
            CheckRequest { files, verify: false, repair: false }
        };
        let unknown = || Failure::new(FailureKind::NotFound, "no such name".to_owned());
        let look_up =
            |source| if source == Source::Manifest(word.into()) { Err(unknown()) } else { Ok(Source::Key(key)) };
        let once = check(&[word, "known"]).resolved(look_up).unwrap();
        let meant: Vec<_> = once.files.iter().map(|file| file.meant.clone()).collect();
        assert_eq!(meant, [Meant::Nothing(unknown()), Meant::Found(Source::Key(key))]);
        assert_eq!(once.clone().resolved(|_| panic!("it was looked up")), Ok(once));
        assert_eq!(check(&[word]).resolved(look_up), Err(unknown()));
    }
}
