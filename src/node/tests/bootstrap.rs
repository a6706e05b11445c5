//! The names of the peers to join through, which a peer that is alone has looked up anew.

use super::*;
use crate::node::ticket::News;

/// A peer that is alone, and whose peers to join through have names or have not.
fn alone(resolves: bool) -> Bench {
    let overlay = Scripted { me: peer(0), set: Vec::new(), holds: false, ends: true, unreached: Vec::new() };
    Bench::on(Config { resolves, ..Config::default() }, overlay).start(&[])
}

/// After how long names are looked up next, and under which job; none if not within an hour.
fn looked_up(bench: &mut Bench) -> Option<(Duration, JobId)> {
    let begun = bench.now;
    while bench.now.since(begun) < Duration::from_secs(3600) {
        let actions = bench.wait(Duration::from_secs(3600))?;
        if let Some((job, _)) = jobs(&actions).into_iter().find(|(_, job)| *job == Job::Resolve) {
            return Some((bench.now.since(begun), job));
        }
    }
    None
}

/// How long a peer waits before each of some look-ups, none of which helps.
fn waits(bench: &mut Bench, count: usize) -> Vec<u64> {
    let wait = |_| {
        let (after, job) = looked_up(bench).expect("it is alone");
        bench.ends(job, failed(JobErrorKind::NotFound));
        after.as_secs()
    };
    (0..count).map(wait).collect()
}

#[test]
fn a_peer_that_is_alone_has_its_names_looked_up_ever_more_rarely() {
    let mut bench = alone(true);
    assert_eq!(waits(&mut bench, 8), [10, 20, 40, 80, 160, 300, 300, 300]);
    assert_eq!(looked_up(&mut alone(false)), None, "it was given none");
    let mut known = Bench::new(Config { resolves: true, ..Config::default() }, 3, 0).start(&[]);
    assert_eq!(looked_up(&mut known), None, "it knows others");
}

#[test]
fn a_peer_that_comes_into_another_network_has_its_names_looked_up_at_once() {
    let mut bench = alone(true);
    waits(&mut bench, 6);
    bench.does(Event::Moved { addr: peer(9).addr });
    assert_eq!(waits(&mut bench, 3), [1, 20, 40]);
}

#[test]
fn a_peer_that_has_found_others_has_no_names_looked_up_until_it_is_alone_again() {
    let mut bench = alone(true);
    waits(&mut bench, 4);
    bench.node.tell(News::Up);
    assert_eq!(looked_up(&mut bench), None);
    bench.node.tell(News::Down(&peer(1)));
    assert_eq!(waits(&mut bench, 2), [10, 20]);
}

#[test]
fn a_peer_joins_through_the_addresses_that_its_names_lead_to_by_now() {
    for overlay in [OverlayKind::Kademlia, OverlayKind::Ring] {
        let config = Config { resolves: true, ..Config::default() };
        let node = Node::new(config, overlay.build(peer(0), [1; 32], false), [7; 32]);
        let (mut bench, now_at) = (Bench::of(node).start(&[]), peer(5).addr);
        let (_, job) = looked_up(&mut bench).expect("it is alone");
        let actions = bench.ends(job, Outcome::Resolved { known: vec![now_at], hosts: Vec::new() });
        assert!(requests(&actions).iter().any(|(to, _, _)| *to == now_at), "{overlay:?}: {actions:?}");
    }
}
