//! What is under way in a peer: jobs that are out, files being read and written, blocks lent. One lock holds it all.

use std::net::{IpAddr, Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::cancel::{Cancel, JobsOut};
use super::files_in::Readers;
use super::files_out::Writers;
use crate::config::DELIVERED_MEMORY;
use crate::id::Key;
use crate::locks::{self, Ranked};
use crate::node::job::{GetId, JobError, JobId, PutId};
use crate::runtime::lent::{LentBlock, LentBlocks};

/// What is under way.
pub(crate) struct Ledger {
    books: Ranked<Books>,
    /// Whether there is a pull that the node has yet to hear of: it asks often, and mostly there is none. It is set
    /// after the pull was noted (`Release`), so a thread that sees it set (`Acquire`) finds the pull. It is cleared
    /// before the pulls are taken: one that is noted meanwhile sets it again, and is at worst looked for twice.
    has_pulls: AtomicBool,
}

/// What the ledger's lock protects.
#[derive(Default)]
pub(super) struct Books {
    pub(super) lent: LentBlocks,
    pub(super) readers: Readers,
    pub(super) writers: Writers,
    pub(super) jobs: JobsOut,
    /// Blocks that others asked for, and those that were sent to them.
    pulls: OthersPulls,
}

/// What others pull: each block's key, and the host that its connection led to.
#[derive(Default)]
pub(crate) struct OthersPulls {
    pub(crate) asked: Vec<(Key, IpAddr)>,
    pub(crate) delivered: Vec<(Key, IpAddr)>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self { books: Ranked::new(&locks::LEDGER, Books::default()), has_pulls: AtomicBool::new(false) }
    }
}

impl Ledger {
    /// A look at the books, or a change of them. What it returns, files above all, is dropped by the caller without the
    /// lock.
    pub(super) fn with<R>(&self, look: impl FnOnce(&mut Books) -> R) -> R {
        look(&mut self.books.lock())
    }

    /// A block that is lent.
    pub(crate) fn lent(&self, key: &Key) -> Option<LentBlock> {
        self.with(|books| books.lent.get(key))
    }

    /// A block is asked for from this host. Returns it if it is lent. Should the node not ask for long, it is not
    /// told of all.
    pub(crate) fn note_asked(&self, key: Key, by: IpAddr) -> Option<LentBlock> {
        let lent = self.with(|books| {
            push(&mut books.pulls.asked, (key, by));
            books.lent.get(&key)
        });
        self.has_pulls.store(true, Ordering::Release);
        lent
    }

    /// A block was sent to this host, but for its last bytes. Should the node not ask for long, it is not told of all.
    pub(crate) fn note_delivery(&self, key: Key, to: IpAddr) {
        self.with(|books| push(&mut books.pulls.delivered, (key, to)));
        self.has_pulls.store(true, Ordering::Release);
    }

    /// What others pulled since it was last asked.
    pub(crate) fn take_pulls(&self) -> OthersPulls {
        if !self.has_pulls.load(Ordering::Acquire) {
            return OthersPulls::default();
        }
        self.has_pulls.store(false, Ordering::Release);
        self.with(|books| std::mem::take(&mut books.pulls))
    }

    /// Lends a block that is in memory. The order to forget the file may have come before there was anything to
    /// forget: then `cancel` tells.
    pub(super) fn lend_unless(&self, cancel: &Cancel, put: PutId, key: Key, bytes: Arc<[u8]>) -> Result<(), JobError> {
        self.with(|books| books.lent.add(put, key, LentBlock::Bytes(bytes)));
        cancel.check().inspect_err(|_| self.withdraw(put, &key))
    }

    /// The block is lent no more on behalf of `put`.
    pub(crate) fn withdraw(&self, put: PutId, key: &Key) {
        drop(self.with(|books| books.lent.withdraw(put, key)));
    }

    /// The file `put` is not stored any longer.
    pub(super) fn forget_put(&self, put: PutId) {
        let reader = self.with(|books| {
            books.lent.forget(put);
            books.readers.forget(put)
        });
        drop(reader);
    }

    /// The file `get` is not retrieved any longer.
    pub(super) fn forget_get(&self, get: GetId) {
        drop(self.with(|books| {
            books.lent.forget(get);
            books.writers.forget(get)
        }));
    }

    pub(super) fn begin(&self, job: JobId) {
        self.with(|books| books.jobs.begin(job));
    }

    pub(super) fn end(&self, job: JobId) {
        drop(self.with(|books| books.jobs.end(job)));
    }

    /// Ends this job as soon as its worker notices.
    pub(crate) fn cancel(&self, job: JobId) {
        shut(self.with(|books| books.jobs.cancel(job)));
    }

    /// Ends whatever waits for another peer, or would. What is done here alone is done to its end.
    pub(super) fn leave_all_alone(&self) {
        shut(self.with(|books| books.jobs.leave_all_alone()));
    }

    /// What may end this job early.
    pub(super) fn of(self: &Arc<Self>, job: JobId) -> Cancel {
        Cancel::new(Arc::clone(self), job)
    }
}

fn push(pulls: &mut Vec<(Key, IpAddr)>, pull: (Key, IpAddr)) {
    if pulls.len() < DELIVERED_MEMORY {
        pulls.push(pull);
    }
}

/// A thread that waits on them waits no longer.
fn shut(streams: impl IntoIterator<Item = Arc<TcpStream>>) {
    for stream in streams {
        let _ = stream.shutdown(Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::job::JobErrorKind;

    #[test]
    fn a_block_of_a_file_that_is_forgotten_before_it_is_lent_does_not_stay_lent() {
        let ledger = Arc::<Ledger>::default();
        let lend = || ledger.lend_unless(&ledger.of(1), 2, Key::ZERO, Arc::from(&b"list"[..]));
        ledger.begin(1);
        lend().expect("it is wanted");
        assert!(ledger.lent(&Key::ZERO).is_some());
        ledger.cancel(1);
        ledger.forget_put(2);
        assert_eq!(lend().expect_err("it was cancelled").kind, JobErrorKind::Cancelled);
        assert!(ledger.lent(&Key::ZERO).is_none(), "nobody would ever withdraw it");
    }
}
