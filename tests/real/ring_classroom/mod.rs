//! The classroom ring as a student sees it: every line of the assignment at the right peer, in order.

mod ending;
mod files;
mod program;
mod reporter;
mod starting;
mod stopping;
mod story;
mod typing;
