//! Addresses of one link alone (`fe80::…`). Their text does not tell which link, for each machine has numbers of its
//! own for those that it is on. So they are read as of the link that the message came over.

use std::net::SocketAddr;

use super::ring::{RingRequest, RingResponse};
use super::{Body, Message, Request, Response};
use crate::peer::Peer;

impl Message {
    /// Has the peers in a message from `from` be those that are meant there. Where it came over no such link, no peer
    /// can be reached at such an address: lists lose it.
    pub(crate) fn place_links(&mut self, from: SocketAddr) {
        let link = if let SocketAddr::V6(from) = from { from.scope_id() } else { 0 };
        let one = |peer: &mut Peer| match &mut peer.addr {
            SocketAddr::V6(addr) if addr.ip().is_unicast_link_local() => {
                addr.set_scope_id(link);
                link != 0
            }
            _ => true,
        };
        let all = |peers: &mut Vec<Peer>| peers.retain_mut(one);
        if let Some(sender) = &mut self.sender {
            one(&mut sender.peer);
        }
        match &mut self.body {
            Body::Request(Request::Gone { peer, .. })
            | Body::Response(Response::Node(peer) | Response::Holder { peer, .. }) => drop(one(peer)),
            Body::Response(Response::Nodes(peers) | Response::Named(peers)) => all(peers),
            Body::Request(Request::Ring(request)) => in_request(request, one, all),
            Body::Response(Response::Ring(response)) => in_response(response, one, all),
            _ => {}
        }
    }
}

fn in_request(request: &mut RingRequest, one: impl Fn(&mut Peer) -> bool, all: impl Fn(&mut Vec<Peer>)) {
    match request {
        RingRequest::Ping { predecessors, successors, .. } | RingRequest::Quit { predecessors, successors } => {
            all(predecessors);
            all(successors);
        }
        RingRequest::Routed { route, .. } => {
            one(&mut route.origin);
            if let Some(trail) = &mut route.trail {
                all(trail);
            }
        }
        RingRequest::Update { successors, joined } => {
            all(successors);
            *joined = joined.take_if(|joined| one(joined));
        }
        RingRequest::Exit { predecessors } => all(predecessors),
        RingRequest::Abrupt { peer } => drop(one(peer)),
        RingRequest::Has { .. } | RingRequest::Transfer { .. } => {}
    }
}

fn in_response(response: &mut RingResponse, one: impl Fn(&mut Peer) -> bool, all: impl Fn(&mut Vec<Peer>)) {
    match response {
        RingResponse::Pong { peer, predecessors, successors } => {
            one(peer);
            all(predecessors);
            all(successors);
        }
        RingResponse::Welcome { predecessors, successors } => {
            all(predecessors);
            all(successors);
        }
        RingResponse::Has { peer, .. } => drop(one(peer)),
        RingResponse::Owner { peers, trail, .. } => {
            all(peers);
            all(trail);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Id;
    use crate::wire::{Dialect, RequestKind, Sender};

    fn peer(addr: &str) -> Peer {
        Peer::new(Id::of(addr.as_bytes()), addr.parse().unwrap())
    }

    #[test]
    fn a_peer_at_an_address_of_the_link_is_read_as_of_the_link_that_the_message_came_over() {
        let me = peer("[fe80::9%4]:9");
        let named: Vec<Peer> = ["[fe80::2]:2", "[2001:db8::3]:3", "10.0.0.4:4"].map(peer).into();
        let (predecessors, successors) = (named.clone(), named.clone());
        let messages = [
            (Dialect::Kademlia, Message::response(1, RequestKind::FindNode, Response::Nodes(named.clone()))),
            (
                Dialect::Ring,
                Message::request(
                    1,
                    Sender::member(me.id, me.addr),
                    Request::Ring(RingRequest::Quit { predecessors, successors }),
                ),
            ),
        ];
        for (dialect, message) in messages {
            let mut text = Vec::new();
            dialect.encode(&message, &me, "[fe80::7%2]:7".parse().unwrap(), &mut text);
            for (from, first) in
                [("[fe80::1%5]:1", Some("[fe80::2%5]:2")), ("[2001:db8::1]:1", None), ("10.0.0.1:1", None)]
            {
                let mut read = dialect.decode(&text).unwrap();
                read.place_links(from.parse().unwrap());
                let lists = match read.body {
                    Body::Response(Response::Nodes(peers)) => vec![peers],
                    Body::Request(Request::Ring(RingRequest::Quit { predecessors, successors })) => {
                        vec![predecessors, successors]
                    }
                    other => panic!("{other:?}"),
                };
                for list in lists {
                    let told: Vec<String> = list.iter().map(|peer| peer.addr.to_string()).collect();
                    let expected = first.into_iter().chain(["[2001:db8::3]:3", "10.0.0.4:4"]);
                    assert_eq!(told, expected.collect::<Vec<_>>(), "{dialect:?} from {from}");
                }
            }
        }
    }
}
