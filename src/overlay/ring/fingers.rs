//! fix_fingers: shortcuts across the circle (Chord, ToN 2003, section IV-D and figure 6).
//!
//! Finger `k` is the successor of this peer's id plus 2^k. Those that the successor list covers are not kept.

use std::net::SocketAddr;

use super::table::Hop;
use super::{Ring, Why};
use crate::overlay::{Effect, Target};
use crate::peer::Peer;
use crate::wire::ring::Routed;

impl Ring {
    /// Renews all fingers, one after the other.
    pub(super) fn start_fixing_fingers(&mut self, out: &mut Vec<Effect>) {
        self.upkeep.hurry = true;
        self.upkeep.next_finger = None;
        self.fix_next_finger(out);
    }

    /// One finger was renewed, or could not be: the next, if all are being renewed.
    pub(super) fn go_on_fixing_fingers(&mut self, out: &mut Vec<Effect>) {
        if self.upkeep.hurry {
            self.fix_next_finger(out);
        }
    }

    /// Renews one finger.
    pub(super) fn fix_next_finger(&mut self, out: &mut Vec<Effect>) {
        let bits = self.options.bits;
        let covered = self
            .table
            .successors()
            .last()
            .copied()
            .filter(|_| self.options.fingers && self.table.successors().len() >= self.options.successors);
        let number = self.upkeep.next_finger.take().unwrap_or(bits - 1);
        let start = self.me.id.plus_power_of_two(number, bits);
        match covered {
            Some(last) if !start.is_between(&self.me.id, &last.id) => {
                self.upkeep.next_finger = number.checked_sub(1);
                self.upkeep.hurry &= self.upkeep.next_finger.is_some();
                self.fix_finger(number, out);
            }
            // The successor list covers this finger and all below it.
            _ => {
                self.upkeep.hurry = false;
                (0..=number).for_each(|number| self.table.drop_finger(number));
            }
        }
    }

    /// Asks for the successor of a finger's start; fingers that the successor list covers are not needed.
    fn fix_finger(&mut self, number: usize, out: &mut Vec<Effect>) {
        let start = self.me.id.plus_power_of_two(number, self.options.bits);
        if let hop @ (Hop::Last(to) | Hop::Via(to)) = self.hop(&start, &[]) {
            let request = self.routed(Routed::Lookup { key: start }, hop);
            let to: Target = to.into();
            self.ask(to, request, Why::Finger(number), out);
        }
    }

    /// The successor of a finger's start has answered, itself.
    pub(super) fn on_finger(&mut self, number: usize, from: SocketAddr, peers: &[Peer], out: &mut Vec<Effect>) {
        if let Some(owner) = peers.first().filter(|owner| owner.addr == from && !self.upkeep.is_dead(owner)) {
            self.table.set_finger(number, *owner);
        }
        self.go_on_fixing_fingers(out);
    }
}
