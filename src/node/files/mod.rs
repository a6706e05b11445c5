//! Files on their way into the network, out of it, and out of this peer's own store.

mod clear;
mod get;
mod piece;
mod placing;
mod put;

pub(super) use clear::Clears;
pub(super) use get::Gets;
pub(super) use put::Puts;

/// Whether something goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Flow {
    Goes,
    Over,
}
