//! What a part of the node is, and how it asks: under a ticket that comes back with the reply.
//!
//! A part does one thing for users or peers. It keeps its own state, asks for what it needs at the [`Desk`], and hears
//! what comes of it through one function, [`Part::on`]. In between it waits for nothing. It does not see the id of a
//! request of its own, only that of an [`Asker`]'s. The judge of [claims](super::desk::claims) alone is told that of an
//! offer: the id says which bytes of the block are hashed to show it.

use super::command::{Command, CommandId};
use super::desk::Desk;
use super::failure::FailureKind;
use super::health::Scrubbing;
use super::job::Version;
use super::ticket::{News, Reply, Ticket};
use crate::name::FileName;
use crate::overlay::Asker;
use crate::time::Time;
use crate::wire::Request;

/// A part of the node. Being in its list of parts is all that it takes to be woken, ticked and checked.
///
/// A new part touches, beside its own file: the line that names that file in the module above, a variant of
/// [`PartId`](super::ticket::PartId), and a row in [`PARTS`](super::parts). A part that the user commands has a variant
/// of `Command` and an arm in `commands.rs`, one that other peers ask an arm in `Node::on_request`. A request that is
/// new on the wire has its kind in `wire/message.rs` and its text in both dialects of `wire`; then the compiler names
/// each list of requests that lacks it.
pub(crate) trait Part: Send {
    /// Something came of what this part asked for under `ticket`.
    fn on(&mut self, desk: &mut Desk, ticket: Ticket, reply: Reply);

    /// The user gives a command that is this part's.
    fn on_command(&mut self, _desk: &mut Desk, id: CommandId, command: Command) {
        debug_assert!(false, "command {id} is for another part: {command:?}");
    }

    /// Another peer asks for something that is this part's.
    fn on_request(&mut self, _desk: &mut Desk, _asker: Asker, request: Request) {
        debug_assert!(false, "a request for another part: {request:?}");
    }

    /// Something happened that several parts have to know.
    fn on_news(&mut self, _desk: &mut Desk, _news: News<'_>) {}

    /// Does what is due.
    fn on_tick(&mut self, _desk: &mut Desk) {}

    /// When it wants to be ticked next.
    fn next_wake(&self, _desk: &Desk) -> Option<Time> {
        None
    }

    /// Things that it has under way.
    fn under_way(&self) -> usize {
        0
    }

    /// The named files that it keeps, in the order of names, if this peer keeps any.
    fn named_files(&self, _desk: &Desk) -> Option<Vec<(FileName, Version)>> {
        None
    }

    /// How far it is with reading all blocks, if it does that.
    fn scrubbing(&self, _desk: &Desk) -> Option<Scrubbing> {
        None
    }

    /// Ends what it does for the user, or for one command; how many commands that ended.
    fn end(&mut self, _desk: &mut Desk, _whose: Option<CommandId>, _kind: FailureKind, _reason: &str) -> usize {
        0
    }

    /// Whether this peer, which is to leave, must not go yet.
    fn keeps_here(&self, _desk: &Desk) -> bool {
        false
    }

    /// What must be true between any two events; the simulator asks after each.
    fn check(&self, _desk: &Desk) -> Result<(), String> {
        Ok(())
    }
}
