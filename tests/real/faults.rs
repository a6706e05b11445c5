//! What fails under a peer: its process, its bits, its disk, its folder, its descriptors. No wrong byte, no half block,
//! a clear word, and on it goes once the cause is gone, without a restart.
//!
//! `KADRING_SOAK=100` makes the random tests so many times as long.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::{Launch, PeerProcess, cluster, file, program, until, walk};
use kadring::id::Id;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use rustix::process::{Resource, Rlimit, prlimit};
use serde_json::Value;
use tempfile::{TempDir, tempdir};

/// Each acknowledged block is on both of two peers.
const BOTH: [&str; 4] = ["--replicas", "2", "--quorum", "2"];

fn folder() -> TempDir {
    tempdir().expect("a temporary folder")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary folder's name is text")
}

/// So many rounds, or a multiple of them.
fn rounds(few: usize) -> usize {
    few * std::env::var("KADRING_SOAK").ok().and_then(|times| times.parse().ok()).unwrap_or(1)
}

/// Chance from a seed that is printed when the test fails; `KADRING_SEED` gives it again.
fn chance() -> StdRng {
    let given = std::env::var("KADRING_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| rand::make_rng::<StdRng>().next_u64());
    println!("KADRING_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

fn pick<'a, T>(rng: &mut StdRng, of: &'a [T]) -> Option<&'a T> {
    (!of.is_empty()).then(|| &of[rng.random_range(0..of.len())])
}

/// Every block file hashes to its name.
#[track_caller]
fn assert_whole(data: &Path) {
    for path in walk(&data.join("blocks")) {
        let (Some(name), Ok(bytes)) = (path.file_name(), fs::read(&path)) else { continue };
        assert_eq!(
            name.to_str(),
            Some(&*Id::of(&bytes).to_string()),
            "something half-written stands in {}",
            data.display()
        );
    }
}

#[test]
fn whenever_a_peer_is_killed_nothing_acknowledged_is_lost_and_nothing_is_half_written() {
    let (rng, folder) = (&mut chance(), folder());
    let (data, dest) = (folder.path().join("killed"), folder.path().join("dest"));
    let mut other = Launch::new(folder.path().join("other")).args(&BOTH).start();
    let mut kept: Vec<(String, Vec<u8>)> = Vec::new();
    for round in 0..rounds(10) {
        let mut peer = Launch::new(&data).args(&BOTH).through(other.port).start();
        let size = *pick(rng, &[100, 300_000, 3_000_000]).expect("there are some");
        let (path, original) = file(&folder, "original", rng.random(), size);
        peer.tell(&format!("store '{}'", text(&path)));
        let wanted = pick(rng, &kept).cloned();
        if let Some((key, _)) = &wanted {
            peer.tell(&format!("retrieve {key} '{}'", text(&dest)));
        }
        // Every third time the store is over.
        let answer = (round % 3 == 0).then(|| peer.line());
        std::thread::sleep(Duration::from_millis(rng.random_range(0..150)));
        peer.signal(Signal::SIGKILL);
        for line in answer.into_iter().chain(peer.rest()) {
            let answer: Value = serde_json::from_str(&line).expect("JSON");
            if answer["answer"] == "stored" {
                kept.push((answer["key"].as_str().expect("a key").to_owned(), original.clone()));
            }
        }
        assert_whole(&data);
        if let Some((_, original)) = wanted.filter(|_| dest.exists()) {
            assert!(fs::read(&dest).expect("it is there") == original, "a part stands where the whole should");
            fs::remove_file(&dest).expect("it is ours");
        }
    }
    until(|| walk(&other.data.join("tmp")).is_empty());
    assert_whole(&other.data);
    assert!(!kept.is_empty(), "nothing was ever acknowledged");
    other.ask("quit --no-handover");
    let mut alone = Launch::new(&data).start();
    for (key, original) in &kept {
        alone.retrieve(key, &dest, original);
        fs::remove_file(&dest).expect("it is ours");
    }
    println!("{} kills, {} files acknowledged, none lost", rounds(10), kept.len());
}

/// The files in a data folder, by what they are. What was set aside is nobody's any more.
fn kinds(data: &Path) -> BTreeMap<String, Vec<PathBuf>> {
    let mut kinds: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for path in walk(data) {
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        let aside = text(&path).contains("damaged");
        if !aside && fs::metadata(&path).is_ok_and(|there| there.is_file() && there.len() > 0) {
            kinds.entry(if name.len() == 64 { "block".to_owned() } else { name }).or_default().push(path);
        }
    }
    kinds
}

fn flip(rng: &mut StdRng, path: &Path) {
    let mut file = fs::File::options().read(true).write(true).open(path).expect("it is ours");
    let at = rng.random_range(0..file.metadata().expect("it is there").len());
    let mut byte = [0];
    file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(&mut byte)).expect("readable");
    byte[0] ^= 1 << rng.random_range(0..8);
    file.seek(SeekFrom::Start(at)).and_then(|_| file.write_all(&byte)).expect("writable");
}

