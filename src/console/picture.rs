//! The questions of a lookup as a picture in SVG: time against distance, a bar for each.
//!
//! The farthest stand at the top and the nearest at the bottom, so a lookup that gets on is a staircase downwards. What
//! the lookup's time went by with is drawn strong.

use std::fmt::Write;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use super::escape::quoted;
use super::explained::{became, millis, who, why};
use super::folder::trouble;
use crate::id::Key;
use crate::node::notice::{AskedQuestion, QuestionOutcome};
use crate::node::{Failure, FailureKind};
use crate::raw_text;
use crate::svg::{self, Anchor, CHARACTER, Svg};

/// Pixels from one bar to the next, and where the first one is; where time begins, and how wide all of it is.
const ROW: f64 = 22.0;
const TOP: f64 = 74.0;
const LEFT: f64 = 60.0;
const WIDE: f64 = 460.0;

const BARS: &str = ".bar{fill:#9db8d2}.strong{fill:#1f5f99}.dead{fill:#d9a79a}.dead.strong{fill:#b3261e}\
    .tick{stroke:#1a1a1a;stroke-width:1.5}\
    @media(prefers-color-scheme:dark){.bar{fill:#3f5870}.strong{fill:#7fb3e6}.dead{fill:#6b423b}.dead.strong{fill:#ff9a8d}\
    .tick{stroke:#e8e8e8}}";

/// What is drawn, and what it means.
const LEGEND: [(&str, &str); 3] =
    [("bar strong", "its time is the lookup's"), ("bar", "asked meanwhile"), ("bar dead", "no answer")];

/// The picture of a lookup for `key` that asked these questions and took so long.
pub(super) fn draw(key: &Key, asked: &[AskedQuestion], took: Duration) -> String {
    let mut rows: Vec<&AskedQuestion> = asked.iter().collect();
    rows.sort_by_key(|one| (std::cmp::Reverse(one.distance), one.begun));
    let words: Vec<String> =
        rows.iter().map(|one| format!("{} ({}) {}", who(one), why(one.reason), became(one))).collect();
    let longest = words.iter().map(|words| words.chars().count()).max().unwrap_or(0);
    let width = LEFT + WIDE + 16.0 + CHARACTER * longest as f64;
    let bottom = TOP + ROW * rows.len() as f64;
    let mut svg = Svg::new(width, bottom + 50.0, &(svg::STYLE.to_owned() + BARS));
    let title = format!("lookup of {}: {} questions, {}", key.short(), asked.len(), millis(took));
    svg.text("head", (LEFT, 22), Anchor::Start, &title);
    let mut at = LEFT;
    for (class, words) in LEGEND {
        svg.put(format_args!("<rect class=\"{class}\" x=\"{at}\" y=\"34\" width=\"16\" height=\"9\"/>"));
        svg.text("", (at + 22.0, 43), Anchor::Start, words);
        at += 44.0 + CHARACTER * words.len() as f64;
    }
    svg.text("faint", (LEFT - 8.0, TOP - 12.0), Anchor::End, "distance");
    draw_time(&mut svg, bottom, took);
    for (row, (one, words)) in rows.iter().zip(&words).enumerate() {
        draw_question(&mut svg, TOP + ROW * row as f64, one, words, took);
    }
    svg.end()
}

/// An error unless the picture may stand there: nothing does yet, or an older picture does.
pub(super) fn check_place(at: &Path) -> Result<(), Failure> {
    let there = match fs::metadata(at) {
        Ok(there) => there,
        Err(_) => {
            let folder = at.parent().filter(|folder| !folder.as_os_str().is_empty());
            let reason = || format!("cannot write {}: its folder is not there", quoted(&raw_text::text_of(at)));
            return match folder {
                Some(folder) if !folder.is_dir() => Err(Failure::new(FailureKind::Other, reason())),
                _ => Ok(()),
            };
        }
    };
    // What is no file, as a terminal, loses nothing.
    if !there.is_file() || there.len() == 0 {
        return Ok(());
    }
    let mut beginning = Vec::new();
    let read = File::open(at).and_then(|file| file.take(1024).read_to_end(&mut beginning));
    read.map_err(|error| trouble("read", at, &error))?;
    match svg::is_ours(&String::from_utf8_lossy(&beginning)) {
        true => Ok(()),
        false => {
            let reason = "is there and is no picture of a lookup, so it is not replaced; name another file";
            Err(Failure::new(FailureKind::Exists, format!("{} {reason}", quoted(&raw_text::text_of(at)))))
        }
    }
}

/// Where a time stands.
fn across(at: Duration, took: Duration) -> f64 {
    let share = at.as_secs_f64() / took.as_secs_f64().max(1e-6);
    LEFT + WIDE * share.min(1.0)
}

