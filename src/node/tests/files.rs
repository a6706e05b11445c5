//! Files in and out, job by job.

use super::*;
use crate::file::{Manifest, ManifestEntry};
use crate::node::job::{Holder, Slot};
use crate::node::{Command, FailureKind, Source};
use crate::wire::Vouch;

pub(super) fn entry(n: u64, size: u64) -> ManifestEntry {
    ManifestEntry { key: key(n), size }
}

pub(super) fn store_file(bench: &mut Bench) -> Vec<Action> {
    let command = Command::Store { path: "file".into(), manifest: None, keep: false };
    bench.does(Event::Command { id: 1, command })
}

pub(super) fn retrieve(bench: &mut Bench, n: u64) -> Vec<Action> {
    let command = Command::Retrieve { source: Source::Key(key(n)), dest: "back".into(), replace: false };
    bench.does(Event::Command { id: 1, command })
}

/// The job that reads on, among `actions`.
pub(super) fn reading(actions: &[Action]) -> Option<JobId> {
    jobs(actions).into_iter().find(|(_, job)| matches!(job, Job::ReadNext { .. })).map(|(job, _)| job)
}

/// Answers every offer among `actions`, as `saved` says for each peer; returns what the node did in turn.
pub(super) fn answer_offers(bench: &mut Bench, actions: &[Action], saved: impl Fn(SocketAddr) -> bool) -> Vec<Action> {
    let mut done = Vec::new();
    for (to, magic, request) in requests(actions) {
        assert!(matches!(request, Request::Store { .. }), "{request:?}");
        done.extend(if saved(to) {
            bench.hears_answer(to, magic, Response::Saved)
        } else {
            bench.hears(to, Message::error(magic, "full"))
        });
    }
    done
}

#[test]
fn a_file_that_ends_with_its_first_block_is_read_by_one_job() {
    let mut bench = Bench::new(Config::default(), 3, 9).start(&[]);
    let read = reading(&store_file(&mut bench)).expect("it begins by reading");
    let actions = bench.ends(read, Outcome::Last { entry: entry(1, 10), size: 10, sha256: key(99), bare: false });
    let packs = jobs(&actions).into_iter().filter(|(_, job)| matches!(job, Job::Pack { .. })).count();
    assert_eq!((reading(&actions), packs, requests(&actions).len()), (None, 1, 3));
}

#[test]
fn a_file_is_read_placed_packed_and_named_by_its_root() {
    let mut bench = Bench::new(Config::default(), 3, 9).start(&[]);
    let read = reading(&store_file(&mut bench)).expect("it begins by reading");
    let actions = bench.ends(read, Outcome::Read { entry: entry(1, 10) });
    let read = reading(&actions).expect("it reads on while the first block is on its way");
    let keep =
        jobs(&actions).into_iter().find(|(_, job)| matches!(job, Job::Keep { .. })).expect("this peer is of the set").0;
    assert_eq!(requests(&actions).len(), 3);
    answer_offers(&mut bench, &actions, |_| true);
    bench.ends(keep, Outcome::Stored { size: 10 });

    let actions = bench.ends(read, Outcome::End { size: 10, sha256: key(99) });
    let [(pack, Job::Pack { manifest, .. })] = &jobs(&actions)[..] else { panic!("{actions:?}") };
    assert_eq!((&manifest.entries[..], manifest.sha256), (&[entry(1, 10)][..], Some(key(99))));
    let actions = bench.ends(*pack, Outcome::Packed { key: key(2), size: 200 });
    let [(keep, Job::Keep { .. })] = jobs(&actions)[..] else { panic!("{actions:?}") };
    answer_offers(&mut bench, &actions, |_| true);
    let end = bench.ends(keep, Outcome::Stored { size: 200 });

    let Some(Answer::Stored { key: root, bytes, blocks, lists, copies, wanted, .. }) = answer(&end) else {
        panic!("{end:?}")
    };
    assert_eq!((root, bytes, (blocks, lists), wanted), (key(2), 10, (1, 1), 4));
    assert_eq!(copies, [0, 0, 0, 0, 2], "both blocks have four copies");
    assert!(bench.node.is_at_rest());
    assert_eq!(bench.node.held().count(), 2);
}

