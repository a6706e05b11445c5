//! What goes out, to the byte; what comes in, from the well meant to the hostile.

mod brief;
mod comparing;
mod copies;
mod leases;
mod naming;
mod paying;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::id::Id;
use crate::peer::Peer;
use crate::wire::{
    Body, MAGIC_LIMIT, MAX_DATAGRAM_RECEIVED, MAX_DATAGRAM_SENT, Message, Request, Response, Sender, Vouch,
};

const LONGEST_NAME: &str = "comp3331.26t1_-X";
const LONGEST_IP: &str = "1111:2222:3333:4444:5555:6666:7777:8888";

fn peer(digit: u8, addr: &str) -> Peer {
    Peer::new(Id::from_bytes([digit * 0x11; 32]), addr.parse().expect("the test's own address"))
}

fn sender() -> Sender {
    let Peer { id, addr } = peer(0xa, "127.0.0.1:53999");
    Sender::member(id, addr)
}

fn text(message: &Message) -> String {
    let mut out = Vec::new();
    encode(message, &mut out);
    String::from_utf8(out).expect("JSON is UTF-8")
}

fn read(text: &str) -> Result<Message, Malformed> {
    decode(text.as_bytes())
}

/// `text` with single quotes for double ones, and a digit between angle brackets for 64 of it.
fn json(text: &str) -> String {
    (0..16)
        .map(|digit| format!("{digit:x}"))
        .fold(text.replace('\'', "\""), |text, digit| text.replace(&format!("<{digit}>"), &digit.repeat(64)))
}

/// Every form that a message can have, with the text we write for it.
fn golden() -> Vec<(Message, String)> {
    let id = Id::from_bytes([0xcc; 32]);
    let from = "{'magic':7,'requestor':{'node_id':'<a>','ip':'127.0.0.1','port':53999}";
    let request = |request| Message::request(7, sender(), request);
    let guest = Sender { guest: true, leaving: true, ..sender() };
    let nodes = vec![peer(1, "127.0.0.1:55007"), peer(2, "[2001:db8::7]:1")];
    let node = "{'node_id':'<1>','ip':'127.0.0.1','port':55007}";
    let list = format!("[{node},{{'node_id':'<2>','ip':'2001:db8::7','port':1}}]");
    let find_value = |response| Message::response(7, RequestKind::FindValue, response);
    [
        (request(Request::Ping), format!("{from},'type':'ping_node','params':{{}}}}")),
        (request(Request::FindNode { id }), format!("{from},'type':'find_node','params':{{'id':'<c>'}}}}")),
        (request(Request::FindValue { key: id }), format!("{from},'type':'find_value','params':{{'id':'<c>'}}}}")),
        (
            request(Request::Store { key: id, size: Some(1 << 20), leases: vec![] }),
            format!("{from},'type':'store_value','params':{{'id':'<c>','size':1048576}}}}"),
        ),
        (
            request(Request::Store { key: id, size: None, leases: vec![] }),
            format!("{from},'type':'store_value','params':{{'id':'<c>'}}}}"),
        ),
        (
            Message::request(u64::MAX, guest, Request::Ping),
            format!("{from},'guest':true,'leaving':true,'type':'ping_node','params':{{}}}}")
                .replace(":7,", ":18446744073709551615,"),
        ),
        (
            Message::response(0, RequestKind::Ping, Response::Node(nodes[0])),
            format!("{{'magic':0,'type':'ping_node','resp':true,'result':{node}}}"),
        ),
        (
            Message {
                sender: Some(Sender::member(peer(0xa, "0.0.0.0:0").id, peer(0xa, "0.0.0.0:0").addr)),
                ..Message::response(7, RequestKind::FindNode, Response::Nodes(nodes.clone()))
            },
            format!("{{'magic':7,'type':'find_node','resp':true,'node_id':'<a>','result':{list}}}"),
        ),
        (
            Message::response(7, RequestKind::FindNode, Response::Nodes(nodes.clone())),
            format!("{{'magic':7,'type':'find_node','resp':true,'result':{list}}}"),
        ),
        (
            find_value(Response::Node(nodes[0])),
            format!("{{'magic':7,'type':'find_value','resp':true,'result':{node}}}"),
        ),
        (find_value(Response::Nodes(vec![])), "{'magic':7,'type':'find_value','resp':true,'result':[]}".into()),
        (
            Message::response(7, RequestKind::Store, Response::Saved),
            "{'magic':7,'type':'store_value','resp':true,'result':'saved'}".into(),
        ),
        (Message::error(7, "tab\there, \"quote\", é"), r"{'magic':7,'error':'tab\there, \'quote\', é'}".into()),
    ]
    .into_iter()
    .chain(comparing::golden())
    .chain(copies::golden())
    .chain(brief::golden())
    .map(|(message, text)| (message, json(&text)))
    .collect()
}

