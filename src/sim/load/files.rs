//! The files of a run: stored in the beginning, looked for in the end.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rand::Rng;

use super::run::LoadRun;
use super::{FILE_BYTES, FileReport};
use crate::id::{Id, Key};
use crate::node::{Answer, Command, CommandId};
use crate::sim::world::World;

/// The files of a run.
#[derive(Default)]
pub(super) struct LoadFiles {
    /// Those that are being stored, by the peer and its user's command: the key of the only block of bytes.
    storing: BTreeMap<(usize, CommandId), Key>,
    /// The blocks of those that were stored.
    stored: Vec<[Key; 2]>,
    failed: usize,
}

impl LoadFiles {
    /// The peer is gone, and with it what its user wanted.
    pub(super) fn forget(&mut self, slot: usize) {
        self.storing.retain(|(user, _), _| *user != slot);
    }

    /// Takes the answers that have come.
    pub(super) fn collect(&mut self, world: &mut World) {
        let Self { storing, stored, failed } = self;
        storing.retain(|&(slot, command), block| {
            let answer = world.take_answer(slot, command);
            match &answer {
                Some(Answer::Stored { key, .. }) => stored.push([*block, *key]),
                Some(_) => *failed += 1,
                None => {}
            }
            answer.is_none()
        });
    }

    /// What became of the files until now.
    pub(super) fn report(&self, world: &World) -> FileReport {
        let holders = world.holders();
        let gone = |key: &Key| holders.get(key).is_none_or(Vec::is_empty);
        let lost = self.stored.iter().filter(|keys| keys.iter().any(gone)).count();
        FileReport { stored: self.stored.len(), failed: self.failed, lost }
    }
}

impl LoadRun<'_> {
    /// The user of the peer in `slot` stores a random file.
    pub(super) fn store(&mut self, slot: usize) {
        let mut bytes = vec![0; FILE_BYTES];
        self.rng.fill_bytes(&mut bytes);
        let block = Id::of(&bytes);
        let path = PathBuf::from(format!("/own/{block}"));
        self.world.disk_mut(slot).write_file(&path, bytes.into());
        let command = self.world.command(slot, Command::Store { path, manifest: None, keep: false });
        self.files.storing.insert((slot, command), block);
    }
}
