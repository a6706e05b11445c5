//! What a lookup asked, for the one who wants to know: whom, when, and what became of each question.
//!
//! The questions of a lookup pass through the node under the overlay's tags, so it can write them down without the overlay's
//! help. Where nobody wants an explanation that costs one look at an empty map.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::exchange::Delivery;
use crate::id::{Id, Key};
use crate::overlay::{LookupId, Tag, Target};
use crate::time::Time;
use crate::wire::{Request, Response};

/// A question that a lookup asked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Asked {
    /// The id of the peer that was asked, if it was known.
    pub id: Option<Id>,
    /// Its address.
    pub addr: SocketAddr,
    /// What it was asked.
    pub request: Wish,
    /// Leading bits that its id has in common with the key.
    pub bits: Option<u32>,
    /// When it was asked, from the beginning of the lookup on.
    pub begun: Duration,
    /// How long after that its answer was late, so that another was asked in its place.
    pub late: Option<Duration>,
    /// How long after that it was doubted, so that nobody waited for it.
    pub doubted: Option<Duration>,
    /// How long after that it was over.
    pub took: Option<Duration>,
    /// What became of it.
    pub outcome: Outcome,
}

/// What a question asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wish {
    /// Who is nearer?
    Nearer,
    /// Do you hold it, or who is nearer?
    Block,
    /// Who are you?
    Proof,
    /// Please pass on: who is responsible for it?
    Owner,
}

/// What became of a question.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The lookup was over before it was answered.
    Open,
    /// The answer named so many peers, so many of them for the first time in this lookup.
    Named {
        /// All of them.
        peers: usize,
        /// Those that were new.
        new: usize,
    },
    /// It holds the block.
    Holds,
    /// It said who it is.
    Known,
    /// The owner answered.
    Owned,
    /// No answer.
    Silent,
}

#[derive(Default)]
struct Explanation {
    key: Key,
    since: Time,
    asked: Vec<Asked>,
    met: Vec<SocketAddr>,
}

/// The lookups that are explained.
#[derive(Default)]
pub(super) struct Explanations {
    lookups: BTreeMap<LookupId, Explanation>,
    /// The questions that are open: their lookup, and which of its questions it is.
    open: BTreeMap<Tag, (LookupId, usize)>,
}

impl Explanations {
    /// The questions of this lookup are written down.
    pub(super) fn begin(&mut self, now: Time, lookup: LookupId, key: Key) {
        self.lookups.insert(lookup, Explanation { key, since: now, ..Explanation::default() });
    }

    /// The lookup is over: its questions.
    pub(super) fn end(&mut self, lookup: LookupId) -> Vec<Asked> {
        self.open.retain(|_, (of, _)| *of != lookup);
        self.lookups.remove(&lookup).map_or(Vec::new(), |explanation| explanation.asked)
    }

    /// A question goes out.
    pub(super) fn on_ask(&mut self, now: Time, lookup: LookupId, tag: Tag, to: &Target, request: &Request) {
        let Some(Explanation { key, since, asked, met }) = self.lookups.get_mut(&lookup) else { return };
        let request = match request {
            Request::FindNode { .. } => Wish::Nearer,
            Request::FindValue { .. } => Wish::Block,
            Request::Ring(_) => Wish::Owner,
            _ => Wish::Proof,
        };
        let bits = to.id.map(|id| id.distance(key).leading_zeros() as u32);
        let (late, doubted, took, outcome) = (None, None, None, Outcome::Open);
        let (id, addr, begun) = (to.id, to.addr, now.since(*since));
        self.open.insert(tag, (lookup, asked.len()));
        asked.push(Asked { id, addr, request, bits, begun, late, doubted, took, outcome });
        met.push(addr);
    }

    /// Something came of a question.
    pub(super) fn on(&mut self, now: Time, delivery: &Delivery) {
        if self.open.is_empty() {
            return;
        }
        let (Delivery::Answer { tag, .. } | Delivery::Late { tag, .. } | Delivery::NoAnswer { tag, .. }) = delivery
        else {
            return;
        };
        let Some(&(lookup, at)) = self.open.get(tag) else { return };
        let Some(Explanation { since, asked, met, .. }) = self.lookups.get_mut(&lookup) else { return };
        let Some(question) = asked.get_mut(at) else { return };
        let span = now.since(*since).saturating_sub(question.begun);
        question.outcome = match delivery {
            Delivery::Late { doubtful: true, .. } => return question.doubted = Some(span),
            Delivery::Late { .. } => return question.late = Some(span),
            Delivery::Answer { response: Response::Nodes(peers), .. } => {
                let before = met.len();
                for peer in peers {
                    if !met.contains(&peer.addr) {
                        met.push(peer.addr);
                    }
                }
                Outcome::Named { peers: peers.len(), new: met.len() - before }
            }
            Delivery::Answer { response: Response::Node(_) | Response::Holder { .. }, .. }
                if question.request == Wish::Block =>
            {
                Outcome::Holds
            }
            Delivery::Answer { response: Response::Ring(_), .. } => Outcome::Owned,
            Delivery::Answer { .. } => Outcome::Known,
            _ => Outcome::Silent,
        };
        question.took = Some(span);
        self.open.remove(tag);
    }
}
