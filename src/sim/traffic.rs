//! What passes between the peers of a world: messages, and the blocks and named files that their workers move.

use std::net::SocketAddr;
use std::time::Duration;

use super::content::{Bytes, JobRefusal};
use super::disk::BlockReading;
use super::folder::{BroughtFile, SimNamedFile, subject};
use super::moments::words;
use super::network;
use super::sabotage::SabotageKind;
use super::work::{self, SimJob, SimWorker};
use super::world::{PlannedEvent, SimEvent, World, destination};
use crate::config::{FLOW, FLOWS_FROM, LATE_CONNECTION, LINK_IDLE, LINK_IDLE_ANSWERING, LINK_UNCONFIRMED, MAX_JOBS};
use crate::id::Key;
use crate::node::job::{
    Holder, Job, JobError, JobErrorKind, JobId, NamedJob, Outcome, Resolution, Slot, Version, resolve,
};
use crate::node::{Event, Obstacle, Purpose};
use crate::peer::Peer;
use crate::time::Time;
use crate::wire::ring::{RingRequest, Routed};
use crate::wire::{Body, Message, Request, Sender, Via};

/// The connection over which one peer sends lines to another.
pub(super) struct SimLink {
    /// When the first line arrives, and the last; a later one arrives no earlier.
    first: Option<Time>,
    last: Time,
    /// The lives of the two.
    lives: [u32; 2],
    /// Without a line for so long it is closed.
    idle: Duration,
    /// The other side confirms nothing any more: when the system gives the connection up.
    given_up: Option<Time>,
}

impl SimLink {
    fn is_open(&self, now: Time, lives: [u32; 2]) -> bool {
        self.lives == lives && now.since(self.last) < self.idle && self.given_up.is_none_or(|at| now < at)
    }

    /// A line goes to a peer that is gone or out of reach, and is lost: the system took it. Not the first one, whose
    /// connection did not come about.
    fn loses(&mut self, now: Time) -> bool {
        let stood = self.first.is_some_and(|first| first < now);
        if stood {
            self.given_up.get_or_insert(now + LINK_UNCONFIRMED);
        }
        stood
    }
}

impl World {
    pub(super) fn send(&mut self, from: usize, to: SocketAddr, via: Via, message: Message) {
        if let Body::Request(request) = &message.body {
            request.file_offered().into_iter().for_each(|file| self.disk_mut(from).folder_mut().give(file));
        }
        let purpose = self.count_sent(from, to, &message);
        if via == Via::Tcp && self.rules.checked {
            self.peers[from].debts.line(self.now, to, message.magic);
        }
        let Some(target) = destination(to, self.peers.len()) else {
            self.counts.lost += 1;
            if via == Via::Tcp {
                self.return_to_sender(from, to, message, Obstacle::Silence, work::BYTES_LIMIT);
            }
            return;
        };
        let lag = self.peers[from].lag + self.peers[target].lag;
        match via {
            Via::Udp => self.send_datagram((from, target), lag, purpose, message),
            Via::Tcp => self.send_line((from, target), lag, purpose, message),
        }
    }

    pub(super) fn send_datagram(
        &mut self,
        (from, to): (usize, usize),
        lag: Duration,
        purpose: Purpose,
        message: Message,
    ) {
        let weather = self.rules.weather;
        let [first, second] = weather.datagram(&mut self.peers[from].in_burst, &mut self.rng);
        let passes = self.reaches(from, to) && !weather.is_closed(self.rules.seed, from, to);
        let Some(first) = first.filter(|_| passes) else {
            self.counts.lost += 1;
            return;
        };
        if let Some(second) = second {
            self.plan_arrival(self.now + second + lag, (from, to), Via::Udp, purpose, message.clone());
        }
        self.plan_arrival(self.now + first + lag, (from, to), Via::Udp, purpose, message);
    }

