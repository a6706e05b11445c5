//! What is left of transfers once they are over: no connection, no open file, and little more memory than before.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;

use crate::support::{PeerProcess, cluster, file, until};
use kadring::node::{Answer, Command, Notice, Source};
use kadring::runtime::{LocalPeer, Options};
use tempfile::tempdir;

const MIB: usize = 1 << 20;
const PEERS: u64 = 4;

/// What the C library keeps at hand it keeps from the second wave on, whose workers are others than the first one's.
const WAVES: u64 = 3;

/// Commands that are given at once: more than there are workers.
const COMMANDS: u64 = 40;

/// Resident memory, in KiB, that a peer at rest may have beyond what it had before anything was asked of it. With
/// buffers of the C library's it was 7 MiB, in pieces, or 12, each of a whole block.
const MOST_KEPT: u64 = 4 * 1024;

#[test]
fn a_peer_whose_transfers_are_over_keeps_no_connection_and_gives_memory_back() {
    let folder = tempdir().expect("a temporary folder");
    let mut peers = cluster(&folder, PEERS as usize, &[]);
    let before: Vec<u64> = peers.iter().map(resident).collect();
    for wave in 0..WAVES {
        let files: Vec<_> =
            (0..PEERS).map(|n| file(&folder, &format!("{wave}-{n}"), wave * PEERS + n + 1, 4 * MIB)).collect();
        for (peer, (path, _)) in peers.iter_mut().zip(&files) {
            peer.tell(&format!("store '{}'", path.display()));
        }
        let stored: Vec<_> = peers.iter_mut().map(PeerProcess::answer).collect();
        let keys = stored.iter().map(|stored| stored["key"].as_str().expect("it is stored"));
        for (n, key) in keys.enumerate() {
            let reader = (n + 1) % peers.len();
            peers[reader].retrieve(key, &folder.path().join(format!("{wave}-{n}.back")), &files[n].1);
        }
        until(|| peers.iter().all(|peer| workers(peer) == 0));
    }
    until(|| peers.iter().all(|peer| connections(peer) == 0));
    let kept = peers.iter().zip(&before).map(|(peer, before)| resident(peer).saturating_sub(*before));
    let kept: Vec<u64> = kept.collect();
    assert!(kept.iter().all(|kept| *kept <= MOST_KEPT), "they keep so many KiB: {kept:?}");
}

#[test]
fn commands_that_are_ended_while_they_wait_for_a_worker_leave_no_file_open() {
    let folder = tempdir().expect("a temporary folder");
    let path = |name: &str, n: u64| folder.path().join(format!("{name}-{n}"));
    let peer = LocalPeer::start(Options::default()).expect("it starts");
    let key = peer.handle().put(&vec![7; 3 * MIB][..], None).expect("it is stored");
    let store = |n| {
        let file = File::create(path("stored", n)).expect("the folder is writable");
        file.set_len(64 << 20).expect("it takes no room");
        Command::Store { path: path("stored", n), manifest: None, keep: false }
    };
    let retrieve = |n| Command::Retrieve { source: Source::Key(key), dest: path("retrieved", n), replace: false };
    for command in [&store as &dyn Fn(u64) -> Command, &retrieve] {
        let session = peer.handle().session();
        let commands: Vec<Command> = (0..COMMANDS).map(command).collect();
        let told: Vec<_> = commands.into_iter().map(|command| session.submit(command)).collect();
        session.cancel();
        told.into_iter().for_each(|notices| notices.iter().for_each(drop));
        until(|| open_below(folder.path()) == 0);
    }
    for n in 0..COMMANDS {
        let again = peer.submit(retrieve(n)).iter().find_map(|notice| match notice {
            Notice::Answer { answer, .. } => Some(answer),
            _ => None,
        });
        assert!(matches!(again, Some(Answer::Retrieved { .. })), "{again:?}");
    }
}

/// Files below this folder that this process has open.
fn open_below(folder: &Path) -> usize {
    let open = fs::read_dir("/proc/self/fd").expect("it is there").flatten();
    open.filter(|entry| fs::read_link(entry.path()).is_ok_and(|path| path.starts_with(folder))).count()
}

/// Its threads that do jobs.
fn workers(peer: &PeerProcess) -> usize {
    let threads = fs::read_dir(format!("/proc/{}/task", peer.pid())).expect("it runs").flatten();
    let names = threads.filter_map(|thread| fs::read_to_string(thread.path().join("comm")).ok());
    names.filter(|name| name.starts_with("transfer-")).count()
}

/// Its resident memory in KiB.
fn resident(peer: &PeerProcess) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", peer.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the system tells");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Its connections to other peers, those included that the other side has closed.
fn connections(peer: &PeerProcess) -> usize {
    let links = fs::read_dir(format!("/proc/{}/fd", peer.pid())).expect("it runs").flatten();
    let links = links.filter_map(|entry| fs::read_link(entry.path()).ok());
    let open: BTreeSet<String> = links.map(|link| link.to_string_lossy().into_owned()).collect();
    let table = fs::read_to_string(format!("/proc/{}/net/tcp", peer.pid())).expect("it runs");
    let is_open = |inode: &str| open.contains(&format!("socket:[{inode}]"));
    // The fourth field is the state; 0A listens. The tenth is the socket.
    let lines = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    lines.filter(|fields| fields[3] != "0A" && is_open(fields[9])).count()
}
