//! The threads of a live peer: a row and a file for each role, and [`LocalPeer`], which starts and joins them.
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
//! | `sweeper` | `sweeper.rs` | the node's next deadline | the file of the network keys, the lock of the data folder | the deadline that is armed | ends the peer |
//! | `tcp-accept` | `tcp_accept.rs` | connections | the TCP listener | the numbers of connections | ends the peer |
//! | `tcp-serve-N` | `tcp_serve.rs` | requests on a connection | its connection, files | its connection | loses its connection |
//! | `transfer-N` | `transfer/mod.rs` | jobs: blocks to fetch, hash and write | files, connections to other peers | its job, and the reader that goes with it | loses its job, which fails |
//! | `link-N` | `links.rs` | lines for another peer | its connection | its connection | loses its line |
//! | `signals` | `signals.rs` | SIGINT, SIGTERM, SIGHUP and SIGQUIT | the wait for a signal, and half a second for an answer | whether a signal came before | ends the peer |
//! | `recorder` | `recorder.rs` | what happened, for the record | the record's file | the record's file | ends the peer |
//! | `events` | `events.rs` | notices, for a file or a reader | that file or reader | the file of events | loses the events that follow |
//! | `console` | the program | commands | standard input and output | the terminal | ends the peer |
//! | `control` | `control.rs` | clients of the control socket | the control socket | the clients that are connected | ends the peer |
//! | `client-N` | `control.rs` | a client's line, then its end | its connection | its connection | loses its client |
//! | `command-N` | `control.rs` | the answer to a command of a client, or of a line that ends with `&` | the writes to its client, or to standard output; files of a folder | its session | loses its command |
//! | `renewer` | `renewer.rs` | the next lease of the catalogue that is to be renewed | the catalogue | when the next renewal is due | ends the peer |
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
//! | answers | console, signals, command-N, renewer | 256 | progress is lost, an answer never |
//! | notices | those who watch | 256 | the watcher misses it, and learns how many it missed |
//! | datagrams | node | 64 | the batch is lost, and counted |
//! | ticks | node | 1 | the tick that waits will do for both |
//! | connections | tcp-serve-N | 128 | the longest idle one makes room |
//! | posts | node | 128 | the sender waits: the node takes on, and waits for no other thread |
//! | commands | node | 256 | the sender waits: the node takes on, and waits for no other thread |
//! | renewals | renewer | 1 | the renewer is woken already |
//! | clients | client-N | 64 | the client is turned away |
//! | line | command-N | 1 | a client has one line |
//!
//! # Architecture invariants
//! - Workers may wait for the node, the node waits for no other thread: no circle of sends that wait can form. A test
//!   follows the rows of the table.
//! - The sockets of the network are bound before any thread is spawned, that of `control` before its own. Every thread
//!   is joined when the peer ends (`ending.rs`), unless it is stuck: then it is named and left behind. A panic never
//!   leaves half a peer (`roles.rs`).
//! - Nothing here knows which overlay runs.

mod bounded_lines;
mod channels;
mod clock;
mod control;
pub mod demo;
mod descriptors;
pub(crate) mod ending;
mod events;
pub(crate) mod fault;
mod links;
mod look;
mod named;
pub(crate) mod node_loop;
mod offers;
mod pause;
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
mod submit;
pub mod survey;
pub(crate) mod sweeper;
mod tcp_accept;
mod tcp_serve;
mod temporary;
mod threads;
pub(crate) mod transfer;
mod twins;
mod udp;
mod watchdog;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::Receiver;

pub use clock::{both_since_1970, since_1970, stopwatch};
pub use control::{MAX_CLIENTS as MAX_COMMANDS, ServeClient, connect};
pub use descriptors::raise_descriptor_limit;
pub use events::Tell;
pub use look::{Gauge, QueueSeen, ThreadSeen, ThreadsSeen, Wanted, own_digits, waits};
pub(crate) use look::{PROGRAM, enter as enter_gauges};
pub use pause::{MAX_PAUSE, Pause};
pub use renewer::Bell;
pub use roles::Role;
pub use secrecy::{Keyring, KeyringError, new_key};
pub use signals::ends as ending_signals;
pub use sockets::{canonical, every_address};
pub use start::StartError;
pub(crate) use stream::Origin;
pub use stream::{Outlet, Spooled};
pub use submit::bytes_to_move;
pub use temporary::temporary_folder;
pub(crate) use transfer::{is_ours_alone, put_whole, read_manifest, temporary_names};

