//! What comes back over a connection, and when one is kept.

use nix::errno::Errno;
use socket2::{Domain, Socket, Type};

use super::*;
use crate::runtime::channels::POSTS;
use crate::runtime::stopwatch;
use crate::runtime::transfer::Ledger;

fn connected(to: SocketAddr) -> Stream {
    Stream::open(to, None, IDLE, || TcpStream::connect(to).map(Arc::new)).expect("it listens")
}

/// A target for a fuzzer too, as those of `tests/fuzz`: it stands here because what reads a reply is nobody else's.
#[test]
fn whatever_a_peer_replies_nothing_passes_for_a_block_but_its_bytes() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let from = listener.local_addr().expect("bound");
    let block = b"a block of some bytes".to_vec();
    let (key, clock) = (Key::of(&block), Clock::start());
    bolero::check!().with_iterations(200).with_type::<(u8, Option<u8>, Vec<(u16, u8)>)>().for_each(
        |(head, expected, changes)| {
            let size = block.len();
            let head = match head % 6 {
                0 => "error: there is none\n".to_owned(),
                1 => format!("{}\n", usize::MAX),
                2 => "\n".to_owned(),
                _ => format!("{size}\n"),
            };
            let mut reply = [head.as_bytes(), &block].concat();
            for (at, byte) in changes {
                let at = usize::from(*at) % (reply.len() + 1);
                if byte % 3 == 0 {
                    reply.truncate(at)
                } else {
                    reply.splice(at..(at + 1).min(reply.len()), [*byte]);
                }
            }
            let (connections, ledger) = (Connections::new(4, None, None), Arc::<Ledger>::default());
            ledger.begin(1);
            let (cancel, post) = (ledger.of(1), Post::new(POSTS.open().0, None));
            let expected = expected.map(|off| size as u32 + u32::from(off % 2));
            let answer = std::thread::scope(|scope| {
                scope.spawn(|| {
                    let (mut asked, _) = listener.accept().expect("it is asked");
                    let mut line = [0; 65];
                    io::Read::read_exact(&mut asked, &mut line).expect("a request");
                    // A client that has heard enough closes.
                    let _ = asked.write_all(&reply);
                });
                let reply = connections.request(clock, from, &key, expected, &cancel, &post);
                reply.and_then(|reply| reply.read_verified(&key, &mut Buffer::default(), |_| {}))
            });
            let whole = [format!("{size}\n").as_bytes(), &block].concat();
            let is_expected = expected.is_none_or(|expected| expected as usize == size);
            match answer {
                Ok(count) => assert!(count == size && reply.starts_with(&whole) && is_expected),
                Err(error) => assert!(!is_expected || !reply.starts_with(&whole), "{error}"),
            }
        },
    );
}

#[test]
fn a_connection_that_is_kept_for_others_is_waited_on_no_longer() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let from = listener.local_addr().expect("bound");
    let (connections, ledger) = (Connections::new(4, None, None), Arc::<Ledger>::default());
    ledger.begin(1);
    let (cancel, post, key) = (ledger.of(1), Post::new(POSTS.open().0, None), Key::of(b"block"));
    let (holds, held) = crossbeam_channel::bounded(0);
    let (release, released) = crossbeam_channel::bounded::<()>(0);
    std::thread::scope(|scope| {
        scope.spawn(|| listener.accept().expect("it is asked").0.write_all(b"5\nblock").expect("it is open"));
        let reply = connections.request(Clock::start(), from, &key, None, &cancel, &post).expect("a reply");
        scope.spawn(|| {
            let _kept = connections.known.lock();
            holds.send(()).expect("it is waited for");
            let _ = released.recv();
        });
        held.recv().expect("it comes");
        scope.spawn(move || reply.read_verified(&key, &mut Buffer::default(), |_| {}).expect("the block"));
        // It can put the connection away only when the lock is free.
        let elapsed = stopwatch();
        while !cancel.waits_on_nothing() && elapsed() < Duration::from_secs(5) {
            std::thread::yield_now();
        }
        assert!(cancel.waits_on_nothing());
        drop(release);
    });
    assert_eq!(connections.known.lock().kept.len(), 1);
}

/// How a sender behaves after so many bytes of its reply.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Cuts,
    Stalls,
    /// It goes on, a byte at a time.
    Drips,
}

