//! What whole networks promise, in virtual time: the papers' results, and what loss, churn, deaths and storms do to it.

mod churn;
mod connecting;
mod kademlia_paper;
mod leaving;
mod long_ways;
mod moving;
mod net;
mod overlay_contract;
mod repeats;
mod replays;
mod ring_paper;
mod seeing;
mod shut;
mod silent;
mod simulation;
mod watching;
