//! What only the ring does: requests about files by their names travel to the peer responsible for them.
//!
//! The classroom above the node uses it. The seam carries [`RingEffect`]s. The node takes a `RouteEnded` to the part
//! that asked, and tells all parts of every other one; the part for named files acts on an `Arrived`.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::overlay::{Effect, LookupId};
use crate::peer::Peer;
use crate::time::Time;
use crate::wire::ring::{RingResponse, Routed};

/// An overlay that sends requests on their way to the peer responsible for them.
pub trait Router {
    /// Sends `what` on its way; [`RingEffect::RouteEnded`] follows under the name `lookup`.
    fn route(&mut self, now: Time, lookup: LookupId, what: Routed, out: &mut Vec<Effect>);

    /// Whether this peer has heard of all that are to stand in its list of successors.
    fn knows_its_successors(&self) -> bool;

    /// Whether a neighbour has to hear the goodbye before this peer ends: found dead, it would be told of in other
    /// words.
    fn must_be_heard_leaving(&self) -> bool;

    /// Whether this peer's requests say that their answers may come by datagram. In a classroom they do not: its users
    /// compare the lines, and count the messages, with those of the assignment.
    fn says_that_it_reads_datagrams(&self) -> bool;
}

/// What only the ring wants done, or found out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RingEffect {
    /// A request about a file by its name has reached the peer responsible for it: this one. The classroom answers
    /// `origin` under `magic`.
    Arrived {
        /// The peer that asked first.
        origin: Peer,
        /// The magic of the request.
        magic: u64,
        /// What is asked.
        what: Routed,
    },
    /// A request that was started with [`Router::route`] is over. It ends exactly once.
    RouteEnded {
        /// The name under which it was started.
        lookup: LookupId,
        /// How it ended.
        outcome: RouteOutcome,
    },
    /// This peer or its first successor let that one in. It may have been there before, and have been started anew
    /// since it said what it has.
    Entered(Peer),
    /// Something worth telling the user of a ring.
    Notice(RouteNotice),
}

/// How a routed request ended.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(clippy::large_enum_variant, reason = "few of them are ever there at once, and each is moved once")]
pub enum RouteOutcome {
    /// This peer is responsible itself: nothing was sent.
    Here,
    /// The responsible peer answered.
    Answered {
        /// The address that answered.
        from: SocketAddr,
        /// The peer there, if its answer names it.
        by: Option<Peer>,
        /// Its answer.
        response: RingResponse,
    },
    /// No way led to an answer.
    Lost,
}

/// What a ring tells its user; the classroom's lines are made of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum RouteNotice {
    /// The pings of an interval went out.
    PingsSent {
        /// The successors that were pinged.
        to: Vec<Peer>,
    },
    /// A ping came that its sender's interval asked for.
    PingReceived {
        /// The peer that pinged.
        from: Peer,
    },
    /// Such a ping of ours was answered.
    PingAnswered {
        /// The peer that answered.
        by: Peer,
    },
    /// Something on its way to the peer responsible for it was sent on.
    Forwarded {
        /// What is asked.
        what: Routed,
        /// The peer that asked first; this one where it asks itself.
        origin: Peer,
        /// The peer that gets it next.
        to: Peer,
    },
    /// This peer's successors are other ones now, or were confirmed by the event that `why` names.
    Successors {
        /// The event.
        why: SuccessorChange,
        /// All successors, nearest first.
        successors: Vec<Peer>,
    },
    /// This peer's predecessors are other ones now.
    Predecessors {
        /// All predecessors, nearest first.
        predecessors: Vec<Peer>,
    },
    /// This peer was not let into the ring. It tries again.
    JoinRefused {
        /// The reason, for people.
        reason: String,
    },
}

/// Why successors changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum SuccessorChange {
    /// The user named them at the start.
    Given,
    /// This peer was let into the ring.
    Welcomed,
    /// This peer let another one in, as its own first successor.
    Joined {
        /// The peer that was let in.
        peer: Peer,
    },
    /// The first successor told that it has let another peer in.
    Told {
        /// The successor that told.
        by: Peer,
    },
    /// The first or second successor said goodbye.
    Left {
        /// The successor that left.
        peer: Peer,
    },
    /// The first or second successor was found dead.
    Died {
        /// The dead one.
        peer: Peer,
    },
    /// One of the first two that was called dead is there again, and did not join anew: it had been stopped, or out of
    /// reach. In the classroom alone.
    Returned {
        /// The peer that lives.
        peer: Peer,
    },
    /// Anything else: stabilisation found a nearer one, or one further away changed.
    Stabilized,
}