#[test]
fn a_flipped_bit_in_any_file_of_a_peer_costs_no_wrong_byte_and_what_is_of_no_use_is_named() {
    let (rng, folder) = (&mut chance(), folder());
    let (data, dest) = (folder.path().join("peer"), folder.path().join("dest"));
    let other = Launch::new(folder.path().join("other")).args(&BOTH).start();
    let start = || Launch::new(&data).args(&BOTH).through(other.port).start();
    let mut peer = start();
    let kept: Vec<(String, Vec<u8>)> = (0..3)
        .map(|n| {
            let (path, original) = file(&folder, &format!("original{n}"), n, [500, 200_000, 1_500_000][n as usize]);
            let answer = peer.ask(&format!("store '{}' --for 9d", text(&path)));
            (answer["key"].as_str().expect("a key").to_owned(), original)
        })
        .collect();
    let end = |peer: &mut PeerProcess| {
        peer.ask("quit --no-handover");
        peer.wait();
    };
    end(&mut peer);
    for _ in 0..rounds(10) {
        let kinds = kinds(&data);
        let kind = pick(rng, &kinds.keys().collect::<Vec<_>>()).copied().expect("there are files").clone();
        let path = pick(rng, &kinds[&kind]).expect("there are some").clone();
        let before = fs::read(&path).expect("it is ours");
        let runs: bool = rng.random();
        let mut peer = runs.then(start);
        flip(rng, &path);
        if kind == "id" && !runs {
            let args = ["peer", "--port", "0", "--exit-on-eof", "--data", text(&data)];
            let output = program().args(args).stdin(Stdio::null()).output().expect("it runs");
            let said = String::from_utf8_lossy(&output.stderr);
            let refused = output.status.code() == Some(7) && said.contains("does not hold an id");
            assert!(output.status.success() || refused, "{said}");
            fs::write(&path, &before).expect("it is ours");
            continue;
        }
        let peer = peer.get_or_insert_with(start);
        for (key, original) in &kept {
            peer.retrieve(key, &dest, original);
            fs::remove_file(&dest).expect("it is ours");
        }
        assert_eq!(peer.ask("files")["answer"], "files", "{kind}");
        end(peer);
        // What a person wrote there, nobody else has.
        if kind != "block" {
            fs::write(&path, &before).expect("it is ours");
        }
    }
    println!("{} flipped bits, no wrong byte", rounds(10));
}

