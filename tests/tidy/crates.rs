//! What comes in by dependencies: under which licences, from where, and what is compiled twice.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Licences that this program may be given away under, together with its own.
const LICENCES: &[&str] =
    &["0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "Unicode-3.0", "Unlicense", "Zlib"];

/// Where crates come from.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Crates that are there in two generations, and who wants the older one.
const TWICE: &[(&str, &str)] = &[
    ("block-buffer", "snow: its BLAKE2 and SHA-2"),
    ("chacha20", "snow: the cipher of its own kind"),
    ("cipher", "snow: the cipher of its own kind"),
    ("cpufeatures", "snow: all its cryptography"),
    ("crypto-common", "snow: all its cryptography"),
    ("digest", "snow: its BLAKE2 and SHA-2"),
    ("getrandom", "ring; and bolero, for tests"),
    ("inout", "snow: the cipher of its own kind"),
    ("rand", "bolero, for tests"),
    ("rand_core", "bolero, for tests"),
    ("sha2", "snow: its SHA-2"),
    ("syn", "derives of bolero, for tests, and of curve25519-dalek"),
    ("toml_datetime", "bolero, for tests"),
    ("winnow", "bolero, for tests"),
];

/// All crates on Linux, this program's among them; other systems' need not be here.
fn packages() -> Vec<Value> {
    let words =
        ["metadata", "--format-version=1", "--locked", "--offline", "--filter-platform=x86_64-unknown-linux-gnu"];
    let cargo = Command::new(env!("CARGO")).args(words).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let output = cargo.expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let all: Value = serde_json::from_slice(&output.stdout).expect("it writes JSON");
    let packages = all["packages"].as_array().expect("a list").clone();
    assert!(packages.len() > 50, "{} crates", packages.len());
    packages
}

fn name(package: &Value) -> &str {
    package["name"].as_str().expect("each has a name")
}

/// Whether one may choose licences that are allowed: each of those joined by AND, one of those joined by OR. Where both
/// stand in an expression, parentheses are around the OR, as in all that there are.
fn is_allowed(licence: &str) -> bool {
    licence.split(" AND ").all(|choice| {
        let choice = choice.trim_matches(['(', ')']).replace('/', " OR ");
        choice.split(" OR ").any(|one| LICENCES.contains(&one.trim()))
    })
}

#[test]
fn every_crate_has_a_licence_that_is_allowed_and_comes_from_the_registry() {
    assert!(is_allowed("Apache-2.0 AND ISC") && is_allowed("GPL-3.0 OR MIT") && is_allowed("Unlicense/MIT"));
    assert!(!is_allowed("GPL-3.0") && !is_allowed("MIT AND GPL-3.0") && !is_allowed(""));
    for package in packages().iter().filter(|package| name(package) != "kadring") {
        let licence = package["license"].as_str().unwrap_or_default();
        assert!(is_allowed(licence), "{} is under '{licence}'", name(package));
        assert_eq!(package["source"], REGISTRY, "{}", name(package));
    }
}

#[test]
fn no_crate_is_there_twice_but_those_whose_reason_is_named() {
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in &packages() {
        versions.entry(name(package).to_owned()).or_default().insert(package["version"].to_string());
    }
    let twice: Vec<&str> =
        versions.iter().filter(|(_, versions)| versions.len() > 1).map(|(name, _)| name.as_str()).collect();
    assert_eq!(twice, TWICE.iter().map(|(name, _)| *name).collect::<Vec<_>>());
}
