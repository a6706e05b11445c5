//! What a worker does with a block: brings it, keeps it, shows it.

use std::net::SocketAddr;
use std::os::unix::fs::FileExt;

use sha2::{Digest, Sha256};

use super::buffer::{Buffer, cuts};
use super::cancel::Cancel;
use super::files_out::Writing;
use super::manifests::unpack;
use super::{Workbench, failed, io_failed};
use crate::file::ManifestEntry;
use crate::id::{Id, Key};
use crate::lease::Note;
use crate::node::Event;
use crate::node::job::{GetId, Holder, JobError, JobErrorKind, Outcome, PutId, Slot};
use crate::runtime::lent::LentBlock;
use crate::store::{StoreError, StoreErrorKind};
use crate::wire::sample;

impl Workbench {
    /// Writes the `only` block of a file that is open and empty, and gives the file its name.
    pub(super) fn write_only(
        &self,
        get: GetId,
        only: Option<Slot>,
        opened: Outcome,
        buffer: &mut Buffer,
    ) -> Result<Outcome, JobError> {
        let Some(slot) = only.filter(|_| matches!(opened, Outcome::Opened { resumed: false })) else {
            return Ok(opened);
        };
        let Ok(size) = self.bring_own(&slot.key, Some(slot.size), buffer) else { return Ok(opened) };
        let writing = Writing(&self.shared.ledger);
        writing.put(get, &slot, buffer.pieces(size))?;
        writing.finish(get, None)
    }

    /// Looks whether a block of the own store is sound, and writes down what it is kept for besides.
    pub(super) fn verify(&self, key: &Key, notes: &[Note]) -> Result<Outcome, JobError> {
        let block = self.shared.store.read(key).map_err(|error| self.own_damage(key, error))?;
        self.shared.store.note(notes, true)?;
        Ok(Outcome::Sound { size: block.size })
    }

    /// Copies a lent block into the own store.
    pub(super) fn keep(&self, key: &Key, notes: &[Note], piece: &mut [u8]) -> Result<Outcome, JobError> {
        let shared = &*self.shared;
        shared.store.note(notes, false)?;
        let lent = shared.ledger.lent(key);
        let lent = lent.ok_or_else(|| failed(JobErrorKind::NotFound, format!("block {key} is lent no more")))?;
        let size = lent.size();
        let mut writer = shared.store.begin(*key, size)?;
        for cut in cuts(size as usize) {
            let bytes = &mut piece[..cut.len()];
            let read = lent.read_at(bytes, cut.start as u64);
            read.map_err(|error| io_failed("read the file that is being stored", &error))?;
            writer.write(bytes)?;
        }
        writer.commit()?;
        Ok(Outcome::Stored { size })
    }

    /// Hashes some bytes of a block, as an offer asks.
    pub(super) fn sample(&self, key: &Key, magic: u64, by: &Id, piece: &mut [u8]) -> Result<Outcome, JobError> {
        let cannot = |error| io_failed("read some of a block", &error);
        let cut = |size: u32| sample::range(magic, size);
        let bytes = if let Some(lent) = self.shared.ledger.lent(key) {
            let cut = cut(lent.size());
            let bytes = &mut piece[..cut.len()];
            lent.read_at(bytes, cut.start.into()).map_err(cannot)?;
            bytes
        } else {
            let block = self.shared.store.read(key).map_err(|error| self.own_damage(key, error))?;
            let cut = cut(block.size);
            let bytes = &mut piece[..cut.len()];
            block.file.read_exact_at(bytes, cut.start.into()).map_err(cannot)?;
            bytes
        };
        Ok(Outcome::Sampled { sample: sample::hash(magic, by, bytes) })
    }

    /// Brings a block of another peer's here for the time of a command, and lends it.
    pub(super) fn lend(
        &self,
        put: PutId,
        key: Key,
        from: SocketAddr,
        cancel: &Cancel,
        buffer: &mut Buffer,
    ) -> Result<Outcome, JobError> {
        let size = self.bring(&key, None, Holder::Peer(from), cancel, buffer)?;
        self.shared.ledger.lend_unless(cancel, put, key, buffer.to_bytes(size))?;
        Ok(Outcome::Read { entry: ManifestEntry { key, size: size as u64 } })
    }

    /// Brings a block and reads it as a node of a tree. A block that is no node is lent on behalf of the file that it
    /// is.
    pub(super) fn unpack(
        &self,
        key: Key,
        from: Holder,
        root_of: Option<GetId>,
        cancel: &Cancel,
        buffer: &mut Buffer,
    ) -> Result<Outcome, JobError> {
        let size = self.bring(&key, None, from, cancel, buffer)?;
        let unpacked = unpack(&key, buffer, size)?;
        if let (Some(get), Outcome::NotManifest { .. }) = (root_of, &unpacked) {
            self.shared.ledger.lend_unless(cancel, get, key, buffer.to_bytes(size))?;
        }
        Ok(unpacked)
    }

