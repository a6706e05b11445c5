//! What a peer shows to the threads that wait for it: whether it is ready, and its notices.

use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use parking_lot::Condvar;

use super::channels::NOTICES;
use crate::locks::{self, Ranked};
use crate::node::Notice;

/// A peer's readiness, and those who watch it.
pub(super) struct State {
    view: Ranked<View>,
    changed: Condvar,
}

impl Default for State {
    fn default() -> Self {
        Self { view: Ranked::new(&locks::VIEW, View::default()), changed: Condvar::new() }
    }
}

#[derive(Default)]
struct View {
    stage: Stage,
    watchers: Vec<Sender<Notice>>,
}

#[derive(Clone, Copy, Default)]
enum Stage {
    #[default]
    Joining,
    Ready {
        peers: usize,
    },
    Ended,
}

impl State {
    /// The join is done (or there was nobody to join).
    pub(super) fn ready(&self, peers: usize) {
        self.turn_to(Stage::Ready { peers });
    }

    /// The node thread has ended: nothing more will come.
    pub(super) fn ended(&self) {
        self.turn_to(Stage::Ended);
        self.view.lock().watchers.clear();
    }

    fn turn_to(&self, stage: Stage) {
        self.view.lock().stage = stage;
        self.changed.notify_all();
    }

    /// Waits until the peer is ready; the number of peers it found. None if it ended or `limit` passed before.
    pub(super) fn wait_ready(&self, limit: Option<Duration>) -> Option<usize> {
        let mut view = self.view.lock();
        let joining = |view: &mut View| matches!(view.stage, Stage::Joining);
        match limit {
            None => view.wait(|view| self.changed.wait_while(view, joining)),
            Some(limit) => {
                view.wait(|view| self.changed.wait_while_for(view, joining, limit));
            }
        }
        match view.stage {
            Stage::Ready { peers } => Some(peers),
            Stage::Joining | Stage::Ended => None,
        }
    }

    /// A further watcher.
    pub(super) fn watch(&self) -> Receiver<Notice> {
        let (watcher, notices) = NOTICES.open();
        let mut view = self.view.lock();
        if !matches!(view.stage, Stage::Ended) {
            view.watchers.push(watcher);
        }
        notices
    }

    /// Hands a notice to those who watch. What went wrong is said in the log too.
    pub(super) fn publish(&self, notice: &Notice) {
        if let Notice::Trouble { trouble } = notice {
            let level = if trouble.is_usual() { log::Level::Debug } else { log::Level::Warn };
            log::log!(level, "{trouble}");
        }
        use crossbeam_channel::TrySendError::Disconnected;
        let gone = |watcher: &Sender<Notice>| matches!(watcher.try_send(notice.clone()), Err(Disconnected(_)));
        self.view.lock().watchers.retain(|watcher| !gone(watcher));
    }
}
