//! A history as one page for a browser: a space-time diagram, and beside it what each peer knew at any moment.
//!
//! All that the page needs is in its file, so it opens from a folder and asks no network. Its source stands beside this
//! file: `page.html` and `page.css`, and the scripts `data.js` (what follows from the moments), `state.js` (what peers
//! know), `diagram.js`, `map.js`, `panel.js` (what is drawn) and `main.js` (what the user does). The moments themselves
//! are packed: records of 5 MB are a page of half a megabyte.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::net::SocketAddr;

use data_encoding::BASE64;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use serde::{Serialize, Serializer};

use super::changes::KnownChange;
use super::columns::summary;
use super::diff::{Side, compare, tally};
use super::history::{CameOf, History};
use crate::id::ID_BITS;
use crate::node::Event;
use crate::overlay::OverlayKind;
use crate::record::Moment;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPTS: [&str; 6] = [
    include_str!("data.js"),
    include_str!("state.js"),
    include_str!("map.js"),
    include_str!("panel.js"),
    include_str!("diagram.js"),
    include_str!("main.js"),
];

/// A moment on the page.
#[derive(Clone, Copy)]
pub struct PageMoment {
    /// The number of its run: 0, or where two are compared 1 too.
    pub run: usize,
    /// Its number in the history of that run.
    pub moment: usize,
    /// Its row; moments of two runs may share one.
    pub row: usize,
    /// Whether only its run has such a moment.
    pub differs: bool,
}

/// What the page is made of, as its script reads it.
#[derive(Serialize)]
struct Data<'a> {
    overlay: &'static str,
    /// Bits of an id.
    bits: usize,
    peers: Vec<Lane>,
    /// How much of the history is understood, for people.
    summary: String,
    /// What is wrong with the records, for people.
    complaints: &'a [String],
    /// The number of the moment that is looked at first.
    start: usize,
    changes: Vec<Changed>,
    moments: Moments<'a>,
}

#[derive(Serialize)]
struct Lane {
    name: String,
    id: String,
    addr: SocketAddr,
    /// The number of the run that it took part in.
    run: usize,
}

/// What a peer knows from a moment on, or from just before it, if it is one that is not shown.
#[derive(Serialize)]
struct Changed {
    moment: usize,
    peer: usize,
    #[serde(flatten)]
    change: KnownChange,
}

/// A moment as the page's script reads it.
#[derive(Serialize)]
struct ShownMoment<'a> {
    peer: usize,
    /// Microseconds since the first moment of all.
    at: i64,
    row: usize,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    differs: bool,
    /// The number of an earlier moment on this page, words for another cause, or nothing.
    cause: Option<PageCause>,
    /// Peers that did not get what was sent to them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lost: Vec<usize>,
    /// The sort of message, job or event.
    sort: String,
    say: String,
    record: &'a Moment,
}

#[derive(Serialize)]
#[serde(untagged)]
enum PageCause {
    Moment(usize),
    Words(&'static str),
}

/// The moments that are shown: written one by one, so that they are never all in memory as text.
struct Moments<'a> {
    runs: &'a [&'a History],
    entries: &'a [PageMoment],
    /// For each run, where on the page its moments are.
    places: Vec<BTreeMap<usize, usize>>,
    lost: Vec<BTreeMap<usize, Vec<usize>>>,
}

impl Serialize for Moments<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.entries.iter().map(|entry| self.shown(*entry)))
    }
}

impl Moments<'_> {
    fn shown(&self, PageMoment { run, moment, row, differs }: PageMoment) -> ShownMoment<'_> {
        let (history, first) = (self.runs[run], first_peer(self.runs, run));
        let seen = &history.moments[moment];
        let cause = match seen.cause {
            CameOf::Root(words) => Some(PageCause::Words(words)),
            CameOf::Unknown => None,
            CameOf::Moment(cause) if cause > moment => {
                Some(PageCause::Words("a message of a peer whose clock does not agree"))
            }
            CameOf::Moment(cause) => {
                let place = self.places[run].get(&cause);
                Some(
                    place
                        .map_or(PageCause::Words("a moment that is not shown here"), |&place| PageCause::Moment(place)),
                )
            }
        };
        let lost = self.lost[run].get(&moment).into_iter().flatten().map(|peer| first + peer).collect();
        let (sort, say) = (history.sort(moment), history.tell(moment));
        ShownMoment { peer: first + seen.peer, at: seen.at, row, differs, cause, lost, sort, say, record: &seen.moment }
    }

    /// Which moment of the page this one is, or which is the first after it.
    fn place(&self, run: usize, moment: usize) -> usize {
        self.places[run].range(moment..).next().map_or(self.entries.len(), |(_, &place)| place)
    }
}

