//! How to start a peer.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use super::{Ended, Keyring, OverlayKind, RingOptions, Tell};
use crate::config::Config;
use crate::id::Id;
use crate::node::Command;

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
    /// Looks up the names that `bootstrap` was found by, where they are names: a peer that is alone has that done now
    /// and then.
    pub resolve: Option<Resolve>,
    /// How keys map to peers.
    pub overlay: OverlayKind,
    /// What is special about the ring, where that is the overlay.
    pub ring: Option<RingOptions>,
    /// How the node behaves.
    pub config: Config,
    /// What SIGINT, SIGTERM and SIGHUP ask of the peer; none leaves signals alone. A second one of these ends the
    /// process at once. SIGQUIT writes to standard error what each thread is at, and ends nothing. Once the peer is
    /// dropped, and every other that has this, the signals do again what they did before; a handler of the program's
    /// own shall be there before the first such peer starts.
    pub on_signal: Option<Command>,
    /// What SIGINT asks instead. Without `on_signal`, nothing.
    pub on_interrupt: Option<Command>,
    /// SIGINT ends the process at once, as any second signal does, by that signal. This is done before. Without
    /// `on_signal`, nothing does.
    pub on_abrupt_end: Option<LastAct<i32>>,
    /// The last act of the node's thread once the peer has ended, whatever other threads are at then. A panic in it is
    /// one of the peer's.
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
            resolve: None,
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

/// [`Options::bootstrap`] and [`Options::hosts`].
pub type JoinThrough = (Vec<SocketAddr>, Vec<Vec<SocketAddr>>);

/// Looks up names of hosts, and may take its time: where they lead by now, or why none of them leads anywhere.
#[derive(Clone)]
pub struct Resolve(pub Arc<dyn Fn() -> Result<JoinThrough, String> + Send + Sync>);

impl fmt::Debug for Resolve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolve")
    }
}
