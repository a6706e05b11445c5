//! What peers say that compare what they hold.

use super::*;
use crate::config::{AMPLIFICATION, PADDING, PING_BYTES};
use crate::wire::summary::{MAX_KEYS, MAX_PARTS, MAX_RANGES};
use crate::wire::{Difference, Range, RangePart, RequestKind, Start, Summary};

/// Every form of it, with the text we write for it.
pub(super) fn golden() -> Vec<(Message, String)> {
    let held = Summary::of(&[Id::from_bytes([0xcc; 32])]);
    let (range, digest) = (Range { first: Start(10), last: Start(u64::MAX) }, held.digest);
    let differs = |difference| Message::response(7, RequestKind::Compare, Response::Differs(difference));
    let from = "{'magic':7,'requestor':{'node_id':'<a>','ip':'127.0.0.1','port':53999},'type':'compare_keys'";
    let answer = "{'magic':7,'type':'compare_keys','resp':true,'result':";
    let held_text = format!("'count':1,'digest':'{digest}'}}");
    vec![
        (
            Message::request(7, sender(), Request::Compare { ranges: vec![range, range], held, copies: Some(7) }),
            format!(
                "{from},'params':{{'ranges':['{range}','{range}'],{},'copies':7}}}}",
                held_text.trim_end_matches('}')
            ),
        ),
        (Message::response(7, RequestKind::Compare, Response::Same), format!("{answer}'same'}}")),
        (differs(Difference::Keys(vec![range.first])), format!("{answer}{{'keys':['{}']}}}}", range.first)),
        (
            differs(Difference::Parts(vec![RangePart { range, held }])),
            format!("{answer}{{'parts':[{{'range':'{range}',{held_text}]}}}}"),
        ),
    ]
}

#[test]
fn the_longest_comparison_fits_one_datagram_and_any_pays_for_its_answer() {
    let range = Range { first: Start(0), last: Start(u64::MAX) };
    let held = Summary { count: u32::MAX, ..Summary::of(&[]) };
    let sender = Sender::member(Id::ZERO, peer(1, &format!("[{LONGEST_IP}]:65535")).addr);
    let sender = Sender { network: LONGEST_NAME.parse().expect("a name"), ..sender };
    let question = Request::Compare { ranges: vec![range; MAX_RANGES], held, copies: Some(u8::MAX) };
    assert!(text(&Message::request(u64::MAX, sender, question)).len() <= MAX_DATAGRAM_SENT);
    let paid = text(&Message::request(1, sender, Request::Compare { ranges: vec![range], held, copies: None })).len()
        * AMPLIFICATION;
    for difference in
        [Difference::Keys(vec![range.last; MAX_KEYS]), Difference::Parts(vec![RangePart { range, held }; MAX_PARTS])]
    {
        let answer = Message::response(MAGIC_LIMIT, RequestKind::Compare, Response::Differs(difference));
        assert!(text(&answer).len() <= MAX_DATAGRAM_SENT.min(paid - PING_BYTES - PADDING));
    }
}
