//! Ways that carry little: what is stored and retrieved over one takes the time that it needs there, and hardly a byte
//! more.

use super::holders::{holder, retrieving_from};
use super::slow::client;
use super::*;
use crate::config::{FLOW_LASTS, MAX_BLOCK_SIZE};
use crate::file::ManifestEntry;
use crate::node::Progress;

const STEP: Duration = Duration::from_millis(50);

/// A connection is made and a request sent.
const OPENING: Duration = Duration::from_millis(100);

/// A block on its way.
struct Moving {
    /// The job that fetches it, or the request that offers it.
    id: u64,
    with: SocketAddr,
    key: Key,
    since: Time,
    bytes: f64,
    told: Time,
}

/// Moves what is on its way on for so long, over a way of so many bytes a second that all share, each with a peer
/// that has `rate` for all it does. Returns how many bytes that is.
fn move_on((now, span): (Time, Duration), moving: &mut [Moving], way: f64, rate: &impl Fn(SocketAddr) -> f64) -> f64 {
    let with: Vec<SocketAddr> = moving.iter().map(|one| one.with).collect();
    let of = |addr: &SocketAddr| rate(*addr) / with.iter().filter(|with| *with == addr).count() as f64;
    let mut begun: Vec<&mut Moving> = moving.iter_mut().filter(|one| now.since(one.since) >= OPENING).collect();
    begun.sort_by(|a, b| of(&a.with).total_cmp(&of(&b.with)));
    let (mut free, mut left, mut all) = (way, begun.len(), 0.0);
    for one in begun {
        let share = of(&one.with).min(free / left as f64);
        (free, left) = (free - share, left - 1);
        let more = (share * span.as_secs_f64()).min(f64::from(MAX_BLOCK_SIZE) - one.bytes);
        one.bytes += more;
        all += more;
    }
    all
}

/// Lets time pass until the node's next wake, or a little. What is to be done then.
fn step(bench: &mut Bench) -> Vec<Action> {
    let until = bench.now + STEP;
    bench.wait(STEP).unwrap_or_else(|| {
        bench.now = until;
        Vec::new()
    })
}

/// Retrieves so many full blocks from so many holders. How long that takes, and how many bytes come.
fn retrieved(blocks: u64, holders: u16, way: f64, rate: impl Fn(SocketAddr) -> f64) -> (Duration, f64) {
    let (mut bench, fetches) = retrieving_from(holders, blocks);
    let begin = bench.now;
    let (mut moving, mut bytes) = (Vec::<Moving>::new(), 0.0);
    let mut todo: Vec<Action> = fetches.into_iter().map(|(job, work)| Action::Start { job, work }).collect();
    loop {
        while let Some(action) = todo.pop() {
            match action {
                Action::Start { job, work: work @ Job::Fetch { slot, .. } } => {
                    let (with, key, since) = (holder(&work), slot.key, bench.now);
                    moving.push(Moving { id: job, with, key, since, bytes: 0.0, told: Time::ZERO });
                }
                Action::Start { work: Job::Finish { .. }, .. } => return (bench.now - begin, bytes),
                Action::Cancel { job } if moving.iter().any(|one| one.id == job) => {
                    moving.retain(|one| one.id != job);
                    todo.extend(bench.ends(job, failed(JobErrorKind::Cancelled)));
                }
                _ => {}
            }
        }
        assert!(bench.now - begin < Duration::from_secs(600), "it does not end");
        let before = bench.now;
        todo.extend(step(&mut bench));
        bytes += move_on((bench.now, bench.now - before), &mut moving, way, &rate);
        for one in &mut moving {
            if one.bytes >= 4096.0 && bench.now.since(one.told) >= FLOW_LASTS / 4 {
                one.told = bench.now;
                todo.extend(bench.does(Event::Flows { job: one.id, bytes: one.bytes as u32 }));
            }
        }
        while let Some(at) = moving.iter().position(|one| one.bytes >= f64::from(MAX_BLOCK_SIZE)) {
            todo.extend(bench.ends(moving.remove(at).id, Outcome::Fetched));
        }
    }
}

/// Bytes a second of a way that is called by its bits.
fn kbit(kbit: u32) -> f64 {
    f64::from(kbit) * 125.0
}

const FAST: f64 = 1e8;

#[test]
fn over_a_slow_way_a_file_takes_the_time_of_the_way_and_few_bytes_come_in_vain() {
    for width in [512, 1000, 2000, 4000, 8000, 16_000, 100_000] {
        for blocks in [1, 2, 4, 16] {
            let (took, bytes) = retrieved(blocks, 3, kbit(width), |_| FAST);
            let size = blocks as f64 * f64::from(MAX_BLOCK_SIZE);
            let case = format!("{blocks} blocks at {width} kbit/s: {took:?}, {:.2} times the bytes", bytes / size);
            assert!(bytes <= size * 1.15, "{case}");
            assert!(took.as_secs_f64() <= size / kbit(width) * 1.2 + 0.5, "{case}");
        }
    }
}

#[test]
fn a_holder_that_drips_or_is_much_slower_than_others_is_gone_around() {
    for rate in [5e3, 20e3, 60e3, 120e3] {
        for blocks in [1, 2, 16] {
            let slow = |addr| if addr == peer(1).addr { rate } else { 10e6 };
            let (took, _) = retrieved(blocks, 3, FAST, slow);
            assert!(took <= Duration::from_secs(4), "{blocks} blocks, {rate} bytes a second: {took:?}");
        }
    }
}

#[test]
fn where_two_holders_drip_a_third_is_found() {
    let slow = |addr| if [1, 2].map(|n| peer(n).addr).contains(&addr) { 5e3 } else { 10e6 };
    let (took, _) = retrieved(2, 4, FAST, slow);
    assert!(took <= Duration::from_secs(8), "{took:?}");
}

