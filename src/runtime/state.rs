//! What a peer shows to the threads that wait for it: whether it is ready, and its notices.

use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use parking_lot::Condvar;

use super::channels::NOTICES;
use crate::locks::{self, Ranked};
use crate::node::Notice;

/// A peer's readiness, and those who watch it.
pub(super) struct Readiness {
    view: Ranked<ReadinessView>,
    changed: Condvar,
}

impl Default for Readiness {
    fn default() -> Self {
        Self { view: Ranked::new(&locks::VIEW, ReadinessView::default()), changed: Condvar::new() }
    }
}

#[derive(Default)]
struct ReadinessView {
    stage: PeerStage,
    watchers: Vec<PeerWatcher>,
}

/// A caller that watches the peer's notices.
struct PeerWatcher {
    to: Sender<Notice>,
    wanted: fn(&Notice) -> bool,
    /// Notices that found no room, and that it was not told of.
    missed: u64,
}

impl PeerWatcher {
    /// Hands on a notice that is wanted, or counts it as missed. Whether the watcher is still there, as far as is
    /// known.
    fn take(&mut self, notice: &Notice) -> bool {
        if !(self.wanted)(notice) {
            return true;
        }
        if self.missed > 0 && self.has_room() {
            // That the watcher has gone is found out below.
            let _ = self.to.send(Notice::Missed { notices: std::mem::take(&mut self.missed) });
        }
        if self.has_room() {
            return self.to.send(notice.clone()).is_ok();
        }
        self.missed += 1;
        true
    }

    /// No other thread sends to it meanwhile: the view is locked.
    fn has_room(&self) -> bool {
        self.to.len() < NOTICES.most()
    }
}

#[derive(Clone, Copy, Default)]
enum PeerStage {
    #[default]
    Joining,
    Ready {
        peers: usize,
        shut_out: usize,
    },
    Ended,
}

impl Readiness {
    /// The join is done (or there was no peer to join).
    pub(super) fn ready(&self, peers: usize, shut_out: usize) {
        self.turn_to(PeerStage::Ready { peers, shut_out });
    }

    /// The node thread has ended: nothing more will come.
    pub(super) fn ended(&self) {
        self.turn_to(PeerStage::Ended);
        self.view.lock().watchers.clear();
    }

    /// Whether the node thread has ended.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.view.lock().stage, PeerStage::Ended)
    }

    fn turn_to(&self, stage: PeerStage) {
        self.view.lock().stage = stage;
        self.changed.notify_all();
    }

    /// Waits until the peer is ready; how many peers it found, and how many answered and did not let it in. None if it
    /// ended or `limit` passed before.
    pub(super) fn wait_ready(&self, limit: Option<Duration>) -> Option<(usize, usize)> {
        let mut view = self.view.lock();
        let joining = |view: &mut ReadinessView| matches!(view.stage, PeerStage::Joining);
        match limit {
            None => view.wait(|view| self.changed.wait_while(view, joining)),
            Some(limit) => {
                view.wait(|view| self.changed.wait_while_for(view, joining, limit));
            }
        }
        match view.stage {
            PeerStage::Ready { peers, shut_out } => Some((peers, shut_out)),
            PeerStage::Joining | PeerStage::Ended => None,
        }
    }

    /// A further watcher, of all notices.
    pub(super) fn watch(&self) -> Receiver<Notice> {
        self.watch_for(|_| true)
    }

    /// A further watcher, which is not woken for notices that it does not want.
    pub(super) fn watch_for(&self, wanted: fn(&Notice) -> bool) -> Receiver<Notice> {
        let (to, notices) = NOTICES.open();
        let mut view = self.view.lock();
        if !matches!(view.stage, PeerStage::Ended) {
            view.watchers.push(PeerWatcher { to, wanted, missed: 0 });
        }
        notices
    }

    /// Hands a notice to those who watch. What went wrong is said in the log too.
    pub(super) fn publish(&self, notice: &Notice) {
        if let Notice::Trouble { trouble } = notice {
            let level = if trouble.is_usual() { log::Level::Debug } else { log::Level::Warn };
            log::log!(level, "{trouble}");
        }
        self.view.lock().watchers.retain_mut(|watcher| watcher.take(notice));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watcher_that_does_not_keep_up_learns_how_many_notices_it_missed() {
        let state = Readiness::default();
        let notices = state.watch();
        let joined = Notice::Joined { peers: 1, shut_out: 0 };
        for _ in 0..NOTICES.most() + 5 {
            state.publish(&joined);
        }
        assert_eq!(notices.try_iter().filter(|notice| *notice == joined).count(), NOTICES.most());
        state.publish(&joined);
        assert_eq!(notices.try_iter().collect::<Vec<_>>(), [Notice::Missed { notices: 5 }, joined]);
    }

    #[test]
    fn a_watcher_gets_what_it_wants_and_misses_nothing_else() {
        let state = Readiness::default();
        let notices = state.watch_for(|notice| matches!(notice, Notice::Joined { .. }));
        let (joined, told) = (Notice::Joined { peers: 1, shut_out: 0 }, Notice::Missed { notices: 1 });
        for _ in 0..NOTICES.most() + 5 {
            state.publish(&told);
        }
        state.publish(&joined);
        assert_eq!(notices.try_iter().collect::<Vec<_>>(), [joined]);
    }
}
