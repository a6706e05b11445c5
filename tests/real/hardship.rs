//! Real peers through lost, doubled and late datagrams, a network in two halves, one death after another, and clocks
//! that are set: nothing is lost, and nothing ends before its time.
//!
//! `KADRING_SOAK=1` and more makes these tests what they are meant to be: 20 peers and minutes instead of a few and
//! seconds.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Launch, PeerProcess, cluster, file, until};
use nix::unistd::Uid;
use tempfile::{TempDir, tempdir};

/// After a cut is mended, all is one network again by then.
const HEALED: Duration = Duration::from_secs(30);

type File = (String, Vec<u8>);

fn folder() -> TempDir {
    tempdir().expect("a temporary folder")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary folder's name is text")
}

/// The one number usually, the other in a soak.
fn usually_or(few: usize, many: usize) -> usize {
    if std::env::var_os("KADRING_SOAK").is_some() { many } else { few }
}

fn store(peer: &mut PeerProcess, folder: &TempDir, n: usize) -> File {
    let (path, bytes) = file(folder, &format!("original{n}"), n as u64 + 1, 20_000);
    (peer.store(&path), bytes)
}

/// Every peer brings every file back.
fn assert_everywhere(peers: &mut [PeerProcess], files: &[File], folder: &TempDir) {
    let dest = |peer: usize, file: usize| folder.path().join(format!("back {peer} {file}"));
    // All peers at once, one file after another.
    for (n, (key, bytes)) in files.iter().enumerate() {
        for (at, peer) in peers.iter_mut().enumerate() {
            peer.tell(&format!("retrieve {key} '{}'", text(&dest(at, n))));
        }
        for (at, peer) in peers.iter_mut().enumerate() {
            let answer = peer.answer();
            assert_eq!(answer["answer"], "retrieved", "file {n} at peer {at}: {answer}\n{}", peer.said());
            assert!(std::fs::read(dest(at, n)).expect("it is there") == *bytes, "file {n} at peer {at} differs");
        }
    }
}

#[cfg(debug_assertions)]
#[test]
fn every_file_comes_through_where_datagrams_are_lost_doubled_and_late() {
    let (folder, rounds) = (folder(), usually_or(3, 20));
    let begin = Instant::now();
    let mut peers: Vec<PeerProcess> = Vec::new();
    for n in 0..5 {
        let launch = Launch::new(folder.path().join(n.to_string())).env("KADRING_WEATHER", "30,10,20");
        peers.push(match peers.first() {
            Some(first) => launch.through(first.port).start(),
            None => launch.start(),
        });
    }
    // Where so much is lost, who is asked first may find nobody yet; and one may take another for dead for long.
    for peer in &mut peers {
        until(|| peer.ask("status")["peers"].as_u64().is_some_and(|peers| peers >= 2));
    }
    for round in 0..rounds {
        let files: Vec<(String, Vec<u8>)> = {
            let paths: Vec<_> =
                (0..5).map(|n| file(&folder, &format!("f{n}"), (round * 5 + n) as u64, 9_000)).collect();
            for (peer, (path, _)) in peers.iter_mut().zip(&paths) {
                peer.tell(&format!("store '{}'", text(path)));
            }
            let stored = peers.iter_mut().zip(paths).map(|(peer, (_, bytes))| {
                let answer = peer.answer();
                assert_eq!(answer["answer"], "stored", "{answer}");
                (answer["key"].as_str().expect("a key").to_owned(), bytes)
            });
            stored.collect()
        };
        for (n, (key, bytes)) in files.iter().enumerate() {
            let dest = folder.path().join(format!("back {round} {n}"));
            peers[(n + 2) % 5].retrieve(key, &dest, bytes);
        }
    }
    println!("{} of {} files in {:?}", 5 * rounds, 5 * rounds, begin.elapsed());
}

/// A network of its own for some peers: a namespace that lasts as long as this process.
struct Place {
    holder: Child,
    ip: &'static str,
}

