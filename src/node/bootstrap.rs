//! The names that the user gave of peers to join through, looked up anew.
//!
//! A name may lead elsewhere after a while, as where a machine at home gets another address each day. While others are
//! known, they tell who is where. A peer that is alone has its names alone: they are looked up anew, ever more rarely.

use std::time::Duration;

use super::desk::Desk;
use super::job::{Job, Outcome, Urgency};
use super::part::Part;
use super::ticket::{News, PartId, Reply, Ticket};
use crate::time::Time;

/// The first look-up comes so long after this peer is alone; each further one after twice the time.
const FIRST_WAIT: Duration = Duration::from_secs(10);

/// The same where this peer has come into another network: there the same name may lead elsewhere.
const MOVED_WAIT: Duration = Duration::from_secs(1);

/// The longest pause between two look-ups.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

#[derive(Default)]
pub(super) struct BootstrapNames {
    /// When the names are looked up next; none while others are known, and while they are looked up.
    due: Option<Time>,
    /// The pause after that.
    wait: Duration,
}

impl BootstrapNames {
    fn begin(&mut self, desk: &Desk, first: Duration) {
        self.due = Some(desk.now() + first);
        self.wait = 2 * FIRST_WAIT;
    }
}

impl Part for BootstrapNames {
    fn on(&mut self, desk: &mut Desk, _ticket: Ticket, reply: Reply) {
        let Reply::Done { outcome, .. } = reply else { return };
        if !desk.peers().is_empty() {
            return;
        }
        self.due = Some(desk.now() + self.wait);
        self.wait = (2 * self.wait).min(LONGEST_WAIT);
        // That a name leads nowhere was told at the start; it may yet.
        if let Outcome::Resolved { known, hosts } = outcome {
            desk.tell_of_bootstrap(&known, &hosts);
        }
    }

    fn on_news(&mut self, desk: &mut Desk, news: News<'_>) {
        let is_alone = || desk.config().resolves && desk.peers().is_empty();
        match news {
            News::Joined | News::Down(_) if self.due.is_none() && is_alone() => self.begin(desk, FIRST_WAIT),
            News::Moved if self.due.is_some() => self.begin(desk, MOVED_WAIT),
            News::Up | News::Leaving { .. } => self.due = None,
            _ => {}
        }
    }

    fn on_tick(&mut self, desk: &mut Desk) {
        if self.due.is_some_and(|due| due <= desk.now()) {
            self.due = None;
            desk.order(Ticket::of(PartId::Bootstrap, 0), Job::Resolve, Urgency::Own);
        }
    }

    fn next_wake(&self, _desk: &Desk) -> Option<Time> {
        self.due
    }
}
