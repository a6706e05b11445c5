//! What lookups find while peers die without a word and others come. Whole peers, in virtual time.

use std::time::Duration;

use kadring::overlay::OverlayKind;
use kadring::sim::load::{LoadPlan, LookupResult};

/// Thousandths of the lookups that end, that find the nearest peer, and that find all of the nearest; the median of
/// what they take, and the 99th percentile. A tenth of 500 peers dies each minute.
fn found(kind: OverlayKind, seeds: &[u64]) -> ([usize; 3], [Duration; 2]) {
    let (mut asked, mut found) = (0, Vec::new());
    for &seed in seeds {
        let plan = LoadPlan { seed, lookups: 1000, churn: 50.0, ..LoadPlan::idle(kind, 500, Duration::from_secs(180)) };
        let report = plan.run(|_| {}).expect("nothing breaks");
        asked += report.asked();
        found.extend(report.found().copied());
    }
    let right: [fn(&&LookupResult) -> bool; 3] = [|_| true, |found| found.nearest, |found| found.all];
    let shares = right.map(|right| found.iter().filter(right).count() * 1000 / asked);
    found.sort_by_key(|found| found.took);
    (shares, [50, 99].map(|percent| found[found.len() * percent / 100].took))
}

#[test]
fn while_a_tenth_dies_each_minute_kademlia_finds_all_seven_in_999_of_1000_lookups_within_half_a_second() {
    let (shares, [median, most]) = found(OverlayKind::Kademlia, &[0, 11]);
    println!("{shares:?} {median:?} {most:?}");
    assert!(shares[0] == 1000 && shares[1] == 1000 && shares[2] >= 999, "{shares:?}");
    assert!(median <= Duration::from_millis(100) && most <= Duration::from_millis(500), "{median:?}, {most:?}");
}

#[test]
fn while_a_tenth_dies_each_minute_the_ring_finds_all_seven_in_995_of_1000_lookups_within_a_second() {
    let (shares, [median, most]) = found(OverlayKind::Ring, &[0, 11, 12]);
    println!("{shares:?} {median:?} {most:?}");
    assert!(shares[0] == 1000 && shares[1] >= 998 && shares[2] >= 995, "{shares:?}");
    assert!(median <= Duration::from_millis(125) && most <= Duration::from_secs(1), "{median:?}, {most:?}");
}
