//! The steps of the assignment, each with the lines that it brings about at every peer.

use std::fs;

use nix::sys::signal::Signal;

use super::{Expected, Peer, Ring};

impl Ring {
    fn changed(&self, head: &str, first: u8, second: u8) -> Vec<String> {
        let new = if head.starts_with("Join request has") { "" } else { "new " };
        vec![
            head.to_owned(),
            format!("My {new}first successor is Peer {first}"),
            format!("My {new}second successor is Peer {second}"),
        ]
    }

    /// A new peer joins through `known`.
    pub(crate) fn join(&mut self, id: u8, known: u8) {
        self.launch(id, &["join", &id.to_string(), &known.to_string(), self.way.interval]);
        let before = self.predecessor(id, 1);
        let mut expected = Expected::new();
        // The path to whoever stands before the new one, which is not part of the ring yet.
        let joining = self.way_to(known, before).into_iter().filter(|other| *other != id);
        for other in joining {
            expected.entry(other).or_default().push(format!("Peer {id} Join request forwarded to my successor"));
        }
        let received = self.changed(&format!("Peer {id} Join request received"), id, self.successor(id, 1));
        expected.entry(before).or_default().extend(received);
        let told = self.changed("Successor Change request received", before, id);
        expected.entry(self.predecessor(id, 2)).or_default().extend(told);
        let accepted = self.changed("Join request has been accepted", self.successor(id, 1), self.successor(id, 2));
        expected.insert(id, accepted);
        self.expect(&format!("{id} joins through {known}"), expected);
        self.settle();
    }

    /// Both predecessors tell of a peer that is gone.
    fn gone(&mut self, id: u8, head: &str, step: &str) -> Peer {
        let (first, second) = (self.predecessor(id, 1), self.predecessor(id, 2));
        let peer = self.peers.remove(&id).expect("it runs");
        let mut expected = Expected::new();
        for other in [first, second] {
            expected.insert(other, self.changed(head, self.successor(other, 1), self.successor(other, 2)));
        }
        self.expect(step, expected);
        self.settle();
        peer
    }

    /// A peer quits; its exit code must be 0.
    pub(crate) fn quit(&mut self, id: u8, word: &str) {
        self.peer(id).tell(word);
        let mut peer = self.gone(id, &format!("Peer {id} will depart from the network"), &format!("{id} quits"));
        assert_eq!(peer.wait(), Some(0), "{}", peer.said());
        assert_eq!(peer.fresh(), [""; 0]);
    }

    /// A peer quits, and nobody compares what was said so far.
    pub(crate) fn leave_out(&mut self, id: u8) {
        let mut peer = self.peers.remove(&id).expect("it runs");
        peer.tell("quit");
        assert_eq!(peer.wait(), Some(0), "{}", peer.said());
        self.settle();
        for peer in self.peers.values_mut() {
            peer.seen += peer.fresh().len();
        }
    }

    /// A peer is killed.
    pub(crate) fn kill(&mut self, id: u8, signal: Signal) {
        self.peer(id).signal(signal);
        let mut peer = self.gone(id, &format!("Peer {id} is no longer alive"), &format!("{id} is killed"));
        assert_eq!(peer.wait(), None, "it was ended by the signal");
    }

    /// Stores a file at `at`, typed as `word`.
    pub(crate) fn store(&mut self, at: u8, file: &str, word: &str) {
        self.peer(at).tell(&format!("{word} {file}"));
        let owner = self.owner(file);
        let mut expected = Expected::new();
        for other in self.way_to(at, owner) {
            expected.insert(other, vec![format!("Store {file} request forwarded to my successor")]);
        }
        expected.insert(owner, vec![format!("Store {file} request accepted")]);
        self.expect(&format!("{at} stores {file}"), expected);
    }

    /// Requests a file at `at`, typed as `word`, and compares what comes with `content`.
    pub(crate) fn request(&mut self, at: u8, file: &str, word: &str, content: &[u8]) {
        let received = self.dir(at).join(format!("received_{file}.pdf"));
        let _ = fs::remove_file(&received);
        self.peer(at).tell(&format!("{word} {file}"));
        let owner = self.owner(file);
        let not_here = format!("Request for File {file} has been received, but the file is not stored here");
        let mut expected = Expected::new();
        for other in self.way_to(at, owner) {
            expected.insert(other, vec![not_here.clone()]);
        }
        let sending = [
            format!("File {file} is stored here"),
            format!("Sending file {file} to Peer {at}"),
            "The file has been sent".to_owned(),
        ];
        let receiving = [
            format!("Peer {owner} had File {file}"),
            format!("Receiving File {file} from Peer {owner}"),
            format!("File {file} received"),
        ];
        let step = format!("{at} requests {file}");
        if at == owner {
            // It tells of both ends, what is sent before what is received.
            let [stored, about_to_send, sent] = sending;
            let [had, about_to_receive, received] = receiving;
            expected.insert(at, vec![stored, about_to_send, had, about_to_receive, sent, received]);
        } else {
            expected.insert(owner, sending.to_vec());
            let mut lines = vec![format!("File request for {file} has been sent to my successor")];
            lines.extend(receiving);
            expected.insert(at, lines);
        }
        self.expect(&step, expected);
        assert!(fs::read(&received).expect("it was received") == content, "{file} came with other bytes");
    }

    /// A request that nobody can fulfil gets an answer where it was typed.
    pub(crate) fn request_in_vain(&mut self, at: u8, file: &str) {
        self.peer(at).tell(&format!("Request {file}"));
        let owner = self.owner(file);
        let not_here = format!("Request for File {file} has been received, but the file is not stored here");
        let mut expected = Expected::new();
        for other in self.way_to(at, owner).into_iter().chain([owner]) {
            expected.insert(other, vec![not_here.clone()]);
        }
        let mut lines = vec![format!("error: file {file} was not found: no peer of this ring has it")];
        lines.insert(
            0,
            if at == owner { not_here } else { format!("File request for {file} has been sent to my successor") },
        );
        expected.insert(at, lines);
        self.expect(&format!("{at} requests {file} in vain"), expected);
    }
}
