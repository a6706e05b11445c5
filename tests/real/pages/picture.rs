//! The picture on the README's first screen, which a command makes that anyone can run.
//!
//! With `KADRING_NEW_DIGESTS=1` this test writes it anew.

use std::fs;
use std::path::Path;

use super::runs::Workplace;

/// The run that is drawn: three peers, none of which fails.
const RUN: &str = "--seed 2 --peers 3 --faults 0";

#[test]
fn the_readme_s_picture_is_what_its_commands_draw_and_no_arrow_goes_back() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let place = Workplace::new();
    place.record(RUN, "three.jsonl");
    place.kadring("trace three.jsonl --only 0 --svg store.svg");
    let drawn = place.read("store.svg");
    let kept = root.join("tests/pictures/store.svg");
    if std::env::var_os("KADRING_NEW_DIGESTS").is_some() {
        fs::write(&kept, &drawn).expect("the source is writable");
    }
    assert!(drawn == fs::read_to_string(&kept).expect("it is committed"), "the picture is another one now");
    let readme = fs::read_to_string(root.join("README.md")).expect("it is committed");
    let commands =
        format!("kadring sim --storm {RUN} --record three.jsonl\nkadring trace three.jsonl --only 0 --svg store.svg\n");
    assert!(
        readme.contains("(tests/pictures/store.svg)") && readme.contains(&commands),
        "the README shows it, and how"
    );
    let heights = |line: &str| -> Option<(f64, f64)> {
        let (from, to) = line.split_once("d=\"M")?.1.split_once('"')?.0.split_once('L')?;
        let height = |point: &str| point.split_once(' ').and_then(|(_, height)| height.parse().ok());
        Some((height(from)?, height(to)?))
    };
    let arrows: Vec<(f64, f64)> = drawn.lines().filter(|line| line.contains("\"arrow")).filter_map(heights).collect();
    assert!(arrows.len() >= 8 && arrows.iter().all(|(from, to)| from < to), "{arrows:?}");
}

#[test]
fn of_one_request_the_columns_mark_what_its_end_waited_for() {
    let place = Workplace::new();
    place.record(RUN, "three.jsonl");
    let out = place.kadring("trace three.jsonl --only 0");
    let marked: Vec<&str> = out.lines().filter(|line| line.chars().nth(12) == Some('*')).collect();
    let time = |line: &str| line.split_whitespace().next().and_then(|at| at.parse::<f64>().ok()).expect("a time");
    let (first, last) = (marked.first().expect("a way"), marked.last().expect("a way"));
    // Another store that began in the same moment may be what this one waited for.
    assert!(first.contains("command ") && first.contains(": store"), "{out}");
    assert!(last.contains("answers 0: stored"), "{out}");
    let waited = format!("* the last of them waited {:.3} ms: ", (time(last) - time(first)) / 1000.0);
    assert!(out.contains(&waited) && out.contains("ms for messages"), "{waited}: {out}");
}
