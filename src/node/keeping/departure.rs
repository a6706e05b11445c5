//! Leaving in good order: each block held here is first given to the peers that should hold it in this peer's stead.
//!
//! With each of these peers what is held is [compared](super::comparison), and it is offered what it lacks. What it
//! says that it holds counts once it has [shown](crate::node::desk::claims) a block of that, chosen by chance. If all
//! peers leave at once, none is waited for twice: a peer that leaves too, or is silent, is asked no more, the next
//! nearest stand in for it, and once all are gone the departure ends and tells what stays behind. Whatever is held,
//! each turn of the node looks at some of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::comparison::{Comparison, LOOKS_A_TURN, begun_a_turn};
use super::further::Further;
use super::neighbours::WINDOW;
use crate::id::{Id, Key};
use crate::node::command::{Command, CommandId};
use crate::node::desk::Desk;
use crate::node::job::Urgency;
use crate::node::notice::{Answer, Progress};
use crate::node::part::Part;
use crate::node::refusal::Refusal;
use crate::node::ticket::{About, Answered, News, PartId, Reply, Taken, Ticket};
use crate::overlay::Target;
use crate::peer::Peer;
use crate::time::Time;
use crate::wire::Response;

/// The departure of this peer, once it was told to leave and nothing keeps it any more.
#[derive(Default)]
pub(in crate::node) struct Departure(Option<Handover>);

/// A peer on its way out.
struct Handover {
    command: CommandId,
    deadline: Time,
    /// The blocks are offered to others first.
    hands_over: bool,
    /// No other peer is known.
    alone: bool,
    stage: DepartureStage,
    /// Blocks, held when the departure began, that are still wanted and no other peer is known to hold. What is pulled
    /// to its end after that is not called saved.
    blocks: u64,
    /// Those of them that another peer is known to hold: [which](crate::node::holdings::Holdings::found_copy).
    saved: u64,
    /// Blocks handed over, as far as that was told.
    told: u64,
    /// The peers that are compared with now.
    heirs: BTreeMap<Id, Heir>,
    /// Those of them that were not asked anything yet.
    unasked: VecDeque<Id>,
    /// The peers that are compared with next.
    further: Further,
    /// Those that have no room: they are offered nothing more, and what they hold counts.
    full: BTreeSet<Id>,
}

/// Times that a peer is asked to show a block where others at its address take what it shows.
const CHANCES: u8 = 4;

/// What is done for the departure.
enum DepartureStage {
    /// What is held is counted, from this key on.
    Counting(Key),
    /// The peers that should hold what this one alone holds are looked for.
    Choosing,
    /// The heirs are compared with, and given what they lack.
    Handing,
}

/// A peer that should hold some of the blocks.
struct Heir {
    peer: Peer,
    comparison: Comparison,
    /// It lacks these blocks and was not offered them yet.
    lacking: VecDeque<Key>,
    /// Offers without an answer.
    offers: usize,
    /// What it says that it holds and has not shown.
    claimed: Vec<Key>,
    /// Which of that it is asked to show before the rest is believed.
    pledge: Option<Key>,
    /// Times left that it may be asked to show one: a peer beside it may have been sent the one before.
    chances: u8,
}

impl Part for Departure {
    fn on(&mut self, desk: &mut Desk, ticket: Ticket, reply: Reply) {
        let Some(handover) = &mut self.0 else { return };
        let heir = match (ticket.about, reply) {
            (About::Whole, Reply::Answer(Answered { to: Target { id: Some(id), .. }, answer, .. })) => {
                handover.on_compared(desk, &id, answer);
                id
            }
            (About::Whole, Reply::Silence { to: Target { id: Some(id), .. }, .. }) => {
                handover.pass_over(&id);
                id
            }
            (About::Block(key), Reply::OfferEnded { to, result }) => {
                handover.on_offer_ended(desk, &to.id, key, result);
                to.id
            }
            _ => return,
        };
        handover.tell(desk);
        handover.go_on_with(desk, &heir);
        // Others may have waited for what came to that one.
        let waiting = handover.heirs.iter().filter(|(_, heir)| heir.pledge.is_none() && !heir.claimed.is_empty());
        for id in waiting.map(|(id, _)| *id).collect::<Vec<_>>() {
            handover.go_on_with(desk, &id);
        }
        self.go_on(desk);
    }

