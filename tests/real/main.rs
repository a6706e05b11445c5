//! What the real program promises: started as users start it, on real sockets, pipes, terminals and disks. Most of
//! these tests wait for processes, so one program runs them, several at a time (`.cargo/config.toml`).

#![allow(clippy::disallowed_methods, reason = "a test has a deadline by the clock on the wall")]

mod addresses;
mod again;
mod cli;
mod cluster;
mod console;
mod datagrams;
mod disk;
mod ending;
mod faults;
mod hardship;
mod hostile;
mod marker;
mod network_key;
mod pages;
mod resting;
mod ring_classroom;
mod signals;
mod stalling;
mod stepping;
mod streams;
mod support;
mod terminal;