impl Place {
    /// Two places joined by a wire; none where there is no right to make them.
    fn two() -> Option<[Self; 2]> {
        let own: &[&str] = if Uid::effective().is_root() { &["--net"] } else { &["--net", "--map-root-user"] };
        let hold = |mut command: Command| {
            let mut holder = command.args(["cat"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
            // What comes back was read inside; where there is no right, nothing does.
            holder.stdin.as_mut()?.write_all(b"!").ok()?;
            holder.stdout.as_mut()?.read_exact(&mut [0]).ok()?;
            Some(holder)
        };
        let mut unshare = Command::new("unshare");
        unshare.args(own);
        let one = Self { holder: hold(unshare)?, ip: "10.77.0.1" };
        let mut inside = Command::new("nsenter");
        inside.args(one.args()).args(["unshare", "--net"]);
        let two = Self { holder: hold(inside)?, ip: "10.77.0.2" };
        let wire = format!("ip link add wire type veth peer name wire netns {}", two.holder.id());
        let made = one.run(&wire)
            && [&one, &two].iter().all(|place| {
                place.run(&format!("ip link set lo up && ip addr add {}/24 dev wire && ip link set wire up", place.ip))
            });
        made.then_some([one, two])
    }

    fn args(&self) -> Vec<String> {
        let mut args = vec![format!("--target={}", self.holder.id()), "--net".to_owned()];
        if !Uid::effective().is_root() {
            args.extend(["--user", "--preserve-credentials"].map(str::to_owned));
        }
        args
    }

    fn run(&self, script: &str) -> bool {
        let status = Command::new("nsenter").args(self.args()).args(["sh", "-ec", script]).status();
        status.is_ok_and(|status| status.success())
    }

    fn launch(&self, folder: &TempDir, n: usize) -> Launch {
        let args = self.args();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        Launch::new(folder.path().join(format!("peer{n}"))).inside("nsenter", &args, "true")
    }

    fn start(&self, folder: &TempDir, n: usize, through: Option<&(&str, u16)>) -> PeerProcess {
        let launch = self.launch(folder, n).args(&["--bind", self.ip]);
        match through {
            Some((ip, port)) => launch.args(&["--bootstrap", &format!("{ip}:{port}")]).start(),
            None => launch.start(),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

#[test]
fn two_halves_that_were_cut_and_both_stored_are_one_network_within_thirty_seconds() {
    let Some(places) = Place::two() else {
        return println!("not tested here: there is no right to make networks");
    };
    let (folder, half) = (folder(), usually_or(3, 10));
    let mut peers: Vec<PeerProcess> = Vec::new();
    for n in 0..2 * half {
        let first = peers.first().map(|first| (places[0].ip, first.port));
        peers.push(places[n / half].start(&folder, n, first.as_ref()));
    }
    // Whether each peer knows somebody of the other half.
    let know = |peers: &mut [PeerProcess], somebody: bool| {
        for (n, peer) in peers.iter_mut().enumerate() {
            let other = format!("\"{}:", places[1 - n / half].ip);
            until(|| peer.ask("peers").to_string().contains(&other) == somebody);
        }
    };
    know(&mut peers, true);
    let mut files = vec![store(&mut peers[0], &folder, 0)];
    assert!(places[0].run("ip link set wire down"), "the wire is ours");
    know(&mut peers, false);
    std::thread::sleep(Duration::from_secs(usually_or(0, 120) as u64));
    for n in 1..=4 {
        files.push(store(&mut peers[n % 2 * half], &folder, n));
    }
    assert!(places[0].run("ip link set wire up"), "the wire is ours");
    let begin = Instant::now();
    know(&mut peers, true);
    let took = begin.elapsed();
    assert!(took < HEALED, "{took:?}");
    assert_everywhere(&mut peers, &files, &folder);
    println!("{} peers in two halves: one network after {took:?}, all back after {:?}", 2 * half, begin.elapsed());
}

/// A laptop that boots before its network is there, and is carried into another one while it runs.
#[test]
fn a_peer_that_starts_before_its_network_joins_once_that_is_up_and_moves_with_its_machine() {
    for overlay in ["kad", "ring"] {
        let Some(places) = Place::two() else {
            return println!("not tested here: there is no right to make networks");
        };
        let folder = folder();
        let mut home = places[0].launch(&folder, 0).args(&["--overlay", overlay, "--bind", places[0].ip]).start();
        assert!(places[1].run("ip link set wire down"), "the wire is ours");
        let through = format!("{}:{}", places[0].ip, home.port);
        let laptop = places[1].launch(&folder, 1).args(&["--overlay", overlay, "--bind", "0.0.0.0"]);
        let mut laptop = laptop.args(&["--bootstrap", &through]).start();
        until(|| {
            laptop.said().contains("this peer is alone, and keeps asking; this machine has no address that others")
        });
        assert!(!laptop.said().contains("--bind"), "{}", laptop.said());
        assert!(places[1].run("ip link set wire up"), "the wire is ours");
        let mut met_at = |ip: &str| {
            let begin = Instant::now();
            let at = format!("\"{ip}:");
            until(|| home.ask("peers").to_string().contains(&at));
            until(|| laptop.ask("peers").to_string().contains(&through));
            until(|| laptop.ask("status").to_string().contains(&at));
            let (key, bytes) = store(&mut laptop, &folder, ip.len());
            home.retrieve(&key, &folder.path().join(format!("back from {ip}")), &bytes);
            println!("{overlay}: met at {ip} after {:?}", begin.elapsed());
        };
        met_at(places[1].ip);
        assert!(places[1].run("ip addr flush dev wire && ip addr add 10.77.0.9/24 dev wire"), "the wire is ours");
        met_at("10.77.0.9");
    }
}

#[test]
fn nothing_is_lost_while_one_peer_after_another_is_killed_and_others_come() {
    let folder = folder();
    let (count, deaths) = (usually_or(8, 20), usually_or(4, 150));
    let mut peers = cluster(&folder, count, &[]);
    let files: Vec<File> = (0..6).map(|n| store(&mut peers[n % count], &folder, n)).collect();
    let pace = Duration::from_secs(2);
    for death in 0..deaths {
        let begin = Instant::now();
        peers.remove(death * 7 % count).kill();
        let launch = Launch::new(folder.path().join(format!("late{death}")));
        peers.push(launch.through(peers[death % (count - 1)].port).start());
        std::thread::sleep(pace.saturating_sub(begin.elapsed()));
    }
    assert_everywhere(&mut peers, &files, &folder);
    println!("{deaths} of {count} peers killed, and as many came: nothing lost");
}

#[cfg(debug_assertions)]
#[test]
fn nothing_ends_or_times_out_when_the_clock_is_set_a_day_ahead_or_back() {
    const DAY: i64 = 24 * 3600;
    let folder = folder();
    let clock = folder.path().join("clock");
    let set = |seconds: i64| std::fs::write(&clock, seconds.to_string()).expect("the folder is writable");
    set(0);
    let mut peers: Vec<PeerProcess> = Vec::new();
    for n in 0..3 {
        let launch = Launch::new(folder.path().join(n.to_string())).env("KADRING_CLOCK", text(&clock));
        let launch = launch.args(&["--grace", "1s"]);
        peers.push(match peers.first() {
            Some(first) => launch.through(first.port).start(),
            None => launch.start(),
        });
    }
    let mut files: Vec<File> = Vec::new();
    for (n, ahead) in [0, DAY, -DAY, 0].into_iter().enumerate() {
        set(ahead);
        let (path, bytes) = file(&folder, &format!("original{n}"), n as u64 + 1, 20_000);
        let stored = peers[n % 3].ask(&format!("store '{}' --for 1h", text(&path)));
        assert_eq!(stored["answer"], "stored", "{ahead}: {stored}");
        files.push((stored["key"].as_str().expect("a key").to_owned(), bytes));
        let back = folder.path().join(format!("round {n}"));
        std::fs::create_dir(&back).expect("the folder is writable");
        for (key, bytes) in &files {
            for (at, peer) in peers.iter_mut().enumerate() {
                peer.retrieve(key, &back.join(format!("{at} {}", &key[..6])), bytes);
            }
        }
        for peer in &mut peers {
            assert_eq!(peer.ask("status")["peers"], 2, "{ahead}: nobody is taken for dead");
        }
        let renewed = peers[n % 3].ask("renew");
        assert_eq!(renewed["answer"], "leased", "{ahead}: {renewed}");
    }
}
