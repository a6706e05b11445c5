//! A node among strangers, who say what they like when they like.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use bolero::{TypeGenerator, check};
use kadring::classroom;
use kadring::config::{AMPLIFICATION, Config};
use kadring::node::job::{JobError, JobErrorKind, JobId, Outcome};
use kadring::node::{Action, Event, Node, Outbox};
use kadring::overlay::OverlayKind;
use kadring::time::Time;
use kadring::wire::{Body, Dialect, Message, Request, Sender, Via};

use crate::said::{PEERS, Said, addr, peer};

/// Steps of one try at most.
const STEPS: usize = 60;

/// Actions that one event may bring about.
const MOST_ACTIONS: usize = 400;

/// Bytes of questions to peers that have shown nothing, for each byte that came: a name in an answer is a peer to be
/// asked, and to be asked again.
const QUESTIONS_FOR_ONE: usize = 3;

/// Bytes of questions that need no reason: to find the network, and to keep an eye on it.
const FREE: usize = 20_000;

/// More of them on a ring, where a newcomer believes the peer that its user named: each of the seven that that one may
/// name as neighbours here is asked for 12 s before it counts as dead.
const FREE_FOR_NAMED: usize = 7 * 3_700;

/// What happens next.
#[derive(Clone, Debug, TypeGenerator)]
enum Step {
    /// A message comes, from the peer that it says or from another.
    Says { said: Said, from: u8, tcp: bool },
    /// The last request but so many to a peer is answered by it.
    Answers { said: Said, which: u8 },
    /// The last job but so many ends.
    Ends { which: u8, well: bool },
    /// Time passes, and the node is woken when it wants to be.
    Passes { said: Said },
    /// A peer completed a handshake.
    Connects { from: u8 },
    /// A message was not delivered.
    Fails { said: Said },
}

struct World {
    node: Node,
    dialect: Dialect,
    now: Time,
    asked: Vec<(SocketAddr, Message)>,
    jobs: Vec<JobId>,
    /// Bytes from each address that has not shown that it receives, and to it.
    unproven: BTreeMap<SocketAddr, (usize, usize)>,
    proven: BTreeSet<SocketAddr>,
    /// Bytes that came, and bytes of questions to addresses that have shown nothing.
    came_bytes: usize,
    asked_bytes: usize,
}

impl World {
    fn new(kind: OverlayKind, named_files: bool) -> Self {
        let config = Config { named_files, ..Config::default() };
        let node = classroom::join(Node::new(config, kind.build(peer(0), [7; 32], false), [7; 32]));
        let dialect = if kind == OverlayKind::Ring { Dialect::Ring } else { Dialect::Kademlia };
        let (asked, jobs) = (Vec::new(), Vec::new());
        let mut world = Self {
            node,
            dialect,
            now: Time::ZERO,
            asked,
            jobs,
            unproven: BTreeMap::new(),
            proven: BTreeSet::new(),
            came_bytes: 0,
            asked_bytes: 0,
        };
        world.proven.insert(addr(1));
        world.handle(Event::Start {
            bootstrap: vec![addr(1)],
            hosts: Vec::new(),
            remembered: Vec::new(),
            held: vec![(peer(5).id, 10), (peer(7).id, 2_000)],
            notes: Vec::new(),
            unix_time: 1_700_000_000,
            ran: 0,
        });
        world
    }

    /// What a message is once it was written and read, and its bytes; none if it cannot be said in this dialect.
    fn travelled(&self, message: &Message) -> Option<(Message, usize)> {
        let me = message.sender.map_or(peer(1), |sender| sender.peer);
        let mut text = Vec::new();
        self.dialect.encode(message, &me, peer(0).addr, &mut text);
        Some((self.dialect.decode(&text).ok()?, text.len()))
    }

    fn length(&self, message: &Message, to: SocketAddr) -> usize {
        let mut text = Vec::new();
        self.dialect.encode(message, &peer(0), to, &mut text);
        text.len()
    }

