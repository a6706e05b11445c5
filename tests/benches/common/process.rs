//! Processes: peers, clients and bare programs, and what they cost.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, unbounded};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// Ticks of `/proc/PID/stat` in a second (`USER_HZ`, a constant of Linux on every common machine).
const TICKS_PER_SECOND: f64 = 100.0;

/// The longest that anything asked of a process may take.
const PATIENCE: Duration = Duration::from_secs(900);

/// How often a process's memory is looked at while it works: its end takes the figure along.
const GLANCE: Duration = Duration::from_millis(10);

/// Keeps this thread, and the processes it starts, on one core, where the machine has that one.
pub(crate) fn pin(core: usize) {
    let mut set = CpuSet::new();
    if set.set(core).is_ok() {
        let _ = sched_setaffinity(Pid::from_raw(0), &set);
    }
}

/// A process that ends with this value.
pub(crate) struct Owned(pub(crate) Child);

impl Drop for Owned {
    fn drop(&mut self) {
        // Both fail only where the process has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a process that ran to its end cost.
pub(crate) struct Cost {
    pub(crate) wall: f64,
    pub(crate) cpu: f64,
    pub(crate) peak_memory: f64,
}

/// What a living process costs.
pub(crate) struct Usage {
    /// Processor seconds so far, in steps of 10 ms; of threads that have ended, too.
    pub(crate) cpu: f64,
    /// Processor seconds of the threads that live, to the nanosecond.
    pub(crate) cpu_of_threads: f64,
    /// Bytes resident.
    pub(crate) memory: f64,
    /// Bytes resident at most so far.
    pub(crate) peak_memory: f64,
    /// Threads.
    pub(crate) threads: usize,
}

impl Usage {
    /// What the process `pid` costs now.
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        let proc = PathBuf::from(format!("/proc/{pid}"));
        let stat = fs::read_to_string(proc.join("stat"))?;
        // The name in parentheses may hold spaces; user and system time are fields 14 and 15, the name is field 2.
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks: f64 =
            after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
        let status = fs::read_to_string(proc.join("status"))?;
        let of_status = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(f64::NAN)
        };
        let nanos: f64 = fs::read_dir(proc.join("task"))?
            .filter_map(|task| fs::read_to_string(task.ok()?.path().join("schedstat")).ok())
            .filter_map(|line| line.split_whitespace().next()?.parse::<f64>().ok())
            .sum();
        Ok(Self {
            cpu: ticks / TICKS_PER_SECOND,
            cpu_of_threads: nanos / 1e9,
            memory: of_status("VmRSS") * 1024.0,
            peak_memory: of_status("VmHWM") * 1024.0,
            threads: of_status("Threads") as usize,
        })
    }
}

/// Runs `command` to its end.
///
/// # Errors
/// If it cannot be started or fails.
pub(crate) fn run(command: &mut Command) -> io::Result<Cost> {
    let cpu_before = cpu_of_children()?;
    let start = Instant::now();
    let mut process = Owned(command.stdin(Stdio::null()).spawn()?);
    let pid = process.0.id();
    let (ended, has_ended) = unbounded::<()>();
    let watcher = thread::spawn(move || {
        let mut peak = 0.0_f64;
        while has_ended.recv_timeout(GLANCE).is_err_and(|error| error.is_timeout()) {
            peak = Usage::of(pid).map_or(peak, |usage| peak.max(usage.peak_memory));
        }
        peak
    });
    let status = process.0.wait()?;
    let wall = start.elapsed().as_secs_f64();
    drop(ended);
    let peak_memory = watcher.join().expect("the watcher does not panic");
    if !status.success() {
        return Err(io::Error::other(format!("{command:?}: {status}")));
    }
    Ok(Cost { wall, cpu: cpu_of_children()? - cpu_before, peak_memory })
}

/// Processor seconds of every child that has ended and was waited for.
fn cpu_of_children() -> io::Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}

/// The program under test. What it stores does not reach the catalogue of the user who measures.
pub(crate) fn kadring() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kadring"));
    command.env_remove("XDG_STATE_HOME").env("HOME", "nowhere");
    command
}

/// A peer of the program under test.
pub(crate) struct PeerProcess {
    stdin: ChildStdin,
    lines: Receiver<String>,
    process: Owned,
    /// Its id, as its ready line tells.
    pub(crate) id: kadring::id::Id,
    /// Where it answers.
    pub(crate) addr: SocketAddr,
}

impl PeerProcess {
    /// Starts a peer that keeps its data under `data`, joins through `bootstrap`, and takes these further `options`;
    /// it is ready when this returns.
    pub(crate) fn start(data: &Path, bootstrap: Option<SocketAddr>, options: &[&str]) -> io::Result<Self> {
        Self::start_in("", data, bootstrap, options)
    }

