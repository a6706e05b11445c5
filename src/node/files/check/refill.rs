//! Making the copies of a block that are missing: now, and not when its holders compare next.
//!
//! A peer of the replica set that lacks the block is offered it, as any block is. Where this peer does not hold it
//! itself, it asks the holders on whose behalf they keep it, so that what is made can be ended by the user who could
//! end what was there. Then it fetches the block from one of them and lends it, in memory, until the offers have ended.

use std::net::SocketAddr;

use super::InquiryContext;
use super::copies::Copy;
use super::inquiry::{Inquiry, InquiryTurn};
use crate::lease::{Lease, MAX_LEASES};
use crate::node::files::placing::{BEGINS_NOTHING, TAKES_NOTHING, tell_passed_over};
use crate::node::health::CopyState;
use crate::node::job::{Holder, Job, Outcome, Urgency};
use crate::node::notice::Progress;
use crate::node::refusal::Refusal;
use crate::node::ticket::News;
use crate::peer::Peer;
use crate::wire::Request;

impl Inquiry {
    /// Begins to make the copies that are missing, unless that was tried. Whether something is under way.
    pub(super) fn begin_repair(&mut self, context: &mut InquiryContext<'_>) -> bool {
        if std::mem::replace(&mut self.repair.tried, true) {
            return false;
        }
        let lacks = |copy: &&Copy| copy.is_member && matches!(copy.state, Some(CopyState::Absent | CopyState::Damaged));
        self.repair.lacking = self.copies.values().filter(lacks).map(|copy| copy.peer).collect();
        // What could not be had from a member may be there: another stands in for it, for its copy does not count.
        while self.unshown
            && self.sound().count() + self.repair.lacking.len() < self.wanted
            && let Some(peer) = self.stand_in(context)
        {
            self.repair.lacking.push(peer);
        }
        let holds = context.desk.holds(&context.key);
        self.repair.lacking.retain(|peer| !holds || !context.desk.is_me(peer));
        self.pass_over(context);
        self.repair.needed = self.repair.lacking.len() as u64;
        if self.repair.lacking.is_empty() {
            return false;
        }
        if holds {
            self.offer(context);
            return self.repair.is_under_way();
        }
        let holders: Vec<Peer> = self.sound().map(|copy| copy.peer).filter(|peer| !context.desk.is_me(peer)).collect();
        for peer in holders {
            self.repair.asked.insert(peer.addr);
            context.desk.ask(context.ticket, peer, Request::Terms { key: context.key });
        }
        self.repair.is_under_way()
    }

    /// Peers that live and take nothing would keep every block waiting: others stand in for them, if any are left.
    fn pass_over(&mut self, context: &mut InquiryContext<'_>) {
        let lacking = std::mem::take(&mut self.repair.lacking);
        for peer in lacking {
            let stalls = context.desk.stalls(&peer.addr);
            if stalls {
                tell_passed_over(context.desk, (context.command, context.key), (&peer, peer.addr), TAKES_NOTHING);
            }
            let next = if stalls { self.stand_in(context) } else { Some(peer) };
            self.repair.lacking.extend(next);
        }
    }

    /// The next peer beside the replica set that lacks the block, as far as is known, and was not offered it.
    fn stand_in(&mut self, context: &InquiryContext<'_>) -> Option<Peer> {
        let is_known = |peer: &Peer| {
            let copy = self.copies.get(&peer.addr);
            copy.is_some_and(|copy| copy.is_member || copy.state != Some(CopyState::Absent))
                || self.repair.stood_in.contains(&peer.addr)
                || context.desk.is_me(peer)
                || context.desk.stalls(&peer.addr)
        };
        let peer = *self.spare().iter().find(|peer| !is_known(peer))?;
        self.repair.stood_in.insert(peer.addr);
        Some(peer)
    }

    /// A holder told its leases, or did not. Whether it was asked for them.
    pub(super) fn on_terms(
        &mut self,
        context: &mut InquiryContext<'_>,
        from: &SocketAddr,
        told: Option<Vec<Lease>>,
    ) -> bool {
        if !self.repair.asked.remove(from) {
            return false;
        }
        self.repair.told.extend(told);
        if self.repair.asked.is_empty() && !self.fetch(context) {
            self.end_repair_if_over(context);
        }
        true
    }

    /// On whose behalf copies are made: of all for whom others are kept, and of the file's owner.
    fn leases(&self, context: &InquiryContext<'_>) -> Vec<Lease> {
        let mut leases: Vec<Lease> = context.options.lease.into_iter().collect();
        self.repair.told.iter().flatten().for_each(|lease| lease.join(&mut leases));
        let for_ever = self.repair.told.iter().any(Vec::is_empty);
        if !leases.is_empty() && !leases.contains(&Lease::NOBODYS) && (for_ever || leases.len() > MAX_LEASES) {
            leases.truncate(MAX_LEASES - 1);
            leases.push(Lease::NOBODYS);
        }
        leases
    }

