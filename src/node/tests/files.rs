//! Files in and out, job by job.

use super::*;
use crate::config::INTERRUPT_WINDOW;
use crate::file::{Entry, Form, LocalManifest, Manifest};
use crate::node::job::Holder;
use crate::node::{Command, FailureKind, Source};

fn entry(n: u64, size: u64) -> Entry {
    Entry { key: key(n), size }
}

fn store_file(bench: &mut Bench) -> Vec<Action> {
    let command = Command::Store { path: "file".into(), manifest: None, keep: false };
    bench.does(Event::Command { id: 1, command })
}

fn retrieve(bench: &mut Bench, n: u64) -> Vec<Action> {
    let command = Command::Retrieve { source: Source::Key(key(n)), dest: "back".into(), replace: false };
    bench.does(Event::Command { id: 1, command })
}

/// The job that reads on, among `actions`.
fn reading(actions: &[Action]) -> Option<JobId> {
    jobs(actions).into_iter().find(|(_, job)| matches!(job, Job::ReadNext { .. })).map(|(job, _)| job)
}

/// Answers every offer among `actions`, as `saved` says for each peer; returns what the node did in turn.
fn answer_offers(bench: &mut Bench, actions: &[Action], saved: impl Fn(SocketAddr) -> bool) -> Vec<Action> {
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

    let Some(Answer::Stored { key: root, bytes, blocks, copies, wanted, .. }) = answer(&end) else { panic!("{end:?}") };
    assert_eq!((root, bytes, blocks, wanted), (key(2), 10, 2, 4));
    assert_eq!(copies, [0, 0, 0, 0, 2], "both blocks have four copies");
    assert!(bench.node.is_at_rest());
    assert_eq!(bench.node.held().count(), 2);
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
    let manifest = Manifest { level: 0, size: 25, sha256: Some(key(9)), entries };
    let actions = bench.ends(unpack, Outcome::Unpacked { manifest });
    let [(open, Job::Open { size: 25, .. })] = jobs(&actions)[..] else { panic!("{actions:?}") };
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
fn a_block_that_nobody_gives_ends_the_retrieve_with_the_fitting_kind() {
    for (kind, expected) in
        [(JobErrorKind::Corrupt, FailureKind::Integrity), (JobErrorKind::NotFound, FailureKind::NotFound)]
    {
        let mut bench = Bench::new(Config::default(), 2, 9).start(&[]);
        let (job, _) = opened(&mut bench, false)[0];
        let mut actions = bench.ends(job, failed(kind));
        let mut tries = 1;
        while let Some(&(job, _)) = jobs(&actions).first() {
            tries += 1;
            assert!(tries < 50, "it ends");
            actions = bench.ends(job, failed(kind));
        }
        let Some(Answer::Failed(failure)) = answer(&actions) else { panic!("{actions:?}") };
        assert_eq!(failure.kind, expected);
    }
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
fn a_key_that_nobody_holds_is_not_found() {
    let mut bench = Bench::new(Config::default(), 0, 0).start(&[]);
    let actions = retrieve(&mut bench, 100);
    let Some(Answer::Failed(failure)) = answer(&actions) else { panic!("{actions:?}") };
    assert_eq!(failure.kind, FailureKind::NotFound);
    assert!(failure.reason.contains(&key(100).to_string()));
}

/// A retrieve of [`opened`]'s file, onto whose name another file of its size stands; returns the checks of its blocks.
fn standing(bench: &mut Bench, replace: bool) -> Vec<(JobId, Job)> {
    let command = Command::Retrieve { source: Source::Key(key(100)), dest: "back".into(), replace };
    let [(unpack, _)] = jobs(&bench.does(Event::Command { id: 1, command }))[..] else { panic!() };
    let entries = vec![entry(1, 10), entry(2, 10), entry(3, 5)];
    let manifest = Manifest { level: 0, size: 25, sha256: Some(key(9)), entries };
    let actions = bench.ends(unpack, Outcome::Unpacked { manifest });
    let [(open, Job::Open { compare: true, .. })] = jobs(&actions)[..] else { panic!("{actions:?}") };
    let checks = jobs(&bench.ends(open, Outcome::Standing));
    assert!(checks.len() == 3 && checks.iter().all(|(_, job)| matches!(job, Job::Check { .. })), "{checks:?}");
    checks
}

#[test]
fn a_destination_that_holds_these_very_bytes_is_success_and_nothing_is_written() {
    let mut bench = Bench::new(Config::default(), 3, 9).start(&[]);
    let mut actions = Vec::new();
    for (check, _) in standing(&mut bench, false) {
        actions = bench.ends(check, Outcome::Checked { good: true });
        assert_eq!(jobs(&actions), [], "nothing is fetched, and nothing gets a name");
    }
    let answer = answer(&actions);
    assert!(matches!(answer, Some(Answer::Retrieved { standing: true, bytes: 25, .. })), "{answer:?}");
    assert!(bench.node.is_at_rest());
}

#[test]
fn a_destination_that_holds_other_bytes_is_replaced_only_if_that_was_said() {
    for replace in [false, true] {
        let mut bench = Bench::new(Config::default(), 3, 9).start(&[]);
        let checks = standing(&mut bench, replace);
        bench.ends(checks[0].0, Outcome::Checked { good: true });
        let actions = bench.ends(checks[1].0, Outcome::Checked { good: false });
        let [(open, Job::Open { compare: false, replace: may, .. })] = jobs(&actions)[..] else {
            panic!("{actions:?}")
        };
        assert_eq!(may, replace);
        bench.ends(checks[2].0, Outcome::Checked { good: true });
        if replace {
            let fetches = jobs(&bench.ends(open, Outcome::Opened { resumed: false }));
            assert!(fetches.len() == 3 && fetches.iter().all(|(_, job)| matches!(job, Job::Fetch { .. })));
        } else {
            let actions = bench.ends(open, failed(JobErrorKind::Exists));
            let Some(Answer::Failed(failure)) = answer(&actions) else { panic!("{actions:?}") };
            assert_eq!((failure.kind, &*failure.reason), (FailureKind::Exists, "Exists"), "nothing of it is kept");
            assert!(bench.node.is_at_rest());
        }
    }
}

/// Retrieves by a local manifest that says `listed`.
fn by_manifest(bench: &mut Bench, listed: Vec<Entry>, sha256: Option<Id>) -> Vec<Action> {
    let command = Command::Retrieve { source: Source::Manifest("m".into()), dest: "back".into(), replace: true };
    let [(read, Job::ReadManifest { .. })] = jobs(&bench.does(Event::Command { id: 1, command }))[..] else { panic!() };
    bench.ends(read, Outcome::Manifest { entries: listed, root: key(50), sha256 })
}

#[test]
fn an_empty_list_never_replaces_a_file_whatever_was_said() {
    let mut bench = Bench::new(Config::default(), 3, 9).start(&[]);
    let actions = by_manifest(&mut bench, Vec::new(), None);
    let [(open, Job::Open { replace: false, size: 0, .. })] = jobs(&actions)[..] else { panic!("{actions:?}") };
    let Some(Answer::Failed(failure)) = answer(&bench.ends(open, failed(JobErrorKind::Exists))) else { panic!() };
    assert!(failure.reason.contains("an empty list replaces no file"), "{failure:?}");
    // One that shows itself whole is the empty file's.
    let actions = by_manifest(&mut bench, Vec::new(), Some(key(9)));
    assert!(matches!(jobs(&actions)[..], [(_, Job::Open { replace: true, .. })]), "{actions:?}");
}

#[test]
fn a_list_that_cannot_show_that_it_is_whole_is_told_and_the_hash_of_one_that_can_is_checked() {
    for sha256 in [None, Some(key(9))] {
        let mut bench = Bench::new(Config::default(), 3, 9).start(&[]);
        let [(open, _)] = jobs(&by_manifest(&mut bench, vec![entry(1, 10)], sha256))[..] else { panic!() };
        let [(fetch, _)] = jobs(&bench.ends(open, Outcome::Opened { resumed: false }))[..] else { panic!() };
        let actions = bench.ends(fetch, Outcome::Fetched);
        let [(finish, Job::Finish { sha256: checked, .. })] = jobs(&actions)[..] else { panic!("{actions:?}") };
        assert_eq!(checked, sha256);
        let actions = bench.ends(finish, Outcome::Done);
        let Some(Answer::Retrieved { complete, blocks: 1, bytes: 10, .. }) = answer(&actions) else { panic!() };
        assert_eq!(complete, sha256.is_some());
    }
}

#[test]
fn a_copy_kept_here_is_looked_at_and_kept_anew_if_it_cannot_be_vouched_for() {
    for sound in [true, false] {
        let mut bench = Bench::new(Config::default(), 0, 0).start(&[(key(1), 10)]);
        let read = reading(&store_file(&mut bench)).expect("it is read");
        let actions = bench.ends(read, Outcome::Read { entry: entry(1, 10) });
        let verify = |(_, job): &(JobId, Job)| matches!(job, Job::Verify { .. });
        let Some((verify, _)) = jobs(&actions).into_iter().find(verify) else { panic!("{actions:?}") };
        if sound {
            let actions = bench.ends(verify, Outcome::Sound { size: 10 });
            assert!(actions.contains(&Action::Withdraw { put: 1, key: key(1) }), "{actions:?}");
        } else {
            let actions = bench.ends(verify, failed(JobErrorKind::Corrupt));
            assert!(matches!(jobs(&actions)[..], [(_, Job::Keep { key: kept })] if kept == key(1)), "{actions:?}");
        }
    }
}

#[test]
fn a_file_whose_manifest_could_not_be_written_is_stored_and_its_key_is_told() {
    let mut bench = Bench::new(Config::default(), 0, 0).start(&[]);
    let manifest = Some(LocalManifest { path: "m".into(), form: Form::Seed });
    let command = Command::Store { path: "file".into(), manifest, keep: false };
    let [(read, _)] = jobs(&bench.does(Event::Command { id: 1, command }))[..] else { panic!() };
    let [(pack, Job::Pack { .. })] = jobs(&bench.ends(read, Outcome::End { size: 0, sha256: key(9) }))[..] else {
        panic!()
    };
    let actions = bench.ends(pack, Outcome::Packed { key: key(50), size: 99 });
    let [(keep, Job::Keep { .. })] = jobs(&actions)[..] else { panic!("{actions:?}") };
    let [(publish, Job::Publish { .. })] = jobs(&bench.ends(keep, Outcome::Stored { size: 99 }))[..] else { panic!() };
    let actions = bench.ends(publish, failed(JobErrorKind::Exists));
    let Some(Answer::Failed(failure)) = answer(&actions) else { panic!("{actions:?}") };
    assert_eq!(failure.kind, FailureKind::Exists);
    assert!(failure.reason.contains(&format!("its key is {}", key(50))), "{failure:?}");
}

/// What was answered to which command.
fn answers(actions: &[Action]) -> Vec<(u64, Answer)> {
    let answers = actions.iter().filter_map(|action| match action {
        Action::Notify(Notice::Answer { command, answer }) => Some((*command, answer.clone())),
        _ => None,
    });
    answers.collect()
}

#[test]
fn an_interrupt_ends_what_is_under_way_and_the_second_one_soon_after_ends_the_peer() {
    let interrupt = |id| Event::Command { id, command: Command::Interrupt { handover: false } };
    let mut bench = Bench::new(Config::default(), 3, 9).start(&[]);
    store_file(&mut bench);
    bench.does(Event::Command { id: 2, command: Command::Ping { addr: addr(9) } });
    let actions = answers(&bench.does(interrupt(3)));
    let [(1, Answer::Failed(store)), (2, Answer::Failed(ping)), (3, Answer::Interrupted { commands: 2 })] =
        &actions[..]
    else {
        panic!("{actions:?}")
    };
    assert_eq!((store.kind, ping.kind), (FailureKind::Cancelled, FailureKind::Cancelled));
    assert!(bench.node.is_at_rest());
    bench.now += INTERRUPT_WINDOW + Duration::from_micros(1);
    let actions = answers(&bench.does(interrupt(4)));
    assert!(matches!(actions[..], [(4, Answer::Interrupted { commands: 0 })]), "{actions:?}");
    bench.now += INTERRUPT_WINDOW;
    let actions = bench.does(interrupt(5));
    assert!(matches!(answers(&actions)[..], [(5, Answer::Left { .. })]), "{actions:?}");
    assert_eq!(actions.last(), Some(&Action::Stop));
}

#[test]
fn an_interrupted_clear_forgets_no_block_that_is_still_here() {
    let mut bench = Bench::new(Config::default(), 3, 9).start(&[(key(1), 10), (key(2), 10)]);
    let sources = vec![Source::Key(key(1)), Source::Key(key(2))];
    let [(unpack, _)] = jobs(&bench.does(Event::Command { id: 1, command: Command::Clear { sources } }))[..] else {
        panic!()
    };
    let [(delete, Job::Delete { .. })] = jobs(&bench.ends(unpack, Outcome::NotManifest { size: 10 }))[..] else {
        panic!()
    };
    bench.does(Event::Command { id: 2, command: Command::Interrupt { handover: true } });
    let actions = answers(&bench.ends(delete, Outcome::Done));
    assert!(matches!(&actions[..], [(1, Answer::Failed(failure))] if failure.kind == FailureKind::Cancelled));
    assert_eq!(bench.node.held().map(|(key, _)| key).collect::<Vec<_>>(), [key(2)]);
}

#[test]
fn clear_drops_what_is_here_of_a_file_and_answers() {
    let mut bench = Bench::new(Config::default(), 3, 9).start(&[(key(1), 10), (key(100), 99), (key(7), 1)]);
    let command = Command::Clear { sources: vec![Source::Key(key(100))] };
    let actions = bench.does(Event::Command { id: 1, command });
    let [(unpack, Job::Unpack { from: Holder::Own, .. })] = jobs(&actions)[..] else { panic!("{actions:?}") };
    let manifest = Manifest { level: 0, size: 20, sha256: None, entries: vec![entry(1, 10), entry(2, 10)] };
    let mut actions = bench.ends(unpack, Outcome::Unpacked { manifest });
    while let [(job, Job::Delete { .. })] = jobs(&actions)[..] {
        actions = bench.ends(job, Outcome::Done);
    }
    assert_eq!(answer(&actions), Some(Answer::Cleared { blocks: 2 }));
    assert_eq!(bench.node.held().map(|(key, _)| key).collect::<Vec<_>>(), [key(7)]);
}

#[test]
fn peers_that_are_known_and_silent_are_wanted_all_the_same_and_told_of() {
    let config = Config { replicas: 3, guest: true, ..Config::default() };
    let overlay = super::scripted::Scripted { me: peer(0), set: vec![peer(1)], holds: false, unreached: 4 };
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
