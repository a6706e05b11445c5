//! Standard error, or output, that nobody reads.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::pty::openpty;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, pipe2};

use super::running::{Running, folder};
use crate::support::{Launch, file, free_ports, program, until};

/// A pipe that is full, and its end that can be read.
fn full_pipe() -> (File, File) {
    let (read, write) = pipe2(OFlag::O_CLOEXEC).expect("a pipe");
    let mut full = File::from(write);
    fill(&mut full);
    (read.into(), full)
}

/// Writes until nothing more is taken.
fn fill(end: &mut File) {
    fcntl(&*end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("a mode");
    for size in [4096, 1] {
        let full_now = std::iter::repeat_with(|| end.write(&vec![b'.'; size])).find_map(Result::err);
        assert_eq!(full_now.map(|error| error.kind()), Some(ErrorKind::WouldBlock));
    }
    fcntl(&*end, FcntlArg::F_SETFL(OFlag::empty())).expect("a mode");
}

/// Each is a line in the log of a peer that logs everything. On a busy machine the threads of those before may not have
/// ended, and a connection is turned away without an answer: it is not counted.
fn break_connections(port: u16, count: usize) {
    let answered = || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        // What is left unread makes the system reset the connection.
        stream.write_all(b"nonsense\n").and_then(|()| stream.read_exact(&mut [0])).is_ok()
    };
    let tries = std::iter::repeat_with(answered).take(count + 10_000);
    assert_eq!(tries.filter(|answered| *answered).take(count).count(), count, "most are answered");
}

fn ping(port: u16) -> Option<i32> {
    let ping = program().args(["ping", &format!("127.0.0.1:{port}")]).output().expect("the program runs");
    ping.status.code()
}

#[test]
fn a_peer_whose_standard_error_nobody_reads_answers_and_ends() {
    for by_signal in [true, false] {
        let folder = folder();
        let (_unread, stderr) = full_pipe();
        let (mut peer, port) = Running::peer(&folder, &[], Stdio::piped(), stderr.into());
        break_connections(port, 1200);
        peer.tell("status\nthreads");
        assert_eq!(peer.answer()["answer"], "status");
        let threads = peer.answer()["threads"].to_string();
        assert!(threads.contains("\"log\""), "{threads}");
        assert_eq!(ping(port), Some(0));
        if by_signal {
            let pid = i32::try_from(peer.child.id()).expect("a process id");
            // What the threads are at has no reader either.
            for signal in [Signal::SIGQUIT, Signal::SIGTERM] {
                kill(Pid::from_raw(pid), signal).expect("it runs");
            }
        } else {
            peer.tell("quit");
            assert_eq!(peer.answer()["answer"], "left");
        }
        assert_eq!(peer.ends(), Some(0));
    }
}

/// A peer at a terminal that takes nothing any more, its thread `main` stuck in a line above the prompt; and the
/// terminal.
fn stuck_at_terminal(port: u16, args: &[&str]) -> (Child, File) {
    let pty = openpty(None, None).expect("a terminal");
    let end = || Stdio::from(pty.slave.try_clone().expect("a descriptor"));
    let mut peer = program();
    peer.args(args).envs([("TERM", "xterm"), ("RUST_LOG", "debug")]);
    let peer = peer.stdin(end()).stdout(end()).stderr(end()).spawn().expect("the program starts");
    let (mut master, mut slave) = (File::from(pty.master), File::from(pty.slave));
    let mut shown = String::new();
    while !shown.contains("> ") {
        let mut bytes = [0; 4096];
        let len = master.read(&mut bytes).expect("it shows its prompt");
        shown.push_str(&String::from_utf8_lossy(&bytes[..len]));
    }
    fill(&mut slave);
    // The editor takes one line, and one waits.
    break_connections(port, 5);
    (peer, master)
}

#[test]
fn a_peer_whose_terminal_takes_no_output_ends() {
    let (folder, port, ring) = (folder(), free_ports().to_string(), free_ports());
    let (dir, me) = (folder.path().display().to_string(), format!("4@127.0.0.1:{ring}"));
    let usual = ["peer", "--data", &format!("{dir}/data"), "--port", &port];
    let (peer, _terminal) = stuck_at_terminal(port.parse().expect("a port"), &usual);
    let (of_ring, _other) = stuck_at_terminal(ring, &["ring", "init", &me, &me, &me, "5", "--dir", &dir]);
    // The peer's last answer is not read, unless the terminal made room for it late. That of the ring has none.
    let both = [(peer, &[1, 0][..]), (of_ring, &[0])];
    for (peer, _) in &both {
        kill(Pid::from_raw(peer.id().cast_signed()), Signal::SIGTERM).expect("it runs");
    }
    for (mut peer, codes) in both {
        until(|| !matches!(peer.try_wait(), Ok(None)));
        let code = peer.wait().expect("it ended").code();
        assert!(codes.iter().any(|known| code == Some(*known)), "{code:?}");
    }
}

