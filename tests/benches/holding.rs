//! What a million blocks cost the node: its start, its longest turn while peers come and go, its memory.
//!
//! One node without threads or sockets, in a network of twenty neighbours who answer at once: it is told what it holds,
//! compares with all of them, loses one, gains one, and finds one that lacks everything. Then it is asked for the list
//! of its blocks, whether it may be switched off, and to leave. And what blocks cost of which each has a lease of its
//! own, as where each is a file.

use std::collections::VecDeque;
use std::error::Error;
use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use kadring::config::Config;
use kadring::id::{Id, Key};
use kadring::lease::{Lease, Note, Secret};
use kadring::node::job::{Job, Outcome};
use kadring::node::{Action, Answer, Command as Asked, Event, Node, Notice, Outbox, Until};
use kadring::overlay::kademlia::Kademlia;
use kadring::peer::Peer;
use kadring::time::Time;
use kadring::wire::{Body, Difference, Message, Request, Response, Sender, Via};
use nix::time::ClockId;

/// Peers beside the node.
const NEIGHBOURS: u16 = 20;

/// The longest turn that a node may take.
const LONGEST: Duration = Duration::from_millis(5);

/// Names the number of blocks to a process of its own, so that none reuses the memory of another.
const CHILD: &str = "KADRING_BENCH_HOLDING";

/// Set where each of them has a lease.
const LEASED: &str = "KADRING_BENCH_LEASED";

/// Bytes that a block with a lease of its own may cost at rest.
const MOST_LEASED: f64 = 256.0;

fn main() -> Result<(), Box<dyn Error>> {
    if let Ok(blocks) = std::env::var(CHILD) {
        let blocks = blocks.parse()?;
        return if std::env::var_os(LEASED).is_some() { measure_leased(blocks) } else { measure(blocks) };
    }
    println!("The longest turns, by the time that a processor worked for them:");
    println!(
        "{:>9}  {:>9}  {:>9}  {:>9}  {:>9}  {:>9}  {:>13}  {:>11}",
        "blocks", "start", "upkeep", "list", "wait safe", "quit", "bytes a block", "in a repair"
    );
    for leased in [false, true] {
        for blocks in [10_000_u64, 100_000, 1_000_000] {
            let mut child = Command::new(std::env::current_exe()?);
            child.env(CHILD, blocks.to_string()).envs(leased.then_some((LEASED, "1")));
            let status = child.status()?;
            if !status.success() {
                return Err(format!("{blocks} blocks: {status}").into());
            }
        }
    }
    Ok(())
}

/// What blocks cost of which each has a lease of its own. They are found a few at a time, so that what tells of them is
/// not counted.
fn measure_leased(blocks: u64) -> Result<(), Box<dyn Error>> {
    let mut run = Run::new();
    let (bootstrap, hosts, remembered, held, notes) = (vec![], vec![], vec![], vec![], vec![]);
    run.turn(Event::Start { bootstrap, hosts, remembered, held, notes, unix_time: 0, ran: 0 });
    let before = resident()?;
    for from in (0..blocks).step_by(100) {
        let keys = (from..blocks.min(from + 100)).map(|n| Key::of(&n.to_be_bytes()));
        let lease = |key: &Key| Secret::from_bytes(*key.as_bytes()).id();
        let laid = |(key, until)| Note::Laid { key, leases: vec![Lease { id: lease(&key), until, copies: 0 }] };
        let notes = keys.clone().zip((2_000_000_000 + from..).map(Some)).map(laid).collect();
        run.turn(Event::FolderBack { held: keys.map(|key| (key, 512)).collect(), notes, off: 0 });
    }
    let each = resident()?.saturating_sub(before) as f64 / blocks as f64;
    let verdict = if each <= MOST_LEASED { "" } else { "  MISSED: 256 bytes" };
    println!("{blocks:>9}  {each:.0} bytes a block with a lease of its own{verdict}");
    Ok(())
}

fn measure(blocks: u64) -> Result<(), Box<dyn Error>> {
    let mut run = Run::new();
    let before = resident()?;
    let held: Vec<(Key, u32)> = (0..blocks).map(|n| (Key::of(&n.to_be_bytes()), 512)).collect();
    let (bootstrap, hosts, remembered, notes) = (vec![], vec![], vec![], vec![]);
    run.turn(Event::Start { bootstrap, hosts, remembered, held, notes, unix_time: 0, ran: 0 });
    let start = std::mem::take(&mut run.longest);
    run.pass(Duration::from_secs(60));
    let each = |now: u64| now.saturating_sub(before) as f64 / blocks as f64;
    let at_rest = each(resident()?);
    run.silent = Some(1);
    run.pass(Duration::from_secs(60));
    let lost = std::mem::take(&mut run.longest);
    run.silent = None;
    let is_so = |answer: &Answer| matches!(answer, Answer::Waited { .. });
    let gained = run.command(Asked::Wait { until: Until::Peers { count: NEIGHBOURS.into() }, limit: None }, is_so)?;
    run.lacks_all = Some(2);
    run.pass(Duration::from_secs(7200));
    let repair = each(resident()?);
    let upkeep = lost.max(gained).max(run.longest);
    run.lacks_all = None;
    let list = run.command(Asked::List, |answer| matches!(answer, Answer::List { .. }))?;
    let safe = Asked::Wait { until: Until::Safe, limit: None };
    let safe = run.command(safe, is_so)?;
    let quit =
        run.command(Asked::Quit { handover: true }, |answer| matches!(answer, Answer::Left { left_behind: 0, .. }))?;
    let longest = [upkeep, list, safe, quit];
    let verdict = if longest.iter().all(|turn| *turn <= LONGEST) { "" } else { "  MISSED: 5 ms" };
    let turns = longest.map(|turn| format!("{turn:>9.1?}")).join("  ");
    println!("{blocks:>9}  {start:>9.1?}  {turns}  {at_rest:>11.0} B  {repair:>9.0} B{verdict}");
    println!("           {} requests, {} offers", run.asked, run.offered);
    Ok(())
}

