//! No turn of the node looks at all that it holds: it looks at as many blocks as are allowed, and goes on in the next.

use super::upkeep::blocks;
use super::*;
use crate::node::{Command, Until};
use crate::wire::Difference;

/// Blocks held here. A turn may look at a good third of them at most.
const HELD: u64 = 120_000;
const MOST: usize = 44_000;

/// A node that holds many blocks, and the most of them that it looked at in one turn.
struct Busy {
    node: Node,
    now: Time,
    most: usize,
    /// What has come to it and is not told yet, and what it answered.
    events: std::collections::VecDeque<Event>,
    answer: Option<Answer>,
    /// Comparisons that others were asked for in one turn at most.
    asked: usize,
    /// The others hold nothing, and pull what they are offered.
    empty: bool,
}

impl Busy {
    fn new(peers: u16) -> Self {
        let set: Vec<Peer> = (0..=peers).map(peer).collect();
        let overlay = Scripted { me: peer(0), set, holds: true, ends: true, unreached: Vec::new() };
        let config = Config { replicas: usize::from(peers) + 1, ..Config::default() };
        let node = Node::new(config, Box::new(overlay), [7; 32]);
        let (now, events) = (Time::ZERO, std::collections::VecDeque::new());
        let mut busy = Self { node, now, most: 0, events, answer: None, asked: 0, empty: false };
        let (bootstrap, hosts, remembered, notes, held) = (vec![], vec![], vec![], vec![], blocks(0..HELD));
        busy.turn(Event::Start { bootstrap, hosts, remembered, held, notes, unix_time: 0, ran: 0 });
        busy.most = 0;
        busy
    }

    /// One turn; the others answer at once.
    fn turn(&mut self, event: Event) {
        let (looks, mut out, mut asked) = (self.node.desk.holdings.looks.get(), Outbox::new(), 0);
        self.node.handle(self.now, event, &mut out);
        self.most = self.most.max(self.node.desk.holdings.looks.get() - looks);
        for action in out {
            let (to, magic, request) = match action {
                Action::Notify(Notice::Answer { answer, .. }) => {
                    self.answer = Some(answer);
                    continue;
                }
                Action::Start { job, work } => {
                    let sampled = Outcome::Sampled { sample: Id::ZERO };
                    let outcome =
                        if matches!(work, Job::Sample { .. }) { sampled } else { Outcome::Sound { size: 10 } };
                    self.events.push_back(Event::JobDone { job, outcome });
                    continue;
                }
                Action::Send { to, message: Message { magic, body: Body::Request(request), .. }, .. } => {
                    (to, magic, request)
                }
                _ => continue,
            };
            let response = match request {
                Request::Compare { .. } if self.empty => Response::Differs(Difference::Keys(Vec::new())),
                Request::Compare { .. } => Response::Same,
                Request::Store { key, .. } if self.empty => {
                    self.events.push_back(Event::Delivered { blocks: vec![(key, to.ip())] });
                    Response::Saved
                }
                Request::Store { .. } => Response::Shown { sample: Id::ZERO },
                _ => Response::Nodes(Vec::new()),
            };
            asked += usize::from(matches!(response, Response::Same));
            let message = Message::response(magic, RequestKind::Ping, response);
            self.events.push_back(Event::Message { from: to, via: Via::Udp, bytes: 250, message });
        }
        self.asked = self.asked.max(asked);
    }

    /// Gives a command, and goes on until it is answered.
    fn does(&mut self, command: Command) -> Answer {
        self.turn(Event::Command { id: 1, command });
        let end = self.now + Duration::from_secs(60);
        loop {
            if let Some(answer) = self.answer.take() {
                return answer;
            }
            match self.events.pop_front() {
                Some(event) => self.turn(event),
                None => {
                    let wake = self.node.next_wake().filter(|wake| *wake <= end).expect("the command is answered");
                    self.now = wake.max(self.now);
                    self.turn(Event::Tick);
                }
            }
        }
    }
}

