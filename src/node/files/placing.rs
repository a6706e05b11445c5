//! A block on its way to its holders, and what is told of all blocks of a file in the end.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::id::{Id, Key};
use crate::node::command::CommandId;
use crate::node::desk::Desk;
use crate::node::notice::{Answer, FailureKind, Progress};
use crate::node::refusal::Refusal;
use crate::overlay::LookupId;
use crate::peer::Peer;

/// Why a file is not stored, as the user is told.
pub(super) type StoreFailure = (FailureKind, String);

/// Why a peer is passed over: no connection reaches it, it took nothing a moment ago, or takes nothing now.
const NOT_REACHED: &str = "it cannot be connected to";
pub(super) const TAKES_NOTHING: &str = "it takes nothing of what it is offered";
pub(super) const BEGINS_NOTHING: &str = "it does not begin to take the block";

/// What the answer will tell.
#[derive(Default)]
pub(super) struct StoreTally {
    pub(super) bytes: u64,
    /// Lists that name the file's blocks.
    pub(super) lists: u64,
    pub(super) copies: Vec<u64>,
    pub(super) wanted: usize,
    /// Blocks that the file was read in, those that repeat included.
    pub(super) read: u64,
    pub(super) unreached: usize,
    /// Why a block has fewer copies than it should, if one has.
    pub(super) lacking: Option<String>,
}

/// A block on its way to its holders.
#[derive(Default)]
pub(super) struct Placing {
    /// Bytes of the block.
    pub(super) size: u32,
    /// Bytes of the file that are stored with it: none for a manifest, several times `size` for a block that repeats.
    pub(super) bytes: u64,
    /// How often it occurs in the file, as far as it was read: blocks that repeat take one way.
    pub(super) times: u64,
    pub(super) lookup: Option<LookupId>,
    pub(super) candidates: VecDeque<Peer>,
    pub(super) wanted: usize,
    /// Peers that could keep it, as far as they answered.
    pub(super) found: usize,
    /// Peers that it was offered to, this one among them if it makes a copy, and that have yet to say what came of it.
    pub(super) out: BTreeSet<SocketAddr>,
    /// Such peers in whose stead others are offered the block. Any of them may still take it.
    pub(super) replaced: BTreeSet<SocketAddr>,
    /// Peers that it was offered to in this round.
    pub(super) tried: BTreeSet<SocketAddr>,
    pub(super) saved: usize,
    /// The address that this peer had when it began to make a copy itself, under which that is counted.
    pub(super) keeping: Option<SocketAddr>,
    /// What is believed to be here of it is being looked at.
    pub(super) looking: bool,
    /// Others were looked for in place of silent peers.
    pub(super) widened: bool,
    pub(super) second_round: bool,
    pub(super) trouble: Option<RefusedBy>,
}

/// A peer that keeps no copy, and why.
pub(super) struct RefusedBy {
    pub(super) by: String,
    pub(super) why: Refusal,
}

impl RefusedBy {
    /// This peer keeps none.
    pub(super) fn here(reason: String) -> Self {
        Self { by: "this peer".to_owned(), why: Refusal::Other(reason) }
    }

    /// With what can be done about it.
    fn explained(&self) -> String {
        self.why.advice().map_or_else(|| self.to_string(), |advice| format!("{self}; {advice}"))
    }
}

impl fmt::Display for RefusedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.by, self.why)
    }
}

/// The user hears that a peer gets no copy of a block, and why, unless no connection reaches it.
pub(super) fn tell_passed_over(
    desk: &mut Desk,
    (command, key): (CommandId, Key),
    (peer, addr): (impl fmt::Display, SocketAddr),
    why: &str,
) {
    let why = if desk.is_shut(&addr) { NOT_REACHED } else { why };
    let reason = format!("{peer}: {why}, and is passed over for a while");
    desk.progress(command, Progress::Retried { key, reason });
}

impl Placing {
    pub(super) fn new(size: u32, bytes: u64, lookup: LookupId) -> Self {
        Self { size, bytes, times: 1, lookup: Some(lookup), ..Self::default() }
    }

    /// Whether more copies are wanted than stand and are on their way.
    pub(super) fn lacks(&self) -> bool {
        self.saved + self.out.len() < self.wanted
    }

    /// Whether copies are wanted that may come of what is under way. A peer that stalls is waited for only where the
    /// others do not make up the quorum.
    pub(super) fn waits(&self, quorum: usize, stalls: impl Fn(&SocketAddr) -> bool) -> bool {
        let is_waited_for = |addr: &SocketAddr| self.saved < quorum || !stalls(addr);
        let under_way = self.lookup.is_some() || !self.out.is_empty() || self.replaced.iter().any(is_waited_for);
        self.saved < self.wanted && under_way
    }

