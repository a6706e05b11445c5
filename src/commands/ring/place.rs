//! Where a peer of the classroom ring stands, and what it starts with.

use std::cmp::Ordering;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use kadring::config::Config;
use kadring::console::classroom::number;
use kadring::console::perform::resolve;
use kadring::id::Id;
use kadring::network::NetworkName;
use kadring::node::Command;
use kadring::overlay::{OverlayKind, RingOptions};
use kadring::peer::Peer;
use kadring::runtime::survey::Surveyor;
use kadring::runtime::{Keyring, Options};
use tempfile::TempDir;

use crate::args::{PeerName, RingTask, RingWays};
use crate::commands::{Failed, resolving};

/// This peer's place in the ring, and the peers that it is given.
pub(super) struct RingPlace {
    me: Peer,
    interval: Duration,
    given: Vec<Peer>,
    /// The peer to join through.
    pub(super) known: Option<Peer>,
    /// All addresses of that peer's name that this peer can reach.
    known_at: Vec<SocketAddr>,
    /// Where the user said that the others are, which a peer that is alone looks up anew.
    names: Vec<String>,
}

impl RingPlace {
    pub(super) fn new(task: &RingTask) -> Result<Self, Failed> {
        match task {
            RingTask::Init { peer, first, second, interval, ways } => {
                if let Some(odd) = odd_successors(peer.id, first.id, second.id) {
                    log::warn!("{odd}");
                }
                let names = [first, second].into_iter().filter_map(|other| other.at.clone()).collect();
                let [me, first, second] = locate([peer, first, second], ways)?.map(|(peer, _)| peer);
                let mut given: Vec<Peer> = Vec::new();
                for other in [first, second] {
                    if other.id != me.id && !given.iter().any(|known| known.id == other.id) {
                        given.push(other);
                    }
                }
                Ok(Self { me, interval: *interval, given, known: None, known_at: Vec::new(), names })
            }
            RingTask::Join { peer, known, interval, ways } => {
                let names = known.at.iter().cloned().collect();
                let [(me, _), (known, known_at)] = locate([peer, known], ways)?;
                if me.addr == known.addr {
                    return Err(Failed::usage("a peer cannot join through itself; name one that is in the ring"));
                }
                if me.id == known.id {
                    let reason = format!("the id {} is taken by the peer to join through", number(&me.id));
                    return Err(Failed::start(reason));
                }
                Ok(Self { me, interval: *interval, given: Vec::new(), known: Some(known), known_at, names })
            }
        }
    }

    pub(super) fn name(&self) -> String {
        number(&self.me.id)
    }

    /// Why this peer cannot have its port: asks which peer answers there.
    pub(super) fn who_is_there(
        &self,
        addr: SocketAddr,
        protocol: &str,
        of: (NetworkName, Option<Arc<Keyring>>),
    ) -> String {
        let me = self.name();
        let Ok(there) = Surveyor::new(&[addr], None, of) else {
            let port = addr.port();
            return format!(
                "peer {me} cannot start: {protocol} port {port} of {} is held by a process that does not answer as a peer \
                 does; end it ('ss -lntup sport = :{port}' names it), or start this peer elsewhere, as {me}@HOST:PORT",
                addr.ip(),
            );
        };
        match Some(there.target().id).filter(|_| there.overlay() == OverlayKind::Ring) {
            Some(id) if id == self.me.id => format!("peer {me} runs already, at {addr}"),
            Some(id) => format!("peer {me} cannot start: peer {} of a ring has its port, {addr}", number(&id)),
            None => format!("peer {me} cannot start: a peer of another network has its port, {addr}"),
        }
    }

    pub(super) fn options(&self, ways: &RingWays, store: &TempDir) -> Options {
        let ring = RingOptions { fingers: ways.fingers, ..RingOptions::classroom(self.interval, self.given.clone()) };
        Options {
            bind: self.me.addr,
            data: Some(store.path().to_owned()),
            id: Some(self.me.id),
            bootstrap: self.known_at.clone(),
            resolve: resolving(self.names.clone(), self.me.addr.ip()),
            overlay: OverlayKind::Ring,
            ring: Some(ring),
            config: Config {
                named_files: true,
                // It keeps files by their names, and no blocks.
                scrub: None,
                network: ways.network.name,
                ..Config::default()
            },
            files: Some(ways.dir.clone()),
            max_file: ways.max_file.as_u64(),
            record: ways.record.clone(),
            on_signal: Some(Command::Quit { handover: false }),
            ..Options::default()
        }
    }
}

/// What is odd about the successors that a user named, and how this peer takes it. The assignment names them in their
/// order around the circle: in a ring of two the second is this peer itself, and a peer that is alone is both of its
/// own. Nothing is refused: the ring finds the right ones as soon as its peers speak.
fn odd_successors(me: u8, first: u8, second: u8) -> Option<String> {
    // How far around the circle it is to each; all the way, to this peer itself.
    let [near, far] = [first, second].map(|id| match id.wrapping_sub(me) {
        0 => u16::from(u8::MAX) + 1,
        steps => steps.into(),
    });
    let reason = match (first == me, near.cmp(&far)) {
        (_, Ordering::Less) | (true, Ordering::Equal) => return None,
        (true, _) => format!("peer {me} is named as its own first successor; peer {second} is taken for it"),
        (_, Ordering::Equal) => {
            format!("peer {first} is named as both successors; in a ring of two the second one is peer {me} itself")
        }
        (_, Ordering::Greater) => format!(
            "around the circle from peer {me}, peer {second} comes before peer {first}, and is taken for the first"
        ),
    };
    Some(format!("are the successors right? {reason}"))
}

