//! What workers have done and what became of the store: first the account of blocks is told, then the parts.

use std::net::SocketAddr;

use super::Node;
use super::holdings::Released;
use super::job::{JobId, Outcome};
use super::notice::Notice;
use super::ticket::{About, News, Reply, Ticket};
use crate::id::Key;
use crate::lease::{Lease, Note, UnixTime};
use crate::source::Subnet;

impl Node {
    pub(super) fn on_outcome(&mut self, ticket: Ticket, job: JobId, outcome: Outcome) {
        if matches!(outcome, Outcome::Done) {
            self.desk.holdings.noted(job);
        }
        let Released { leases, by, deletes } = self.desk.holdings.release(job);
        match (ticket.about, &outcome) {
            (About::Block(key), &Outcome::Stored { size }) => self.hold(key, size, &leases, by),
            (About::Block(key), &Outcome::Sound { .. }) if !leases.is_empty() => {
                let before = self.desk.holdings.class(&key);
                // What else it is kept for may have changed since that was ordered.
                let leases = self.desk.holdings.meant(&key, leases);
                self.desk.holdings.lay(&key, &leases, by);
                if self.desk.holdings.class(&key) != before {
                    self.tell(News::Recounted(&key));
                }
            }
            _ => {}
        }
        if let Some(key) = deletes.filter(|_| matches!(outcome, Outcome::Done)) {
            self.desk.holdings.remove(&key);
            self.tell(News::Dropped(&key));
        }
        self.reply(ticket, Reply::Done { job, outcome });
    }

    /// A block is not in the store any more, though this peer did not delete it.
    pub(super) fn on_damaged(&mut self, key: Key) {
        let wanted = self.desk.holdings.wants(&key);
        if let Some((size, leases)) = self.desk.holdings.remove(&key) {
            self.desk.notify(Notice::BlockDamaged { key });
            let news = News::Damaged { key: &key, size, leases: &leases };
            self.tell(if wanted { news } else { News::Dropped(&key) });
        }
    }

    /// Others reach this peer at another address from now on.
    pub(super) fn on_moved(&mut self, addr: SocketAddr) {
        self.desk.move_to(addr);
        self.tell(News::Moved);
    }

    /// All blocks are out of reach. No other peer is to count on them, so this one holds none until they are back.
    pub(super) fn on_folder_gone(&mut self) {
        self.desk.holdings.lose_all();
        self.tell(News::AllGone);
    }

    /// The folder is back: what is in it counts as it does at a start.
    pub(super) fn on_folder_back(&mut self, held: Vec<(Key, u32)>, notes: Vec<Note>, off: UnixTime) {
        self.desk.holdings.found(held, &notes);
        self.tell(News::StoreRead { off, remembered: &[] });
    }

    /// A block is in the own store now.
    fn hold(&mut self, key: Key, size: u32, leases: &[Lease], by: Option<Subnet>) {
        if !self.desk.holds(&key) {
            self.desk.notify(Notice::BlockStored { key, size });
        }
        self.desk.holdings.insert(key, size, leases, by);
        self.tell(News::Held(&key));
    }
}