    fn handle(&mut self, event: Event) {
        let mut out = Outbox::new();
        if let Event::Message { bytes, .. } = &event {
            self.came_bytes += *bytes as usize;
        }
        self.node.handle(self.now, event.clone(), &mut out);
        if let Err(wrong) = self.node.check() {
            panic!("after {event:?}: {wrong}");
        }
        assert!(out.len() <= MOST_ACTIONS, "{} actions came of {event:?}", out.len());
        for action in out {
            match action {
                Action::Send { to, via, message } => {
                    let length = self.length(&message, to);
                    let asks = matches!(message.body, Body::Request(_));
                    if via == Via::Udp && !self.proven.contains(&to) {
                        let (came, went) = self.unproven.entry(to).or_default();
                        if asks {
                            self.asked_bytes += length;
                            let named = if self.dialect == Dialect::Ring { FREE_FOR_NAMED } else { 0 };
                            let most = self.came_bytes * QUESTIONS_FOR_ONE + FREE + named;
                            assert!(
                                self.asked_bytes <= most,
                                "{} bytes of questions, {most} at most",
                                self.asked_bytes
                            );
                        } else {
                            *went += length;
                            assert!(*went <= *came * AMPLIFICATION, "{to} sent {came} bytes, got {went}: {message:?}");
                        }
                    }
                    if let Some(magic) = message.asks {
                        let ping = Message::request(magic, Sender::member(peer(0).id, peer(0).addr), Request::Ping);
                        self.asked.push((to, ping));
                    }
                    if asks {
                        self.asked.push((to, message));
                    }
                }
                Action::Start { job, .. } => self.jobs.push(job),
                _ => {}
            }
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Says { said, from, tcp } => {
                let from = addr(1 + from % (PEERS - 1));
                let Some((message, bytes)) = self.travelled(&said.message()) else { return };
                if *tcp {
                    self.handle(Event::Validated { addr: from });
                    self.proven.insert(from);
                    if let Body::Request(request) = &message.body
                        && let Some(origin) = request.origin()
                    {
                        // So much was said in its name.
                        self.unproven.entry(origin.addr).or_default().0 += bytes;
                    }
                } else {
                    self.unproven.entry(from).or_default().0 += bytes;
                }
                let via = if *tcp { Via::Tcp } else { Via::Udp };
                self.handle(Event::Message { from, via, bytes: bytes as u32, message });
            }
            Step::Answers { said, which } => {
                let Some(at) = self.asked.len().checked_sub(1 + usize::from(*which)) else { return };
                let (from, asked) = self.asked.remove(at);
                let Body::Request(request) = &asked.body else { return };
                let kind = request.kind();
                let answer = Message::response(asked.magic, kind, said.answer_to(kind));
                let answer = Message { asks: said.asks(), ..answer };
                let Some((message, bytes)) = self.travelled(&answer) else { return };
                self.proven.insert(from);
                self.handle(Event::Message { from, via: Via::Udp, bytes: bytes as u32, message });
            }
            Step::Ends { which, well } => {
                let Some(at) = self.jobs.len().checked_sub(1 + usize::from(*which)) else { return };
                let job = self.jobs.remove(at);
                let failed = Outcome::Failed(JobError { kind: JobErrorKind::NotFound, reason: "gone".to_owned() });
                let outcome = if *well { Outcome::Stored { size: 10 } } else { failed };
                self.handle(Event::JobDone { job, outcome });
            }
            Step::Passes { said } => {
                let until = self.now + said.span();
                for _ in 0..200 {
                    let Some(wake) = self.node.next_wake().filter(|wake| *wake <= until) else { break };
                    self.now = self.now.max(wake);
                    self.handle(Event::Tick);
                }
                self.now = self.now.max(until);
            }
            Step::Connects { from } => {
                let from = addr(1 + from % (PEERS - 1));
                self.proven.insert(from);
                self.handle(Event::Validated { addr: from });
            }
            Step::Fails { said } => {
                let Some((to, message)) = self.asked.pop() else { return };
                let obstacle = match said.number() % 4 {
                    0 => kadring::node::Obstacle::Refused,
                    1 => kadring::node::Obstacle::Silence,
                    2 => kadring::node::Obstacle::Delay,
                    _ => kadring::node::Obstacle::Crowd,
                };
                self.handle(Event::Undeliverable { to, message, obstacle });
            }
        }
    }
}

fn try_all(kind: OverlayKind, named_files: bool) {
    check!().with_iterations(400).with_type::<Vec<Step>>().for_each(|steps| {
        let mut world = World::new(kind, named_files);
        for step in steps.iter().take(STEPS) {
            world.step(step);
        }
    });
}

#[test]
fn a_node_of_kademlia_contradicts_itself_never_and_sends_strangers_little_whatever_they_say() {
    try_all(OverlayKind::Kademlia, false);
}

#[test]
fn a_node_of_the_ring_contradicts_itself_never_and_sends_strangers_little_whatever_they_say() {
    try_all(OverlayKind::Ring, false);
}

#[test]
fn a_peer_of_the_classroom_contradicts_itself_never_and_sends_strangers_little_whatever_they_say() {
    try_all(OverlayKind::Ring, true);
}