use self::clock::Clock;
use self::named::Folder;
use self::served::Served;
use self::state::State;
use self::submit::Submit;
use self::threads::Roster;
use self::transfer::{Connections, Ledger};
use crate::config::Config;
use crate::id::Id;
use crate::lease::UnixTime;
use crate::node::{Command, Notice};
pub use crate::overlay::{OverlayKind, RingOptions};
use crate::peer::Peer;
use crate::store::DiskStore;
use crate::wire::Dialect;

/// How to start a peer. The default is a peer of its own on the loopback address, with a temporary store.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen, UDP and TCP; port 0 takes any that is free for both.
    pub bind: SocketAddr,
    /// The data folder; without one, a temporary folder that goes with the peer.
    pub data: Option<PathBuf>,
    /// The peer's id; without one, that of the data folder, or a random one.
    pub id: Option<Id>,
    /// Addresses of peers to join through.
    pub bootstrap: Vec<SocketAddr>,
    /// Those of them that belong to one host: once it answers at one, it is not sought at the others.
    pub hosts: Vec<Vec<SocketAddr>>,
    /// How keys map to peers.
    pub overlay: OverlayKind,
    /// What is special about the ring, where that is the overlay.
    pub ring: Option<RingOptions>,
    /// How the node behaves.
    pub config: Config,
    /// What SIGINT, SIGTERM and SIGHUP ask of the peer; none leaves signals alone.
    pub on_signal: Option<Command>,
    /// What SIGINT asks instead.
    pub on_interrupt: Option<Command>,
    /// SIGINT ends the process at once, as any second signal does, by that signal. This is done before.
    pub on_abrupt_end: Option<LastAct<i32>>,
    /// The last act of the node's thread once the peer has ended, whatever other threads are at then.
    pub on_end: Option<LastAct<Ended>>,
    /// What reads the notices on a thread of its own, from the very first on.
    pub events: Option<Tell>,
    /// Where to write every event, for a replay.
    pub record: Option<PathBuf>,
    /// The working directory, where files are kept by their names: the classroom ring's.
    pub files: Option<PathBuf>,
    /// Bytes of the largest file that is taken there from another peer.
    pub max_file: u64,
    /// The keys under which everything is sealed; without any, all is open.
    pub keys: Option<Arc<Keyring>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            data: None,
            id: None,
            bootstrap: Vec::new(),
            hosts: Vec::new(),
            overlay: OverlayKind::default(),
            ring: None,
            config: Config::default(),
            on_signal: None,
            on_interrupt: None,
            on_abrupt_end: None,
            on_end: None,
            events: None,
            record: None,
            files: None,
            max_file: 1 << 30,
            keys: None,
        }
    }
}

/// What is done at the end, told of what ends it: the number of a signal, or how the peer ended.
#[derive(Clone)]
pub struct LastAct<T>(pub Arc<dyn Fn(T) + Send + Sync>);

impl<T> fmt::Debug for LastAct<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LastAct")
    }
}

/// A peer that is ready: it listens, runs and has joined.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ready {
    /// Its id.
    pub id: Id,
    /// Its UDP port.
    pub udp: u16,
    /// Its TCP port.
    pub tcp: u16,
    /// Peers it found when it joined.
    pub peers: usize,
}

/// How a peer ended.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub enum Ended {
    /// It left, as it was told.
    #[default]
    Left,
    /// A fault of ours: one of its threads failed without which it would be half a peer. It left at once.
    Failed {
        /// The thread's name.
        thread: String,
        /// What its panic said.
        reason: String,
    },
}

/// A running peer. Dropping it makes it leave at once, without a handover, and joins its threads.
pub struct LocalPeer {
    handle: Handle,
    signals: Option<signals::Watch>,
    control: Option<control::Control>,
    renewals: Option<Bell>,
    clock: Clock,
    _temporary: Option<tempfile::TempDir>,
}

/// Talks to a running peer, from any thread.
#[derive(Clone)]
pub struct Handle {
    me: Peer,
    commands: Submit,
    state: Arc<State>,
    roster: Roster,
}

