//! What a lookup asked, for the user who wants to know: whom, why, when, and what became of each question.
//!
//! The questions of a lookup pass through the node under the overlay's tags, so it can write them down without the
//! overlay's help. Where no user wants an explanation that costs one look at an empty map.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::exchange::RequestOutcome;
use super::notice::{AskedFor, AskedQuestion, QuestionOutcome};
use crate::id::{ID_BITS, Id, Key};
use crate::overlay::{Late, LookupId, LookupStep, OverlayKind, Tag, Target};
use crate::time::Time;
use crate::wire::{Request, Response};

#[derive(Default)]
struct Explanation {
    key: Key,
    /// How far this peer is from the key.
    distance: u16,
    since: Time,
    asked: Vec<AskedQuestion>,
    /// The addresses that were named, and by the answer to which question first.
    named: BTreeMap<SocketAddr, usize>,
    /// The question that something came of last, and when.
    last: Option<(Time, usize)>,
}

impl Explanation {
    /// The question that something came of in this very turn.
    fn at_hand(&self, now: Time) -> Option<usize> {
        self.last.filter(|(at, _)| *at == now).map(|(_, question)| question)
    }

    /// The lookup ends now: which of its questions its time went by with, from the last one back.
    fn end(mut self, now: Time) -> Vec<AskedQuestion> {
        let (mut until, mut next) = (now.since(self.since), self.at_hand(now));
        while let Some(question) = next.and_then(|at| self.asked.get_mut(at)) {
            question.waited = Some(until.saturating_sub(question.begun));
            (until, next) = (question.begun, question.after);
        }
        self.asked
    }
}

/// The lookups that are explained.
#[derive(Default)]
pub(super) struct Explanations {
    lookups: BTreeMap<LookupId, Explanation>,
    /// The questions that are open: their lookup, and which of its questions it is.
    open: BTreeMap<Tag, (LookupId, usize)>,
    kind: OverlayKind,
}

impl Explanations {
    /// The questions of this lookup by the peer `me` are written down.
    pub(super) fn begin(&mut self, now: Time, lookup: LookupId, key: Key, (me, kind): (Id, OverlayKind)) {
        self.kind = kind;
        let distance = bits(&kind.distance(&me, &key));
        self.lookups.insert(lookup, Explanation { key, distance, since: now, ..Explanation::default() });
    }

    /// The lookup is over: its questions.
    pub(super) fn end(&mut self, now: Time, lookup: LookupId) -> Vec<AskedQuestion> {
        self.open.retain(|_, (of, _)| *of != lookup);
        self.lookups.remove(&lookup).map_or(Vec::new(), |explanation| explanation.end(now))
    }

    /// A question goes out. Where it travels from peer to peer, the way is asked for.
    pub(super) fn on_ask(&mut self, now: Time, step: LookupStep, tag: Tag, to: &Target, request: &mut Request) {
        let Some(of) = self.lookups.get_mut(&step.lookup) else { return };
        request.ask_for_trail();
        let wish = match request {
            Request::FindNode { .. } => AskedFor::Nearer,
            request if request.sought().is_some() => AskedFor::Block,
            request if request.is_routed() => AskedFor::Owner,
            _ => AskedFor::Proof,
        };
        let distance = to.id.map(|id| bits(&self.kind.distance(&id, &of.key)));
        let named_by = of.named.get(&to.addr).copied();
        let before = named_by.map_or(Some(of.distance), |at| of.asked[at].distance);
        let gained = before.zip(distance).map(|(before, distance)| before as i16 - distance as i16);
        self.open.insert(tag, (step.lookup, of.asked.len()));
        of.asked.push(AskedQuestion {
            id: to.id,
            addr: to.addr,
            request: wish,
            reason: step.reason,
            distance,
            gained,
            named_by,
            after: of.at_hand(now),
            begun: now.since(of.since),
            late: None,
            doubted: None,
            took: None,
            sent: 1,
            waited: None,
            outcome: QuestionOutcome::Open,
            trail: Vec::new(),
        });
    }

