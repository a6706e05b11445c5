//! Making the copies of a block that are missing: now, and not when its holders compare next.
//!
//! A peer of the replica set that lacks the block is offered it, as any block is. Where this peer does not hold it
//! itself, it asks the holders on whose behalf they keep it, so that what is made can be ended by whoever could end
//! what was there. Then it fetches the block from one of them and lends it, in memory, until the offers have ended.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::InquiryContext;
use super::inquiry::{Copy, Inquiry};
use crate::lease::{Lease, MAX_LEASES};
use crate::node::health::CopyState;
use crate::node::job::{Holder, Job, Outcome};
use crate::node::jobs::Urgency;
use crate::node::notice::Progress;
use crate::node::refusal::Refusal;
use crate::peer::Peer;
use crate::wire::Request;

/// What is done about the copies that a block lacks.
#[derive(Default)]
pub(super) struct Refill {
    /// It was tried: that is done once.
    tried: bool,
    /// Holders that were asked for their leases, and have not answered.
    asked: BTreeSet<SocketAddr>,
    /// What they told: leases, none where the block is kept for ever.
    told: Vec<Vec<Lease>>,
    /// This peer pulls the block into its own store, or fetches it to lend it.
    fetches: bool,
    /// Peers next to the replica set that were offered it.
    stood_in: BTreeSet<SocketAddr>,
    /// Peers that lack the block, and were not offered it yet.
    lacking: Vec<Peer>,
    /// Offers without an end.
    out: BTreeSet<SocketAddr>,
    lent: bool,
    /// Copies that were made.
    pub(super) made: u64,
}

impl Refill {
    pub(super) fn is_under_way(&self) -> bool {
        !self.asked.is_empty() || self.fetches || !self.out.is_empty()
    }
}

impl Inquiry {
    /// Begins to make the copies that are missing, unless that was tried. Whether something is under way.
    pub(super) fn begin_repair(&mut self, round: &mut InquiryContext<'_>) -> bool {
        if std::mem::replace(&mut self.repair.tried, true) {
            return false;
        }
        let lacks = |copy: &&Copy| copy.is_member && matches!(copy.state, Some(CopyState::Absent | CopyState::Damaged));
        self.repair.lacking = self.copies.values().filter(lacks).map(|copy| copy.peer).collect();
        // What could not be had from a member may be there: another stands in for it, for its copy does not count.
        while self.unshown
            && self.sound().count() + self.repair.lacking.len() < self.wanted
            && let Some(peer) = self.stand_in(round)
        {
            self.repair.lacking.push(peer);
        }
        if self.repair.lacking.is_empty() {
            return false;
        }
        if round.desk.holds(&round.key) {
            self.repair.lacking.retain(|peer| !round.desk.is_me(peer));
            self.offer(round);
            return self.repair.is_under_way();
        }
        let holders: Vec<Peer> = self.sound().map(|copy| copy.peer).filter(|peer| !round.desk.is_me(peer)).collect();
        for peer in holders {
            self.repair.asked.insert(peer.addr);
            round.desk.ask(round.ticket, peer, Request::Terms { key: round.key });
        }
        self.repair.is_under_way()
    }

    /// The next peer beside the replica set that lacks the block, as far as is known, and was not offered it.
    fn stand_in(&mut self, round: &InquiryContext<'_>) -> Option<Peer> {
        let is_known = |peer: &Peer| {
            let copy = self.copies.get(&peer.addr);
            copy.is_some_and(|copy| copy.is_member || copy.state != Some(CopyState::Absent))
                || self.repair.stood_in.contains(&peer.addr)
                || round.desk.is_me(peer)
        };
        let peer = *self.spare().iter().find(|peer| !is_known(peer))?;
        self.repair.stood_in.insert(peer.addr);
        Some(peer)
    }

    /// A holder told its leases, or did not. Whether it was asked for them.
    pub(super) fn on_terms(
        &mut self,
        round: &mut InquiryContext<'_>,
        from: &SocketAddr,
        told: Option<Vec<Lease>>,
    ) -> bool {
        if !self.repair.asked.remove(from) {
            return false;
        }
        self.repair.told.extend(told);
        if self.repair.asked.is_empty() && !self.fetch(round) {
            self.end_repair_if_over(round);
        }
        true
    }

