//! The peers that this one can connect to: a copy that no peer can fetch is none.
//!
//! Datagrams get through where connections do not: past a firewall, or to an address that is translated. A peer there
//! pulls what it is offered, and no peer can have it back from there. So a peer that is offered a block is *dialled*
//! while it pulls: a connection is made, and closed again. Its copy [counts](super::claims) once one came about. That
//! is remembered for an hour, so that two peers pay for one handshake in that time; any other connection shows as much.
//! A peer that cannot be connected to is dialled again, ever more rarely, as long as it is known.
//!
//! Where offers themselves go over connections, as they do on the ring, there is nothing to find out.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use super::Desk;
use crate::node::job::{Job, JobId, Outcome, Urgency};
use crate::node::jobs::Jobs;
use crate::node::refusal::Refusal;
use crate::node::ticket::{News, PartId, Ticket};
use crate::node::trouble::Trouble;
use crate::recent::Recent;
use crate::time::Time;

/// How long a connection shows that its receiver can be connected to, and how many addresses that is remembered of.
const REACHED_FOR: Duration = Duration::from_secs(3600);
const WAYS_KEPT: usize = 1024;

/// An address that could not be connected to is dialled again after this long, and after twice as long each time, up to
/// that.
const FIRST_RETRY: Duration = Duration::from_secs(10);
const LAST_RETRY: Duration = Duration::from_secs(300);

/// Addresses that no connection came about to and that are remembered at most.
const MAX_SHUT: usize = 256;

/// Addresses that are dialled at a time: where nothing answers that takes seconds. And those that wait for their turn.
const DIALS: usize = 8;
const MAX_UNDIALLED: usize = 256;

/// The ticket under which peers are dialled.
const REACH_TICKET: Ticket = Ticket::of(PartId::Reach, 0);

/// What is known of the ways to other peers.
#[derive(Default)]
pub(super) struct Reach {
    /// When a connection to each address came about last.
    reached: Recent<SocketAddr, Time, WAYS_KEPT>,
    shut: BTreeMap<SocketAddr, Shut>,
    /// When it was told of each address that no connection to it comes about.
    told: Recent<SocketAddr, Time, WAYS_KEPT>,
    dials: BTreeMap<JobId, SocketAddr>,
    queue: VecDeque<(SocketAddr, Urgency)>,
}

/// No connection to an address came about.
struct Shut {
    /// When it is dialled again, and how long that was put off.
    again: Time,
    wait: Duration,
}

impl Reach {
    fn state(&self, now: Time, addr: &SocketAddr) -> Option<bool> {
        if self.shut.contains_key(addr) {
            return Some(false);
        }
        self.reached.get(addr).filter(|at| now.since(**at) < REACHED_FOR).map(|_| true)
    }

    /// Has an address dialled when its turn comes. False if too many wait.
    fn line_up(&mut self, addr: SocketAddr, urgency: Urgency) -> bool {
        let is_dialled = self.dials.values().any(|other| *other == addr);
        if is_dialled || self.queue.iter().any(|(other, _)| *other == addr) {
            return true;
        }
        let has_room = self.queue.len() < MAX_UNDIALLED;
        if has_room {
            self.queue.push_back((addr, urgency));
        }
        has_room
    }

    fn on_shut(&mut self, now: Time, addr: SocketAddr) {
        let Shut { wait, .. } = self.shut.remove(&addr).unwrap_or(Shut { again: now, wait: FIRST_RETRY / 2 });
        if self.shut.len() >= MAX_SHUT {
            // The address that is least likely to be open by now.
            let longest = self.shut.iter().max_by_key(|(_, shut)| (shut.wait, shut.again)).map(|(addr, _)| *addr);
            longest.map(|addr| self.shut.remove(&addr));
        }
        let wait = (wait * 2).min(LAST_RETRY);
        self.shut.insert(addr, Shut { again: now + wait, wait });
    }

    /// Whether it will be known if `addr` can be connected to.
    pub(super) fn is_dialled(&self, addr: &SocketAddr) -> bool {
        self.dials.values().chain(self.queue.iter().map(|(queued, _)| queued)).any(|other| other == addr)
    }

    fn check(&self, jobs: &Jobs) -> Result<(), String> {
        if let Some((job, addr)) = self.dials.iter().find(|(job, _)| !jobs.is_ordered(**job)) {
            return Err(format!("{addr} is dialled by job {job:?}, which nobody does"));
        }
        let (dials, queued, shut) = (self.dials.len(), self.queue.len(), self.shut.len());
        let is_right = dials <= DIALS && (dials == DIALS || queued == 0) && queued <= MAX_UNDIALLED && shut <= MAX_SHUT;
        is_right.then_some(()).ok_or_else(|| format!("{dials} dials, {queued} wait for one, {shut} are shut"))
    }

    fn next_wake(&self) -> Option<Time> {
        self.shut.values().map(|shut| shut.again).min()
    }
}

impl Desk {
    /// Whether the peer at `addr` can be connected to, as far as that is known.
    pub(crate) fn connects_to(&self, addr: &SocketAddr) -> Option<bool> {
        if self.exchange.connects_to_offer() { Some(true) } else { self.reach.state(self.now(), addr) }
    }

    /// Whether no connection to `addr` comes about: no peer can have what is kept there.
    pub(crate) fn is_shut(&self, addr: &SocketAddr) -> bool {
        self.connects_to(addr) == Some(false)
    }

