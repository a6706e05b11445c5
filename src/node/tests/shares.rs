//! What one source may have of the room for blocks.

use super::leases::offer;
use super::offers::store;
use super::*;
use crate::lease::{Lease, Secret};

fn refused(actions: &[Action]) -> bool {
    matches!(&responses(actions)[..], [(_, _, Err(reason))] if reason == "full")
}

/// Whether its user hears of it.
fn tells(actions: &[Action]) -> bool {
    actions.iter().any(|action| matches!(action, Action::Notify(_)))
}

#[test]
fn a_source_that_offers_without_end_leaves_room_to_others_and_the_peer_s_own_source_fills_the_rest() {
    let config = Config { capacity: Some(10 * 4096), ..Config::default() };
    let mut bench = Bench::new(config, 2, 0).start(&[]);
    let ports = [1, 2].map(|port: u16| Peer::new(Id::from_u64(port.into()), ([127, 0, 0, 2], port).into()));
    let mut offered = 0;
    let mut fill = |from: &[Peer]| {
        from.iter().for_each(|peer| drop(bench.does(Event::Validated { addr: peer.addr })));
        for taken in 0.. {
            offered += 1;
            let actions = bench.hears_request(from[taken % from.len()], offered, store(offered));
            match jobs(&actions)[..] {
                [(job, Job::Pull { .. })] => drop(bench.ends(job, Outcome::Stored { size: 1000 })),
                _ => return (taken, actions),
            }
        }
        unreachable!("the store is bounded")
    };
    let (taken, actions) = fill(&ports);
    assert!(taken == 8 && refused(&actions) && !tells(&actions), "{taken}: {actions:?}");
    let (taken, actions) = fill(&[peer(1)]);
    assert!(taken == 2 && refused(&actions) && tells(&actions), "{taken}: {actions:?}");
}

#[test]
fn who_lays_more_leases_on_what_is_here_than_there_is_room_for_is_told_that_it_is_full() {
    let config = Config { capacity: Some(40 * 4096), ..Config::default() };
    let mut bench = Bench::new(config, 2, 0).start(&[]);
    let stranger = Peer::new(Id::from_u64(9), ([127, 0, 0, 2], 1).into());
    bench.does(Event::Validated { addr: stranger.addr });
    let leases = |n: u64| -> Vec<Lease> {
        let secret = |at: u64| Secret::from_bytes(*key(n * 100 + at).as_bytes());
        (0..16).map(|at| Lease { id: secret(at).id(), until: None, copies: 0 }).collect()
    };
    for n in 1..=3 {
        let actions = bench.hears_request(stranger, 2 * n, offer(n, &leases(n)[..1]));
        let [(job, Job::Pull { .. })] = jobs(&actions)[..] else { panic!("{n}: {actions:?}") };
        bench.ends(job, Outcome::Stored { size: 4 });
        let actions = bench.hears_request(stranger, 2 * n + 1, offer(n, &leases(n)));
        match jobs(&actions)[..] {
            [(job, Job::Verify { .. })] if n < 3 => drop(bench.ends(job, Outcome::Sound { size: 4 })),
            _ => assert!(n == 3 && refused(&actions) && !tells(&actions), "{n}: {actions:?}"),
        }
    }
    // No share bounds the peer's own source, but the room does: of 40 places 33 are taken.
    bench.does(Event::Validated { addr: peer(1).addr });
    let actions = bench.hears_request(peer(1), 20, offer(3, &leases(3)[..9]));
    assert!(refused(&actions) && tells(&actions), "{actions:?}");
    let actions = bench.hears_request(peer(1), 21, offer(3, &leases(3)[..8]));
    assert!(matches!(jobs(&actions)[..], [(_, Job::Verify { .. })]), "{actions:?}");
}