    /// The departure begins.
    fn on_command(&mut self, desk: &mut Desk, command: CommandId, how: Command) {
        desk.begin_round();
        self.0 = Some(Handover {
            command,
            deadline: desk.now() + desk.config().handover_limit,
            hands_over: matches!(how, Command::Quit { handover: true }),
            alone: desk.peers().iter().all(|peer| desk.is_me(peer)),
            stage: DepartureStage::Counting(Key::ZERO),
            blocks: 0,
            saved: 0,
            told: 0,
            heirs: BTreeMap::new(),
            unasked: VecDeque::new(),
            further: Further::default(),
            full: BTreeSet::new(),
        });
        self.go_on(desk);
    }

    /// A peer that is gone is waited for no longer, and no peer where this one is to leave at once.
    fn on_news(&mut self, desk: &mut Desk, news: News<'_>) {
        let Some(handover) = &mut self.0 else { return };
        match news {
            News::Down(peer) => {
                let was_heir = handover.heirs.contains_key(&peer.id);
                handover.pass_over(&peer.id);
                if was_heir {
                    self.go_on(desk);
                }
            }
            News::Leaving { handover: false } => {
                handover.deadline = desk.now();
                self.go_on(desk);
            }
            _ => {}
        }
    }

    fn on_tick(&mut self, desk: &mut Desk) {
        if self.0.as_ref().is_some_and(|handover| handover.wake(desk) <= desk.now()) {
            self.go_on(desk);
        }
    }

    fn next_wake(&self, desk: &Desk) -> Option<Time> {
        self.0.as_ref().map(|handover| handover.wake(desk))
    }
}

impl Departure {
    /// Goes on to the next heirs, once those before are done; says goodbye when none is left, or when time is up.
    fn go_on(&mut self, desk: &mut Desk) {
        let Some(handover) = &mut self.0 else { return };
        if handover.work(desk) {
            return;
        }
        let &mut Handover { command, hands_over: offered, alone, blocks, saved, .. } = handover;
        self.0 = None;
        desk.say_goodbye();
        let (left_behind, kept) = (blocks.saturating_sub(saved), desk.config().lasting);
        let handed_over = blocks - left_behind;
        desk.answer(command, Answer::Left { handed_over, left_behind, offered, kept, alone });
    }
}

impl Handover {
    /// When the next turn is wanted.
    fn wake(&self, desk: &Desk) -> Time {
        let is_waiting = matches!(self.stage, DepartureStage::Handing) && self.unasked.is_empty();
        if is_waiting { self.deadline } else { desk.now() }
    }

    /// Does what is next, as much as one turn may. Whether anything is left.
    fn work(&mut self, desk: &mut Desk) -> bool {
        if let DepartureStage::Counting(from) = self.stage {
            // Where time is up there may be no further turn.
            let looks = if desk.now() < self.deadline { LOOKS_A_TURN } else { usize::MAX };
            let (count, next) = desk.holdings().count_only_here(&from, looks);
            self.blocks += count;
            if let Some(next) = next {
                self.stage = DepartureStage::Counting(next);
                return true;
            }
            self.stage = DepartureStage::Handing;
            if self.hands_over && self.blocks > 0 {
                desk.progress(self.command, Progress::HandedOver { blocks: 0, of: self.blocks });
            }
        }
        if !self.hands_over || desk.now() >= self.deadline {
            return false;
        }
        if matches!(self.stage, DepartureStage::Handing) && self.heirs.is_empty() {
            self.stage = DepartureStage::Choosing;
        }
        if !self.find_heirs(desk) {
            return true;
        }
        let some = self.unasked.len().min(begun_a_turn(desk.holdings().len()));
        for id in self.unasked.drain(..some).collect::<Vec<_>>() {
            self.go_on_with(desk, &id);
        }
        !self.heirs.is_empty()
    }

    /// Tells how many blocks were handed over, when these are more than were told.
    fn tell(&mut self, desk: &mut Desk) {
        if self.saved > self.told {
            self.told = self.saved;
            desk.progress(self.command, Progress::HandedOver { blocks: self.saved, of: self.blocks });
        }
    }

