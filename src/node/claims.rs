//! The part that judges what peers claim to hold. The [claims](super::desk::claims) stand at the desk, where those who
//! make offers take them back.

use super::desk::Desk;
use super::part::Part;
use super::ticket::{Reply, Ticket};
use crate::time::Time;

/// See [`Desk::judge`].
#[derive(Default)]
pub(super) struct Judge;

impl Part for Judge {
    fn on(&mut self, desk: &mut Desk, _ticket: Ticket, reply: Reply) {
        match reply {
            Reply::Claimed { offer, result } => desk.judge(offer, result),
            Reply::Done { job, outcome } => desk.on_looked_into(job, &outcome),
            reply => debug_assert!(false, "a judge asks for jobs alone: {reply:?}"),
        }
    }

    /// Tells those who wait too long to hear whether peers tell the truth.
    fn on_tick(&mut self, desk: &mut Desk) {
        while let Some(offer) = desk.next_late_claim() {
            desk.pass_on(offer.ticket, Reply::LateProof(offer.to));
        }
    }

    fn next_wake(&self, desk: &Desk) -> Option<Time> {
        desk.claims_wake()
    }

    fn check(&self, desk: &Desk) -> Result<(), String> {
        desk.check_claims()
    }
}
