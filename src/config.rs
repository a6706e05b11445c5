//! The constants that several rooms share, each with its unit and its source, and the knobs a user can turn. How long
//! each kind of request is repeated stands in [`patience`](crate::patience).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::network::NetworkName;

/// Bytes of the largest block (the seed's chunk, 1 MiB).
pub const MAX_BLOCK_SIZE: u32 = 1 << 20;

/// Peers that keep each block (the seed's number).
pub const REPLICAS: usize = 7;

/// Peers in the answer to `find_node` and in the result of a lookup (the seed's number).
pub const WIDTH: usize = 7;

/// A search for more holders goes on until so many have answered: liars may stand nearest to a key.
pub const WIDER: usize = 3 * WIDTH;

/// Bytes that an address gets for each byte it sent, while it has not shown that it receives (RFC 9000, section 8).
pub const AMPLIFICATION: usize = 3;

/// Bytes that a ping of ours takes at most: one such goes to a stranger, beside the answer to its request or in it.
pub const PING_BYTES: usize = 256;

/// Bytes that a ping takes at most on the ring, where it names two peers and lists others: see [`PING_BYTES`].
pub const RING_PING_BYTES: usize = 330;

/// Bytes of a question for peers: it gets spaces at its end up to here, so that a peer that does not know us yet may
/// answer it whole, WIDTH nodes of the longest addresses and a ping beside them, within [`AMPLIFICATION`].
pub const QUESTION_BYTES: usize = 480;

/// Bytes of a question for peers among peers with IPv4 addresses, which are shorter: see [`QUESTION_BYTES`].
pub const QUESTION_BYTES_IPV4: usize = 414;

/// The same of a peer that reads an answer in few bytes, in which a ping of ours goes too.
pub const BRIEF_QUESTION_BYTES: usize = 330;

/// The same among peers with IPv4 addresses.
pub const BRIEF_QUESTION_BYTES_IPV4: usize = 270;

/// Spaces that a long datagram may get at its end, so that several can leave as one (see `runtime/udp/batched.rs`).
pub const PADDING: usize = 32;

/// Bytes of the shortest datagram that may get such spaces: more than a stranger is told by any usual request.
pub const PADDED_MIN: usize = 640;

/// Of so many bytes that a stranger may get, those that it is told: a long datagram may get [`PADDING`] besides.
pub const fn told_within(bytes: usize) -> usize {
    if bytes < PADDED_MIN { bytes } else { bytes - PADDING }
}

/// After the peers known have changed, they are written to disk this much later.
pub const SAVE_PEERS_DELAY: Duration = Duration::from_secs(5);

/// Peers known are written to disk this much later where there are twice as many as on disk: a peer that loses power
/// soon after it joined is not to come back alone.
pub const SAVE_FIRST_PEERS_DELAY: Duration = Duration::from_millis(200);

/// Jobs that a node has out with the transfer workers at a time; the rest wait in its own queue.
pub const MAX_JOBS: usize = 16;

/// Overdue answers are asked for again after this long while nothing is known of the network (RFC 6298 says 1 s, made
/// for streams; here a request is one datagram, may come twice, and a lookup waits for it).
pub const FIRST_TIMEOUT: Duration = Duration::from_millis(250);

/// The least time after which an answer is asked for again: a busy machine may take this long to schedule a thread.
pub const MIN_TIMEOUT: Duration = Duration::from_millis(25);

/// The most time an answer is waited for before the request is sent again.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection that has not come about after this long is late: what is to go over it may go another way as well.
pub const LATE_CONNECTION: Duration = FIRST_TIMEOUT;

/// A connection for lines of the ring ends after so long without any, before the other side closes it. While peers come
/// and go, each finger is renewed sooner in a ring of up to some 2,000: so most lookups find their way open.
pub const LINK_IDLE: Duration = Duration::from_secs(30);

/// The system gives up a connection for lines once the other side has left what was sent unconfirmed for so long.
pub const LINK_UNCONFIRMED: Duration = Duration::from_secs(5);

/// A connection that was opened to answer a peer makes room sooner.
pub const LINK_IDLE_ANSWERING: Duration = Duration::from_secs(2);

/// Addresses whose round trip is remembered.
pub const RTT_MEMORY: usize = 4096;

/// Addresses that are remembered to have shown that they receive.
pub const VALIDATED_MEMORY: usize = 16 * 1024;

/// An address has shown that it receives for this long, counted from the last answer that came from there: by then
/// another may have it, and until then what others say in its name brings it more than they spend.
pub const VALIDATED_FOR: Duration = Duration::from_secs(300);

/// Blocks and hosts to which they were sent that are remembered, until the host says that it has saved the block.
pub const DELIVERED_MEMORY: usize = 4096;

/// Blocks that are being pulled on behalf of others, or wait for their turn; a further offer takes the place of another
/// host's, or is refused as busy.
pub const MAX_PULLS: usize = 1024;

/// After a peer came or went, the blocks it concerns are checked after this long, so that one wave of news is one
/// check. No longer: until it is over the blocks of the dead have a copy less.
pub const REPAIR_DELAY: Duration = Duration::from_millis(300);

/// All blocks held are read and hashed once in this time, unless the user chooses another: disks are replaced for less
/// than one unreadable block a week.
pub const SCRUB: Duration = Duration::from_secs(7 * 24 * 3600);

