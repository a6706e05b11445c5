//! Some moments of a history as one SVG picture: a lane for each peer, time downwards, an arrow for each message.
//!
//! It is for a page of text: each moment has a row of its own, however long nothing happened, and its time beside it.
//! That a connection stands, of which nothing comes, is left out. A circle is a message that came, a square a worker
//! that is done, a triangle the clock, a diamond a person. The critical path is thick.

use std::io::{self, Write};

use super::columns::cut;
use super::history::{CameOf, History, Seen};
use super::way::millis;
use crate::node::{Action, Event};
use crate::svg::{Anchor, Svg};

/// Pixels from one moment to the next, and where the first one is.
const MOMENT_ROW: f64 = 17.0;
const TOP: f64 = 40.0;
/// Pixels for the times on the left, for a lane, and for the words of the last one.
const TIMES: f64 = 80.0;
const LANE: f64 = 190.0;
const WORDS_WIDTH: f64 = 480.0;
/// Pixels that a character takes, and from a lane to its words.
const CHARACTER: f64 = 6.6;
const WORDS_BESIDE: f64 = 22.0;

const PICTURE_STYLE: &str = "text{font:11px monospace;fill:#1a1a1a}.head{font-weight:bold;font-size:13px}.faint{fill:#767676}\
    .lane{stroke:#c4c4c4}.mark{fill:#fff;stroke:#1a1a1a}.job{stroke:#767676;stroke-width:3;stroke-opacity:.5}\
    .arrow{stroke:#1a1a1a;stroke-opacity:.6}.tcp{stroke-dasharray:6 3}.on{stroke:#b3261e;stroke-width:2.5;stroke-opacity:1}\
    .mark.on{fill:#b3261e}.tip{fill:#1a1a1a}.tip.on{fill:#b3261e;stroke:none}.ground{fill:#fff}\
    .say{paint-order:stroke;stroke:#fff;stroke-width:4px}\
    @media(prefers-color-scheme:dark){text,.tip{fill:#e8e8e8}.faint{fill:#9a9a9a}.lane{stroke:#4a4f55}\
    .mark{fill:#16181b;stroke:#e8e8e8}.arrow{stroke:#e8e8e8}.on{stroke:#ff9a8d}.mark.on,.tip.on{fill:#ff9a8d}.ground{fill:#16181b}\
    .say{stroke:#16181b}}";

/// A picture of these moments.
struct Picture<'a> {
    history: &'a History,
    moments: &'a [usize],
    way: &'a [usize],
    /// The numbers of the peers that have a lane, from left to right.
    lanes: Vec<usize>,
}

/// Writes these moments of a history as SVG; those on the critical `way` are marked.
///
/// # Errors
/// The writer's.
pub fn write(history: &History, moments: &[usize], way: &[usize], out: &mut dyn Write) -> io::Result<()> {
    let connected = |moment: &usize| matches!(history.moments[*moment].moment.event, Event::Validated { .. });
    let moments: Vec<usize> = moments.iter().copied().filter(|moment| !connected(moment)).collect();
    let mut lanes: Vec<usize> = moments.iter().map(|&moment| history.moments[moment].peer).collect();
    lanes.sort_unstable();
    lanes.dedup();
    let picture = Picture { history, moments: &moments, way, lanes };
    let mut svg = picture.begin();
    picture.draw_jobs(&mut svg);
    picture.draw_arrows(&mut svg);
    for (row, &moment) in moments.iter().enumerate() {
        picture.draw_moment(row, moment, &mut svg);
    }
    out.write_all(svg.end().as_bytes())
}

