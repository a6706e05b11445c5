use kadring::overlay::OverlayKind;
use kadring::sim::*;
fn main() {
    let seed: u64 = std::env::args().nth(1).unwrap().parse().unwrap();
    let mut plan = StormPlan::random(OverlayKind::Kademlia, seed);
    if let Some(only) = std::env::args().nth(2) {
        plan.only = Some(only.split(',').filter(|s| !s.is_empty()).map(|s| s.parse().unwrap()).collect());
    }
    let first = plan.run(Trace::off());
    println!("{plan}: {first:?}");
    if first.is_ok() {
        return;
    }
    let kept = if plan.only.is_some() {
        plan.striking()
    } else {
        shrink(&plan.striking(), |only| {
            StormPlan { only: Some(only.to_vec()), ..plan.clone() }.run(Trace::off()).is_err()
        })
    };
    for k in &kept {
        println!("{k} {}", plan.strikes()[*k]);
    }
    let plan = StormPlan { only: Some(kept), ..plan.clone() };
    println!("{plan}");
    let f = std::fs::File::create(format!("/tmp/simtrace-{seed}.jsonl")).unwrap();
    println!("{:?}", plan.run(Trace::to_file(f)));
}
