//! A classroom ring of real peers.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Stdio};
use std::time::Duration;

use crossbeam_channel::Receiver;

use super::common::process::{Owned, Usage, kadring, read_lines};

/// The longest that a line is waited for.
const PATIENCE: Duration = Duration::from_secs(300);

/// Peers of the classroom ring, each in a directory of its own.
pub(crate) struct Ring {
    folder: PathBuf,
    peers: BTreeMap<u8, Peer>,
}

struct Peer {
    stdin: ChildStdin,
    lines: Receiver<String>,
    process: Owned,
}

impl Ring {
    /// Starts the peers `ids`, given in order, under `folder`; each has pinged both of its successors when this
    /// returns.
    pub(crate) fn start(folder: &Path, ids: &[u8]) -> io::Result<Self> {
        let base = free_ports()?;
        let mut ring = Self { folder: folder.to_owned(), peers: BTreeMap::new() };
        let successors = |at: usize| [1, 2].map(|step| ids[(at + step) % ids.len()].to_string());
        for (at, id) in ids.iter().enumerate() {
            fs::create_dir_all(ring.dir(*id))?;
            let mut command = kadring();
            command.args(["ring", "init", &id.to_string()]).args(successors(at)).arg("1");
            command.args(["--base-port", &base.to_string(), "--dir"]).arg(ring.dir(*id));
            let mut process =
                Owned(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?);
            let (Some(stdin), Some(stdout)) = (process.0.stdin.take(), process.0.stdout.take()) else {
                return Err(io::Error::other("the pipes are there, for they were asked for"));
            };
            ring.peers.insert(*id, Peer { stdin, lines: read_lines(stdout), process });
        }
        for (at, id) in ids.iter().enumerate() {
            for other in successors(at) {
                ring.await_line(*id, &format!("> Ping response received from Peer {other}"))?;
            }
        }
        Ok(ring)
    }

    /// Where a peer works.
    pub(crate) fn dir(&self, id: u8) -> PathBuf {
        self.folder.join(id.to_string())
    }

    /// Types a line.
    pub(crate) fn tell(&mut self, id: u8, line: &str) -> io::Result<()> {
        let peer = self.peers.get_mut(&id).ok_or(io::ErrorKind::NotFound)?;
        writeln!(peer.stdin, "{line}")
    }

    /// Waits until a peer prints this line; those before it are dropped.
    pub(crate) fn await_line(&self, id: u8, wanted: &str) -> io::Result<()> {
        let peer = self.peers.get(&id).ok_or(io::ErrorKind::NotFound)?;
        loop {
            let line = peer.lines.recv_timeout(PATIENCE);
            let line = line.map_err(|_| io::Error::other(format!("peer {id} never printed: {wanted}")))?;
            if line.starts_with("> error") {
                return Err(io::Error::other(line));
            }
            if line == wanted {
                return Ok(());
            }
        }
    }

    /// Processor seconds of all peers so far.
    pub(crate) fn cpu(&self) -> io::Result<f64> {
        self.peers.values().map(|peer| Usage::of(peer.process.0.id()).map(|usage| usage.cpu)).sum()
    }
}

/// The first of 256 ports that nobody uses, below those that the system gives out by itself.
fn free_ports() -> io::Result<u16> {
    let is_free =
        |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok() && UdpSocket::bind(("127.0.0.1", port)).is_ok();
    let mut bases = (12_000..32_000).step_by(256);
    bases.find(|&base| (base..base + 256).all(is_free)).ok_or_else(|| io::ErrorKind::AddrInUse.into())
}