impl Picture<'_> {
    fn x(&self, seen: &Seen) -> f64 {
        let lane = self.lanes.binary_search(&seen.peer).unwrap_or_default();
        TIMES + 20.0 + LANE * lane as f64
    }

    fn y(row: usize) -> f64 {
        TOP + MOMENT_ROW * row as f64
    }

    /// The row of a moment, if it is shown.
    fn row(&self, moment: usize) -> Option<usize> {
        self.moments.binary_search(&moment).ok()
    }

    fn width(&self) -> f64 {
        TIMES + LANE * self.lanes.len().saturating_sub(1) as f64 + WORDS_WIDTH
    }

    fn begin(&self) -> Svg {
        let (width, bottom) = (self.width(), Self::y(self.moments.len()));
        let height = bottom + 22.0;
        let mut svg = Svg::new(width, height, PICTURE_STYLE);
        for (id, class) in [("tip", "tip"), ("tip-on", "tip on")] {
            svg.put(format_args!(
                "<marker id=\"{id}\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" \
                 markerUnits=\"userSpaceOnUse\" orient=\"auto\"><path class=\"{class}\" d=\"M0 0L8 4L0 8z\"/></marker>"
            ));
        }
        for (lane, &peer) in self.lanes.iter().enumerate() {
            let x = TIMES + 20.0 + LANE * lane as f64;
            svg.text("head", (x, 18), Anchor::Middle, &format!("peer {}", self.history.peers[peer].name));
            svg.path("lane", &format!("M{x} 26V{bottom}"));
        }
        let waits = if self.way.is_empty() { String::new() } else { self.history.waits(self.way) };
        svg.text("faint", (8, height - 8.0), Anchor::Start, &waits);
        svg
    }

    /// A bar beside its peer's lane, from the order of a job to its outcome.
    fn draw_jobs(&self, svg: &mut Svg) {
        let mut slots: Vec<(usize, usize)> = Vec::new();
        for (row, &moment) in self.moments.iter().enumerate() {
            let seen = &self.history.moments[moment];
            let (Event::JobDone { .. }, CameOf::Moment(cause)) = (&seen.moment.event, seen.cause) else { continue };
            let Some(from) = self.row(cause) else { continue };
            let beside = slots.iter().filter(|&&(peer, until)| peer == seen.peer && until > from).count();
            slots.push((seen.peer, row));
            let x = self.x(seen) + 7.0 + 4.0 * beside.min(3) as f64;
            let on = if self.is_on(cause) && self.is_on(moment) { " on" } else { "" };
            svg.path(&format!("job{on}"), &format!("M{x} {}V{}", Self::y(from), Self::y(row)));
        }
    }

    fn draw_arrows(&self, svg: &mut Svg) {
        for (row, &moment) in self.moments.iter().enumerate() {
            let seen = &self.history.moments[moment];
            let CameOf::Moment(cause) = seen.cause else { continue };
            let Some(from) = self.row(cause).filter(|from| *from < row) else { continue };
            let sent = &self.history.moments[cause];
            let on = if self.is_on(cause) && self.is_on(moment) { " on" } else { "" };
            let tip = if on.is_empty() { "" } else { "-on" };
            let (x1, y1, x2, y2) = (self.x(sent), Self::y(from), self.x(seen), Self::y(row));
            match &seen.moment.event {
                Event::Message { via, .. } => {
                    let carrier = format!("{via:?}").to_lowercase();
                    let long = (x2 - x1).hypot(y2 - y1).max(1.0);
                    let (x2, y2) = (x2 - 6.0 * (x2 - x1) / long, y2 - 6.0 * (y2 - y1) / long);
                    svg.put(format_args!(
                        "<path class=\"arrow {carrier}{on}\" d=\"M{x1} {y1}L{x2:.1} {y2:.1}\" marker-end=\"url(#tip{tip})\"/>"
                    ));
                }
                _ if !on.is_empty() => svg.path("on", &format!("M{x1} {y1}V{y2}")),
                _ => {}
            }
        }
    }

    fn draw_moment(&self, row: usize, moment: usize, svg: &mut Svg) {
        let seen = &self.history.moments[moment];
        let (x, y) = (self.x(seen), Self::y(row));
        let on = if self.is_on(moment) { " on" } else { "" };
        let shape = match seen.moment.event {
            Event::JobDone { .. } => format!("M{} {}h8v8h-8z", x - 4.0, y - 4.0),
            Event::Tick => format!("M{x} {}l5 9h-10z", y - 5.0),
            Event::Command { .. } => format!("M{x} {}l6 6l-6 6l-6 -6z", y - 6.0),
            _ => format!("M{} {y}a4 4 0 1 0 8 0a4 4 0 1 0 -8 0", x - 4.0),
        };
        let first = self.moments.first().map_or(0, |&first| self.history.moments[first].at);
        let room = (self.width() - x - WORDS_BESIDE) / CHARACTER;
        let say = cut(&self.say(moment), room as usize);
        svg.text("faint", (TIMES - 8.0, y + 4.0), Anchor::End, &millis(seen.at - first));
        svg.path(&format!("mark{on}"), &shape);
        svg.text("say", (x + WORDS_BESIDE, y + 4.0), Anchor::Start, &say);
    }

    /// What happened; where it led to no message that can be seen, what was done about it too.
    fn say(&self, moment: usize) -> String {
        let seen = &self.history.moments[moment].moment;
        let sends = seen.actions.iter().any(|action| matches!(action, Action::Send { .. }));
        let asked = matches!(seen.event, Event::Command { .. });
        if sends && !asked { self.history.names.event(&seen.event) } else { self.history.tell(moment) }
    }

    fn is_on(&self, moment: usize) -> bool {
        self.way.binary_search(&moment).is_ok()
    }
}
