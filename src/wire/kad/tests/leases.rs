//! What is told of leases.

use super::*;
use crate::config::PADDING;
use crate::lease::{self, Lease, LeaseNews, Secret};

const LEASE: Lease = Lease::NOBODYS;

#[test]
fn what_is_told_of_leases_and_shown_of_blocks_has_this_text_and_reads_back() {
    let id = Id::from_bytes([0xcc; 32]);
    let secret: Secret = "ab".repeat(32).parse().expect("64 digits");
    let from = "{'magic':7,'requestor':{'node_id':'<a>','ip':'127.0.0.1','port':53999}";
    let request = |request| Message::request(7, sender(), request);
    for (message, expected) in [
        (
            request(Request::Store { key: id, size: Some(1), leases: vec![LEASE, Lease { until: Some(9), ..LEASE }] }),
            format!(
                "{from},'type':'store_value','params':{{'id':'<c>','size':1,'leases':['{LEASE}','{}:9:0']}}}}",
                LEASE.id
            ),
        ),
        (
            request(Request::Lease(LeaseNews { renewed: vec![LEASE], ended: vec![secret] })),
            format!("{from},'type':'lease','params':{{'renewed':['{LEASE}'],'ended':['{secret}']}}}}"),
        ),
        (
            Message::response(7, RequestKind::Store, Response::Shown { sample: id }),
            "{'magic':7,'type':'store_value','resp':true,'result':'saved','sample':'<c>'}".to_owned(),
        ),
        (
            Message::response(7, RequestKind::Lease, Response::Leased { blocks: 3, free: 1 }),
            "{'magic':7,'type':'lease','resp':true,'result':{'blocks':3,'free':1}}".to_owned(),
        ),
    ] {
        let expected = json(&expected);
        assert_eq!(text(&message), expected);
        assert_eq!(read(&expected), Ok(message));
    }
}

#[test]
fn an_offer_with_all_the_leases_it_may_have_and_all_news_of_leases_fit_one_datagram() {
    let secret: Secret = "ab".repeat(32).parse().expect("64 digits");
    let lease = Lease { id: secret.id(), until: Some(lease::LAST), copies: 7 };
    let me = Sender {
        guest: true,
        leaving: true,
        network: LONGEST_NAME.parse().expect("a name"),
        ..Sender::member(Id::MAX, format!("[{LONGEST_IP}]:65535").parse().unwrap())
    };
    let text = |request| {
        let mut text = Vec::new();
        encode(&Message::request(MAGIC_LIMIT - 1, me, request), &mut text);
        text.len()
    };
    let offer = Request::Store { key: Id::MAX, size: Some(1 << 20), leases: vec![lease; lease::MAX_LEASES] };
    assert!(text(offer) <= MAX_DATAGRAM_SENT - PADDING);
    for kind in 0..2 {
        let mut news = LeaseNews::default();
        while !news.is_full() {
            match kind {
                0 => news.renewed.push(lease),
                _ => news.ended.push(secret),
            }
        }
        assert!(text(Request::Lease(news)) <= MAX_DATAGRAM_SENT - PADDING);
    }
}
