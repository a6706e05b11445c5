//! What a lookup asked, as it is told to the one who wants an explanation.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::Id;
use crate::overlay::AskReason;
use crate::peer::Peer;

/// A question that a lookup asked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AskedQuestion {
    /// The id of the peer that was asked, if it was known.
    pub id: Option<Id>,
    /// Its address.
    pub addr: SocketAddr,
    /// What it was asked.
    pub request: AskedFor,
    /// Why it was asked then.
    pub reason: AskReason,
    /// Bits of the distance from its id to the key, which is below 2 to this power.
    pub distance: Option<u16>,
    /// By so many bits it is nearer than the peer that named it, or than this one if it was known here.
    pub gained: Option<i16>,
    /// The question, by its place among all, whose answer named the peer first; none if it was known here.
    pub named_by: Option<usize>,
    /// The question that was answered, late or given up when this one was asked.
    pub after: Option<usize>,
    /// When it was asked, from the beginning of the lookup on.
    pub begun: Duration,
    /// How long after that its answer was late, so that another was asked in its place.
    pub late: Option<Duration>,
    /// How long after that it was doubted, so that it was not waited for any more.
    pub doubted: Option<Duration>,
    /// How long after that it was over.
    pub took: Option<Duration>,
    /// Messages that it took, as far as something came of them.
    pub sent: u8,
    /// How much of the lookup's time went by until something came of this question, of which the next step followed.
    /// All such times are the lookup's, but for what else it waited for.
    pub waited: Option<Duration>,
    /// What became of it.
    pub outcome: QuestionOutcome,
    /// The peers that passed it on, as they say; older ones do not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trail: Vec<Peer>,
}

/// What a question asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AskedFor {
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
pub enum QuestionOutcome {
    /// The lookup was over before it was answered.
    Open,
    /// The answer named so many peers, so many of them for the first time in this lookup.
    Named {
        /// How many it named in all.
        peers: usize,
        /// How many of them were new.
        new: usize,
    },
    /// It holds the block.
    Holds,
    /// It said who it is.
    Known,
    /// The owner answered.
    Owned,
    /// It refused.
    Refused {
        /// Why, as it says.
        reason: String,
    },
    /// No answer came in time.
    Silent,
}