fn draw_time(svg: &mut Svg, bottom: f64, took: Duration) {
    let all = (took.as_secs_f64() * 1e3).max(1e-3);
    let marks = svg::marks(0.0, all, 5.0);
    let step = if let [first, second, ..] = marks[..] { second - first } else { all };
    for mark in marks {
        let x = across(Duration::from_secs_f64(mark / 1e3), took);
        svg.path("grid", &format!("M{x:.1} {}V{bottom}", TOP - 6.0));
        svg.text("", (format_args!("{x:.1}"), bottom + 16.0), Anchor::Middle, &svg::number(mark, step));
    }
    svg.text("", (LEFT + WIDE / 2.0, bottom + 36.0), Anchor::Middle, "time since the lookup began, ms");
}

fn draw_question(svg: &mut Svg, y: f64, one: &AskedQuestion, words: &str, took: Duration) {
    let ends = one.took.map_or(took, |span| one.begun + span);
    let (from, to) = (across(one.begun, took), across(ends, took));
    let mut class = "bar".to_owned();
    let gave_up = matches!(one.outcome, QuestionOutcome::Open) && one.late.or(one.doubted).is_some();
    for (is_so, name) in
        [(one.outcome == QuestionOutcome::Silent || gave_up, " dead"), (one.waited.is_some(), " strong")]
    {
        class += if is_so { name } else { "" };
    }
    let distance = one.distance.map_or_else(|| "?".to_owned(), |bits| format!("2^{bits}"));
    svg.text("faint", (LEFT - 8.0, y + 11.0), Anchor::End, &distance);
    let wide = (to - from).max(2.0);
    svg.put(format_args!("<rect class=\"{class}\" x=\"{from:.1}\" y=\"{y}\" width=\"{wide:.1}\" height=\"14\"/>"));
    let mut ticks = String::new();
    for late in [one.late, one.doubted].into_iter().flatten() {
        let _ = write!(ticks, "M{:.1} {}v18", across(one.begun + late, took), y - 2.0);
    }
    if !ticks.is_empty() {
        svg.path("tick", &ticks);
    }
    svg.text("", (LEFT + WIDE + 12.0, y + 11.0), Anchor::Start, words);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Id;
    use crate::node::notice::AskedFor;
    use crate::overlay::AskReason;

    #[test]
    fn the_farthest_stand_above_the_nearest_and_what_time_went_by_with_is_strong() {
        let question = |distance, begun, waited: bool| AskedQuestion {
            id: None,
            addr: ([127, 0, 0, 1], 7000).into(),
            request: AskedFor::Nearer,
            reason: AskReason::Nearest,
            distance: Some(distance),
            gained: Some(1),
            named_by: None,
            after: None,
            begun: Duration::from_millis(begun),
            late: None,
            doubted: None,
            took: Some(Duration::from_millis(10)),
            sent: 1,
            waited: waited.then_some(Duration::from_millis(10)),
            outcome: QuestionOutcome::Named { peers: 7, new: 2 },
            trail: Vec::new(),
        };
        let near = question(240, 10, true);
        let silent = AskedQuestion { outcome: QuestionOutcome::Silent, ..question(251, 0, true) };
        let svg = draw(&Id::ZERO, &[near, silent, question(250, 0, false)], Duration::from_millis(20));
        let places = ["2^251", "2^250", "2^240"].map(|words| svg.find(&format!(">{words}<")).expect("it is drawn"));
        assert!(places.is_sorted(), "{svg}");
        assert!(svg.contains("<rect class=\"bar dead strong\" x=\"60.0\" y=\"74\" width=\"230.0\""), "{svg}");
        assert!(svg.contains("<rect class=\"bar\" x=\"60.0\" y=\"96\" width=\"230.0\""), "{svg}");
        assert!(svg.contains("<rect class=\"bar strong\" x=\"290.0\" y=\"118\" width=\"230.0\""), "{svg}");
        assert!(svg.contains("ms<") && svg.contains(">asked meanwhile<"), "a unit and a legend: {svg}");
        assert!(draw(&Id::ZERO, &[], Duration::ZERO).ends_with("</svg>\n"), "a lookup that asks nobody");
    }

    #[test]
    fn a_picture_takes_a_new_place_or_an_older_pictures_and_no_other_files() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("old.svg"), draw(&Id::ZERO, &[], Duration::ZERO)).unwrap();
        fs::write(at("drawn.svg"), "<svg xmlns=\"x\">\n<path d=\"M0 0\"/></svg>\n").unwrap();
        fs::write(at("thesis.pdf"), b"%PDF\xff").unwrap();
        for (place, expected) in [
            (at("old.svg"), None),
            (at("new.svg"), None),
            ("new.svg".into(), None),
            ("/dev/null".into(), None),
            (at("drawn.svg"), Some(FailureKind::Exists)),
            (at("thesis.pdf"), Some(FailureKind::Exists)),
            (at("none/new.svg"), Some(FailureKind::Other)),
        ] {
            assert_eq!(check_place(&place).err().map(|failure| failure.kind), expected, "{}", place.display());
        }
    }
}