    /// Pulls a block from another peer into the own store.
    pub(super) fn pull(
        &self,
        (key, size): (&Key, Option<u32>),
        notes: &[Note],
        from: SocketAddr,
        cancel: &Cancel,
        piece: &mut [u8],
    ) -> Result<Outcome, JobError> {
        let shared = &*self.shared;
        // No peer is asked for what there is no room for.
        size.map_or(Ok(()), |size| shared.store.check_room(size))?;
        let connections = &shared.connections;
        connections.whatever_the_way(shared.clock, from, || {
            let mut reply = connections.request(shared.clock, from, key, size, cancel, &self.events)?;
            let mut writer = shared.store.begin(*key, reply.size())?;
            while let Some(bytes) = reply.read_into(piece)? {
                writer.write(bytes)?;
            }
            let size = reply.size();
            reply.keep();
            shared.store.note(notes, false)?;
            writer.commit()?;
            Ok(Outcome::Stored { size })
        })
    }

    /// Connects to a peer, and no more.
    pub(super) fn dial(&self, to: SocketAddr, cancel: &Cancel) -> Result<Outcome, JobError> {
        let connected = self.shared.connections.connect(self.shared.clock, to, cancel).map(drop);
        let _ = cancel.wait_on(None);
        connected.map(|()| Outcome::Done)
    }

    /// Fetches a block from a peer that says it has it, and does no more than hash it.
    pub(super) fn read_back(
        &self,
        key: &Key,
        from: SocketAddr,
        cancel: &Cancel,
        buffer: &mut Buffer,
    ) -> Result<Outcome, JobError> {
        let size = self.bring(key, None, Holder::Peer(from), cancel, buffer)?;
        Ok(Outcome::Sound { size: size as u32 })
    }

    /// Brings a block's bytes into `buffer`, verified; returns how many.
    pub(super) fn bring(
        &self,
        key: &Key,
        size: Option<u32>,
        from: Holder,
        cancel: &Cancel,
        buffer: &mut Buffer,
    ) -> Result<usize, JobError> {
        let shared = &*self.shared;
        match from {
            Holder::Peer(addr) => shared.connections.whatever_the_way(shared.clock, addr, || {
                let reply = shared.connections.request(shared.clock, addr, key, size, cancel, &self.events)?;
                reply.read_verified(key, buffer, |bytes| {
                    drop(self.events.send(Event::Flows { job: cancel.job(), bytes }))
                })
            }),
            Holder::Own => self.bring_own(key, size, buffer),
        }
    }

    /// Brings the bytes of a block that is lent or in the own store into `buffer`, verified; returns how many.
    fn bring_own(&self, key: &Key, told: Option<u32>, buffer: &mut Buffer) -> Result<usize, JobError> {
        let lent = self.shared.ledger.lent(key);
        let size = match lent {
            Some(lent) => read_lent(key, &lent, buffer)?,
            None => {
                let block = self.shared.store.read(key).map_err(|error| self.own_damage(key, error))?;
                let cannot = |error| io_failed("read a block of the own store", &error);
                let read = |piece: &mut [u8], at| block.file.read_exact_at(piece, at).map_err(cannot);
                buffer.fill(block.size as usize, read)?;
                block.size
            }
        };
        match told.filter(|told| *told != size) {
            Some(told) => {
                let reason = format!("block {key} has {size} bytes, and {told} by the list that names it");
                Err(failed(JobErrorKind::Corrupt, reason))
            }
            None => Ok(size as usize),
        }
    }

    /// The own store cannot read a block: if it is damaged or gone, the node should know.
    pub(super) fn own_damage(&self, key: &Key, error: StoreError) -> JobError {
        if matches!(error.kind(), StoreErrorKind::Damaged | StoreErrorKind::NotFound) {
            let _ = self.events.send(Event::Damaged { key: *key });
        }
        error.into()
    }
}

/// Reads a lent block into `buffer`; an error if it does not hash to its key. Returns its size in bytes.
fn read_lent(key: &Key, lent: &LentBlock, buffer: &mut Buffer) -> Result<u32, JobError> {
    let mut hash = Sha256::new();
    buffer.fill(lent.size() as usize, |piece, at| {
        lent.read_at(piece, at).map_err(|error| io_failed("read a block of a file that is stored", &error))?;
        hash.update(piece);
        Ok(())
    })?;
    if Id::from_bytes(hash.finalize().into()) != *key {
        return Err(failed(JobErrorKind::Corrupt, "a file changed while it was being stored; store it again"));
    }
    Ok(lent.size())
}
