//! Which of the blocks that are offered is pulled next.
//!
//! Places are shared by who asks for them: first by [`Subnet`], then by address. While all are taken, a newcomer
//! displaces the block that was queued last by the source that has most; where each source has one, that of an address
//! that has not delivered. Sources take turns, those from which nothing was pulled first, in the order in which they
//! came. An address that has not delivered yet gets few places at a time, all such addresses leave a share to those
//! that have, and those of a source whose last pull failed have one place between them: a source that offers much and
//! sends nothing holds up only itself. An address to which no connection comes about is [shunned](PullQueue::shun) for
//! a while: what it offers waits for nothing.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use crate::config::{MAX_JOBS, MAX_PULLS, VALIDATED_MEMORY};
use crate::id::Key;
use crate::recent::Recent;
use crate::source::{Giving, Subnet, who_gives_way};
use crate::time::Time;

/// Blocks that one address may have on their way here and waiting.
const MAX_PULLS_OF_ONE: usize = MAX_PULLS / 2;

/// Blocks that are pulled at a time: from all addresses; from those of one source, so that another finds a place; from
/// those that have not delivered.
const PULLS_AT_ONCE: usize = MAX_JOBS * 3 / 4;
const OF_SOURCE: usize = PULLS_AT_ONCE - 2;
const OF_STRANGERS: usize = PULLS_AT_ONCE * 2 / 3;

/// Blocks that are pulled at a time from an address whose last one arrived, and from any other.
const SHARE: usize = MAX_JOBS / 2;
const SHARE_AT_FIRST: usize = 2;

/// Blocks that are pulled at a time from all addresses of a source that have not delivered: as long as none of them has
/// failed, and after that until one delivers.
const STRANGERS_OF_SOURCE: usize = 4;
const STRANGERS_OF_FAILED: usize = 1;

/// How long nothing is pulled from an address that no connection comes about to: each try takes seconds.
const SHUNNED: Duration = Duration::from_secs(10);

/// Blocks that are pulled and blocks that wait for it, by where they come from. At most [`MAX_PULLS`].
#[derive(Default)]
pub(super) struct PullQueue {
    lines: BTreeMap<SocketAddr, AddressQueue>,
    sources: BTreeMap<Subnet, SourceLoad>,
    /// Blocks in all lines.
    count: usize,
    running: usize,
    /// Those of them whose addresses had not delivered.
    strangers: usize,
    /// Whether the last block from an address arrived as it should.
    delivered: Recent<SocketAddr, bool, VALIDATED_MEMORY>,
    /// Whether the last pull from an untried address of this source arrived.
    trusted: Recent<Subnet, bool, VALIDATED_MEMORY>,
    /// Until when nothing is pulled from each address.
    shunned: Recent<SocketAddr, Time, VALIDATED_MEMORY>,
    /// Grows with each pull that begins.
    turn: u64,
    /// Grows with each block that takes a place.
    entered: u64,
}

/// The blocks of an address.
#[derive(Default)]
struct AddressQueue {
    /// For each that is pulled, whether the address had delivered before.
    running: BTreeMap<Key, bool>,
    waiting: VecDeque<Key>,
    /// When the last one began to be pulled.
    turn: u64,
}

/// What the addresses of a source have.
#[derive(Default)]
struct SourceLoad {
    count: usize,
    running: usize,
    strangers: usize,
    turn: u64,
    /// When the first of its blocks took its place.
    entered: u64,
}

impl AddressQueue {
    fn count(&self) -> usize {
        self.running.len() + self.waiting.len()
    }
}

