//! The roles of a live peer's threads, in one table.
//!
//! Everything that is said of a role is said in its row: the row names the thread, its panic means what the row says
//! ([`Roster::spawn`](super::threads::Roster::spawn) acts on it), the command `threads` shows what it waits for, and
//! the table and the picture in the head of [`runtime`](super) are printed from the rows; a test compares. A peer that
//! lacks one of its threads must not go on as half a peer, which answers and serves nothing.

use super::channels::{self, Channel};

/// What a thread of a peer is there for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Owns the core.
    Node,
    /// Waits for datagrams.
    UdpRecv,
    /// Waits for the node's next deadline.
    Sweeper,
    /// Waits for connections.
    TcpAccept,
    /// Serves one connection.
    TcpServe,
    /// Does jobs on disks and over connections.
    Transfer,
    /// Sends lines to one peer of the ring.
    Link,
    /// Waits for signals.
    Signals,
    /// Writes down what happens.
    Recorder,
    /// Tells what happens to a file or a reader.
    Events,
    /// Reads commands: the program's thread, not the library's.
    Console,
    /// Waits for clients of the control socket.
    Control,
    /// Waits for what one of these clients says.
    Client,
    /// Does what a client said.
    Command,
    /// Waits until leases are to be renewed.
    Renewer,
    /// Looks at a file.
    Looker,
}

/// What is said of a role.
#[cfg_attr(not(test), expect(dead_code, reason = "the documentation shows it, and a test compares the two"))]
pub(super) struct RoleRow {
    pub(super) role: Role,
    /// What its thread is called; where there are several, a number follows.
    name: &'static str,
    /// Whether there are several.
    many: bool,
    /// Its file in this folder.
    file: &'static str,
    waits_for: &'static str,
    /// The calls that it may block in, by design; beside them, the channels in which a sender waits.
    blocks_in: &'static str,
    /// The state that it alone changes.
    owns: &'static str,
    /// What it hands over, and through which channel.
    gives: &'static [(&'static str, Channel)],
    panic: Panic,
}

/// What a panic in a role's thread means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Panic {
    /// The peer cannot do without it.
    EndsThePeer,
    /// The peer goes on without it; this is lost.
    Loses(&'static str),
}

const NODE: RoleRow = RoleRow {
    role: Role::Node,
    name: "node",
    many: false,
    file: "node_loop.rs",
    waits_for: "whatever comes",
    blocks_in: "nothing",
    owns: "the routing table, requests and jobs under way, what is held",
    gives: &[
        ("datagrams", channels::NETWORK),
        ("empty batches", channels::SPENT),
        ("its next deadline", channels::DEADLINES),
        ("jobs", channels::JOBS),
        ("ring messages", channels::LINES),
        ("what happened", channels::MOMENTS),
        ("progress, answers", channels::ANSWERS),
        ("notices", channels::NOTICES),
    ],
    panic: Panic::EndsThePeer,
};

const UDP_RECV: RoleRow = RoleRow {
    role: Role::UdpRecv,
    name: "udp-recv",
    many: false,
    file: "udp/mod.rs",
    waits_for: "datagrams",
    blocks_in: "the UDP socket",
    owns: "the count of lost datagrams",
    gives: &[("batches of datagrams", channels::DATAGRAMS)],
    panic: Panic::EndsThePeer,
};

const SWEEPER: RoleRow = RoleRow {
    role: Role::Sweeper,
    name: "sweeper",
    many: false,
    file: "sweeper.rs",
    waits_for: "the node's next deadline",
    blocks_in: "nothing",
    owns: "the deadline that is armed, when each look is due",
    gives: &[("ticks", channels::TICKS)],
    panic: Panic::EndsThePeer,
};

const TCP_ACCEPT: RoleRow = RoleRow {
    role: Role::TcpAccept,
    name: "tcp-accept",
    many: false,
    file: "tcp_accept.rs",
    waits_for: "connections",
    blocks_in: "the TCP listener",
    owns: "the numbers of connections",
    gives: &[("connections", channels::CONNECTIONS)],
    panic: Panic::EndsThePeer,
};

const TCP_SERVE: RoleRow = RoleRow {
    role: Role::TcpServe,
    name: "tcp-serve",
    many: true,
    file: "tcp_serve.rs",
    waits_for: "requests on a connection",
    blocks_in: "its connection, files",
    owns: "its connection",
    // That a block is damaged or missing, or that a file was fetched.
    gives: &[("ring messages, findings", channels::POSTS)],
    panic: Panic::Loses("its connection"),
};

const TRANSFER: RoleRow = RoleRow {
    role: Role::Transfer,
    name: "transfer",
    many: true,
    file: "transfer/mod.rs",
    waits_for: "jobs: blocks to fetch, hash and write",
    blocks_in: "files, connections to other peers, look-ups of host names",
    owns: "its job, and the reader that goes with it",
    // That a block is damaged, that a peer receives, or that a block still comes.
    gives: &[("outcomes, findings", channels::POSTS)],
    panic: Panic::Loses("its job, which fails"),
};

