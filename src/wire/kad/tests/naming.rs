//! The name of a network.

use super::*;

pub(super) fn named(sender: Sender) -> Sender {
    Sender { network: LONGEST_NAME.parse().expect("a name"), ..sender }
}

#[test]
fn a_request_bears_the_name_of_its_network_and_one_without_is_of_the_usual_one() {
    let ping = Message::request(7, named(sender()), Request::Ping);
    let from = "{'magic':7,'requestor':{'node_id':'<a>','ip':'127.0.0.1','port':53999}";
    let expected = json(&format!("{from},'network':'{LONGEST_NAME}','type':'ping_node','params':{{}}}}"));
    assert_eq!(text(&ping), expected);
    assert_eq!(read(&expected), Ok(ping));
    for no_name in ["''", "7", "'two words'", "'0123456789abcdefg'"] {
        let strange = json(&format!("{from},'network':{no_name},'type':'ping_node','params':{{}}}}"));
        assert_eq!(read(&strange), Err(Malformed { magic: Some(7), reason: "network is no name of one" }), "{no_name}");
    }
}
