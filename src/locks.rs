//! The locks of the program, in one table, and the wrapper that holds the program to it.
//!
//! | rank | lock | protects | taken by | held for | never held while |
//! |---|---|---|---|---|---|
//! | 1 | roster | which threads a peer has, and how it ends | threads that start, end or are waited for | one insertion, removal or look | anything else is done |
//! | 2 | view | whether the peer is ready, and who watches it | the node; those who wait, watch or stream | a look, a change, or a notice to each watcher | a watcher is waited for |
//! | 3 | served | the connections that are served | tcp-accept, tcp-serve-N, the node at the end | one insertion, removal or mark | anything is received or sent |
//! | 4 | ledger | jobs that are out, files being read and written, blocks lent | the node, transfer-N, tcp-serve-N | one insertion, removal or look | a file is read or written, a peer is waited for |
//! | 5 | connections | idle connections to other peers, and which ways are narrow | transfer-N | taking one out or putting one back, or a look at a way | connecting, sending or receiving |
//! | 6 | hashes | the hashes of named files that were read before, who had them kept here, and which are given | node, transfer-N, tcp-serve-N | one look or insertion | a file is read |
//! | 7 | beside | which commands run beside others | console, command-N | one insertion, removal or look | anything else is done |
//! | 8 | output | the way of answers to standard output | console, command-N | writing one answer, as long as its reader takes | a command is under way, or anything else is written to |
//! | 9 | screen | what is on the terminal at the moment | log, console, command-N, main | printing one text on a terminal, or a change of what is there | a line is read, a command is under way, or anything but a terminal is written to |
//! | 10 | keys | the network keys that are in force, who spoke under which, how connections began | the node, udp-recv, tcp-serve-N, transfer-N, link-N, looker-N | a look or an insertion, or putting others there | a file is read, anything is sealed, opened, sent or received |
//! | 11 | demonstration | how often it was taken | command-N of `kadring demo lock` | as long as it takes to show who waits for it | anything else is waited for |
//! | 12 | renewer | the renewer while it has no thread | console, command-N, renewer, main | taking it out, putting it back or a look | anything else is done |
//! | 13 | journal | the journal of leases, and how long it is | transfer-N, looker-N, main | adding lines; now and then putting all of them in order, durably | the disk is told to keep what was added |
//!
//! A thread that holds a lock takes only locks of a higher rank, so no two threads can wait for each other's locks. A
//! build with debug assertions panics where one does otherwise, and says who holds a lock that is waited for long.

use std::cell::RefCell;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::thread::{self, Thread};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use crate::gauges;

/// What is said of a lock.
pub(crate) struct Lock {
    pub(crate) name: &'static str,
    /// A thread that holds it takes none of this rank or a lower one.
    rank: u8,
    about: LockFacts,
}

/// What the documentation says of a lock.
#[cfg_attr(not(test), expect(dead_code, reason = "the documentation shows all of it, and a test compares the two"))]
struct LockFacts {
    protects: &'static str,
    taken_by: &'static str,
    held_for: &'static str,
    never_while: &'static str,
}

/// The threads of a peer (`runtime/threads.rs`).
pub(crate) static ROSTER: Lock = Lock {
    name: "roster",
    rank: 1,
    about: LockFacts {
        protects: "which threads a peer has, and how it ends",
        taken_by: "threads that start, end or are waited for",
        held_for: "one insertion, removal or look",
        never_while: "anything else is done",
    },
};

/// What a peer shows (`runtime/state.rs`).
pub(crate) static VIEW: Lock = Lock {
    name: "view",
    rank: 2,
    about: LockFacts {
        protects: "whether the peer is ready, and who watches it",
        taken_by: "the node; those who wait, watch or stream",
        held_for: "a look, a change, or a notice to each watcher",
        never_while: "a watcher is waited for",
    },
};

/// The connections that are served (`runtime/served.rs`).
pub(crate) static SERVED: Lock = Lock {
    name: "served",
    rank: 3,
    about: LockFacts {
        protects: "the connections that are served",
        taken_by: "tcp-accept, tcp-serve-N, the node at the end",
        held_for: "one insertion, removal or mark",
        never_while: "anything is received or sent",
    },
};

/// What is under way (`runtime/transfer/ledger.rs`).
pub(crate) static LEDGER: Lock = Lock {
    name: "ledger",
    rank: 4,
    about: LockFacts {
        protects: "jobs that are out, files being read and written, blocks lent",
        taken_by: "the node, transfer-N, tcp-serve-N",
        held_for: "one insertion, removal or look",
        never_while: "a file is read or written, a peer is waited for",
    },
};

/// Kept connections to other peers (`runtime/transfer/connections.rs`).
pub(crate) static CONNECTIONS: Lock = Lock {
    name: "connections",
    rank: 5,
    about: LockFacts {
        protects: "idle connections to other peers, and which ways are narrow",
        taken_by: "transfer-N",
        held_for: "taking one out or putting one back, or a look at a way",
        never_while: "connecting, sending or receiving",
    },
};