const LINK: RoleRow = RoleRow {
    role: Role::Link,
    name: "link",
    many: true,
    file: "links.rs",
    waits_for: "lines for another peer",
    blocks_in: "its connection",
    owns: "its connection",
    gives: &[("undeliverable messages", channels::POSTS)],
    panic: Panic::Loses("its line"),
};

const SIGNALS: RoleRow = RoleRow {
    role: Role::Signals,
    name: "signals",
    many: false,
    file: "signals.rs",
    waits_for: "SIGINT, SIGTERM, SIGHUP and SIGQUIT",
    blocks_in: "the wait for a signal, and half a second for an answer",
    owns: "whether a signal came before",
    gives: &[("an order to end", channels::COMMANDS)],
    panic: Panic::EndsThePeer,
};

const RECORDER: RoleRow = RoleRow {
    role: Role::Recorder,
    name: "recorder",
    many: false,
    file: "recorder.rs",
    waits_for: "what happened, for the record",
    blocks_in: "the record's file",
    owns: "the record's file",
    gives: &[],
    panic: Panic::EndsThePeer,
};

const EVENTS: RoleRow = RoleRow {
    role: Role::Events,
    name: "events",
    many: false,
    file: "events.rs",
    waits_for: "notices, for a file or a reader",
    blocks_in: "that file or reader",
    owns: "the file of events",
    gives: &[],
    panic: Panic::Loses("the events that follow"),
};

const CONSOLE: RoleRow = RoleRow {
    role: Role::Console,
    name: "console",
    many: false,
    file: "the program",
    waits_for: "commands",
    blocks_in: "standard input and output",
    owns: "the terminal",
    gives: &[("commands", channels::COMMANDS), ("a lease that ends", channels::RENEWALS)],
    panic: Panic::EndsThePeer,
};

const CONTROL: RoleRow = RoleRow {
    role: Role::Control,
    name: "control",
    many: false,
    file: "control.rs",
    waits_for: "clients of the control socket",
    blocks_in: "the control socket",
    owns: "the clients that are connected",
    gives: &[("clients", channels::CLIENTS)],
    panic: Panic::EndsThePeer,
};

const CLIENT: RoleRow = RoleRow {
    role: Role::Client,
    name: "client",
    many: true,
    file: "control.rs",
    waits_for: "a client's line, then its end",
    blocks_in: "its connection",
    owns: "its connection",
    gives: &[("a line", channels::LINE), ("an order to cancel", channels::COMMANDS)],
    panic: Panic::Loses("its client"),
};

const COMMAND: RoleRow = RoleRow {
    role: Role::Command,
    name: "command",
    many: true,
    file: "control.rs",
    waits_for: "the answer to a command of a client, or of a line that ends with `&`",
    blocks_in: "the writes to its client, or to standard output; files of a folder",
    owns: "its session",
    gives: &[("commands", channels::COMMANDS), ("a lease that ends", channels::RENEWALS)],
    panic: Panic::Loses("its command"),
};

const RENEWER: RoleRow = RoleRow {
    role: Role::Renewer,
    name: "renewer",
    many: false,
    file: "renewer.rs",
    waits_for: "the next lease of the catalogue that is to be renewed",
    blocks_in: "the catalogue",
    owns: "when the next renewal is due",
    gives: &[("commands", channels::COMMANDS)],
    panic: Panic::EndsThePeer,
};

const LOOKER: RoleRow = RoleRow {
    role: Role::Looker,
    name: "looker",
    many: true,
    file: "looker.rs",
    waits_for: "the end of one look",
    blocks_in: "the file of the network keys, the data folder",
    owns: "its look",
    gives: &[("folder or address moved", channels::POSTS)],
    panic: Panic::Loses("its look"),
};

/// The rows, in the order of [`Role`].
static TABLE: [RoleRow; 16] = [
    NODE, UDP_RECV, SWEEPER, TCP_ACCEPT, TCP_SERVE, TRANSFER, LINK, SIGNALS, RECORDER, EVENTS, CONSOLE, CONTROL,
    CLIENT, COMMAND, RENEWER, LOOKER,
];

impl Role {
    /// All of them.
    pub const ALL: [Self; TABLE.len()] = {
        let mut all = [Self::Node; TABLE.len()];
        let mut at = 0;
        while at < all.len() {
            all[at] = TABLE[at].role;
            at += 1;
        }
        all
    };

    fn row(self) -> &'static RoleRow {
        &TABLE[self as usize]
    }

    /// What its thread is called; where there are several, a number follows.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The role of the thread `name`, if it is one of a peer's.
    pub fn of_thread(name: &str) -> Option<Self> {
        let name = name.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('-');
        TABLE.iter().find(|row| row.name == name).map(|row| row.role)
    }

    /// What its thread waits for.
    pub fn waits_for(self) -> &'static str {
        self.row().waits_for
    }

    /// Whether a panic in it ends the peer.
    pub fn is_essential(self) -> bool {
        self.row().panic == Panic::EndsThePeer
    }
}

#[cfg(test)]
mod tests;
