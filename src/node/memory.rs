//! The peers known, on disk for the next start.

use super::desk::Desk;
use super::job::{Job, Outcome};
use super::jobs::Urgency;
use super::part::{News, Part, PartId, Reply, Ticket};
use super::trouble::Trouble;
use crate::config::SAVE_PEERS_DELAY;
use crate::time::Time;

#[derive(Default)]
pub(super) struct Memory {
    /// When the peers known are to be saved; none if nothing changed.
    due: Option<Time>,
    /// Peers on disk.
    saved: usize,
}

impl Memory {
    /// A peer that is alone remembers whom it knew before: else its next start had nobody to ask.
    fn save(&mut self, desk: &mut Desk) {
        self.due = None;
        let peers = desk.peers();
        if peers.is_empty() && self.saved > 0 {
            return;
        }
        self.saved = peers.len();
        desk.order(Ticket::of(PartId::Memory, 0), Job::SavePeers { peers }, Urgency::Own);
    }
}

impl Part for Memory {
    fn on(&mut self, desk: &mut Desk, _ticket: Ticket, reply: Reply) {
        if let Reply::Done { outcome: Outcome::Failed(error), .. } = reply {
            desk.trouble(Trouble::JobFailed { reason: error.to_string() });
        }
    }

    /// Many changes at once are saved once.
    fn on_news(&mut self, desk: &mut Desk, news: News<'_>) {
        match news {
            _ if desk.config().guest => {}
            News::StoreRead { remembered, .. } => self.saved = remembered,
            News::Joined | News::Up | News::Down(_) => {
                let many = desk.peers().len() > 2 * self.saved;
                let due = desk.now() + if many { desk.config().save_first } else { SAVE_PEERS_DELAY };
                self.due = Some(self.due.map_or(due, |before| before.min(due)));
            }
            News::Leaving { .. } => self.save(desk),
            _ => {}
        }
    }

    fn on_tick(&mut self, desk: &mut Desk) {
        if self.due.is_some_and(|due| due <= desk.now()) {
            self.save(desk);
        }
    }

    fn next_wake(&self, _desk: &Desk) -> Option<Time> {
        self.due
    }
}