    /// Fetches the block from a holder. False if no holder has it any more.
    fn fetch(&mut self, context: &mut InquiryContext<'_>) -> bool {
        let Some(from) = self.sound().find(|copy| !context.desk.is_me(&copy.peer)).map(|copy| copy.peer.addr) else {
            return false;
        };
        let (mine, others): (Vec<Peer>, Vec<Peer>) =
            std::mem::take(&mut self.repair.lacking).into_iter().partition(|peer| context.desk.is_me(peer));
        self.repair.lacking = others;
        // What belongs here is kept, and offered from here.
        // What is lent is lent under the check's number.
        let (key, put, leases) = (context.key, context.ticket.number, self.leases(context));
        let mut take_in =
            || context.desk.take_in(context.ticket, Urgency::Own, (key, self.bytes), &leases, Holder::Peer(from));
        self.repair.fetches = true;
        if mine.is_empty() || take_in().is_err() {
            (*context.lent, self.repair.lent) = (true, true);
            context.desk.order(context.ticket, Job::Lend { put, key, from }, Urgency::Own);
        }
        true
    }

    /// The block is here, or it is not.
    pub(super) fn on_repair_job(&mut self, context: &mut InquiryContext<'_>, outcome: &Outcome) {
        if !std::mem::take(&mut self.repair.fetches) {
            return;
        }
        match outcome {
            Outcome::Stored { .. } => self.repair.made += 1,
            Outcome::Read { entry } => self.bytes = u32::try_from(entry.size).ok(),
            _ => self.repair.lacking.clear(),
        }
        self.offer(context);
    }

    fn offer(&mut self, context: &mut InquiryContext<'_>) {
        let held = context.desk.wanted_size(&context.key);
        let (size, leases) = (held.or(self.bytes).unwrap_or(0), self.leases(context));
        self.pass_over(context);
        for peer in std::mem::take(&mut self.repair.lacking) {
            self.repair.out.insert(peer.addr);
            let block = (context.key, size);
            if held.is_some() {
                context.desk.offer_held(context.ticket, Urgency::Own, block, peer);
            } else {
                context.desk.offer(context.ticket, Urgency::Own, block, leases.clone(), peer);
            }
        }
        self.end_repair_if_over(context);
    }

    /// A peer took the block, or did not: then one next to the replica set may stand in.
    pub(super) fn on_offer_ended(&mut self, context: &mut InquiryContext<'_>, to: Peer, result: Result<(), Refusal>) {
        if !self.repair.out.remove(&to.addr) {
            return;
        }
        match result {
            Ok(()) => self.repair.made += 1,
            Err(refusal) => {
                let (key, reason) = (context.key, format!("{to}: {refusal}"));
                context.desk.progress(context.command, Progress::Retried { key, reason });
                if !self.repair.replaced.remove(&to.addr) {
                    return self.offer_in_stead(context);
                }
            }
        }
        self.end_repair_if_over(context);
    }

    /// Offers the block to one next to the replica set, if any is left.
    fn offer_in_stead(&mut self, context: &mut InquiryContext<'_>) {
        let next = self.stand_in(context);
        self.repair.lacking.extend(next);
        self.offer(context);
    }

    /// A peer is silent, or does not begin to take what it is offered: another one is offered it too. If the peer lives
    /// and takes nothing, it is not waited for.
    pub(super) fn on_late(&mut self, context: &mut InquiryContext<'_>, news: News<'_>) -> InquiryTurn {
        let (addr, is_late) = match news {
            // Others have taken theirs: it is not the way out that is slow.
            News::Hesitates(addr) => (addr, self.repair.made > 0),
            News::Doubtful(addr) | News::Stalls(addr) => (addr, true),
            _ => return InquiryTurn::Goes,
        };
        if !is_late || !self.repair.out.contains(&addr) {
            return InquiryTurn::Goes;
        }
        if matches!(news, News::Stalls(_)) && self.repair.passed_over.insert(addr) {
            tell_passed_over(context.desk, (context.command, context.key), (&addr, addr), BEGINS_NOTHING);
        }
        if self.repair.replaced.insert(addr) {
            self.offer_in_stead(context);
        } else {
            self.end_repair_if_over(context);
        }
        self.go_on(context)
    }

    /// Once all is tried, the copies are looked for anew.
    fn end_repair_if_over(&mut self, context: &mut InquiryContext<'_>) {
        if self.repair.is_under_way() {
            return;
        }
        if !std::mem::take(&mut self.repair.out).is_empty() {
            context.desk.drop_offers(|other| *other == context.ticket);
        }
        if std::mem::take(&mut self.repair.lent) {
            context.desk.withdraw(context.ticket.number, context.key);
        }
        self.begin(context);
    }
}