    /// The same where of a hundred datagrams so many get lost, leave twice and leave late: `weather` says it, as in
    /// `30,10,20`. That is for builds with debug assertions.
    pub(crate) fn start_in(
        weather: &str,
        data: &Path,
        bootstrap: Option<SocketAddr>,
        options: &[&str],
    ) -> io::Result<Self> {
        fs::create_dir_all(data)?;
        let log = data.with_extension("log");
        let mut command = kadring();
        command.env("KADRING_WEATHER", weather);
        command.args(["peer", "--bind", "127.0.0.1", "--port", "0", "--json", "--exit-on-eof", "--data"]).arg(data);
        if let Some(bootstrap) = bootstrap {
            command.arg("--bootstrap").arg(bootstrap.to_string());
        }
        command.args(options).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(fs::File::create(&log)?);
        let mut process = Owned(command.spawn()?);
        let (Some(stdin), Some(stdout)) = (process.0.stdin.take(), process.0.stdout.take()) else {
            return Err(io::Error::other("the pipes are there, for they were asked for"));
        };
        let lines = read_lines(stdout);
        let failed = |why: &str| {
            io::Error::other(format!("{command:?}: {why}\n{}", fs::read_to_string(&log).unwrap_or_default()))
        };
        let line = lines.recv_timeout(Duration::from_secs(60)).map_err(|_| failed("not ready in a minute"))?;
        let ready = serde_json::from_str::<Value>(&line).ok();
        let told = ready.and_then(|ready| Some((ready["id"].as_str()?.parse().ok()?, port_of(&ready["udp"])?)));
        let (id, port) = told.ok_or_else(|| failed(&format!("said {line:?} instead of being ready")))?;
        Ok(Self { stdin, lines, process, id, addr: SocketAddr::from(([127, 0, 0, 1], port)) })
    }

    /// Types `command` and waits for its answer, one JSON object.
    pub(crate) fn ask(&mut self, command: &str) -> io::Result<Value> {
        writeln!(self.stdin, "{command}")?;
        loop {
            let line =
                self.lines.recv_timeout(PATIENCE).map_err(|_| io::Error::other(format!("no answer to {command}")))?;
            let answer: Value = serde_json::from_str(&line).map_err(|_| io::Error::other(line))?;
            if answer.get("progress").is_none() {
                return Ok(answer);
            }
        }
    }

    /// What it costs.
    pub(crate) fn usage(&self) -> io::Result<Usage> {
        Usage::of(self.process.0.id())
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.0.id()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(kill(Pid::from_raw(self.pid() as i32), signal)?)
    }

    /// The lines that it wrote and nobody has read, once it has ended.
    pub(crate) fn last_words(&mut self) -> io::Result<Option<Vec<String>>> {
        // The reader of its lines ends when they do, and with it their channel.
        Ok(self.process.0.try_wait()?.map(|_| self.lines.iter().collect()))
    }
}

/// The port in `value`, written as a number or as the end of an address.
fn port_of(value: &Value) -> Option<u16> {
    match value {
        Value::Number(port) => port.as_u64()?.try_into().ok(),
        Value::String(addr) => addr.parse().ok().map(|addr: SocketAddr| addr.port()),
        _ => None,
    }
}

/// A bare program: a function of this benchmark in a process of its own.
pub(crate) struct Bare {
    _stdin: ChildStdin,
    process: Owned,
    /// Where it answers.
    pub(crate) addr: SocketAddr,
}

impl Bare {
    /// What it costs now.
    pub(crate) fn usage(&self) -> io::Result<Usage> {
        Usage::of(self.process.0.id())
    }

    /// The command that runs the role `role` of this benchmark.
    pub(crate) fn command(role: &str, arguments: &[&OsStr]) -> io::Result<Command> {
        let mut command = Command::new(env::current_exe()?);
        command.env(ROLE, role).args(arguments);
        Ok(command)
    }

    /// Starts a bare server, which tells its address in its first line (see [`announce`]).
    pub(crate) fn serve(role: &str) -> io::Result<Self> {
        let mut command = Self::command(role, &[])?;
        let mut process = Owned(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?);
        let (Some(stdin), Some(stdout)) = (process.0.stdin.take(), process.0.stdout.take()) else {
            return Err(io::Error::other("the pipes are there, for they were asked for"));
        };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let addr = line.trim().parse().map_err(|_| io::Error::other(format!("{role} said {line:?}")))?;
        Ok(Self { _stdin: stdin, process, addr })
    }
}

/// Says in which role a process of a benchmark runs.
const ROLE: &str = "KADRING_BENCH_ROLE";

/// The role of this process, if it is a bare program.
pub(crate) fn role() -> Option<String> {
    env::var(ROLE).ok()
}

/// Tells the benchmark where this bare server answers, and ends the process when the benchmark does.
pub(crate) fn announce(addr: SocketAddr) -> io::Result<()> {
    println!("{addr}");
    thread::Builder::new().name("until-eof".into()).spawn(|| {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        std::process::exit(0);
    })?;
    Ok(())
}

/// The lines that come out of `from`, as they come.
pub(crate) fn read_lines(from: impl io::Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = unbounded();
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}