/// The number on the page of a run's first peer.
fn first_peer(runs: &[&History], run: usize) -> usize {
    runs[..run].iter().map(|history| history.peers.len()).sum()
}

/// Writes these moments of a history as a page, with what is wrong with the records.
///
/// # Errors
/// The writer's.
pub fn write(history: &History, moments: &[usize], complaints: &[String], out: &mut dyn Write) -> io::Result<()> {
    let entry = |(row, &moment): (usize, &usize)| PageMoment { run: 0, moment, row, differs: false };
    let entries: Vec<PageMoment> = moments.iter().enumerate().map(entry).collect();
    // One request is looked at from its end; of everything the first thing that a user asked is worth a look.
    let start = if moments.len() < history.moments.len() {
        moments.len().saturating_sub(1)
    } else {
        let asked = |moment: &usize| matches!(history.moments[*moment].moment.event, Event::Command { .. });
        moments.iter().position(asked).unwrap_or_default()
    };
    write_runs(&[history], &entries, start, summary(history, moments.len()), complaints, out)
}

/// Writes two runs that were compared as a page.
///
/// # Errors
/// The writer's.
pub fn write_diff(sides: [Side<'_>; 2], complaints: &[String], out: &mut dyn Write) -> io::Result<()> {
    let rows = compare(sides[0], sides[1]);
    let mut entries = Vec::new();
    for (row, found) in rows.iter().enumerate() {
        let there = |(run, moment): (usize, Option<usize>)| {
            Some(PageMoment { run, moment: moment?, row, differs: found.differs })
        };
        entries.extend(found.moments.into_iter().enumerate().filter_map(there));
    }
    let start = entries.iter().position(|entry| entry.differs).unwrap_or_default();
    let summary = format!("two runs side by side, < and >; {}", tally(&rows));
    write_runs(&[sides[0].history, sides[1].history], &entries, start, summary, complaints, out)
}

fn write_runs(
    runs: &[&History],
    entries: &[PageMoment],
    start: usize,
    summary: String,
    complaints: &[String],
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut places = vec![BTreeMap::new(); runs.len()];
    for (place, entry) in entries.iter().enumerate() {
        places[entry.run].insert(entry.moment, place);
    }
    let moments = Moments { runs, entries, places, lost: runs.iter().map(|history| history.lost()).collect() };
    let first = runs.iter().find_map(|history| history.peers.first());
    let data = Data {
        overlay: first.map_or(OverlayKind::default(), |peer| peer.overlay).name(),
        bits: first.map_or(ID_BITS, |peer| peer.bits),
        peers: lanes(runs),
        summary,
        complaints,
        start,
        changes: changes(runs, &moments),
        moments,
    };
    let mut packed = BufWriter::new(DeflateEncoder::new(Vec::new(), Compression::new(3)));
    serde_json::to_writer(&mut packed, &data)?;
    let packed = packed.into_inner().map_err(io::IntoInnerError::into_error)?.finish()?;
    let (before, rest) = parts(PAGE, "<!-- style -->");
    let (middle, rest) = parts(rest, "<!-- data -->");
    let (end, after) = parts(rest, "<!-- script -->");
    write!(out, "{before}{STYLE}{middle}{}{end}{}{after}", BASE64.encode(&packed), SCRIPTS.join("\n"))
}

fn parts(page: &'static str, mark: &str) -> (&'static str, &'static str) {
    page.split_once(mark).expect("the page has the mark")
}

fn lanes(runs: &[&History]) -> Vec<Lane> {
    let mut lanes = Vec::new();
    for (run, history) in runs.iter().enumerate() {
        let which = if runs.len() > 1 { ["<", ">"][run] } else { "" };
        lanes.extend(history.peers.iter().map(|peer| Lane {
            name: format!("{which}{}", peer.name),
            id: peer.me.id.to_string(),
            addr: peer.me.addr,
            run,
        }));
    }
    lanes
}

fn changes(runs: &[&History], moments: &Moments<'_>) -> Vec<Changed> {
    let mut changes = Vec::new();
    for (run, history) in runs.iter().enumerate() {
        let first = first_peer(runs, run);
        changes.extend(history.changes().into_iter().map(|(moment, change)| Changed {
            moment: moments.place(run, moment),
            peer: first + history.moments[moment].peer,
            change,
        }));
    }
    changes.sort_by_key(|changed| changed.moment);
    changes
}