    /// Something came of a question.
    pub(super) fn on(&mut self, now: Time, came: &RequestOutcome) {
        if self.open.is_empty() {
            return;
        }
        let (RequestOutcome::Answer { tag, sent, .. }
        | RequestOutcome::Late { tag, sent, .. }
        | RequestOutcome::NoAnswer { tag, sent, .. }) = came
        else {
            return;
        };
        let Some(&(lookup, at)) = self.open.get(tag) else { return };
        let Some(of) = self.lookups.get_mut(&lookup) else { return };
        of.last = Some((now, at));
        let question = &mut of.asked[at];
        let span = now.since(of.since).saturating_sub(question.begun);
        question.sent = *sent;
        question.outcome = match came {
            RequestOutcome::Late { late: Late::Doubtful, .. } => return question.doubted = Some(span),
            // Of a question that goes from peer to peer it is told each time.
            RequestOutcome::Late { .. } => return question.late = question.late.or(Some(span)),
            RequestOutcome::Answer { response, .. } => {
                question.trail = response.trail().to_vec();
                let before = of.named.len();
                for peer in response.named() {
                    of.named.entry(peer.addr).or_insert(at);
                }
                let new = of.named.len() - before;
                outcome(question.request, response, new)
            }
            RequestOutcome::NoAnswer { refused: Some(reason), .. } => {
                QuestionOutcome::Refused { reason: reason.clone() }
            }
            _ => QuestionOutcome::Silent,
        };
        question.took = Some(span);
        self.open.remove(tag);
    }
}

/// What an answer to such a question means; so many peers of those that it names were `new`.
fn outcome(request: AskedFor, response: &Response, new: usize) -> QuestionOutcome {
    match response {
        Response::Nodes(peers) => QuestionOutcome::Named { peers: peers.len(), new },
        response if request == AskedFor::Block && response.is_from_holder() => QuestionOutcome::Holds,
        response if response.is_from_owner() => QuestionOutcome::Owned,
        response if let Some(reason) = response.refusal() => QuestionOutcome::Refused { reason: reason.to_owned() },
        _ => QuestionOutcome::Known,
    }
}

/// Bits that it takes to write a distance.
fn bits(distance: &Id) -> u16 {
    (ID_BITS - distance.leading_zeros()) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overlay::AskReason;

    #[test]
    fn a_peer_that_refused_is_not_called_silent() {
        let mut explained = Explanations::default();
        let (key, to) = (Id::of(b"key"), Target { id: None, addr: ([10, 0, 0, 1], 7000).into() });
        explained.begin(Time::ZERO, 1, key, (Id::ZERO, OverlayKind::Kademlia));
        for (tag, refused) in [(1, Some("busy".to_owned())), (2, None)] {
            let step = LookupStep { lookup: 1, reason: AskReason::Nearest };
            explained.on_ask(Time::ZERO, step, tag, &to, &mut Request::FindNode { id: key });
            explained.on(Time::ZERO, &RequestOutcome::NoAnswer { tag, sent: 1, to, refused });
        }
        let became: Vec<QuestionOutcome> = explained.end(Time::ZERO, 1).into_iter().map(|one| one.outcome).collect();
        assert_eq!(became, [QuestionOutcome::Refused { reason: "busy".to_owned() }, QuestionOutcome::Silent]);
    }

    #[test]
    fn a_lookup_that_ends_on_the_ring_without_an_owner_was_refused_and_a_member_that_has_the_block_holds_it() {
        use crate::wire::ring::{RingKind, RingResponse};
        let refused = RingResponse::Refused { of: RingKind::Lookup, reason: "no way".to_owned() };
        let refused = outcome(AskedFor::Owner, &Response::Ring(refused), 0);
        assert_eq!(refused, QuestionOutcome::Refused { reason: "no way".to_owned() });
        let peer = crate::peer::Peer::new(Id::ZERO, ([10, 0, 0, 1], 7000).into());
        let has = |has| outcome(AskedFor::Block, &Response::Ring(RingResponse::Has { peer, has }), 0);
        assert_eq!([true, false].map(has), [QuestionOutcome::Holds, QuestionOutcome::Known]);
    }
}