#[test]
fn a_standard_error_that_is_read_again_says_how_many_lines_were_lost() {
    let folder = folder();
    let (mut unread, stderr) = full_pipe();
    let (mut peer, port) = Running::peer(&folder, &[], Stdio::piped(), stderr.into());
    let count = 1500;
    break_connections(port, count);
    // Every connection's thread has ended, and said so.
    until(|| {
        peer.tell("threads");
        !peer.answer()["threads"].to_string().contains("tcp-serve")
    });
    peer.tell("quit");
    let mut read = String::new();
    unread.read_to_string(&mut read).expect("text");
    let lost = read.lines().filter_map(|line| line.split_once(" lines were lost here: standard error was not read"));
    let lost: usize = lost.map(|(lost, _)| lost.parse::<usize>().expect("a number")).sum();
    let seen = read.lines().filter(|line| line.contains("the connection from ")).count();
    assert!(seen > 0 && lost > 0 && seen + lost >= count, "{seen} of {count} are there, {lost} were lost");
    assert_eq!(peer.ends(), Some(0));
}

#[test]
fn a_peer_of_the_classroom_ring_whose_standard_error_nobody_reads_quits() {
    let folder = folder();
    let (_unread, stderr) = full_pipe();
    let mut peer = Running::ring(&folder, Stdio::piped(), stderr.into());
    peer.tell("Store 0004");
    while peer.line() != "> Store 0004 request accepted" {}
    peer.tell("Quit");
    assert_eq!(peer.ends(), Some(0));
}

#[test]
fn clients_whose_standard_error_nobody_reads_end_with_their_exit_codes() {
    let folder = folder();
    let (_peer, port) = Running::peer(&folder, &[], Stdio::piped(), Stdio::null());
    let (there, nobody) = (format!("127.0.0.1:{port}"), UdpSocket::bind("127.0.0.1:0").expect("a port"));
    let nobody = nobody.local_addr().expect("it is bound").to_string();
    let key = "0".repeat(64);
    let tasks: [(&[&str], i32); 5] = [
        (&["ping", &there], 0),
        (&["ping", &nobody], 5),
        (&["retrieve", &key, "-", "--bootstrap", &there], 4),
        (&["peer", "--port", "0", "--data", "/dev/null/x"], 7),
        (&["ping", "--no-such-option"], 2),
    ];
    for (task, code) in tasks {
        for level in ["trace", "kadring=loud"] {
            let (_unread, stderr) = full_pipe();
            let client = Running::start_logging(level, task, Stdio::null(), stderr.into());
            assert_eq!(client.ends(), Some(code), "{task:?}");
        }
    }
}

#[test]
fn a_client_whose_reader_goes_ends_by_sigpipe_though_its_peer_says_nothing() {
    let folder = folder();
    let (path, _) = file(&folder, "original", 1, 1000);
    let mut peer = Launch::new(folder.path().join("peer")).start();
    let (key, data) = (peer.store(&path), peer.data.display().to_string());
    let tasks: [&[&str]; 3] = [
        &["ctl", "--data", &data, "events"],
        &["cat", &key, "--data", &data],
        &["retrieve", &key, "-", "--data", &data],
    ];
    for (at, task) in tasks.into_iter().enumerate() {
        let mut client = program();
        let client = client.args(task).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if at > 0 {
            peer.signal(Signal::SIGSTOP);
        }
        let mut client = client.spawn().expect("it starts");
        let mut out = client.stdout.take().expect("piped");
        if at == 0 {
            // The first line: more come only once something happens.
            out.read_exact(&mut [0]).expect("it watches");
            peer.signal(Signal::SIGSTOP);
        }
        drop(out);
        let ended = client.wait_with_output().expect("it ends");
        peer.signal(Signal::SIGCONT);
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!((ended.status.signal(), &*said), (Some(Signal::SIGPIPE as i32), ""), "{task:?}: {:?}", ended.status);
    }
}

#[test]
fn a_client_whose_reader_has_gone_ends_by_sigpipe_without_a_word() {
    let folder = folder();
    let (_peer, port) = Running::peer(&folder, &[], Stdio::piped(), Stdio::null());
    let (there, data) = (format!("127.0.0.1:{port}"), folder.path().join("data").display().to_string());
    let tasks: [&[&str]; 6] = [
        &["ping", &there],
        &["ctl", "--data", &data, "status"],
        &["files", "--data", &data],
        &["completions", "bash"],
        &["json"],
        &["man"],
    ];
    for task in tasks {
        let (read, write) = pipe2(OFlag::O_CLOEXEC).expect("a pipe");
        drop(read);
        let ended = program().args(task).stdout(File::from(write)).output().expect("the program runs");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!((ended.status.signal(), &*said), (Some(Signal::SIGPIPE as i32), ""), "{task:?}: {:?}", ended.status);
    }
}