#[test]
fn a_folder_that_is_away_for_a_while_is_missed_aloud_and_all_in_it_counts_once_it_is_back() {
    let folder = folder();
    let mut peer = Launch::new(folder.path().join("peer")).start();
    let (path, original) = file(&folder, "original", 1, 1_300_000);
    let (key, away) = (peer.store(&path), folder.path().join("away"));
    fs::rename(&peer.data, &away).expect("movable");
    let (other, _) = file(&folder, "other", 2, 1_000);
    let refused = peer.ask(&format!("store '{}'", text(&other)));
    assert!(refused["reason"].as_str().is_some_and(|reason| reason.contains("is gone; put it back")), "{refused}");
    let dest = folder.path().join("back");
    let missed = peer.ask(&format!("retrieve {key} '{}'", text(&dest)));
    assert_eq!(missed["answer"], "failed", "{missed}");
    assert_eq!(peer.ask("files")["answer"], "failed", "it is not said that nothing was stored");
    until(|| peer.said().contains("is gone: until it is back"));
    fs::rename(&away, &peer.data).expect("movable");
    peer.retrieve(&key, &dest, &original);
    peer.store(&other);
    let said = peer.all_said();
    assert!(said.contains("is back, and what is in it") && !said.contains("damaged"), "{said}");
}

#[test]
fn a_peer_whose_folder_is_away_counts_as_no_holder_until_it_is_back() {
    let folder = folder();
    let holder = Launch::new(folder.path().join("holder")).start();
    let mut peer = Launch::new(folder.path().join("peer")).through(holder.port).start();
    let (path, _) = file(&folder, "original", 1, 1_000);
    let (key, away) = (peer.store(&path), folder.path().join("away"));
    let mut copies = || peer.ask(&format!("check {key}"))["each"][0]["copies"].as_u64();
    assert_eq!(copies(), Some(2));
    fs::rename(&holder.data, &away).expect("movable");
    until(|| copies() == Some(1));
    fs::rename(&away, &holder.data).expect("movable");
    until(|| copies() == Some(2));
}

#[test]
fn a_peer_without_descriptors_calls_nothing_damaged_and_goes_on_once_it_has_some() {
    let folder = folder();
    let mut peer = Launch::new(folder.path().join("peer")).start();
    let (path, original) = file(&folder, "original", 1, 1_300_000);
    let key = peer.store(&path);
    let limit = |current: u64, maximum: Option<u64>| {
        let pid = rustix::process::Pid::from_raw(peer.pid().cast_signed());
        prlimit(pid, Resource::Nofile, Rlimit { current: Some(current), maximum }).expect("it runs, and is ours")
    };
    let open = fs::read_dir(format!("/proc/{}/fd", peer.pid())).expect("it runs").count();
    let before = limit(open as u64, Some(4096));
    let dest = folder.path().join("back");
    let failed = peer.ask(&format!("retrieve {key} '{}'", text(&dest)));
    assert!(failed["reason"].as_str().is_some_and(|reason| reason.contains("Too many open files")), "{failed}");
    let checked = peer.ask(&format!("check {key} --verify"));
    assert_eq!(checked["each"][0]["health"], "unknown", "{checked}");
    assert_eq!(peer.ask("scrub")["damaged"], 0);
    let pid = rustix::process::Pid::from_raw(peer.pid().cast_signed());
    let back = Rlimit { current: Some(1024), maximum: before.maximum.map(|most| most.min(4096)).or(Some(4096)) };
    prlimit(pid, Resource::Nofile, back).expect("it runs, and is ours");
    peer.retrieve(&key, &dest, &original);
    assert_eq!(peer.ask(&format!("check {key} --verify"))["each"][0]["health"], "whole");
}

/// A file system with quotas needs a system built with them, and a user who is under one. Whoever may watch a process can
/// have its disk answer as such a file system does.
#[test]
fn a_peer_whose_quota_is_used_up_says_what_to_do_loses_nothing_and_goes_on_once_there_is_room() {
    // By the first the bytes of a block are made durable, by the second its name.
    ["fdatasync", "fsync"].into_iter().for_each(use_up_quota_at);
}

