//! House rules that a compiler does not hold: layers, sizes, documentation, and what the source must never do.

#[path = "tidy/circles.rs"]
mod circles;
#[path = "tidy/constants.rs"]
mod constants;
#[path = "tidy/crates.rs"]
mod crates;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Which layer each room stands in. Imports point only to a lower one.
const LAYERS: &[(&str, u8)] = &[
    ("as_text", 0),
    ("id", 0),
    ("lease", 0),
    ("name", 0),
    ("network", 0),
    ("path_text", 0),
    ("whole_file", 0),
    ("raw_text", 0),
    ("patience", 0),
    ("time", 0),
    ("peer", 0),
    ("config", 0),
    ("agenda", 0),
    ("recent", 0),
    ("gauges", 0),
    ("locks", 0),
    ("source", 0),
    ("sums", 0),
    ("svg", 0),
    ("seal", 1),
    ("wire", 1),
    ("store", 1),
    ("file", 1),
    ("overlay", 2),
    ("node", 3),
    ("classroom", 4),
    ("record", 4),
    ("runtime", 5),
    ("sim", 5),
    ("console", 6),
];

/// Rooms that never meet though their layers would allow it: the first never imports the second, except for its tests.
const STRANGERS: &[(&str, &str)] = &[
    ("overlay/kademlia", "overlay::ring"),
    ("overlay/ring", "overlay::kademlia"),
    ("overlay/mod.rs", "wire::ring"),
    ("overlay/kademlia", "wire::ring"),
    ("overlay", "store"),
    ("overlay", "file"),
    ("node", "store"),
    ("node", "overlay::kademlia"),
    ("node", "overlay::ring"),
    ("node/files", "node::keeping"),
    ("node/keeping", "node::files"),
    ("classroom", "node::files"),
    ("classroom", "node::keeping"),
    ("classroom", "store"),
    ("node", "wire::kad"),
    ("node", "wire::ring"),
    ("node", "classroom"),
    ("runtime", "overlay::kademlia"),
    ("runtime", "overlay::ring"),
];

/// Characters of the widest line, as rustfmt has it for code.
const WIDEST: usize = 120;

const LONGEST_FILE: usize = 400;

const LONGEST_FUNCTION: usize = 60;

fn sources() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = BTreeMap::new();
    let mut folders: Vec<PathBuf> = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the source is readable") {
            let path = entry.expect("the source is readable").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("the source is text");
                let name = path.strip_prefix(&root).expect("it lies below").display().to_string();
                found.insert(name, text);
            }
        }
    }
    assert!(found.len() > 20, "the source was found");
    found
}

/// The lines of code with their numbers: no comments, no test module at the end.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let lines = text[..end].lines().enumerate().map(|(at, line)| (at + 1, line));
    lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
}

fn layer(room: &str) -> Option<u8> {
    LAYERS.iter().find(|(name, _)| *name == room).map(|&(_, layer)| layer)
}

/// What a line names behind `crate::`.
fn mentions(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("crate::").map(move |(at, start)| {
        let rest = &line[at + start.len()..];
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(rest.len());
        &rest[..end]
    })
}

/// Every line of code that `wrong` objects to, with its objection.
fn objections(wrong: impl Fn(&str, &str) -> Option<String>) -> Vec<String> {
    let sources = sources();
    let lines = sources.iter().flat_map(|(name, text)| code(text).map(move |(number, line)| (name, number, line)));
    lines.filter_map(|(name, number, line)| wrong(name, line).map(|why| format!("{name}:{number}: {why}"))).collect()
}

fn assert_none(objections: &[String]) {
    assert!(objections.is_empty(), "\n{}", objections.join("\n"));
}

#[test]
fn imports_point_only_to_a_lower_layer() {
    assert_none(&objections(|name, line| {
        let room = name.split('/').next().unwrap_or_default().trim_end_matches(".rs");
        let own = layer(room)?;
        mentions(line).find_map(|mention| {
            let other = mention.split("::").next().unwrap_or_default();
            let upward = other != room && layer(other).is_some_and(|other| other >= own.max(1));
            let strange = STRANGERS.iter().any(|(from, to)| name.starts_with(from) && mention.starts_with(to));
            let strange = strange && !name.contains("/tests/");
            (upward || strange).then(|| format!("{room} imports {mention}"))
        })
    }));
}

