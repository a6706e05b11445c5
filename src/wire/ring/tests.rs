//! What goes in comes out, and no stranger's text does harm.

use std::net::SocketAddr;

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use super::*;
use crate::id::Id;
use crate::lease::{Lease, LeaseNews, MAX_LEASES, Secret};
use crate::name::FileName;
use crate::network::NetworkName;
use crate::peer::Peer;
use crate::wire::summary::{MAX_KEYS, MAX_PARTS, MAX_RANGES};
use crate::wire::{
    Body, MAGIC_LIMIT, MAX_CONTROL_LINE, MAX_DATAGRAM_SENT, Message, Request, RequestKind, Response, Sender,
};
use crate::wire::{Difference, Range, RangePart, Start, Summary, Vouch};

fn address(rng: &mut impl Rng) -> SocketAddr {
    let port = rng.random();
    if rng.random() { (rng.random::<[u8; 4]>(), port).into() } else { (rng.random::<[u16; 8]>(), port).into() }
}

fn id(rng: &mut impl Rng) -> Id {
    if rng.random() { Id::from_u64(rng.random_range(0..256)) } else { Id::random(rng) }
}

fn peer(rng: &mut impl Rng) -> Peer {
    Peer::new(id(rng), address(rng))
}

fn peers(rng: &mut impl Rng, most: usize) -> Vec<Peer> {
    (0..rng.random_range(0..=most)).map(|_| peer(rng)).collect()
}

fn file(rng: &mut impl Rng) -> FileName {
    format!("{:04}", rng.random_range(0..10_000)).parse().expect("four digits")
}

fn range(rng: &mut impl Rng) -> Range {
    let (one, other) = (Start(rng.random()), Start(rng.random()));
    Range { first: one.min(other), last: one.max(other) }
}

fn held(rng: &mut impl Rng) -> Summary {
    Summary { count: rng.random(), ..Summary::of(&[id(rng)]) }
}

fn leases(rng: &mut impl Rng) -> Vec<Lease> {
    let lease = |rng: &mut _| Lease { id: Secret::random(rng).id(), until: None, copies: 3 };
    (0..rng.random_range(0..MAX_LEASES)).map(|_| lease(rng)).collect()
}

fn request(rng: &mut impl Rng) -> Request {
    let trail = rng.random::<bool>().then(|| peers(rng, 16));
    let (last, quiet, datagrams) = (rng.random(), rng.random(), rng.random());
    let route = Route { origin: peer(rng), hops: rng.random(), last, quiet, trail, datagrams };
    Request::Ring(match rng.random_range(0..18) {
        0 => return Request::Ping,
        1 => return Request::FindNode { id: id(rng) },
        2 => return Request::FindValue { key: id(rng) },
        3 => {
            let size = rng.random::<bool>().then(|| rng.random());
            return Request::Store { key: id(rng), size, leases: leases(rng) };
        }
        15 => {
            let renewed = leases(rng)[..].iter().take(9).copied().collect();
            return Request::Lease(LeaseNews { renewed, ended: vec![Secret::random(rng)] });
        }
        4 => RingRequest::Ping { predecessors: peers(rng, 2), successors: peers(rng, 4), quiet: rng.random() },
        5 => RingRequest::Routed { route, what: Routed::Join },
        6 => RingRequest::Routed { route, what: Routed::Lookup { key: id(rng) } },
        7 => RingRequest::Routed { route, what: Routed::Store { file: file(rng) } },
        8 => RingRequest::Routed { route, what: Routed::Request { file: file(rng) } },
        9 => {
            RingRequest::Transfer { file: file(rng), size: rng.random(), modified: rng.random(), stored: rng.random() }
        }
        10 => RingRequest::Update { successors: peers(rng, 16), joined: rng.random::<bool>().then(|| peer(rng)) },
        11 => RingRequest::Quit { predecessors: peers(rng, 16), successors: peers(rng, 16) },
        13 => {
            let ranges = vec![range(rng); rng.random_range(1..=MAX_RANGES)];
            let copies = rng.random::<bool>().then(|| rng.random());
            return Request::Compare { ranges, held: held(rng), copies };
        }
        14 => return Request::Verify { key: id(rng) },
        17 if rng.random() => return Request::Terms { key: id(rng) },
        17 => RingRequest::Has { key: id(rng) },
        12 => RingRequest::Exit { predecessors: peers(rng, 16) },
        _ => RingRequest::Abrupt { peer: peer(rng) },
    })
}

