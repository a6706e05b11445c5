//! Streams through a live peer.

use super::*;
use crate::config::{Config, MAX_BLOCK_SIZE};
use crate::node::NamedBy;
use crate::runtime::{LocalPeer, Options};

const LIMIT: Option<Duration> = Some(Duration::from_secs(120));

fn peer() -> LocalPeer {
    let peer = LocalPeer::start(Options::default()).expect("it starts");
    peer.ready(LIMIT).expect("it is alone");
    peer
}

/// Bytes that no two blocks have alike.
fn bytes(count: usize) -> Vec<u8> {
    (0_u32..).flat_map(u32::to_le_bytes).take(count).collect()
}

/// Takes so many bytes, then breaks.
struct Failing(usize);

impl Write for Failing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_is_put_comes_back_in_order_whole_and_in_part_and_no_more_than_a_window_is_fetched_ahead() {
    let (peer, block) = (peer(), MAX_BLOCK_SIZE as usize);
    let stored = bytes((WINDOW + 2) * block + 5);
    let key = peer.handle().put(&stored[..], LIMIT).expect("it is stored");
    let mut back = Vec::new();
    assert_eq!(peer.handle().get(key, &mut back, LIMIT), Ok(stored.len() as u64));
    assert!(back == stored, "what came back is something else");
    let end = stored.len();
    for part in [0..0, 0..1, block - 1..block + 1, block..2 * block, 3 * block + 7..end, end - 1..end + 9, end..end + 1]
    {
        let wanted = &stored[part.start..part.end.min(end)];
        back.clear();
        let got = peer.handle().get_range(key, part.start as u64..part.end as u64, &mut back, LIMIT);
        assert_eq!(got, Ok(wanted.len() as u64), "{part:?}");
        assert!(back == wanted, "{part:?}");
    }
    let backwards = Range { start: 9, end: 3 };
    assert_eq!(peer.handle().get_range(key, backwards, &mut back, LIMIT), Ok(0), "an empty part");
    // The writer fails: nothing goes on behind its back.
    let failed = peer.handle().get(key, Failing(block + block / 2), LIMIT).expect_err("the pipe is broken");
    assert!(failed.reason.contains("cannot write"), "{failed}");
    let Ok(Notice::Answer { answer: Answer::Status(status), .. }) = peer.submit(Command::Status).recv() else {
        panic!("no status");
    };
    assert_eq!(status.transfers, 0);
}

#[test]
fn nothing_one_byte_and_a_single_block_by_its_hash_come_back_too() {
    let peer = peer();
    for stored in [&b""[..], b"x"] {
        let (key, mut back) = (peer.handle().put(stored, LIMIT).expect("it is stored"), Vec::new());
        assert_eq!(peer.handle().get(key, &mut back, LIMIT), Ok(stored.len() as u64));
        assert_eq!(back, stored);
    }
    let mut back = Vec::new();
    assert_eq!(peer.handle().get(Key::of(b"x"), &mut back, LIMIT), Ok(1), "the key of the one block");
    assert_eq!(back, b"x");
}

/// Takes a byte at a time, the first after the deadline.
struct Slow(Duration, usize);

