//! Blocks that nobody wants any longer, on their way out.

use super::leases::{HOUR, NOW, deleted, holding, laid, lease, offer};
use super::*;

/// Waits for the job that deletes a block.
fn deletion(bench: &mut Bench) -> JobId {
    loop {
        let actions = bench.wait(Duration::from_secs(2 * HOUR)).expect("it goes after the grace");
        if let Some((job, _)) = jobs(&actions).into_iter().find(|(_, work)| matches!(work, Job::Delete { .. })) {
            return job;
        }
    }
}

#[test]
fn however_many_blocks_end_at_once_few_are_being_deleted_at_a_time() {
    let held: Vec<_> = (0..1000).map(|n| (key(n), 4)).collect();
    let notes: Vec<_> = (0..1000).map(|n| laid(n, &[lease(1, Some(NOW + HOUR))])).collect();
    let mut bench = holding(&held, &notes);
    let (mut most, end) = (0, bench.now + Duration::from_secs(3 * HOUR));
    let mut under_way = Vec::new();
    let mut gone = 0;
    loop {
        while let Some(wake) = bench.node.next_wake().filter(|wake| *wake <= end) {
            bench.now = wake.max(bench.now);
            under_way.extend(jobs(&bench.does(Event::Tick)));
        }
        most = most.max(bench.node.desk.holdings().deleting());
        let Some((job, work)) = under_way.pop() else { break };
        gone += u32::from(matches!(work, Job::Delete { .. }));
        under_way.extend(jobs(&bench.ends(job, Outcome::Done)));
    }
    assert_eq!(gone, 1000);
    assert!(most <= 511, "{most}");
}

#[test]
fn a_block_that_is_being_deleted_is_not_called_saved() {
    let mut bench = holding(&[(key(1), 4)], &[laid(1, &[lease(1, Some(NOW - 2 * HOUR))])]);
    let job = deletion(&mut bench);
    bench.does(Event::Validated { addr: peer(1).addr });
    let actions = bench.hears_request(peer(1), 5, offer(1, &[lease(2, None)]));
    let [(_, 5, Err(reason))] = &responses(&actions)[..] else { panic!("{actions:?}") };
    assert!(reason.contains("busy"), "{reason}");
    bench.ends(job, Outcome::Done);
    let actions = bench.hears_request(peer(1), 6, offer(1, &[lease(2, None)]));
    assert!(matches!(jobs(&actions)[..], [(_, Job::Pull { .. })]), "{actions:?}");
}

#[test]
fn a_block_that_an_offer_is_about_to_keep_on_is_not_deleted_meanwhile() {
    let mut bench = holding(&[(key(1), 4)], &[laid(1, &[lease(1, Some(NOW + HOUR))])]);
    let actions = bench.hears_request(peer(1), 5, offer(1, &[lease(2, Some(NOW + 100 * HOUR))]));
    let [(look, Job::Verify { .. })] = jobs(&actions)[..] else { panic!("{actions:?}") };
    // The worker takes that long.
    assert_eq!(deleted(&mut bench, Duration::from_secs(9 * HOUR)), []);
    let actions = bench.ends(look, Outcome::Sound { size: 4 });
    assert!(matches!(jobs(&actions)[..], [(_, Job::Sample { magic: 5, .. })]), "it is saved, and that is shown");
    assert_eq!(deleted(&mut bench, Duration::from_secs(9 * HOUR)), []);
    // Had it been damaged, it would have gone as any other.
    let mut bench = holding(&[(key(1), 4)], &[laid(1, &[lease(1, Some(NOW + HOUR))])]);
    let actions = bench.hears_request(peer(1), 5, offer(1, &[lease(2, Some(NOW + 100 * HOUR))]));
    assert_eq!(deleted(&mut bench, Duration::from_secs(9 * HOUR)), []);
    bench.ends(jobs(&actions)[0].0, failed(JobErrorKind::Io));
    assert_eq!(deleted(&mut bench, Duration::from_secs(2 * HOUR)).len(), 1);
}

#[test]
fn a_block_that_could_not_be_deleted_is_deleted_later() {
    let mut bench = holding(&[(key(1), 4)], &[laid(1, &[lease(1, Some(NOW - 2 * HOUR))])]);
    let job = deletion(&mut bench);
    bench.ends(job, failed(JobErrorKind::Io));
    let gone = deleted(&mut bench, Duration::from_secs(2 * HOUR));
    assert_eq!(gone.iter().map(|(key, _)| *key).collect::<Vec<_>>(), [key(1)]);
}