/// What comes of asking a sender with this fault for a block, and how long that takes.
fn ask_one_that(fault: Fault, at: usize) -> (Result<usize, JobError>, Duration) {
    let block = vec![7; 600_000];
    let key = Key::of(&block);
    let reply = [format!("{}\n", block.len()).as_bytes(), &block].concat();
    let at = at.min(reply.len() - 1);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let from = listener.local_addr().expect("bound");
    let (connections, ledger) = (Connections::new(4, None, None), Arc::<Ledger>::default());
    ledger.begin(1);
    let (cancel, post) = (ledger.of(1), Post::new(POSTS.open().0, None));
    let took = stopwatch();
    let (over, is_over) = crossbeam_channel::bounded::<()>(0);
    let answer = std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut asked, _) = listener.accept().expect("it is asked");
            io::Read::read_exact(&mut asked, &mut [0; 65]).expect("a request");
            let mut sent = asked.write_all(&reply[..at]);
            for byte in &reply[at..] {
                let given_up = match fault {
                    Fault::Cuts => true,
                    Fault::Stalls => is_over.recv().is_err(),
                    Fault::Drips => {
                        is_over.recv_timeout(Duration::from_millis(100)).is_err_and(|error| error.is_disconnected())
                    }
                };
                if given_up || sent.is_err() {
                    break;
                }
                sent = asked.write_all(&[*byte]);
            }
        });
        let reply = connections.request(Clock::start(), from, &key, Some(block.len() as u32), &cancel, &post);
        let answer = reply.and_then(|reply| reply.read_verified(&key, &mut Buffer::default(), |_| {}));
        drop(over);
        answer
    });
    (answer, took())
}

#[test]
fn a_sender_that_stops_drips_or_is_cut_off_anywhere_in_a_block_is_given_up_in_time_and_another_can_be_asked() {
    for place in 0..20 {
        let (answer, took) = ask_one_that(Fault::Cuts, place * 600_000 / 19);
        let error = answer.expect_err("a part is no block");
        assert!(error.kind != JobErrorKind::Corrupt && took < SILENCE_LIMIT, "cut at {place}/19: {error}, {took:?}");
    }
    let slow = [(Fault::Stalls, 0), (Fault::Stalls, 300_000), (Fault::Stalls, 600_006), (Fault::Drips, 300_000)];
    let answers: Vec<_> = std::thread::scope(|scope| {
        let asking: Vec<_> = slow.map(|(fault, at)| scope.spawn(move || ask_one_that(fault, at))).into();
        asking.into_iter().map(|asking| asking.join().expect("it does not panic")).collect()
    });
    for ((fault, at), (answer, took)) in slow.into_iter().zip(answers) {
        let error = answer.expect_err("it does not come");
        assert_eq!(error.kind, JobErrorKind::TimedOut, "{fault:?} at {at}: {error}");
        let limit = STRETCH_LIMIT + SILENCE_LIMIT;
        assert!(took < limit, "{fault:?} at {at}: {took:?} of {limit:?}");
    }
}