/// Hashes of files by name (`runtime/named.rs`).
pub(crate) static HASHES: Lock = Lock {
    name: "hashes",
    rank: 6,
    about: LockFacts {
        protects: "the hashes of named files that were read before, who had them kept here, and which are given",
        taken_by: "node, transfer-N, tcp-serve-N",
        held_for: "one look or insertion",
        never_while: "a file is read",
    },
};

/// Commands that run (`console/beside.rs`).
pub(crate) static BESIDE: Lock = Lock {
    name: "beside",
    rank: 7,
    about: LockFacts {
        protects: "which commands run beside others",
        taken_by: "console, command-N",
        held_for: "one insertion, removal or look",
        never_while: "anything else is done",
    },
};

/// Answers (`console/answers.rs`).
pub(crate) static OUTPUT: Lock = Lock {
    name: "output",
    rank: 8,
    about: LockFacts {
        protects: "the way of answers to standard output",
        taken_by: "console, command-N",
        held_for: "writing one answer, as long as its reader takes",
        never_while: "a command is under way, or anything else is written to",
    },
};

/// The terminal (`console/screen.rs`).
pub(crate) static SCREEN: Lock = Lock {
    name: "screen",
    rank: 9,
    about: LockFacts {
        protects: "what is on the terminal at the moment",
        taken_by: "log, console, command-N, main",
        held_for: "printing one text on a terminal, or a change of what is there",
        never_while: "a line is read, a command is under way, or anything but a terminal is written to",
    },
};

/// Network keys (`runtime/secrecy`).
pub(crate) static KEYS: Lock = Lock {
    name: "keys",
    rank: 10,
    about: LockFacts {
        protects: "the network keys that are in force, who spoke under which, how connections began",
        taken_by: "the node, udp-recv, tcp-serve-N, transfer-N, link-N, looker-N",
        held_for: "a look or an insertion, or putting others there",
        never_while: "a file is read, anything is sealed, opened, sent or received",
    },
};

/// For a lecture (`runtime/demo.rs`).
pub(crate) static DEMONSTRATION: Lock = Lock {
    name: "demonstration",
    rank: 11,
    about: LockFacts {
        protects: "how often it was taken",
        taken_by: "command-N of `kadring demo lock`",
        held_for: "as long as it takes to show who waits for it",
        never_while: "anything else is waited for",
    },
};

/// The renewer at rest (`runtime/renewer.rs`).
pub(crate) static RENEWER: Lock = Lock {
    name: "renewer",
    rank: 12,
    about: LockFacts {
        protects: "the renewer while it has no thread",
        taken_by: "console, command-N, renewer, main",
        held_for: "taking it out, putting it back or a look",
        never_while: "anything else is done",
    },
};

/// The journal of leases (`store/journal.rs`).
pub(crate) static JOURNAL: Lock = Lock {
    name: "journal",
    rank: 13,
    about: LockFacts {
        protects: "the journal of leases, and how long it is",
        taken_by: "transfer-N, looker-N, main",
        held_for: "adding lines; now and then putting all of them in order, durably",
        never_while: "the disk is told to keep what was added",
    },
};

/// All locks, in the order of their ranks.
static ALL: [&Lock; 13] = [
    &ROSTER,
    &VIEW,
    &SERVED,
    &LEDGER,
    &CONNECTIONS,
    &HASHES,
    &BESIDE,
    &OUTPUT,
    &SCREEN,
    &KEYS,
    &DEMONSTRATION,
    &RENEWER,
    &JOURNAL,
];

/// The name of the lock of a rank, and what it protects.
pub(crate) fn of_rank(rank: u8) -> Option<(&'static str, &'static str)> {
    ALL.iter().find(|lock| lock.rank == rank).map(|lock| (lock.name, lock.about.protects))
}

/// A thread that waits longer than this for a lock keeps in mind for how long, and who held it.
const SHORT_WAIT: Duration = Duration::from_millis(1);

/// A lock held longer than this, while another thread wants it, is told of.
const LONG_HELD: Duration = Duration::from_secs(10);

thread_local! {
    /// The locks that this thread holds. Kept in builds with debug assertions.
    static HELD: RefCell<Vec<&'static Lock>> = const { RefCell::new(Vec::new()) };
}

/// A value behind a lock of the table.
pub(crate) struct Ranked<T> {
    lock: &'static Lock,
    value: Mutex<T>,
    /// The thread that holds it. Kept in builds with debug assertions.
    holder: Mutex<Option<Thread>>,
}

/// The value, until this is dropped.
pub(crate) struct Guard<'a, T> {
    ranked: &'a Ranked<T>,
    value: MutexGuard<'a, T>,
}

impl<T> Ranked<T> {
    /// A value behind `lock`.
    pub(crate) const fn new(lock: &'static Lock, value: T) -> Self {
        Self { lock, value: Mutex::new(value), holder: Mutex::new(None) }
    }

