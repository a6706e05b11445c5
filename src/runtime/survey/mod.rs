//! A survey: who is in a running network, and whom does each peer know?
//!
//! A surveyor is a guest: it asks and is never asked, and no table ever holds it. It starts at any peer and asks every
//! peer that it hears of. Of the ring's peers it learns their neighbours; of Kademlia's, whom they know near themselves
//! and near other places.
//!
//! Each peer is asked by a thread of its own, which waits for that peer alone: a peer that is silent holds up no other
//! thread. The thread that calls waits for what the others bring, and starts one for each peer that it learns of. All
//! of them have ended when the survey has.

mod ask;
mod heard_peers;

use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::bounded;
use rand::rngs::{StdRng, SysRng};
use rand::{RngExt, SeedableRng, TryRng};
use serde::Serialize;

use ask::{Guest, PingAnswer};
use heard_peers::HeardPeers;

use super::clock::Clock;
use super::secrecy::Keyring;
use super::sockets;
use crate::id::Id;
use crate::network::NetworkName;
use crate::overlay::OverlayKind;
use crate::peer::{Peer, on_which_bind};
use crate::time::Time;
use crate::wire::MAGIC_LIMIT;

/// Peers that are asked at a time.
const ASKERS: usize = 256;

/// All of it takes hardly longer: a peer that was not asked by then counts as silent.
const SURVEY_LIMIT: Duration = Duration::from_secs(15);

/// What is known of one peer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Surveyed {
    /// The peer.
    #[serde(flatten)]
    pub peer: Peer,
    /// Whether it answered; the other fields are empty if not.
    pub answered: bool,
    /// The ring: the peers before it, nearest first.
    pub predecessors: Vec<Peer>,
    /// The ring: the peers after it, nearest first.
    pub successors: Vec<Peer>,
    /// Every peer that it named.
    pub knows: Vec<Peer>,
    /// How many others named it.
    pub named_by: usize,
}

/// Asks a network's peers.
pub struct Surveyor {
    guest: Guest,
    rng: StdRng,
    target: Peer,
    overlay: OverlayKind,
}

impl Surveyed {
    fn new(peer: Peer, answered: bool) -> Self {
        let none = Vec::new;
        Self { peer, answered, predecessors: none(), successors: none(), knows: none(), named_by: 0 }
    }
}

impl Surveyor {
    /// A surveyor for the network of the peer at any of the addresses `targets`; which overlay that is, it finds out if
    /// it is not told. The network has this name, and its peers speak under `keys`, if any.
    ///
    /// # Errors
    /// The system refuses sockets, no peer answers ([`io::ErrorKind::TimedOut`]), or something that is no peer does
    /// ([`io::ErrorKind::InvalidData`]).
    pub fn new(
        targets: &[SocketAddr],
        overlay: Option<OverlayKind>,
        (network, keys): (NetworkName, Option<Arc<Keyring>>),
    ) -> io::Result<Self> {
        let targets: Vec<SocketAddr> = targets.iter().copied().map(sockets::canonical).collect();
        let mut seed = [0; 32];
        SysRng.try_fill_bytes(&mut seed).map_err(io::Error::other)?;
        let mut rng = StdRng::from_seed(seed);
        let guest = Guest { id: Id::random(&mut rng), any: sockets::every_address(), network, keys };
        let overlays = overlay.map_or(vec![OverlayKind::Kademlia, OverlayKind::Ring], |overlay| vec![overlay]);
        match guest.find(&targets, &overlays, magic(&mut rng))? {
            PingAnswer::Peer(target, overlay) => Ok(Self { guest, rng, target, overlay }),
            PingAnswer::Strange(addr, why) => {
                let reason = format!("something answers at {addr}, but: {why}");
                Err(io::Error::new(io::ErrorKind::InvalidData, reason))
            }
            PingAnswer::Nobody => {
                let names: Vec<String> = targets.iter().map(SocketAddr::to_string).collect();
                let names = names.join(", ");
                let bind = on_which_bind(&targets);
                let reason =
                    format!("nobody answers at {names}; does a peer of the network '{network}' run there{bind}?");
                Err(io::Error::new(io::ErrorKind::TimedOut, reason))
            }
        }
    }

