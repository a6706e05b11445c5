//! Hostile peers in a storm: what they may bring about.

use std::time::Duration;

use super::{STORM, Storm};
use crate::id::Id;
use crate::node::Answer;
use crate::sim::hostile::Role;
use crate::sim::network;
use crate::sim::world::Violation;

/// Bytes a second that an honest peer sends at most of its own accord, and on account of each hostile one.
const USUAL: u64 = 4 * 1024;
const FOR_ONE: u64 = 256 * 1024;

/// Where no fault strikes but they, a user has what is asked for by then.
const SOON: Duration = Duration::from_secs(10);

impl Storm<'_> {
    /// Hostile peers join, each with its role.
    pub(super) fn let_in_the_hostile(&mut self) {
        for (role, _) in Role::ALL.into_iter().cycle().zip(0..self.plan.hostile) {
            let id = Id::random(self.world.rng());
            let slot = self.world.add(id);
            self.world.turn_hostile(slot, role);
            self.world.start(slot, &[0]);
        }
    }

    /// What the hostile peers brought about is looked at; then they are gone.
    pub(super) fn see_off_the_hostile(&mut self) -> Result<(), Violation> {
        if self.plan.hostile == 0 {
            return Ok(());
        }
        let sent = self.world.counts().tally.all().bytes - self.sent_before;
        let (honest, hostile) = (self.world.slots() as u64, self.plan.hostile as u64);
        let most = (USUAL * honest + FOR_ONE * hostile) * STORM.as_secs();
        if sent > most {
            return self
                .breach(format!("honest peers sent {sent} bytes in the storm, and at most {most} are theirs to send"));
        }
        for slot in self.world.up() {
            let table = self.world.node(slot).map(|node| node.overlay().peers()).unwrap_or_default();
            let is_real = |addr| network::slot(addr).is_some_and(|slot| slot < self.world.slots());
            if let Some(nobody) = table.iter().find(|peer| !is_real(peer.addr)) {
                return self.breach(format!("peer {slot} has {nobody} in its table, who never was"));
            }
            let hostile = table
                .iter()
                .filter_map(|peer| network::slot(peer.addr))
                .filter(|&slot| self.world.is_hostile(slot))
                .count();
            let honest = table.len() - hostile;
            if honest == 0 && hostile > 0 {
                return self.breach(format!("peer {slot} knows {hostile} hostile peers and nobody else"));
            }
        }
        for slot in (0..self.world.slots()).filter(|&slot| self.world.is_hostile(slot)).collect::<Vec<_>>() {
            self.world.crash(slot);
        }
        Ok(())
    }

    /// Where hostile peers alone strike, users have what they ask for, and soon.
    pub(super) fn check_served(&self, answer: &Answer) -> Result<(), Violation> {
        if self.plan.hostile == 0 || !self.plan.striking().is_empty() {
            return Ok(());
        }
        match answer {
            Answer::Stored { took, .. } | Answer::Retrieved { took, .. } if *took <= SOON => Ok(()),
            other => self.breach(format!("hostile peers kept a user from what was asked for: {other:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::overlay::OverlayKind;
    use crate::sim::{StormPlan, Trace};

    #[test]
    #[ignore = "it was not yet run to its end: the bounds above have still to be measured"]
    fn among_hostile_peers_of_every_role_all_promises_are_kept_and_no_user_waits_for_long() {
        for seed in 1000..1004 {
            let random = StormPlan::random(OverlayKind::Kademlia, seed);
            // In half of them nothing else strikes.
            let faults = if seed % 2 == 0 { 0 } else { random.faults };
            let plan = StormPlan { hostile: 5, faults, ..random };
            plan.run(Trace::off()).unwrap_or_else(|violation| panic!("{violation}\n    {plan}"));
        }
    }
}
