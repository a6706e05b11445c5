//! Names of constants: in a room each has one value, so that a reader who met it in one file knows it in another.

use std::collections::{BTreeMap, BTreeSet};

use super::{assert_none, code, sources};

/// The constants that a file has for all of it: their names and values. Those of a type or of a function bear its name.
fn constants(text: &str) -> Vec<(String, String)> {
    let lines: Vec<&str> = code(text).map(|(_, line)| line).collect();
    let is_first = |line: &str| line.starts_with("const ") || line.starts_with("pub") && line.contains(" const ");
    let starts = (0..lines.len()).filter(|&at| is_first(lines[at]));
    let found = starts.filter_map(|at| {
        let end = lines[at..].iter().position(|line| line.ends_with(';'))?;
        let statement: String = lines[at..=at + end].iter().flat_map(|line| line.split_whitespace()).collect();
        let (name, value) = statement.split_once("const")?.1.split_once('=')?;
        Some((name.split(':').next()?.to_owned(), value.to_owned()))
    });
    found.collect()
}

/// What is known of a name in a room: its values, and the files that have it.
type Uses<'a> = (BTreeSet<String>, Vec<&'a str>);

/// The names that have several values in a room, each with its files.
fn ambiguous(sources: &BTreeMap<String, String>) -> Vec<String> {
    let mut names: BTreeMap<(&str, String), Uses<'_>> = BTreeMap::new();
    for (file, text) in sources.iter().filter(|(file, _)| !file.contains("/tests") && !file.ends_with("tests.rs")) {
        let Some((room, _)) = file.split_once('/') else { continue };
        for (name, value) in constants(text) {
            let (values, files) = names.entry((room, name)).or_default();
            values.insert(value);
            files.push(file);
        }
    }
    let in_two_files = |files: &[&str]| files.iter().any(|file| *file != files[0]);
    let several = names.into_iter().filter(|(_, (values, files))| values.len() > 1 && in_two_files(files));
    several.map(|((_, name), (_, files))| format!("{name}: {}", files.join(", "))).collect()
}

#[test]
fn a_constants_name_has_one_value_in_a_room() {
    assert_none(&ambiguous(&sources()));
}

#[test]
fn a_name_with_two_values_is_found_however_they_are_written() {
    let file = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    let sources = BTreeMap::from([
        file("room/a.rs", "const A: u8 = 1;\nconst B: [u8; 2] = [1, 2];\nconst C: u8 = 1;\n"),
        file("room/b/mod.rs", "pub(super) const A: u8 =\n    2;\nconst B: [u8; 2] = [\n    1, 2];\n"),
        file("room/b/tests.rs", "const C: u8 = 2;\n"),
        file("other/c.rs", "const C: u8 = 3;\nimpl D {\n    const E: u8 = 1;\n}\n"),
        file("other/d.rs", "#[cfg(unix)]\nconst E: u8 = 2;\n#[cfg(not(unix))]\nconst E: u8 = 3;\n"),
    ]);
    assert_eq!(ambiguous(&sources), ["A: room/a.rs, room/b/mod.rs"]);
}