    /// The peer that answered, at one of the addresses that were named.
    pub fn target(&self) -> Peer {
        self.target
    }

    /// Which overlay the network has.
    pub fn overlay(&self) -> OverlayKind {
        self.overlay
    }

    /// Asks the peers at `seeds`, and every peer that they and the others name, all at the same time. The peers that
    /// are known come back in the order of ids.
    ///
    /// # Errors
    /// The system starts not even one thread. That no peer answers is no error.
    pub fn survey(&mut self, seeds: &[SocketAddr]) -> io::Result<Vec<Surveyed>> {
        let (clock, mut crowd) = (Clock::start(), HeardPeers::default());
        seeds.iter().for_each(|addr| crowd.meet(*addr));
        let (guest, overlay) = (self.guest.clone(), self.overlay);
        let guest = &guest;
        thread::scope(|scope| {
            // Each of ASKERS threads sends once, and ends.
            let (tell, told) = bounded(ASKERS);
            let mut asking = 0;
            loop {
                while asking < ASKERS
                    && clock.now() < Time::ZERO + SURVEY_LIMIT
                    && let Some(addr) = crowd.next.pop()
                {
                    let (tell, magic) = (tell.clone(), magic(&mut self.rng));
                    let ask = move || {
                        let answer = catch_unwind(AssertUnwindSafe(|| guest.ask(overlay, addr, magic)));
                        // A peer that cannot be reached is as silent as one that says nothing; so is a peer whose
                        // answer met a fault of ours, for something must be told of each.
                        let _ = tell.send(answer.ok().and_then(Result::ok).flatten());
                    };
                    match thread::Builder::new().name("survey".to_owned()).spawn_scoped(scope, ask) {
                        Ok(_) => asking += 1,
                        Err(error) if asking == 0 => return Err(error),
                        // Those there are go on.
                        Err(_) => {
                            crowd.next.push(addr);
                            break;
                        }
                    }
                }
                if asking == 0 {
                    return Ok(());
                }
                // The sender here keeps the channel open; each thread sends once.
                if let Ok(Some(surveyed)) = told.recv() {
                    crowd.hear(surveyed);
                }
                asking -= 1;
            }
        })?;
        Ok(crowd.into_surveyed())
    }
}

/// Names a question, and leaves room for more: the numbers that follow name others of the same asker.
fn magic(rng: &mut StdRng) -> u64 {
    rng.random_range(0..MAGIC_LIMIT - 64)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;
    use crate::runtime::{LocalPeer, Options, stopwatch};

    const SILENT: usize = 40;

    #[test]
    fn silent_peers_hold_nobody_up() {
        for overlay in [OverlayKind::Kademlia, OverlayKind::Ring] {
            let living = LocalPeer::start(Options { overlay, ..Options::default() }).expect("it starts");
            let silent: Vec<(UdpSocket, TcpListener)> = (0..SILENT)
                .map(|_| sockets::bind("127.0.0.1:0".parse().expect("an address")).expect("a port that is free"))
                .collect();
            let addrs = silent.iter().map(|(udp, _)| udp.local_addr().expect("bound"));
            let seeds: Vec<SocketAddr> = addrs.chain([living.me().addr]).collect();
            let mut surveyor = Surveyor::new(&[living.me().addr], None, Default::default()).expect("it answers");
            assert_eq!((surveyor.overlay(), surveyor.target()), (overlay, living.me()));
            let took = stopwatch();
            let found = surveyor.survey(&seeds).expect("threads can be had");
            assert_eq!(found.iter().map(|of| (of.peer, of.answered)).collect::<Vec<_>>(), [(living.me(), true)]);
            let one = ask::ANSWER_LIMIT * ask::TIMES_SENT;
            assert!(took() < 4 * one, "{:?} for {SILENT} that are silent for {one:?} each", took());
        }
    }
}
