//! What was recorded, for people: the moments of one peer or of many, laid side by side.
//!
//! A [record](crate::record) is one stream of moments, written by a live peer, or a storm with all of its peers.
//! [`reader`] reads it line by line; [`history`] puts the records of several peers on one clock, finds the message that
//! each arrival is, and what each moment came of; `words` says what happened in a few words; [`columns`], [`page`],
//! [`picture`] and [`chrome`] draw it; [`changes`] tells what the peers knew, [`diff`] compares two runs.

mod align;
pub mod changes;
pub mod chrome;
pub mod columns;
pub mod diff;
mod find;
pub mod history;
mod only;
pub mod page;
pub mod picture;
pub mod reader;
mod way;

pub(super) use crate::record::words;