    /// An heir has these blocks.
    fn save<'a>(&mut self, desk: &mut Desk, keys: impl IntoIterator<Item = &'a Key>) {
        let news = keys.into_iter().filter(|key| desk.found_copy(key)).count();
        self.saved += news as u64;
    }

    /// Goes on to look for the peers that should hold what this one alone holds. Whether all are found.
    fn find_heirs(&mut self, desk: &Desk) -> bool {
        if !matches!(self.stage, DepartureStage::Choosing) {
            return true;
        }
        let Some(shares) = self.further.find(desk, usize::MAX) else { return false };
        self.stage = DepartureStage::Handing;
        let left = self.blocks.saturating_sub(self.saved);
        for (id, (peer, shares)) in shares {
            let comparison = Comparison::new(&shares, left as usize);
            self.unasked.push_back(id);
            self.heirs.insert(id, Heir::new(peer, comparison));
        }
        true
    }

    /// Nothing can be left to this peer: it is asked no more.
    fn pass_over(&mut self, id: &Id) {
        self.heirs.remove(id);
        self.further.leave_out(*id);
    }

    /// Compares with an heir, and offers it what it lacks. It is let go when nothing is left.
    fn go_on_with(&mut self, desk: &mut Desk, id: &Id) {
        let others_take = self.heirs.iter().any(|(other, heir)| other != id && heir.offers > 0);
        let Some(heir) = self.heirs.get_mut(id) else { return };
        while heir.offers < WINDOW
            && let Some(key) = heir.lacking.pop_front()
        {
            heir.offer(desk, key);
        }
        // Any peer can say that nothing is missing. Of what it holds it shows one block, and cannot know which.
        if heir.pledge.is_none()
            && (heir.chances == CHANCES || !others_take)
            && let Some(key) = desk.any_to_show(&heir.claimed)
        {
            if heir.offer(desk, key) {
                heir.pledge = Some(key);
            } else {
                heir.claimed.clear();
            }
        }
        if !heir.lacking.is_empty() || heir.comparison.is_asking() || !heir.claimed.is_empty() {
            return;
        }
        match heir.comparison.next(desk.holdings()) {
            Some(request) => desk.ask(Ticket::of(PartId::Departure, 0), heir.peer, request),
            None if heir.offers == 0 => drop(self.heirs.remove(id)),
            None => {}
        }
    }

    /// An heir answered what it was asked.
    fn on_compared(&mut self, desk: &mut Desk, id: &Id, answer: Result<Response, Refusal>) {
        let Some(heir) = self.heirs.get_mut(id) else { return };
        let is_full = self.full.contains(id);
        let found = |key: &Key, held: bool| {
            if !held {
                heir.lacking.extend((!is_full).then_some(*key));
            } else if desk.holdings().is_only_here(key) {
                heir.claimed.push(*key);
            }
        };
        if !heir.comparison.hear(answer, found) {
            self.pass_over(id);
        }
    }

    /// An heir took a block, or did not.
    fn on_offer_ended(&mut self, desk: &mut Desk, id: &Id, key: Key, result: Result<Taken, Refusal>) {
        let shown = self.heirs.get_mut(id).and_then(|heir| heir.shown(&key, &result));
        match (shown, &result) {
            (Some(claimed), Ok(Taken::Had)) => self.save(desk, &claimed),
            // That is no fault of the heir's: it may still take what others lack.
            (Some(_), Ok(Taken::Unclear) | Err(Refusal::Unjudged(_))) => {}
            // An heir that had to pull what it said it held may throw it away again.
            (Some(_), _) => return self.pass_over(id),
            (None, Ok(_)) => self.save(desk, [&key]),
            (None, Err(_)) => {}
        }
        let Some(heir) = self.heirs.get_mut(id) else { return };
        heir.offers = heir.offers.saturating_sub(1);
        match result {
            Err(Refusal::Leaving) => self.pass_over(id),
            Err(Refusal::Full | Refusal::Disk) => {
                heir.lacking.clear();
                self.full.insert(*id);
            }
            _ => {}
        }
    }
}

impl Heir {
    fn new(peer: Peer, comparison: Comparison) -> Self {
        let (lacking, claimed) = (VecDeque::new(), Vec::new());
        Self { peer, comparison, lacking, offers: 0, claimed, pledge: None, chances: CHANCES }
    }

    /// Offers it a block, if that is still wanted. Whether it was offered.
    fn offer(&mut self, desk: &mut Desk, key: Key) -> bool {
        let Some(size) = desk.wanted_size(&key) else { return false };
        self.offers += 1;
        desk.offer_held(Ticket::block(PartId::Departure, key), Urgency::Others, (key, size), self.peer);
        true
    }

    /// Something has become of the offer of this block. If the heir was to show it: what it says that it holds, but
    /// nothing yet if it is to show another one.
    fn shown(&mut self, key: &Key, result: &Result<Taken, Refusal>) -> Option<Vec<Key>> {
        self.pledge.take_if(|pledged| pledged == key)?;
        if *result == Ok(Taken::Unclear) && self.chances > 1 {
            self.chances -= 1;
            return Some(Vec::new());
        }
        Some(std::mem::take(&mut self.claimed))
    }
}
