//! The threads of a live peer: a row for each role, which names its file, [`LocalPeer`], which starts and joins them,
//! and [`Handle`], which talks to them.
//!
//! The picture and the two tables are printed from the rows in `roles.rs` and `channels.rs`; a test compares.
//!
//! ```text
//!                                         ┌──────┐
//!    udp-recv ── batches of datagrams ───►│      │── datagrams ──────────► the network
//!     sweeper ── ticks ──────────────────►│      │── empty batches ──────► udp-recv
//! tcp-serve-N ── ring messages, findings ►│      │── its next deadline ──► sweeper
//!  transfer-N ── outcomes, findings ─────►│      │── jobs ───────────────► transfer-N
//!      link-N ── undeliverable messages ─►│      │── ring messages ──────► link-N
//!     signals ── an order to end ────────►│ node │── what happened ──────► recorder
//!     console ── commands ───────────────►│      │── progress, answers ──► console, signals, command-N, renewer
//!    client-N ── an order to cancel ─────►│      │── notices ────────────► those who watch
//!   command-N ── commands ───────────────►│      │
//!     renewer ── commands ───────────────►│      │
//!    looker-N ── folder or address moved ►│      │
//!                                         └──────┘
//!  tcp-accept ── connections ──► tcp-serve-N
//!     console ── a lease that ends ──► renewer
//!     control ── clients ──► client-N
//!    client-N ── a line ──► command-N
//!   command-N ── a lease that ends ──► renewer
//! ```
//!
//! | thread | file | waits for | may block in | owns | its panic |
//! |---|---|---|---|---|---|
//! | `node` | `node_loop.rs` | whatever comes | nothing | the routing table, requests and jobs under way, what is held | ends the peer |
//! | `udp-recv` | `udp/mod.rs` | datagrams | the UDP socket | the count of lost datagrams | ends the peer |
//! | `sweeper` | `sweeper.rs` | the node's next deadline | nothing | the deadline that is armed, when each look is due | ends the peer |
//! | `tcp-accept` | `tcp_accept.rs` | connections | the TCP listener | the numbers of connections | ends the peer |
//! | `tcp-serve-N` | `tcp_serve.rs` | requests on a connection | its connection, files | its connection | loses its connection |
//! | `transfer-N` | `transfer/mod.rs` | jobs: blocks to fetch, hash and write | files, connections to other peers, look-ups of host names | its job, and the reader that goes with it | loses its job, which fails |
//! | `link-N` | `links.rs` | lines for another peer | its connection | its connection | loses its line |
//! | `signals` | `signals.rs` | SIGINT, SIGTERM, SIGHUP and SIGQUIT | the wait for a signal, and half a second for an answer | whether a signal came before | ends the peer |
//! | `recorder` | `recorder.rs` | what happened, for the record | the record's file | the record's file | ends the peer |
//! | `events` | `events.rs` | notices, for a file or a reader | that file or reader | the file of events | loses the events that follow |
//! | `console` | the program | commands | standard input and output | the terminal | ends the peer |
//! | `control` | `control.rs` | clients of the control socket | the control socket | the clients that are connected | ends the peer |
//! | `client-N` | `control.rs` | a client's line, then its end | its connection | its connection | loses its client |
//! | `command-N` | `control.rs` | the answer to a command of a client, or of a line that ends with `&` | the writes to its client, or to standard output; files of a folder | its session | loses its command |
//! | `renewer` | `renewer.rs` | the next lease of the catalogue that is to be renewed | the catalogue | when the next renewal is due | ends the peer |
//! | `looker-N` | `looker.rs` | the end of one look | the file of the network keys, the data folder | its look | loses its look |
//!
//! | channel | to | holds | when it is full |
//! |---|---|---|---|
//! | leave | node | 1 | the node is told already |
//! | network | the network | the socket's buffer | the datagram is lost |
//! | spent | udp-recv | 64 | the empty batch is freed |
//! | deadlines | sweeper | 1 | the sooner one takes the place |
//! | jobs | transfer-N | 16 | the job fails; the node has no more out |
//! | lines | link-N | 1024 | a request comes back, an answer is lost |
//! | moments | recorder | 16384 | moments are lost, and counted |
//! | answers | console, signals, command-N, renewer | 256 | progress is lost, but never what was kept nor an answer: each command has one, and `commands` bounds those |
//! | notices | those who watch | 256 | the watcher misses it, and learns how many it missed |
//! | datagrams | node | 64 | the sender waits for 0.25 s, and the socket keeps what comes; then the batch is lost, and counted |
//! | ticks | node | 1 | the tick that waits will do for both |
//! | connections | tcp-serve-N | 128 | one that is idle or stalled makes room, or the newcomer is turned away |
//! | posts | node | 128 | the sender waits: the node goes on taking, and waits for no other thread |
//! | commands | node | 256 | the sender waits: the node goes on taking, and waits for no other thread |
//! | renewals | renewer | 1 | the renewer is woken already |
//! | clients | client-N | 64 | the first that said nothing makes room, or the newcomer is told so |
//! | line | command-N | 1 | a client has one line |
//!
//! `connections`, `clients` and `line` are no channels: a thread is started with the thing itself, and the row gives
//! the limit. `answers` go to callers of the library too, and `notices` to no thread in particular.
//!
//! # Architecture invariants
//! - Workers may wait for the node, the node waits for no other thread: no circle of sends that wait can form. A test
//!   follows the rows of the table.
//! - The sockets of the network are bound before any thread is spawned, that of `control` before its own. Every thread
//!   but the console is joined when the peer ends (`ending.rs`), unless it is stuck: then it is named and left behind.
//!   A panic never leaves half a peer (`roles.rs`).
//! - Nothing here imports `overlay::kademlia` or `overlay::ring`: `start.rs` has `overlay` build the one that runs, and
//!   links are for the ring's lines.