impl PullQueue {
    /// Blocks that are pulled or wait.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Makes room for one more block from this address. Returns the block that loses its place, if one had to, and none
    /// if there is no room.
    pub(super) fn make_room(&mut self, from: SocketAddr) -> Option<Option<Key>> {
        let own = self.lines.get(&from).map_or(0, AddressQueue::count);
        if own >= MAX_PULLS_OF_ONE {
            return None;
        }
        if self.count < MAX_PULLS {
            return Some(None);
        }
        let source = Subnet::of(from);
        let giving = Giving::way(source, self.sources.iter().map(|(source, load)| (*source, load.count)));
        let lines = self.lines.iter().filter(|(_, line)| !line.waiting.is_empty());
        let of = |addr: &SocketAddr| Subnet::of(*addr);
        let waiting = lines.map(|(addr, line)| (*addr, line.count()));
        let giver = match giving {
            Giving::Nobody => who_gives_way(from, waiting.filter(|(addr, _)| of(addr) == source)),
            Giving::Source(_) => waiting
                .filter(|(addr, _)| giving.includes(of(addr)))
                .max_by_key(|(_, count)| *count)
                .map(|(addr, _)| addr),
            // Of those that have one place each, the one that came last: the others are nearer to their turn.
            Giving::Site(_) | Giving::Any => {
                let may_give = |addr: &SocketAddr| giving.includes(of(addr)) && !self.has_delivered(*addr);
                let entered = |addr: &SocketAddr| self.sources.get(&of(addr)).map(|load| load.entered);
                waiting.map(|(addr, _)| addr).filter(may_give).max_by_key(entered)
            }
        }?;
        let displaced = self.lines.get_mut(&giver)?.waiting.pop_back()?;
        self.uncount(giver);
        Some(Some(displaced))
    }

    /// A block takes its place. There is [room](Self::make_room), or it had one before.
    pub(super) fn enter(&mut self, from: SocketAddr, key: Key) {
        self.lines.entry(from).or_default().waiting.push_back(key);
        self.entered += 1;
        let newcomer = SourceLoad { entered: self.entered, ..SourceLoad::default() };
        self.sources.entry(Subnet::of(from)).or_insert(newcomer).count += 1;
        self.count += 1;
    }

    /// The next block that this address may begin to deliver. It counts as being pulled.
    pub(super) fn begin_of(&mut self, from: SocketAddr) -> Option<Key> {
        if !self.may_begin(from) {
            return None;
        }
        let proven = self.has_delivered(from);
        let (line, load) = (self.lines.get_mut(&from)?, self.sources.get_mut(&Subnet::of(from))?);
        let key = line.waiting.pop_front()?;
        line.running.insert(key, proven);
        self.turn += 1;
        (line.turn, load.turn) = (self.turn, self.turn);
        load.running += 1;
        self.running += 1;
        load.strangers += usize::from(!proven);
        self.strangers += usize::from(!proven);
        Some(key)
    }

    /// The address whose turn it is: of the source that was served longest ago.
    pub(super) fn next(&self) -> Option<SocketAddr> {
        let ready = self.lines.iter().filter(|(from, _)| self.may_begin(**from));
        let turn = |from: &SocketAddr| {
            let load = self.sources.get(&Subnet::of(*from));
            load.map_or((0, 0), |load| (load.turn, if load.turn == 0 { load.entered } else { 0 }))
        };
        ready.min_by_key(|(from, line)| (turn(from), line.turn)).map(|(from, _)| *from)
    }

    /// A block is pulled no longer. `arrived` tells what that says about its address, if anything.
    pub(super) fn end(&mut self, from: SocketAddr, key: &Key, arrived: Option<bool>) {
        let source = Subnet::of(from);
        let proven = self.lines.get_mut(&from).and_then(|line| line.running.remove(key));
        if let (Some(proven), Some(load)) = (proven, self.sources.get_mut(&source)) {
            load.running -= 1;
            self.running -= 1;
            load.strangers -= usize::from(!proven);
            self.strangers -= usize::from(!proven);
            self.uncount(from);
        }
        if let Some(arrived) = arrived {
            self.delivered.insert(from, arrived);
            if arrived {
                self.shunned.remove(&from);
            }
            if proven == Some(false) {
                self.trusted.insert(source, arrived);
            }
        }
    }

    /// No connection to this address comes about: those of its blocks that wait and `need` one lose their places, and
    /// are returned.
    pub(super) fn shun(&mut self, now: Time, from: SocketAddr, needs: impl Fn(&Key) -> bool) -> Vec<Key> {
        self.shunned.insert(from, now + SHUNNED);
        let Some(line) = self.lines.get_mut(&from) else { return Vec::new() };
        let (out, stay): (Vec<Key>, Vec<Key>) = line.waiting.drain(..).partition(needs);
        line.waiting = stay.into();
        out.iter().for_each(|_| self.uncount(from));
        out
    }