impl Write for Slow {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        self.1 += 1;
        let took = stopwatch();
        while took() < self.0 {
            thread::park_timeout(self.0);
        }
        Ok(1)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn nothing_more_is_written_after_the_deadline() {
    let (peer, limit) = (peer(), Duration::from_secs(2));
    let key = peer.handle().put(&bytes(100_000)[..], LIMIT).expect("it is stored");
    let mut slow = Slow(limit, 0);
    let failed = peer.handle().get(key, &mut slow, Some(limit)).expect_err("it is late");
    assert_eq!((failed.kind, slow.1), (FailureKind::TimedOut, 1), "{failed}");
}

/// Tells when it gets bytes, and takes them.
struct Telling(crossbeam_channel::Sender<()>);

impl Write for Telling {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.send(());
        Ok(bytes.len().min(1))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_call_that_another_thread_ends_fails_as_cancelled_and_the_call_beside_it_goes_on() {
    let peer = peer();
    let key = peer.handle().put(&bytes(10_000_000)[..], LIMIT).expect("it is stored");
    let (call, (tells, told)) = (peer.handle().session(), crossbeam_channel::bounded(0));
    thread::scope(|scope| {
        let one = scope.spawn(|| call.clone().get(key, Telling(tells), LIMIT));
        told.recv().expect("bytes come");
        call.cancel();
        drop(told);
        let failed = one.join().expect("it does not panic").expect_err("it would take ten million writes");
        assert_eq!(failed.kind, FailureKind::Cancelled, "{failed}");
    });
    let ended = call.put(io::repeat(7), LIMIT).expect_err("the session is over");
    assert_eq!(ended.kind, FailureKind::Cancelled);
    assert_eq!(peer.handle().get(key, io::sink(), LIMIT), Ok(10_000_000));
}

#[test]
fn a_peer_with_no_window_stores_a_block_at_a_time() {
    let config = Config { window: 0, ..Config::default() };
    let peer = LocalPeer::start(Options { config, ..Options::default() }).expect("it starts");
    let stored = bytes(3 * MAX_BLOCK_SIZE as usize);
    let key = peer.handle().put(&stored[..], LIMIT).expect("it is stored");
    let mut back = Vec::new();
    assert_eq!(peer.handle().get(key, &mut back, LIMIT), Ok(stored.len() as u64));
    assert!(back == stored);
}

#[test]
fn a_call_fails_by_its_deadline_and_a_key_that_nobody_has_is_not_found() {
    let peer = peer();
    let kind = |result: Result<u64, Failure>| result.expect_err("it fails").kind;
    let get = |limit| peer.handle().get(Key::of(b"never stored"), io::sink(), limit);
    assert_eq!(kind(get(Some(Duration::ZERO))), FailureKind::TimedOut);
    assert_eq!(kind(get(LIMIT)), FailureKind::NotFound);
    let put = peer.handle().put(io::repeat(7), Some(Duration::from_millis(20)));
    assert_eq!(put.expect_err("it never ends").kind, FailureKind::TimedOut);
}

#[test]
fn a_put_ends_with_its_peer_however_much_there_is_to_read_still() {
    let (peer, (gives, given)) = (peer(), crossbeam_channel::bounded(0));
    let handle = peer.handle();
    /// Gives zeros without end, and tells of it.
    struct Endless(crossbeam_channel::Sender<()>);
    impl Read for Endless {
        fn read(&mut self, piece: &mut [u8]) -> io::Result<usize> {
            // Once nobody listens any more, the peer has ended.
            let _ = self.0.send(());
            piece.fill(0);
            Ok(piece.len())
        }
    }
    thread::scope(|scope| {
        let put = scope.spawn(|| handle.put(Endless(gives), LIMIT));
        given.recv().expect("it is read");
        drop(peer);
        drop(given);
        let failed = put.join().expect("it does not panic").expect_err("there is no peer");
        assert_eq!(failed, Failure::gone());
    });
}

#[test]
fn a_stream_is_stored_where_a_file_without_a_name_has_no_path() {
    let (peer, stored) = (peer(), bytes(3_000_000));
    let spooled = Spooled::read_as(&stored[..], true, &mut |_| Ok(())).expect("there is room");
    let (path, call) = (spooled.path(), Call::begin(peer.handle().session(), LIMIT));
    assert!(!path.starts_with("/proc"), "{}", path.display());
    let store = Command::Store { path: path.clone(), manifest: None, keep: false };
    let Ok(Answer::Stored { key, .. }) = call.answer(&peer.submit(store), &mut |_| ()) else { panic!("not stored") };
    drop(spooled);
    assert!(!path.exists(), "it goes with the value");
    assert_eq!(peer.handle().get(key, io::sink(), LIMIT), Ok(3_000_000));
}

#[test]
fn a_peer_that_is_to_keep_no_copy_keeps_one_all_the_same() {
    let config = Config { replicas: 0, quorum: 0, ..Config::default() };
    let peer = LocalPeer::start(Options { config, ..Options::default() }).expect("it starts");
    let key = peer.handle().put(&b"x"[..], LIMIT).expect("it is stored");
    assert_eq!(peer.handle().get(key, io::sink(), LIMIT), Ok(1));
    let config = Config { guest: true, quorum: 0, ..Config::default() };
    let guest = LocalPeer::start(Options { config, ..Options::default() }).expect("it starts");
    let failed = guest.handle().put(&b"x"[..], LIMIT).expect_err("nobody is there who could keep it");
    assert_eq!(failed.kind, FailureKind::TooFewCopies);
}

#[test]
fn those_who_watch_hear_of_a_stream_as_one_file_and_of_none_of_its_blocks() {
    let (peer, stored) = (peer(), bytes(3_000_000));
    let notices = peer.notices();
    let key = peer.handle().put(&stored[..], LIMIT).expect("it is stored");
    assert_eq!(peer.handle().get(key, io::sink(), LIMIT), Ok(3_000_000));
    drop(peer);
    let heard = notices.iter().filter(|notice| matches!(notice, Notice::Answer { .. } | Notice::Done { .. }));
    let heard: Vec<_> = heard.collect();
    let [Notice::Done { named, .. }, Notice::Answer { answer: Answer::Left { .. }, .. }] = &heard[..] else {
        panic!("{heard:?}");
    };
    assert_eq!(*named, NamedBy::Stored { file: "-".into() });
    let plain = Spooled::read_as(&b"x"[..], true, &mut |_| Ok(())).expect("there is room");
    assert!(is_spooled(&plain.path()) && !is_spooled("kadring-x/file".as_ref()));
}

#[test]
fn who_asks_a_peer_that_has_ended_learns_so_by_the_kind_of_failure() {
    let peer = peer();
    let handle = peer.handle();
    drop(peer);
    let failed = handle.put(&b"x"[..], LIMIT).expect_err("there is no peer");
    assert_eq!((failed.kind, failed.kind.code()), (FailureKind::Gone, 5));
}
