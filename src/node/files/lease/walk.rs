//! A walk over the trees of files: who should hold each block is looked up, and each list is read for what it names.
//!
//! Others may hide those that hold a block. So peers [around](Around) its key are asked where those that should hold it
//! stand closer together than chance puts peers, and before it is told that a list cannot be had, or that no peer has a
//! block.

use std::collections::{BTreeMap, VecDeque};

use super::window::LookupWindow;
use crate::id::Key;
use crate::node::around::Around;
use crate::node::command::CommandId;
use crate::node::desk::Desk;
use crate::node::files::list_reading::{ListRead, ListReading};
use crate::node::job::{JobId, Outcome};
use crate::node::ticket::{About, PartId, Reply, Ticket};
use crate::overlay::{Found, Goal, LookupId};
use crate::peer::Peer;
use crate::time::Time;

/// A walk, of one command of this part.
pub(super) struct Walk {
    owner: PartId,
    command: CommandId,
    /// What is left to look up, the next one first.
    queue: VecDeque<WalkItem>,
    running: BTreeMap<u64, WalkItem>,
    window: LookupWindow,
    /// The last number given to anything of this command.
    last: u64,
    /// Lists that could not be read.
    pub(super) unread: u64,
}

/// A block, or a list of blocks.
pub(super) struct WalkItem {
    /// The number of what concerns it.
    concern: usize,
    key: Key,
    /// Its size in bytes, if that is known.
    size: u32,
    /// It may be a list, and is read.
    is_list: bool,
    /// The lookup under way, and when it began.
    lookup: Option<(LookupId, Time)>,
    /// Peers that may give the list, the nearest to its key first.
    holders: Vec<Peer>,
    reading: ListReading,
    /// All was told, and it is not known who has it.
    is_doubtful: bool,
    around: Around,
    /// Peers that the last lookup found.
    found: usize,
    /// What it found, while those that may be hidden behind these peers are looked for.
    crowd: Option<Found>,
}

/// What a reply has found out.
pub(super) enum Walked {
    /// These peers should hold a block. What is to be done there is done before its list is [read](Walk::read).
    At { concern: usize, key: Key, size: u32, found: Found },
    /// This peer holds a block of which that was in doubt.
    Held { concern: usize, key: Key, by: Peer },
    /// No peer holds a block of which that was in doubt.
    Missing { key: Key },
    /// Nothing, or what the walk alone has to know.
    Nothing,
}

impl Walk {
    pub(super) fn new(owner: PartId, command: CommandId, queue: VecDeque<WalkItem>) -> Self {
        let (running, window) = (BTreeMap::new(), LookupWindow::default());
        Self { owner, command, queue, running, window, last: 0, unread: 0 }
    }

    /// A number that nothing else of this command has, and the ticket with it.
    pub(super) fn next_ticket(&mut self) -> (u64, Ticket) {
        self.last += 1;
        (self.last, self.ticket(self.last))
    }

    fn ticket(&self, number: u64) -> Ticket {
        Ticket { owner: self.owner, number: self.command, about: About::Item(number) }
    }

    /// What comes back of a look around the key of what has this number.
    fn ticket_around(&self, number: u64) -> Ticket {
        Ticket { about: About::Around(number), ..self.ticket(number) }
    }

    /// Whether what has this number is looked up or read.
    pub(super) fn is_at(&self, number: u64) -> bool {
        self.running.contains_key(&number)
    }

    /// Whether nothing is looked up or read.
    pub(super) fn rests(&self) -> bool {
        self.running.is_empty()
    }

    /// Whether nothing is left to look up.
    pub(super) fn is_done(&self) -> bool {
        self.queue.is_empty()
    }

    /// Looks up what can be looked up now, while `beside` blocks wait for something else.
    pub(super) fn go_on(&mut self, desk: &mut Desk, beside: usize) {
        while self.window.admits(self.running.len(), beside)
            && let Some(mut item) = self.queue.pop_front()
        {
            let (number, ticket) = self.next_ticket();
            let goal = if item.is_doubtful { Goal::Holders } else { Goal::Peers };
            item.lookup = Some((desk.look_up(ticket, item.key, goal), desk.now()));
            self.running.insert(number, item);
        }
    }

    /// Looks for the holders of these blocks too, each with the number of what concerns it.
    pub(super) fn doubt(&mut self, blocks: impl Iterator<Item = (Key, usize)>) {
        let item = |(key, concern)| WalkItem { is_doubtful: true, ..WalkItem::new(concern, (key, 0), false) };
        self.queue.extend(blocks.map(item));
    }

    /// Something came of what was asked for under this number.
    pub(super) fn on(&mut self, desk: &mut Desk, number: u64, reply: Reply) -> Walked {
        match reply {
            Reply::Holder(peer) => self.on_holder(desk, number, peer),
            Reply::Found(found) => self.on_found(desk, number, found),
            Reply::Done { job, outcome } => {
                self.on_read(desk, number, job, outcome);
                Walked::Nothing
            }
            _ => Walked::Nothing,
        }
    }

    fn on_holder(&mut self, desk: &mut Desk, number: u64, by: Peer) -> Walked {
        let Some(mut item) = self.running.remove(&number) else { return Walked::Nothing };
        item.end(desk);
        Walked::Held { concern: item.concern, key: item.key, by }
    }

