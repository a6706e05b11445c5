//! Standard input and standard error, as others leave them: written to by several, read by nobody.

mod named_pipes;
mod running;
#[path = "../support/mod.rs"]
mod support;
mod unread;
