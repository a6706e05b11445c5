//! What the Kademlia paper promises, a test for each promise (Maymounkov and Mazières 2002), and what we promise beyond.

#[path = "../kademlia_net/mod.rs"]
mod kademlia_net;
mod lookups;
mod network;
mod peers;
mod table;
