//! Rings to look at, and what their peers were told.

use std::net::SocketAddr;
use std::time::Duration;

use kadring::id::Id;
use kadring::overlay::Effect;
use kadring::overlay::ring::{Ring, RingEffect, RingOptions, RouteNotice, SuccessorChange};
use kadring::peer::Peer;

use crate::net::{Net, addr, clockwise};

pub(crate) const WIDTH: usize = kadring::config::WIDTH;

/// The assignment's ring.
pub(crate) const EXAMPLE: [u64; 7] = [2, 4, 5, 8, 9, 14, 19];

pub(crate) fn small(id: u64) -> Peer {
    Peer::new(Id::from_u64(id), addr(id as u32))
}

pub(crate) fn classroom(id: u64) -> Ring {
    Ring::new(small(id), RingOptions::classroom(Duration::from_secs(5), Vec::new()))
}

pub(crate) fn large(number: u32) -> Ring {
    let id = Id::of(&number.to_be_bytes());
    Ring::new(Peer::new(id, addr(number)), RingOptions::default())
}

/// A ring at rest of ids 0 to 255.
pub(crate) fn classroom_net(ids: &[u64]) -> Net<Ring> {
    let mut net = Net::new(1);
    for &id in ids {
        net.add(classroom(id), false);
    }
    rest(net)
}

/// A ring at rest of 256-bit ids.
pub(crate) fn large_net(count: u32) -> Net<Ring> {
    let mut net = Net::new(2);
    for number in 0..count {
        net.add(large(number), false);
    }
    rest(net)
}

pub(crate) fn rest(mut net: Net<Ring>) -> Net<Ring> {
    let peers = net.peers();
    net.fill(|ring, now| ring.fill(now, &peers));
    net
}

/// Lets the ring settle, and says how long it took.
pub(crate) fn settle(net: &mut Net<Ring>, limit: Duration) -> Duration {
    let start = net.now;
    while let Err(wrong) = one_cycle(net) {
        assert!(net.now.since(start) < limit, "not settled after {limit:?}: {wrong}");
        net.run(Duration::from_millis(100));
    }
    net.now.since(start)
}

/// Whether every peer's first successors and first predecessor are the true ones.
pub(crate) fn one_cycle(net: &Net<Ring>) -> Result<(), String> {
    cycle_of(net, &net.peers())
}

/// The same for these peers alone.
pub(crate) fn cycle_of(net: &Net<Ring>, peers: &[Peer]) -> Result<(), String> {
    let mut peers = peers.to_vec();
    peers.sort_by_key(|peer| peer.id);
    let count = peers.len();
    for (at, peer) in peers.iter().enumerate() {
        let ring = net.inside(peer.addr);
        let near = (count - 1).min(2);
        let after: Vec<Peer> = (1..=near).map(|step| peers[(at + step) % count]).collect();
        let before: Vec<Peer> = (1..=near).map(|step| peers[(at + count - step) % count]).collect();
        if !ring.successors().starts_with(&after) {
            return Err(format!("{peer} has successors {:?}, not {after:?}", ring.successors()));
        }
        if !ring.predecessors().starts_with(&before) {
            return Err(format!("{peer} has predecessors {:?}, not {before:?}", ring.predecessors()));
        }
    }
    Ok(())
}

pub(crate) fn assert_owners(net: &mut Net<Ring>, keys: impl IntoIterator<Item = Id>) {
    let peers = net.peers();
    for (turn, key) in keys.into_iter().enumerate() {
        let at = peers[turn % peers.len()].addr;
        let (found, _) = net.find(at, key);
        let mut right = clockwise(&peers, &key);
        right.truncate(WIDTH);
        assert_eq!(found, right, "asked {at} for {key}");
    }
}

/// The notices of one peer.
pub(crate) fn notices(net: &Net<Ring>, at: SocketAddr) -> Vec<RouteNotice> {
    let own = net.told.iter().filter(|(_, who, _)| *who == at);
    own.filter_map(
        |(_, _, effect)| {
            if let Effect::Ring(RingEffect::Notice(notice)) = effect { Some(notice.clone()) } else { None }
        },
    )
    .collect()
}

pub(crate) fn ids(peers: &[Peer]) -> Vec<u64> {
    peers.iter().map(|peer| peer.id.to_u64().expect("a small id")).collect()
}

/// What a peer was told of its first two successors, and why.
pub(crate) fn changes(net: &Net<Ring>, id: u64) -> Vec<(SuccessorChange, Vec<u64>)> {
    let all = notices(net, addr(id as u32)).into_iter();
    all.filter_map(|notice| match notice {
        RouteNotice::Successors { why, successors } => Some((why, ids(&successors[..successors.len().min(2)]))),
        _ => None,
    })
    .collect()
}