    /// On whose behalf copies are made: of all for whom others are kept, and of the file's owner.
    fn leases(&self, round: &InquiryContext<'_>) -> Vec<Lease> {
        let mut leases: Vec<Lease> = round.order.lease.into_iter().collect();
        self.repair.told.iter().flatten().for_each(|lease| lease.join(&mut leases));
        let for_ever = self.repair.told.iter().any(Vec::is_empty);
        if !leases.is_empty() && !leases.contains(&Lease::NOBODYS) && (for_ever || leases.len() > MAX_LEASES) {
            leases.truncate(MAX_LEASES - 1);
            leases.push(Lease::NOBODYS);
        }
        leases
    }

    /// Fetches the block from a holder. False if nobody has it any more.
    fn fetch(&mut self, round: &mut InquiryContext<'_>) -> bool {
        let Some(from) = self.sound().find(|copy| !round.desk.is_me(&copy.peer)).map(|copy| copy.peer.addr) else {
            return false;
        };
        let (mine, others): (Vec<Peer>, Vec<Peer>) =
            std::mem::take(&mut self.repair.lacking).into_iter().partition(|peer| round.desk.is_me(peer));
        self.repair.lacking = others;
        // What belongs here is kept, and offered from here.
        // What is lent is lent under the check's number.
        let (key, put, leases) = (round.key, round.ticket.number, self.leases(round));
        let mut take_in =
            || round.desk.take_in(round.ticket, Urgency::Own, (key, self.bytes), &leases, Holder::Peer(from));
        self.repair.fetches = true;
        if mine.is_empty() || take_in().is_err() {
            (*round.lent, self.repair.lent) = (true, true);
            round.desk.order(round.ticket, Job::Lend { put, key, from }, Urgency::Own);
        }
        true
    }

    /// The block is here, or it is not.
    pub(super) fn on_repair_job(&mut self, round: &mut InquiryContext<'_>, outcome: &Outcome) {
        if !std::mem::take(&mut self.repair.fetches) {
            return;
        }
        match outcome {
            Outcome::Stored { .. } => self.repair.made += 1,
            Outcome::Read { entry } => self.bytes = u32::try_from(entry.size).ok(),
            _ => self.repair.lacking.clear(),
        }
        self.offer(round);
    }

    fn offer(&mut self, round: &mut InquiryContext<'_>) {
        let held = round.desk.wanted_size(&round.key);
        let (size, leases) = (held.or(self.bytes).unwrap_or(0), self.leases(round));
        for peer in std::mem::take(&mut self.repair.lacking) {
            self.repair.out.insert(peer.addr);
            let block = (round.key, size);
            if held.is_some() {
                round.desk.offer_held(round.ticket, Urgency::Own, block, peer);
            } else {
                round.desk.offer(round.ticket, Urgency::Own, block, leases.clone(), peer);
            }
        }
        self.end_repair_if_over(round);
    }

    /// A peer took the block, or did not: then one next to the replica set may stand in.
    pub(super) fn on_offered(&mut self, round: &mut InquiryContext<'_>, to: Peer, result: Result<(), Refusal>) {
        if !self.repair.out.remove(&to.addr) {
            return;
        }
        match result {
            Ok(()) => self.repair.made += 1,
            Err(refusal) => {
                let (key, reason) = (round.key, format!("{to}: {refusal}"));
                round.desk.progress(round.command, Progress::Retried { key, reason });
                if let Some(peer) = self.stand_in(round) {
                    self.repair.lacking.push(peer);
                    return self.offer(round);
                }
            }
        }
        self.end_repair_if_over(round);
    }

    /// Once all is tried, the copies are looked for anew.
    fn end_repair_if_over(&mut self, round: &mut InquiryContext<'_>) {
        if self.repair.is_under_way() {
            return;
        }
        if std::mem::take(&mut self.repair.lent) {
            round.desk.withdraw(round.ticket.number, round.key);
        }
        self.begin(round);
    }
}