fn use_up_quota_at(call: &str) {
    let folder = folder();
    let mut peer = Launch::new(folder.path().join("peer")).start();
    let (path, original) = file(&folder, "original", 1, 1_300_000);
    let key = peer.store(&path);
    let log = folder.path().join("strace");
    let pid = peer.pid().to_string();
    let mut strace = Command::new("strace");
    let refuses = [format!("trace={call}"), format!("inject={call}:error=EDQUOT")];
    strace.args(["-f", "-o", text(&log), "-p", &pid, "-e", &refuses[0], "-e", &refuses[1]]);
    let Ok(mut watching) = strace.stderr(Stdio::piped()).spawn() else {
        return println!("not tested here: there is no strace");
    };
    let mut said = String::new();
    let mut stderr = BufReader::new(watching.stderr.take().expect("it is piped"));
    stderr.read_line(&mut said).expect("it says whether it may");
    if !said.contains("attached") {
        watching.wait().expect("it ends");
        return println!("not tested here: there is no right to watch a process: {said}");
    }
    let (more, bytes) = file(&folder, "more", 2, 200_000);
    let refused = peer.ask(&format!("store '{}'", text(&more)));
    let reason = refused["reason"].as_str().unwrap_or_default().to_owned();
    assert!(reason.contains("quota exceeded") && reason.contains("delete something of yours"), "{refused}");
    let dest = folder.path().join("back");
    peer.retrieve(&key, &dest, &original);
    let strace = Pid::from_raw(watching.id().cast_signed());
    kill(strace, Signal::SIGINT).expect("it runs, and is ours");
    watching.wait().expect("it lets the peer go");
    assert!(fs::read_to_string(&log).expect("it is there").contains("EDQUOT"), "the disk refused something");
    until(|| walk(&peer.data.join("tmp")).is_empty());
    let key = peer.store(&more);
    fs::remove_file(&dest).expect("it is ours");
    peer.retrieve(&key, &dest, &bytes);
    assert_whole(&peer.data);
}

/// How a process gets mounts of its own: root has the right; others have it where the system lets them be root of a
/// namespace of users.
fn own_mounts() -> Option<&'static [&'static str]> {
    let flags: &[&str] = if Uid::effective().is_root() { &["--mount"] } else { &["--mount", "--map-root-user"] };
    let tried = Command::new("unshare").args(flags).args(["mount", "-t", "tmpfs", "none", "/tmp"]).output();
    tried.is_ok_and(|output| output.status.success()).then_some(flags)
}

/// Runs `script` among the mounts of a peer.
#[track_caller]
fn in_mounts_of(peer: &PeerProcess, script: &str) {
    let mut command = Command::new("nsenter");
    command.args(["--target", &peer.pid().to_string(), "--mount"]);
    if !Uid::effective().is_root() {
        command.args(["--user", "--preserve-credentials"]);
    }
    let output = command.args(["sh", "-ec", script]).output().expect("there is nsenter");
    assert!(output.status.success(), "{script}: {output:?}");
}

