//! The roles of a live peer's threads, and what a panic in each of them means.
//!
//! A peer that lacks one of its threads must not go on as half a peer, which answers and serves nothing. So each role
//! says here whether the peer can do without it; [`Roster::spawn`](super::threads::Roster::spawn) acts on it.

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
    /// Reads commands: the program's thread, not the library's.
    Console,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Node,
        Self::UdpRecv,
        Self::Sweeper,
        Self::TcpAccept,
        Self::TcpServe,
        Self::Transfer,
        Self::Link,
        Self::Signals,
        Self::Recorder,
        Self::Console,
    ];

    /// What its thread is called; where there are several, a number follows.
    pub fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::UdpRecv => "udp-recv",
            Self::Sweeper => "sweeper",
            Self::TcpAccept => "tcp-accept",
            Self::TcpServe => "tcp-serve",
            Self::Transfer => "transfer",
            Self::Link => "link",
            Self::Signals => "signals",
            Self::Recorder => "recorder",
            Self::Console => "console",
        }
    }

    /// Whether a panic in it ends the peer. Of the others there are as many as there is work, and one that panics loses
    /// what it was at: a connection, a job, a line.
    pub fn is_essential(self) -> bool {
        !matches!(self, Self::TcpServe | Self::Transfer | Self::Link)
    }
}
