//! Files on their way into the network, out of it, and out of this peer's own store; how safe they are, and for how
//! long they are kept.

mod check;
mod clear;
mod get;
mod lease;
mod list_reading;
mod options;
mod placing;
pub(crate) mod put;
pub(crate) mod task;

use std::ops::ControlFlow;

pub(super) use check::Checks;
pub(super) use clear::Clears;
pub(super) use get::Gets;
#[cfg(test)]
pub(super) use get::MADE;
pub(super) use lease::{Lays, LeaseChanges};
pub(super) use put::Puts;

/// Whether something goes on, or is over: `?` hands on that it is.
type Flow = ControlFlow<()>;

const GOES_ON: Flow = ControlFlow::Continue(());
const OVER: Flow = ControlFlow::Break(());
