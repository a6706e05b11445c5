//! kadring: a decentralised file store on a distributed hash table, built from plain threads.
//!
//! A handful of peers keep files alive without a server. A file is cut into blocks; a block's name is the SHA-256 of
//! its bytes; each block lives on the peers whose ids are nearest to its name. Two overlays decide what *nearest*
//! means: Kademlia asks ever nearer peers itself, the ring (Chord) forwards the question along. Everything above them
//! is written once.
//!
//! # The threads
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
//! One thread, `node`, owns the routing table, the pending requests and the list of what is held, so none of them needs
//! a lock. It waits for its inboxes alone, never for a connection or another thread's work, nor for a disk, but that it
//! may close a file and that the command `pause` has it stand still. Most other threads wait for one thing and hand on
//! what came; workers and writers do what would block. [`runtime`] has a row for each role, which names its file; the
//! picture is drawn from the rows. `log` is one more thread, the program's, which writes standard error.
//!
//! # Map of the house
//! Imports point only downwards; within a row, `console` uses `runtime`, `classroom` uses `node`, and the words use one
//! another. A test holds this, but for the words.
//!
//! | layer | rooms | owns |
//! |---|---|---|
//! | program | `main.rs`, `args`, `commands`: parse, start, wait | nothing that lasts |
//! | drivers | [`runtime`] real threads and sockets · [`sim`] a virtual clock and network · [`console`] what people type and read | sockets, files, the clock |
//! | account | [`record`]: a node's life as lines that replay, and what happened in words | – |
//! | core | [`node`]: an event in, actions out · [`classroom`]: one more part of it, files by their names | what is held and what is under way |
//! | routing | [`overlay`]: the seam · [`overlay::kademlia`] · [`overlay::ring`] | the routing table |
//! | matter | [`wire`] messages and limits · [`store`] bytes by hash · [`file`](mod@file) files as trees of blocks · [`seal`] what a network key does | the blocks' bytes |
//! | words | [`id`] · [`time`] · [`peer`] · [`name`] · [`network`] · [`lease`] · [`agenda`] · `recent` · `as_text` · `path_text` · [`raw_text`] · [`patience`] · [`config`] · `locks` · `gauges` · `source` · `sums` · `svg` · [`whole_file`] | – |
//!
//! # A reading path
//! If you would rather see it first, begin at [`start_here`]: six steps in an hour, each with a command.
//!
//! Four things that happen, each from its first file to its last. About a quarter of an hour each, the code beside it.
//!
//! 1. **One datagram.** What can happen and what can be done: [`node::event`], [`node::action`]. A datagram is received
//!    by [`runtime`]'s `udp-recv`, parsed by [`wire::kad`] or [`wire::ring`], and handed in one batch to the node's
//!    thread ([`runtime::node_loop`]), which calls [`Node::handle`](node::Node::handle). The [`node::exchange`] gives a
//!    request its [`Asker`](overlay::Asker), or finds out what an answer answers; the overlay ([`overlay::kademlia`])
//!    or a part says what to reply. Asked for a block that is held here, that is [`node::keeping::answering`]. The
//!    reply leaves the node as an [`Action::Send`](node::Action::Send); [`runtime::node_loop`] (`perform`) has it
//!    encoded into the batch that leaves (`Outgoing::push` in [`runtime::udp`]), which goes out at the end of the turn
//!    (`flush`, there too).
//! 2. **One store.** [`console`] has a line parsed ([`console::grammar`]) into a [`LineTask`](console::spec::LineTask).
//!    [`console::perform`] has its words looked up in the catalogue ([`console::finding`]), and hands what stores on to
//!    `store_all` in [`console::folder::store`]. That makes [`Command`](node::Command)s of it and submits them
//!    ([`runtime::submit`]); [`runtime::node_loop`] (`on_command`) hands each to the node, which gives it to the part
//!    that it is for ([`node::commands`]): [`node::files::put`]. That orders a job ([`node::jobs`]): a worker reads and
//!    hashes a block ([`runtime::transfer`]). What came of the job is an outcome ([`node::outcomes`]), and reaches the
//!    part as a `Reply`. Now it has the overlay look up where the block belongs ([`overlay::kademlia::searches`], or
//!    [`overlay::ring::route`]). What the overlay wants asked is an [`Effect`](overlay::Effect), which
//!    [`node::effects`] hands to the [`node::exchange`]: that makes the first datagram of it, and [`runtime::udp`]
//!    sends it. With the peers found, the part offers them the block at the [`node::desk`]. That sends nothing yet: at
//!    the end of the turn [`node::exchange`] (`make_offers`) does. [`node::keeping::pulls`] on the other side pulls it
//!    into its [`store`], and says `saved` once it is durable. That answer comes back as a datagram (on the ring
//!    through `tcp-serve` and the channel `posts` where a datagram was lost or would be too long, and always from older
//!    peers and in the classroom) to [`node::exchange`] (`on_answer`). Whether the copy was pulled from here, `proof`
//!    in [`node::exchange::deliveries`] knows: the thread that serves blocks noted the pull, and the node heard of it
//!    as an [`Event::Delivered`](node::Event::Delivered). The answer goes on by `Node::deliver` in [`node`] to the part
//!    that judges claims, `Judge` in [`node::claims`], which calls `judge` in [`node::desk::claims`]: it has a copy
//!    shown that was not pulled from here, and waits to hear whether its holder can be connected to
//!    ([`node::desk::reach`]). Both are jobs of these two parts, so the thread goes on where a job ends, as above. Then
//!    `pass_verdict` passes the answer on as `Reply::OfferEnded`; `Node::hand_on` takes it, and `Node::reply` brings
//!    it, by the ticket, to the part that made the offer: here `Tasks::on` in [`node::files::task`], from there
//!    `Put::on` in [`node::files::put`], and `Put::on_offer_ended` ([`node::files::put::further`]), which counts it.
//!    Last, `Put::offer_on` ([`node::files::put`]) decides which peer is offered the block next, or that its round is
//!    over.
//! 3. **One timeout.** [`node::exchange::pending`] has the deadline of each request; [`node::exchange::schedule`]
//!    decides when to ask again and when to give up, by the table in [`patience`];
//!    [`Node::next_wake`](node::Node::next_wake) is the first of all deadlines, and [`runtime::sweeper`] waits for it.
//!    What is late, and what has failed, the overlay hears as a [`Cause`](overlay::Cause); a part hears what became of
//!    what it asked as a `Reply`, by the ticket.
//! 4. **One shutdown.** See below; [`runtime::ending`] from top to bottom.
//!
//! Then one overlay ([`overlay::kademlia`] or [`overlay::ring`]), and the simulator that drives the very same core
//! ([`sim::world`]): an hour each.
//!
//! # One shutdown
//! | step | who sets it | who reads it | what follows |
//! |---|---|---|---|
//! | told to leave | `quit`, at the console or through the control socket, a signal, the end of input with `--exit-on-eof`: a [`Command`](node::Command); or the peer is dropped: the channel `leave` | the node: `Life` | the user's stores, retrieves and what else may take long end; what the others have not answered by the end fails |
//! | no part has to stay | the parts: `keeps_here`, which only the classroom's uses | the node ([`node::commands`]) | the departure begins: blocks are handed over |
//! | handed over, or time is up | the part [`node::keeping::departure`] | the node: `Life::SayingGoodbye` | the overlay says goodbye |
//! | goodbyes heard, or not needed | [`node::exchange`] | the node: `Life::Stopped`, [`Action::Stop`](node::Action::Stop) | the node's loop ends |
//! | the loop has ended | the node's thread | [`runtime::ending`] | inboxes close, sockets are shut down, the threads that wait on sockets or do jobs are joined within a limit, then the recorder |
//! | the threads of the control socket, which write the last answers, then `events` and `renewer`, have ended | [`runtime::ending`] | the peer's owner | `signals` ends |
//! | all but `console` are joined or left behind | [`runtime::ending`] | the program | the exit code, of [`Ended`](runtime::Ended) and of the commands' answers |
//! | the process has yet to end | a peer that has ended sets an alarm, as does the last act of a signal | the kernel: `SIGALRM` 8 s later | `main` returns, or a second signal ends the process by that signal (`runtime::signals`), or `process::exit` does, in `commands` where nobody reads what `ctl` writes. Where output or a disk is stuck, the alarm does |
//!
//! A panic in a thread that a peer needs makes the node leave at once, without a handover; then the last four rows
//! follow.
//!
//! # Words, never swapped
//! An [`Event`](node::Event) happened. An [`Action`](node::Action) shall be done. A [`Command`](node::Command) is what
//! a user asks. A [`Message`](wire::Message) travels. A [`Notice`](node::Notice) is told: to the caller that gave a
//! command (its progress and its answer), or to those that watch the peer. A `Ticket` is kept with what a part asks for
//! and never leaves this peer, a `Reply` comes back under it. A [`Cause`](overlay::Cause) is what an overlay hears of,
//! an [`Effect`](overlay::Effect) what it wants. A [`Job`](node::job::Job) is work for a worker, an
//! [`Outcome`](node::job::Outcome) what came of it. Inside: a *part* does one thing for users or peers, and asks at the
//! *desk*; the *exchange* says it to others. A *magic* names a request on the wire, a *tag* one in the overlay.
//!
//! # Use as a library
//! ```no_run
//! use kadring::node::{Answer, Command, Notice};
//! use kadring::runtime::{LocalPeer, Options};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // What it keeps is in this folder, and there again when the next peer starts in it.
//! let peer = LocalPeer::start(Options { data: Some("data".into()), ..Options::default() })?;
//! let ready = peer.ready(None).ok_or("the peer ended before it was ready")?;
//! println!("peer {} listens on port {}", ready.id, ready.udp);
//!
//! let store = Command::Store { path: "report.pdf".into(), manifest: None, keep: false };
//! for notice in peer.submit(store) {
//!     match notice {
//!         Notice::Answer { answer: Answer::Stored { key, .. }, .. } => println!("retrieve it with {key}"),
//!         Notice::Answer { answer: Answer::Failed(failure), .. } => eprintln!("not stored: {failure}"),
//!         _ => {}
//!     }
//! }
//!
//! // It hands over to others what it keeps, and leaves.
//! peer.submit(Command::Quit { handover: true });
//! peer.wait();
//! # Ok(())
//! # }
//! ```
//! Bytes and streams need no path: [`put`](runtime::Handle::put) stores what a reader gives,
//! [`get`](runtime::Handle::get) and [`get_range`](runtime::Handle::get_range) write a file, or a part of it, to a
//! writer; each takes a time limit, or none. What is on no lease can never be deleted:
//! [`put_on`](runtime::Handle::put_on) takes one, and [`Command::on`](node::Command::on).
//!
//! A build with debug assertions has what the tests of the program need: the environment variables `KADRING_FAULT` (a
//! thread that panics), `KADRING_CLOCK` (a clock that is wrong) and `KADRING_WEATHER` (datagrams that get lost). A
//! build for release has none of it.

pub mod agenda;
mod as_text;
pub mod classroom;
pub mod config;
pub mod console;
pub mod file;
mod gauges;
pub mod id;
pub mod lease;
mod locks;
pub mod name;
pub mod network;
pub mod node;
pub mod overlay;
mod path_text;
pub mod patience;
pub mod peer;
pub mod raw_text;
mod recent;
pub mod record;
pub mod runtime;
pub mod seal;
pub mod sim;
mod source;
pub mod start_here {
    #![doc = include_str!("start_here.md")]
}
pub mod store;
mod sums;
mod svg;
pub mod time;
pub mod whole_file;
pub mod wire;
