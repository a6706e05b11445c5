//! `wait safe`: may this peer be switched off now, and nothing is lost?
//!
//! What is held here is [compared](super::comparison) with each peer that should hold it too, after the question was
//! asked: what such a peer has is no loss. About the rest [further peers](super::further) are asked, who may stand in
//! for those. What is left is looked at again after a while, for repair gives it to others meanwhile. A peer that goes
//! takes with it what it was counted for, and all is compared anew. Whatever is held, each turn of the node looks at
//! some of it.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use super::comparison::{Comparison, LOOKS_A_TURN, SharedRange, begun_a_turn};
use super::further::Further;
use super::regions::Regions;
use super::strays::NEAR_SETS;
use crate::id::{Id, Key};
use crate::node::command::{Command, CommandId, Until};
use crate::node::desk::Desk;
use crate::node::holdings::LookEnd;
use crate::node::job::Urgency;
use crate::node::notice::FailureKind;
use crate::node::part::Part;
use crate::node::ticket::{Answered, News, PartId, Reply, Ticket};
use crate::node::waits::Waiters;
use crate::overlay::Target;
use crate::peer::Peer;
use crate::time::Time;

/// What no other peer has is looked for again after this long.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(2);

/// Those who wait until nothing would be lost with this peer.
#[derive(Default)]
pub(in crate::node) struct Safety {
    waiting: Waiters<()>,
    round: Option<SafetyRound>,
    /// When the next round begins.
    again: Option<Time>,
    rounds: u64,
}

/// One comparison with every peer. Of which blocks copies were found, their account
/// [knows](crate::node::holdings::Holdings::found_copy).
#[derive(Default)]
struct SafetyRound {
    stage: SafetyStage,
    /// The peers that are compared with now.
    open: BTreeMap<Id, (Peer, Comparison)>,
    /// Those of them that were not asked anything yet.
    unasked: VecDeque<Id>,
    /// All that are or were compared with, and who is next.
    further: Further,
    /// The blocks before this one would be no loss.
    from: Key,
    /// More of them are to be looked at.
    looks_on: bool,
}

/// What is being found out.
#[derive(Default)]
enum SafetyStage {
    /// The peers that should hold the blocks.
    Members(Regions),
    /// The peers besides that may hold the blocks which only this peer is known to hold.
    Further,
    /// What the peers that were found hold.
    #[default]
    Comparing,
    /// Nothing: all that may hold them were asked.
    Over,
}

impl Part for Safety {
    fn on(&mut self, desk: &mut Desk, ticket: Ticket, reply: Reply) {
        let Some(round) = self.round.as_mut().filter(|_| ticket.number == self.rounds) else { return };
        let id = match reply {
            Reply::Answer(Answered { to: Target { id: Some(id), .. }, answer, .. }) => {
                let Some((_, comparison)) = round.open.get_mut(&id) else { return };
                let found = |key: &Key, held: bool| {
                    if held {
                        desk.found_copy(key);
                    }
                };
                // A peer that does not compare counts for nothing.
                if answer.is_err() || !comparison.hear(answer, found) {
                    comparison.give_up();
                }
                id
            }
            Reply::Silence { to: Target { id: Some(id), addr }, .. } => {
                desk.suspect(addr);
                round.open.remove(&id);
                id
            }
            _ => return,
        };
        self.ask(desk, &id);
        self.look(desk);
    }

    fn on_command(&mut self, desk: &mut Desk, id: CommandId, command: Command) {
        let Command::Wait { until: Until::Safe, limit } = command else { return };
        self.waiting.add(desk, id, (), limit);
        // What is known from before may be in doubt since.
        self.begin(desk);
    }

    fn on_news(&mut self, desk: &mut Desk, news: News<'_>) {
        let Some(round) = &mut self.round else { return };
        match news {
            News::Down(peer) if round.further.has_asked(&peer.id) || round.is_choosing() => self.begin(desk),
            News::Held(key) => {
                desk.forget_copies(key);
                round.from = round.from.min(*key);
            }
            News::Dialled(addr) => self.on_dialled(desk, addr),
            News::Dropped(_) | News::AllGone | News::Damaged { .. } => self.look(desk),
            _ => {}
        }
    }

    fn on_tick(&mut self, desk: &mut Desk) {
        let now = desk.now();
        if self.waiting.next_deadline().is_some_and(|deadline| deadline <= now) {
            let shortage = self.shortage(desk);
            let looked = self.waiting.look(|()| Some(shortage.clone()));
            self.waiting.answer_due(desk, looked);
        }
        if self.again.is_some_and(|due| due <= now) {
            self.begin(desk);
        } else if self.round.as_ref().is_some_and(SafetyRound::goes_on) {
            self.go_on(desk);
        }
    }

    fn next_wake(&self, desk: &Desk) -> Option<Time> {
        let on = self.round.as_ref().is_some_and(SafetyRound::goes_on).then(|| desk.now());
        self.waiting.next_deadline().into_iter().chain(self.again).chain(on).min()
    }

    fn end(&mut self, desk: &mut Desk, whose: Option<CommandId>, kind: FailureKind, reason: &str) -> usize {
        let ended = self.waiting.end(desk, whose, kind, reason);
        if self.waiting.is_empty() {
            self.stop(desk);
        }
        ended
    }
}

