//! What a handful of real peers promises: files survive restarts, kills, liars and silence.

mod clusters;
mod dying;
mod keeping;
mod lying;