/// The commands of one who may end them all at once, such as a client of the control socket.
#[derive(Clone)]
pub struct Session {
    id: submit::SessionId,
    handle: Handle,
    /// Set once, before the node is told to end the commands that it has. A command that comes to the node after that
    /// was given by a thread that sees it set and tells the node again (`SeqCst`, as the channel to the node).
    cancelled: Arc<AtomicBool>,
}

/// What the threads of a peer share beside their channels.
struct Shared {
    clock: Clock,
    dialect: Dialect,
    keys: Option<Arc<Keyring>>,
    store: DiskStore,
    folder: Option<Folder>,
    ledger: Arc<Ledger>,
    connections: Connections,
    served: Served,
    /// Set once. What its readers do next rests on nothing that was written before, and the shutdown of their sockets
    /// wakes them to see it (`Relaxed`).
    stopping: AtomicBool,
}

impl LocalPeer {
    /// Starts a peer: binds its sockets, opens its store, spawns its threads and begins to join.
    ///
    /// # Errors
    /// [`StartError`] says what could not be had. Nothing is left running then.
    pub fn start(options: Options) -> Result<Self, StartError> {
        start::start(options, Arc::default())
    }

    /// Starts a peer, and watches it from its very first notice on: see [`notices`](Self::notices).
    ///
    /// # Errors
    /// Those of [`start`](Self::start).
    pub fn start_watched(options: Options) -> Result<(Self, Receiver<Notice>), StartError> {
        let state = Arc::<State>::default();
        let notices = state.watch();
        Ok((start::start(options, state)?, notices))
    }

    /// Who this peer is.
    pub fn me(&self) -> Peer {
        self.handle.me
    }

    /// Waits until the peer has joined, or there is nobody to join. None if `limit` passed or the peer ended before.
    /// Who would rather be called back gives the peer a [`Tell`].
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use kadring::runtime::{LocalPeer, Options, OverlayKind};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let limit = Some(Duration::from_secs(60));
    /// for overlay in [OverlayKind::Kademlia, OverlayKind::Ring] {
    ///     let first = LocalPeer::start(Options { overlay, ..Options::default() })?;
    ///     let bootstrap = vec![first.me().addr];
    ///     let second = LocalPeer::start(Options { overlay, bootstrap, ..Options::default() })?;
    ///     let ready = second.ready(limit).ok_or("it did not join in time")?;
    ///     assert_eq!(ready.peers, 1);
    ///
    ///     let key = second.handle().put(&b"any bytes"[..], limit)?;
    ///     assert_eq!(first.handle().get(key, std::io::sink(), limit)?, 9);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn ready(&self, limit: Option<Duration>) -> Option<Ready> {
        let handle = &self.handle;
        let peers = handle.state.wait_ready(limit)?;
        let port = handle.me.addr.port();
        Some(Ready { id: handle.me.id, udp: port, tcp: port, peers })
    }

    /// To talk to this peer from other threads. A handle does not keep it running: it ends when it quits, or when this
    /// value is dropped.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Listens for clients on the Unix socket `control` in `folder`, which only this user may open. Each client says
    /// one line, and `serve` does what it says: see [`ServeClient`]. When the client says more, or leaves, the commands
    /// of its session are ended.
    ///
    /// # Errors
    /// The system refuses the socket or the thread.
    pub fn listen(&mut self, folder: &Path, serve: ServeClient) -> io::Result<()> {
        self.control = Some(control::listen(folder, &self.handle, serve)?);
        Ok(())
    }

    /// Renews leases as long as the peer runs, from now on. `renew` renews those that are due by commands to the
    /// `handle`, and returns when the next will be, in seconds since 1970; none if it knows of nothing that ends. That
    /// something is due sooner, the `bell` tells, for the first time too.
    ///
    /// # Errors
    /// The system refuses the thread.
    pub fn renew(
        &mut self,
        bell: &Bell,
        renew: impl FnMut(&Handle) -> Option<UnixTime> + Send + 'static,
    ) -> io::Result<()> {
        self.renewals = Some(bell.clone());
        bell.take(&self.handle, renew)
    }

    /// Asks for `command`: see [`Handle::submit`].
    pub fn submit(&self, command: Command) -> Receiver<Notice> {
        self.handle.submit(command)
    }

    /// What the peer tells unasked: peers that come and go, blocks stored and repaired. A watcher that does not keep up
    /// misses some.
    pub fn notices(&self) -> Receiver<Notice> {
        self.handle.notices()
    }

    /// Waits until the peer has quit, and joins every thread. It tells whether the peer left as it was told; who waits
    /// for nothing but the end need not look.
    pub fn wait(self) -> Ended {
        let roster = &self.handle.roster;
        roster.join(|role| role == Role::Node, None);
        roster.end()
    }
}