    /// Sends a line over TCP: it arrives after all earlier lines to the same peer, or is returned to its sender, or is
    /// lost, where the connection stood and the machine at its other end is gone or out of reach.
    pub(super) fn send_line(&mut self, (from, to): (usize, usize), lag: Duration, purpose: Purpose, message: Message) {
        if !self.connects(from, to) {
            let (now, lives) = (self.now, self.lives(from, to));
            let link = self.links.get_mut(&(from as u32, to as u32)).filter(|link| link.is_open(now, lives));
            if link.is_some_and(|link| link.loses(now)) {
                return self.lose_line((from, to), message.magic);
            }
            self.return_to_sender(from, network::address(to), message, Obstacle::Silence, work::BYTES_LIMIT);
            return;
        }
        let one_way = self.rules.weather.delay(&mut self.rng) + self.handshake((from, to), &message);
        let at = self.now + one_way + lag;
        let link = self.links.get_mut(&(from as u32, to as u32)).expect("it was opened");
        link.last = link.last.max(at);
        link.first.get_or_insert(link.last);
        let at = link.last;
        self.plan_arrival(at, (from, to), Via::Tcp, purpose, message);
    }

    /// The lives of the two ends of a connection. A machine that is gone altogether has closed none of its peer's last
    /// life.
    fn lives(&self, from: usize, to: usize) -> [u32; 2] {
        let is_gone = !self.is_up(to) && !self.peers[to].refuses;
        [self.peers[from].life, self.peers[to].life.saturating_sub(u32::from(is_gone))]
    }

    /// How long the first line to a peer waits for its connection: a round trip. Where that is late, the sender hears
    /// so.
    fn handshake(&mut self, (from, to): (usize, usize), message: &Message) -> Duration {
        let (now, lives) = (self.now, self.lives(from, to));
        let answering = !matches!(message.body, Body::Request(_));
        let pair = (from as u32, to as u32);
        if self.links.get(&pair).is_some_and(|link| link.is_open(now, lives)) {
            return Duration::ZERO;
        }
        let idle = if answering { LINK_IDLE_ANSWERING } else { LINK_IDLE };
        self.links.insert(pair, SimLink { first: None, last: now, lives, idle, given_up: None });
        let takes = self.rules.weather.rtt;
        if takes >= LATE_CONNECTION && !answering {
            let addr = network::address(to);
            self.tell_of_obstacle(from, addr, message.clone(), Obstacle::Delay, LATE_CONNECTION);
        }
        takes
    }

    /// A line is lost, and its sender is not told.
    fn lose_line(&mut self, (from, to): (usize, usize), magic: u64) {
        self.counts.lost += 1;
        self.peers[from].debts.arrived(network::address(to), magic);
    }

    fn plan_arrival(&mut self, at: Time, (from, to): (usize, usize), via: Via, purpose: Purpose, message: Message) {
        let what = SimEvent::Arrival { from: from as u32, via, purpose, message: Box::new(message) };
        self.plan(at, PlannedEvent { slot: to as u32, life: None, what });
    }

    fn return_to_sender(&mut self, from: usize, to: SocketAddr, message: Message, obstacle: Obstacle, after: Duration) {
        if let Body::Request(Request::Ring(RingRequest::Routed { what: Routed::Lookup { key }, .. })) = &message.body {
            self.counts.dead_ends += u64::from(self.followed.contains(key));
        }
        if self.rules.broken == Some(SabotageKind::SwallowedUndeliverable) {
            let what = || format!("{} to {to} cannot be delivered, and it is not told", words::said(&message.body));
            return self.did_wrong(from, what);
        }
        let asks = matches!(message.body, Body::Request(_));
        if asks && obstacle == Obstacle::Silence {
            self.tell_of_obstacle(from, to, message.clone(), Obstacle::Delay, LATE_CONNECTION);
        }
        self.tell_of_obstacle(from, to, message, obstacle, after);
    }