/// What a part does goes through the verbs of the desk: it knows no request id, no action and no field.
#[test]
fn parts_of_the_node_go_by_the_desks_door() {
    assert_none(&objections(|name, line| {
        // `waits.rs` is none: that is the node's own, beside its parts.
        let parts = ["files/", "keeping/", "bootstrap.rs", "memory.rs", "user.rs", "claims.rs", "reach.rs"];
        let part = name.strip_prefix("node/").is_some_and(|name| parts.iter().any(|part| name.starts_with(part)));
        let part = (part || name.starts_with("classroom/")) && !name.ends_with("tests.rs");
        let field = line.match_indices("desk.").find(|(at, start)| {
            let rest = &line[at + start.len()..];
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
            !rest[end..].starts_with('(')
        });
        let inner = ["node::action", "node::exchange", "node::life", "Action::", "magic:"];
        let inner = inner.into_iter().find(|word| name.starts_with("node") && line.contains(word));
        (part && (field.is_some() || inner.is_some())).then(|| line.trim().to_owned())
    }));
}

#[test]
fn the_core_asks_neither_which_overlay_runs_nor_whether_it_is_the_classrooms() {
    assert_none(&objections(|name, line| {
        let looks = name.starts_with("node/") && !name.starts_with("node/tests/");
        let asks = ["OverlayKind::", "config.named_files", "config().named_files"];
        (looks && asks.iter().any(|word| line.contains(word))).then(|| line.trim().to_owned())
    }));
}

#[test]
fn the_core_tells_no_message_of_the_rings_by_its_shape() {
    assert_none(&objections(|name, line| {
        let looks = name.starts_with("node/") && !name.starts_with("node/tests/");
        let shapes = ["Request::Ring", "Response::Ring", "RingRequest", "RingResponse"];
        (looks && shapes.iter().any(|shape| line.contains(shape))).then(|| line.trim().to_owned())
    }));
}

#[test]
fn only_the_clock_reads_the_clock_and_nobody_sleeps_or_draws_hidden_chance() {
    assert_none(&objections(|name, line| {
        let forbidden = ["Instant::now", "SystemTime::now", "thread::sleep", "rand::rng()", "rand::random"];
        let found = forbidden.iter().find(|word| line.contains(**word))?;
        (name != "runtime/clock.rs").then(|| (*found).to_owned())
    }));
}

#[test]
fn the_core_says_what_happens_by_notices_and_writes_no_log() {
    assert_none(&objections(|name, line| {
        let core = ["overlay/", "node/", "classroom/", "wire/", "file/"].iter().any(|room| name.starts_with(room));
        (core && line.contains("log::")).then(|| "a line for the log".to_owned())
    }));
}

#[test]
fn no_order_of_a_hash_map_reaches_the_core() {
    assert_none(&objections(|name, line| {
        let core =
            ["overlay/", "node/", "classroom/", "sim/", "file/", "wire/"].iter().any(|room| name.starts_with(room));
        (core && (line.contains("HashMap") || line.contains("HashSet"))).then(|| "an unordered map".to_owned())
    }));
}

#[test]
fn no_async_and_no_unfinished_code() {
    assert_none(&objections(|_, line| {
        let forbidden = ["async fn", "async move", ".await", "std::future", "todo!(", "unimplemented!(", "dbg!("];
        forbidden.iter().find(|word| line.contains(**word)).map(|word| (*word).to_owned())
    }));
}

#[test]
fn every_module_says_what_it_is() {
    let silent: Vec<_> =
        sources().into_iter().filter(|(_, text)| !text.starts_with("//! ")).map(|(name, _)| name).collect();
    assert_none(&silent);
}

#[test]
fn no_description_is_a_bare_question_and_no_comment_leaves_its_subject_open() {
    let questions = ["Who.", "What.", "Which.", "Where.", "When.", "Why.", "How many.", "How much."];
    let bare = |text: &str| {
        let is_open = text.trim().starts_with("//") && text.contains("hoever");
        is_open || text.trim().strip_prefix("/// ").is_some_and(|said| questions.contains(&said))
    };
    let sources = sources();
    let lines = sources.iter().flat_map(|(name, text)| text.lines().zip(1..).map(move |(line, at)| (name, at, line)));
    let found: Vec<_> =
        lines.filter(|line| bare(line.2)).map(|(name, at, line)| format!("{name}:{at}: {}", line.trim())).collect();
    assert_none(&found);
}

/// Words that stand in a row of a table cannot be wrapped.
#[test]
fn no_comment_is_wider_than_the_code_may_be() {
    let is_wide = |line: &str| line.trim_start().starts_with("//") && line.chars().count() > WIDEST;
    let is_row = |line: &str| line.trim_start().starts_with("//! |") || line.trim_start().starts_with("/// |");
    let found: Vec<_> = sources()
        .iter()
        .flat_map(|(name, text)| text.lines().zip(1..).map(move |(line, at)| (name, at, line)))
        .filter(|(.., line)| is_wide(line) && !is_row(line))
        .map(|(name, at, _)| format!("{name}:{at}"))
        .collect();
    assert_none(&found);
}