    /// A look around the key of what has this number has found something.
    pub(super) fn on_around(&mut self, desk: &mut Desk, number: u64, reply: Reply) -> Walked {
        let ticket = self.ticket_around(number);
        let Some(item) = self.running.get_mut(&number) else { return Walked::Nothing };
        let holder = item.around.on(desk, ticket, item.key, reply);
        match (holder, &mut item.crowd) {
            (Some(by), _) if item.is_doubtful => return self.on_holder(desk, number, by),
            (Some(by), Some(found)) if !found.peers.contains(&by) => found.peers.push(by),
            (Some(by), None) => {
                // The list may come from there: the rest of the look is not waited for.
                item.holders.push(by);
                self.read(desk, number);
                return Walked::Nothing;
            }
            _ => {}
        }
        if item.around.is_under_way() {
            return Walked::Nothing;
        }
        if item.is_doubtful {
            return self.miss(number);
        }
        if let Some(found) = item.crowd.take() {
            return self.at(desk, number, found);
        }
        self.read(desk, number);
        Walked::Nothing
    }

    /// No peer has the block of this number.
    fn miss(&mut self, number: u64) -> Walked {
        self.running.remove(&number).map_or(Walked::Nothing, |item| Walked::Missing { key: item.key })
    }

    /// The peers that should hold a block are known.
    fn on_found(&mut self, desk: &mut Desk, number: u64, found: Found) -> Walked {
        let ticket = self.ticket_around(number);
        let Some(item) = self.running.get_mut(&number) else { return Walked::Nothing };
        item.found = found.peers.len();
        if item.is_doubtful {
            item.lookup = None;
            let looks = item.around.begin(desk, ticket, item.key, item.found);
            return if looks { Walked::Nothing } else { self.miss(number) };
        }
        if let Some((_, began)) = item.lookup.take() {
            self.window.on_over(desk.now().since(began));
        }
        if found.crowded && item.around.begin(desk, ticket, item.key, item.found) {
            item.crowd = Some(found);
            return Walked::Nothing;
        }
        self.at(desk, number, found)
    }

    /// These peers should hold the block of this number, or do.
    fn at(&mut self, desk: &mut Desk, number: u64, found: Found) -> Walked {
        let Some(item) = self.running.get_mut(&number) else { return Walked::Nothing };
        if item.is_list {
            item.holders.extend(found.peers.iter().filter(|peer| !desk.is_me(peer) || desk.holds(&item.key)));
        }
        Walked::At { concern: item.concern, key: item.key, size: item.size, found }
    }

    /// Has the list read by the next peer that may hold it.
    pub(super) fn read(&mut self, desk: &mut Desk, number: u64) {
        let (ticket, around) = (self.ticket(number), self.ticket_around(number));
        let Some(item) = self.running.get_mut(&number) else { return };
        if item.reading.ask_next(desk, ticket, item.key, &item.holders)
            || item.is_list && item.around.begin(desk, around, item.key, item.found)
            || item.reading.is_under_way()
            || item.around.is_under_way()
        {
            return;
        }
        self.unread += u64::from(item.is_list);
        self.running.remove(&number);
    }

    fn on_read(&mut self, desk: &mut Desk, number: u64, job: JobId, outcome: Outcome) {
        let Some(item) = self.running.get_mut(&number) else { return };
        let manifest = match item.reading.on_done(desk, job, outcome) {
            Some(ListRead::List(manifest)) => Some(manifest),
            Some(ListRead::Bare(_)) => None,
            Some(ListRead::Failed(..) | ListRead::Other) => return self.read(desk, number),
            None => return,
        };
        item.around.cancel(desk);
        let Some((WalkItem { concern, .. }, manifest)) = self.running.remove(&number).zip(manifest) else { return };
        for entry in manifest.entries.iter().rev() {
            // A list's own size is not told.
            let size = if manifest.level > 0 { 0 } else { u32::try_from(entry.size).unwrap_or(0) };
            self.queue.push_front(WalkItem::new(concern, (entry.key, size), manifest.level > 0));
        }
    }

    /// Lists that take long are asked for elsewhere too.
    pub(super) fn on_tick(&mut self, desk: &mut Desk) {
        let is_due = |item: &WalkItem| item.reading.hedge().is_some_and(|due| due <= desk.now());
        let due: Vec<u64> = self.running.iter().filter(|(_, item)| is_due(item)).map(|(number, _)| *number).collect();
        due.into_iter().for_each(|number| self.read(desk, number));
    }

    /// When that is due.
    pub(super) fn next_wake(&self) -> Option<Time> {
        self.running.values().filter_map(|item| item.reading.hedge()).min()
    }

    /// Ends it early: nothing is looked up or read any more.
    pub(super) fn end(&mut self, desk: &mut Desk) {
        self.running.values_mut().for_each(|item| item.end(desk));
    }
}

impl WalkItem {
    pub(super) fn new(concern: usize, (key, size): (Key, u32), is_list: bool) -> Self {
        Self {
            concern,
            key,
            size,
            is_list,
            lookup: None,
            holders: Vec::new(),
            reading: ListReading::default(),
            is_doubtful: false,
            around: Around::default(),
            found: 0,
            crowd: None,
        }
    }

    /// Nothing more of it is wanted.
    fn end(&mut self, desk: &mut Desk) {
        desk.cancel_lookup(self.lookup.take().map(|(lookup, _)| lookup));
        self.around.cancel(desk);
        self.reading.cancel(desk);
    }
}
