//! One named file, as far as this peer has to do with it.
//!
//! What lies here for the ring ([`Holding`]) and what is on its way here ([`TransferPhase`]) go side by side: a newer
//! version may come while an older one is served.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use crate::node::command::CommandId;
use crate::node::job::{JobId, Version};
use crate::peer::Peer;
use crate::time::Time;

/// While others wait to store a file, the one that is coming has so long to come, and a second for each
/// [`HURRIED_RATE`] bytes; so long a store waits for its replicas too.
const UNHURRIED: Duration = Duration::from_secs(10);

/// Bytes a second.
const HURRIED_RATE: u64 = 4 << 20;

/// A peer that said that it has a file is asked again after this long: it may have been started anew with another
/// directory, and no peer missed it or saw it come. With [`FILE_RESCAN`](crate::config::FILE_RESCAN) this is the time
/// in which copies are complete again.
const TRUST: Duration = Duration::from_secs(45);

/// The same of one that entered the ring since it said so. A stranger can have it enter again and again, by joins in
/// its name: that brings it three times as many offers as it gets anyway, however many files there are.
const TRUST_IN_DOUBT: Duration = Duration::from_secs(15);

/// Offers of one peer that may wait for an earlier one of the same file.
const MOST_OFFERS: usize = 4;

/// A named file: what is held of it, what is coming, and who waits for that.
#[derive(Default)]
pub(super) struct NamedFile {
    pub(super) holding: Option<Holding>,
    /// What the user of this peer stored in this run, and which peers said since that they have it.
    pub(super) own: Option<Holding>,
    /// The version that a job of this run wrote here.
    pub(super) copy: Option<Version>,
    /// Peers that were asked to hold it and have not answered, and whether each is late: silent, or out of reach of
    /// connections.
    pub(super) asked: BTreeMap<SocketAddr, bool>,
    /// How far the transfer has come that brings it here.
    phase: TransferPhase,
    /// That transfer; none while nothing is coming.
    transfer: Option<Transfer>,
    /// Offers that wait until the transfer is over.
    pub(super) offers: VecDeque<FileOffer>,
    /// When this peer accepted a store of it that has not begun to come.
    pub(super) accepted: Option<Time>,
}

/// What this peer holds for the ring, or has given to it.
pub(super) struct Holding {
    pub(super) version: Version,
    /// When it was last known to be here.
    pub(super) seen: Time,
    /// A user stored it. What only lies here is served, and goes to the peer responsible instead of this one, but no
    /// user asked for copies of it.
    pub(super) stored: bool,
    /// What peers said that were to have this version too.
    pub(super) at: BTreeMap<SocketAddr, LastSaid>,
}

impl Holding {
    /// Whether no other peer has said that it has it.
    fn is_alone(&self) -> bool {
        self.at.values().all(|word| !word.has)
    }
}

/// What a peer said of a version that it was to have.
#[derive(Clone, Copy)]
pub(super) struct LastSaid {
    /// It has it. Else it will not take it.
    pub(super) has: bool,
    said: Time,
    /// It may have been started anew since.
    doubted: bool,
}

impl LastSaid {
    /// What a peer says now.
    pub(super) fn now(now: Time, has: bool) -> Self {
        Self { has, said: now, doubted: false }
    }

    /// Whether a peer that has it need not be asked again yet.
    pub(super) fn counts(&self, now: Time) -> bool {
        self.stands(now) && now.since(self.said) < TRUST
    }

    /// Whether it is not in doubt, or was said just now.
    fn stands(&self, now: Time) -> bool {
        !self.doubted || now.since(self.said) < TRUST_IN_DOUBT
    }
}

/// A file that is coming.
pub(super) struct Transfer {
    pub(super) waiting: Vec<TransferWaiter>,
    /// The peer that offered it, and the version that it offered.
    pub(super) offered: Option<(SocketAddr, Version)>,
    /// A user has just stored it at the peer that offers it.
    pub(super) fresh: bool,
    /// A user wants it stored: the answer waits until the replicas have answered too.
    pub(super) for_user: bool,
    /// The job that brings it, and when that was ordered.
    pub(super) brought_by: Option<(JobId, Time)>,
    /// It was given up, for it came too slowly and others waited.
    pub(super) given_up: bool,
    /// Since when its replicas are waited for.
    pub(super) replicates: Option<Time>,
}

