//! Links that retire, connect late and speak from the address that was asked.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;

use super::Admission::{Full, Given, Retired};
use super::*;
use crate::id::Id;
use crate::runtime::clock::Clock;
use crate::runtime::post::Posted;
use crate::time::Time;
use crate::wire::{Request, RequestKind, Response, Sender as Source};

fn me() -> Peer {
    Peer::new(Id::from_u64(1), SocketAddr::from(([127, 0, 0, 1], 9)))
}

/// Links of a peer, and what comes back to its node.
fn links() -> (Links, Receiver<Posted>) {
    let (leave, _leaving) = crossbeam_channel::bounded(1);
    let (events, undelivered) = crossbeam_channel::unbounded();
    (Links::new(Dialect::Ring, me(), None, Post::new(events, None), Roster::new(&me().id, leave)), undelivered)
}

fn ping(magic: u64) -> Message {
    Message::request(magic, Source::member(me().id, me().addr), Request::Ping)
}

/// A line that arrives over the next connection to `listener`, and that connection.
fn line_over(listener: &TcpListener) -> BufReader<TcpStream> {
    let mut lines = BufReader::new(listener.accept().unwrap().0);
    lines.read_line(&mut String::new()).unwrap();
    lines
}

#[test]
fn a_link_retires_only_while_nothing_waits() {
    let waiting = WaitingMessages::default();
    assert_eq!((waiting.admit(2), waiting.admit(2), waiting.admit(2)), (Given, Given, Full));
    assert!(!waiting.retire(), "two wait");
    waiting.take();
    assert_eq!((waiting.admit(1), waiting.admit(2)), (Full, Given));
    waiting.take();
    waiting.take();
    assert!(waiting.retire());
    assert_eq!(waiting.admit(2), Retired);
}

#[test]
fn no_message_is_lost_to_a_link_that_is_just_retiring() {
    const MESSAGES: u64 = 2000;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let lines = std::thread::spawn(move || {
        let mut magics: Vec<u64> = Vec::new();
        while magics.len() < MESSAGES as usize {
            for line in BufReader::new(listener.accept().unwrap().0).lines() {
                magics.push(Dialect::Ring.decode(line.unwrap().as_bytes()).unwrap().magic);
            }
        }
        magics.sort_unstable();
        magics
    });
    let (mut links, undelivered) = links();
    // It retires at once whenever nothing waits, so most messages come in its last moment.
    links.idle = Duration::ZERO;
    for magic in 0..MESSAGES {
        let mut refused = links.send(to, None, ping(magic));
        while let Err(message) = refused {
            std::thread::yield_now();
            refused = links.send(to, None, *message);
        }
    }
    links.close();
    assert_eq!(lines.join().unwrap(), (0..MESSAGES).collect::<Vec<_>>());
    assert_eq!(undelivered.try_iter().count(), 0);
}

#[test]
fn each_request_that_waits_for_a_late_connection_is_told_of_soon_and_all_come_back_if_none_comes_about() {
    // Nobody accepts and there is no room for more: the system swallows what else comes, as a firewall does.
    let listener = Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let to = listener.local_addr().unwrap().as_socket().unwrap();
    let full = Duration::from_millis(200);
    let crowd: Vec<_> = (0..4).map(|_| TcpStream::connect_timeout(&to, full)).collect();
    assert!(crowd.iter().any(Result::is_err), "it is full");
    let (mut links, undelivered) = links();
    for magic in 0..3 {
        links.send(to, None, ping(magic)).unwrap();
    }
    let next = |limit| match undelivered.recv_timeout(limit).expect("it is told").event {
        Event::Undeliverable { message, obstacle, .. } => (message.magic, obstacle),
        other => panic!("{other:?}"),
    };
    let soon: Vec<_> = (0..3).map(|_| next(Duration::from_secs(1))).collect();
    assert_eq!(soon, [0, 1, 2].map(|magic| (magic, Obstacle::Delay)));
    let end: Vec<_> = (0..3).map(|_| next(LINK_LIMIT * 2)).collect();
    assert_eq!(end, [0, 1, 2].map(|magic| (magic, Obstacle::Silence)));
}

#[test]
fn that_this_process_has_no_descriptor_left_is_held_against_nobody() {
    for (error, obstacle) in [
        (Errno::EMFILE, Obstacle::Crowd),
        (Errno::ENFILE, Obstacle::Crowd),
        (Errno::ECONNREFUSED, Obstacle::Refused),
        (Errno::EHOSTUNREACH, Obstacle::Silence),
        (Errno::ETIMEDOUT, Obstacle::Silence),
    ] {
        assert_eq!(met(&io::Error::from_raw_os_error(error as i32)), obstacle, "{error}");
    }
}

#[test]
fn a_line_leaves_from_the_address_that_was_asked() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let mut connection = None;
    let mut held = Vec::new();
    // The last one is not ours, so the system chooses.
    for from in [Some([127, 0, 0, 2]), None, Some([127, 0, 0, 3]), Some([192, 0, 2, 1])] {
        deliver((to, from.map(IpAddr::from)), None, &mut connection, b"line\n", &|| {}).unwrap();
        let (stream, came_from) = listener.accept().unwrap();
        let expected = from.filter(|ip| ip[0] == 127).unwrap_or([127, 0, 0, 1]);
        assert_eq!(came_from.ip(), IpAddr::from(expected));
        held.push(stream);
    }
}

#[test]
fn a_link_whose_other_side_has_closed_ends_long_before_it_was_idle_for_its_time() {
    let (mut links, undelivered) = links();
    links.idle = Duration::from_secs(3);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let clock = Clock::start();
    links.send(to, None, ping(2)).unwrap();
    drop(line_over(&listener));
    while !links.links[&to].thread.is_finished() {
        assert!(clock.now() < Time::from_micros(60_000_000), "it does not end");
        thread::park_timeout(Duration::from_millis(5));
    }
    assert!(clock.now() < Time::from_micros(3_000_000), "{:?}", clock.now());
    assert_eq!(undelivered.try_iter().count(), 0);
}

#[test]
fn where_no_link_is_left_a_request_takes_the_place_of_the_one_that_was_used_longest_ago_and_an_answer_none() {
    let (mut links, _undelivered) = links();
    links.most = 2;
    let listeners: Vec<TcpListener> = (0..4).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let to: Vec<SocketAddr> = listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
    let mut kept: Vec<_> = (0..2)
        .map(|n| {
            links.send(to[n], None, ping(1)).unwrap();
            line_over(&listeners[n])
        })
        .collect();
    links.send(to[0], None, ping(2)).unwrap();
    kept[0].read_line(&mut String::new()).unwrap();
    let answer = Message::response(3, RequestKind::Ping, Response::Node(me()));
    links.send(to[3], None, answer).unwrap();
    assert!(!links.links.contains_key(&to[3]));
    links.send(to[2], None, ping(4)).unwrap();
    line_over(&listeners[2]);
    assert_eq!(kept[1].read_line(&mut String::new()).unwrap(), 0, "its connection has ended");
    assert!(links.links.contains_key(&to[0]) && !links.links.contains_key(&to[1]));
}

#[test]
#[cfg(target_os = "linux")]
fn the_system_gives_up_a_connection_on_which_nothing_is_confirmed_for_five_seconds() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = connect(listener.local_addr().unwrap(), None, &|| {}).unwrap();
    assert_eq!(nix::sys::socket::getsockopt(&stream, TcpUserTimeout).unwrap(), 5000);
}
