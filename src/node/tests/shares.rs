//! What one source may have of the room for blocks.

use super::offers::store;
use super::*;

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
    let refused = |actions: &[Action]| matches!(&responses(actions)[..], [(_, _, Err(reason))] if reason == "full");
    let tells = |actions: &[Action]| actions.iter().any(|action| matches!(action, Action::Notify(_)));
    let (taken, actions) = fill(&ports);
    assert!(taken == 8 && refused(&actions) && !tells(&actions), "{taken}: {actions:?}");
    let (taken, actions) = fill(&[peer(1)]);
    assert!(taken == 2 && refused(&actions) && tells(&actions), "{taken}: {actions:?}");
}
