//! `looker-N`: looks at files, and for the address of this machine, now and then, while no other thread waits. A file
//! system that hangs keeps only its looker.
//!
//! A look has a thread of its own while it lasts. The [sweeper](super::sweeper) starts it when it is due, unless the
//! last one has yet to end.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::post::Post;
use super::secrecy::{KEY_CHECKED, Keyring};
use super::seldom::Seldom;
use super::threads::{Roster, Worker};
use super::{Role, Shared, fault, since_1970, sockets};
use crate::node::Event;
use crate::store::StoreError;
use crate::time::Time;

/// It is noted this often that the peer runs, so that the next start knows for how long it did not.
const NOTE: Duration = Duration::from_secs(600);

/// Whether the data folder is there is looked at this often.
const FOLDER_LOOK: Duration = Duration::from_secs(2);

/// Whether others reach this peer at another address by now is looked at this often.
const ADDRESS_LOOK: Duration = Duration::from_secs(2);

/// The looks of a peer.
pub(super) struct Lookers {
    looks: Vec<TimedLook>,
    roster: Roster,
    started: u64,
}

/// Something that is done now and then.
struct TimedLook {
    every: Duration,
    next: Time,
    work: Arc<dyn Fn() + Send + Sync>,
    last: Option<Worker>,
}

impl Lookers {
    /// Nothing is looked at yet.
    pub(super) fn new(roster: Roster) -> Self {
        Self { looks: Vec::new(), roster, started: 0 }
    }

    /// At the file of the network keys and at the data folder, if there are such; where others reach this peer, if that
    /// can change; and where it is noted that the peer runs.
    pub(super) fn of(shared: &Arc<Shared>, posts: &Post, address: Option<AddressWatch>, roster: Roster) -> Self {
        let (mut lookers, now) = (Self::new(roster), shared.clock.now());
        if let Some(keys) = shared.keys.clone().filter(|keys| keys.is_watched()) {
            lookers.add(KEY_CHECKED, now + KEY_CHECKED, move || Keyring::look(&keys));
        }
        if shared.store.has_place() {
            let (shared, posts, watch) = (Arc::clone(shared), posts.clone(), FolderWatch::default());
            lookers.add(FOLDER_LOOK, now + FOLDER_LOOK, move || watch.look(&shared, &posts));
        }
        if let Some(watch) = address {
            let posts = posts.clone();
            lookers.add(ADDRESS_LOOK, now + ADDRESS_LOOK, move || watch.look(&posts));
        }
        let shared = Arc::clone(shared);
        lookers.add(NOTE, now, move || shared.store.runs(since_1970()));
        lookers
    }

    /// Adds one: `work`, first at `next`, and then every so often.
    pub(super) fn add(&mut self, every: Duration, next: Time, work: impl Fn() + Send + Sync + 'static) {
        self.looks.push(TimedLook { every, next, work: Arc::new(work), last: None });
    }

    /// When the next look is due.
    pub(super) fn next(&self) -> Option<Time> {
        self.looks.iter().map(|look| look.next).min()
    }

    /// Starts the looks that are due.
    pub(super) fn start(&mut self, now: Time) {
        for look in self.looks.iter_mut().filter(|look| look.next <= now) {
            look.next = now + look.every;
            if look.last.as_ref().is_some_and(|last| !last.is_finished()) {
                continue;
            }
            self.started += 1;
            let work = Arc::clone(&look.work);
            let work = move || {
                fault::point(Role::Looker);
                work();
            };
            // Where the system starts no thread now, it may for the next look.
            look.last = self.roster.spawn_another(Role::Looker, self.started, work).ok();
        }
    }
}

/// Whether the node was told that the data folder is gone.
#[derive(Default)]
struct FolderWatch {
    /// When it was, in seconds since 1970; 0 if the folder is there. Looks come one after another (`Relaxed`).
    gone_since: AtomicU64,
    told: Seldom,
}

impl FolderWatch {
    fn look(&self, shared: &Shared, posts: &Post) {
        let (gone_since, now) = (self.gone_since.load(Ordering::Relaxed), since_1970().as_secs());
        let is_here = shared.store.is_here();
        let (event, gone_since) = match (is_here, gone_since) {
            (true, 0) => return,
            (true, since) => match back(shared, now.saturating_sub(since)) {
                Ok(event) => (event, 0),
                Err(error) => {
                    let level = self.told.level(shared.clock.now());
                    return log::log!(level, "what is in the data folder counts once it can be read: {error}");
                }
            },
            (false, 0) => (Event::FolderGone, now),
            (false, _) => return,
        };
        if posts.send(event).is_ok() {
            self.gone_since.store(gone_since, Ordering::Relaxed);
        }
    }
}

fn back(shared: &Shared, off: u64) -> Result<Event, StoreError> {
    let held = shared.store.scan()?;
    let notes = shared.store.load_notes(&held)?;
    Ok(Event::FolderBack { held, notes, off })
}

/// Where others reach a peer that listens on all addresses of its machine.
pub(super) struct AddressWatch {
    bound: SocketAddr,
    /// Those to whom datagrams leave from there.
    known: Vec<SocketAddr>,
    /// The IP that the node was told last, in two halves. Looks come one after another (`Relaxed`).
    told: [AtomicU64; 2],
}

impl AddressWatch {
    /// None for a peer that listens on one address.
    pub(super) fn new(bound: SocketAddr, known: Vec<SocketAddr>, told: SocketAddr) -> Option<Self> {
        let watch = Self { bound, known, told: Default::default() };
        watch.note(told.ip());
        sockets::only(bound).is_none().then_some(watch)
    }

    fn look(&self, posts: &Post) {
        let [high, low] = self.told.each_ref().map(|half| half.load(Ordering::Relaxed));
        let told = Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low)).to_canonical();
        let addr = sockets::by_now(self.bound, SocketAddr::new(told, self.bound.port()), &self.known);
        if addr.ip() != told && posts.send(Event::Moved { addr }).is_ok() {
            self.note(addr.ip());
            log::info!("others reach this peer at {addr} from now on, and not at {told}");
        }
    }

    fn note(&self, ip: IpAddr) {
        let bits = match ip {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
            IpAddr::V6(ip) => ip.to_bits(),
        };
        let halves = [(bits >> 64) as u64, bits as u64];
        self.told.iter().zip(halves).for_each(|(half, bits)| half.store(bits, Ordering::Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::channels::POSTS;

    #[test]
    fn the_node_is_told_once_that_others_reach_it_elsewhere() {
        let (to, posted) = POSTS.open();
        let (posts, bound) = (Post::new(to, None), "0.0.0.0:7000".parse().unwrap());
        let now = sockets::advertised(bound, std::iter::empty());
        for told in ["127.0.0.1:7000", "203.0.113.7:7000"] {
            let watch = AddressWatch::new(bound, Vec::new(), told.parse().unwrap()).expect("it is on all addresses");
            (0..3).for_each(|_| watch.look(&posts));
            let events: Vec<Event> = posted.try_iter().map(|posted| posted.event).collect();
            // A machine without a network has no other address to tell of.
            let moved = (!now.ip().is_loopback()).then_some(Event::Moved { addr: now });
            assert_eq!(events, Vec::from_iter(moved), "{told}");
        }
        let one = "127.0.0.1:7000".parse().unwrap();
        assert!(AddressWatch::new(one, Vec::new(), one).is_none(), "it listens there, whatever comes");
    }
}