    pub(super) fn is_shunned(&self, now: Time, from: &SocketAddr) -> bool {
        self.shunned.get(from).is_some_and(|until| now < *until)
    }

    fn uncount(&mut self, from: SocketAddr) {
        let source = Subnet::of(from);
        self.count -= 1;
        if let Some(load) = self.sources.get_mut(&source) {
            load.count -= 1;
            if load.count == 0 {
                self.sources.remove(&source);
            }
        }
        if self.lines.get(&from).is_some_and(|line| line.count() == 0) {
            self.lines.remove(&from);
        }
    }

    /// Whether the last block from this address arrived.
    pub(super) fn has_delivered(&self, from: SocketAddr) -> bool {
        self.delivered.get(&from) == Some(&true)
    }

    /// Whether a source waits from which nothing is pulled.
    pub(super) fn is_crowded(&self) -> bool {
        self.sources.values().any(|load| load.running == 0)
    }

    fn may_begin(&self, from: SocketAddr) -> bool {
        let Some(line) = self.lines.get(&from).filter(|line| !line.waiting.is_empty()) else { return false };
        let source = Subnet::of(from);
        let Some(load) = self.sources.get(&source) else { return false };
        if self.running >= PULLS_AT_ONCE || load.running >= OF_SOURCE {
            return false;
        }
        if self.has_delivered(from) {
            return line.running.len() < SHARE;
        }
        let trusted = self.trusted.get(&source) != Some(&false);
        let of_source = if trusted { STRANGERS_OF_SOURCE } else { STRANGERS_OF_FAILED };
        line.running.len() < SHARE_AT_FIRST && self.strangers < OF_STRANGERS && load.strangers < of_source
    }

