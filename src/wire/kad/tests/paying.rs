//! What a stranger pays for.

use super::naming::named;
use super::*;
use crate::config::{AMPLIFICATION, PADDING, PING_BYTES, WIDTH};

#[test]
fn a_ping_is_as_long_as_strangers_pay_for_at_most() {
    let addr = format!("[{LONGEST_IP}]:65535").parse().expect("an address");
    let sender = named(Sender::member(Id::MAX, addr));
    assert!(text(&Message::request(MAGIC_LIMIT - 1, sender, Request::Ping)).len() <= PING_BYTES);
}

#[test]
fn a_question_pays_for_its_whole_answer() {
    for addr in [format!("[{LONGEST_IP}]:65535"), "255.255.255.255:65535".to_owned()] {
        let nodes = (1..=WIDTH as u8).map(|n| peer(n, &addr)).collect();
        let answer = Message::response(MAGIC_LIMIT - 1, RequestKind::FindValue, Response::Nodes(nodes));
        let sender = Sender::member(Id::ZERO, peer(1, &addr).addr);
        let answer = Message { sender: Some(sender), ..answer };
        for question in [Request::FindNode { id: Id::ZERO }, Request::FindValue { key: Id::ZERO }] {
            let paid = text(&Message::request(1, sender, question)).len() * AMPLIFICATION;
            assert!(text(&answer).len() + PADDING + PING_BYTES <= paid, "{paid} bytes");
        }
    }
}