/// The address of a peer of the scripted overlay.
fn addr_of(id: Id) -> SocketAddr {
    (0..10).map(peer).find(|peer| peer.id == id).expect("it is one of them").addr
}

/// Stores a file whose one block four others may keep. Each says that it has saved it without having pulled it, shows
/// it as `shown` has it, and gives it back as `gives` has it. Returns the copies that are told of the block.
fn copies_told(pulled: bool, shown: Option<bool>, gives: bool) -> usize {
    let mut bench = Bench::new(Config::default(), 4, 9).start(&[]);
    bench.pulls = pulled;
    let read = reading(&store_file(&mut bench)).expect("it begins by reading");
    let actions = bench.ends(read, Outcome::Read { entry: entry(1, 10) });
    let read = reading(&actions).expect("it reads on");
    let (own, _) =
        jobs(&actions).into_iter().find(|(_, job)| matches!(job, Job::Keep { .. })).expect("one copy is here");
    for (to, magic, _) in requests(&actions) {
        let response = shown.map_or(Response::Saved, |_| Response::Shown { sample: key(7) });
        for (job, work) in jobs(&bench.hears_answer(to, magic, response)) {
            let outcome = match work {
                Job::Sample { magic: asked, by, .. } if (asked, addr_of(by)) == (magic, to) => {
                    Outcome::Sampled { sample: key(if shown == Some(true) { 7 } else { 8 }) }
                }
                Job::ReadBack { from, .. } if from == to && gives => Outcome::Sound { size: 10 },
                Job::ReadBack { .. } => failed(JobErrorKind::TimedOut),
                work => panic!("{work:?}"),
            };
            bench.ends(job, outcome);
        }
    }
    bench.ends(own, Outcome::Stored { size: 10 });
    bench.pulls = true;
    let actions = bench.ends(read, Outcome::End { size: 10, sha256: key(99) });
    let [(pack, Job::Pack { .. })] = jobs(&actions)[..] else { panic!("{actions:?}") };
    let actions = bench.ends(pack, Outcome::Packed { key: key(2), size: 200 });
    answer_offers(&mut bench, &actions, |_| true);
    let [(own, Job::Keep { .. })] = jobs(&actions)[..] else { panic!("{actions:?}") };
    let end = bench.ends(own, Outcome::Stored { size: 200 });
    let Some(Answer::Stored { copies, .. }) = answer(&end) else { panic!("{end:?}") };
    assert!(bench.node.is_at_rest());
    copies.iter().position(|blocks| *blocks > 0).expect("some")
}

#[test]
fn a_copy_counts_that_was_pulled_shown_or_read_back_and_none_on_a_peers_word_alone() {
    assert_eq!(copies_told(true, None, false), 5, "whoever pulled it need not show it");
    assert_eq!(copies_told(false, Some(true), false), 5);
    assert_eq!(copies_told(false, Some(false), false), 1, "other bytes show nothing");
    assert_eq!(copies_told(false, None, true), 5, "an older peer, which had it before");
    assert_eq!(copies_told(false, None, false), 1);
}

#[test]
fn a_peer_that_refuses_is_replaced_by_the_next_nearest() {
    let config = Config { replicas: 2, guest: true, ..Config::default() };
    let mut bench = Bench::new(config, 5, 9).start(&[]);
    let [(read, _)] = jobs(&store_file(&mut bench))[..] else { panic!() };
    let offers = bench.ends(read, Outcome::Read { entry: entry(1, 10) });
    let asked: Vec<_> = requests(&offers).iter().map(|(to, ..)| *to).collect();
    assert_eq!(asked, [peer(1).addr, peer(2).addr]);
    let again = answer_offers(&mut bench, &offers, |to| to != peer(1).addr);
    let asked: Vec<_> = requests(&again).iter().map(|(to, ..)| *to).collect();
    assert_eq!(asked, [peer(3).addr]);
}

