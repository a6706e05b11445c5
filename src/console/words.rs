//! What a single word of a command may be: a key, a file, a peer's address.
//!
//! The same words are read on the command line and at the console, so they are refused in the same way: each error says
//! what was typed and what was expected.

use std::path::PathBuf;

use super::escape::quoted;
use crate::id::{Id, Key};
use crate::node::Source;
use crate::raw_text::{self, no_file, own_stream};

/// Reads a peer's id.
pub fn parse_id(word: &str) -> Result<Id, String> {
    word.parse().map_err(|_| {
        let characters = match word.chars().count() {
            1 => "1 character".to_owned(),
            count => format!("{count} characters"),
        };
        format!("{} is no id, which has 64 hexadecimal digits; this has {characters}", quoted(word))
    })
}

/// Reads what names a file in the network: 64 hexadecimal digits are a key. Any other word is a name that the catalogue
/// may know, or a manifest file's; `./` in front makes any word a file's name.
pub fn parse_source(word: &str) -> Result<Source, String> {
    match word.parse() {
        Ok(key) => Ok(Source::Key(key)),
        Err(_) => file(word).map(Source::Manifest),
    }
}

/// Whether a word must be meant as a key, and is none.
pub(super) fn is_mistyped_key(word: &str) -> bool {
    word.len() >= 32 && word.len() != 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Reads a name for the catalogue.
pub fn parse_name(word: &str) -> Result<String, String> {
    match word {
        "" => Err("a name is empty".to_owned()),
        _ if word.contains('/') => Err(format!("{} has a slash; a name has none", quoted(word))),
        _ if word.parse::<Key>().is_ok() => Err(format!("{} is a key, which can be no name", quoted(word))),
        _ => Ok(word.to_owned()),
    }
}

/// Reads the name of a file; a stream of this process is none.
pub fn parse_file(word: &str) -> Result<PathBuf, String> {
    own_stream(word).map_or_else(|| file(word), |_| Err(no_file(word)))
}

fn file(word: &str) -> Result<PathBuf, String> {
    match word {
        "" => Err("a file's name is empty".to_owned()),
        "-" => Err("here - is neither standard input nor output; a file of that name is ./-".to_owned()),
        _ => Ok(at_home(word).unwrap_or_else(|| raw_text::path(word))),
    }
}

/// What `~/` begins, which no shell has spelled out here.
fn at_home(word: &str) -> Option<PathBuf> {
    let path = word.strip_prefix("~/")?;
    std::env::home_dir().map(|home| home.join(raw_text::path(path)))
}

/// Checks that `word` looks like `HOST:PORT`, with IPv6 addresses in brackets.
pub fn parse_host_port(word: &str) -> Result<String, String> {
    let wrong = |why: &str| format!("{} is no HOST:PORT: {why}", quoted(word));
    let (host, port) = word.rsplit_once(':').ok_or_else(|| wrong("there is no port"))?;
    if host.is_empty() {
        return Err(wrong("there is no host"));
    }
    if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) {
        return Err(wrong("an IPv6 address stands in brackets"));
    }
    if host.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(wrong("a host's name holds no blanks or control characters"));
    }
    match port.parse::<u16>() {
        Ok(0) | Err(_) => Err(wrong("a port is a number from 1 to 65535")),
        Ok(_) => Ok(word.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    #[test]
    fn sixty_four_digits_are_a_key_and_other_words_a_manifest() {
        assert_eq!(parse_source(KEY), Ok(Source::Key(KEY.parse().unwrap())));
        assert_eq!(parse_source(&KEY.to_uppercase()), Ok(Source::Key(KEY.parse().unwrap())));
        assert_eq!(parse_source("photo.manifest"), Ok(Source::Manifest("photo.manifest".into())));
        assert_eq!(parse_source(&format!("./{KEY}")), Ok(Source::Manifest(format!("./{KEY}").into())));
        assert_eq!(
            parse_source(&KEY[1..]),
            Ok(Source::Manifest(KEY[1..].into())),
            "the catalogue may know what it begins"
        );
        assert!(is_mistyped_key(&KEY[1..]) && is_mistyped_key(&format!("{KEY}0")));
        assert!(!is_mistyped_key(KEY) && !is_mistyped_key("abcdef") && !is_mistyped_key("photo.manifest"));
    }

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for good in ["[::1]:7000", "localhost:1", "10.0.0.1:65535"] {
            assert_eq!(parse_host_port(good), Ok(good.to_owned()));
        }
        for (bad, reason) in [
            ("host", "there is no port"),
            (":7000", "there is no host"),
            ("host:0", "from 1 to 65535"),
            ("host:70000", "from 1 to 65535"),
            ("::1:7000", "in brackets"),
            ("a b:1", "no blanks"),
            ("a\u{1b}[2J:1", "no blanks"),
        ] {
            let error = parse_host_port(bad).unwrap_err();
            assert!(error.contains(reason) && !error.contains('\u{1b}'), "{error}");
        }
    }

    #[test]
    fn a_tilde_is_ones_home_as_in_a_shell() {
        let home = std::env::home_dir().unwrap();
        assert_eq!(parse_file("~/x/y"), Ok(home.join("x/y")));
        assert_eq!(parse_file("./~/x"), Ok("./~/x".into()));
        assert_eq!(parse_file("~x"), Ok("~x".into()), "others' homes are not known here");
    }

    #[test]
    fn a_name_is_neither_a_path_nor_a_key() {
        assert!(parse_name("").is_err() && parse_name("a/b").is_err() && parse_name(KEY).is_err());
        assert_eq!(parse_name("my report, final"), Ok("my report, final".to_owned()));
    }

    #[test]
    fn standard_input_and_output_are_no_files_of_a_console() {
        assert!(parse_file("-").is_err() && parse_file("").is_err());
        assert_eq!(parse_file("./-"), Ok("./-".into()));
    }

    #[test]
    fn an_id_that_lacks_a_digit_is_refused_with_how_many_it_has() {
        assert!(parse_id(&KEY[1..]).unwrap_err().contains("this has 63 characters"));
    }
}
