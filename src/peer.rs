//! A peer: an id and the one address that serves it over UDP and TCP.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::id::Id;

/// Stands for an address that a message does not tell: the one it came from is the truth.
pub const NOT_TOLD: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// A peer's id, and where it answers. One port number serves UDP and TCP.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Peer {
    /// Its place in the id space.
    pub id: Id,
    /// Where it answers.
    pub addr: SocketAddr,
}

impl Peer {
    /// The peer `id` at `addr`.
    pub const fn new(id: Id, addr: SocketAddr) -> Self {
        Self { id, addr }
    }
}

/// What an answer ends with where so many peers are known and silent.
pub fn told_of_silent(peers: usize) -> String {
    match peers {
        0 => String::new(),
        1 => "; 1 peer is known that did not answer".to_owned(),
        many => format!("; {many} peers are known that did not answer"),
    }
}

/// What a failure ends with where these are known and silent: who they are, the first few of them.
pub fn named_silent(peers: &[Peer]) -> String {
    const NAMED: usize = 3;
    let mut named: Vec<String> = peers.iter().take(NAMED).map(Peer::to_string).collect();
    let more = peers.len().saturating_sub(NAMED);
    named.extend((more > 0).then(|| format!("{more} more")));
    let who = if peers.is_empty() { String::new() } else { format!(": {}", named.join(", ")) };
    told_of_silent(peers.len()) + &who
}

/// What a question whether a peer runs at `addrs` ends with, where no peer answered: by default a peer listens on
/// 127.0.0.1, which other machines do not reach.
pub fn on_which_bind(addrs: &[SocketAddr]) -> &'static str {
    match addrs.iter().find(|addr| !addr.ip().is_loopback()) {
        None => "",
        Some(SocketAddr::V4(_)) => ", with --bind 0.0.0.0",
        Some(SocketAddr::V6(_)) => ", with --bind ::",
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.id.short(), self.addr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_answers_on_no_other_machine_may_listen_on_its_own_alone() {
        for (addr, asked) in [
            ("127.0.0.1:7000", ""),
            ("[::1]:7000", ""),
            ("192.0.2.1:7000", ", with --bind 0.0.0.0"),
            ("[2001:db8::1]:7000", ", with --bind ::"),
        ] {
            assert_eq!(on_which_bind(&[addr.parse().unwrap()]), asked, "{addr}");
        }
    }
}
