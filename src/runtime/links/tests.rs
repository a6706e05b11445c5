//! Links that retire, connect late and speak from the address that was asked.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;

use super::Admission::{Full, Given, Retired};
use super::*;
use crate::id::Id;
use crate::wire::{Request, Sender as Source};

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
    let me = Peer::new(Id::from_u64(1), SocketAddr::from(([127, 0, 0, 1], 9)));
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
    let (leave, _leaving) = crossbeam_channel::bounded(1);
    let (events, undelivered) = crossbeam_channel::unbounded();
    let mut links = Links::new(Dialect::Ring, me, None, Post::new(events, None), Roster::new(&me.id, leave));
    // It retires at once whenever nothing waits, so most messages come in its last moment.
    links.idle = Duration::ZERO;
    for magic in 0..MESSAGES {
        let message = Message::request(magic, Source::member(me.id, me.addr), Request::Ping);
        let mut refused = links.send(to, None, message);
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
    let me = Peer::new(Id::from_u64(1), SocketAddr::from(([127, 0, 0, 1], 9)));
    let (leave, _leaving) = crossbeam_channel::bounded(1);
    let (events, undelivered) = crossbeam_channel::unbounded();
    let mut links = Links::new(Dialect::Ring, me, None, Post::new(events, None), Roster::new(&me.id, leave));
    for magic in 0..3 {
        links.send(to, None, Message::request(magic, Source::member(me.id, me.addr), Request::Ping)).unwrap();
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
