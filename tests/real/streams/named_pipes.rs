//! Standard input that several write to, one after another.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tempfile::TempDir;

use super::running::{Running, folder};

/// Clock ticks for which the thread `name` has run.
fn ticks(running: &Running, name: &str) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{}/task", running.child.id())).expect("it runs").flatten();
    let stats = tasks.filter_map(|task| fs::read_to_string(task.path().join("stat")).ok());
    let mine = stats.filter(|stat| stat.contains(&format!("({name})")));
    let ticks = |stat: String| -> u64 {
        let rest: Vec<&str> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
        rest[11..13].iter().map(|field| field.parse::<u64>().expect("a number")).sum()
    };
    let all: Vec<u64> = mine.map(ticks).collect();
    assert_eq!(all.len(), 1, "threads of the name {name}");
    all[0]
}

/// A named pipe, and its end that is read from. Whoever opens it to write does not wait.
fn named_pipe(folder: &TempDir) -> (PathBuf, Stdio) {
    let path = folder.path().join("in");
    mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).expect("a pipe");
    let both = OpenOptions::new().read(true).write(true).open(&path).expect("it does not wait");
    let read = File::open(&path).expect("it has a writer");
    drop(both);
    (path, read.into())
}

/// Opens the pipe, writes, and closes it.
fn write(path: &Path, text: &str) {
    OpenOptions::new().write(true).open(path).and_then(|mut pipe| pipe.write_all(text.as_bytes())).expect("it is read");
}

#[test]
fn writers_of_a_named_pipe_are_obeyed_one_after_another() {
    let folder = folder();
    let (path, stdin) = named_pipe(&folder);
    let (peer, _) = Running::peer(&folder, &[], stdin, Stdio::null());
    for _ in 0..3 {
        write(&path, "status\n");
        assert_eq!(peer.answer()["answer"], "status");
    }
    // Whoever comes and goes without a word changes nothing.
    write(&path, "");
    write(&path, "quit\n");
    assert_eq!(peer.answer()["answer"], "left");
    assert_eq!(peer.ends(), Some(0));
}

#[test]
fn no_command_of_many_short_writers_is_lost_and_waiting_for_the_next_costs_nothing() {
    let folder = folder();
    let (path, stdin) = named_pipe(&folder);
    let (peer, _) = Running::peer(&folder, &[], stdin, Stdio::null());
    for number in 0..500 {
        write(&path, &format!("nonsense{number}\n"));
    }
    for number in 0..500 {
        let answer = peer.answer();
        let reason = answer["reason"].as_str().expect("a reason");
        assert!(reason.contains(&format!("\"nonsense{number}\"")), "{number}: {reason}");
    }
    let before = ticks(&peer, "console");
    thread::park_timeout(Duration::from_secs(1));
    let ticks = ticks(&peer, "console") - before;
    assert!(ticks < 20, "the console ran {ticks} hundredths of the second that it waited");
}

#[test]
fn a_line_that_a_writer_left_unfinished_is_not_glued_to_the_next_ones() {
    let folder = folder();
    let (path, stdin) = named_pipe(&folder);
    let (peer, _) = Running::peer(&folder, &[], stdin, Stdio::null());
    for _ in 0..3 {
        write(&path, "list\nstatus");
        assert_eq!(peer.answer()["answer"], "list");
        assert_eq!(peer.answer()["answer"], "status");
    }
}

#[test]
fn a_named_pipe_may_have_lost_its_name() {
    let folder = folder();
    let (path, stdin) = named_pipe(&folder);
    let (peer, _) = Running::peer(&folder, &[], stdin, Stdio::null());
    fs::remove_file(&path).expect("it is there");
    for _ in 0..3 {
        write(Path::new(&format!("/proc/{}/fd/0", peer.child.id())), "status\n");
        assert_eq!(peer.answer()["answer"], "status");
    }
}

#[test]
fn a_peer_need_not_be_allowed_to_write_to_its_named_pipe() {
    let folder = folder();
    let (path, stdin) = named_pipe(&folder);
    let allow = |mode| fs::set_permissions(&path, Permissions::from_mode(mode)).expect("it is ours");
    let (peer, _) = Running::peer(&folder, &[], stdin, Stdio::null());
    for _ in 0..3 {
        let mut writer = OpenOptions::new().write(true).open(&path).expect("it is allowed");
        allow(0o400);
        writer.write_all(b"status\n").expect("it is read");
        drop(writer);
        assert_eq!(peer.answer()["answer"], "status");
        // To whom everything is allowed, only this shows: no descriptor of the pipe is one to write with.
        let of_peer = PathBuf::from(format!("/proc/{}", peer.child.id()));
        for open in fs::read_dir(of_peer.join("fd")).expect("it runs").flatten() {
            if fs::read_link(open.path()).is_ok_and(|name| name == path) {
                let about = fs::read_to_string(of_peer.join("fdinfo").join(open.file_name())).unwrap_or_default();
                let flags = about.lines().find_map(|line| line.strip_prefix("flags:"));
                assert!(flags.is_none_or(|flags| flags.ends_with('0')), "{about}");
            }
        }
        allow(0o600);
    }
}

#[test]
fn with_exit_on_eof_the_first_writers_end_is_the_end() {
    let folder = folder();
    let (path, stdin) = named_pipe(&folder);
    let mut writer = OpenOptions::new().write(true).open(&path).expect("it is read");
    let (peer, _) = Running::peer(&folder, &["--exit-on-eof"], stdin, Stdio::null());
    writer.write_all(b"status").expect("it is read");
    drop(writer);
    assert_eq!(peer.answer()["answer"], "status");
    assert_eq!(peer.ends(), Some(0));
}

#[test]
fn a_peer_of_the_classroom_ring_reads_on_too() {
    let folder = folder();
    let (path, stdin) = named_pipe(&folder);
    let peer = Running::ring(&folder, stdin, Stdio::null());
    for name in ["0004", "0260"] {
        write(&path, &format!("Store {name}\nstatus"));
        while peer.line() != format!("> Store {name} request accepted") {}
        // The last line of the answer to what was left unfinished.
        while !peer.line().starts_with("messages ") {}
    }
    write(&path, "Quit\n");
    assert_eq!(peer.ends(), Some(0));
}
