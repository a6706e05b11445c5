//! The classroom ring's console: the assignment's own lines, and its three commands.
//!
//! The lines are the interface: markers compare them word for word (case aside). Each is a view of one [`Notice`];
//! no state is kept here.

use super::grammar::Grammar;
use super::spec::{ArgKind, Defaults, LineTask, Spec};
use crate::id::Id;
use crate::name::FileName;
use crate::node::notice::FileNews;
use crate::node::{Command, Notice};
use crate::overlay::{RouteNotice, SuccessorChange};
use crate::peer::Peer;
use crate::wire::ring::Routed;

/// No limit on the number of arguments but the length of a line.
const MANY: usize = usize::MAX;

/// The mark in front of each of the assignment's lines.
pub const MARK: &str = "> ";

/// The commands that only the classroom ring has.
static COMMANDS: [Spec; 2] = [
    Spec {
        name: "store",
        short: Some('s'),
        arguments: "NAME...",
        takes: (1, MANY),
        kinds: &[ArgKind::Other],
        options: &[],
        summary: "give each file NAME.pdf of the working directory to the peer responsible for it",
        details: "A name is four digits; the file belongs to the first peer at or after the number modulo 256.\n\
                  Where there is no such file here, an empty one is made there. Yours is never changed.",
        parse: |words, _, _| names(words, |file| Command::StoreFile { file }),
    },
    Spec {
        name: "request",
        short: Some('r'),
        arguments: "NAME...",
        takes: (1, MANY),
        kinds: &[ArgKind::Other],
        options: &[],
        summary: "bring each file NAME here, as received_NAME.pdf",
        details: "The request goes around the ring to the peer responsible; the file comes over a direct connection.\n\
                  It is there once its SHA-256 is the one that the sender announced.",
        parse: |words, _, _| names(words, |file| Command::RequestFile { file }),
    },
];

/// The commands about blocks and their keys: a classroom ring keeps files by their names, and no blocks. And `pause`,
/// which tells after how long peers of other rings are called dead: here that follows from the user's interval.
const NOT_THERE: [&str; 18] = [
    "retrieve", "test", "clear", "list", "lookup", "files", "name", "forget", "import", "ls", "cat", "check", "wait",
    "scrub", "renew", "delete", "copies", "pause",
];

/// The commands of a classroom ring's peer.
pub fn grammar() -> Grammar {
    let grammar = Grammar::new(Defaults::default()).with(&COMMANDS);
    NOT_THERE.into_iter().fold(grammar, |grammar, name| grammar.without(name))
}

fn names(words: &[String], command: impl Fn(FileName) -> Command) -> Result<LineTask, String> {
    let read = |word: &String| -> Result<Command, String> {
        let file = word.parse().map_err(|error| format!("{}: {error}", super::escape::quoted(word)))?;
        Ok(command(file))
    };
    Ok(LineTask::All(words.iter().map(read).collect::<Result<_, _>>()?))
}

/// A peer's name for people: its number, if its id is a small one.
pub fn number(id: &Id) -> String {
    id.numeral()
}

/// Writes notices as the assignment's lines.
#[derive(Clone, Debug)]
pub struct AssignmentLines {
    /// The peer whose console this is.
    pub me: Peer,
    /// Whether the lines about pings are left out.
    pub quiet_pings: bool,
}

impl AssignmentLines {
    /// The lines for `notice`, without [`MARK`]; none where the assignment has no line.
    pub fn of(&self, notice: &Notice) -> Vec<String> {
        match notice {
            Notice::Route { route } => self.of_route(route),
            Notice::File { file, news } => of_file(*file, news),
            _ => Vec::new(),
        }
    }

    fn of_route(&self, notice: &RouteNotice) -> Vec<String> {
        match notice {
            RouteNotice::PingsSent { .. } | RouteNotice::PingReceived { .. } | RouteNotice::PingAnswered { .. }
                if self.quiet_pings =>
            {
                Vec::new()
            }
            RouteNotice::PingsSent { to } => match &to[..] {
                [] => Vec::new(),
                [only] => vec![format!("Ping requests sent to Peer {}", n(only))],
                [first, second, ..] => vec![format!("Ping requests sent to Peers {} and {}", n(first), n(second))],
            },
            RouteNotice::PingReceived { from } => vec![format!("Ping request message received from Peer {}", n(from))],
            RouteNotice::PingAnswered { by } => vec![format!("Ping response received from Peer {}", n(by))],
            RouteNotice::Forwarded { what, origin, .. } => self.of_forwarded(*what, origin),
            RouteNotice::Successors { why, successors } => self.of_change(*why, successors),
            RouteNotice::Predecessors { .. } | RouteNotice::JoinRefused { .. } => Vec::new(),
        }
    }

    fn of_forwarded(&self, what: Routed, origin: &Peer) -> Vec<String> {
        match what {
            Routed::Join if origin.id == self.me.id => Vec::new(),
            Routed::Join => vec![format!("Peer {} Join request forwarded to my successor", n(origin))],
            Routed::Store { file } => vec![format!("Store {file} request forwarded to my successor")],
            Routed::Request { file } if origin.id == self.me.id => {
                vec![format!("File request for {file} has been sent to my successor")]
            }
            Routed::Request { file } => vec![not_here(file)],
            Routed::Lookup { .. } => Vec::new(),
        }
    }