fn response(rng: &mut impl Rng) -> (RequestKind, Response) {
    const NOTED: [RingKind; 5] =
        [RingKind::Transfer, RingKind::Update, RingKind::Quit, RingKind::Exit, RingKind::Abrupt];
    let response = match rng.random_range(0..17) {
        16 => RingResponse::Has { peer: peer(rng), has: rng.random() },
        15 => return (RequestKind::FindValue, Response::Terms(leases(rng))),
        0 => return (RequestKind::Ping, Response::Node(peer(rng))),
        1 => return (RequestKind::FindValue, Response::Nodes(peers(rng, 16))),
        2 if rng.random_bool(0.5) => return (RequestKind::Store, Response::Shown { sample: id(rng) }),
        2 => return (RequestKind::Store, Response::Saved),
        10 => return (RequestKind::Compare, Response::Same),
        12 => return (RequestKind::FindValue, Response::Vouch(Vouch::ALL[rng.random_range(0..Vouch::ALL.len())])),
        13 => return (RequestKind::Lease, Response::Leased { blocks: rng.random(), free: rng.random() }),
        14 => {
            let holder = Response::Holder { peer: peer(rng), copies: rng.random_range(1..=u8::MAX) };
            return (RequestKind::FindValue, holder);
        }
        11 => {
            let part = RangePart { range: range(rng), held: held(rng) };
            let difference = if rng.random() {
                Difference::Keys(vec![part.range.first; rng.random_range(0..=MAX_KEYS)])
            } else {
                Difference::Parts(vec![part; rng.random_range(0..=MAX_PARTS)])
            };
            return (RequestKind::Compare, Response::Differs(difference));
        }
        3 => RingResponse::Pong { peer: peer(rng), predecessors: peers(rng, 2), successors: peers(rng, 3) },
        4 => RingResponse::Welcome { predecessors: peers(rng, 16), successors: peers(rng, 16) },
        5 => RingResponse::Owner {
            peers: peers(rng, 16),
            hops: rng.random(),
            trail: peers(rng, 16),
            brief: rng.random(),
        },
        6 => RingResponse::Kept { file: file(rng) },
        7 => {
            let place = FilePlace { size: rng.random::<bool>().then(|| rng.random()) };
            RingResponse::File { file: file(rng), place }
        }
        8 => RingResponse::Noted { of: NOTED[rng.random_range(0..NOTED.len())] },
        _ => RingResponse::Refused { of: RingKind::Join, reason: "id 4 is \"taken\" — é".to_owned() },
    };
    (RequestKind::Ring, Response::Ring(response))
}

fn message(rng: &mut impl Rng) -> Message {
    let magic = rng.random_range(0..MAGIC_LIMIT);
    let network = if rng.random() { NetworkName::default() } else { "comp3331.26t1_-X".parse().unwrap() };
    let (guest, leaving, datagrams) = (rng.random(), rng.random(), rng.random());
    let sender = Sender { peer: peer(rng), guest, leaving, network, datagrams, recalls: false };
    let mut message = match rng.random_range(0..3) {
        0 => Message::request(magic, sender, request(rng)),
        1 => {
            let (kind, response) = response(rng);
            Message::response(magic, kind, response)
        }
        _ => Message::error(magic, "no such \"thing\""),
    };
    message.sender = Some(sender);
    message
}

fn line(message: &Message, rng: &mut impl Rng) -> Vec<u8> {
    let mut line = Vec::new();
    encode(message, &peer(rng), address(rng), &mut line);
    line
}

/// A generator from a seed that is printed when the test fails.
fn seeded() -> StdRng {
    let seed = rand::make_rng::<StdRng>().random();
    println!("seed {seed}");
    StdRng::seed_from_u64(seed)
}

#[test]
fn every_message_comes_back_as_it_went() {
    let rng = &mut seeded();
    for _ in 0..3_000 {
        let message = message(rng);
        let line = line(&message, rng);
        assert_eq!(decode(&line).as_ref(), Ok(&message), "{}", String::from_utf8_lossy(&line));
        assert!(line.len() <= MAX_CONTROL_LINE);
        assert_eq!(line.iter().position(|&byte| byte == b'\n'), Some(line.len() - 1), "one line each");
    }
}

#[test]
fn a_line_has_the_five_fields_and_small_ids_are_numbers() {
    let peer = |id: u64| Peer::new(Id::from_u64(id), SocketAddr::from(([127, 0, 0, 1], 12_000 + id as u16)));
    let route = Route { hops: 1, ..Route::of(peer(15)) };
    let request = Request::Ring(RingRequest::Routed { route, what: Routed::Join });
    let message = Message::request(77, Sender::member(peer(4).id, peer(4).addr), request);
    let mut line = Vec::new();
    encode(&message, &peer(4), peer(5).addr, &mut line);
    assert_eq!(
        String::from_utf8(line).unwrap(),
        concat!(
            r#"{"type":"join","source":{"id":4,"ip":"127.0.0.1","port":12004},"#,
            r#""destination":{"ip":"127.0.0.1","port":12005},"stamp":77,"#,
            r#""content":{"origin":{"id":15,"ip":"127.0.0.1","port":12015},"hops":1,"last":false}}"#,
            "\n"
        )
    );
}

