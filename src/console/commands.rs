//! The commands of every kadring peer: the one table that reading, help, usage and completion come from.

use super::grammar::{Kind, Request, Spec};
use super::words::{parse_file, parse_host_port, parse_key, parse_source};
use crate::node::Command;

/// Arguments without a limit of their own; a line's length limits them.
const MANY: usize = usize::MAX;

/// The table, in the order of `help`.
pub static COMMANDS: &[Spec] = &[
    Spec {
        name: "store",
        short: Some('s'),
        arguments: "FILE [MANIFEST]",
        takes: (1, 2),
        kinds: &[Kind::File],
        summary: "keep FILE in the network and print the key that brings it back",
        details: "The file is cut into blocks of at most 1 MiB; each goes to the peers nearest to its SHA-256.\n\
                  With MANIFEST, the list of blocks is also written to that local file, as \"key$size|\" a block.",
        parse: |words, defaults| {
            let path = parse_file(&words[0])?;
            let manifest = words.get(1).map(|word| parse_file(word)).transpose()?;
            Ok(Request::Ask(Command::Store { path, manifest, keep: defaults.keep }))
        },
    },
    Spec {
        name: "retrieve",
        short: Some('r'),
        arguments: "KEY|MANIFEST DEST",
        takes: (2, 2),
        kinds: &[Kind::Source, Kind::File],
        summary: "bring a file back to DEST",
        details: "64 hexadecimal digits are a key, anything else is the name of a manifest file.\n\
                  Every block is verified; DEST appears only when the whole file is there.\n\
                  A retrieve that was interrupted goes on where it stopped when it is repeated.",
        parse: |words, _| {
            let source = parse_source(&words[0])?;
            Ok(Request::Ask(Command::Retrieve { source, dest: parse_file(&words[1])? }))
        },
    },
    Spec {
        name: "test",
        short: Some('t'),
        arguments: "FILE...",
        takes: (1, MANY),
        kinds: &[Kind::File],
        summary: "store each FILE, bring it back, compare",
        details: "Prints the SHA-256 of each file before and after. What comes back goes to a temporary file.",
        parse: |words, defaults| {
            let files = words.iter().map(|word| parse_file(word)).collect::<Result<_, _>>()?;
            Ok(Request::Test { files, keep: defaults.keep })
        },
    },
    Spec {
        name: "clear",
        short: Some('c'),
        arguments: "KEY|MANIFEST...",
        takes: (1, MANY),
        kinds: &[Kind::Source],
        summary: "drop this peer's own copies of these files' blocks",
        details: "Other peers keep theirs, and may give this peer new copies of blocks that belong here.",
        parse: |words, _| {
            let sources = words.iter().map(|word| parse_source(word)).collect::<Result<_, _>>()?;
            Ok(Request::Ask(Command::Clear { sources }))
        },
    },
    Spec {
        name: "list",
        short: Some('l'),
        arguments: "",
        takes: (0, 0),
        kinds: &[],
        summary: "the blocks held here",
        details: "Key and size of each block in this peer's own store.",
        parse: |_, _| Ok(Request::Ask(Command::List)),
    },
    Spec {
        name: "lookup",
        short: None,
        arguments: "KEY",
        takes: (1, 1),
        kinds: &[Kind::Key],
        summary: "the peers responsible for KEY, and those that hold it",
        details: "Asks the network, and says how many requests in a row that took.",
        parse: |words, _| Ok(Request::Ask(Command::Lookup { key: parse_key(&words[0])? })),
    },
    Spec {
        name: "peers",
        short: None,
        arguments: "",
        takes: (0, 0),
        kinds: &[],
        summary: "the peers known to this one",
        details: "Id, address and round trip of each peer in the routing table.",
        parse: |_, _| Ok(Request::Ask(Command::Peers)),
    },
    Spec {
        name: "table",
        short: None,
        arguments: "",
        takes: (0, 0),
        kinds: &[],
        summary: "the routing table",
        details: "Kademlia: the k-buckets. The ring: successors, predecessor, fingers.",
        parse: |_, _| Ok(Request::Ask(Command::Table)),
    },
    Spec {
        name: "status",
        short: None,
        arguments: "",
        takes: (0, 0),
        kinds: &[],
        summary: "numbers about this peer",
        details: "Who it is, how long it has run, what it holds and what it is doing.",
        parse: |_, _| Ok(Request::Ask(Command::Status)),
    },
    Spec {
        name: "threads",
        short: None,
        arguments: "",
        takes: (0, 0),
        kinds: &[],
        summary: "the threads of this process",
        details: "Each thread waits for one thing and turns it into a message; this names those that run now.",
        parse: |_, _| Ok(Request::Threads),
    },
    Spec {
        name: "ping",
        short: None,
        arguments: "HOST:PORT",
        takes: (1, 1),
        kinds: &[Kind::Other],
        summary: "is there a peer at this address?",
        details: "Prints its id and the round trip.",
        parse: |words, _| Ok(Request::Ping(parse_host_port(&words[0])?)),
    },
    Spec {
        name: "help",
        short: None,
        arguments: "[COMMAND]",
        takes: (0, 1),
        kinds: &[Kind::Command],
        summary: "all commands, or more about one",
        details: "Commands may be shortened as long as it stays clear which is meant. Quote names as in a shell.",
        parse: |words, _| Ok(Request::Help(words.first().cloned())),
    },
    Spec {
        name: "quit",
        short: Some('q'),
        arguments: "[--no-handover]",
        takes: (0, 1),
        kinds: &[Kind::Other],
        summary: "leave the network and end",
        details: "Before it goes, the peer hands its blocks over to those that should hold them; --no-handover skips this.",
        parse: |words, defaults| match words.first().map(String::as_str) {
            None => Ok(Request::Ask(Command::Quit { handover: defaults.handover })),
            Some("--no-handover") => Ok(Request::Ask(Command::Quit { handover: false })),
            Some(_) => Err("quit knows only the option --no-handover".to_owned()),
        },
    },
];