#[test]
fn a_store_below_its_quorum_fails_and_says_why() {
    let config = Config { quorum: 2, guest: true, ..Config::default() };
    let mut bench = Bench::new(config, 3, 9).start(&[]);
    let [(read, _)] = jobs(&store_file(&mut bench))[..] else { panic!() };
    let mut actions = bench.ends(read, Outcome::Read { entry: entry(1, 10) });
    let mut all = Vec::new();
    while !requests(&actions).is_empty() {
        actions = answer_offers(&mut bench, &actions, |to| to == peer(1).addr);
        all.extend(actions.clone());
    }
    let Some(Answer::Failed(failure)) = answer(&all) else { panic!("{all:?}") };
    assert_eq!(failure.kind, FailureKind::TooFewCopies);
    assert!(failure.reason.contains("1 copy of the 2") && failure.reason.contains("full"), "{}", failure.reason);
}

#[test]
fn a_file_of_which_fewer_copies_are_wanted_than_the_quorum_is_stored_with_those() {
    let config = Config { quorum: 3, guest: true, ..Config::default() };
    let mut bench = Bench::new(config, 4, 9).start(&[]);
    let secret: crate::lease::Secret = "07".repeat(32).parse().expect("64 digits");
    let lease = crate::lease::Lease { id: secret.id(), until: None, copies: 2 };
    let store = Command::Store { path: "file".into(), manifest: None, keep: false };
    let command = Command::OnLease { lease, store: Box::new(store) };
    let [(read, _)] = jobs(&bench.does(Event::Command { id: 1, command }))[..] else { panic!() };
    let actions = bench.ends(read, Outcome::Read { entry: entry(1, 10) });
    let offers = requests(&actions).len();
    let moved = answer_offers(&mut bench, &actions, |_| true);
    let is_placed = |action: &Action| matches!(action, Action::Notify(Notice::Progress { .. }));
    assert_eq!((offers, moved.iter().filter(|action| is_placed(action)).count()), (2, 1), "{moved:?}");
    assert_eq!(answer(&moved), None);
}

#[test]
fn a_missing_file_fails_at_once_and_another_command_goes_on() {
    let mut bench = Bench::new(Config::default(), 3, 0).start(&[]);
    let [(read, _)] = jobs(&store_file(&mut bench))[..] else { panic!() };
    let actions = bench.ends(read, failed(JobErrorKind::NotFound));
    assert!(matches!(answer(&actions), Some(Answer::Failed(failure)) if failure.kind == FailureKind::NotFound));
    assert!(bench.node.is_at_rest());
    assert!(matches!(jobs(&store_file(&mut bench))[..], [(_, Job::ReadNext { .. })]));
}

#[test]
fn at_most_a_window_of_blocks_is_on_its_way() {
    let config = Config { window: 4, guest: true, ..Config::default() };
    let mut bench = Bench::new(config, 3, 9).start(&[]);
    let mut next = reading(&store_file(&mut bench));
    let mut n = 0;
    while let Some(read) = next {
        n += 1;
        assert!(n <= 4, "the window is four blocks");
        next = reading(&bench.ends(read, Outcome::Read { entry: entry(n, 10) }));
    }
    assert_eq!(n, 4);
}

/// A root of three blocks, unpacked; returns the fetches that follow once the file is open.
fn opened(bench: &mut Bench, resumed: bool) -> Vec<(JobId, Job)> {
    let actions = retrieve(bench, 100);
    let [(unpack, Job::Unpack { .. })] = jobs(&actions)[..] else { panic!("{actions:?}") };
    let entries = vec![entry(1, 10), entry(2, 10), entry(3, 5)];
    let manifest = Manifest { level: 0, size: 25, sha256: Some(key(9)), folder: false, entries };
    let actions = bench.ends(unpack, Outcome::Unpacked { manifest });
    let [(open, Job::Open { size: 25, only: None, .. })] = jobs(&actions)[..] else { panic!("{actions:?}") };
    jobs(&bench.ends(open, Outcome::Opened { resumed }))
}

