//! What lookups find while datagrams get lost, or peers die without a word and others come. Whole peers, in virtual time.

use std::time::Duration;

use kadring::overlay::OverlayKind;
use kadring::sim::lifetimes::Lifetimes;
use kadring::sim::load::{FileReport, LoadPlan, LookupResult};

/// Thousandths of the lookups that end, that find the nearest peer, and that find all of the nearest; the median of
/// what they take, and the 99th percentile.
fn found(plan: &LoadPlan, seeds: &[u64]) -> ([usize; 3], [Duration; 2]) {
    let (mut asked, mut found) = (0, Vec::new());
    for &seed in seeds {
        let plan = LoadPlan { seed, lookups: 1000, ..plan.clone() };
        let report = plan.run(|_| {}).expect("nothing breaks");
        asked += report.asked();
        found.extend(report.found().copied());
    }
    let right: [fn(&&LookupResult) -> bool; 3] = [|_| true, |found| found.nearest, |found| found.all];
    let shares = right.map(|right| found.iter().filter(right).count() * 1000 / asked);
    found.sort_by_key(|found| found.took);
    (shares, [50, 99].map(|percent| found[found.len() * percent / 100].took))
}

/// A tenth of 500 peers dies each minute.
fn dying(kind: OverlayKind) -> LoadPlan {
    LoadPlan { churn: 50.0, ..LoadPlan::idle(kind, 500, Duration::from_secs(180)) }
}

#[test]
fn the_more_datagrams_get_lost_the_longer_a_lookup_takes_and_never_seconds() {
    // Loss; the median and the 99th percentile at most, and thousandths of the lookups that find all seven, at least.
    for (loss, half, most, all) in
        [(0.0, 60, 60, 1000), (0.02, 60, 120, 999), (0.05, 70, 160, 999), (0.1, 85, 240, 995), (0.2, 120, 500, 990)]
    {
        let mut plan = LoadPlan::idle(OverlayKind::Kademlia, 300, Duration::from_secs(60));
        plan.weather.loss = loss;
        let (shares, [median, slow]) = found(&plan, &[0, 1, 2]);
        println!("{loss}: {shares:?} {median:?} {slow:?}");
        assert!(shares[0] == 1000 && shares[2] >= all, "at a loss of {loss}: {shares:?}");
        let [half, most] = [half, most].map(Duration::from_millis);
        assert!(median <= half && slow <= most, "at a loss of {loss}: {median:?}, {slow:?}");
    }
}

#[test]
fn while_a_tenth_dies_each_minute_kademlia_finds_all_seven_in_999_of_1000_lookups_within_half_a_second() {
    let (shares, [median, most]) = found(&dying(OverlayKind::Kademlia), &[0, 11]);
    println!("{shares:?} {median:?} {most:?}");
    assert!(shares[0] == 1000 && shares[1] == 1000 && shares[2] >= 999, "{shares:?}");
    assert!(median <= Duration::from_millis(100) && most <= Duration::from_millis(500), "{median:?}, {most:?}");
}

#[test]
fn while_a_tenth_dies_each_minute_the_ring_finds_all_seven_in_995_of_1000_lookups_within_a_second() {
    let (shares, [median, most]) = found(&dying(OverlayKind::Ring), &[0, 11, 12]);
    println!("{shares:?} {median:?} {most:?}");
    assert!(shares[0] == 1000 && shares[1] >= 998 && shares[2] >= 995, "{shares:?}");
    assert!(median <= Duration::from_millis(125) && most <= Duration::from_secs(1), "{median:?}, {most:?}");
}

/// The median session lasts 1.4 minutes (Bamboo, USENIX 2004).
#[test]
fn where_half_of_all_peers_live_for_84_seconds_at_most_each_sends_fewer_than_900_bytes_a_second_on_kademlia() {
    let plan = LoadPlan { churn: 495.0, ..LoadPlan::idle(OverlayKind::Kademlia, 1000, Duration::from_secs(60)) };
    let report = plan.run(|_| {}).expect("nothing breaks");
    let sent = report.sent.all().bytes as f64 / report.alive / plan.lasts.as_secs_f64();
    println!("{sent:.0} bytes a second");
    assert!(sent <= 900.0, "{sent:.0} bytes a second");
}

/// A file is lost when all three that hold it die before a copy is made anew. Each peer lives for a minute here.
#[test]
fn where_one_of_sixteen_peers_dies_every_four_seconds_no_file_in_three_copies_is_lost() {
    let lasts = Duration::from_secs(240);
    let plan = LoadPlan { churn: 15.0, files: 100, replicas: 3, ..LoadPlan::idle(OverlayKind::Kademlia, 16, lasts) };
    for seed in 1..=12 {
        let plan = LoadPlan { seed, lifetimes: Lifetimes::Even, ..plan.clone() };
        let FileReport { stored, failed, lost } = plan.run(|_| {}).expect("nothing breaks").files;
        assert!(
            stored >= 90 && failed == 0 && lost == 0,
            "seed {seed}: {stored} stored, {failed} refused, {lost} lost"
        );
    }
}