impl Safety {
    /// Begins to compare with every peer, anew.
    fn begin(&mut self, desk: &mut Desk) {
        self.stop(desk);
        if self.waiting.is_empty() {
            return;
        }
        self.rounds += 1;
        desk.begin_round();
        let mut regions = Regions::default();
        regions.begin_sweep(desk);
        self.round = Some(SafetyRound { stage: SafetyStage::Members(regions), ..SafetyRound::default() });
        self.go_on(desk);
    }

    /// Finds out who is to be compared with, then begins with some of them, and looks whether that was all.
    fn go_on(&mut self, desk: &mut Desk) {
        let Some(round) = &mut self.round else { return };
        let shares = match &mut round.stage {
            SafetyStage::Members(regions) => {
                if !regions.go_on(desk) {
                    return;
                }
                let shares = regions.shares();
                round.further.note(&shares);
                Some(shares)
            }
            SafetyStage::Further => match round.further.find(desk, NEAR_SETS) {
                Some(shares) => Some(shares),
                None => return,
            },
            SafetyStage::Comparing | SafetyStage::Over => None,
        };
        if let Some(shares) = shares {
            let was_first = matches!(round.stage, SafetyStage::Members(_));
            round.stage = if was_first || !shares.is_empty() { SafetyStage::Comparing } else { SafetyStage::Over };
            let held = desk.holdings().len();
            let compared =
                |(id, (peer, shares)): (Id, (Peer, Vec<SharedRange>))| (id, (peer, Comparison::new(&shares, held)));
            round.open = shares.into_iter().map(compared).collect();
            round.unasked = round.open.keys().copied().collect();
        }
        let some = round.unasked.len().min(begun_a_turn(desk.holdings().len()));
        for id in round.unasked.drain(..some).collect::<Vec<_>>() {
            self.ask(desk, &id);
        }
        self.look(desk);
    }

    /// It is known whether a peer can be connected to, or cannot be known: then it is counted for nothing.
    fn on_dialled(&mut self, desk: &mut Desk, addr: SocketAddr) {
        let Some(round) = &mut self.round else { return };
        let waiting = round.open.iter().filter(|(_, (peer, other))| peer.addr == addr && !other.is_asking());
        for id in waiting.map(|(id, _)| *id).collect::<Vec<_>>() {
            if desk.connects_to(&addr).is_some() {
                self.ask(desk, &id);
            } else if let Some(round) = &mut self.round {
                round.open.remove(&id);
            }
        }
        self.look(desk);
    }

    fn stop(&mut self, desk: &mut Desk) {
        desk.abandon(|ticket| ticket.owner == PartId::Safety);
        if self.round.take().is_some() {
            desk.end_round();
        }
        self.again = None;
    }

    /// Asks a peer about the next blocks, if any are left. What it holds counts if it can be connected to.
    fn ask(&mut self, desk: &mut Desk, id: &Id) {
        let Some(round) = &mut self.round else { return };
        let Some((peer, comparison)) = round.open.get_mut(id) else { return };
        let addr = peer.addr;
        let next = match desk.connects_to(&addr) {
            None if desk.dial(addr, Urgency::Own) => return,
            Some(true) => comparison.next(desk.holdings()),
            None | Some(false) => None,
        };
        match next {
            Some(request) => desk.ask(Ticket::of(PartId::Safety, self.rounds), *peer, request),
            None => drop(round.open.remove(id)),
        }
    }

    /// Answers those who wait, if nothing would be lost.
    fn look(&mut self, desk: &mut Desk) {
        let Some(round) = self.round.as_mut().filter(|round| !round.is_choosing()) else { return };
        let found = desk.holdings().first_only_here(&round.from, &mut { LOOKS_A_TURN });
        round.looks_on = matches!(found, LookEnd::Onward(_));
        match found {
            LookEnd::Found(key) | LookEnd::Onward(key) => round.from = key,
            LookEnd::Nothing => {
                let looked = self.waiting.look(|()| None);
                self.waiting.answer_due(desk, looked);
                return self.stop(desk);
            }
        }
        if !round.open.is_empty() || round.looks_on {
            return;
        }
        if matches!(round.stage, SafetyStage::Comparing) {
            round.stage = SafetyStage::Further;
        } else {
            self.again.get_or_insert(desk.now() + LOOK_AGAIN_AFTER);
        }
    }

    /// What would be lost, for people.
    fn shortage(&self, desk: &Desk) -> String {
        let (holdings, from) = (desk.holdings(), self.round.as_ref().map_or(Key::ZERO, |round| round.from));
        let (count, next) = holdings.count_only_here(&from, LOOKS_A_TURN);
        let least = if next.is_some() { "at least " } else { "" };
        let such = match holdings.first_only_here(&from, &mut { LOOKS_A_TURN }) {
            LookEnd::Found(key) => format!(", such as {}", key.short()),
            LookEnd::Nothing | LookEnd::Onward(_) => String::new(),
        };
        let shut = match desk.shut() {
            0 => String::new(),
            1 => "; a peer cannot be connected to, and what it holds does not count".to_owned(),
            shut => format!("; {shut} peers cannot be connected to, and what they hold does not count"),
        };
        format!("of {least}{count} of the {} blocks held here no copy is known elsewhere{such}{shut}", holdings.len())
    }
}

impl SafetyRound {
    /// Whether it is being found out who is to be compared with.
    fn is_choosing(&self) -> bool {
        matches!(self.stage, SafetyStage::Members(_) | SafetyStage::Further)
    }

    /// Whether something is left for the next turn.
    fn goes_on(&self) -> bool {
        self.is_choosing() || !self.unasked.is_empty() || self.looks_on
    }
}
