//! What peers that know one another leave out, and what they say in the same breath.

use super::*;
use crate::peer::NOT_TOLD;
use crate::wire::word::PeerWord;

pub(super) fn golden() -> Vec<(Message, String)> {
    let (id, node) = (Id::from_bytes([0xcc; 32]), peer(1, "127.0.0.1:55007"));
    let from = "{'magic':7,'requestor':{'node_id':'<a>','ip':'127.0.0.1','port':53999}";
    let text = "{'node_id':'<1>','ip':'127.0.0.1','port':55007}";
    let request = |request| Message::request(7, sender(), request);
    let brief = |response| Message { answers: None, ..Message::response(7, RequestKind::Ping, response) };
    vec![
        (request(Request::Gone { peer: node }), format!("{from},'type':'ping_node','params':{{'gone':{text}}}}}")),
        (
            Message { sender: None, ..request(Request::Gone { peer: node }) },
            "{'magic':7,'type':'ping_node','params':{'gone':'<1>@127.0.0.1:55007'}}".into(),
        ),
        (brief(Response::Here), "{'magic':7,'resp':true,'result':'here'}".into()),
        (
            brief(Response::Named(vec![node, peer(2, "[2001:db8::7]:1")])),
            "{'magic':7,'resp':true,'result':['<1>@127.0.0.1:55007','<2>@[2001:db8::7]:1']}".into(),
        ),
        (
            Message::request(7, Sender { recalls: true, ..sender() }, Request::Ping),
            format!("{from},'recalls':true,'type':'ping_node','params':{{}}}}"),
        ),
        (
            Message { sender: None, ..request(Request::FindNode { id }) },
            "{'magic':7,'type':'find_node','params':{'id':'<c>'}}".into(),
        ),
        (
            Message { asks: Some(8), ..brief(Response::Node(Peer::new(node.id, NOT_TOLD))) },
            "{'magic':7,'resp':true,'asks':8,'result':{'node_id':'<1>'}}".into(),
        ),
    ]
}

#[test]
fn a_question_without_its_asker_goes_to_a_peer_that_knows_it_and_pays_for_nothing() {
    let question = Message { sender: None, ..Message::request(7, sender(), Request::FindNode { id: Id::ZERO }) };
    assert!(!text(&question).ends_with(' ') && text(&question).len() < 140);
}

#[test]
fn a_peer_in_one_word_is_read_as_it_was_written_and_one_that_nobody_can_reach_is_not_read() {
    for addr in ["1.2.3.4:5", "255.255.255.255:65535", "[::]:80", &format!("[{LONGEST_IP}]:10000")] {
        let listed = Message::response(7, RequestKind::FindNode, Response::Named(vec![peer(3, addr)]));
        assert!(text(&listed).ends_with(&format!("[\"{}\"]}}", PeerWord(peer(3, addr)))));
        assert_eq!(read(&text(&listed)), Ok(listed));
    }
    let id = "3".repeat(64);
    for word in [format!("{id}@1.2.3.4:0"), format!("{id}@1.2.3.4"), format!("{id}1.2.3.4:5"), "3@1.2.3.4:5".into()] {
        let text = format!(r#"{{"magic":7,"resp":true,"result":["{word}"]}}"#);
        assert_eq!(read(&text).map(|message| message.body), Ok(Body::Response(Response::Nodes(vec![]))), "{word}");
    }
}
