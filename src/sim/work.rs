//! The transfer workers of simulated peers: each [`Job`] takes its virtual time and is then done on blocks and files in
//! memory.

use std::path::Path;
use std::time::Duration;

use sha2::Digest;

use super::content::{Bytes, JobRefusal, size_of};
use super::disk::{BlockReading, Disk, OpenFiles, Partial, SimReader, SimWriter};
use super::folder::BroughtFile;
use crate::file::local::{self, ManifestContent};
use crate::file::{LocalManifest, Manifest, ManifestEntry};
use crate::id::{Id, Key};
use crate::lease::{Lease, Note};
use crate::node::job::{GetId, Holder, Job, JobError, JobErrorKind, Outcome, PutId, Slot, Version};
use crate::wire::sample;

/// How long a worker waits for a connection or for bytes before it gives up.
pub(super) const BYTES_LIMIT: Duration = Duration::from_secs(5);
/// The least time that any access to the disk takes.
const DISK_ACCESS: Duration = Duration::from_micros(200);
/// Bytes a microsecond from or to the disk.
pub(super) const DISK_RATE: u64 = 200;
/// Bytes a microsecond over the network: 100 Mbit/s.
pub(super) const NETWORK_RATE: u64 = 12;

type Done = Result<Outcome, JobRefusal>;

/// The block that `work` has to read, and its holder.
pub(super) fn wanted(work: &Job) -> Option<(Key, Holder)> {
    match work {
        Job::Keep { key, .. } | Job::Verify { key, .. } | Job::Rehash { key } | Job::Sample { key, .. } => {
            Some((*key, Holder::Own))
        }
        Job::Lend { key, from, .. } | Job::ReadBack { key, from } => Some((*key, Holder::Peer(*from))),
        Job::Pull { key, from, .. } => Some((*key, Holder::Peer(*from))),
        Job::Fetch { slot, from, .. } => Some((slot.key, *from)),
        Job::Open { only, .. } => only.map(|slot| (slot.key, Holder::Own)),
        Job::Unpack { key, from, .. } => Some((*key, *from)),
        _ => None,
    }
}

/// How long the work takes, over a network with this round trip.
pub(super) fn duration(work: &Job, block_size: u32, rtt: Duration) -> Duration {
    let bytes = match work {
        Job::Pull { size: Some(size), .. } => u64::from(*size),
        Job::Fetch { slot, .. } | Job::Check { slot, .. } | Job::Open { only: Some(slot), .. } => slot.size.into(),
        Job::ReadNext { .. } => u64::from(block_size),
        _ => 0,
    };
    let local = DISK_ACCESS + Duration::from_micros(bytes / DISK_RATE);
    match wanted(work) {
        _ if matches!(work, Job::Dial { .. }) => rtt,
        Some((_, Holder::Peer(_))) => local + rtt * 2 + Duration::from_micros(bytes / NETWORK_RATE),
        _ => local,
    }
}

/// A job that a worker is doing.
pub(super) struct SimJob {
    pub(super) work: Job,
    /// Whether the peer that it wants to connect to cannot be reached.
    pub(super) doomed: bool,
    pub(super) cancelled: bool,
    /// The version of the named file that the job is about, when the job was started.
    pub(super) before: Option<Version>,
}

/// A transfer worker, with its peer's disk and open files.
pub(super) struct SimWorker<'a> {
    pub(super) open_files: &'a mut OpenFiles,
    pub(super) disk: &'a mut Disk,
    pub(super) block_size: u32,
}