    /// A peer came to this address: what another one there did tells nothing about it.
    pub(in crate::node) fn forgive(&mut self, addr: SocketAddr) {
        self.exchange.forgive(addr);
        self.reach.shut.remove(&addr);
    }

    /// Peers that cannot be connected to.
    pub(crate) fn shut(&self) -> usize {
        self.reach.shut.len()
    }

    /// Finds out whether the peer at `addr` can be connected to, if that is not known. False if too many wait for that.
    pub(crate) fn dial(&mut self, addr: SocketAddr, urgency: Urgency) -> bool {
        let will_be_known = self.connects_to(&addr).is_some() || self.reach.line_up(addr, urgency);
        self.dial_next();
        will_be_known
    }

    /// Dials as many as may be at a time.
    fn dial_next(&mut self) {
        while self.reach.dials.len() < DIALS
            && let Some((to, urgency)) = self.reach.queue.pop_front()
        {
            let job = self.order(REACH_TICKET, Job::Dial { to }, urgency);
            self.reach.dials.insert(job, to);
        }
    }

    /// That a copy at `addr` does not count is told once an hour at most, however often a peer comes and goes there.
    pub(super) fn tell_of_shut(&mut self, addr: SocketAddr) {
        let now = self.now();
        let is_new = self.reach.told.get(&addr).is_none_or(|told| now.since(*told) >= REACHED_FOR);
        if is_new && self.reach.shut.contains_key(&addr) {
            self.reach.told.insert(addr, now);
            self.trouble(Trouble::Shut { addr });
        }
    }
}

impl Desk {
    /// A connection to `addr` came about.
    pub(in crate::node) fn on_connected(&mut self, addr: SocketAddr) {
        self.exchange.validate(addr);
        let before = self.connects_to(&addr);
        self.reach.shut.remove(&addr);
        self.reach.reached.insert(addr, self.exchange.now());
        if before != Some(true) {
            self.tell_of_way(addr, None);
        }
    }

    /// A dial is over: those are told who wait for it.
    pub(in crate::node) fn on_dialled(&mut self, job: JobId, outcome: &Outcome) {
        let Some(addr) = self.reach.dials.remove(&job) else { return };
        match outcome {
            // What fails here tells nothing about the other.
            Outcome::Failed(error) if error.kind.is_our_own() => {
                self.tell_of_way(addr, Some(&Refusal::Unjudged(error.reason.clone())));
            }
            // Another connection came about meanwhile.
            Outcome::Failed(_) if self.connects_to(&addr) == Some(true) => {}
            Outcome::Failed(_) => {
                self.reach.on_shut(self.exchange.now(), addr);
                self.tell_of_way(addr, Some(&Refusal::Shut));
            }
            _ => self.on_connected(addr),
        }
        self.dial_next();
    }

    /// Dials those again who could not be connected to, if they are still known.
    pub(in crate::node) fn dial_again(&mut self) {
        let now = self.now();
        let mut due = Vec::new();
        for (addr, shut) in self.reach.shut.iter_mut().filter(|(_, shut)| shut.again <= now) {
            // What becomes of the dial says when the next one is; where there is no room for it that is later too.
            shut.again = now + shut.wait;
            due.push(*addr);
        }
        for addr in due {
            if self.knows(&addr) {
                self.reach.line_up(addr, Urgency::Others);
            } else {
                self.reach.shut.remove(&addr);
            }
        }
        self.dial_next();
    }

    /// When a peer is to be dialled again.
    pub(in crate::node) fn reach_wake(&self) -> Option<Time> {
        self.reach.next_wake()
    }

    /// What must be true of dials between any two events: what is waited for comes.
    pub(in crate::node) fn check_reach(&self) -> Result<(), String> {
        self.reach.check(&self.jobs)
    }

    /// What is known of the way to `addr` has changed, or cannot be known now.
    fn tell_of_way(&mut self, addr: SocketAddr, refusal: Option<&Refusal>) {
        self.judge_unreached(addr, refusal);
        self.tell_all(News::Dialled(addr));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_addresses_wait_to_be_dialled_than_there_is_room_for_and_each_waits_once() {
        let mut reach = Reach::default();
        let addr = |n: usize| SocketAddr::from(([10, 0, 0, 1], n as u16 + 1));
        let lined_up = (0..2 * MAX_UNDIALLED).filter(|n| reach.line_up(addr(*n), Urgency::Others)).count();
        assert_eq!((lined_up, reach.queue.len()), (MAX_UNDIALLED, MAX_UNDIALLED));
        assert!(reach.line_up(addr(0), Urgency::Own) && reach.queue.len() == MAX_UNDIALLED);
    }

    #[test]
    fn where_too_many_cannot_be_connected_to_the_one_is_forgotten_that_was_put_off_longest() {
        let mut reach = Reach::default();
        let addr = |n: usize| SocketAddr::from(([10, 0, 0, 1], n as u16 + 1));
        (0..MAX_SHUT).for_each(|n| reach.on_shut(Time::ZERO, addr(n)));
        (0..3).for_each(|_| reach.on_shut(Time::ZERO, addr(7)));
        reach.on_shut(Time::ZERO, addr(MAX_SHUT));
        let forgotten: Vec<usize> = (0..=MAX_SHUT).filter(|n| !reach.shut.contains_key(&addr(*n))).collect();
        assert_eq!(forgotten, [7]);
    }
}
