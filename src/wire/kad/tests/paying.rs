//! What a stranger pays for.

use super::naming::named;
use super::*;
use crate::config::{AMPLIFICATION, PADDING, PING_BYTES, WIDTH};

#[test]
fn a_ping_is_as_long_as_strangers_pay_for_at_most() {
    let addr = format!("[{LONGEST_IP}]:65535").parse().expect("an address");
    let sender = Sender { recalls: true, ..named(Sender::member(Id::MAX, addr)) };
    assert!(text(&Message::request(MAGIC_LIMIT - 1, sender, Request::Ping)).len() <= PING_BYTES);
}

#[test]
fn a_question_pays_for_its_whole_answer() {
    for addr in [format!("[{LONGEST_IP}]:65535"), "255.255.255.255:65535".to_owned()] {
        let nodes: Vec<Peer> = (1..=WIDTH as u8).map(|n| peer(n, &addr)).collect();
        let member = Sender::member(Id::ZERO, peer(1, &addr).addr);
        let answer = |response| Message {
            sender: Some(member),
            ..Message::response(MAGIC_LIMIT - 1, RequestKind::FindValue, response)
        };
        let whole = text(&answer(Response::Nodes(nodes.clone()))).len() + PING_BYTES;
        let named = Message { answers: None, asks: Some(MAGIC_LIMIT - 1), ..answer(Response::Named(nodes)) };
        for (recalls, answer) in [(false, whole), (true, text(&named).len())] {
            for question in [Request::FindNode { id: Id::ZERO }, Request::FindValue { key: Id::ZERO }] {
                let sender = Sender { recalls, ..member };
                let paid = text(&Message::request(1, sender, question)).len() * AMPLIFICATION;
                assert!(answer + PADDING <= paid, "{answer} bytes and {PADDING} for {paid}");
            }
        }
    }
}
