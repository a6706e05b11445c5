//! Requests that need not name their sender. A peer remembers who answered it, by the address. The peer that gave that
//! answer knows that, and leaves its name out of what it asks there later.
//!
//! A name left out is given when the other side asks for it, or is doubted: a peer that forges a request or an answer
//! can have another one ask in vain once, and no more.

use std::net::SocketAddr;
use std::time::Duration;

use super::Exchange;
use crate::config::VALIDATED_FOR;
use crate::id::Id;
use crate::node::refusal::Refusal;
use crate::peer::Peer;
use crate::recent::Recent;
use crate::time::Time;
use crate::wire::{Request, Response, Sender};

/// What a peer answers to a request without a name that it is to have; older ones say more after these words.
pub(super) const UNNAMED: &str = "requestor is missing";

/// Peers that are remembered, at least; twice as many contacts as a table of a million peers has.
const INTRODUCED: usize = 1024;

/// A peer is taken to remember an answer for this long. It remembers for longer that an address receives what it sends.
const RECALLED_FOR: Duration = Duration::from_secs(VALIDATED_FOR.as_secs() / 2);

#[derive(Default)]
pub(super) struct Introductions {
    /// The peers that answered last at these addresses.
    met: Recent<SocketAddr, Id, INTRODUCED>,
    /// When the peers there had an answer of ours last.
    met_by: Recent<SocketAddr, Time, INTRODUCED>,
}

impl Introductions {
    /// This peer answered there.
    pub(super) fn meet(&mut self, addr: SocketAddr, id: Id) {
        self.met.insert(addr, id);
    }

    /// The peer that answered there last.
    pub(super) fn met(&self, addr: &SocketAddr) -> Option<Id> {
        self.met.get(addr).copied()
    }

    /// A request from there says that it is this peer's. Another one has answered there once, and may be gone.
    pub(super) fn hear(&mut self, addr: &SocketAddr, id: Id) {
        if self.met.get(addr).is_some_and(|met| *met != id) {
            self.met.remove(addr);
        }
    }

    /// Whether this answers a request that was to name its sender, or is of a peer that was to name itself.
    pub(super) fn is_unnamed(answer: &Result<Response, Refusal>) -> bool {
        match answer {
            Ok(answer) => *answer == Response::Here,
            Err(reason) => matches!(reason, Refusal::Other(reason) if reason.starts_with(UNNAMED)),
        }
    }

    /// What a peer answers, and who it says that it is, as one says it that does not know whether this peer remembers
    /// that. A peer that is not remembered stays [`Response::Here`].
    pub(super) fn in_full(
        &self,
        from: SocketAddr,
        sender: Option<Sender>,
        answer: Result<Response, Refusal>,
    ) -> (Option<Sender>, Result<Response, Refusal>) {
        let met = self.met(&from);
        match (answer, met) {
            (Ok(Response::Here), Some(id)) => (sender, Ok(Response::Node(Peer::new(id, from)))),
            (Ok(Response::Named(peers)), _) => {
                (sender.or(met.map(|id| Sender::member(id, from))), Ok(Response::Nodes(peers)))
            }
            (answer, _) => (sender, answer),
        }
    }

    /// A peer that remembers who answers gets an answer of ours.
    pub(super) fn on_met_by(&mut self, now: Time, addr: SocketAddr) {
        self.met_by.insert(addr, now);
    }

    /// The peer there does not seem to remember us.
    pub(super) fn introduce_anew(&mut self, addr: &SocketAddr) {
        self.met_by.remove(addr);
    }

    /// Whether `request` needs no name when it goes there.
    pub(super) fn may_omit(&self, now: Time, addr: &SocketAddr, request: &Request) -> bool {
        let since = self.met_by.get(addr).filter(|_| is_frequent(request) && self.met.contains(addr));
        since.is_some_and(|since| now.since(*since) < RECALLED_FOR)
    }
}

/// Whether this is asked so often that its length counts. The rest is not asked twice for want of a name.
const fn is_frequent(request: &Request) -> bool {
    matches!(request, Request::Ping | Request::Gone { .. } | Request::FindNode { .. } | Request::FindValue { .. })
}

