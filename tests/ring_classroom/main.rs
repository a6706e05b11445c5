//! The classroom ring as a student sees it: every line of the assignment at the right peer, in order.

mod ending;
mod files;
#[path = "../marker/mod.rs"]
mod marker;
mod program;
mod reporter;
mod starting;
mod stopping;
mod story;
#[path = "../support/mod.rs"]
mod support;
mod typing;
