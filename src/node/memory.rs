//! The peers known, on disk for the next start, and among them some that are gone: they may be the other part of a
//! network that was cut, and be met again though every peer of both parts was started anew meanwhile.

use std::collections::VecDeque;

use super::desk::Desk;
use super::job::{Job, Outcome, Urgency};
use super::part::Part;
use super::ticket::{News, PartId, Reply, Ticket};
use super::trouble::Trouble;
use crate::config::SAVE_PEERS_DELAY;
use crate::peer::Peer;
use crate::time::Time;

/// Peers that are gone and remembered. At a start the first of all peers on disk are asked, so behind as many living
/// ones these stand first.
const GONE: usize = 8;

#[derive(Default)]
pub(super) struct Memory {
    /// When the peers known are to be saved; none if nothing changed.
    due: Option<Time>,
    /// Living peers on disk.
    saved: usize,
    /// Peers that were there, in this run or the one before it, and may be gone: the latest first.
    gone: VecDeque<Peer>,
}

impl Memory {
    /// A peer that is alone remembers whom it knew before: else its next start had no peer to ask.
    fn save(&mut self, desk: &mut Desk) {
        self.due = None;
        let mut peers = desk.peers();
        if peers.is_empty() && self.saved > 0 {
            return;
        }
        self.saved = peers.len();
        let lives = |gone: &Peer| peers.iter().any(|peer| peer.id == gone.id || peer.addr == gone.addr);
        self.gone.retain(|gone| !lives(gone));
        self.gone.truncate(GONE);
        let after = peers.len().min(GONE);
        peers.splice(after..after, self.gone.iter().copied());
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
            News::StoreRead { remembered, .. } => {
                self.saved = remembered.len();
                self.gone = remembered.iter().take(2 * GONE).copied().collect();
            }
            News::Joined | News::Up | News::Down(_) => {
                if let News::Down(gone) = news {
                    self.gone.retain(|other| other.id != gone.id);
                    self.gone.push_front(*gone);
                    self.gone.truncate(2 * GONE);
                }
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