    fn of_change(&self, why: SuccessorChange, successors: &[Peer]) -> Vec<String> {
        // A peer that is alone, or one of two, is its own successor once around the circle.
        let first = successors.first().unwrap_or(&self.me);
        let second = successors.get(1).unwrap_or(&self.me);
        let (head, new) = match why {
            SuccessorChange::Given | SuccessorChange::Stabilized => return Vec::new(),
            SuccessorChange::Welcomed => ("Join request has been accepted".to_owned(), ""),
            SuccessorChange::Joined { peer } => (format!("Peer {} Join request received", n(&peer)), "new "),
            SuccessorChange::Told { .. } => ("Successor Change request received".to_owned(), "new "),
            SuccessorChange::Left { peer } => (format!("Peer {} will depart from the network", n(&peer)), "new "),
            SuccessorChange::Died { peer } => (format!("Peer {} is no longer alive", n(&peer)), "new "),
            SuccessorChange::Returned { peer } => (format!("Peer {} is alive after all", n(&peer)), "new "),
        };
        vec![
            head,
            format!("My {new}first successor is Peer {}", n(first)),
            format!("My {new}second successor is Peer {}", n(second)),
        ]
    }
}

fn of_file(file: FileName, news: &FileNews) -> Vec<String> {
    match news {
        FileNews::StoreAccepted { .. } => vec![format!("Store {file} request accepted")],
        FileNews::StoredHere => vec![format!("File {file} is stored here")],
        FileNews::NotHere => vec![not_here(file)],
        FileNews::Sending { to } => vec![format!("Sending file {file} to Peer {}", n(to))],
        FileNews::Sent { .. } => vec!["The file has been sent".to_owned()],
        FileNews::Receiving { from } => {
            let from = n(from);
            vec![format!("Peer {from} had File {file}"), format!("Receiving File {file} from Peer {from}")]
        }
        FileNews::Received { .. } => vec![format!("File {file} received")],
    }
}

fn not_here(file: FileName) -> String {
    format!("Request for File {file} has been received, but the file is not stored here")
}

fn n(peer: &Peer) -> String {
    number(&peer.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: u64) -> Peer {
        Peer::new(Id::from_u64(number), "127.0.0.1:12000".parse().unwrap())
    }

    fn lines(route: RouteNotice) -> Vec<String> {
        AssignmentLines { me: peer(8), quiet_pings: false }.of(&Notice::Route { route })
    }

    fn change(why: SuccessorChange, successors: &[u64]) -> Vec<String> {
        lines(RouteNotice::Successors { why, successors: successors.iter().map(|&id| peer(id)).collect() })
    }

    #[test]
    fn the_assignments_lines_word_for_word() {
        assert_eq!(
            lines(RouteNotice::PingsSent { to: vec![peer(9), peer(14)] }),
            ["Ping requests sent to Peers 9 and 14"]
        );
        assert_eq!(
            change(SuccessorChange::Joined { peer: peer(15) }, &[15, 19, 2]),
            [
                "Peer 15 Join request received",
                "My new first successor is Peer 15",
                "My new second successor is Peer 19"
            ]
        );
        assert_eq!(
            change(SuccessorChange::Welcomed, &[19, 2]),
            ["Join request has been accepted", "My first successor is Peer 19", "My second successor is Peer 2"]
        );
        assert_eq!(change(SuccessorChange::Stabilized, &[9, 14]), [""; 0]);
        assert_eq!(change(SuccessorChange::Returned { peer: peer(9) }, &[9, 14])[0], "Peer 9 is alive after all");
        let file: FileName = "0042".parse().unwrap();
        let sent = |origin| lines(RouteNotice::Forwarded { what: Routed::Request { file }, origin, to: peer(9) });
        assert_eq!(sent(peer(8)), ["File request for 0042 has been sent to my successor"]);
        assert_eq!(sent(peer(2)), ["Request for File 0042 has been received, but the file is not stored here"]);
    }

    #[test]
    fn of_two_peers_each_is_the_second_successor_of_itself() {
        assert_eq!(
            change(SuccessorChange::Died { peer: peer(9) }, &[2])[1..],
            ["My new first successor is Peer 2", "My new second successor is Peer 8"]
        );
        assert_eq!(
            change(SuccessorChange::Left { peer: peer(2) }, &[])[1..],
            ["My new first successor is Peer 8", "My new second successor is Peer 8"]
        );
    }

    #[test]
    fn names_are_checked_before_anybody_is_asked() {
        let grammar = grammar();
        let parse = |line: &str| grammar.parse(line).map(|found| found.map(|(_, request)| request));
        let file = |name: &str| name.parse().unwrap();
        let both = vec![Command::StoreFile { file: file("2067") }, Command::StoreFile { file: file("0000") }];
        assert_eq!(parse("STORE 2067 0000"), Ok(Some(LineTask::All(both))));
        assert!(matches!(parse("Quit"), Ok(Some(LineTask::Ask(Command::Quit { handover: true })))));
        for bad in ["a912", "32134", "''", "../x", "12 34", "-123", "+123", "１２３４"] {
            let error = parse(&format!("request {bad}")).unwrap_err().to_string();
            assert!(error.contains("four digits"), "{error}");
        }
        assert!(parse("request").is_err());
    }

    #[test]
    fn the_commands_that_are_about_blocks_are_not_there() {
        let names: Vec<_> = grammar().specs().map(|spec| spec.name).collect();
        assert_eq!(
            names,
            ["store", "peers", "table", "status", "jobs", "cancel", "threads", "ping", "help", "quit", "request"]
        );
        for name in NOT_THERE {
            let error = grammar().find(name).unwrap_err().to_string();
            assert!(error.starts_with(&format!("there is no command \"{name}\"")), "{error}");
        }
    }
}