#[test]
fn files_stay_short_enough_to_read() {
    let lengths = sources().into_iter().map(|(name, text)| (name, code(&text).count()));
    let long = lengths.filter(|(_, lines)| *lines > LONGEST_FILE).map(|(name, lines)| format!("{name}: {lines} lines"));
    assert_none(&long.collect::<Vec<_>>());
}

/// The lines of the first picture in a text, without what makes them a comment.
fn picture(text: &str) -> Vec<String> {
    let lines = text.lines().map(|line| line.trim_start_matches("//!").trim());
    let picture = lines.skip_while(|line| *line != "```text").skip(1).take_while(|line| *line != "```");
    picture.map(str::to_owned).collect()
}

#[test]
fn there_is_one_picture_of_the_threads() {
    let sources = sources();
    let drawn = picture(&sources["runtime/mod.rs"]);
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("it is committed");
    assert!(drawn.len() > 5, "the picture was found");
    assert_eq!(picture(&sources["lib.rs"]), drawn);
    assert_eq!(picture(&readme), drawn);
}

/// The lines of the first example in Rust behind a heading.
fn example(text: &str, heading: &str, fence: &str) -> Vec<String> {
    let text = text.split_once(heading).expect("it has the heading").1;
    let lines = text.lines().map(|line| line.strip_prefix("//!").map_or(line, |line| line.trim_start_matches(' ')));
    let lines = lines.map(str::trim_start).skip_while(|line| *line != fence).skip(1);
    lines.take_while(|line| *line != "```").filter(|line| !line.starts_with("# ")).map(str::to_owned).collect()
}

#[test]
fn the_readmes_example_of_the_library_is_the_one_that_the_crates_documentation_compiles() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("it is committed");
    let shown = example(&readme, "## As a library", "```rust");
    assert!(!shown.is_empty());
    assert_eq!(shown, example(&sources()["lib.rs"], "# Use as a library", "```no_run"));
}

#[test]
fn functions_stay_short_enough_to_read() {
    let mut long = Vec::new();
    for (name, text) in sources() {
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate().filter(|(_, line)| begins_function(line)) {
            let indent = line.len() - line.trim_start().len();
            let ends = |end: &&str| end.trim_start() == "}" && end.len() == indent + 1;
            let length = lines[at..].iter().position(ends).map_or(0, |end| end + 1);
            if length > LONGEST_FUNCTION && !line.ends_with('}') {
                long.push(format!("{name}:{}: {length} lines", at + 1));
            }
        }
    }
    assert_none(&long);
}