struct Run {
    node: Node,
    peers: Vec<Peer>,
    now: Time,
    out: Outbox,
    longest: Duration,
    /// This one answers nothing.
    silent: Option<usize>,
    /// This one holds nothing, and takes everything.
    lacks_all: Option<usize>,
    asked: u64,
    offered: u64,
    answer: Option<Answer>,
}

impl Run {
    fn new() -> Self {
        let peer = |n: u16| Peer::new(Id::of(&n.to_be_bytes()), SocketAddr::from(([10, 0, 0, 1], 1000 + n)));
        let peers: Vec<Peer> = (1..=NEIGHBOURS).map(peer).collect();
        let mut overlay = Kademlia::with_bucket_size(peer(0), [1; 32], false, 20);
        overlay.fill(Time::ZERO, &peers);
        let node = Node::new(Config::default(), Box::new(overlay), [2; 32]);
        Self {
            node,
            peers,
            now: Time::ZERO,
            out: Outbox::new(),
            longest: Duration::ZERO,
            silent: None,
            lacks_all: None,
            asked: 0,
            offered: 0,
            answer: None,
        }
    }

    /// Gives a command and lets time pass until it has the answer that `is_right`; the longest turn of that.
    fn command(&mut self, command: Asked, is_right: impl Fn(&Answer) -> bool) -> Result<Duration, Box<dyn Error>> {
        self.longest = Duration::ZERO;
        self.turn(Event::Command { id: 1, command });
        let end = self.now + Duration::from_secs(600);
        while self.answer.is_none()
            && let Some(wake) = self.node.next_wake().filter(|wake| *wake <= end)
        {
            self.now = wake.max(self.now);
            self.turn(Event::Tick);
        }
        match self.answer.take() {
            Some(answer) if is_right(&answer) => Ok(self.longest),
            Some(Answer::List { .. }) | None => Err("no right answer".into()),
            Some(answer) => Err(format!("no right answer: {answer:?}").into()),
        }
    }

    /// One event, and all that the neighbours answer to what comes of it.
    fn turn(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let began = worked();
            self.node.handle(self.now, event, &mut self.out);
            self.longest = self.longest.max(worked() - began);
            for action in std::mem::take(&mut self.out) {
                match action {
                    Action::Send { to, message: Message { magic, body: Body::Request(request), .. }, .. } => {
                        events.extend(self.answer(to, magic, &request));
                    }
                    Action::Start { job, work } => {
                        let outcome = match work {
                            Job::Sample { .. } => Outcome::Sampled { sample: Id::ZERO },
                            _ => Outcome::Sound { size: 512 },
                        };
                        events.push_back(Event::JobDone { job, outcome });
                    }
                    Action::Notify(Notice::Answer { answer, .. }) => self.answer = Some(answer),
                    _ => {}
                }
            }
        }
    }

    fn answer(&mut self, to: SocketAddr, magic: u64, request: &Request) -> Option<Event> {
        let at = self.peers.iter().position(|peer| peer.addr == to).filter(|at| Some(*at) != self.silent)?;
        let empty = self.lacks_all == Some(at);
        let response = match request {
            Request::Ping => Response::Node(self.peers[at]),
            Request::Compare { .. } if empty => Response::Differs(Difference::Keys(Vec::new())),
            Request::Compare { .. } => Response::Same,
            // It had the block before, and shows that; else it says that it has pulled it.
            Request::Store { .. } if self.lacks_all.is_none() => Response::Shown { sample: Id::ZERO },
            Request::Store { .. } => Response::Saved,
            _ => Response::Nodes(self.peers.clone()),
        };
        self.asked += 1;
        self.offered += u64::from(matches!(request, Request::Store { .. }));
        let mut message = Message::response(magic, request.kind(), response);
        message.sender = Some(Sender::member(self.peers[at].id, to));
        Some(Event::Message { from: to, via: Via::Udp, bytes: 200, message })
    }

    /// Lets time pass.
    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(wake) = self.node.next_wake().filter(|wake| *wake <= end) {
            self.now = wake.max(self.now);
            self.turn(Event::Tick);
        }
        self.now = end;
    }
}

/// How long a processor has worked for this thread: on a shared machine the time of a clock says little of a turn.
fn worked() -> Duration {
    ClockId::CLOCK_THREAD_CPUTIME_ID.now().expect("every thread has this clock").into()
}

/// Bytes of memory that this process has in use.
fn resident() -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).ok_or("RssAnon is missing")?;
    let kib: u64 = line.split_whitespace().nth(1).ok_or("RssAnon has no number")?.parse()?;
    Ok(kib * 1024)
}