#[test]
fn blocks_come_in_any_order_and_the_file_gets_its_name_last() {
    let mut bench = Bench::new(Config::default(), 3, 9).start(&[]);
    let fetches = opened(&mut bench, false);
    assert_eq!(fetches.len(), 3);
    for (job, _) in fetches[1..].iter().rev() {
        assert_eq!(jobs(&bench.ends(*job, Outcome::Fetched)), []);
    }
    let actions = bench.ends(fetches[0].0, Outcome::Fetched);
    let [(finish, Job::Finish { .. })] = jobs(&actions)[..] else { panic!("{actions:?}") };
    let actions = bench.ends(finish, Outcome::Done);
    assert!(matches!(answer(&actions), Some(Answer::Retrieved { bytes: 25, resumed: 0, blocks: 3, .. })));
    assert!(bench.node.is_at_rest());
}

#[test]
fn a_bad_missing_or_slow_block_costs_one_retry_from_another_peer() {
    for kind in [JobErrorKind::Corrupt, JobErrorKind::NotFound, JobErrorKind::TimedOut, JobErrorKind::Unreachable] {
        let mut bench = Bench::new(Config::default(), 3, 9).start(&[]);
        let fetches = opened(&mut bench, false);
        let (job, Job::Fetch { slot, from, .. }) = fetches[0].clone() else { panic!() };
        let actions = bench.ends(job, failed(kind));
        let [(_, Job::Fetch { slot: again, from: other, .. })] = jobs(&actions)[..] else { panic!("{actions:?}") };
        assert_eq!(again, slot);
        assert_ne!(other, from);
    }
}

#[test]
fn a_block_that_was_damaged_with_one_holder_and_that_the_others_lack_is_called_damaged() {
    use JobErrorKind::{Corrupt, NotFound, TimedOut};
    for (first, then, expected) in [
        (Corrupt, NotFound, FailureKind::Integrity),
        // Who is silent may have it as it was.
        (Corrupt, TimedOut, FailureKind::TimedOut),
        (NotFound, Corrupt, FailureKind::Integrity),
        // That another one has it no more tells nothing of who broke off.
        (TimedOut, NotFound, FailureKind::TimedOut),
    ] {
        let mut bench = Bench::new(Config::default(), 3, 9).start(&[]);
        let (job, _) = opened(&mut bench, false)[0];
        let mut actions = bench.ends(job, failed(first));
        while let Some(&(job, _)) = jobs(&actions).first() {
            actions = bench.ends(job, failed(then));
        }
        let Some(Answer::Failed(failure)) = answer(&actions) else { panic!("{actions:?}") };
        assert_eq!(failure.kind, expected, "{first:?}, then {then:?}");
    }
}

#[test]
fn a_block_that_nobody_gives_ends_the_retrieve_with_the_fitting_kind() {
    use JobErrorKind::{Corrupt, NotFound};
    for (kind, vouch, expected) in [
        (Corrupt, None, FailureKind::Integrity),
        (NotFound, Some(Vouch::Absent), FailureKind::NotFound),
        (NotFound, Some(Vouch::Damaged), FailureKind::Integrity),
    ] {
        let mut bench = Bench::new(Config::default(), 2, 9).start(&[]);
        let (job, _) = opened(&mut bench, false)[0];
        let mut actions = bench.ends(job, failed(kind));
        let mut tries = 1;
        while let Some(&(job, _)) = jobs(&actions).first() {
            tries += 1;
            assert!(tries < 50, "it ends");
            actions = bench.ends(job, failed(kind));
        }
        let end = vouch.map_or(actions.clone(), |vouch| vouch_for_all(&mut bench, &actions, vouch));
        let Some(Answer::Failed(failure)) = answer(&end) else { panic!("{actions:?}") };
        assert_eq!(failure.kind, expected);
    }
}

