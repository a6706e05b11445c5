//! Kademlia's JSON datagrams: `{"magic", "requestor", "type", "params"}` and their responses.