mod bounded_lines;
mod channels;
mod clock;
mod control;
pub mod demo;
mod descriptors;
pub(crate) mod ending;
mod events;
pub(crate) mod fault;
mod file_lock;
mod handle;
mod lent;
mod links;
mod local_peer;
mod look;
mod looker;
mod named;
pub(crate) mod node_loop;
mod options;
mod pause;
mod portable;
mod post;
mod recorder;
mod renewer;
mod roles;
mod secrecy;
mod seldom;
mod send_file;
mod served;
mod signals;
mod sockets;
mod start;
mod state;
mod stream;
pub(crate) mod submit;
pub mod survey;
pub(crate) mod sweeper;
mod tcp_accept;
mod tcp_serve;
mod temporary;
mod threads;
pub(crate) mod transfer;
pub(crate) mod udp;
mod watchdog;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

pub use clock::{both_since_1970, since_1970, stopwatch};
pub use control::{MAX_CLIENTS as MAX_COMMANDS, ServeClient, connect};
pub use descriptors::raise_descriptor_limit;
pub use events::Tell;
pub(crate) use file_lock::{LETS_GO, lock_byte_within, lock_within};
pub use handle::{Handle, Session};
pub use local_peer::{Ended, LocalPeer, Ready};
pub use look::{Gauge, QueueSeen, ThreadSeen, ThreadsSeen, WantedLock, own_digits, waits};
pub(crate) use look::{PROGRAM, enter as enter_gauges};
pub use options::{JoinThrough, LastAct, Options, Resolve};
pub use pause::MAX_PAUSE;
pub use renewer::Bell;
pub use roles::Role;
pub use secrecy::{Keyring, KeyringError, new_key};
pub use signals::ends as ending_signals;
pub use sockets::{canonical, every_address};
pub use start::StartError;
pub(crate) use stream::Origin;
pub use stream::{Outlet, Spooled};
pub use submit::{Pause, bytes_to_move};
pub(crate) use temporary::WorkFolder;
pub use temporary::temporary_folder;
pub(crate) use transfer::{is_ours_alone, put_whole, read_manifest, temporary_names};

use self::clock::Clock;
use self::named::WorkingFolder;
use self::served::Served;
use self::transfer::{Connections, Ledger};
pub use crate::overlay::{OverlayKind, RingOptions};
use crate::store::DiskStore;
use crate::wire::Dialect;

/// What the threads of a peer share beside their channels.
struct Shared {
    clock: Clock,
    dialect: Dialect,
    keys: Option<Arc<Keyring>>,
    resolve: Option<Resolve>,
    store: DiskStore,
    folder: Option<WorkingFolder>,
    ledger: Arc<Ledger>,
    connections: Connections,
    served: Served,
    /// Set once. What its readers do next rests on nothing that was written before, and the shutdown of their sockets
    /// wakes them to see it (`Relaxed`).
    stopping: AtomicBool,
}