/// All that are asked whether a block was damaged say this.
fn vouch_for_all(bench: &mut Bench, actions: &[Action], vouch: Vouch) -> Vec<Action> {
    let asked = requests(actions).into_iter().filter(|(.., request)| matches!(request, Request::Verify { .. }));
    asked.flat_map(|(to, magic, _)| bench.hears_answer(to, magic, Response::Vouch(vouch))).collect()
}

#[test]
fn what_an_interrupted_run_left_is_checked_and_not_fetched_again() {
    let mut bench = Bench::new(Config::default(), 3, 9).start(&[]);
    let checks = opened(&mut bench, true);
    assert!(checks.iter().all(|(_, job)| matches!(job, Job::Check { .. })) && checks.len() == 3);
    assert_eq!(jobs(&bench.ends(checks[0].0, Outcome::Checked { good: true })), []);
    let actions = bench.ends(checks[1].0, Outcome::Checked { good: false });
    assert!(matches!(jobs(&actions)[..], [(_, Job::Fetch { .. })]));
}

#[test]
fn a_slow_fetch_is_joined_by_one_from_another_holder_and_the_first_wins() {
    let mut bench = Bench::new(Config::default(), 3, 9).start(&[]);
    let fetches = opened(&mut bench, false);
    bench.ends(fetches[1].0, Outcome::Fetched);
    bench.ends(fetches[2].0, Outcome::Fetched);
    let mut wakes = (0..100).map_while(|_| bench.wait(Duration::from_secs(5)).map(|actions| jobs(&actions)));
    let hedge = wakes.find(|started| !started.is_empty()).expect("the node hedges");
    assert!(bench.now <= Time::ZERO + Duration::from_secs(5), "a slow fetch is not waited for that long");
    let [(second, Job::Fetch { .. })] = hedge[..] else { panic!("{hedge:?}") };
    let actions = bench.ends(second, Outcome::Fetched);
    assert!(actions.contains(&Action::Cancel { job: fetches[0].0 }));
}

#[test]
fn a_block_that_is_here_is_taken_from_here() {
    let mut bench = Bench::new(Config::default(), 3, 9).start(&[(key(2), 10)]);
    let fetches = opened(&mut bench, false);
    let own: Vec<_> = fetches.iter().filter(|(_, job)| matches!(job, Job::Fetch { from: Holder::Own, .. })).collect();
    assert!(matches!(own[..], [(_, Job::Fetch { slot, .. })] if slot.key == key(2)));
}

#[test]
fn a_file_of_one_block_that_is_here_is_written_by_the_job_that_opens_it_unless_it_cannot_be_read() {
    let held = [(key(1), 10), (key(100), 99)];
    for readable in [true, false] {
        let mut bench = Bench::new(Config::default(), 3, 9).start(&held);
        let [(unpack, _)] = jobs(&retrieve(&mut bench, 100))[..] else { panic!() };
        let manifest =
            Manifest { level: 0, size: 10, sha256: Some(key(9)), folder: false, entries: vec![entry(1, 10)] };
        let [(open, Job::Open { only, .. })] = jobs(&bench.ends(unpack, Outcome::Unpacked { manifest }))[..] else {
            panic!()
        };
        assert_eq!(only, Some(Slot { key: key(1), size: 10, offset: 0 }));
        if readable {
            let answer = answer(&bench.ends(open, Outcome::Done));
            assert!(matches!(answer, Some(Answer::Retrieved { bytes: 10, blocks: 1, resumed: 0, .. })), "{answer:?}");
            assert!(bench.node.is_at_rest());
        } else {
            let fetches = jobs(&bench.ends(open, Outcome::Opened { resumed: false }));
            assert!(matches!(fetches[..], [(_, Job::Fetch { from: Holder::Own, .. })]), "{fetches:?}");
        }
    }
}

