//! What the Kademlia paper promises, a test for each promise (Maymounkov and Mazières 2002), and what we promise
//! beyond.

mod lookups;
mod network;
mod peers;
mod table;