    /// Whether every number is what it counts, and none is above its bound.
    pub(super) fn check(&self) -> Result<(), String> {
        let of_lines: usize = self.lines.values().map(AddressQueue::count).sum();
        let of_sources: usize = self.sources.values().map(|load| load.count).sum();
        let running: usize = self.lines.values().map(|line| line.running.len()).sum();
        let idle = self.lines.values().any(|line| line.count() == 0);
        let waits =
            self.next().map_or(Ok(()), |from| Err(format!("{from} may deliver a block and nobody asks for it")));
        (of_lines == self.count
            && of_sources == self.count
            && running == self.running
            && running <= PULLS_AT_ONCE
            && !idle)
            .then_some(())
            .ok_or_else(|| format!("{} blocks from sources, {of_lines} in lines, {running} pulled", self.count))
            .and(waits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Id;

    fn addr(host: u8, port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, host], port))
    }

    fn fill(queue: &mut PullQueue, ports: u16) {
        for n in 0..MAX_PULLS as u64 {
            queue.enter(addr(2, (n % u64::from(ports)) as u16), Id::from_u64(n));
        }
        while let Some(from) = queue.next() {
            queue.begin_of(from);
        }
        queue.check().unwrap();
    }

    #[test]
    fn a_newcomer_finds_a_place_however_many_ports_of_one_host_have_taken_all() {
        for ports in [2, 20, 1000] {
            let mut queue = PullQueue::default();
            fill(&mut queue, ports);
            let newcomer = addr(3, 9);
            assert!(matches!(queue.make_room(newcomer), Some(Some(_))), "{ports} ports");
            queue.enter(newcomer, Id::from_u64(5000));
            assert_eq!(queue.begin_of(newcomer), Some(Id::from_u64(5000)), "{ports} ports");
            assert!(queue.len() == MAX_PULLS && queue.check().is_ok());
        }
    }

    /// The address of a source of its own, for each number.
    fn source(n: u64) -> SocketAddr {
        SocketAddr::from(([1, (n >> 8) as u8, n as u8, 1], 7000))
    }

    #[test]
    fn where_each_source_has_one_place_a_newcomer_takes_that_of_one_that_has_not_delivered() {
        let mut queue = PullQueue::default();
        let proven = source(7);
        for n in 0..MAX_PULLS as u64 {
            queue.enter(source(n), Id::from_u64(n));
        }
        queue.delivered.insert(proven, true);
        while let Some(from) = queue.next() {
            queue.begin_of(from);
        }
        for n in 0..2 * MAX_PULLS as u64 {
            let newcomer = SocketAddr::from(([2, (n >> 8) as u8, n as u8, 1], 7000));
            let Some(Some(displaced)) = queue.make_room(newcomer) else { panic!("no place for {n}") };
            assert!(displaced != Id::from_u64(7), "who has delivered keeps its place");
            queue.enter(newcomer, Id::from_u64(5000 + n));
        }
        queue.check().unwrap();
        assert_eq!(queue.make_room(proven), None, "it has one");
    }

    #[test]
    fn sources_from_which_nothing_was_pulled_have_their_turns_in_the_order_in_which_they_came() {
        let mut queue = PullQueue::default();
        let order = [9, 3, 7, 1].map(source);
        order.iter().zip(0..).for_each(|(from, n)| queue.enter(*from, Id::from_u64(n)));
        let turns: Vec<_> = std::iter::from_fn(|| queue.next().inspect(|from| _ = queue.begin_of(*from))).collect();
        assert_eq!(turns, order);
    }

    #[test]
    fn an_address_that_offers_little_displaces_one_of_its_host_that_offers_much_and_not_the_other_way() {
        let mut queue = PullQueue::default();
        fill(&mut queue, 2);
        assert!(matches!(queue.make_room(addr(2, 9)), Some(Some(_))));
        queue.enter(addr(2, 9), Id::from_u64(5000));
        assert_eq!(queue.make_room(addr(2, 1)), None);
    }

    #[test]
    fn those_who_have_delivered_keep_a_share_and_a_failed_source_has_one_place() {
        let mut queue = PullQueue::default();
        let proven = addr(9, 1);
        queue.enter(proven, Id::from_u64(1));
        queue.begin_of(proven);
        queue.end(proven, &Id::from_u64(1), Some(true));
        for host in 10..30 {
            for n in 0..4 {
                queue.enter(addr(host, n), Id::from_u64(u64::from(host) * 10 + u64::from(n)));
            }
        }
        while let Some(from) = queue.next() {
            queue.begin_of(from);
        }
        assert_eq!(queue.running, OF_STRANGERS);
        queue.enter(proven, Id::from_u64(2));
        assert!(queue.begin_of(proven).is_some(), "a place is left to it");
        queue.check().unwrap();

        let mut queue = PullQueue::default();
        fill(&mut queue, 100);
        assert_eq!(queue.running, STRANGERS_OF_SOURCE);
        let running: Vec<_> =
            queue.lines.iter().flat_map(|(at, line)| line.running.keys().map(|key| (*at, *key))).collect();
        for (from, key) in running {
            queue.end(from, &key, Some(false));
        }
        while let Some(from) = queue.next() {
            queue.begin_of(from);
        }
        assert_eq!(queue.running, STRANGERS_OF_FAILED);
    }

    #[test]
    fn it_is_crowded_while_nothing_is_pulled_from_a_source_that_waits() {
        let mut queue = PullQueue::default();
        queue.enter(addr(2, 1), Id::from_u64(1));
        assert!(queue.is_crowded());
        queue.begin_of(addr(2, 1));
        queue.enter(addr(2, 2), Id::from_u64(2));
        assert!(!queue.is_crowded(), "its host has a place");
        queue.enter(addr(3, 1), Id::from_u64(3));
        assert!(queue.is_crowded());
        queue.end(addr(2, 1), &Id::from_u64(1), None);
        queue.begin_of(addr(3, 1));
        assert!(queue.is_crowded(), "now the first one waits");
    }

    #[test]
    fn sources_take_turns() {
        let mut queue = PullQueue::default();
        for n in 0..100 {
            queue.enter(addr(2, n), Id::from_u64(u64::from(n)));
        }
        queue.enter(addr(3, 1), Id::from_u64(1000));
        queue.enter(addr(4, 1), Id::from_u64(1001));
        let mut hosts = Vec::new();
        while let Some(from) = queue.next() {
            queue.begin_of(from);
            hosts.push(from.ip());
        }
        assert_eq!(hosts[..3], [addr(2, 0).ip(), addr(3, 0).ip(), addr(4, 0).ip()]);
    }
}