impl SimWorker<'_> {
    /// Performs the work. `block` is the result of reading the block that it [wants](wanted), if it wants one; `file`
    /// is the result of asking another peer for a named file.
    pub(super) fn perform(&mut self, work: &Job, block: Result<Bytes, JobRefusal>, file: BroughtFile) -> Outcome {
        let done = match work {
            Job::ReadNext { put, path, manifest } => self.read_next(*put, path, manifest.as_ref()),
            Job::Pack { put, manifest } => Ok(self.pack(*put, manifest)),
            Job::Keep { key, leases } => block.and_then(|bytes| self.keep(*key, bytes, leases)),
            Job::Pull { key, size, leases, .. } => block.and_then(|bytes| {
                let told = size.unwrap_or(size_of(&bytes));
                if told == size_of(&bytes) {
                    self.keep(*key, bytes, leases)
                } else {
                    Err(corrupt("another size than told"))
                }
            }),
            Job::Publish { put } => self.publish(*put),
            Job::Verify { key, leases } => self.verify(key, leases),
            Job::Rehash { key } => self.verify(key, &[]),
            Job::Sample { magic, by, .. } => block.map(|bytes| sampled(*magic, by, &bytes)),
            Job::Lend { put, key, .. } => block.map(|bytes| self.lend(*put, *key, bytes)),
            Job::Open { get, dest, root, size, compare, replace, only } => {
                let opened = self.open(*get, dest, (*root, *size), (*compare, *replace));
                match (&opened, only, block) {
                    (Ok(Outcome::Opened { resumed: false }), Some(slot), Ok(bytes)) => {
                        self.write(*get, slot, &bytes).and_then(|_| self.finish(*get))
                    }
                    _ => opened,
                }
            }
            Job::Check { get, slot } => self.check(*get, slot),
            Job::Fetch { get, slot, .. } => block.and_then(|bytes| self.write(*get, slot, &bytes)),
            Job::Unpack { key, root_of, .. } => block.and_then(|bytes| {
                let unpacked = unpack(&bytes)?;
                if let (Some(get), Outcome::NotManifest { .. }) = (root_of, &unpacked) {
                    self.open_files.offer(*get, *key, bytes);
                }
                Ok(unpacked)
            }),
            Job::ReadBack { .. } => block.map(|bytes| Outcome::Sound { size: size_of(&bytes) }),
            Job::Finish { get, .. } => self.finish(*get),
            Job::ReadManifest { path } => self.read_manifest(path),
            Job::Dial { .. } => Ok(Outcome::Done),
            // No peer has a name here.
            Job::Resolve => Ok(Outcome::Resolved { known: Vec::new(), hosts: Vec::new() }),
            Job::Note { notes } => {
                self.disk.notes.extend_from_slice(notes);
                Ok(Outcome::Done)
            }
            Job::Delete { key } => {
                self.disk.delete(key);
                Ok(Outcome::Done)
            }
            Job::Named(job) => self.disk.folder.perform(job, file).map(Outcome::Named),
            Job::SavePeers { peers } => {
                self.disk.peers.clone_from(peers);
                Ok(Outcome::Done)
            }
        };
        done.unwrap_or_else(|(kind, reason)| Outcome::Failed(JobError { kind, reason }))
    }

    fn read_next(&mut self, put: PutId, path: &Path, manifest: Option<&LocalManifest>) -> Done {
        if !self.open_files.readers.contains_key(&put) {
            let bytes = self.disk.read_file(path).ok_or_else(|| not_found(path))?.clone();
            self.open_files.readers.insert(put, SimReader::new(bytes, manifest.cloned()));
        }
        let Some(reader) = self.open_files.readers.get_mut(&put) else { return Err(not_open()) };
        let (size, rest) = (reader.bytes.len() as u64, &reader.bytes[reader.at..]);
        let sha256 = |reader: &SimReader| Id::from_bytes(reader.hasher.clone().finalize().into());
        if rest.is_empty() {
            return Ok(Outcome::End { size, sha256: sha256(reader) });
        }
        let bare = reader.at == 0 && !Manifest::may_begin(rest);
        let block: Bytes = rest[..rest.len().min(self.block_size as usize)].into();
        reader.hasher.update(&block);
        reader.at += block.len();
        let entry = ManifestEntry { key: Id::of(&block), size: block.len() as u64 };
        reader.entries.push(entry);
        let read = match block.len() < self.block_size as usize {
            true => Outcome::Last { entry, size, sha256: sha256(reader), bare },
            false => Outcome::Read { entry },
        };
        self.open_files.offer(put, entry.key, block);
        Ok(read)
    }

    fn pack(&mut self, put: PutId, manifest: &Manifest) -> Outcome {
        let block: Bytes = manifest.encode().into();
        let (key, size) = (Id::of(&block), size_of(&block));
        self.open_files.offer(put, key, block);
        Outcome::Packed { key, size }
    }

    fn lend(&mut self, put: PutId, key: Key, bytes: Bytes) -> Outcome {
        let entry = ManifestEntry { key, size: bytes.len() as u64 };
        self.open_files.offer(put, key, bytes);
        Outcome::Read { entry }
    }

    fn keep(&mut self, key: Key, bytes: Bytes, leases: &[Lease]) -> Done {
        let size = size_of(&bytes);
        self.note(key, leases);
        if self.disk.keep(key, bytes) {
            Ok(Outcome::Stored { size })
        } else {
            Err((JobErrorKind::Full, "the disk is full".to_owned()))
        }
    }

    fn note(&mut self, key: Key, leases: &[Lease]) {
        if !leases.is_empty() {
            self.disk.notes.push(Note::Laid { key, leases: leases.to_vec() });
        }
    }

    fn publish(&mut self, put: PutId) -> Done {
        let reader = self.open_files.readers.get(&put).ok_or_else(not_open)?;
        let manifest = reader.manifest.clone().ok_or((JobErrorKind::Io, "no manifest was wanted".to_owned()))?;
        let sha256 = Id::from_bytes(reader.hasher.clone().finalize().into());
        let entries = reader.entries.iter().map(|entry| manifest.form.entry(entry));
        let text: String =
            [manifest.form.head(reader.bytes.len() as u64, &sha256)].into_iter().chain(entries).collect();
        self.disk.write_file(manifest.path, text.into_bytes().into());
        Ok(Outcome::Done)
    }

    /// Whether the own store holds the block. A rotten one was deleted when it was read.
    fn verify(&mut self, key: &Key, leases: &[Lease]) -> Done {
        match self.disk.read(key) {
            BlockReading::Sound(bytes) => {
                self.note(*key, leases);
                Ok(Outcome::Sound { size: size_of(&bytes) })
            }
            BlockReading::Rotten | BlockReading::Absent => {
                Err((JobErrorKind::NotFound, format!("{} is not here", key.short())))
            }
        }
    }

    fn open(&mut self, get: GetId, dest: &Path, (root, size): (Id, u64), (compare, replace): (bool, bool)) -> Done {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let there = self.disk.read_file(dest).map(|bytes| bytes.len());
        let standing = compare && there == Some(size);
        self.open_files.writers.insert(get, SimWriter { dest: dest.to_owned(), standing });
        if standing {
            return Ok(Outcome::Standing);
        }
        if there.is_some() && !replace {
            return Err((JobErrorKind::Exists, format!("another file is at {}", dest.display())));
        }
        let taken_up = self.disk.partials.get(dest).is_some_and(|old| old.root == root && old.bytes.len() == size);
        if !taken_up {
            self.disk.partials.insert(dest.to_owned(), Partial { root, bytes: vec![0; size] });
        }
        Ok(Outcome::Opened { resumed: taken_up })
    }

    fn place(&mut self, get: GetId, slot: &Slot) -> Result<&mut [u8], JobRefusal> {
        let partial = self.open_files.writers.get(&get).and_then(|writer| self.disk.partials.get_mut(&writer.dest));
        partial.ok_or_else(not_open)?.bytes.get_mut(range(slot)).ok_or_else(beyond)
    }

    fn check(&mut self, get: GetId, slot: &Slot) -> Done {
        let standing = self.open_files.writers.get(&get).filter(|writer| writer.standing);
        let key = match standing.and_then(|writer| self.disk.read_file(&writer.dest)) {
            Some(file) => Id::of(file.get(range(slot)).ok_or_else(beyond)?),
            None => Id::of(self.place(get, slot)?),
        };
        Ok(Outcome::Checked { good: key == slot.key })
    }

    fn write(&mut self, get: GetId, slot: &Slot, bytes: &Bytes) -> Done {
        if size_of(bytes) != slot.size {
            return Err(corrupt("another size than its place in the file has"));
        }
        self.place(get, slot)?.copy_from_slice(bytes);
        Ok(Outcome::Fetched)
    }

    fn finish(&mut self, get: GetId) -> Done {
        let SimWriter { dest, .. } = self.open_files.writers.remove(&get).ok_or_else(not_open)?;
        let partial = self.disk.partials.remove(&dest).ok_or_else(not_open)?;
        self.disk.write_file(dest, partial.bytes.into());
        Ok(Outcome::Done)
    }

    fn read_manifest(&self, path: &Path) -> Done {
        let bytes = self.disk.read_file(path).ok_or_else(|| not_found(path))?;
        let ManifestContent { entries, sha256 } = local::read(bytes).map_err(|reason| (JobErrorKind::Unfit, reason))?;
        Ok(Outcome::Manifest { entries, root: Id::of(bytes), sha256 })
    }
}

