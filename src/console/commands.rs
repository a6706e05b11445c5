//! The commands of every kadring peer: the one table that reading, help, usage and completion come from.

use super::health::{CheckRequest, read_wait};
use super::options::OptionSpec;
use super::pausing::parse_pause;
use super::spec::{ArgKind, LineTask, Spec, Store};
use super::terms::{Change, Terms, parse_copies, read_renew};
use super::words::{parse_file, parse_host_port, parse_name, parse_source};
use crate::node::Command;

/// No limit on the number of arguments but the length of a line.
const MANY: usize = usize::MAX;

/// The table, in the order of `help`.
pub static COMMANDS: &[Spec] = &[
    Spec {
        name: "store",
        short: Some('s'),
        arguments: "FILE...",
        takes: (1, MANY),
        kinds: &[ArgKind::File],
        options: &[
            OptionSpec { name: "--manifest", value: Some("FILE") },
            OptionSpec { name: "--name", value: Some("NAME") },
            OptionSpec { name: "--exclude", value: Some("GLOB...") },
            OptionSpec { name: "--skip-unreadable", value: None },
            OptionSpec { name: "--for", value: Some("TIME") },
            OptionSpec { name: "--copies", value: Some("N") },
        ],
        summary: "keep each FILE or folder in the network and print the key that brings it back",
        details: "A file is cut into blocks of at most 1 MiB; each goes to the peers nearest to its SHA-256.\n\
                  --manifest also writes a local manifest, which retrieves the file too and shows if it was cut short.\n\
                  store FILE MANIFEST, with nothing or an older manifest at MANIFEST, writes one in DHTFileStore's text,\n\
                  \"key$size|\" a block, which does not show that. A manifest never takes the place of another file.\n\
                  The catalogue remembers the file by the last part of its path, or by --name.\n\
                  A folder is kept with all that is in it: names, links, which files can be executed, and empty folders.\n\
                  --exclude leaves out what fits a pattern of a name or, with a slash, of a path in the folder.\n\
                  Where something in it cannot be read, the rest is stored only with --skip-unreadable.\n\
                  It is kept for ever, or with --for 30d for so long; see renew and delete. What is kept for ever already\n\
                  stays so. Of each block so many copies are kept as the peers usually do, or --copies N; see copies.",
        parse: |words, options, defaults| Ok(LineTask::Store(Store::read(words, options, defaults)?)),
    },
    Spec {
        name: "ls",
        short: None,
        arguments: "[KEY|NAME[/PATH]]",
        takes: (0, 1),
        kinds: &[ArgKind::Source],
        options: &[OptionSpec { name: "--all", value: None }],
        summary: "what is in a folder that was stored",
        details: "Size and name of each file, where links lead, and with --all what is in its folders too.\n\
                  Without a folder, what was stored here, as files has it.",
        parse: |words, options, _| match words.first() {
            Some(word) => Ok(LineTask::ListFolder { word: word.clone(), all: options.has("--all") }),
            None => Ok(LineTask::Files { pattern: String::new() }),
        },
    },
    Spec {
        name: "cat",
        short: None,
        arguments: "KEY|NAME[/PATH]",
        takes: (1, 1),
        kinds: &[ArgKind::Source],
        options: &[],
        summary: "show the text of a file, or of a file in a folder",
        details: "At most 1 MiB of text is shown here. kadring cat, from a shell, writes any file to its standard output.",
        parse: |words, _, _| Ok(LineTask::Show(words[0].clone())),
    },
    Spec {
        name: "retrieve",
        short: Some('r'),
        arguments: "KEY|NAME[/PATH]|MANIFEST DEST",
        takes: (2, 2),
        kinds: &[ArgKind::Source, ArgKind::File],
        options: &[OptionSpec { name: "--force", value: None }],
        summary: "bring a file or a folder back to DEST",
        details: "64 hexadecimal digits are a key; six or more will do where the catalogue knows one such key alone.\n\
                  Else it is a name in the catalogue, or that of a manifest file, which ./ in front makes clear.\n\
                  Every block is verified; DEST appears only when the whole file is there.\n\
                  Another file at DEST is replaced only with --force; at a terminal you are asked.\n\
                  A retrieve that was interrupted goes on where it stopped when it is repeated.\n\
                  /PATH behind the key or name of a folder is a file or folder in it. Nothing is ever written outside of DEST:\n\
                  links that lead out of the folder are left out and named. What stands at DEST is never merged with:\n\
                  with --force it is moved aside, under a name that is told.",
        parse: |words, options, _| {
            let (source, dest) = (parse_source(&words[0])?, parse_file(&words[1])?);
            Ok(LineTask::Ask(Command::Retrieve { source, dest, replace: options.has("--force") }))
        },
    },
    Spec {
        name: "test",
        short: Some('t'),
        arguments: "FILE...",
        takes: (1, MANY),
        kinds: &[ArgKind::File],
        options: &[],
        summary: "store each FILE, bring it back, compare",
        details: "Prints the SHA-256 of each file before and after. What comes back goes to a temporary file.",
        parse: |words, _, defaults| {
            let files = words.iter().map(|word| parse_file(word)).collect::<Result<_, _>>()?;
            Ok(LineTask::Test { files, keep: defaults.keep })
        },
    },
    Spec {
        name: "clear",
        short: Some('c'),
        arguments: "KEY|NAME|MANIFEST...",
        takes: (1, MANY),
        kinds: &[ArgKind::Source],
        options: &[OptionSpec { name: "--force", value: None }],
        summary: "drop this peer's own copies of these files' blocks",
        details: "Others keep theirs, and may give it new ones. What no other says it holds stays (code 3) but for --force.",
        parse: |words, options, _| {
            let (sources, force) = (words.iter().map(|word| parse_source(word)), options.has("--force"));
            Ok(LineTask::Ask(Command::Clear { sources: sources.collect::<Result<_, _>>()?, force }))
        },
    },
    Spec {
        name: "list",
        short: Some('l'),
        arguments: "",
        takes: (0, 0),
        kinds: &[],
        options: &[],
        summary: "the blocks held here",
        details: "Key and size of each block in this peer's own store.",
        parse: |_, _, _| Ok(LineTask::Ask(Command::List)),
    },
    Spec {
        name: "lookup",
        short: None,
        arguments: "KEY|NAME",
        takes: (1, 1),
        kinds: &[ArgKind::Source],
        options: &[OptionSpec { name: "--explain", value: None }, OptionSpec { name: "--svg", value: Some("FILE") }],
        summary: "the peers responsible for KEY, and those that hold it",
        details: "Asks the network, and says how many requests in a row that took. --explain shows each question: when it\n\
                  was asked, how long its answer took, how far that peer is from the key, by how many bits it is nearer\n\
                  than the peer that named it, why it was asked, and what came of it; then where the time went, and on\n\
                  the ring who passed the question on. Why: it was the nearest known (on the ring, the next hop);\n\
                  all of the nearest are asked at once (wide); once more, or another way (repeat); to show who it is\n\
                  (proof); or to see, beside a question, whether its next hop is there. --svg draws them to FILE.",
        parse: |words, options, _| {
            let svg = options.value("--svg").map(parse_file).transpose()?;
            Ok(LineTask::Lookup { word: words[0].clone(), explain: options.has("--explain"), svg })
        },
    },
    Spec {
        name: "check",
        short: None,
        arguments: "KEY|NAME|MANIFEST...",
        takes: (1, MANY),
        kinds: &[ArgKind::Source],
        options: &[OptionSpec { name: "--verify", value: None }, OptionSpec { name: "--repair", value: None }],
        summary: "how safe is each file: copies of its blocks, and where",
        details: "Whole: each block has as many copies as are wanted. Thin: one has fewer. Lost: one has none. Unknown: a peer\n\
                  that may hold one does not answer. The exit codes are 0, 8, 4 and 9; of several files, the worst.\n\
                  Holders say what they have; with --verify they hash it first, and heal what is damaged.\n\
                  --repair makes the copies that are missing, and answers when that is done or has failed.",
        parse: |words, options, _| Ok(LineTask::Check(CheckRequest::read(words, options)?)),
    },
    Spec {
        name: "scrub",
        short: None,
        arguments: "",
        takes: (0, 0),
        kinds: &[],
        options: &[],
        summary: "read and hash all blocks held here, now",
        details: "Else it is done in the background, once in the time of --scrub. What is damaged is moved aside and fetched anew.",
        parse: |_, _, _| Ok(LineTask::Ask(Command::Scrub)),
    },
    Spec {
        name: "wait",
        short: None,
        arguments: "stable|peers N|idle|safe|copies KEY|NAME|MANIFEST [N]",
        takes: (1, 3),
        kinds: &[ArgKind::Other, ArgKind::Source, ArgKind::Other],
        options: &[OptionSpec { name: "--deadline", value: Some("TIME") }],
        summary: "wait until something is true",
        details: "stable: this peer knows its neighbours, and none came or went for three seconds. peers N: it knows N others.\n\
                  idle: no command, transfer or repair is under way. safe: it may be switched off, and nothing is lost, for\n\
                  another peer has a copy of each block here. copies: every block of the file has N copies; without N, as many as are wanted.\n\
                  What is not true by --deadline, such as 30s, has failed with exit code 5; without one it is waited for.",
        parse: |words, options, _| Ok(LineTask::Ask(read_wait(words, options)?)),
    },
    Spec {
        name: "files",
        short: None,
        arguments: "[PATTERN]",
        takes: (0, 1),
        kinds: &[ArgKind::Source],
        options: &[],
        summary: "what was stored here, by name",
        details: "The catalogue: key, size, time and name of each file. PATTERN is a part of the name, or has *, ? and [...].\n\
                  What was begun and not finished is listed as such: the same store goes on with its lease, delete ends it.",
        parse: |words, _, _| Ok(LineTask::Files { pattern: words.first().cloned().unwrap_or_default() }),
    },
    Spec {
        name: "renew",
        short: None,
        arguments: "[KEY|NAME...]",
        takes: (0, MANY),
        kinds: &[ArgKind::Source],
        options: &[OptionSpec { name: "--for", value: Some("TIME") }],
        summary: "have files that were stored for a while kept longer",
        details: "Without names, all of the catalogue's that end some time. Each is kept as long as when it was stored,\n\
                  from now on; --for 90d says otherwise, and --for ever ends that it ends. No lease ends sooner for it.",
        parse: |words, options, _| Ok(LineTask::Lease { words: words.to_vec(), change: read_renew(options)? }),
    },
    Spec {
        name: "delete",
        short: None,
        arguments: "KEY|NAME...",
        takes: (1, MANY),
        kinds: &[ArgKind::Source],
        options: &[],
        summary: "have files that were stored here kept no longer",
        details: "The peers that keep a file drop its blocks after a while, unless somebody else stored them too.\n\
                  Only who stored a file can do that: the catalogue has what it takes. What was stored under another name too\n\
                  is kept on under that; by its key all of it is deleted. By a name the latest file of it goes: the keys of those\n\
                  before, which are kept on, are told. What a store left behind that was not finished is named too.",
        parse: |words, _, _| Ok(LineTask::Lease { words: words.to_vec(), change: Change::Delete }),
    },
    Spec {
        name: "copies",
        short: None,
        arguments: "KEY|NAME N",
        takes: (2, 2),
        kinds: &[ArgKind::Source, ArgKind::Other],
        options: &[],
        summary: "have another number of copies kept of a file that was stored here",
        details: "N is 1 to 7. Its holders make what is missing; what is too many goes after a while, unless somebody else\n\
                  stored the file too and asks for more. It holds for all names of the file, and so does the longest of the\n\
                  times for which it was stored.",
        parse: |words, _, _| {
            let change = Change::Copies(parse_copies(&words[1])?);
            Ok(LineTask::Lease { words: words[..1].to_vec(), change })
        },
    },
    Spec {
        name: "import",
        short: None,
        arguments: "DIR",
        takes: (1, 1),
        kinds: &[ArgKind::File],
        options: &[OptionSpec { name: "--for", value: Some("TIME") }],
        summary: "keep the blocks in DIR, files named by their SHA-256, in the network",
        details: "DIR is the store of another program, such as DHTFileStore's dht_store. Each file of at most 1 MiB whose bytes\n\
                  hash to its name becomes a block; what is left out is named, and why. Nothing in DIR is changed.\n\
                  The catalogue has all of them as one file, by the name of DIR: check, renew and delete go by that. They are\n\
                  kept for ever, or with --for 30d for so long.",
        parse: |words, options, _| {
            let terms = Terms::read(options.value("--for"), None)?;
            Ok(LineTask::Import { folder: parse_file(&words[0])?, terms })
        },
    },
    Spec {
        name: "name",
        short: None,
        arguments: "KEY|NAME NAME",
        takes: (2, 2),
        kinds: &[ArgKind::Source, ArgKind::Other],
        options: &[],
        summary: "call a file by another name too",
        details: "The file must be in the catalogue.",
        parse: |words, _, _| Ok(LineTask::Name { word: words[0].clone(), name: parse_name(&words[1])? }),
    },
    Spec {
        name: "forget",
        short: None,
        arguments: "KEY|NAME",
        takes: (1, 1),
        kinds: &[ArgKind::Source],
        options: &[],
        summary: "drop a file from the catalogue",
        details: "The network keeps what it has: the key still brings the file back.",
        parse: |words, _, _| Ok(LineTask::Forget { word: words[0].clone() }),
    },
    Spec {
        name: "peers",
        short: None,
        arguments: "",
        takes: (0, 0),
        kinds: &[],
        options: &[],
        summary: "the peers known to this one",
        details: "Id, address and round trip of each peer in the routing table.",
        parse: |_, _, _| Ok(LineTask::Ask(Command::Peers)),
    },
    Spec {
        name: "table",
        short: None,
        arguments: "",
        takes: (0, 0),
        kinds: &[],
        options: &[],
        summary: "the routing table",
        details: "Kademlia: the k-buckets. The ring: successors, predecessor, fingers.",
        parse: |_, _, _| Ok(LineTask::Ask(Command::Table)),
    },
    Spec {
        name: "status",
        short: None,
        arguments: "",
        takes: (0, 0),
        kinds: &[],
        options: &[],
        summary: "numbers about this peer",
        details: "Who it is, how long it has run, what it holds and what it is doing.",
        parse: |_, _, _| Ok(LineTask::Ask(Command::Status)),
    },
    Spec {
        name: "jobs",
        short: None,
        arguments: "",
        takes: (0, 0),
        kinds: &[],
        options: &[],
        summary: "the commands that run beside this one, and how far they are",
        details: "A line that ends with & runs beside those that follow: at once there is its number, and its answer,\n\
                  which begins with the number, when it has ended. Commands of kadring ctl have numbers too.",
        parse: |_, _, _| Ok(LineTask::Jobs),
    },
    Spec {
        name: "cancel",
        short: None,
        arguments: "N",
        takes: (1, 1),
        kinds: &[ArgKind::Other],
        options: &[],
        summary: "end command N, one of those that jobs lists",
        details: "It has its own answer, which says that it was cancelled.",
        parse: |words, _, _| match words[0].trim_matches(['[', ']']).parse() {
            Ok(number) => Ok(LineTask::Cancel(number)),
            Err(_) => Err(format!("{} is no number of a command", super::escape::quoted(&words[0]))),
        },
    },
    Spec {
        name: "threads",
        short: None,
        arguments: "",
        takes: (0, 0),
        kinds: &[],
        options: &[OptionSpec { name: "--watch", value: None }],
        summary: "what the threads of this process are at",
        details: "Most threads wait for one thing and hand on what came. Shown is what it waits for or does and\n\
                  for how long, how often what it waits for came, the share of its life that it did not wait, what a\n\
                  processor worked for it, locks held and waited for, and what waits in the queues between threads.\n\
                  With --watch it is shown anew each second, until Ctrl-C or Enter.\n\
                  SIGQUIT (Ctrl-\\) prints the same on standard error at any moment, whatever other thread is\n\
                  stuck.",
        parse: |_, options, _| Ok(LineTask::Threads { watch: options.has("--watch") }),
    },
    Spec {
        name: "pause",
        short: None,
        arguments: "SECONDS",
        takes: (1, 1),
        kinds: &[ArgKind::Other],
        options: &[],
        summary: "have the node of this peer stand still, as if its process was stopped",
        details: "For 60 seconds at most. What comes meanwhile waits in its queues or is lost, and its neighbours may call this\n\
                  peer dead: after how long is said when it begins. Ctrl-C ends it, and so does quit.",
        parse: |words, _, _| Ok(LineTask::Pause(parse_pause(&words[0])?)),
    },
    Spec {
        name: "ping",
        short: None,
        arguments: "HOST:PORT",
        takes: (1, 1),
        kinds: &[ArgKind::Other],
        options: &[],
        summary: "is there a peer at this address?",
        details: "Prints its id and the round trip.",
        parse: |words, _, _| Ok(LineTask::Ping(parse_host_port(&words[0])?)),
    },
    Spec {
        name: "help",
        short: None,
        arguments: "[COMMAND]",
        takes: (0, 1),
        kinds: &[ArgKind::Command],
        options: &[],
        summary: "all commands, or more about one",
        details: "Commands may be shortened as long as it stays clear which is meant. Quote names as in a shell.",
        parse: |words, _, _| Ok(LineTask::Help(words.first().cloned())),
    },
    Spec {
        name: "quit",
        short: Some('q'),
        arguments: "",
        takes: (0, 0),
        kinds: &[],
        options: &[OptionSpec { name: "--no-handover", value: None }],
        summary: "leave the network and end",
        details: "Before it goes, the peer hands its blocks over to those that should hold them; --no-handover skips this.",
        parse: |_, options, defaults| {
            let handover = defaults.handover && !options.has("--no-handover");
            Ok(LineTask::Ask(Command::Quit { handover }))
        },
    },
];