/// How long a file of this size may take where others wait.
fn unhurried(size: u64) -> Duration {
    UNHURRIED + Duration::from_secs(size / HURRIED_RATE)
}

impl Transfer {
    pub(super) fn new(waiter: TransferWaiter, offered: Option<(SocketAddr, Version)>) -> Self {
        let (fresh, for_user, given_up) = (false, false, false);
        Self { waiting: vec![waiter], offered, fresh, for_user, brought_by: None, given_up, replicates: None }
    }

    /// The job that brings it, and from when on that comes too slowly to keep others waiting.
    fn slow_job(&self) -> Option<(JobId, Time)> {
        let enough = unhurried(self.offered.map_or(0, |(_, version)| version.size));
        self.brought_by.map(|(job, since)| (job, since + enough))
    }
}

/// The peer, or this peer's user, that is told how a transfer ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum TransferWaiter {
    /// The peer that made an offer.
    Peer { addr: SocketAddr, magic: u64 },
    /// This peer's user, who stores the file.
    User(CommandId),
}

/// A peer wants this one to hold a file.
#[derive(Clone, Copy)]
pub(super) struct FileOffer {
    pub(super) from: SocketAddr,
    pub(super) magic: u64,
    pub(super) version: Version,
    /// A user has just stored it at that peer.
    pub(super) fresh: bool,
}

/// How far a transfer has come.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) enum TransferPhase {
    /// Nothing is coming.
    #[default]
    Idle,
    /// A job brings the file.
    Arriving,
    /// A stored file is here; its replicas are yet to answer.
    Replicating,
}

/// What happens to a transfer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum TransferEvent {
    /// The transfer begins.
    Begun,
    /// The file is here, and was stored by a user.
    Stored,
    /// The file is here as a copy, or did not come, or all replicas have answered.
    Ended,
}

impl TransferPhase {
    /// Every step that a transfer can take.
    const STEPS: [(Self, TransferEvent, Self); 4] = [
        (Self::Idle, TransferEvent::Begun, Self::Arriving),
        (Self::Arriving, TransferEvent::Stored, Self::Replicating),
        (Self::Arriving, TransferEvent::Ended, Self::Idle),
        (Self::Replicating, TransferEvent::Ended, Self::Idle),
    ];

    /// The phase that follows; none if this cannot happen now.
    fn after(self, change: TransferEvent) -> Option<Self> {
        Self::STEPS.iter().find(|(from, what, _)| (*from, *what) == (self, change)).map(|(.., to)| *to)
    }
}

impl NamedFile {
    pub(super) fn phase(&self) -> TransferPhase {
        self.phase
    }

    pub(super) fn transfer(&mut self) -> Option<&mut Transfer> {
        self.transfer.as_mut()
    }

    /// Whether the user's command waits for the transfer.
    pub(super) fn is_awaited_by(&self, command: CommandId) -> bool {
        self.transfer.as_ref().is_some_and(|transfer| transfer.waiting.contains(&TransferWaiter::User(command)))
    }

    /// The job that brings the file, and from when on it takes too long, while others wait to store the same one.
    pub(super) fn gives_way_at(&self, has_begun: impl Fn(JobId) -> bool) -> Option<(JobId, Time)> {
        let transfer = self.transfer.as_ref().filter(|_| self.phase == TransferPhase::Arriving)?;
        let others_wait = !self.offers.is_empty() || transfer.waiting.len() > 1;
        transfer.slow_job().filter(|(job, _)| others_wait && !transfer.given_up && has_begun(*job))
    }

    /// That job, if it is to be given up by now.
    pub(super) fn gives_way(&mut self, now: Time, has_begun: impl Fn(JobId) -> bool) -> Option<JobId> {
        let (slow, _) = self.gives_way_at(has_begun).filter(|(_, at)| *at <= now)?;
        self.transfer.as_mut()?.given_up = true;
        Some(slow)
    }

