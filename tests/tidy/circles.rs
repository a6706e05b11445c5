//! Circles of imports: where the files of a room import one another in a circle, none of them can be read first.
//!
//! A file and the folder of the same name count as one. What the room's own `mod.rs` has for all, and what it has of
//! them, makes no circle.

use std::collections::{BTreeMap, BTreeSet};

use super::{assert_none, sources};

/// Rooms whose files cannot be read one after another, and why. In all others they can.
const CIRCLES: &[(&str, &str)] = &[
    ("commands", "what joins, what asks a running peer, and what reads lines hand on to one another"),
    ("console", "a Performer has a chapter in each file"),
    ("overlay/ring", "a Ring has a chapter in each file, and what each has asked is known to those it comes back to"),
    ("runtime", "lines are read from streams, and a stream's handshake by the same deadlines"),
    ("runtime/transfer", "the ledger has the books of those who write in it"),
    ("sim", "a World and a Storm have a chapter in each file"),
    ("sim/load", "a run has a chapter for its files"),
];

/// Each path that a text imports, or that is written out in its code.
fn imports(text: &str) -> Vec<String> {
    let text = &text[..text.find("#[cfg(test)]").unwrap_or(text.len())];
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.starts_with("//")).collect();
    let text = &lines.join(" ");
    let statements = text.split(';').filter_map(|statement| {
        let (before, path) = statement.rsplit_once("use ")?;
        before
            .trim()
            .rsplit(['}', ']'])
            .next()
            .is_some_and(|rest| rest.is_empty() || rest.contains("pub"))
            .then_some(path)
    });
    let written_out = ["crate::", "super::"].into_iter().flat_map(|start| {
        let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
        let starts = text.match_indices(start).filter(move |(at, _)| !text[..*at].ends_with(is_name));
        starts.filter_map(move |(at, _)| text[at..].split(|c| !is_name(c)).next())
    });
    statements.flat_map(|path| leaves("", path)).chain(written_out.map(str::to_owned)).collect()
}

/// The paths that stand in a tree of imports.
fn leaves(before: &str, tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some((stem, inner)) = tree.split_once('{') else { return vec![format!("{before}{tree}")] };
    let inner = inner.rsplit_once('}').map_or(inner, |(inner, _)| inner);
    let (mut depth, mut from, mut found) = (0, 0, Vec::new());
    for (at, c) in inner.char_indices().chain([(inner.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let branch = &inner[from..at];
                from = at + 1;
                if !branch.trim().is_empty() {
                    found.extend(leaves(&format!("{before}{}", stem.trim()), branch));
                }
            }
            _ => {}
        }
    }
    found
}

/// The module in which a file stands: its path without `mod.rs` and `.rs`.
fn module(name: &str) -> String {
    name.trim_end_matches(".rs").trim_end_matches("/mod").to_owned()
}

/// The module among `all` that a path names which is written in `from`, as far as it names one.
fn named(all: &BTreeSet<String>, from: &str, path: &str) -> Option<String> {
    let mut steps = path.split("::").map(str::trim).peekable();
    let mut at: Vec<&str> = match steps.next()? {
        "crate" => Vec::new(),
        "self" => from.split('/').collect(),
        "super" => from.split('/').collect::<Vec<_>>().split_last()?.1.to_vec(),
        _ => return None,
    };
    while steps.next_if_eq(&"super").is_some() {
        at.pop();
    }
    for step in steps {
        at.push(step);
        if !all.contains(&at.join("/")) {
            at.pop();
            break;
        }
    }
    Some(at.join("/")).filter(|module| all.contains(module))
}

/// Who imports whom in a room, by the names of its files.
fn arrows(sources: &BTreeMap<String, String>, room: &str) -> BTreeMap<String, BTreeSet<String>> {
    let all: BTreeSet<String> = sources.keys().map(|name| module(name)).collect();
    let child = |module: &str| {
        let rest = module.strip_prefix(room)?.strip_prefix('/')?;
        rest.split('/').next().map(str::to_owned)
    };
    let mut arrows: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, text) in sources.iter().filter(|(name, _)| !name.contains("/tests") && !name.ends_with("/tests.rs")) {
        let module = module(name);
        let Some(from) = child(&module) else { continue };
        let to = imports(text).into_iter().filter_map(|path| named(&all, &module, &path)).filter_map(|to| child(&to));
        arrows.entry(from.clone()).or_default().extend(to.filter(|to| *to != from));
    }
    arrows
}

/// The files that stand in a circle, or behind one: whatever is left once those are taken away that import none of the
/// others, again and again; and then those that none of the others import.
fn circle(mut arrows: BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    loop {
        let left: BTreeSet<String> = arrows.keys().cloned().collect();
        let imported: BTreeSet<String> = arrows.values().flatten().cloned().collect();
        arrows.retain(|name, to| {
            to.retain(|to| left.contains(to));
            !to.is_empty() && imported.contains(name)
        });
        if arrows.len() == left.len() {
            return left.into_iter().collect();
        }
    }
}

#[test]
fn the_files_of_a_room_import_one_another_in_no_circle_but_where_the_reason_is_told() {
    let sources = sources();
    let rooms: BTreeSet<&str> = sources.keys().filter_map(|name| Some(name.rsplit_once('/')?.0)).collect();
    let rooms = rooms.into_iter().filter(|room| !room.ends_with("/tests"));
    let found = rooms.filter_map(|room| {
        let circle = circle(arrows(&sources, room));
        let is_told = CIRCLES.iter().any(|(other, _)| *other == room);
        (is_told == circle.is_empty()).then(|| format!("{room}: {}", circle.join(", ")))
    });
    assert_none(&found.collect::<Vec<_>>());
}

#[test]
fn a_circle_is_found_however_its_imports_are_written() {
    let file = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    let sources = BTreeMap::from([
        file("room/mod.rs", "mod a;\nuse self::a::A;\n"),
        file("room/a.rs", "//! A.\n\nuse super::b::{\n    inner::C, D,\n};\n"),
        file("room/b/mod.rs", "pub(crate) mod inner;\n"),
        file("room/b/inner.rs", "use std::fmt;\npub(super) use crate::room::{c::{self}, other::E};\n"),
        file("room/c.rs", "#[cfg(unix)]\nfn c() -> super::super::room::a::A {}\n"),
        file("room/d.rs", "use super::a::A;\n#[cfg(test)]\nmod tests {\n    use crate::room::e::E;\n}\n"),
        file("room/e.rs", "use crate::room::d::D;\n"),
    ]);
    assert_eq!(circle(arrows(&sources, "room")), ["a", "b", "c"]);
}
