//! The part that dials. Which peers this one [reaches](super::desk::reach) is known at the desk, for all parts that
//! make offers ask.

use super::desk::Desk;
use super::part::Part;
use super::ticket::{Reply, Ticket};
use crate::time::Time;

/// See [`Desk::dial`].
#[derive(Default)]
pub(super) struct Dialler;

impl Part for Dialler {
    fn on(&mut self, desk: &mut Desk, _ticket: Ticket, reply: Reply) {
        match reply {
            Reply::Done { job, outcome } => desk.on_dialled(job, &outcome),
            reply => debug_assert!(false, "a dialler asks for jobs alone: {reply:?}"),
        }
    }

    fn on_tick(&mut self, desk: &mut Desk) {
        desk.dial_again();
    }

    fn next_wake(&self, desk: &Desk) -> Option<Time> {
        desk.reach_wake()
    }

    fn check(&self, desk: &Desk) -> Result<(), String> {
        desk.check_reach()
    }
}
