//! Starting a peer: sockets first, then the store, then the threads.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crossbeam_channel::Receiver;
use rand::rngs::{StdRng, SysRng};
use rand::{RngExt, SeedableRng, TryRng};
use thiserror::Error;

use super::channels::{DATAGRAMS, LEAVE, POSTS, SPENT, TICKS};
use super::clock::{Clock, both_since_1970, since_1970};
use super::descriptors::{self, ConnectionShares};
use super::ending::{self, Ending};
use super::links::Links;
use super::looker::{AddressWatch, Lookers};
use super::named::WorkingFolder;
use super::node_loop::{Inboxes, LoopState, NodeLoop};
use super::post::Post;
use super::recorder::Record;
use super::state::Readiness;
use super::temporary::temporary_folder;
use super::threads::Roster;
use super::transfer::{Connections, Pool};
use super::udp::{Inbox, Outgoing};
use super::{
    Ended, Handle, LastAct, LocalPeer, Options, Role, Shared, events, signals, sockets, submit, sweeper, tcp_accept,
    udp,
};
use crate::classroom;
use crate::id::{Id, Key};
use crate::node::{Event, Node};
use crate::peer::Peer;
use crate::record::Beginning;
use crate::store::{DiskStore, StoreError};

/// Why a peer could not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// Another process listens there.
    #[error("{protocol} port {port} of {ip} is in use; name another with --port, or 0 for any", port = .addr.port(), ip = .addr.ip())]
    PortInUse {
        /// The address to listen on.
        addr: SocketAddr,
        /// `TCP` or `UDP`: a peer needs the port for both.
        protocol: &'static str,
    },
    /// The system refused the sockets.
    #[error("cannot listen on {addr}: {error}; --bind takes an address of this machine, or 0.0.0.0 for all")]
    Bind {
        /// The address to listen on.
        addr: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// The data folder is of no use.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The record cannot be written.
    #[error("cannot write the record '{path}': {error}")]
    Record {
        /// The record's path.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Threads, temporary folders or randomness: the system has none to give.
    #[error("the system refused {what}: {error}; see its limits (ulimit -a) and the room in its temporary folder")]
    System {
        /// What was asked for.
        what: &'static str,
        /// What the system says.
        error: io::Error,
    },
}

/// Peers known that the way to is looked up, to find out where others reach this one.
const MAX_WAYS: usize = 16;

fn system(what: &'static str) -> impl Fn(io::Error) -> StartError {
    move |error| StartError::System { what, error }
}

pub(super) fn start(mut options: Options, state: Arc<Readiness>) -> Result<LocalPeer, StartError> {
    descriptors::tell_of_few();
    let (udp, tcp) = sockets::bind(sockets::canonical(options.bind))?;
    let bound = udp.local_addr().map_err(system("the socket's address"))?;
    let (store, temporary) = open_store(&options)?;
    options.config.lasting &= temporary.is_none();
    options.config.resolves = options.resolve.is_some();
    let mut rng = chance()?;
    let id = own_id(&options, &store, &mut rng)?;
    let held = store.scan()?;
    options.config.capacity = options.config.capacity.or_else(|| usual_capacity(&store, &held));
    let remembered = store.load_peers();
    let bootstrap: Vec<SocketAddr> = options.bootstrap.iter().copied().map(sockets::canonical).collect();
    let known = bootstrap.iter().copied().chain(remembered.iter().map(|peer| peer.addr));
    let known: Vec<SocketAddr> = known.take(MAX_WAYS).collect();
    let me = Peer::new(id, sockets::advertised(bound, known.iter().copied()));
    let address = AddressWatch::new(bound, known, me.addr);
    let notes = store.load_notes(&held)?;
    // Leases count from here.
    both_since_1970();
    let (hosts, ran, unix_time) = (options.hosts.clone(), store.ran(), since_1970().as_secs());
    tell_of_clock(&options, unix_time.saturating_sub(ran));
    let start = Event::Start { bootstrap, hosts, remembered, held, notes, unix_time, ran };
    let (overlay_seed, node_seed) = (rng.random(), rng.random());
    let ring = options.ring.clone().unwrap_or_default();
    let overlay = options.overlay.build_with(me, overlay_seed, &options.config, &ring);
    let (clock, since_1970) = (Clock::start(), since_1970());
    let config = options.config.clone();
    let record = begin_record(&options, || {
        let beginning = Beginning::new(me, options.overlay, ring, config, (overlay_seed, node_seed));
        beginning.at(u64::try_from(since_1970.as_micros()).unwrap_or(u64::MAX))
    })?;
    let shared = Arc::new(shared(&options, clock, store, bound));
    let node = classroom::join(Node::new(options.config.clone(), overlay, node_seed));
    let (leave, leaving) = LEAVE.open();
    let others = Ending { shared, roster: Roster::new(&me.id, leave), udp: Arc::new(udp), tcp: Arc::new(tcp) };
    let parts = Parts { node, me, address, others: others.clone(), record, state, on_end: options.on_end };
    let events = options.events.map(|tell| (tell, Arc::clone(&parts.state)));
    let events = events.map(|(tell, state)| events::start(&others.roster, me, &state, tell));
    let handle = events.transpose().and_then(|_| spawn(parts, leaving, start)).map_err(|error| {
        others.end();
        system("a thread")(error)
    })?;
    // From here on an error drops it, and so ends it.
    let mut peer = LocalPeer { handle, signals: None, control: None, renewals: None, clock, _temporary: temporary };
    let asks = options.on_signal.map(|terminate| {
        let interrupt = options.on_interrupt.unwrap_or_else(|| terminate.clone());
        signals::Asks { interrupt, terminate, abrupt: options.on_abrupt_end }
    });
    let watch = asks.map(|asks| signals::SignalWatch::start(&peer.handle.roster, peer.handle.clone(), asks));
    peer.signals = watch.transpose().map_err(system("signals"))?;
    Ok(peer)
}

/// The source of all chance of this peer, seeded by the system.
fn chance() -> Result<StdRng, StartError> {
    let mut seed = [0; 32];
    SysRng.try_fill_bytes(&mut seed).map_err(|error| system("randomness")(io::Error::other(error)))?;
    Ok(StdRng::from_seed(seed))
}

/// What the threads share.
fn shared(options: &Options, clock: Clock, store: DiskStore, bound: SocketAddr) -> Shared {
    let folder = options.files.clone().map(|path| WorkingFolder::new(path, options.max_file));
    if let Some(folder) = &folder {
        folder.clear_away();
    }
    Shared {
        clock,
        dialect: options.overlay.dialect(),
        keys: options.keys.clone(),
        resolve: options.resolve.clone(),
        store,
        folder,
        ledger: Default::default(),
        connections: Connections::new(ConnectionShares::of_process().kept, sockets::only(bound), options.keys.clone()),
        served: Default::default(),
        stopping: AtomicBool::new(false),
    }
}

/// Begins the record that was asked for, if one was.
fn begin_record(options: &Options, beginning: impl FnOnce() -> Beginning) -> Result<Option<Record>, StartError> {
    let begin = |path: &PathBuf| {
        let record = Record::begin(path, &beginning());
        record.map_err(|error| StartError::Record { path: path.clone(), error })
    };
    options.record.as_ref().map(begin).transpose()
}

/// Leases end by the clock: the user of a peer that holds some may have to set it.
fn tell_of_clock(options: &Options, off: u64) {
    let days = off / (24 * 3600);
    if days > 1 && options.data.is_some() {
        log::warn!(
            "by the clock this peer was off for {days} days. What was kept for a while and has ended since goes after a day; if \
             the clock is wrong, set it and start the peer again"
        );
    }
}

fn open_store(options: &Options) -> Result<(DiskStore, Option<tempfile::TempDir>), StartError> {
    if let Some(folder) = &options.data {
        return Ok((DiskStore::open(folder)?, None));
    }
    if options.config.guest {
        return Ok((DiskStore::nowhere(), None));
    }
    let folder = temporary_folder().map_err(system("a temporary folder"))?;
    Ok((DiskStore::open(folder.path())?, Some(folder)))
}

/// Bytes of blocks that a peer keeps whose user did not say: half of what the disk could take of them in all. Strangers
/// decide what comes. None where that is not known.
fn usual_capacity(store: &DiskStore, held: &[(Key, u32)]) -> Option<u64> {
    let held: u64 = held.iter().map(|(_, size)| u64::from(*size)).sum();
    store.room().map(|room| (room + held) / 2)
}

/// The id asked for, else the one of the last run, else a new one; remembered for the next run.
fn own_id(options: &Options, store: &DiskStore, rng: &mut StdRng) -> Result<Id, StartError> {
    let last = store.load_id()?;
    let id = options.id.or(last).unwrap_or_else(|| Id::random(rng));
    if last != Some(id) {
        store.save_id(&id)?;
    }
    Ok(id)
}

/// What the threads are made of.
struct Parts {
    node: Node,
    me: Peer,
    address: Option<AddressWatch>,
    /// What the threads share, and what ends them.
    others: Ending,
    record: Option<Record>,
    state: Arc<Readiness>,
    on_end: Option<LastAct<Ended>>,
}

/// Spawns the threads. The node's ends the others when the node has left.
fn spawn(parts: Parts, leave: Receiver<()>, start: Event) -> io::Result<Handle> {
    let Parts { node, me, address, others, record, state, on_end } = parts;
    let Ending { shared, roster, udp, tcp } = others.clone();
    let (batches, datagrams) = DATAGRAMS.open();
    let (spent, emptied) = SPENT.open();
    let recorded = record.is_some().then_some(shared.clock);
    let (to_node, posts) = POSTS.open();
    let to_node = Post::new(to_node, recorded);
    let (commands, asked) = submit::channel(recorded);
    let (tick, ticks) = TICKS.open();
    let (alarm, deadlines) = sweeper::channel();
    let inboxes = Inboxes { datagrams, spent, posts, commands: asked, ticks, leave };

    let clock = shared.clock;
    let lookers = Lookers::of(&shared, &to_node, address, roster.clone());
    roster.spawn(Role::Sweeper, move || sweeper::run(clock, lookers, &deadlines, &tick))?;
    let (of_thread, socket) = (Arc::clone(&shared), Arc::clone(&udp));
    let reader = udp::DatagramReader::new(shared.dialect, shared.keys.clone());
    let inbox = Inbox { batches, spent: emptied };
    roster.spawn(Role::UdpRecv, move || udp::run(&of_thread.stopping, clock, socket, reader, &inbox))?;
    let (of_thread, posts, of_roster) = (Arc::clone(&shared), to_node.clone(), roster.clone());
    roster.spawn(Role::TcpAccept, move || tcp_accept::run(&of_thread, &tcp, &posts, &of_roster))?;

    let recorder = record.map(|record| record.go_on(&roster)).transpose()?;
    let handle = Handle { me, commands, state: Arc::clone(&state), roster: roster.clone() };
    let (pool, links) = (
        Pool::new(Arc::clone(&shared), to_node.clone(), roster.clone()),
        Links::new(shared.dialect, me, shared.keys.clone(), to_node, roster.clone()),
    );
    roster.spawn(Role::Node, move || {
        let _ended = EndedOnDrop { state: Arc::clone(&state), roster: others.roster.clone(), on_end };
        // What it gives to system calls points to memory, so it is made where it is used.
        let (udp, own) = (Outgoing::new(udp, shared.keys.clone()), LoopState::default());
        let mut node = NodeLoop { node, me, shared, inboxes, alarm, udp, pool, links, state, recorder, own };
        // Whatever happens to the node, the others end with it.
        others.roster.guard(Role::Node, Role::Node.name(), || node.run(start));
        ending::end(node, &others);
    })?;
    Ok(handle)
}

/// Tells that the peer has ended, however it ends.
struct EndedOnDrop {
    state: Arc<Readiness>,
    roster: Roster,
    on_end: Option<LastAct<Ended>>,
}

impl Drop for EndedOnDrop {
    fn drop(&mut self) {
        if let Some(LastAct(act)) = &self.on_end {
            act(self.roster.end());
        }
        self.state.ended();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_whose_user_does_not_say_keeps_half_of_what_the_disk_could_take_with_what_it_has() {
        let folder = tempfile::tempdir().unwrap();
        let store = DiskStore::open(folder.path()).unwrap();
        let held = vec![(Key::ZERO, 1 << 31); 2048];
        let room = store.room().unwrap();
        for (held, half) in [(&held[..0], room / 2), (&held, room / 2 + (1 << 41))] {
            // Others use this disk too.
            assert!(usual_capacity(&store, held).unwrap().abs_diff(half) < 1 << 30);
        }
    }
}