    /// The offer waits for the transfer that is under way, unless it or too many of its peer's do.
    pub(super) fn queue(&mut self, offer: FileOffer) {
        let same = self.offers.iter().filter(|other| other.from == offer.from);
        if same.clone().count() < MOST_OFFERS && !same.clone().any(|other| other.magic == offer.magic) {
            self.offers.push_back(offer);
        }
    }

    /// Whether it is on its way to this peer, or from it to others.
    pub(super) fn moves(&self) -> bool {
        !self.asked.is_empty() || self.phase != TransferPhase::Idle
    }

    /// Whether this peer will not take what is held here.
    pub(super) fn is_refused_by(&self, peer: &Peer, now: Time) -> bool {
        self.said_by(&peer.addr).is_some_and(|word| !word.has && word.stands(now))
    }

    /// Whether this peer is silent that was asked to hold it, or no connection reaches it.
    pub(super) fn is_late(&self, peer: &SocketAddr) -> bool {
        self.asked.get(peer).is_some_and(|is_late| *is_late)
    }

    fn said_by(&self, peer: &SocketAddr) -> Option<&LastSaid> {
        self.holding.as_ref()?.at.get(peer)
    }

    /// Whether no answer is awaited but of peers that are late.
    pub(super) fn waits_for_late_ones_alone(&self) -> bool {
        self.asked.values().all(|is_late| *is_late)
    }

    /// Whether this peer says that it has what is held here, and is not late.
    pub(super) fn is_at(&self, peer: &SocketAddr) -> bool {
        self.said_by(peer).is_some_and(|word| word.has) && !self.is_late(peer)
    }

    /// Whether what is held here is at no other peer, and those that are yet to answer are late.
    pub(super) fn is_without_taker(&self) -> bool {
        let is_alone = |holding: &Holding| !holding.at.keys().any(|peer| self.is_at(peer));
        self.waits_for_late_ones_alone() && self.holding.as_ref().is_some_and(is_alone)
    }

    /// Whether a peer that leaves waits for it: it comes here, or answers of others are awaited. Once one has it, those
    /// that are late are not.
    pub(super) fn detains(&self) -> bool {
        let is_settled = || self.waits_for_late_ones_alone() && !self.is_without_taker();
        self.moves() && !(self.phase == TransferPhase::Idle && is_settled())
    }

    /// Whether it is held here, and no other peer has said that it has it.
    pub(super) fn is_only_here(&self) -> bool {
        self.holding.as_ref().is_some_and(Holding::is_alone)
    }

    /// Whether the user of this peer stored this version in this run, and of the peers that said they have it none is
    /// left.
    pub(super) fn is_forsaken(&self, version: Version) -> bool {
        self.own.as_ref().is_some_and(|own| own.version == version && own.is_alone())
    }

    /// Others have it, and look after it.
    pub(super) fn let_go(&mut self) {
        let given = self.holding.take();
        if let (Some(own), Some(given)) = (&mut self.own, given)
            && own.version == given.version
        {
            *own = given;
        }
    }

    /// A peer is gone, and what it held with it.
    pub(super) fn forget(&mut self, peer: SocketAddr) {
        for holding in self.holding.iter_mut().chain(&mut self.own) {
            holding.at.remove(&peer);
        }
    }

    /// A peer may have been started anew since it said that it has the file, or refused it.
    pub(super) fn doubt(&mut self, peer: SocketAddr) {
        for holding in self.holding.iter_mut().chain(&mut self.own) {
            holding.at.entry(peer).and_modify(|word| word.doubted = true);
        }
    }

    /// Until when a store waits for replicas that have not answered. What lives and does not answer would be waited for
    /// as long as a file may take to move at all.
    pub(super) fn waits_until(&self) -> Option<Time> {
        let size = self.holding.as_ref().map_or(0, |holding| holding.version.size);
        self.transfer.as_ref().and_then(|transfer| transfer.replicates).map(|since| since + unhurried(size))
    }