impl Drop for LocalPeer {
    fn drop(&mut self) {
        // Heard of no more, if the peer has quit.
        self.handle.roster.leave();
        if let Some(renewals) = &self.renewals {
            renewals.close();
        }
        ending::join_last(&self.handle.roster, self.clock, self.signals.take(), self.control.take());
    }
}

impl Session {
    /// See [`Handle::submit`].
    pub fn submit(&self, command: Command) -> Receiver<Notice> {
        let notices = self.handle.commands.submit(self.id, command);
        if self.cancelled.load(Ordering::SeqCst) {
            self.handle.commands.cancel(self.id);
        }
        notices
    }

    /// See [`Handle::pause`]. The end of this session ends it.
    pub fn pause(&self, span: Duration) -> Receiver<Pause> {
        let told = self.handle.commands.pause(self.id, span);
        if self.cancelled.load(Ordering::SeqCst) {
            self.handle.commands.cancel(self.id);
        }
        told
    }

    /// Ends the commands of this session, those under way and those to come; each has its own answer.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::SeqCst);
        self.handle.commands.cancel(self.id);
    }

    /// Its number, which no other session of the peer has.
    pub fn number(&self) -> u64 {
        self.id
    }

    /// Runs `work`, which gives the commands of this session or does a part of one, on the thread `command-N`. A panic
    /// in it ends no more than this work.
    ///
    /// # Errors
    /// The system refuses the thread.
    pub fn spawn(&self, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let work = || {
            fault::point(Role::Command);
            work();
        };
        self.handle.roster.spawn_another(Role::Command, self.id, work).map(|_| ())
    }

    /// Whether it was told to end.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
    }

    /// The peer.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Handle {
    /// Asks for `command`. What comes back is its progress, then exactly one answer, then the end. If the peer has
    /// ended before it answers, the end comes without one. Where hundreds of commands wait for the node, this waits for
    /// room. A caller that leaves hundreds of notices unread misses progress, never the answer.
    pub fn submit(&self, command: Command) -> Receiver<Notice> {
        self.commands.submit(submit::NOBODYS, command)
    }

    /// Has the node stand still for `span`, [`MAX_PAUSE`] at most, as if its process was stopped: its neighbours take
    /// it for dead. An interrupt or an order to leave ends that. What comes back is its beginning, then its end; if the
    /// peer has ended, nothing.
    pub fn pause(&self, span: Duration) -> Receiver<Pause> {
        self.commands.pause(submit::NOBODYS, span)
    }

    /// Commands that can be ended together.
    pub fn session(&self) -> Session {
        Session { id: self.commands.new_session(), handle: self.clone(), cancelled: Arc::default() }
    }

    /// See [`LocalPeer::notices`].
    pub fn notices(&self) -> Receiver<Notice> {
        self.state.watch()
    }

    /// The notices that are `wanted`. For the others nobody is woken, which costs the node more than most of its turns.
    pub fn notices_for(&self, wanted: fn(&Notice) -> bool) -> Receiver<Notice> {
        self.state.watch_for(wanted)
    }

    /// Who the peer is.
    pub fn me(&self) -> Peer {
        self.me
    }

    /// The names of the peer's threads that run now.
    pub fn threads(&self) -> Vec<String> {
        self.roster.names()
    }

    /// Has this thread, one of the program's, seen among those of the peer for as long as what is returned lives.
    pub fn show_thread(&self, name: &str) -> impl Sized + use<> {
        look::enter(self.roster.number(), name)
    }

    /// Runs `work`, which reads commands, on the thread `console` beside the peer's own. A panic in it ends the peer,
    /// as in any thread that the peer cannot do without. Nobody waits for its end: nothing portable wakes a thread that
    /// is stuck in a read of standard input.
    ///
    /// # Errors
    /// The system refuses the thread.
    pub fn spawn_console(&self, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.roster.spawn(Role::Console, work).map(|_| ())
    }
}
