//! What the Chord papers promise, a test a sentence. "SIGCOMM" is Stoica et al. 2001, "ToN" the journal version of
//! 2003.

mod deaths;
mod invariant;
mod joining;
mod leaving;
mod lookups;
mod named_files;
mod rings;
mod strangers;