#[test]
fn a_disk_that_is_full_or_without_inodes_read_only_or_failing_is_told_of_and_used_again_once_it_is_not() {
    let Some(flags) = own_mounts() else {
        return println!("not tested here: there is no right to mount a small disk");
    };
    let folder = folder();
    let disk = folder.path().join("disk");
    fs::create_dir(&disk).expect("the folder is writable");
    let data = text(&disk).to_owned() + "/peer";
    let mount = format!("mount -t tmpfs -o size=24m,nr_inodes=1000 none '{}'", text(&disk));
    let mut peer = Launch::new(&data).inside("unshare", flags, &mount).start();
    let (path, original) = file(&folder, "original", 1, 1_300_000);
    let (key, dest) = (peer.store(&path), folder.path().join("back"));
    let retrieves = |peer: &mut PeerProcess| {
        peer.retrieve(&key, &dest, &original);
        fs::remove_file(&dest).expect("it is ours");
    };
    let blocks = |peer: &PeerProcess| PathBuf::from(format!("/proc/{}/root{data}/blocks", peer.pid()));
    // What breaks it, what it then says of a store, and what mends it.
    let fill = format!("head -c 50m /dev/zero > '{0}/filler' || [ -s '{0}/filler' ]", text(&disk));
    let use_up = format!("i=0; while touch '{0}/of'$i; do i=$((i+1)); done 2>/dev/null; [ $i -gt 0 ]", text(&disk));
    let lock = format!("mount --bind '{data}' '{data}' && mount -o remount,bind,ro '{data}'");
    for (n, (breaks, said, mends)) in [
        (fill, "full", format!("rm '{}/filler'", text(&disk))),
        (use_up, "full", format!("rm '{}/of'*", text(&disk))),
        (lock, "Read-only file system", format!("umount -l '{data}'")),
    ]
    .into_iter()
    .enumerate()
    {
        in_mounts_of(&peer, &breaks);
        let (more, bytes) = file(&folder, "more", n as u64 + 2, 20_000);
        let refused = peer.ask(&format!("store '{}'", text(&more)));
        assert!(refused["reason"].as_str().is_some_and(|reason| reason.contains(said)), "{refused}");
        retrieves(&mut peer);
        assert_eq!(peer.ask("files")["files"][0]["name"], "original", "what is written there can be read");
        in_mounts_of(&peer, &mends);
        let more = peer.store(&more);
        peer.retrieve(&more, &dest, &bytes);
        fs::remove_file(&dest).expect("it is ours");
    }
    // The memory of a process stands for a disk that fails: where nothing is, it cannot be read.
    let block = walk(&blocks(&peer)).into_iter().find(|path| path.ends_with(&key)).expect("it is held");
    let block = text(&block).split_once(&format!("root{data}")).map(|(_, rest)| format!("{data}{rest}"));
    let block = block.expect("it lies below");
    in_mounts_of(&peer, &format!("mount --bind /proc/{}/mem '{block}'", peer.pid()));
    let failed = peer.ask(&format!("retrieve {key} '{}'", text(&dest)));
    assert!(failed["reason"].as_str().is_some_and(|reason| reason.contains("cannot read the block")), "{failed}");
    in_mounts_of(&peer, &format!("umount '{block}'"));
    retrieves(&mut peer);
    assert_whole(Path::new(&format!("/proc/{}/root{data}", peer.pid())));
    assert!(peer.is_alive());
    let said = peer.all_said();
    assert!(!said.contains("moved aside"), "{said}");
}

#[test]
fn a_file_that_is_cut_while_another_peer_pulls_it_has_changed_and_needs_no_more_peers() {
    let folder = tempdir().expect("a temporary folder");
    let mut peers = cluster(&folder, 2, &["--quorum", "2"]);
    let mut store = |n: u64| {
        peers[0].ask("wait peers 1");
        let (held, (path, _)) = (peers[0].blocks().len(), file(&folder, &n.to_string(), n, 600_000));
        peers[1].signal(Signal::SIGSTOP);
        peers[0].tell(&format!("store {}", path.display()));
        // This peer has its own copy, and lends the file to the other, which cannot come yet.
        until(|| peers[0].blocks().len() > held);
        fs::File::options().write(true).open(&path).expect("it is there").set_len(10).expect("writable");
        peers[1].signal(Signal::SIGCONT);
        peers[0].answer()
    };
    let reason = |answer: &Value| answer["reason"].as_str().unwrap_or_default().to_owned();
    // Where the other is silent for so long that it is left out, nobody pulls anything.
    let offered = |answer: &Value| !reason(answer).contains("no more than 1 can keep it");
    let answer = (1..=20).map(&mut store).find(offered).expect("the other is offered a block");
    assert_eq!(answer["kind"], "integrity", "{answer}");
    assert!(reason(&answer).contains("was changed while"), "{answer}");
}