#[test]
fn the_list_of_many_blocks_is_gathered_some_in_each_turn_and_is_whole() {
    let mut busy = Busy::new(2);
    let Answer::List { blocks } = busy.does(Command::List) else { panic!("no list") };
    let mut all = super::upkeep::blocks(0..HELD);
    all.sort_unstable();
    assert!(blocks == all, "{} of {HELD} blocks", blocks.len());
    assert!(busy.most <= MOST, "{} looks in one turn", busy.most);
}

#[test]
fn whether_a_peer_with_many_blocks_may_be_switched_off_is_found_out_some_blocks_in_each_turn() {
    let mut busy = Busy::new(20);
    let waited = busy.does(Command::Wait { until: Until::Safe, limit: Some(Duration::from_secs(50)) });
    assert!(matches!(waited, Answer::Waited { .. }), "{waited:?}");
    assert!(busy.most <= MOST, "{} looks in one turn", busy.most);
    let mut alone = Busy::new(20);
    alone.empty = true;
    let Answer::Failed(failure) = alone.does(Command::Wait { until: Until::Safe, limit: Some(Duration::from_secs(1)) })
    else {
        panic!("no other peer has anything")
    };
    assert!(failure.reason.contains(&format!("of the {HELD} blocks held here no copy")), "{failure:?}");
    assert!(alone.most <= MOST, "{} looks in one turn", alone.most);
}

#[test]
fn a_peer_that_leaves_looks_at_some_of_its_many_blocks_in_each_turn_and_counts_them_all() {
    let mut busy = Busy::new(20);
    assert_eq!(busy.does(Command::Quit { handover: true }), left(HELD, 0));
    assert!(busy.most <= MOST, "{} looks in one turn", busy.most);
    assert!(busy.asked <= 2, "{} peers are asked in one turn", busy.asked);
    let mut silent = Busy::new(2);
    let gone = Answer::Left { handed_over: 0, left_behind: HELD, offered: false, kept: true, alone: false };
    assert_eq!(silent.does(Command::Quit { handover: false }), gone);
    assert!(silent.most <= MOST, "{} looks in one turn", silent.most);
}

#[test]
fn comparisons_that_are_due_with_many_neighbours_begin_with_some_in_each_turn() {
    let mut busy = Busy::new(40);
    let end = busy.now + Duration::from_secs(30);
    let mut asked = 0;
    while let Some(wake) = busy.node.next_wake().filter(|wake| *wake <= end) {
        busy.now = wake.max(busy.now);
        busy.turn(Event::Tick);
        asked += std::mem::take(&mut busy.asked);
        assert!(busy.most <= MOST, "{} looks in one turn", busy.most);
        busy.events.clear();
    }
    assert!(asked >= 40, "all were asked: {asked}");
}

#[test]
fn a_round_of_the_account_tells_of_which_blocks_copies_were_found_in_it_alone() {
    let mut holdings = crate::node::holdings::Holdings::new(None, 7);
    holdings.found(blocks(0..3), &[]);
    let alone = |holdings: &crate::node::holdings::Holdings| holdings.count_only_here(&Key::ZERO, 10).0;
    holdings.begin_round();
    assert_eq!((holdings.found_copy(&key(0)), holdings.found_copy(&key(0)), alone(&holdings)), (true, false, 2));
    holdings.insert(key(9), 10, &[], None);
    assert_eq!(alone(&holdings), 2, "what came since is no matter of this round");
    holdings.forget_copies(&key(9));
    assert_eq!(alone(&holdings), 3, "unless it is counted in");
    holdings.remove(&key(1));
    assert_eq!((holdings.found_copy(&key(1)), holdings.found_copy(&key(1))), (true, false), "it was here");
    for _ in 0..70_000 {
        holdings.begin_round();
    }
    assert_eq!(alone(&holdings), 3, "no mark of old counts, however many rounds there were");
}
