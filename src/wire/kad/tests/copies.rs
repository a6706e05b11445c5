//! What is said of one peer's copy.

use super::*;
use crate::lease::Lease;

/// Who holds a block that is to have so many copies.
fn holding() -> (Message, String) {
    let holder = Response::Holder { peer: peer(0xb, "10.1.2.3:80"), copies: 12 };
    let node = "{'node_id':'<b>','ip':'10.1.2.3','port':80,'copies':12}";
    let text = format!("{{'magic':7,'type':'find_value','resp':true,'result':{node}}}");
    (Message::response(7, RequestKind::FindValue, holder), text)
}

/// Who holds a block, and the question whether the copy is sound with its answers.
pub(super) fn golden() -> Vec<(Message, String)> {
    let from = "{'magic':7,'requestor':{'node_id':'<a>','ip':'127.0.0.1','port':53999}";
    let question = Message::request(7, sender(), Request::Verify { key: Id::from_bytes([0xcc; 32]) });
    let asked = (question, format!("{from},'type':'find_value','params':{{'id':'<c>','verify':true}}}}"));
    let answers = Vouch::ALL.map(|vouch| {
        let word = format!("{vouch:?}").to_lowercase();
        let text = format!("{{'magic':7,'type':'find_value','resp':true,'result':'{word}'}}");
        (Message::response(7, RequestKind::FindValue, Response::Vouch(vouch)), text)
    });
    let terms = Message::request(7, sender(), Request::Terms { key: Id::from_bytes([0xcc; 32]) });
    let terms = (terms, format!("{from},'type':'find_value','params':{{'id':'<c>','terms':true}}}}"));
    let leases = Message::response(7, RequestKind::FindValue, Response::Terms(vec![Lease::NOBODYS]));
    let told = format!("{{'magic':7,'type':'find_value','resp':true,'result':{{'leases':['{}']}}}}", Lease::NOBODYS);
    [asked, holding(), terms, (leases, told)].into_iter().chain(answers).collect()
}
