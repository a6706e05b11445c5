//! Bringing back blocks that were found damaged here, from the other peers that hold them.
//!
//! A block that was here when this peer began may have been damaged while it was down. So all of them are looked at
//! then, one after another; a block that another peer is told of is looked at before its turn comes: that peer may
//! count on it.
//!
//! A damaged block leaves the list of what is held, so the next comparisons tell the others that it is missing here.
//! They may come an hour later, and until then the others count this peer as a holder. So the block's return is its own
//! duty.
//! If no other peer can be found that has the block, one may be out of reach, or too slow to answer in time. So it is
//! looked for again, ever more rarely, and given up after [`patience::HEALS`]; the hourly checks of its other holders
//! remain.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::comparison::LOOKS_A_TURN;
use crate::agenda::Agenda;
use crate::config::{MAX_REPAIRS, REPAIR_RETRY, REPUBLISH_INTERVAL};
use crate::id::Key;
use crate::lease::Lease;
use crate::node::around::Around;
use crate::node::desk::Desk;
use crate::node::job::{Holder, Job, Outcome, Urgency};
use crate::node::part::Part;
use crate::node::ticket::{About, News, PartId, Reply, Ticket};
use crate::node::trouble::Trouble;
use crate::overlay::Goal;
use crate::patience;
use crate::peer::Peer;
use crate::time::Time;

/// Blocks that are looked at at a time: others' blocks on their way here go first.
const MAX_LOOKS: usize = 4;

/// Blocks that were here when a peer began are looked at this much later: a start has enough to do.
const LOOKS_BEGIN: Duration = Duration::from_secs(10);

/// The damaged blocks, each until it is back or given up.
#[derive(Default)]
pub(in crate::node) struct Heal {
    running: BTreeMap<Key, Attempt>,
    /// The blocks that wait, and when each is looked for next.
    waiting: Agenda<Key, LostBlock>,
    looks: usize,
    /// When the blocks that were here when this peer began are looked at.
    looks_begin: Option<Time>,
    /// Where to go on to look at what was here when this peer began; none if that is over.
    unseen: Option<Key>,
}

/// A block that is not here any more.
#[derive(Clone)]
struct LostBlock {
    /// Bytes of the file that was damaged.
    size: u32,
    /// What it was kept for.
    leases: Vec<Lease>,
    /// Attempts made to bring it back.
    attempts: u32,
}

struct Attempt {
    lost: LostBlock,
    /// Holders that were not tried yet.
    holders: VecDeque<Peer>,
    /// The block is being pulled from one.
    pulls: bool,
    /// Others may hide them: the second attempt asks around the block's key too.
    around: Around,
    /// Peers that the lookup found.
    found: usize,
}

impl Part for Heal {
    fn on(&mut self, desk: &mut Desk, ticket: Ticket, reply: Reply) {
        match (ticket.about, reply) {
            (About::Block(key), Reply::Holder(peer)) => {
                if let Some(attempt) = self.running.get_mut(&key) {
                    attempt.holders.push_back(peer);
                }
            }
            (About::Block(key), Reply::Found(found)) => {
                if let Some(attempt) = self.running.get_mut(&key) {
                    attempt.found = found.peers.len();
                    attempt.holders.retain(|holder| !desk.is_me(holder));
                }
                self.pull(desk, key);
            }
            (About::AroundBlock(key), reply) => {
                let Some(attempt) = self.running.get_mut(&key) else { return };
                let holder = attempt.around.on(desk, ticket, key, reply);
                attempt.holders.extend(holder);
                // The rest of the look is not waited for.
                if !attempt.pulls && (!attempt.holders.is_empty() || !attempt.around.is_under_way()) {
                    self.pull(desk, key);
                }
            }
            (About::Block(key), Reply::Done { outcome, .. }) => self.on_pulled(desk, key, &outcome),
            // A block was looked at; what is damaged was told already.
            (_, Reply::Done { .. }) => {
                self.looks -= 1;
                self.look_on(desk);
            }
            _ => {}
        }
    }

    fn on_news(&mut self, desk: &mut Desk, news: News<'_>) {
        match news {
            News::Damaged { key, size, leases } => {
                self.begin(desk, *key, LostBlock { size, leases: leases.to_vec(), attempts: 0 })
            }
            News::MaybeMissing(key) => self.look_at(desk, *key),
            News::StoreRead { .. } => self.looks_begin = Some(desk.now() + LOOKS_BEGIN),
            // It is here again by another way, or not wanted any more. An attempt under way ends by itself.
            News::Held(key) | News::Dropped(key) => drop(self.waiting.remove(key)),
            _ => {}
        }
    }