impl Exchange {
    /// A request was answered by a peer that it should have named its sender to, or that should name itself. It goes
    /// out again and names the sender, unless it has done so since: what went out twice without a name is refused
    /// twice.
    pub(super) fn ask_with_name(&mut self, from: SocketAddr, magic: u64) {
        let waiting = self.pending.get(magic).filter(|waiting| waiting.to.addr == from);
        let Some(request) = waiting.map(|waiting| waiting.request.clone()) else { return };
        if self.introductions.may_omit(self.now, &from, &request) {
            self.introductions.introduce_anew(&from);
            self.forward(from, magic, request);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Action, Outbox, Patience, RequestOutcome, SentFor};
    use super::*;
    use crate::overlay::Target;
    use crate::patience;
    use crate::peer::{NOT_TOLD, Peer};
    use crate::wire::{Body, Dialect, Message, RequestKind, Response, Sender, Via};

    const PAID: u32 = 414;

    fn peer(n: u16) -> Peer {
        Peer::new(Id::from_u64(n.into()), SocketAddr::from(([10, 0, 0, 1], n)))
    }

    fn sender(n: u16) -> Sender {
        Sender { recalls: true, ..Sender::member(peer(n).id, peer(n).addr) }
    }

    /// What this peer says while it does something.
    fn said(exchange: &mut Exchange, now: Time, act: impl FnOnce(&mut Exchange)) -> Vec<Message> {
        let mut out = Outbox::new();
        exchange.begin(now, &mut out);
        act(exchange);
        exchange.end(&mut out);
        let message = |action| if let Action::Send { message, .. } = action { Some(message) } else { None };
        out.into_iter().filter_map(message).collect()
    }

    fn ask(exchange: &mut Exchange, to: Peer) {
        exchange.ask(SentFor::Pulse, Target::from(to), Request::Ping, Patience::Tries(patience::QUESTION));
    }

    /// Has `exchange` answer a ping, as one that is of this `sender`; and ping back first, if it shall.
    fn hear(exchange: &mut Exchange, sender: Option<Sender>, pings_back: bool) -> Vec<Message> {
        said(exchange, Time::ZERO, |exchange| {
            let from = exchange.on_request(peer(2).addr, Via::Udp, (PAID, 9), sender, &Request::Ping);
            if pings_back {
                ask(exchange, peer(2));
            }
            if let Some(from) = from {
                exchange.respond(&from.asker, RequestKind::Ping, Response::Node(peer(1)));
            }
        })
    }

    fn ping_at(exchange: &mut Exchange, now: Time) -> Message {
        said(exchange, now, |exchange| ask(exchange, peer(2))).remove(0)
    }

    fn new() -> Exchange {
        Exchange::new(sender(1), Dialect::Kademlia, [1; 32])
    }

    /// Both have answered one another.
    fn acquainted() -> Exchange {
        let mut exchange = new();
        hear(&mut exchange, Some(sender(2)), false);
        answer(&mut exchange, 2);
        exchange
    }

    /// The other one's address is pinged, and the peer there says that it is this one.
    fn answer(exchange: &mut Exchange, n: u16) {
        let ping = ping_at(exchange, Time::ZERO);
        let named = Ok(Response::Node(Peer::new(peer(n).id, NOT_TOLD)));
        said(exchange, Time::ZERO, |exchange| drop(exchange.on_answer(peer(2).addr, ping.magic, None, named)));
    }

    #[test]
    fn who_answered_a_peer_that_recalls_it_leaves_its_name_out_until_that_may_be_forgotten() {
        for (asker, omits) in [(sender(2), true), (Sender { recalls: false, ..sender(2) }, false)] {
            let mut exchange = new();
            answer(&mut exchange, 2);
            assert!(ping_at(&mut exchange, Time::ZERO).sender.is_some(), "it gave no answer yet");
            let answers = hear(&mut exchange, Some(asker), false);
            assert_eq!(
                answers[0].body,
                Body::Response(Response::Node(Peer::new(peer(1).id, if omits { NOT_TOLD } else { peer(1).addr })))
            );
            assert_eq!(ping_at(&mut exchange, Time::ZERO).sender.is_none(), omits);
            assert!(ping_at(&mut exchange, Time::ZERO + RECALLED_FOR).sender.is_some());
        }
    }

    #[test]
    fn a_name_that_is_missed_is_given_at_once_and_one_that_may_be_once_its_peer_is_doubted() {
        // What an older peer says that runs there now.
        let longer = "requestor is missing or malformed";
        for refused in [UNNAMED, longer] {
            let mut exchange = acquainted();
            let ping = ping_at(&mut exchange, Time::ZERO);
            let again = said(&mut exchange, Time::ZERO, |exchange| {
                assert!(exchange.on_answer(peer(2).addr, ping.magic, None, Err(refused.into())).is_none());
            });
            assert_eq!((again[0].magic, again[0].sender), (ping.magic, Some(sender(1))));
            assert!(ping_at(&mut exchange, Time::ZERO).sender.is_some(), "it knows better now");
            // As in the storm of Kademlia with the seed 4, 51 peers and 21 faults: it had gone out twice before.
            let more = said(&mut exchange, Time::ZERO, |exchange| {
                assert!(exchange.on_answer(peer(2).addr, ping.magic, None, Err(refused.into())).is_none());
            });
            assert!(more.is_empty(), "{more:?}");
            said(&mut exchange, Time::ZERO, |exchange| {
                let named = Ok(Response::Node(peer(2)));
                assert!(exchange.on_answer(peer(2).addr, ping.magic, None, named).is_some(), "it is waited for still");
            });
        }

        let mut exchange = acquainted();
        ping_at(&mut exchange, Time::ZERO);
        let mut doubted = false;
        while let Some(due) = exchange.pending.next_deadline().filter(|_| !doubted) {
            let again = said(&mut exchange, due, |exchange| {
                doubted = matches!(exchange.next_due(), Some(RequestOutcome::Doubtful(_)));
            });
            let named = again.iter().all(|message| message.sender.is_some() == doubted);
            assert!(named, "an answer that is late may come yet: {again:?}");
        }
        assert!(doubted && ping_at(&mut exchange, Time::ZERO).sender.is_some());
    }

    #[test]
    fn who_answered_here_need_not_say_who_it_is_and_anybody_else_is_told_to() {
        let mut exchange = new();
        let refused = hear(&mut exchange, None, false);
        assert!(matches!(refused[0].body, Body::Error(_)), "{refused:?}");
        answer(&mut exchange, 2);
        let from = exchange.on_request(peer(2).addr, Via::Udp, (PAID, 9), None, &Request::Ping).expect("it is known");
        assert_eq!(from.sender.map(|sender| sender.peer), Some(peer(2)));
    }

    #[test]
    fn two_that_know_one_another_say_neither_in_a_ping_nor_in_its_answer_who_they_are() {
        let mut exchange = acquainted();
        let answers = hear(&mut exchange, None, false);
        assert_eq!(answers[0].body, Body::Response(Response::Here));
        let ping = ping_at(&mut exchange, Time::ZERO);
        assert_eq!(ping.sender, None);
        let here = Ok(Response::Here);
        let (alive, outcome) =
            exchange.on_answer(peer(2).addr, ping.magic, None, here).expect("it is known who is here");
        assert!(alive && matches!(outcome, RequestOutcome::Pulse));
    }

    #[test]
    fn peers_are_named_in_few_bytes_to_one_that_recalls_who_answers_and_whole_to_any_other() {
        let peers = vec![peer(3), peer(4)];
        let list = |exchange: &mut Exchange, asker: Option<Sender>| {
            said(exchange, Time::ZERO, |exchange| {
                let question = Request::FindNode { id: Id::ZERO };
                let from = exchange.on_request(peer(2).addr, Via::Udp, (PAID, 9), asker, &question).expect("an answer");
                exchange.respond(&from.asker, RequestKind::FindNode, Response::Nodes(peers.clone()));
            })
            .remove(0)
        };
        let few = Body::Response(Response::Named(peers.clone()));
        let stranger = list(&mut new(), Some(sender(2)));
        assert_eq!((&stranger.body, stranger.sender), (&few, Some(sender(1))));
        let acquaintance = list(&mut acquainted(), None);
        assert_eq!((&acquaintance.body, acquaintance.sender), (&few, None));
        let older = list(&mut new(), Some(Sender { recalls: false, ..sender(2) }));
        assert_eq!((older.body, older.sender), (Body::Response(Response::Nodes(peers)), Some(sender(1))));
    }

    /// What an older peer reads and writes: none of the fields that peers have which recall one another.
    #[test]
    fn an_older_peer_is_always_told_who_asks_and_answers_and_its_own_answers_count() {
        let mut exchange = new();
        let older = Sender { recalls: false, ..sender(2) };
        for magic in 0..3 {
            let answers = hear(&mut exchange, Some(older), true);
            let [ping, answer] = &answers[..] else { panic!("{answers:?}") };
            assert_eq!((ping.sender, answer.asks), (Some(sender(1)), None), "round {magic}");
            assert_eq!(answer.body, Body::Response(Response::Node(peer(1))));
            let whole = Ok(Response::Node(peer(2)));
            said(&mut exchange, Time::ZERO, |exchange| {
                let (alive, _) = exchange.on_answer(peer(2).addr, ping.magic, None, whole).expect("it is awaited");
                assert!(alive);
            });
            let question = said(&mut exchange, Time::ZERO, |exchange| {
                let question = Request::FindNode { id: Id::ZERO };
                exchange.ask(SentFor::Pulse, peer(2).into(), question, Patience::Tries(patience::QUESTION));
            })
            .remove(0);
            assert_eq!(question.sender, Some(sender(1)));
            let list = Ok(Response::Nodes(vec![peer(3)]));
            let counts = said(&mut exchange, Time::ZERO, |exchange| {
                assert!(exchange.on_answer(peer(2).addr, question.magic, Some(older), list).is_some());
            });
            assert!(counts.is_empty(), "{counts:?}");
        }
    }

    #[test]
    fn who_answers_that_it_is_here_is_asked_who_it_is_where_another_one_said_that_it_is() {
        let mut exchange = acquainted();
        let ping = ping_at(&mut exchange, Time::ZERO);
        hear(&mut exchange, Some(sender(7)), false);
        let again = said(&mut exchange, Time::ZERO, |exchange| {
            assert!(exchange.on_answer(peer(2).addr, ping.magic, None, Ok(Response::Here)).is_none());
        });
        assert!(again.is_empty(), "{again:?}");
        assert!(ping_at(&mut exchange, Time::ZERO).sender.is_some(), "and says who asks");
        answer(&mut exchange, 7);
        assert_eq!(exchange.introductions.met(&peer(2).addr), Some(peer(7).id));
    }

    /// As in the storms of Kademlia with the seeds 800058 (35 peers, 17 faults) and 800297 (57 and 18).
    #[test]
    fn an_answer_that_comes_too_late_tells_as_well_that_another_one_is_at_an_address() {
        let other = Sender::member(peer(7).id, NOT_TOLD);
        let list = (Some(other), Response::Named(vec![peer(3)]));
        for (sender, answer) in [list, (None, Response::Node(other.peer))] {
            let mut exchange = acquainted();
            said(&mut exchange, Time::ZERO, |exchange| {
                let from = peer(2).addr;
                assert!(exchange.on_answer(from, 12_345, sender, Ok(answer)).is_none(), "nobody waits for it");
            });
            assert!(ping_at(&mut exchange, Time::ZERO).sender.is_some(), "it is to say who it is");
        }
    }

    #[test]
    fn a_list_of_nobody_says_who_answers_for_it_is_read_as_the_longer_form() {
        let mut exchange = acquainted();
        let lists = said(&mut exchange, Time::ZERO, |exchange| {
            let question = Request::FindNode { id: Id::ZERO };
            let from = exchange.on_request(peer(2).addr, Via::Udp, (PAID, 9), None, &question).expect("an answer");
            exchange.respond(&from.asker, RequestKind::FindNode, Response::Nodes(Vec::new()));
        });
        assert_eq!((&lists[0].body, lists[0].sender), (&Body::Response(Response::Nodes(Vec::new())), Some(sender(1))));
    }

    #[test]
    fn a_ping_back_goes_in_the_answer_to_a_peer_that_recalls_it_and_beside_any_other() {
        let mut exchange = new();
        let [answer] = &hear(&mut exchange, Some(sender(2)), true)[..] else { panic!("one message") };
        let asked = answer.asks.expect("the ping");
        let answered = exchange.on_answer(peer(2).addr, asked, None, Ok(Response::Node(peer(2))));
        assert!(answered.is_some_and(|(alive, _)| alive), "its answer is awaited");
        let said = hear(&mut new(), Some(Sender { recalls: false, ..sender(2) }), true);
        assert_eq!(said.iter().map(|message| message.asks).collect::<Vec<_>>(), [None, None]);
    }
}