    fn tell_of_obstacle(&mut self, from: usize, to: SocketAddr, message: Message, obstacle: Obstacle, after: Duration) {
        let life = Some(self.peers[from].life);
        let what = SimEvent::Told(Box::new(Event::Undeliverable { to, message, obstacle }));
        self.plan(self.now + after, PlannedEvent { slot: from as u32, life, what });
    }

    /// A message arrives: its receiver handles it, if the peer runs and can still be reached.
    pub(super) fn arrive(&mut self, from: usize, to: usize, via: Via, mut message: Box<Message>) {
        if self.is_up(to) && (if via == Via::Tcp { self.connects(from, to) } else { self.reaches(from, to) }) {
            self.peers[from].debts.arrived(network::address(to), message.magic);
            if self.is_taken_care_of(from, to, via, &message) {
                return;
            }
            let bytes = network::wire_size(&message);
            self.note_offer(to, &message);
            if self.rules.config.named_files {
                // Every line of the ring names its sender, answers too: so the asker learns which peer keeps a file.
                let Peer { id, addr } = self.peers[from].me;
                message.sender.get_or_insert(Sender::member(id, addr));
            }
            let event = Event::Message { from: network::address(from), via, bytes, message: *message };
            return self.deliver(to, event);
        }
        let (now, after) = (self.now, self.time_to_fail(from, to));
        let obstacle = if after < work::BYTES_LIMIT { Obstacle::Refused } else { Obstacle::Silence };
        let link = self.links.get_mut(&(from as u32, to as u32)).filter(|_| obstacle == Obstacle::Silence);
        if via == Via::Tcp && link.is_some_and(|link| link.loses(now)) {
            return self.lose_line((from, to), message.magic);
        }
        self.counts.lost += 1;
        if via == Via::Tcp {
            self.links.remove(&(from as u32, to as u32));
            self.return_to_sender(from, network::address(to), *message, obstacle, after);
        }
    }

    /// How long a sender takes to find out that the peer cannot be reached.
    fn time_to_fail(&self, from: usize, to: usize) -> Duration {
        let refused = self.connects(from, to) && self.peers[to].refuses;
        if refused { self.rules.weather.rtt / 2 } else { work::BYTES_LIMIT }
    }

    pub(super) fn start_job(&mut self, slot: usize, job: JobId, work: Job) {
        let mut takes = work::duration(&work, self.rules.block_size, self.rules.weather.rtt) + self.peers[slot].lag;
        let before = self.named_before(slot, &work);
        let source = match (&work, work::wanted(&work)) {
            (Job::Dial { to }, _) => Some(*to),
            (_, Some((_, Holder::Peer(addr)))) => Some(addr),
            _ => self.named_source(&work, before),
        };
        let mut doomed = false;
        if let Some(addr) = source {
            match destination(addr, self.peers.len()) {
                Some(holder) if self.is_up(holder) && self.withholds(holder) && !matches!(work, Job::Dial { .. }) => {
                    takes = work::BYTES_LIMIT;
                    doomed = true;
                }
                Some(holder) if self.is_up(holder) && self.breaks_off(holder) && !matches!(work, Job::Dial { .. }) => {
                    doomed = true;
                }
                Some(holder) if self.is_up(holder) && self.connects(slot, holder) => {
                    takes += self.peers[holder].lag;
                    if let Job::Pull { key, .. } = work {
                        let asked = Event::Asked { blocks: vec![(key, self.peer(slot).addr.ip())] };
                        let (at, life) = (self.now + self.weather().rtt, Some(self.peers[holder].life));
                        let what = SimEvent::Told(Box::new(asked));
                        self.plan(at, PlannedEvent { slot: holder as u32, life, what });
                    }
                    if matches!(work, Job::Named(_)) {
                        takes += self.named_transfer_time(holder, &work);
                    }
                }
                Some(holder) => {
                    takes = self.time_to_fail(slot, holder);
                    doomed = true;
                }
                None => {
                    takes = work::BYTES_LIMIT;
                    doomed = true;
                }
            }
        }
        if !matches!(work, Job::Dial { .. }) {
            takes += network::spread(takes / 8, &mut self.rng);
        }
        if let Job::Fetch { slot: Slot { size: FLOWS_FROM.., .. }, from: Holder::Peer(_), .. } = work
            && !doomed
        {
            let flows = Event::Flows { job, bytes: FLOW as u32 };
            let (life, what) = (Some(self.peers[slot].life), SimEvent::Told(Box::new(flows)));
            self.plan(self.now + self.weather().rtt, PlannedEvent { slot: slot as u32, life, what });
        }
        let peer = &mut self.peers[slot];
        let again = peer.jobs.insert(job, SimJob { work, doomed, cancelled: false, before }).is_some();
        peer.debts.job(job);
        let (out, life) = (peer.jobs.len(), Some(peer.life));
        if again || out > MAX_JOBS {
            self.violate(slot, format!("{out} jobs are out, or job {job} was started twice"));
        }
        self.plan(self.now + takes, PlannedEvent { slot: slot as u32, life, what: SimEvent::Job(job) });
    }

