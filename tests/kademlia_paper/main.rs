//! What the Kademlia paper promises, a test for each promise (Maymounkov and Mazières 2002), and what we promise beyond.

mod lookups;
#[path = "../net/mod.rs"]
mod net;
mod network;
mod peers;
mod table;
