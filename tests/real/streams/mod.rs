//! Standard input and standard error, as others leave them: written to by several, read by nobody.

mod named_pipes;
mod running;
mod unread;