    /// A job that is not needed ends soon, and its outcome says so.
    pub(super) fn cancel_job(&mut self, slot: usize, job: JobId) {
        let peer = &mut self.peers[slot];
        if let Some(running) = peer.jobs.get_mut(&job)
            && !std::mem::replace(&mut running.cancelled, true)
        {
            let life = Some(peer.life);
            let soon = self.now + Duration::from_millis(1);
            self.plan(soon, PlannedEvent { slot: slot as u32, life, what: SimEvent::Job(job) });
        }
    }

    /// Ends a job. (A cancelled one comes here twice: the second time it is gone.)
    pub(super) fn finish_job(&mut self, slot: usize, job: JobId) {
        let Some(SimJob { work, doomed, cancelled, before }) = self.peers[slot].jobs.remove(&job) else { return };
        if cancelled && self.rules.broken == Some(SabotageKind::LethalCancel) {
            return self
                .did_wrong(slot, || format!("job {job} ({}) is cancelled, and tells no outcome", words::said(&work)));
        }
        if cancelled || doomed {
            let (kind, reason) = if cancelled {
                (JobErrorKind::Cancelled, "cancelled")
            } else {
                (JobErrorKind::Unreachable, "it cannot be reached")
            };
            let reason = reason.to_owned();
            return self.tell_outcome(slot, job, Outcome::Failed(JobError { kind, reason }));
        }
        self.finish_work(slot, job, &work, before);
    }

    /// Does a job's work, and tells what came of it.
    pub(super) fn finish_work(&mut self, slot: usize, job: JobId, work: &Job, before: Option<Version>) {
        let block = match work::wanted(work) {
            Some((key, Holder::Own)) => self.read_block(slot, &key),
            Some((key, Holder::Peer(addr))) => {
                let block = self.fetch_block(slot, addr, &key);
                self.count_block(slot, work, block.as_ref().map_or(0, |bytes| bytes.len()));
                block
            }
            None => Err((JobErrorKind::Io, String::new())),
        };
        let file = self.bring_named(slot, work, before);
        let peer = &mut self.peers[slot];
        let mut worker =
            SimWorker { open_files: &mut peer.open_files, disk: &mut peer.disk, block_size: self.rules.block_size };
        let outcome = worker.perform(work, block, file);
        self.put_off_writing(slot, work, &outcome);
        self.tell_outcome(slot, job, outcome);
    }

    /// Reads a block from another peer, as long as it lives and can be reached.
    fn fetch_block(&mut self, slot: usize, addr: SocketAddr, key: &Key) -> Result<Bytes, JobRefusal> {
        let holder = self.answering(slot, addr)?;
        // The connection was made, so the peer there receives what is sent to it.
        self.tell(slot, Event::Validated { addr });
        let block = self.read_block(holder, key);
        if block.is_ok() {
            let to = self.peer(slot).addr.ip();
            self.tell(holder, Event::Delivered { blocks: vec![(*key, to)] });
        }
        block
    }