/// Every block held is checked this often even if nothing seems to have happened (Kademlia, section 2.5: hourly).
pub const REPUBLISH_INTERVAL: Duration = Duration::from_secs(3600);

/// A check that could not fill its replica set is tried again after this long.
pub const REPAIR_RETRY: Duration = Duration::from_secs(10);

/// Messages that upkeep sends a second at most to keep replica sets full: comparisons and offers.
pub const UPKEEP_MESSAGES: u32 = 4_000;

/// KiB of blocks that upkeep offers a second at most.
pub const UPKEEP_KIB: u32 = 64 * 1024;

/// Blocks that are looked at one by one at a time: damaged ones, and strays.
pub const MAX_REPAIRS: usize = 32;

/// What the README promises: replica sets are full again this long after a peer died, left or joined, beside the time
/// that the blocks concerned take at half the rate of storing, as long as each has a living holder and messages get
/// through. It covers noticing a death (about 10 s), [`REPAIR_DELAY`], comparing, and a second look at what others were
/// to give.
pub const REPAIR_BOUND: Duration = Duration::from_secs(20);

/// Peers that keep each named file of the classroom ring: the responsible one and its first successors. Three, so that
/// two neighbours may be killed at once.
pub const FILE_COPIES: usize = 3;

/// After peers came or went, named files are looked through this much later, so that one wave of news is one look.
pub const FILE_SETTLE: Duration = Duration::from_millis(200);

/// The working directory is looked through this often even if nothing seems to have happened: users put files there.
pub const FILE_RESCAN: Duration = Duration::from_secs(15);

/// A fetch that takes this many times the usual is joined by one from another holder.
pub const HEDGE_FACTOR: u32 = 3;

/// A block of so many bytes may take its time as long as it comes.
pub const FLOWS_FROM: u32 = 64 * 1024;

/// Bytes that show that a block comes.
pub const FLOW: usize = 4 * 1024;

/// A peer that sends fewer than [`FLOW`] bytes of a block in this time keeps us waiting, as does one that sends none.
/// At this rate, 4 KiB a second, a block has to come in the end too: what a slow way carries is shared by several.
pub const FLOW_LASTS: Duration = Duration::from_secs(1);

/// No fetch is hedged before it took this long.
pub const HEDGE_MIN: Duration = Duration::from_millis(500);

/// A block that no lease keeps any more stays for so long: a lease that is renewed late finds it.
pub const GRACE: Duration = Duration::from_secs(3600);

/// A second Ctrl-C within this time ends the peer; the first ends only what is under way.
pub const INTERRUPT_WINDOW: Duration = Duration::from_secs(2);

/// A peer that leaves waits this long for others to take over its blocks, unless its user chose otherwise.
pub const HANDOVER_LIMIT: Duration = Duration::from_secs(20);

/// What a user can choose about how a node behaves.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Config {
    /// Copies of each block that the network keeps, at most [`WIDTH`]. None counts as one.
    pub replicas: usize,
    /// Copies of each block without which a `store` has failed. None counts as one.
    pub quorum: usize,
    /// A client that came for one command: never in a routing table, never a holder.
    pub guest: bool,
    /// Blocks of a file that are on their way at once, for each file stored or retrieved. None counts as one.
    pub window: usize,
    /// How long the node waits for other peers to take over its blocks when it leaves.
    pub handover_limit: Duration,
    /// Whether this peer keeps files by their names, as the classroom ring does.
    pub named_files: bool,
    /// Whether the blocks held here stay on disk when the peer ends. Those in a temporary folder go with it.
    pub lasting: bool,
    /// Bytes of the disk that blocks take here at most; without a number, as many as there is room for. A live peer
    /// begins with half of that.
    #[serde(default)]
    pub capacity: Option<u64>,
    /// In this time each block held here is read and hashed once; without one, none is.
    #[serde(default)]
    pub scrub: Option<Duration>,
    /// Whether peers of loopback and private addresses are limited by their network too, as all others are.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strict_addresses: bool,
    /// Whether the peers to join through have names, which may lead elsewhere later: see
    /// [`Job::Resolve`](crate::node::job::Job::Resolve). A live peer sets it itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resolves: bool,
    /// How long a block stays that no lease keeps any more.
    #[serde(default = "grace")]
    pub grace: Duration,
    /// Peers are on disk so long after a newcomer met them first. In a record of an older program they were no sooner
    /// than [any later](SAVE_PEERS_DELAY).
    #[serde(default = "save_peers_delay")]
    pub save_first: Duration,
    /// Of which network this peer is: with peers of another one it has nothing to do.
    #[serde(default, skip_serializing_if = "NetworkName::is_usual")]
    pub network: NetworkName,
}

const fn grace() -> Duration {
    GRACE
}

const fn save_peers_delay() -> Duration {
    SAVE_PEERS_DELAY
}

impl Default for Config {
    fn default() -> Self {
        Self {
            replicas: REPLICAS,
            quorum: 1,
            guest: false,
            window: 16,
            handover_limit: HANDOVER_LIMIT,
            named_files: false,
            lasting: true,
            capacity: None,
            scrub: Some(SCRUB),
            strict_addresses: false,
            resolves: false,
            grace: GRACE,
            save_first: SAVE_FIRST_PEERS_DELAY,
            network: NetworkName::default(),
        }
    }
}
