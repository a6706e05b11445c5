//! fix_fingers: shortcuts across the circle (Chord, ToN 2003, section IV-D and figure 6).
//!
//! Finger `k` is the successor of this peer's id plus 2^k. Those that the successor list covers are not kept.

use super::table::Hop;
use super::{QuestionFor, Ring};
use crate::id::Id;
use crate::overlay::Effect;
use crate::peer::Peer;
use crate::wire::ring::Routed;

/// Which finger is renewed next.
#[derive(Default)]
pub(super) struct FingerCursor {
    /// None: the one that reaches furthest.
    next: Option<usize>,
    /// Whether all are being renewed, one after the other.
    all: bool,
}

impl Ring {
    /// Renews all fingers, one after the other.
    pub(super) fn start_fixing_fingers(&mut self, out: &mut Vec<Effect>) {
        self.cursor = FingerCursor { next: None, all: true };
        self.fix_next_finger(out);
    }

    /// One finger was renewed, or could not be: the next, if all are being renewed.
    pub(super) fn go_on_fixing_fingers(&mut self, out: &mut Vec<Effect>) {
        if self.cursor.all {
            self.fix_next_finger(out);
        }
    }

    /// Renews the finger of this round, unless all are being renewed.
    pub(super) fn fix_one_finger(&mut self, out: &mut Vec<Effect>) {
        if !self.cursor.all {
            self.fix_next_finger(out);
        }
    }

    /// Renews one finger: asks for the successor of its start. A finger that would be this peer itself is dropped, and
    /// so are those that the successor list covers, however short it is: after a death it is short for a while, and the
    /// fingers beyond its end are as good as before.
    fn fix_next_finger(&mut self, out: &mut Vec<Effect>) {
        let bits = self.options.bits;
        let last = self.table.successors().last().copied().filter(|_| self.options.fingers);
        let mut next = Some(self.cursor.next.take().unwrap_or(bits - 1));
        while let Some(number) = next {
            let start = self.start_of_finger(number);
            if last.is_none_or(|last| start.is_between(&self.me.id, &last.id)) {
                (0..=number).for_each(|number| self.table.drop_finger(number));
                break;
            }
            next = number.checked_sub(1);
            let what = Routed::Lookup { key: start };
            // The one that it was knows whether it still is, or who came before it.
            let known = self.table.finger(number).filter(|_| !self.cursor.all).map(Hop::Last);
            if let hop @ (Hop::Last(to) | Hop::Via(to)) = known.unwrap_or_else(|| self.hop(what, &[])) {
                self.cursor.next = next;
                self.cursor.all &= next.is_some();
                let request = self.routed(what, hop, true);
                return self.ask(to, request, QuestionFor::Finger(number), out);
            }
            self.table.drop_finger(number);
        }
        self.cursor.all = false;
    }

    /// Where the finger points: the successor of this id is to be found.
    pub(super) fn start_of_finger(&self, number: usize) -> Id {
        self.me.id.plus_power_of_two(number, self.options.bits)
    }

    /// The successor of a finger's start is known.
    pub(super) fn set_finger(&mut self, number: usize, owner: Peer, out: &mut Vec<Effect>) {
        self.table.set_finger(number, owner);
        self.go_on_fixing_fingers(out);
    }
}