#[test]
fn a_ping_with_full_lists_fits_one_datagram_and_loses_its_farthest_peers() {
    let rng = &mut seeded();
    for v6 in [false, true] {
        let address = |rng: &mut StdRng| match v6 {
            false => SocketAddr::from(([255, 255, 255, rng.random_range(100..=255)], 65_000)),
            true => SocketAddr::from((rng.random::<[u16; 8]>(), 65_000)),
        };
        let mut peer = || Peer::new(Id::random(rng), address(rng));
        let me = peer();
        let predecessors: Vec<Peer> = (0..2).map(|_| peer()).collect();
        let successors: Vec<Peer> = (0..16).map(|_| peer()).collect();
        let pong = RingResponse::Pong { peer: me, predecessors: predecessors.clone(), successors: successors.clone() };
        let mut line = Vec::new();
        encode(&Message::response(1, RequestKind::Ring, Response::Ring(pong)), &me, me.addr, &mut line);
        assert!(line.len() <= MAX_DATAGRAM_SENT - 40, "{} bytes", line.len());
        let Body::Response(Response::Ring(RingResponse::Pong { successors: left, .. })) = decode(&line).unwrap().body
        else {
            panic!("not a pong")
        };
        assert!(left.len() >= 3 && successors.starts_with(&left), "{} left", left.len());
    }
}

#[test]
fn an_answer_to_a_stranger_keeps_as_many_peers_as_fit_what_it_may_be_told() {
    let rng = &mut seeded();
    let (me, to) = (peer(rng), address(rng));
    for _ in 0..200 {
        let (predecessors, successors) = (peers(rng, MAX_PEERS_LISTED), peers(rng, MAX_PEERS_LISTED));
        let pong = |predecessors: &[Peer], successors: &[Peer]| {
            let (predecessors, successors) = (predecessors.to_vec(), successors.to_vec());
            let pong = RingResponse::Pong { peer: me, predecessors, successors };
            Message::response(7, RequestKind::Ring, Response::Ring(pong))
        };
        let len = |message: &Message| {
            let mut line = Vec::new();
            encode(message, &me, to, &mut line);
            line.len()
        };
        let mut message = pong(&predecessors, &successors);
        let budget = rng.random_range(200..MAX_DATAGRAM_SENT - 40);
        let fits = fit(&mut message, &me, to, budget);
        let (mut first, mut second) = (&predecessors[..], &successors[..]);
        while len(&pong(first, second)) > budget && !(first.is_empty() && second.is_empty()) {
            let longer = if first.len() > second.len() { &mut first } else { &mut second };
            *longer = &longer[..longer.len() - 1];
        }
        assert_eq!(message, pong(first, second), "{budget} bytes");
        assert_eq!(fits, len(&message) <= budget);
    }
}