#[test]
fn where_four_of_five_holders_drip_a_block_comes_from_the_fifth_within_six_seconds_and_sixteen_within_fifteen() {
    for rate in [5e3, 20e3, 70e3] {
        for blocks in [1, 2, 16] {
            for factor in [0.7, 1.0, 1.4] {
                let slow = |addr| {
                    let at = (1..=4).find(|n| peer(*n).addr == addr);
                    at.map_or(10e6, |n| rate * f64::powi(factor, n.into()))
                };
                let (took, _) = retrieved(blocks, 5, FAST, slow);
                let case = format!("{blocks} blocks, {rate} bytes a second, times {factor}: {took:?}");
                assert!(took <= Duration::from_secs(if blocks > 2 { 15 } else { 6 }), "{case}");
            }
        }
    }
}

/// A store of so many full blocks, in three copies, over a way out that carries so much. How long it takes, how many
/// blocks have how many copies, and who is said to take nothing.
fn stored(blocks: u64, peers: u16, way: f64) -> (Duration, Vec<u64>, usize) {
    let (mut bench, read) = client(peers, 3);
    let begin = bench.now;
    let (mut moving, mut blamed, mut reading) = (Vec::<Moving>::new(), 0, 0);
    let mut todo =
        vec![Action::Start { job: read, work: Job::ReadNext { put: 0, path: "file".into(), manifest: None } }];
    loop {
        while let Some(action) = todo.pop() {
            match action {
                Action::Start { job, work: Job::ReadNext { .. } } => {
                    reading += 1;
                    let size = blocks * u64::from(MAX_BLOCK_SIZE);
                    todo.extend(bench.ends(
                        job,
                        if reading <= blocks {
                            Outcome::Read { entry: ManifestEntry { key: key(reading), size: MAX_BLOCK_SIZE.into() } }
                        } else {
                            Outcome::End { size, sha256: key(99) }
                        },
                    ));
                }
                Action::Start { job, work: Job::Pack { .. } } => {
                    todo.extend(bench.ends(job, Outcome::Packed { key: key(1000), size: 200 }));
                }
                Action::Send { to, message: Message { magic, body: Body::Request(request), .. }, .. } => {
                    match request {
                        Request::Ping => todo.extend(bench.hears_answer(to, magic, Response::Node(peer(0)))),
                        Request::Store { key, size: Some(size), .. } if moving.iter().all(|one| one.id != magic) => {
                            let bytes = f64::from(MAX_BLOCK_SIZE - size);
                            moving.push(Moving { id: magic, with: to, key, since: bench.now, bytes, told: Time::ZERO });
                        }
                        _ => {}
                    }
                }
                Action::Notify(Notice::Progress { progress: Progress::Retried { .. }, .. }) => blamed += 1,
                Action::Notify(Notice::Answer { answer, .. }) => {
                    let Answer::Stored { copies, .. } = answer else { panic!("{answer:?}") };
                    return (bench.now - begin, copies, blamed);
                }
                _ => {}
            }
        }
        assert!(bench.now - begin < Duration::from_secs(1200), "it does not end");
        let before = bench.now;
        todo.extend(step(&mut bench));
        move_on((bench.now, bench.now - before), &mut moving, way, &|_| FAST);
        let now = bench.now;
        for one in moving.iter_mut().filter(|one| one.told == Time::ZERO && now.since(one.since) >= OPENING) {
            one.told = now;
            todo.extend(bench.does(Event::Asked { blocks: vec![(one.key, one.with.ip())] }));
        }
        while let Some(at) = moving.iter().position(|one| one.bytes >= f64::from(MAX_BLOCK_SIZE)) {
            let one = moving.remove(at);
            todo.extend(bench.hears_answer(one.with, one.id, Response::Saved));
        }
    }
}

#[test]
fn a_store_over_a_slow_way_out_makes_all_copies_in_the_time_of_the_way_and_blames_nobody() {
    for width in [512, 1000, 8000] {
        for blocks in [1, 2, 8] {
            let (took, copies, blamed) = stored(blocks, 3, kbit(width));
            let case = format!("{blocks} blocks at {width} kbit/s: {took:?}, copies {copies:?}, {blamed} blamed");
            assert_eq!((&copies[..], blamed), (&[0, 0, 0, blocks + 1][..], 0), "{case}");
            let needs = blocks as f64 * 3.0 * f64::from(MAX_BLOCK_SIZE) / kbit(width);
            assert!(took.as_secs_f64() <= needs * 1.2 + 1.0, "{case}");
        }
    }
}

#[test]
fn beside_slow_holders_a_file_takes_little_longer_than_of_the_fast_one_alone() {
    for (blocks, slow) in [4, 16, 32, 128].into_iter().flat_map(|blocks| [0.2e6, 0.5e6, 2e6].map(|slow| (blocks, slow)))
    {
        for fast in 1..=3 {
            let rate = |addr| if addr == peer(fast).addr { 20e6 } else { slow };
            let (took, bytes) = retrieved(blocks, 3, 1e9, rate);
            let size = blocks as f64 * f64::from(MAX_BLOCK_SIZE);
            let (alone, times) = (size / 20e6, bytes / size);
            let case =
                format!("{blocks} blocks, {slow} bytes a second, fast {fast}: {took:?}, {times:.2} times the bytes");
            assert!(took.as_secs_f64() <= alone * 1.5 + 2.8, "{case}; {alone:.1} s of the fast one");
            assert!(bytes <= size * 1.2 + 2.0 * f64::from(MAX_BLOCK_SIZE), "{case}");
        }
    }
}