fn sampled(magic: u64, by: &Id, bytes: &Bytes) -> Outcome {
    let cut = sample::range(magic, size_of(bytes));
    Outcome::Sampled { sample: sample::hash(magic, by, &bytes[cut.start as usize..cut.end as usize]) }
}

fn unpack(bytes: &Bytes) -> Done {
    match Manifest::decode(bytes) {
        Ok(Some(manifest)) => Ok(Outcome::Unpacked { manifest }),
        Ok(None) => Ok(Outcome::NotManifest { size: size_of(bytes) }),
        Err(error) => Err((JobErrorKind::BrokenList, error.to_string())),
    }
}

/// The range of a block's bytes in its file.
fn range(slot: &Slot) -> std::ops::Range<usize> {
    let start = usize::try_from(slot.offset).unwrap_or(usize::MAX);
    start..start.saturating_add(slot.size as usize)
}

fn beyond() -> JobRefusal {
    corrupt("a block beyond the file's end")
}

fn corrupt(what: &str) -> JobRefusal {
    (JobErrorKind::Corrupt, what.to_owned())
}

fn not_found(path: &Path) -> JobRefusal {
    (JobErrorKind::NotFound, format!("there is no file {}", path.display()))
}

fn not_open() -> JobRefusal {
    (JobErrorKind::Io, "the file is not open".to_owned())
}