#[test]
fn malformed_requests_can_be_answered_and_malformed_answers_are_owed_nothing() {
    let around = |content: &str| {
        format!(
            r#"{{"type":"lookup","source":{{"id":4,"ip":"::1","port":1}},"destination":{{"ip":"::1","port":2}},"stamp":9,"content":{content}}}"#
        )
    };
    let magic = |text: &str| decode(text.as_bytes()).unwrap_err().magic;
    assert_eq!(magic(&around("{}")), Some(9));
    assert_eq!(magic(&around(r#"{"key":"no id"}"#)), Some(9));
    assert_eq!(magic(&around(r#"{"reply":"owner"}"#)), None);
    assert_eq!(
        magic(&around(r#"{"reply":"pong","peer":{"id":1,"ip":"::1","port":1},"predecessors":[],"successors":[]}"#)),
        None
    );
    assert_eq!(magic(r#"{"stamp":9}"#), Some(9));
    for hopeless in ["", "{", "[]", "null", r#"{"stamp":-1}"#, r#"{"stamp":1e400}"#, r#"{"stamp":9007199254740992}"#] {
        assert_eq!(magic(hopeless), None, "{hopeless}");
    }
    assert!(decode(around(r#"{"id":7,"what":{"is":["this"]}}"#).as_bytes()).is_ok(), "unknown fields are passed over");
    assert!(decode(&b" ".repeat(MAX_CONTROL_LINE + 1)).is_err());
    assert!(decode(&b"[".repeat(MAX_CONTROL_LINE)).is_err());
}

#[test]
fn a_list_longer_than_any_honest_one_is_refused() {
    let peer = r#"{"id":1,"ip":"127.0.0.1","port":1}"#;
    let update = |count: usize| {
        let list = vec![peer; count].join(",");
        format!(
            r#"{{"type":"update","source":{peer},"destination":{peer},"stamp":1,"content":{{"successors":[{list}]}}}}"#
        )
    };
    assert!(decode(update(MAX_PEERS_LISTED).as_bytes()).is_ok());
    assert!(decode(update(MAX_PEERS_LISTED + 1).as_bytes()).is_err());
}

#[test]
fn no_text_makes_the_reader_panic_or_disagree_with_the_writer() {
    let rng = &mut seeded();
    for round in 0..20_000 {
        let mut text = match round % 4 {
            0 => (0..rng.random_range(0..200)).map(|_| rng.random()).collect(),
            _ => line(&message(rng), rng),
        };
        for _ in 0..rng.random_range(0..4) {
            damage(&mut text, rng);
        }
        if let Ok(read) = decode(&text) {
            let again = line(&read, rng);
            assert_eq!(decode(&again), Ok(read), "{}", String::from_utf8_lossy(&text));
        }
    }
}

/// Changes, drops, repeats or swaps a few bytes, as a hostile or broken sender might.
fn damage(text: &mut Vec<u8>, rng: &mut StdRng) {
    if text.is_empty() {
        return;
    }
    let at = rng.random_range(0..text.len());
    match rng.random_range(0..5) {
        0 => text[at] = rng.random(),
        1 => text.truncate(at),
        2 => text[at] = *b"{}[]\":,0-9ntf".get(rng.random_range(0..13)).unwrap_or(&b'{'),
        3 => {
            text.remove(at);
        }
        _ => {
            let end = (at + rng.random_range(0..40)).min(text.len());
            let piece = text[at..end].to_vec();
            text.splice(at..at, piece);
        }
    }
}

#[test]
fn nobody_says_in_fewer_bytes_that_another_asks_and_three_times_as_many_name_an_owner_and_those_behind_it() {
    let key = Id::of(b"key");
    let what = Routed::Lookup { key };
    // The addresses of all; how many peers are named of nine.
    type Addressed = fn(u8) -> SocketAddr;
    let cases: [(Addressed, usize); 3] = [
        (|n| ([10, 0, 0, n], 7000).into(), 9),
        (|n| ([255, 255, 255, 200 + n], 65_000).into(), 8),
        (|n| ([0x2001, 0xdb80, 0x1111, 0x2222, 0x3333, 0x4444, 0x5555, 0x6600 + u16::from(n)], 65_000).into(), 0),
    ];
    for (address, expected) in cases {
        let peer = |n: u8| Peer::new(Id::of(&[n]), address(n));
        let (origin, me) = (peer(0), peer(1));
        let shortest = format!(
            concat!(
                r#"{{"type":"lookup","source":{{"id":0,"ip":"::","port":0}},"destination":{{"ip":"::","port":0}},"#,
                r#""stamp":{},"content":{{"origin":{{"id":"{}","ip":"{}","port":{}}},"key":"{}","datagrams":true}}}}"#,
            ),
            MAGIC_LIMIT - 1,
            origin.id,
            origin.addr.ip(),
            origin.addr.port(),
            key
        );
        let read = decode(shortest.as_bytes()).expect("it is one");
        let route = Route { datagrams: true, ..Route::of(origin) };
        assert_eq!(read.body, Body::Request(Request::Ring(RingRequest::Routed { route, what })));
        let most = 3 * least_len(read.magic, origin, what);
        assert_eq!(most, 3 * shortest.len());

        let peers: Vec<Peer> = (1..=9).map(peer).collect();
        let owner = RingResponse::Owner { peers: peers.clone(), hops: 9, trail: Vec::new(), brief: false };
        let answer = Message::response(read.magic, RequestKind::Ring, Response::Ring(owner));
        let named = in_datagram(&answer, &me, origin.addr, most).map(|message| {
            let line = line_of(&message, &me, origin.addr);
            assert!(line.len() <= most.min(MAX_DATAGRAM_SENT - 40), "{} bytes", line.len());
            match decode(&line).expect("it is one").body {
                Body::Response(Response::Ring(RingResponse::Owner { peers, .. })) => peers,
                other => panic!("{other:?}"),
            }
        });
        let named = named.unwrap_or_default();
        assert_eq!((named.len(), &named[..]), (expected, &peers[..expected]));
    }
}

fn line_of(message: &Message, me: &Peer, to: SocketAddr) -> Vec<u8> {
    let mut line = Vec::new();
    encode(message, me, to, &mut line);
    line
}
