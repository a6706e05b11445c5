//! What a program that has a peer in it promises of signals.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use kadring::node;
use kadring::runtime::{LocalPeer, Options};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::until;

/// Has this test be the program.
const PROGRAM: &str = "SIGNALS_TEST_PROGRAM";

/// What the program says once its peers are gone.
const GONE: &str = "the peers are gone";

/// Whether this process was started with a signal ignored.
fn is_ignored(signal: Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").expect("the system tells");
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).expect("it is told");
    let ignored = u64::from_str_radix(ignored.trim(), 16).expect("a number");
    ignored >> (signal as i32 - 1) & 1 == 1
}

#[test]
fn a_signal_ends_a_program_again_once_its_last_peer_is_gone() {
    if std::env::var_os(PROGRAM).is_some() {
        let start = || {
            let on_signal = Some(node::Command::Quit { handover: false });
            LocalPeer::start(Options { on_signal, ..Options::default() }).expect("it starts")
        };
        let one = start();
        let other = start();
        drop(one);
        // As long as one peer is there, it is asked.
        kill(Pid::this(), Signal::SIGTERM).expect("it is this process");
        assert_eq!(other.wait(), kadring::runtime::Ended::Left);
        drop(start());
        println!("{GONE}");
        loop {
            std::thread::park();
        }
    }
    // What this program was started to ignore, as by a shell's `&` or by nohup, its child ignores for good.
    let all = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];
    for signal in all.into_iter().filter(|signal| !is_ignored(*signal)) {
        let name = "signals::a_signal_ends_a_program_again_once_its_last_peer_is_gone";
        let mut program = Command::new(std::env::current_exe().expect("it has a path"));
        program.args(["--exact", name, "--nocapture"]).env(PROGRAM, "1").stdout(Stdio::piped());
        let mut program = program.spawn().expect("it starts");
        let mut lines = BufReader::new(program.stdout.take().expect("it is piped")).lines().map_while(Result::ok);
        assert!(lines.any(|line| line.contains(GONE)), "it ended before its peers were gone");
        kill(Pid::from_raw(program.id().cast_signed()), signal).expect("it runs");
        let mut ended = None;
        until(|| {
            ended = program.try_wait().expect("it is ours");
            ended.is_some()
        });
        assert_eq!(ended.and_then(|ended| ended.signal()), Some(signal as i32), "{signal}");
    }
}
