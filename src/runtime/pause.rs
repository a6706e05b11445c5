//! A node that stands still for a while, so that one can see what its neighbours make of that.
//!
//! The thread waits in the middle of a turn, as if the process was stopped: what comes waits in its queues. Datagrams
//! that find no room there are lost; other senders wait. The other threads go on. Ticks are taken and are late, so that
//! no user takes the node for stuck. Commands are looked through for one that ends what is under way, and are done
//! afterwards.

use std::time::Duration;

use crossbeam_channel::{Sender, after, select};

use super::node_loop::NodeLoop;
use super::submit::{Pause, SessionId, Submission};
use crate::gauges::{self, Activity};
use crate::node::Command;

/// A node stands still for so long at most.
pub const MAX_PAUSE: Duration = Duration::from_secs(60);

impl NodeLoop {
    /// Stands still for `span`, or until its session or a command ends that.
    pub(super) fn pause(&mut self, session: SessionId, span: Duration, tell: &Sender<Pause>) {
        let clock = self.shared.clock;
        let (begun, over) = (clock.now(), after(span.min(MAX_PAUSE)));
        // The caller need not listen.
        let _ = tell.send(Pause::Begun(self.node.overlay().kind()));
        gauges::name(Activity::Pauses);
        let (mut held, mut leaves) = (Vec::new(), false);
        let inboxes = &self.inboxes;
        loop {
            select! {
                recv(inboxes.commands.queue) -> placed => match placed {
                    Ok(placed) => {
                        let ends = ends(&placed.asked, session);
                        held.push(placed);
                        if ends {
                            break;
                        }
                    }
                    Err(_) => {
                        leaves = true;
                        break;
                    }
                },
                recv(inboxes.ticks) -> _ => {}
                recv(inboxes.leave) -> _ => {
                    leaves = true;
                    break;
                }
                recv(over) -> _ => break,
            }
        }
        let now = clock.now();
        self.go_on();
        let _ = tell.send(Pause::Over(now.since(begun)));
        for placed in held {
            self.on_command(now, Some(placed));
        }
        if leaves {
            self.on_leave();
        }
    }
}

/// Whether this ends a pause that the session asked for.
const fn ends(asked: &Submission, of: SessionId) -> bool {
    match asked {
        Submission::Cancel { session } => *session == of,
        Submission::Command { command, .. } => matches!(command, Command::Interrupt { .. } | Command::Quit { .. }),
        Submission::Pause { .. } => false,
    }
}
