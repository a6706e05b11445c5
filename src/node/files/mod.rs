//! Files on their way into the network, out of it, and out of this peer's own store; how safe they are, and for how
//! long they are kept.

mod check;
mod clear;
mod get;
mod lease;
mod order;
mod piece;
mod placing;
pub(crate) mod put;

use std::collections::BTreeMap;

pub(super) use check::Checks;
pub(super) use clear::Clears;
pub(super) use get::Gets;
pub(super) use lease::{Lays, LeaseChanges};
pub(super) use put::Puts;

use super::command::{CommandId, is_meant};

/// Takes out what belongs to one command, or all of it.
fn take_those_of<T>(
    from: &mut BTreeMap<u64, T>,
    whose: Option<CommandId>,
    command: impl Fn(&T) -> CommandId,
) -> Vec<T> {
    let meant: Vec<u64> =
        from.iter().filter(|(_, of)| is_meant(whose, command(of))).map(|(&number, _)| number).collect();
    meant.iter().filter_map(|number| from.remove(number)).collect()
}

/// Whether something goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Flow {
    Goes,
    Over,
}