    /// Starts the attempts that are due.
    fn on_tick(&mut self, desk: &mut Desk) {
        if self.looks_begin.is_some_and(|due| due <= desk.now()) {
            self.looks_begin = None;
            self.unseen = Some(Key::ZERO);
            self.look_on(desk);
        }
        while self.running.len() < MAX_REPAIRS && !desk.is_leaving() {
            let Some((key, lost)) = self.waiting.pop_due(desk.now()) else { break };
            let lost = LostBlock { attempts: lost.attempts + 1, ..lost };
            let (holders, around) = (VecDeque::new(), Around::default());
            self.running.insert(key, Attempt { lost, holders, pulls: false, around, found: 0 });
            desk.look_up(Ticket::block(PartId::Heal, key), key, Goal::Holders);
        }
    }

    fn next_wake(&self, desk: &Desk) -> Option<Time> {
        let due = self.waiting.next_due().filter(|_| self.running.len() < MAX_REPAIRS);
        due.into_iter().chain(self.looks_begin).min().filter(|_| !desk.is_leaving())
    }

    fn under_way(&self) -> usize {
        self.running.len()
    }

    fn check(&self, _desk: &Desk) -> Result<(), String> {
        self.waiting.check()?;
        let few = self.running.len() <= MAX_REPAIRS && self.looks <= MAX_LOOKS;
        few.then_some(()).ok_or_else(|| "more damaged blocks are looked for at a time than may be".to_owned())
    }
}

impl Heal {
    /// Another peer was told that a block is here, or did not get it. Is it? With many at a time, another one will ask
    /// for the rest.
    fn look_at(&mut self, desk: &mut Desk, key: Key) {
        if self.looks < MAX_LOOKS {
            self.looks += 1;
            desk.see(&key);
            desk.order(Ticket::of(PartId::Heal, 0), Job::Verify { key, leases: Vec::new() }, Urgency::Others);
        }
    }

    /// Looks at the next block that was here when this peer began: at one of them at a time.
    fn look_on(&mut self, desk: &mut Desk) {
        if self.looks == 0
            && !desk.is_leaving()
            && let Some(from) = self.unseen
        {
            self.unseen = desk.holdings().unseen_from(&from, LOOKS_A_TURN);
            if let Some(key) = self.unseen {
                self.look_at(desk, key);
            }
        }
    }

    /// A block was found damaged.
    fn begin(&mut self, desk: &mut Desk, key: Key, lost: LostBlock) {
        self.waiting.remove(&key);
        if !self.running.contains_key(&key) {
            self.waiting.set(key, desk.now(), lost);
            self.on_tick(desk);
        }
    }

    fn pull(&mut self, desk: &mut Desk, key: Key) {
        let Some(attempt) = self.running.get_mut(&key) else { return };
        attempt.pulls = false;
        if let Some(peer) = attempt.holders.pop_front().filter(|_| !desk.holds(&key)) {
            let mut pull = |size| {
                let ticket = Ticket::block(PartId::Heal, key);
                desk.take_in(ticket, Urgency::Others, (key, size), &attempt.lost.leases, Holder::Peer(peer.addr))
            };
            // What was damaged may have been cut. Only where there is no room for more, it must be what it was.
            let size = attempt.lost.size;
            if pull(None).or_else(|_| pull(Some(size))).is_ok() {
                attempt.pulls = true;
                return;
            }
        }
        let around = Ticket { about: About::AroundBlock(key), ..Ticket::block(PartId::Heal, key) };
        let looks_around = attempt.lost.attempts == 2 && !desk.holds(&key) && !desk.is_leaving();
        if looks_around && attempt.around.begin(desk, around, key, attempt.found) || attempt.around.is_under_way() {
            return;
        }
        let lost = attempt.lost.clone();
        self.running.remove(&key);
        if desk.holds(&key) {
            // Another peer offered it meanwhile.
        } else if lost.attempts < patience::HEALS {
            let pause = patience::doubled(desk.jittered(REPAIR_RETRY), lost.attempts - 1, REPUBLISH_INTERVAL);
            self.waiting.set(key, desk.now() + pause, lost);
        } else {
            desk.trouble(Trouble::Lost { key });
        }
        self.on_tick(desk);
    }

    /// A pull in place of a damaged block is over.
    fn on_pulled(&mut self, desk: &mut Desk, key: Key, outcome: &Outcome) {
        if matches!(outcome, Outcome::Stored { .. }) {
            if let Some(mut attempt) = self.running.remove(&key) {
                attempt.around.cancel(desk);
            }
            self.on_tick(desk);
        } else {
            self.pull(desk, key);
        }
    }
}