#[test]
fn a_key_that_nobody_holds_is_not_found() {
    let mut bench = Bench::new(Config::default(), 0, 0).start(&[]);
    let actions = retrieve(&mut bench, 100);
    let Some(Answer::Failed(failure)) = answer(&actions) else { panic!("{actions:?}") };
    assert_eq!(failure.kind, FailureKind::NotFound);
    assert!(failure.reason.contains(&key(100).to_string()));
}

#[test]
fn clear_drops_what_is_here_of_a_file_and_answers() {
    let mut bench = Bench::new(Config::default(), 3, 9).start(&[(key(1), 10), (key(100), 99), (key(7), 1)]);
    let command = Command::Clear { sources: vec![Source::Key(key(100))], force: true };
    let actions = bench.does(Event::Command { id: 1, command });
    let [(unpack, Job::Unpack { from: Holder::Own, .. })] = jobs(&actions)[..] else { panic!("{actions:?}") };
    let manifest =
        Manifest { level: 0, size: 20, sha256: None, folder: false, entries: vec![entry(1, 10), entry(2, 10)] };
    let mut actions = bench.ends(unpack, Outcome::Unpacked { manifest });
    while let [(job, Job::Delete { .. })] = jobs(&actions)[..] {
        actions = bench.ends(job, Outcome::Done);
    }
    assert_eq!(answer(&actions), Some(Answer::Cleared { blocks: 2, kept: 0 }));
    assert_eq!(bench.node.held().map(|(key, _)| key).collect::<Vec<_>>(), [key(7)]);
}

#[test]
fn peers_that_are_known_and_silent_are_wanted_all_the_same_and_told_of() {
    let config = Config { replicas: 3, guest: true, ..Config::default() };
    let overlay = super::scripted::Scripted {
        me: peer(0),
        set: vec![peer(1)],
        holds: false,
        ends: true,
        unreached: (2..6).map(peer).collect(),
    };
    let mut bench = Bench::on(config, overlay).start(&[]);
    let read = reading(&store_file(&mut bench)).expect("it begins by reading");
    let actions = bench.ends(read, Outcome::Read { entry: entry(1, 10) });
    let read = reading(&actions).expect("it reads on");
    answer_offers(&mut bench, &actions, |_| true);
    let actions = bench.ends(read, Outcome::End { size: 10, sha256: key(99) });
    let [(pack, Job::Pack { .. })] = jobs(&actions)[..] else { panic!("{actions:?}") };
    let actions = bench.ends(pack, Outcome::Packed { key: key(2), size: 200 });
    let end = answer_offers(&mut bench, &actions, |_| true);
    let Some(Answer::Stored { copies, wanted, unreached, .. }) = answer(&end) else { panic!("{end:?}") };
    assert_eq!((copies, wanted, unreached), (vec![0, 2], 3, 4));
}

#[test]
fn a_key_is_not_blamed_where_more_peers_are_known_that_did_not_answer_than_did() {
    let sets = [(0, FailureKind::TimedOut), (3, FailureKind::TimedOut), (4, FailureKind::NotFound)];
    for (set, kind) in sets.map(|(answer, kind)| ((6..6 + answer).map(peer).collect(), kind)) {
        let unreached = (2..6).map(peer).collect();
        let overlay = super::scripted::Scripted { me: peer(0), set, holds: false, ends: true, unreached };
        let mut bench = Bench::on(Config::default(), overlay).start(&[]);
        let mut end = retrieve(&mut bench, 1);
        end.extend(vouch_for_all(&mut bench, &end, Vouch::Absent));
        let Some(Answer::Failed(failure)) = answer(&end) else { panic!("{end:?}") };
        assert_eq!(failure.kind, kind, "{failure}");
        let named = format!("4 peers are known that did not answer: {}, {}, {}, 1 more", peer(2), peer(3), peer(4));
        assert!(failure.reason.contains(&named), "{failure}");
    }
}
