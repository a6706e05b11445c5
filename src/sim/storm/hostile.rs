//! Hostile peers in a storm: what they may bring about.

use std::time::Duration;

use super::Storm;
use crate::id::Id;
use crate::node::Answer;
use crate::sim::hostile::HostileRole;
use crate::sim::network;
use crate::sim::world::Violation;

/// Bytes a second that an honest peer sends at most of its own accord: 320 to 460 were seen where nothing strikes, up
/// to 2,840 in storms, as blocks are made anew.
const USUAL: u64 = 8 * 1024;

/// Bytes a second that all honest peers together send at most on account of a hostile one: 79 to 134 KiB were seen in
/// 23 storms, of seeds 1000 to 1005, with five and ten of them. Most are answers to the flooders, which send 500
/// requests a second each.
const FOR_ONE: u64 = 192 * 1024;

/// Where no fault strikes but they, a user has what is asked for by then: 2.0 s were seen with one peer of each role.
const STORM_ANSWERED_BY: Duration = Duration::from_secs(5);

/// The same in a classroom. A store waits 10 s for a replica that swallows what it is offered, and behind an earlier
/// one of the same name for that one as well: 15.9 s were seen.
const SOON_NAMED: Duration = Duration::from_secs(25);

impl Storm<'_> {
    /// Hostile peers join, each with its role.
    pub(super) fn let_in_the_hostile(&mut self) {
        let classroom = self.plan.classroom;
        let roles = HostileRole::ALL;
        // A classroom has two at most: each seed has two others.
        let first = if classroom { self.plan.seed as usize % roles.len() } else { 0 };
        for (role, _) in roles.into_iter().cycle().skip(first).zip(0..self.plan.hostile) {
            let id = if classroom { self.number_behind() } else { Id::random(self.world.rng()) };
            let slot = self.world.add(id);
            self.world.turn_hostile(slot, role);
            self.world.start(slot, &[0]);
        }
    }

    /// Honest peers, those that are down among them.
    pub(super) fn honest(&self) -> u64 {
        (0..self.world.slots()).filter(|&slot| !self.world.is_hostile(slot)).count() as u64
    }

    /// What the hostile peers brought about is looked at; then they are gone.
    pub(super) fn see_off_the_hostile(&mut self) -> Result<(), Violation> {
        let hostile = self.plan.hostile;
        if hostile == 0 {
            return Ok(());
        }
        let most = USUAL + FOR_ONE * hostile as u64 / self.honest();
        if self.rate > most {
            return self.breach(format!(
                "an honest peer sent {} bytes a second in the storm, and {most} at most are its to send",
                self.rate
            ));
        }
        for slot in self.world.up() {
            self.check_table(slot)?;
        }
        for slot in (0..self.world.slots()).filter(|&slot| self.world.is_hostile(slot)).collect::<Vec<_>>() {
            self.world.crash(slot);
        }
        Ok(())
    }

    /// An honest peer knows no peer that never was, and not hostile ones alone. (A classroom has so few peers that in
    /// bad weather one may know a single other for a moment, and that may be a hostile one.)
    fn check_table(&self, slot: usize) -> Result<(), Violation> {
        let table = self.world.node(slot).map(|node| node.overlay().peers()).unwrap_or_default();
        let slot_of = |addr| network::slot(addr).filter(|&known| known < self.world.slots());
        if let Some(nobody) = table.iter().find(|peer| slot_of(peer.addr).is_none()) {
            return self.breach(format!("peer {slot} has {nobody} in its table, who never was"));
        }
        let is_hostile = |addr| slot_of(addr).is_some_and(|known| self.world.is_hostile(known));
        let is_small = self.plan.classroom && !self.plan.striking().is_empty();
        if !is_small && !table.is_empty() && table.iter().all(|peer| is_hostile(peer.addr)) {
            return self.breach(format!("peer {slot} knows {} hostile peers and nobody else", table.len()));
        }
        Ok(())
    }

    /// The same about a named file, which is promised or not.
    pub(super) fn note_named(&mut self, answer: &Answer, promised: bool) -> Result<(), Violation> {
        let took = match answer {
            Answer::FileStored { took, .. } | Answer::FileReceived { took, .. } => Some(*took),
            _ => None,
        };
        if self.is_raging {
            self.tally.slowest = self.tally.slowest.max(took.unwrap_or_default());
        }
        let strikes = self.plan.hostile == 0 || !self.plan.striking().is_empty();
        if strikes || took.map_or(!promised, |took| took <= SOON_NAMED) {
            return Ok(());
        }
        self.breach(format!("hostile peers kept a user from what was asked for: {answer:?}"))
    }

    /// Notes how long a user waited. Where hostile peers alone strike, users have what they ask for, and soon.
    pub(super) fn note_served(&mut self, answer: &Answer) -> Result<(), Violation> {
        if let Answer::Stored { took, .. } | Answer::Retrieved { took, .. } = answer
            && self.is_raging
        {
            self.tally.slowest = self.tally.slowest.max(*took);
        }
        if self.plan.hostile == 0 || !self.plan.striking().is_empty() {
            return Ok(());
        }
        match answer {
            Answer::Stored { took, .. } | Answer::Retrieved { took, .. } if *took <= STORM_ANSWERED_BY => Ok(()),
            other => self.breach(format!("hostile peers kept a user from what was asked for: {other:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::HostileRole;
    use crate::overlay::OverlayKind;
    use crate::sim::{StormPlan, Trace};

    fn run(plan: &StormPlan) {
        let report = plan.run(Trace::off()).unwrap_or_else(|violation| panic!("{violation}\n    {plan}"));
        println!("{plan}\n    {report}");
    }

    #[test]
    fn among_hostile_peers_of_every_role_all_promises_are_kept_and_no_user_waits_for_long() {
        for kind in [OverlayKind::Kademlia, OverlayKind::Ring] {
            for seed in [1000, 1005] {
                let random = StormPlan::random(kind, seed);
                // In one of them nothing else strikes.
                let faults = if seed == 1000 { 0 } else { random.faults };
                run(&StormPlan { hostile: HostileRole::ALL.len(), faults, ..random });
            }
        }
    }
}
