//! Leases: what is told of them is written down, and blocks that no lease keeps any more go.
//!
//! A block whose leases have all ended stays for a grace ([`Config::grace`](crate::config::Config::grace)), so that a
//! lease that is renewed late, or on its way, finds it. After that it is deleted. As its other holders do the same, no
//! peer offers it again; and a peer that slept through the end of a lease is told its secret when it offers such a
//! block.
//!
//! Leases end by the clock with which a peer was started, and that may be wrong. So nothing goes before the peer has
//! run for the grace; nor for a day, if by the clock it was off for more than one. By then its neighbours have compared
//! what they hold, and offered what by their clocks is wanted: that stays as long as they do so
//! ([`hold_back`](crate::node::holdings::Holdings::hold_back)).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::REPUBLISH_INTERVAL;
use crate::id::Key;
use crate::lease::{LeaseId, UnixTime};
use crate::node::budget::{Favour, Favours};
use crate::node::desk::Desk;
use crate::node::job::{Outcome, Urgency};
use crate::node::notice::Notice;
use crate::node::part::Part;
use crate::node::refusal::Refusal;
use crate::node::ticket::{About, News, PartId, Reply, Ticket};
use crate::overlay::Asker;
use crate::source::{Subnet, leaves_enough};
use crate::time::Time;
use crate::wire::{Request, RequestKind, Response};

/// Blocks that are looked at in one turn of the node: what others ask for waits behind them. A turn begins only while
/// fewer deletions are under way than this, so at most one less than twice as many ever are.
const BLOCKS_A_TURN: usize = 256;

/// Requests of others that are answered in a second, in all.
const LEASE_REQUESTS_A_SECOND: u32 = 800;

/// An answer counts as one more request for each so many looks that it took.
const LOOKS_A_REQUEST: usize = 256;

/// A peer that was off for longer by its clock may have a clock that is wrong.
const LONG_OFF: Duration = Duration::from_secs(24 * 3600);

/// Requests whose news is being written down at a time.
const NEWS_AT_ONCE: usize = 64;

/// What this peer owes to the leases on its blocks.
#[derive(Default)]
pub(in crate::node) struct LeaseKeeping {
    /// Requests whose news is being written down, and the leases that they are about.
    noting: BTreeMap<u64, (Asker, Favour, Vec<LeaseId>)>,
    next: u64,
    /// Where to go on with looking for blocks that no lease keeps; none while that is over.
    sweep: Option<Key>,
    /// Leases that ended up to then have been looked for.
    swept: UnixTime,
    /// No block is dropped before this time.
    patient: Time,
    /// When it is to be looked again for blocks that stay for now.
    again: Option<Time>,
    answers: Favours<LEASE_REQUESTS_A_SECOND>,
}

impl Part for LeaseKeeping {
    fn on(&mut self, desk: &mut Desk, ticket: Ticket, reply: Reply) {
        let outcome = match reply {
            Reply::Done { outcome, .. } => outcome,
            // Not only of those who ask about leases: a peer that wants any favour is pinged in this part's name.
            Reply::Answer(answered) => return desk.end_proof(&answered.to.addr),
            Reply::Silence { to, .. } => return desk.end_proof(&to.addr),
            _ => return,
        };
        match (ticket.about, outcome) {
            (About::Block(key), Outcome::Done) => desk.notify(Notice::BlockEnded { key }),
            (About::Block(_), _) => self.look_again(desk),
            (About::Item(number), outcome) => {
                let Some((asker, favour, leases)) = self.noting.remove(&number) else { return };
                match outcome {
                    Outcome::Failed(_) => desk.refuse(&asker, "the disk refused to note it"),
                    _ => self.answer(desk, (&asker, favour), &leases),
                }
            }
            _ => {}
        }
    }