#[test]
fn every_message_has_its_text_and_reads_back_from_it() {
    for (message, expected) in golden() {
        assert_eq!(text(&message).trim_end_matches(' '), expected);
        assert_eq!(read(&text(&message)), Ok(message.clone()));
        assert_eq!(read(&expected), Ok(message));
    }
}

/// Captured from DHTFileStore: other order, other spelling, spaces.
#[test]
fn the_seeds_own_datagrams_are_understood() {
    let requester = "'magic': 785816911, 'requester': {'node_id': '<a>', 'ip': '127.0.0.1', 'port': 53999}}";
    let node = "{'node_id': '<9>', 'ip': '127.0.0.1', 'port': 55000}";
    let id = Id::from_bytes([0xcc; 32]);
    for (start, request) in [
        ("'ping_node', 'params': {}", Request::Ping),
        ("'find_node', 'params': {'id': '<c>'}", Request::FindNode { id }),
        ("'find_value', 'params': {'id': '<c>'}", Request::FindValue { key: id }),
        ("'store_value', 'params': {'id': '<c>'}", Request::Store { key: id, size: None, leases: vec![] }),
    ] {
        let text = json(&format!("{{'type': {start}, {requester}"));
        assert_eq!(read(&text), Ok(Message::request(785_816_911, sender(), request)));
    }
    let nine = peer(9, "127.0.0.1:55000");
    for (kind, result, response) in [
        (RequestKind::Ping, node, Response::Node(nine)),
        (RequestKind::FindValue, node, Response::Node(nine)),
        (RequestKind::FindNode, &format!("[{node}, {node}]"), Response::Nodes(vec![nine, nine])),
        (RequestKind::Store, "'saved'", Response::Saved),
    ] {
        let name = type_name(kind).expect("Kademlia's kinds have names");
        let text = json(&format!("{{'magic': 1, 'type': '{name}', 'resp': true, 'result': {result}}}"));
        assert_eq!(read(&text), Ok(Message::response(1, kind, response)));
    }
    assert_eq!(read(r#"{"error": "Request has no request magic"}"#).map_err(|bad| bad.magic), Err(None));
}

#[test]
fn what_is_unknown_doubled_reordered_or_oddly_written_does_no_harm() {
    let ping = Ok(Message::request(7, sender(), Request::Ping));
    let requestor = "'requestor':{'node_id':'<a>','ip':'127.0.0.1','port':53999}";
    for odd in [
        format!("{{{requestor},'params':{{}},'magic':7,'type':'ping_node'}}"),
        format!("{{'magic':7,{requestor},'type':'ping_node'}}"),
        format!(" {{ 'magic' :\t7 , {requestor} ,\r\n'type':'ping_node' }} \n"),
        format!("{{'magic':'x','magic':7,{requestor},'type':1,'type':'ping_node'}}"),
        format!("{{'magic':7,{requestor},'type':'ping_node','params':{{'id':5,'size':[]}},'guest':1,'resp':0}}"),
        format!("{{'magic':7,{requestor},'type':'ping_node','params':{{'gone':{{'node_id':'<a>'}}}}}}"),
        format!("{{'magic':7,{requestor},'type':'ping_node','new':[{{'magic':8}},1e999,'\\ud800',null]}}"),
        format!("{{'m\\u0061gic':7,{requestor},'type':'ping\\u005fnode'}}"),
        format!("{{'magic':7,{},'type':'ping_node'}}", requestor.replace("<a>", "<A>")).replace("<A>", &"A".repeat(64)),
        format!("{{'magic':7,{},'type':'ping_node'}}", requestor.replace("127.0", "::ffff:127.0")),
        format!("{{'magic':7,{},'type':'ping_node'}}", requestor.replace("53999", "53999,'name':{'a':[]}")),
    ] {
        assert_eq!(read(&json(&odd)), ping, "{odd}");
    }
}

#[test]
fn no_depth_of_brackets_overflows_the_stack() {
    let deep = (MAX_DATAGRAM_RECEIVED - 300) / 2;
    let (open, close) = ("[".repeat(deep), "]".repeat(deep));
    let requestor = "'requestor':{'node_id':'<a>','ip':'127.0.0.1','port':53999}";
    let deep = json(&format!("{{'x':{open}{close},'magic':7,{requestor},'type':'ping_node'}}"));
    assert_eq!(read(&deep), Ok(Message::request(7, sender(), Request::Ping)));
    for field in ["magic", "requestor", "type", "params", "resp", "result", "error"] {
        for deep in [format!("{open}{close}"), open.clone(), "{'a':".repeat(1000)] {
            assert!(read(&json(&format!("{{'{field}':{deep}}}"))).is_err());
        }
    }
    assert!(read(&open).is_err());
}

#[test]
fn what_is_no_request_is_told_so_under_its_magic() {
    let good = "{'magic':7,'requestor':{'node_id':'<a>','ip':'::1','port':9},'type':'store_value','params':{'id':'<c>','size':1}}";
    assert!(read(&json(good)).is_ok());
    for (part, instead) in [
        ("<a>", "<a>a"),
        ("'<a>'", "7"),
        ("'node_id'", "'id'"),
        ("{'node_id':'<a>','ip':'::1','port':9}", "null"),
        ("store_value", "frob"),
        ("'store_value'", "null"),
        ("'type'", "'kind'"),
        ("<c>", "<c>c"),
        ("<c>", "g"),
        ("'id'", "'key'"),
        ("'params'", "'parameters'"),
        ("{'id':'<c>','size':1}", "['<c>',1]"),
        ("'size':1", "'size':'1'"),
        ("'size':1", "'size':4294967296"),
        ("'size':1", "'size':-1"),
    ] {
        assert!(good.contains(part));
        let bad = read(&json(&good.replace(part, instead)));
        assert_eq!(bad.map_err(|bad| bad.magic), Err(Some(7)), "{part} -> {instead}");
    }
}

#[test]
fn what_has_no_usable_magic_or_awaits_no_answer_gets_silence() {
    for magic in ["-1", "1.0", "1e3", "'1'", "18446744073709551616", "null", "true", "[1]", "{}", "1e999", "-0"] {
        let text = json(&format!("{{'magic':{magic},'type':'frob'}}"));
        assert_eq!(read(&text).map_err(|bad| bad.magic), Err(None), "{text}");
    }
    for text in [
        "",
        " ",
        "\0",
        "7",
        "null",
        "'magic'",
        "[{'magic':7}]",
        "{'magic':7",
        "{'magic':7}}",
        "{'magic':7,}",
        "{magic:7}",
        "{'magic':07}",
        "{'type':'ping_node'}",
        "{'magic':7,'type':'frob','resp':true}",
        "{'magic':7,'resp':true,'result':'maybe'}",
        "{'magic':7,'resp':true,'result':{'ip':'127.0.0.1','port':7}}",
        "{'magic':7,'resp':true,'result':3}",
        "{'magic':7,'error':3}",
        "{'magic':7,'error':3,'x':1e999}",
    ] {
        assert_eq!(read(&json(text)).map_err(|bad| bad.magic), Err(None), "{text}");
    }
    assert_eq!(decode(b"{\"magic\":7,\"a\":\"\xff\"}").map_err(|bad| bad.magic), Err(None));
    let long = format!("{}{{}}", " ".repeat(MAX_DATAGRAM_RECEIVED - 1));
    assert_eq!(read(&long).map_err(|bad| bad.reason), Err("longer than any message"));
}

#[test]
fn a_list_keeps_its_good_entries_and_no_more_than_a_bucket() {
    let node = "{'node_id':'<1>','ip':'127.0.0.1','port':1}";
    let some = format!("[null,{node},{{'node_id':'<1>'}},[],7,'x',{node}]");
    let many = format!("[{}7]", format!("{node},").repeat(50));
    for (list, kept) in [(some, 2), (many, MAX_NODES_KEPT)] {
        let text = json(&format!("{{'magic':7,'resp':true,'result':{list}}}"));
        let nodes = vec![peer(1, "127.0.0.1:1"); kept];
        let expected =
            Message { magic: 7, sender: None, answers: None, asks: None, body: Body::Response(Response::Nodes(nodes)) };
        assert_eq!(read(&text), Ok(expected));
    }
}

#[test]
fn the_text_of_an_error_is_cut_between_characters() {
    let cut = text(&Message::error(7, "€".repeat(1000)));
    assert_eq!(cut, json(&format!("{{'magic':7,'error':'{}'}}", "€".repeat(crate::wire::MAX_REASON / 3))));
    assert!(text(&Message::error(u64::MAX, "\u{1}".repeat(1000))).len() <= MAX_DATAGRAM_SENT);
    let long = json(&format!("{{'magic':7,'error':'{}'}}", "x".repeat(5000)));
    assert_eq!(read(&long), Ok(Message::error(7, "x".repeat(crate::wire::MAX_REASON))));
}

#[test]
fn a_full_answer_fits_into_one_datagram_whatever_the_addresses() {
    let longest = vec![peer(0xf, &format!("[{LONGEST_IP}]:65535")); crate::config::WIDTH];
    let answer = Message::response(u64::MAX, RequestKind::FindValue, Response::Nodes(longest));
    assert!(text(&answer).len() <= MAX_DATAGRAM_SENT);
}

#[test]
fn as_many_nodes_are_said_to_fit_as_do() {
    let addrs =
        ["1.2.3.4:5", "255.255.255.255:65535", "[::]:80", "[2001:db8::1]:443", &format!("[{LONGEST_IP}]:10000")];
    let peers: Vec<_> = addrs.iter().cycle().take(20).map(|addr| peer(3, addr)).collect();
    for magic in [0, 9, 10, (1 << 53) - 1, u64::MAX] {
        let lists: [(_, fn(_) -> _); 2] =
            [(RequestKind::FindNode, Response::Nodes), (RequestKind::FindValue, Response::Named)];
        for (kind, list) in lists {
            let answer = |count: usize| Message::response(magic, kind, list(peers[..count].to_vec()));
            let len = |count: usize| text(&answer(count)).len();
            let fits = |budget: usize| {
                let mut message = answer(peers.len());
                let fits = fit(&mut message, budget);
                (fits, message)
            };
            assert_eq!(fits(len(0) - 1), (false, answer(0)));
            for count in 0..=peers.len() {
                assert_eq!(fits(len(count)), (true, answer(count)));
                assert_eq!(fits(len(count) - 1), (count > 0, answer(count.saturating_sub(1))));
            }
        }
    }
}

/// Whatever is done to good datagrams, reading them neither panics nor yields a message that cannot be sent on.
#[test]
fn damaged_datagrams_are_refused_or_still_say_something_definite() {
    let texts: Vec<_> = golden().into_iter().map(|(_, text)| text.into_bytes()).collect();
    let mut understood = 0;
    for seed in 0..30_000 {
        let bytes = damage(&texts, &mut StdRng::seed_from_u64(seed));
        let Ok(message) = decode(&bytes) else { continue };
        understood += 1;
        let mut again = Vec::new();
        encode(&message, &mut again);
        assert_eq!(decode(&again), Ok(message), "seed {seed}: {}", bytes.escape_ascii());
    }
    assert!(
        understood > 1000,
        "only {understood} damaged datagrams were understood: the damage is too great to test much"
    );
}

/// One of `texts` with up to four things done to it.
fn damage(texts: &[Vec<u8>], rng: &mut StdRng) -> Vec<u8> {
    const TOKENS: [&str; 14] = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\u0000",
        "null",
        "true",
        "-1",
        "1e999",
        "\"error\":\"x\",",
        "\"resp\":true,",
    ];
    let pick = |rng: &mut StdRng, len: usize| rng.random_range(0..=len);
    let mut bytes = texts[rng.random_range(0..texts.len())].clone();
    for _ in 0..rng.random_range(1..=4) {
        let (a, b) = (pick(rng, bytes.len()), pick(rng, bytes.len()));
        let (start, end) = (a.min(b), a.max(b));
        match rng.random_range(0..7) {
            0 => bytes.insert(start, rng.random()),
            1 => bytes.truncate(end),
            2 => drop(bytes.drain(start..end.min(start + 8))),
            3 => drop(bytes.splice(start..start, TOKENS[rng.random_range(0..TOKENS.len())].bytes())),
            4 => drop(bytes.splice(end..end, bytes[start..end].to_vec())),
            5 if start < bytes.len() => bytes[start] ^= 1 << rng.random_range(0..8),
            _ => {
                let other = &texts[rng.random_range(0..texts.len())];
                let from = pick(rng, other.len());
                bytes.truncate(start);
                bytes.extend_from_slice(&other[from..]);
            }
        }
    }
    bytes
}

#[test]
fn the_address_in_a_requestor_is_a_courtesy() {
    let id = "a".repeat(64);
    for rest in
        ["", r#","ip":"127.0.0.1""#, r#","ip":"nowhere","port":7"#, r#","ip":7,"port":"x""#, r#","ip":"::1","port":0"#]
    {
        let text = format!(r#"{{"magic":7,"requestor":{{"node_id":"{id}"{rest}}},"type":"ping_node","params":{{}}}}"#);
        let message = read(&text).expect("it says who asks and what");
        assert_eq!(message.sender.map(|sender| sender.peer.id), id.parse().ok(), "{rest}");
    }
    let nobody = r#"{"magic":7,"requestor":{"ip":"127.0.0.1","port":7},"type":"ping_node","params":{}}"#;
    assert_eq!(read(nobody).map_err(|bad| bad.magic), Err(Some(7)));
}
