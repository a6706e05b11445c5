//! Who waits while others let their blocks come slowly.

use super::offers::store;
use super::*;
use crate::config::MAX_JOBS;
use crate::patience;

/// Two hosts that have delivered before offer many blocks, and let them come by the byte.
#[test]
fn a_source_waits_for_a_place_no_longer_than_a_block_is_offered_however_slowly_those_of_others_come() {
    let mut bench = Bench::new(Config::default(), 0, 0).start(&[]);
    let peer_at = |host| Peer::new(Id::from_u64(host), SocketAddr::from(([10, 0, 0, host as u8], 4000)));
    let offer = |bench: &mut Bench, host, n| {
        bench.does(Event::Validated { addr: peer_at(host).addr });
        jobs(&bench.hears_request(peer_at(host), n, store(n)))
    };
    let mut coming = Vec::new();
    for n in 0..40_u64 {
        let begun = offer(&mut bench, 2 + n % 2, n);
        let first =
            begun.iter().filter(|_| n < 2).flat_map(|(job, _)| jobs(&bench.ends(*job, Outcome::Stored { size: 1000 })));
        let later = first.collect::<Vec<_>>();
        coming.extend(begun.into_iter().filter(|_| n >= 2).chain(later));
    }
    assert_eq!(coming.len(), MAX_JOBS * 3 / 4, "all places are taken");
    bench.now += Duration::from_secs(20);
    assert_eq!(offer(&mut bench, 9, 1000), [], "there is none left");
    let mut given_up = Vec::new();
    while given_up.is_empty() {
        let actions = bench.wait(patience::OFFER).expect("it is looked after");
        given_up = actions
            .iter()
            .filter_map(|action| if let Action::Cancel { job } = action { Some(*job) } else { None })
            .collect();
        assert!(bench.now.since(Time::ZERO) <= patience::OFFER + Duration::from_secs(5), "{actions:?}");
    }
    assert_eq!(given_up, [coming[0].0], "the one that has come for longest, and no other");
    let actions = bench.ends(given_up[0], failed(JobErrorKind::Cancelled));
    assert!(matches!(jobs(&actions)[..], [(_, Job::Pull { from, .. })] if from == peer_at(9).addr), "{actions:?}");
    assert!(responses(&actions).iter().any(|(to, _, answer)| *to == peer_at(2).addr && answer.is_err()), "{actions:?}");
    // Nobody waits who has no place: all others come as slowly as they like.
    let cancels = |actions: Vec<Action>| actions.iter().any(|action| matches!(action, Action::Cancel { .. }));
    assert!(!(0..20).any(|_| bench.wait(Duration::from_secs(5)).is_some_and(cancels)));
}
