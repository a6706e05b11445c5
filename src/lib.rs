//! kadring: a decentralised file store on a distributed hash table, built from plain threads.

pub mod config;
pub mod console;
pub mod file;
pub mod id;
pub mod node;
pub mod overlay;
pub mod peer;
pub mod runtime;
pub mod sim;
pub mod store;
pub mod time;
pub mod wire;
