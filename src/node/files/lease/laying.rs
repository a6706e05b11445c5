//! `copies`: another lease is laid on the blocks of files. Each is offered with it to those nearest that have it. Where
//! none of them has it, a peer that has it is looked for: other holders hear of the lease from there.
//!
//! In the stead of a peer that hesitates, is silent or takes nothing the next nearest is asked. Where another peer
//! keeps the lease, one that is silent or takes nothing is not waited for.

use std::collections::btree_map::Entry as BTreeEntry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use super::walk::{Walk, WalkItem, Walked};
use crate::config::HEDGE_MIN;
use crate::id::Key;
use crate::lease::Lease;
use crate::node::command::{Command, CommandId};
use crate::node::desk::Desk;
use crate::node::files::task::{Task, Tasks};
use crate::node::files::{Flow, GOES_ON, OVER};
use crate::node::job::{Outcome, Urgency};
use crate::node::notice::{Answer, FailureKind};
use crate::node::refusal::Refusal;
use crate::node::ticket::{About, News, PartId, Reply, Ticket};
use crate::overlay::Found;
use crate::peer::Peer;
use crate::time::Time;

/// The commands under way.
pub(in crate::node) type Lays = Tasks<Laying>;

/// A command under way.
pub(in crate::node) struct Laying {
    command: CommandId,
    since: Time,
    lease: Lease,
    walk: Walk,
    blocks: BTreeMap<Key, Block>,
    /// Those that none of the nearest has: others are looked for.
    doubtful: BTreeMap<Key, Block>,
    /// Peers that keep the lease.
    heard: BTreeSet<SocketAddr>,
    copies: u64,
    missing: u64,
}

/// A block that the lease is laid on.
struct Block {
    size: u32,
    /// Peers that may have it, nearest first.
    left: VecDeque<Peer>,
    /// Those that were asked and have not answered.
    open: Vec<LeaseOffer>,
    laid: usize,
    /// None of the nearest has it, and another one does.
    was_doubtful: bool,
}

/// A peer that was asked to keep a block, and has not answered.
struct LeaseOffer {
    peer: Peer,
    since: Time,
    standing: OfferStanding,
}

/// How a peer keeps us waiting.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum OfferStanding {
    /// It occupies a place.
    Waits,
    /// Another is asked in its stead, and it is waited for.
    Replaced,
    /// The same, and it is not waited for where another peer keeps the lease.
    PassedOver,
}

impl Task for Laying {
    fn begin(desk: &mut Desk, id: CommandId, command: Command) -> Option<Self> {
        let Command::Lay { keys, lease } = command else { return None };
        let mut laying = Self::new(desk.now(), id, &keys, lease);
        laying.go_on(desk).is_continue().then_some(laying)
    }

    fn command(&self) -> CommandId {
        self.command
    }

    fn on(&mut self, desk: &mut Desk, about: About, reply: Reply) -> Flow {
        match about {
            About::Item(number) => {
                let walked = self.walk.on(desk, number, reply);
                self.on_walked(desk, number, walked);
            }
            About::Around(number) => {
                let walked = self.walk.on_around(desk, number, reply);
                self.on_walked(desk, number, walked);
            }
            About::Block(key) => match reply {
                Reply::LateProof(by) => self.do_without(desk, OfferStanding::Replaced, |_, asked| asked.peer == by),
                reply => self.on_asked(desk, key, &reply),
            },
            About::Whole | About::AroundBlock(_) => {}
        }
        self.go_on(desk)
    }

    fn on_news(&mut self, desk: &mut Desk, news: News<'_>) -> Flow {
        let (addr, standing) = match news {
            News::Hesitates(addr) => (addr, OfferStanding::Replaced),
            News::Doubtful(addr) | News::Stalls(addr) => (addr, OfferStanding::PassedOver),
            _ => return GOES_ON,
        };
        self.do_without(desk, standing, |_, asked| asked.peer.addr == addr);
        self.go_on(desk)
    }

    fn on_tick(&mut self, desk: &mut Desk) -> Flow {
        self.walk.on_tick(desk);
        let is_due = |desk: &Desk, asked: &LeaseOffer| asked.late_at(desk).is_some_and(|due| due <= desk.now());
        self.do_without(desk, OfferStanding::PassedOver, is_due);
        self.go_on(desk)
    }

    fn next_wake(&self, desk: &Desk) -> Option<Time> {
        let asked = self.blocks.values().flat_map(|block| &block.open);
        asked.filter_map(|asked| asked.late_at(desk)).chain(self.walk.next_wake()).min()
    }

    fn end(&mut self, desk: &mut Desk, kind: FailureKind, reason: &str) -> Flow {
        self.walk.end(desk);
        desk.drop_work(PartId::Lays, self.command);
        desk.fail(self.command, kind, format!("{reason} before all holders had heard of it; give it again"));
        OVER
    }
}

impl LeaseOffer {
    /// When it is passed over, where it is known already that it takes nothing: then no word of that comes.
    fn late_at(&self, desk: &Desk) -> Option<Time> {
        let stalls = self.standing != OfferStanding::PassedOver && desk.stalls(&self.peer.addr);
        stalls.then(|| self.since + HEDGE_MIN)
    }
}

impl Block {
    /// Peers that occupy a place.
    fn places(&self) -> usize {
        self.open.iter().filter(|asked| asked.standing == OfferStanding::Waits).count()
    }

