//! The peers known, on disk for the next start.

use super::desk::Desk;
use super::job::{Job, Outcome};
use super::jobs::Urgency;
use super::part::{News, Owner, Part, Reply, Ticket};
use super::trouble::Trouble;
use crate::config::SAVE_PEERS_DELAY;
use crate::time::Time;

/// When the peers known are to be saved; none if nothing changed.
#[derive(Default)]
pub(super) struct Memory(Option<Time>);

impl Memory {
    fn save(&mut self, desk: &mut Desk) {
        self.0 = None;
        let peers = desk.peers();
        desk.order(Ticket::of(Owner::Memory, 0), Job::SavePeers { peers }, Urgency::Own);
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
            News::Joined | News::Up | News::Down(_) => {
                self.0.get_or_insert(desk.now() + SAVE_PEERS_DELAY);
            }
            News::Leaving { .. } => self.save(desk),
            _ => {}
        }
    }

    fn on_tick(&mut self, desk: &mut Desk) {
        if self.0.is_some_and(|due| due <= desk.now()) {
            self.save(desk);
        }
    }

    fn next_wake(&self, _desk: &Desk) -> Option<Time> {
        self.0
    }
}