/// The peers that are named, and each one's addresses. A socket on one address speaks to those of its family, so the
/// family is one that all names have: the older if there is a choice, which is that of peers named by numbers alone.
fn locate<const N: usize>(names: [&PeerName; N], ways: &RingWays) -> Result<[(Peer, Vec<SocketAddr>); N], Failed> {
    let mut found = Vec::new();
    for name in names {
        found.push(match &name.at {
            None => vec![SocketAddr::from((Ipv4Addr::LOCALHOST, ways.base_port + u16::from(name.id)))],
            Some(host_port) => resolve(host_port).map_err(Failed::start)?,
        });
    }
    let all_have = |v4: bool| found.iter().all(|addrs| addrs.iter().any(|addr| addr.is_ipv4() == v4));
    let Some(v4) = [true, false].into_iter().find(|&v4| all_have(v4)) else {
        let reason = "the peers named have addresses of different families; name them by addresses of one";
        return Err(Failed::start(reason));
    };
    let mut found = found.into_iter();
    Ok(names.map(|name| {
        let addrs: Vec<SocketAddr> = found.next().into_iter().flatten().filter(|addr| addr.is_ipv4() == v4).collect();
        (Peer::new(Id::from_u64(name.id.into()), addrs[0]), addrs)
    }))
}

#[cfg(test)]
mod tests {
    use kadring::runtime::Resolve;

    use super::*;
    use crate::args::{FormatArgs, NetworkArgs};

    fn ways() -> RingWays {
        RingWays {
            dir: ".".into(),
            max_file: bytesize::ByteSize::gib(1),
            quiet_pings: false,
            verbose: false,
            fingers: false,
            ready_file: None,
            events: None,
            record: None,
            network: NetworkArgs::default(),
            format: FormatArgs::default(),
            base_port: 12_000,
        }
    }

    fn name(id: u8, at: Option<&str>) -> PeerName {
        PeerName { id, at: at.map(str::to_owned) }
    }

    #[test]
    fn successors_that_are_named_in_their_order_around_the_circle_are_not_remarked_on() {
        for (me, first, second) in [(2, 4, 5), (14, 19, 2), (19, 2, 4), (2, 4, 2), (4, 2, 4), (7, 7, 7), (255, 0, 255)]
        {
            assert_eq!(odd_successors(me, first, second), None, "{me} {first} {second}");
        }
    }

    #[test]
    fn of_successors_that_are_named_in_another_way_it_is_told_which_one_is_the_first() {
        for (me, first, second, said) in [
            (2, 5, 4, "peer 4 comes before peer 5"),
            (14, 2, 19, "peer 19 comes before peer 2"),
            (2, 2, 5, "its own first successor; peer 5 is taken"),
            (2, 4, 4, "peer 4 is named as both"),
        ] {
            let odd = odd_successors(me, first, second);
            assert!(odd.as_ref().is_some_and(|odd| odd.contains(said)), "{me} {first} {second}: {odd:?}");
        }
    }

    #[test]
    fn who_is_named_by_a_host_is_looked_up_anew_at_the_addresses_that_this_peer_reaches() {
        let (interval, store) = (Duration::from_secs(1), TempDir::new().unwrap());
        let looked_up = |task: &RingTask| {
            let resolve = RingPlace::new(task).unwrap().options(&ways(), &store).resolve;
            resolve.map(|Resolve(look_up)| look_up().unwrap().0)
        };
        let join = |known| RingTask::Join { peer: name(1, None), known, interval, ways: ways() };
        let init = |first, second| RingTask::Init { peer: name(1, None), first, second, interval, ways: ways() };
        let (host, addr) = (|| name(2, Some("localhost:5")), || name(3, Some("127.0.0.1:6")));
        let [five, six] = [5, 6].map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        assert_eq!(looked_up(&join(host())), Some(vec![five]));
        assert_eq!(looked_up(&init(host(), addr())), Some(vec![five, six]));
        assert_eq!(looked_up(&init(name(2, None), addr())), None, "addresses stay where they are");
    }

    #[test]
    fn the_peers_named_are_located_in_one_family_that_all_have() {
        let ways = ways();
        let [one, two, three] = [name(1, None), name(2, Some("127.0.0.2:5")), name(3, Some("[::1]:6"))];
        let [(first, _), (second, at)] = locate([&one, &two], &ways).unwrap();
        assert_eq!((first.addr.port(), second.addr, at), (12_001, "127.0.0.2:5".parse().unwrap(), vec![second.addr]));
        assert!(locate([&three, &three], &ways).is_ok_and(|[(_, at), _]| at[0].is_ipv6()));
        let error = locate([&one, &three], &ways).unwrap_err();
        assert!(error.to_string().contains("families"), "{error}");
    }
}