    /// Whether all those that have it to take stall.
    pub(super) fn rests_on(&self, stalling: impl Fn(&SocketAddr) -> bool) -> bool {
        !self.out.is_empty() && self.out.iter().all(stalling)
    }

    /// Whether no peer took it, and none of all that were asked will: then to ask them once more is in vain.
    pub(super) fn is_hopeless(&self, stalls: impl Fn(&SocketAddr) -> bool) -> bool {
        self.saved == 0 && !self.tried.is_empty() && self.tried.iter().all(stalls)
    }

    /// Others may keep it too: those of them that were not offered it.
    pub(super) fn go_further(&mut self, known: Vec<Peer>) {
        for peer in known {
            if !self.tried.contains(&peer.addr) && !self.candidates.contains(&peer) {
                self.candidates.push_back(peer);
            }
        }
    }

    /// The peer at `addr` has said what came of an offer. Whether that was waited for.
    pub(super) fn end(&mut self, addr: &SocketAddr) -> bool {
        self.out.remove(addr) || self.replaced.remove(addr)
    }

    /// The peer to offer it to next. A peer that lives and takes nothing would keep every block waiting for the whole
    /// limit, so it is asked only if the others cannot make up the quorum.
    pub(super) fn next_candidate(&mut self, quorum: usize, stalls: impl Fn(&SocketAddr) -> bool) -> Option<Peer> {
        match self.candidates.iter().position(|peer| !stalls(&peer.addr)) {
            Some(at) => self.candidates.remove(at),
            None if !self.out.is_empty() || self.saved >= quorum => None,
            None => self.candidates.pop_front(),
        }
    }

    /// Why it has fewer copies than it should, as far as that is known.
    fn lacking(&self) -> Option<String> {
        let silent = self.replaced.iter().chain(&self.out).count();
        match &self.trouble {
            _ if self.saved >= self.wanted => None,
            Some(refused) => Some(refused.explained()),
            None if silent > 0 => {
                Some("others were offered it, and have not asked for it yet: can they connect to this peer?".to_owned())
            }
            None => self.passed_over().next().map(|peer| {
                format!(
                    "{peer} is one of those that should have it and took nothing a moment ago: can it connect to this \
                     peer, and this one to it?"
                )
            }),
        }
    }

    /// Peers that should have it and were not offered it, for they take nothing.
    pub(super) fn passed_over(&self) -> impl Iterator<Item = &Peer> {
        self.candidates.iter().take(self.wanted.saturating_sub(self.saved))
    }
}

impl StoreTally {
    /// The answer to the store of a file of so many bytes and this SHA-256; `listed` in a local manifest too.
    pub(super) fn answer(self, key: Key, (bytes, sha256): (u64, Id), listed: bool, took: Duration) -> Answer {
        let Self { lists, copies, wanted, read, unreached, lacking, .. } = self;
        let listed = listed.then_some(read);
        Answer::Stored { key, sha256, bytes, blocks: read, lists, copies, wanted, listed, unreached, lacking, took }
    }

    pub(super) fn add(&mut self, placing: &Placing) {
        self.bytes += placing.bytes;
        if self.copies.len() <= placing.saved {
            self.copies.resize(placing.saved + 1, 0);
        }
        self.copies[placing.saved] += placing.times;
        self.lacking = self.lacking.take().or_else(|| placing.lacking());
    }
}

pub(super) fn too_few(key: Key, placing: &Placing, quorum: usize, silent: usize) -> StoreFailure {
    let copies = if placing.saved == 1 { "copy" } else { "copies" };
    let cause = match (&placing.trouble, placing.found) {
        (Some(refused), _) => refused.to_string(),
        (None, 0) if silent > 0 => format!(
            "{silent} peers are known, and no answer of theirs arrives; those of a ring come over connections to this \
             machine, which a firewall, an address that is translated, or a lack of file descriptors here keeps out"
        ),
        (None, 0) => "there is no peer to keep it; is the network reachable?".to_owned(),
        (None, found) => format!("no more than {found} can keep it"),
    };
    let (key, saved) = (key.short(), placing.saved);
    let got = format!("block {key} got {saved} {copies} of the {quorum} that the quorum asks for ({cause})");
    if placing.trouble.as_ref().is_some_and(|refused| refused.why == Refusal::NotItsHash) {
        let reason =
            format!("{got}: the file was changed while it was stored; store it again when nobody writes to it");
        return (FailureKind::Integrity, reason);
    }
    let advice = match &placing.trouble {
        None if placing.found == 0 && silent > 0 => {
            Some("give the command to a running peer that others reach, with --data")
        }
        trouble => trouble.as_ref().and_then(|refused| refused.why.advice()),
    };
    let usual = if quorum > 1 { "start more peers, or lower --quorum" } else { "start more peers" };
    (FailureKind::TooFewCopies, format!("{got}; {}", advice.unwrap_or(usual)))
}