/// Whether a function begins in this line: before its `fn` stand at most who may use it, and of which kind it is.
fn begins_function(line: &str) -> bool {
    let Some((before, name)) = line.trim_start().split_once("fn ") else { return false };
    let kind = before.strip_prefix("pub").map_or(before, |rest| match rest.strip_prefix('(') {
        Some(whose) => whose.split_once(')').map_or(whose, |(_, rest)| rest),
        None => rest,
    });
    let is_kind = kind.split_whitespace().all(|word| ["const", "unsafe", "async", "extern", "\"C\""].contains(&word));
    is_kind && name.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

#[test]
fn a_function_is_seen_whoever_may_use_it() {
    let functions =
        ["fn a() {", "    pub fn a<T>(", "pub(super) fn a() {", "    pub(crate) const fn a(", "pub const fn a("];
    let functions = functions.into_iter().chain(["pub(in crate::node) fn a(&self) -> u8 {", "unsafe fn a() {"]);
    assert_eq!(functions.filter(|line| !begins_function(line)).collect::<Vec<_>>(), [""; 0]);
    let others = ["// fn a() {", "/// A fn is one.", "type F = fn(u8);", "let name = \"fn a\";", "takes(fn () {})"];
    assert_eq!(others.into_iter().filter(|line| begins_function(line)).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn the_seam_between_node_and_overlays_has_at_most_fourteen_methods() {
    let sources = sources();
    let seam: Vec<&str> = code(&sources["overlay/mod.rs"]).map(|(_, line)| line).collect();
    let from = seam.iter().position(|line| line.starts_with("pub trait Overlay")).expect("the seam is a trait");
    let methods = seam[from..].iter().take_while(|line| **line != "}").filter(|line| begins_function(line)).count();
    assert!((1..=14).contains(&methods), "{methods} methods");
}

#[test]
fn every_lock_stands_in_the_table_of_locks_and_has_one_place() {
    let mutex = |line: &str| ["Mutex", "RwLock"].iter().any(|word| line.contains(word));
    assert_none(&objections(|name, line| {
        let elsewhere = mutex(line) && name != "locks.rs" && !name.ends_with("tests.rs");
        elsewhere.then(|| "a lock outside locks.rs".to_owned())
    }));
    let sources = sources();
    let used = |row: &str| {
        let uses = sources.values().flat_map(|text| code(text)).map(|(_, line)| line.matches(row).count());
        uses.sum::<usize>()
    };
    let rows = code(&sources["locks.rs"]).filter_map(|(_, line)| line.strip_prefix("pub(crate) static "));
    let mut names: Vec<&str> = rows.filter_map(|row| row.split(':').next()).collect();
    names.retain(|name| !name.is_empty());
    assert!(names.len() > 5, "the rows were found");
    let wrong = names.iter().filter(|name| used(&format!("Ranked::new(&locks::{name},")) != 1);
    assert_none(&wrong.map(|name| format!("{name} is not the row of one lock")).collect::<Vec<_>>());
}

#[test]
fn threads_and_channels_of_a_peer_stand_in_its_tables() {
    // A survey and a demonstration are no peers. The log is the program's, and is there before any peer.
    let spawn = ["runtime/threads.rs", "runtime/survey/mod.rs", "console/stderr.rs"];
    let open = ["runtime/channels.rs", "runtime/submit.rs", "runtime/survey/mod.rs", "runtime/demo.rs"];
    let has = |line: &str, words: &[&str]| words.iter().any(|word| line.contains(word));
    assert_none(&objections(|name, line| {
        if name.ends_with("tests.rs") {
            return None;
        }
        let thread = has(line, &["thread::Builder", "thread::spawn(", "thread::scope("]) && !spawn.contains(&name);
        let channel = has(line, &["bounded(", "unbounded("]) && name.starts_with("runtime/") && !open.contains(&name);
        let wrong = [(thread, "a thread outside the roster"), (channel, "a channel outside the table")];
        wrong.iter().find(|(wrong, _)| *wrong).map(|(_, why)| (*why).to_owned())
    }));
}

/// What is no peer's has no table: there the bound is a constant with words, or words stand above the channel.
#[test]
fn a_channel_outside_the_tables_says_why_its_bound_is_right() {
    for (name, text) in sources().into_iter().filter(|(name, _)| !name.ends_with("tests.rs")) {
        let opens = |line: &str| line.contains(" bounded(") || line.contains(" bounded::<");
        let all: Vec<&str> = text.lines().collect();
        let is_said = |at: usize| all[at - 1].trim_start().starts_with("//");
        let constant = |bound: &str| all.iter().position(|line| line.contains(&format!("const {bound}: usize =")));
        let wrong = code(&text).filter(|(_, line)| opens(line)).filter(|&(number, line)| {
            let bound = line.rsplit('(').next().and_then(|rest| rest.split(')').next()).unwrap_or_default();
            !is_said(number - 1) && !constant(bound).is_some_and(is_said)
        });
        let in_table = |name: &str| ["runtime/channels.rs", "runtime/submit.rs"].contains(&name);
        assert_none(&wrong.filter(|_| !in_table(&name)).map(|(at, _)| format!("{name}:{at}")).collect::<Vec<_>>());
    }
    assert_none(&objections(|name, line| {
        let others = ["runtime/", "sim/"].iter().all(|room| !name.starts_with(room)) && !name.ends_with("tests.rs");
        (others && line.contains("unbounded()")).then(|| "a channel without a bound".to_owned())
    }));
}

#[test]
fn no_async_runtime_comes_in_by_a_dependency() {
    let lock = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock")).expect("it is committed");
    for runtime in ["tokio", "async-std", "smol", "futures-core", "futures-util", "mio"] {
        assert!(!lock.contains(&format!("name = \"{runtime}\"\n")), "{runtime} came in");
    }
}

#[test]
fn the_package_has_all_that_its_build_and_its_tests_need() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["package", "--list", "--allow-dirty", "--locked", "--offline"]).current_dir(root);
    let listed = cargo.output().expect("cargo runs");
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let listed: BTreeSet<PathBuf> = String::from_utf8_lossy(&listed.stdout).lines().map(PathBuf::from).collect();
    let needed = ["Cargo.toml", "Cargo.lock", "README.md", "run_cluster.sh", ".clippy.toml", ".rustfmt.toml"];
    let mut missing: Vec<PathBuf> =
        needed.map(PathBuf::from).into_iter().filter(|file| !listed.contains(file)).collect();
    let mut folders = ["src", "tests", ".ci", ".cargo", ".licenses"].map(|folder| root.join(folder)).to_vec();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("it is part of the package") {
            let path = entry.expect("it is readable").path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(file) = path.strip_prefix(root) {
                missing.extend((!listed.contains(file)).then(|| file.to_owned()));
            }
        }
    }
    assert!(missing.is_empty(), "not in the package: {missing:?}");
}