    fn step(&mut self, change: TransferEvent) -> bool {
        let next = self.phase.after(change);
        self.phase = next.unwrap_or(self.phase);
        next.is_some()
    }

    /// A transfer begins, unless one is under way.
    pub(super) fn begin(&mut self, transfer: Transfer) {
        if self.step(TransferEvent::Begun) {
            self.transfer = Some(transfer);
            self.accepted = None;
        }
    }

    /// The stored file is here, and goes to its replicas.
    pub(super) fn replicate(&mut self, now: Time) {
        self.step(TransferEvent::Stored);
        if let Some(transfer) = &mut self.transfer {
            transfer.replicates = Some(now);
        }
    }

    /// The transfer, which is over.
    pub(super) fn end(&mut self) -> Option<Transfer> {
        if self.step(TransferEvent::Ended) { self.transfer.take() } else { None }
    }

    /// What a look at the directory, ordered at some time, tells of the file: the version that is here. What came since
    /// then the look may have missed.
    pub(super) fn after_look(&mut self, ordered: Time, there: Option<Version>) -> Option<Version> {
        if let Some(come) = self.holding.as_ref().filter(|holding| holding.seen >= ordered) {
            return Some(come.version);
        }
        if there.is_none() {
            self.holding = None;
        }
        there
    }

    /// The file lies here for the ring, in this version, as was `seen` at some time.
    pub(super) fn hold(&mut self, seen: Time, version: Version, stored: bool) -> &mut Holding {
        let holding = self.holding.get_or_insert_with(|| Holding { version, seen, stored, at: BTreeMap::new() });
        holding.seen = holding.seen.max(seen);
        holding.stored |= stored;
        if holding.version != version {
            holding.version = version;
            holding.at.clear();
        }
        holding
    }

    /// Says which parts contradict each other, if any do.
    pub(super) fn check(&self) -> Result<(), String> {
        match (self.phase, &self.transfer) {
            (TransferPhase::Idle, Some(_)) => Err("a transfer is over and still there"),
            (TransferPhase::Arriving | TransferPhase::Replicating, None) => {
                Err("a transfer is under way and nothing is known of it")
            }
            (_, Some(transfer)) if transfer.waiting.is_empty() => Err("nobody waits for a transfer"),
            (TransferPhase::Idle, None) if !self.offers.is_empty() => Err("offers wait for a transfer that is over"),
            (TransferPhase::Replicating, Some(transfer)) if !transfer.for_user => {
                Err("nobody stored what is replicated")
            }
            (TransferPhase::Replicating, _) if self.asked.is_empty() => {
                Err("replicas are waited for, and none was asked")
            }
            _ => Ok(()),
        }
        .map_err(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_steps_as_the_table_says_from_every_phase_at_every_change() {
        use TransferEvent::{Begun, Ended, Stored};
        use TransferPhase::{Arriving, Idle, Replicating};
        for (phase, expected) in [
            (Idle, [Some(Arriving), None, None]),
            (Arriving, [None, Some(Replicating), Some(Idle)]),
            (Replicating, [None, None, Some(Idle)]),
        ] {
            assert_eq!([Begun, Stored, Ended].map(|change| phase.after(change)), expected, "{phase:?}");
        }
    }

    #[test]
    fn a_file_whose_parts_contradict_each_other_is_found_out() {
        let offer = FileOffer {
            from: ([10, 0, 0, 1], 7).into(),
            magic: 1,
            version: Version { size: 1, modified: 1 },
            fresh: false,
        };
        let lone = NamedFile { offers: VecDeque::from([offer]), ..NamedFile::default() };
        assert!(lone.check().is_err_and(|what| what.contains("offers wait")));
        let mut file = NamedFile::default();
        file.begin(Transfer { for_user: true, ..Transfer::new(TransferWaiter::User(1), None) });
        assert_eq!(file.check(), Ok(()));
        file.replicate(Time::ZERO);
        assert!(file.check().is_err_and(|what| what.contains("none was asked")));
        assert!(file.end().is_some() && file.end().is_none());
        assert_eq!(file.check(), Ok(()));
    }
}