    /// The peer at `addr`, as long as it lives and answers the peer in `slot`.
    pub(super) fn answering(&self, slot: usize, addr: SocketAddr) -> Result<usize, JobRefusal> {
        let holder = destination(addr, self.peers.len())
            .filter(|&holder| self.is_up(holder) && self.connects(slot, holder) && !self.is_frozen(holder));
        holder.ok_or_else(|| (JobErrorKind::TimedOut, format!("{addr} went silent")))
    }

    /// Reads a block from a peer's store or its offers. A rotten one is moved aside, and its holder is told.
    fn read_block(&mut self, slot: usize, key: &Key) -> Result<Bytes, JobRefusal> {
        let peer = &mut self.peers[slot];
        if let BlockReading::Rotten = peer.disk.read(key) {
            peer.disk.delete(key);
            self.tell(slot, Event::Damaged { key: *key });
        }
        let peer = &self.peers[slot];
        match peer.disk.read(key) {
            BlockReading::Sound(bytes) => Some(bytes),
            BlockReading::Rotten | BlockReading::Absent => peer.open_files.offered(key),
        }
        .ok_or_else(|| (JobErrorKind::NotFound, format!("{} does not hold {}", peer.me, key.short())))
    }
}

/// Named files, which pass between the working directories of a classroom ring.
impl World {
    /// The version of the named file that the work is about, in this peer's directory.
    pub(super) fn named_before(&self, slot: usize, work: &Job) -> Option<Version> {
        let Job::Named(job) = work else { return None };
        self.disk(slot).folder().find(subject(job)?)
    }

    /// The peer from which a job needs the named file; none if it needs only this peer's directory.
    pub(super) fn named_source(&self, work: &Job, before: Option<Version>) -> Option<SocketAddr> {
        match *work {
            Job::Named(NamedJob::Keep { offered, ours, replace, .. })
                if before.is_some() && resolve(before, offered, ours, replace) == Resolution::Stays =>
            {
                None
            }
            Job::Named(NamedJob::Keep { from, .. } | NamedJob::Receive { from, .. }) => Some(from),
            _ => None,
        }
    }

    /// How much longer a job takes that needs a file from the peer in `holder`.
    pub(super) fn named_transfer_time(&self, holder: usize, work: &Job) -> Duration {
        let bytes = self.named_before(holder, work).map_or(0, |version| version.size);
        self.rules.weather.rtt * 2 + Duration::from_micros(bytes / work::NETWORK_RATE + bytes / work::DISK_RATE)
    }

    /// Reads the file that a job needs from the other peer, as long as that one lives and can be reached.
    pub(super) fn bring_named(&mut self, slot: usize, work: &Job, before: Option<Version>) -> BroughtFile {
        let theirs = match (self.named_source(work, before), work) {
            (Some(from), Job::Named(job)) => self.read_named(slot, from, job),
            _ => Err((JobErrorKind::Io, "no file of another peer was asked for".to_owned())),
        };
        BroughtFile { before, theirs }
    }

    fn read_named(&mut self, slot: usize, from: SocketAddr, job: &NamedJob) -> Result<SimNamedFile, JobRefusal> {
        let holder = self.answering(slot, from)?;
        let there = subject(job).and_then(|file| self.disk(holder).folder().copy(file));
        let absent = || (JobErrorKind::NotFound, format!("peer {from} says: this file is not here"));
        let theirs = there.ok_or_else(absent)?;
        if let NamedJob::Receive { file, port, .. } = *job {
            let by = SocketAddr::new(self.peer(slot).addr.ip(), port);
            self.tell(holder, Event::Fetched { file, by });
        }
        Ok(theirs)
    }
}