    /// A peer tells of leases.
    fn on_request(&mut self, desk: &mut Desk, asker: Asker, request: Request) {
        let Request::Lease(news) = request else { return };
        if desk.is_leaving() {
            return desk.refuse(&asker, Refusal::Leaving);
        }
        // The same request again is its sender's retry: the one answer will do.
        if self.noting.values().any(|(known, ..)| known.is_same(&asker)) {
            return;
        }
        if !desk.has_proof(&asker) {
            return;
        }
        let favour = if self.has_place(desk, &asker) { desk.grant(&mut self.answers, &asker, 1) } else { None };
        let Some(favour) = favour else { return desk.refuse(&asker, Refusal::Busy) };
        let (about, notes) = (news.ids(), desk.change_leases(&news, Some(asker.addr)));
        if notes.is_empty() {
            return self.answer(desk, (&asker, favour), &about);
        }
        self.next += 1;
        self.noting.insert(self.next, (asker, favour, about));
        let ticket = Ticket { owner: PartId::Leases, number: 0, about: About::Item(self.next) };
        desk.note(ticket, Urgency::Others, notes);
    }

    fn on_tick(&mut self, desk: &mut Desk) {
        if desk.is_leaving() {
            return;
        }
        let (now, grace) = (desk.unix_time(), desk.config().grace);
        if self.sweep.is_none() && self.due(desk).is_some_and(|due| due <= desk.now()) {
            self.sweep = Some(Key::ZERO);
            self.again = None;
            self.swept = now.saturating_sub(grace.as_secs());
        }
        if let Some(from) = self.sweep.filter(|_| desk.holdings().deleting() < BLOCKS_A_TURN) {
            let (over, next) = desk.holdings().over(&from, BLOCKS_A_TURN, grace);
            for key in over {
                if desk.holdings().is_coming(&key) {
                    // An offer may be about to keep it on.
                    self.look_again(desk);
                } else if desk.holds(&key) {
                    desk.delete(Ticket::block(PartId::Leases, key), Urgency::Others, key);
                }
            }
            self.sweep = next;
            if next.is_none() && desk.holds_back() {
                self.look_again(desk);
            }
        }
    }

    fn on_news(&mut self, desk: &mut Desk, news: News<'_>) {
        if let News::StoreRead { off, .. } = news {
            let is_long = Duration::from_secs(off) > LONG_OFF;
            self.patient = desk.now() + if is_long { desk.config().grace.max(LONG_OFF) } else { desk.config().grace };
        }
    }

    fn next_wake(&self, desk: &Desk) -> Option<Time> {
        if desk.is_leaving() {
            return None;
        }
        match self.sweep {
            Some(_) => (desk.holdings().deleting() < BLOCKS_A_TURN).then(|| desk.now()),
            None => self.due(desk),
        }
    }

    fn under_way(&self) -> usize {
        self.noting.len() + usize::from(self.sweep.is_some())
    }
}

impl LeaseKeeping {
    /// Whether one more request may have news written down: strangers of one source leave as many places as they have.
    fn has_place(&self, desk: &Desk, asker: &Asker) -> bool {
        let source = |asker: &Asker| Subnet::of(asker.addr);
        let of_source = self.noting.values().filter(|(other, ..)| source(other) == source(asker)).count();
        let left = NEWS_AT_ONCE.saturating_sub(self.noting.len());
        left > 0 && (leaves_enough(of_source as u64, 1, left as u64) || desk.knows(&asker.addr))
    }

    /// What stays for now is looked at again.
    fn look_again(&mut self, desk: &Desk) {
        self.again = Some(desk.now() + REPUBLISH_INTERVAL);
    }

    /// Tells how many blocks carry these leases, and how many of them no lease keeps any more.
    fn answer(&mut self, desk: &mut Desk, (asker, favour): (&Asker, Favour), leases: &[LeaseId]) {
        let (blocks, free, looks) = desk.holdings().leased(leases);
        self.answers.charge(desk.now(), favour, (looks / LOOKS_A_REQUEST) as u32);
        desk.respond(asker, RequestKind::Lease, Response::Leased { blocks, free });
    }

    /// When blocks are to be looked for that no lease keeps any more.
    fn due(&self, desk: &Desk) -> Option<Time> {
        let end = desk.holdings().all_leases().next_end(self.swept).map(|end| {
            let left = (end + desk.config().grace.as_secs()).saturating_sub(desk.unix_time());
            desk.now() + Duration::from_secs(left)
        });
        end.into_iter().chain(self.again).min().map(|due| due.max(self.patient))
    }
}
