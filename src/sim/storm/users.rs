//! The users of a storm: they store files, retrieve them and compare what comes.

use std::path::PathBuf;
use std::time::Duration;

use rand::{Rng, RngExt};

use super::{BLOCK_SIZE, Storm, StormStep};
use crate::id::{Id, Key};
use crate::node::{Answer, Command, CommandId, Source};
use crate::sim::world::Violation;

/// A user's patience is a few times this.
const IMPATIENCE: Duration = Duration::from_millis(7);

/// Counts of stored, retrieved and lost files, each with the number that there could have been.
#[derive(Default)]
pub(super) struct UserTally {
    pub(super) stored: (usize, usize),
    pub(super) retrieved: (usize, usize),
    pub(super) lost: (usize, usize),
    pub(super) slowest: Duration,
}

/// A file that was stored, or is being stored.
#[derive(Clone)]
pub(super) struct StoredFile {
    pub(super) root: Option<Key>,
    pub(super) sha256: Id,
    pub(super) blocks: Vec<Key>,
}

impl Storm<'_> {
    /// A user stores a random file.
    pub(super) fn store(&mut self) {
        let up = self.world.up();
        let Some(slot) = self.pick(&up) else { return };
        let size = match self.rng.random_range(0..4) {
            0 => self.rng.random_range(0..10),
            1 => BLOCK_SIZE as usize,
            _ => self.rng.random_range(0..5 * BLOCK_SIZE as usize),
        };
        let mut bytes = vec![0; size];
        self.rng.fill_bytes(&mut bytes);
        let file = StoredFile {
            root: None,
            sha256: Id::of(&bytes),
            blocks: bytes.chunks(BLOCK_SIZE as usize).map(Id::of).collect(),
        };
        let path = PathBuf::from(format!("/own/{}", file.sha256));
        self.world.disk_mut(slot).write_file(&path, bytes.into());
        let keep = self.rng.random_bool(0.2);
        let command = self.world.command(slot, Command::Store { path, manifest: None, keep });
        self.storing.push((slot, command, file));
        self.lose_patience(slot, command);
    }

    /// Where a saboteur needs it, each third user ends a command soon after giving it.
    fn lose_patience(&mut self, slot: usize, command: CommandId) {
        if self.plan.saboteur.is_some_and(|saboteur| saboteur.restless) && self.is_raging && command.is_multiple_of(3) {
            let after = Duration::from_micros(IMPATIENCE.as_micros() as u64 * (1 + command % 7));
            self.agenda.push(self.world.now() + after, StormStep::GiveUp { slot, command });
        }
    }

    /// A user asks for a file that was stored.
    pub(super) fn retrieve(&mut self) {
        let up = self.world.up();
        let (Some(slot), false) = (self.pick(&up), self.files.is_empty()) else { return };
        let file = &self.files[self.rng.random_range(0..self.files.len())];
        let Some(root) = file.root else { return };
        let dest = PathBuf::from(format!("/back/{root}"));
        let sha256 = file.sha256;
        let source = Source::Key(root);
        let command = self.world.command(slot, Command::Retrieve { source, dest: dest.clone(), replace: true });
        self.retrieving.push((slot, command, dest, sha256));
        self.lose_patience(slot, command);
    }

    /// Takes the answers that have come. A file that came back must be equal to the stored one.
    pub(super) fn collect(&mut self) -> Result<(), Violation> {
        for (slot, command, mut file) in std::mem::take(&mut self.storing) {
            match self.world.take_answer(slot, command) {
                None => self.storing.push((slot, command, file)),
                Some(answer) => {
                    self.note_served(&answer)?;
                    self.tally.stored.1 += 1;
                    if let Answer::Stored { key, .. } = answer {
                        self.tally.stored.0 += 1;
                        file.root = Some(key);
                        file.blocks.push(key);
                        self.files.push(file);
                    }
                }
            }
        }
        for (slot, command, dest, sha256) in std::mem::take(&mut self.retrieving) {
            match self.world.take_answer(slot, command) {
                None => self.retrieving.push((slot, command, dest, sha256)),
                Some(answer) => {
                    self.note_served(&answer)?;
                    self.tally.retrieved.1 += 1;
                    if let Answer::Retrieved { .. } = answer {
                        self.tally.retrieved.0 += 1;
                        if self.world.disk(slot).read_file(&dest).is_none_or(|bytes| Id::of(bytes) != sha256) {
                            return self.breach(format!("{} came back changed", dest.display()));
                        }
                    }
                }
            }
        }
        Ok(())
    }
}