    /// Waits for the lock.
    pub(crate) fn lock(&self) -> Guard<'_, T> {
        if cfg!(debug_assertions) {
            self.check_rank();
        }
        let value = self.value.try_lock().unwrap_or_else(|| {
            gauges::wants(self.lock.rank);
            let value = self.wait();
            gauges::wants(0);
            value
        });
        let guard = Guard { ranked: self, value };
        guard.enter();
        guard
    }

    fn wait(&self) -> MutexGuard<'_, T> {
        let short = self.value.try_lock_for(SHORT_WAIT);
        short.unwrap_or_else(|| gauges::wait_long(self.lock.rank, SHORT_WAIT, || self.wait_on()))
    }

    fn wait_on(&self) -> MutexGuard<'_, T> {
        if !cfg!(debug_assertions) {
            return self.value.lock();
        }
        self.value.try_lock_for(LONG_HELD).unwrap_or_else(|| {
            log::warn!("the lock '{}' is waited for, and held by {}", self.lock.name, self.holder());
            self.value.lock()
        })
    }

    /// Panics if this thread holds a lock of this rank or a higher one.
    fn check_rank(&self) {
        let held = HELD.try_with(|held| held.borrow().iter().copied().find(|held| held.rank >= self.lock.rank));
        if let Ok(Some(held)) = held {
            let (wanted, held) = ((self.lock.name, self.lock.rank), (held.name, held.rank));
            panic!("the lock {wanted:?} was asked for by the holder of {held:?}: the ranks in locks.rs must rise");
        }
    }

    /// The name of the thread that holds it.
    fn holder(&self) -> String {
        let holder = self.holder.lock();
        holder.as_ref().map_or("nobody", |thread| thread.name().unwrap_or("a thread without a name")).to_owned()
    }
}

impl<'a, T> Guard<'a, T> {
    /// Waits on a condition variable, which gives the lock up meanwhile. The thread holds no other then.
    pub(crate) fn wait<R>(&mut self, wait: impl FnOnce(&mut MutexGuard<'a, T>) -> R) -> R {
        self.leave();
        let others = HELD.try_with(|held| held.borrow().len()).unwrap_or(0);
        debug_assert_eq!(others, 0, "a thread waits on '{}' and holds another lock", self.ranked.lock.name);
        let result = wait(&mut self.value);
        self.enter();
        result
    }

    fn enter(&self) {
        gauges::holds(self.ranked.lock.rank, true);
        if cfg!(debug_assertions) {
            *self.ranked.holder.lock() = Some(thread::current());
            let _ = HELD.try_with(|held| held.borrow_mut().push(self.ranked.lock));
        }
    }

    fn leave(&self) {
        gauges::holds(self.ranked.lock.rank, false);
        if cfg!(debug_assertions) {
            *self.ranked.holder.lock() = None;
            let _ = HELD.try_with(|held| held.borrow_mut().retain(|held| held.rank != self.ranked.lock.rank));
        }
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl<T> fmt::Debug for Ranked<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ranked").field(&self.lock.name).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn the_documentation_shows_the_table() {
        let mut table =
            "//! | rank | lock | protects | taken by | held for | never held while |\n//! |---|---|---|---|---|---|\n"
                .to_owned();
        for Lock { name, rank, about } in ALL {
            let LockFacts { protects, taken_by, held_for, never_while } = about;
            table += &format!("//! | {rank} | {name} | {protects} | {taken_by} | {held_for} | {never_while} |\n");
        }
        assert!(include_str!("locks.rs").contains(&table), "the head of locks.rs must have this:\n{table}");
    }

    #[test]
    fn every_lock_has_a_rank_of_its_own() {
        assert!(ALL.windows(2).all(|pair| pair[0].rank < pair[1].rank));
    }

    #[test]
    fn a_lock_that_is_taken_against_the_ranks_is_a_panic_and_with_them_is_none() {
        let (lower, higher) = (Ranked::new(&LEDGER, ()), Ranked::new(&HASHES, ()));
        drop((lower.lock(), higher.lock()));
        let wrong = |held: &Ranked<()>, wanted: &Ranked<()>| {
            let _held = held.lock();
            catch_unwind(AssertUnwindSafe(|| drop(wanted.lock()))).is_err()
        };
        assert!(wrong(&higher, &lower));
        assert!(wrong(&higher, &Ranked::new(&HASHES, ())), "two of one rank");
        assert!(!wrong(&lower, &higher), "what was held before is held no more");
    }

    #[test]
    fn a_lock_knows_its_holder() {
        let hashes = Ranked::new(&HASHES, ());
        assert_eq!(hashes.holder(), "nobody");
        let held = hashes.lock();
        assert_eq!(Some(hashes.holder().as_str()), thread::current().name());
        drop(held);
        assert_eq!(hashes.holder(), "nobody");
    }
}
