//! Events on their way from other threads to the node, and what a record says of their way.
//!
//! What a record needs is noted only where there is one: without it no thread reads a clock or a name for it.

use std::borrow::Cow;
use std::thread;

use crossbeam_channel::Sender;

use super::Role;
use super::channels::{self, Channel, Gauged};
use super::clock::Clock;
use crate::gauges;
use crate::locks;
use crate::node::Event;
use crate::node::job::{JobId, Outcome};
use crate::record::{LockWait, Queued, Timing, Work};
use crate::time::Time;

/// An event in its queue.
pub(super) struct Posted {
    pub(super) event: Event,
    /// How it came there, for a record.
    pub(super) way: EventWay,
}

/// What a record says of how an event came to the node; nothing where there is none, or no way.
pub(super) type EventWay = Option<Box<Timing>>;

/// Where events for the node are put.
#[derive(Clone)]
pub(super) struct Post {
    posts: Sender<Posted>,
    /// By which the record's times go, if there is a record.
    clock: Option<Clock>,
}

/// The node has gone.
#[derive(Debug)]
pub(super) struct NodeGone;

impl Post {
    /// `clock` is that of the node, where its events are recorded.
    pub(super) fn new(posts: Sender<Posted>, clock: Option<Clock>) -> Self {
        Self { posts, clock }
    }

    /// Tells the node of an event. Where the queue is full, this waits.
    pub(super) fn send(&self, event: Event) -> Result<(), NodeGone> {
        self.put(event, self.clock.map(|clock| way(&channels::POSTS, clock.now())))
    }

    /// Tells the node what came of a job that this thread began at `from`.
    pub(super) fn done(&self, job: JobId, outcome: Outcome, from: Time) -> Result<(), NodeGone> {
        let timing = self.clock.map(|clock| {
            let until = clock.now();
            let work = Work { worker: own_name(), from, until };
            Timing { work: Some(work), ..way(&channels::POSTS, until) }
        });
        self.put(Event::JobDone { job, outcome }, timing)
    }

    fn put(&self, event: Event, timing: Option<Timing>) -> Result<(), NodeGone> {
        self.posts.send(Posted { event, way: timing.map(Box::new) }).map_err(|_| NodeGone)?;
        Gauged::Posts.note(self.posts.len());
        Ok(())
    }
}

/// What is to be said of something that the thread of a role put into a queue at the time `put`.
pub(super) fn queued(queue: &'static Channel, by: Role, put: Time) -> Box<Timing> {
    let queued = Queued { queue: queue.name.into(), by: by.name().into(), put };
    Box::new(Timing { queued: Some(queued), ..Timing::default() })
}

/// What is to be said of something that this thread puts into a queue at the time `put`.
pub(super) fn way(queue: &'static Channel, put: Time) -> Timing {
    let queued = Queued { queue: queue.name.into(), by: own_name(), put };
    Timing { queued: Some(queued), locks: lock_waits(), ..Timing::default() }
}

/// The locks that this thread waited long for since the last call.
pub(super) fn lock_waits() -> Vec<LockWait> {
    let waited = gauges::waited().into_iter();
    let wait = |waited: gauges::Waited| {
        let (lock, _) = locks::of_rank(waited.rank)?;
        let took = u64::try_from(waited.span.as_micros()).unwrap_or(u64::MAX);
        Some(LockWait { thread: own_name(), lock: lock.into(), took, held_by: waited.held_by })
    };
    waited.filter_map(wait).collect()
}

fn own_name() -> Cow<'static, str> {
    thread::current().name().unwrap_or("a thread without a name").to_owned().into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::locks::{HASHES, Ranked};
    use crate::runtime::{look, stopwatch};

    #[test]
    fn an_event_says_for_whom_a_lock_was_waited_for_longer_than_a_millisecond() {
        const PEER: u64 = u64::MAX - 3;
        let (to, posts) = channels::POSTS.open();
        let (post, lock) = (Post::new(to, Some(Clock::start())), Ranked::new(&HASHES, ()));
        let _place = look::enter(PEER, "node");
        // A waiter that got no processor meanwhile has not waited: then the lock is held for twice as long.
        let wait_for = |held_for: Duration| {
            let held = lock.lock();
            thread::scope(|scope| {
                let waits = || {
                    let _place = look::enter(PEER, "transfer-1");
                    drop(lock.lock());
                    post.send(Event::Tick).expect("it is there");
                };
                scope.spawn(waits);
                while !look::look(|peer| peer == PEER).to_string().contains("wants the lock") {
                    thread::yield_now();
                }
                // The end of an earlier waiter may have left a wake-up behind.
                let elapsed = stopwatch();
                while elapsed() < held_for {
                    thread::park_timeout(held_for);
                }
                drop(held);
            });
            let Posted { way, .. } = posts.recv().expect("it was told");
            way.expect("a record is made").locks.pop()
        };
        let mut held_for = (0..12).map(|time| Duration::from_millis(5 << time));
        let waited = held_for.find_map(wait_for).expect("one of them waited");
        assert_eq!((waited.lock.as_ref(), waited.held_by), ("hashes", vec!["node".to_owned()]));
        assert!(waited.took >= 1000, "{}", waited.took);
        assert!(lock_waits().is_empty(), "who held it waited for nobody");
    }
}
