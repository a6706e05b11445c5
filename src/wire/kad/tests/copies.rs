//! What is said of one peer's copy.

use super::*;

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
        let text = format!("{{'magic':7,'type':'find_value','resp':true,'result':'{}'}}", vouch.word());
        (Message::response(7, RequestKind::FindValue, Response::Vouch(vouch)), text)
    });
    [asked, holding()].into_iter().chain(answers).collect()
}
