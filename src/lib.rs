//! kadring: a decentralised file store on a distributed hash table, built from plain threads.
//!
//! A handful of peers keep files alive without a server. A file is cut into blocks; a block's name is the SHA-256 of
//! its bytes; each block lives on the peers whose ids are nearest to its name. Two overlays decide what *nearest* means:
//! Kademlia asks ever nearer peers itself, the ring (Chord) forwards the question along. Everything above them is
//! written once.
//!
//! # The threads
//! ```text
//!            datagrams                  ticks
//!  udp-recv ───────────┐      ┌──────── sweeper ◄── the next deadline ─┐
//!                      ▼      ▼                                        │
//!  console ─ commands ► n o d e ─────────────────────────────────────--┘
//!  signals ─ shutdown ►   │  ▲  ▲
//!                         │  │  └── ring messages ── tcp-serve-N ◄── tcp-accept
//!            datagrams ◄──┤  │                          │ block bytes
//!            jobs ────────┤  └── outcomes ──┐           ▼
//!            answers ◄────┘                 │     the block store
//!                         └────────► transfer-N ───────▲
//!
//!  whoever logs ─ lines ► log ► standard error
//! ```
//! One thread, `node`, owns the routing table, the pending requests and the list of what is held, so none of them needs
//! a lock. It never blocks. Every other thread exists to wait for one thing and turns what it waited for into a message.
//! [`runtime`] has one file for each role.
//!
//! # Map of the house
//! Imports point only downwards; a test holds the layers.
//!
//! | layer | rooms |
//! |---|---|
//! | drivers | [`runtime`] real threads and sockets · [`sim`] a virtual clock and network · [`console`] what people type and read |
//! | core | [`node`]: an event in, actions out; files in and out, repair, handover |
//! | routing | [`overlay`]: the seam · [`overlay::kademlia`] · [`overlay::ring`] |
//! | matter | [`wire`] messages and limits · [`store`] bytes by hash · [`file`](mod@file) files as trees of blocks |
//! | words | [`id`] · [`time`] · [`peer`] · [`config`] |
//!
//! # Five words, never swapped
//! An [`Event`](node::Event) happened. An [`Action`](node::Action) shall be done. A [`Command`](node::Command) is what
//! a user asks. A [`Message`](wire::Message) travels. A [`Notice`](node::Notice) is for whoever watches.
//!
//! # Use as a library
//! ```no_run
//! use kadring::node::{Answer, Command, Notice};
//! use kadring::runtime::{LocalPeer, Options};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let peer = LocalPeer::start(Options::default())?;
//! let ready = peer.ready(None).ok_or("the peer ended before it was ready")?;
//! println!("peer {} listens on port {}", ready.id, ready.udp);
//!
//! let store = Command::Store { path: "report.pdf".into(), manifest: None, keep: false };
//! for notice in peer.submit(store) {
//!     if let Notice::Answer { answer: Answer::Stored { key, .. }, .. } = notice {
//!         println!("retrieve it with {key}");
//!     }
//! }
//! # Ok(())
//! # }
//! ```

pub mod agenda;
pub mod classroom;
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
