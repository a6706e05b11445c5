//! What a ring at rest costs, in virtual time.

use std::time::Duration;

use kadring::overlay::OverlayKind;
use kadring::sim::Weather;
use kadring::sim::grown::Shape;
use kadring::sim::lifetimes::Lifetimes;
use kadring::sim::load::{LoadPlan, LoadReport};

/// A ring of so many peers, of which nothing is asked.
fn ring(peers: usize, minutes: u64) -> LoadPlan {
    LoadPlan {
        shape: Shape::usual(OverlayKind::Ring),
        seed: 1,
        peers,
        lookups: 0,
        lasts: Duration::from_secs(60 * minutes),
        weather: Weather::default(),
        churn: 0.0,
        lifetimes: Lifetimes::default(),
        dead: 0.0,
        slow: 0.0,
        kill: 0.0,
        files: 0,
        replicas: kadring::config::REPLICAS,
    }
}

fn run(plan: &LoadPlan) -> LoadReport {
    plan.run(|_| {}).expect("no invariant is broken")
}

#[test]
fn a_peer_of_a_ring_at_rest_sends_at_most_one_message_a_second_whatever_the_size() {
    for peers in [2, 8, 40, 200] {
        let plan = ring(peers, 4);
        let report = run(&plan);
        // What a new ring does in its first two minutes is left out.
        let rest = &report.slices[report.slices.len() / 2..];
        let messages: u64 = rest.iter().map(|slice| slice.sent.all().messages).sum();
        let each = messages as f64 / peers as f64 / (plan.lasts.as_secs_f64() / 2.0);
        assert!(each <= 1.0, "{each} of each of {peers}");
    }
}