#[test]
fn what_comes_as_slowly_as_a_slow_way_lets_it_is_not_given_up_and_what_drips_is() {
    let after = |time: Duration| Time::ZERO + time;
    // A twelfth of 512 kbit/s; and a byte a second.
    for (rate, given_up) in [(5 * 1024, false), (3 * 1024, true), (1, true)] {
        let mut stretch = Stretch { since: Time::ZERO, from: 0 };
        let late =
            (1..=128).find(|&second| !stretch.goes_on(after(Duration::from_secs(second)), rate * second as usize));
        assert_eq!(late.is_some(), given_up, "{rate} bytes a second");
        assert!(late.is_none_or(|late| late <= STRETCH_LIMIT.as_secs() + 2), "{rate} bytes a second: after {late:?} s");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn where_data_does_not_come_over_a_connection_that_opens_it_is_asked_for_in_short_segments() {
    use nix::sys::socket::{getsockopt, sockopt::TcpMaxSeg};
    const NARROW: u32 = 536;
    let block = vec![7; 5000];
    let (key, clock) = (Key::of(&block), Clock::start());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let from = listener.local_addr().expect("bound");
    let (connections, ledger) = (Connections::new(4, None, None), Arc::<Ledger>::default());
    ledger.begin(1);
    let (cancel, post) = (ledger.of(1), Post::new(POSTS.open().0, None));
    let answer = std::thread::scope(|scope| {
        // As by a way that long packets do not pass: the announcement comes, the block only in short ones.
        scope.spawn(|| {
            let mut open = Vec::new();
            loop {
                let (mut asked, _) = listener.accept().expect("it is asked");
                io::Read::read_exact(&mut asked, &mut [0; 65]).expect("a request");
                asked.write_all(b"5000\n").expect("it is open");
                if getsockopt(&asked, TcpMaxSeg).expect("a number") <= NARROW {
                    return asked.write_all(&block).expect("it is open");
                }
                open.push(asked);
            }
        });
        connections.whatever_the_way(clock, from, || {
            let reply = connections.request(clock, from, &key, Some(5000), &cancel, &post)?;
            reply.read_verified(&key, &mut Buffer::default(), |_| {})
        })
    });
    assert_eq!(answer.ok(), Some(5000));
    let later = clock.now() + NARROW_FOR;
    assert!(connections.is_narrow(clock.now(), from) && !connections.is_narrow(later, from), "ways change");
}

#[test]
fn the_connection_that_was_used_longest_ago_makes_room_whoever_they_lead_to() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let to = listener.local_addr().expect("bound");
    let connections = Connections::new(3, None, None);
    let peer = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let at = |second| Time::ZERO + Duration::from_secs(second);
    for port in 1..=100 {
        connections.keep(peer(port), connected(to), at(0));
    }
    assert_eq!(connections.known.lock().kept.len(), 3);
    assert!(connections.take(peer(97), at(1)).is_none(), "later ones took its place");
    let oldest = connections.take(peer(98), at(1)).expect("it is one of the last three");
    connections.keep(peer(98), oldest, at(1));
    connections.keep(peer(1), connected(to), at(2));
    assert!(connections.take(peer(99), at(2)).is_none(), "it was used longest ago");
    connections.close_stale(at(1) + IDLE);
    assert!(connections.take(peer(98), at(3)).is_none() && connections.take(peer(1), at(3)).is_some());
}

#[test]
fn the_many_ports_of_one_host_leave_the_connections_to_others_open() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let to = listener.local_addr().expect("bound");
    let connections = Connections::new(3, None, None);
    let peer = |host, port| SocketAddr::from(([10, 0, 0, host], port));
    connections.keep(peer(1, 1), connected(to), Time::ZERO);
    for port in 1..=100 {
        connections.keep(peer(2, port), connected(to), Time::ZERO);
    }
    assert!(connections.take(peer(1, 1), Time::ZERO).is_some());
    assert!(connections.take(peer(2, 99), Time::ZERO).is_some() && connections.take(peer(2, 98), Time::ZERO).is_none());
}

#[test]
fn a_connection_that_is_being_made_is_given_up_when_the_peer_ends() {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
    listener.listen(0).expect("it listens");
    let to = listener.local_addr().ok().and_then(|addr| addr.as_socket()).expect("an address");
    // Once as many wait as may, the system answers nobody.
    let knock = |_| TcpStream::connect_timeout(&to, Duration::from_millis(100)).ok();
    let waiting: Vec<_> = (0..100).map_while(knock).collect();
    assert!(waiting.len() < 100, "it takes any number");
    let ledger = Arc::<Ledger>::default();
    ledger.begin(1);
    let cancel = ledger.of(1);
    let took = stopwatch();
    let error = std::thread::scope(|scope| {
        let connecting = scope.spawn(|| connect((to, false), None, None, &cancel));
        while cancel.waits_on_nothing() {
            std::thread::yield_now();
        }
        // Now, or in a moment, it is in the call that makes the connection.
        std::thread::park_timeout(Duration::from_millis(100));
        ledger.leave_all_alone();
        connecting.join().expect("it does not panic").err().expect("nobody answers")
    });
    assert_eq!(error.kind, JobErrorKind::Cancelled, "{error}");
    assert!(took() < WORKER_LIMIT / 2, "{:?}", took());
}

#[test]
fn no_peer_is_called_unreachable_because_this_one_has_no_descriptor_left() {
    let kind = |errno: Errno| unreached(SocketAddr::from(([127, 0, 0, 1], 9)), &io::Error::from(errno)).kind;
    assert_eq!(kind(Errno::EMFILE), JobErrorKind::Busy);
    assert_eq!(kind(Errno::ECONNREFUSED), JobErrorKind::Unreachable);
}