    /// Whether it is waited for those who were asked.
    fn waits(&self, wanted: usize) -> bool {
        let is_waited_for = |asked: &LeaseOffer| self.laid == 0 || asked.standing != OfferStanding::PassedOver;
        self.laid < wanted && self.open.iter().any(is_waited_for)
    }
}

impl Laying {
    fn new(since: Time, command: CommandId, keys: &[Key], lease: Lease) -> Self {
        let queue = keys.iter().map(|key| WalkItem::new(0, (*key, 0), true)).collect();
        let walk = Walk::new(PartId::Lays, command, queue);
        let (blocks, doubtful, heard) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Self { command, since, lease, walk, blocks, doubtful, heard, copies: 0, missing: 0 }
    }

    fn on_walked(&mut self, desk: &mut Desk, number: u64, walked: Walked) {
        match walked {
            Walked::At { key, size, found, .. } => {
                self.on_found(desk, (key, size), found);
                self.walk.read(desk, number);
            }
            Walked::Held { key, by, .. } => {
                let block = self.doubtful.remove(&key).map(|block| Block { left: [by].into(), ..block });
                self.blocks.extend(block.map(|block| (key, block)));
                self.lay_on(desk, key);
            }
            Walked::Missing { key } => self.missing += u64::from(self.doubtful.remove(&key).is_some()),
            Walked::Nothing => {}
        }
    }

    /// The peers that should hold a block are known.
    fn on_found(&mut self, desk: &mut Desk, (key, size): (Key, u32), found: Found) {
        if let BTreeEntry::Vacant(place) = self.blocks.entry(key) {
            let size = desk.wanted_size(&key).unwrap_or(size);
            place.insert(Block { size, left: found.peers.into(), open: Vec::new(), laid: 0, was_doubtful: false });
            self.lay_on(desk, key);
        }
    }

    /// A peer was asked to keep a block on behalf of the lease, and has answered.
    fn on_asked(&mut self, desk: &mut Desk, key: Key, reply: &Reply) {
        let Some(block) = self.blocks.get_mut(&key) else { return };
        let (peer, laid, heard) = match reply {
            // A peer that cannot be connected to keeps the lease too, and its copy does not count.
            Reply::OfferEnded { to, result } => (*to, result.is_ok(), matches!(result, Ok(_) | Err(Refusal::Shut))),
            Reply::Done { outcome: Outcome::Sound { .. }, .. } => (desk.me(), true, true),
            Reply::Done { .. } => (desk.me(), false, false),
            _ => return,
        };
        let is_it = |asked: &LeaseOffer| asked.peer == peer || desk.is_me(&peer) && desk.is_me(&asked.peer);
        let Some(at) = block.open.iter().position(is_it) else { return };
        block.open.swap_remove(at);
        block.laid += usize::from(laid);
        if heard {
            self.heard.insert(peer.addr);
        }
        self.lay_on(desk, key);
    }

    /// Others are asked in the stead of those asked of which `is_late` is true.
    fn do_without(&mut self, desk: &mut Desk, standing: OfferStanding, is_late: impl Fn(&Desk, &LeaseOffer) -> bool) {
        let mut keys = BTreeSet::new();
        for (key, block) in &mut self.blocks {
            // What hesitates may have much to do: as long as nobody has answered, so may all.
            let passes = standing == OfferStanding::PassedOver || block.laid > 0;
            for asked in block.open.iter_mut().filter(|asked| passes && asked.standing < standing) {
                if is_late(desk, asked) {
                    asked.standing = standing;
                    keys.insert(*key);
                }
            }
        }
        keys.into_iter().for_each(|key| self.lay_on(desk, key));
    }

    /// Asks as many peers as are wanted to keep a block on behalf of the lease.
    fn lay_on(&mut self, desk: &mut Desk, key: Key) {
        let (lease, Some(block)) = (self.lease, self.blocks.get_mut(&key)) else { return };
        let ticket = Ticket { owner: PartId::Lays, number: self.command, about: About::Block(key) };
        let wanted = desk.copies_for(&lease);
        while block.laid + block.places() < wanted
            && let Some(peer) = block.left.pop_front()
        {
            if !desk.is_me(&peer) {
                // A peer that has the block looks at it and asks for no bytes.
                desk.lay(ticket, Urgency::Own, (key, block.size), lease, peer);
            } else if desk.holds(&key) {
                desk.look_at(ticket, Urgency::Own, key, (&[lease], None));
            } else {
                continue;
            }
            block.open.push(LeaseOffer { peer, since: desk.now(), standing: OfferStanding::Waits });
        }
        if block.waits(wanted) {
            return;
        }
        desk.drop_offers(|other| *other == ticket);
        let Some(block) = self.blocks.remove(&key) else { return };
        self.copies += block.laid as u64;
        if block.laid == 0 && !block.was_doubtful {
            self.doubtful.insert(key, Block { was_doubtful: true, ..block });
            return self.walk.doubt(std::iter::once((key, 0)));
        }
        self.missing += u64::from(block.laid == 0);
    }

    /// Goes on with the walk; answers when nothing is left.
    fn go_on(&mut self, desk: &mut Desk) -> Flow {
        self.walk.go_on(desk, self.blocks.len());
        if !self.walk.rests() || !self.blocks.is_empty() {
            return GOES_ON;
        }
        let &mut Self { copies, missing, since, .. } = self;
        let (peers, unread, took) = (self.heard.len(), self.walk.unread, desk.now().since(since));
        let silent = Vec::new();
        desk.answer(self.command, Answer::Leased { copies, free: 0, peers, silent, unread, missing, took });
        OVER
    }
}
