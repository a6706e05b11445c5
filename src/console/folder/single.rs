//! Retrieving one file of a folder.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;

use super::trouble;
use crate::console::Backend;
use crate::console::perform::Performer;
use crate::console::reply::LineReply;
use crate::file::folder::{Content, FileBytes};
use crate::id::Id;
use crate::node::{Answer, Command, Failure, FailureKind, Source};
use crate::runtime::{put_whole, stopwatch};

impl<B: Backend> Performer<B> {
    /// Retrieves a file of a folder to `dest`, by way of the folder `temporary`.
    pub(super) fn bring_single(
        &self,
        content: &Content,
        temporary: &Path,
        dest: &Path,
        replace: bool,
    ) -> Result<LineReply, Failure> {
        let took = stopwatch();
        let (answer, standing) = match content.place {
            FileBytes::Own(key) => {
                let answer = self.ask(Command::Retrieve { source: Source::Key(key), dest: dest.to_owned(), replace });
                check(content, &answer)?;
                let standing = matches!(answer, Answer::Retrieved { standing: true, .. });
                (answer, standing)
            }
            place => {
                let mut holders = 0;
                let mut bytes = Vec::new();
                if let FileBytes::Packed { pack: key, size, offset } = place {
                    let pack = temporary.join("pack");
                    let answer = self.answer_to(Command::RetrieveBlock { key, size, dest: pack.clone() });
                    let Answer::Retrieved { holders: from, .. } = answer else { return Err(Failure::from(answer)) };
                    let file = File::open(&pack).map_err(|error| trouble("read", &pack, &error))?;
                    (holders, bytes) = (from, slice(&file, offset, content)?);
                }
                let standing = put_whole(dest, &bytes, &content.sha256, replace)?;
                (retrieved(content, holders, standing, took()), standing)
            }
        };
        if content.executable && !standing {
            let executable = fs::metadata(dest).and_then(|there| make_executable(dest, there.permissions().mode()));
            executable.map_err(|error| trouble("make executable", dest, &error))?;
        }
        Ok(LineReply::Node(answer))
    }
}

/// An error unless the file was retrieved that the listing tells of.
pub(super) fn check(content: &Content, answer: &Answer) -> Result<(), Failure> {
    match answer {
        Answer::Retrieved { bytes, sha256: Some(sha256), .. }
            if (*bytes, *sha256) == (content.size, content.sha256) =>
        {
            Ok(())
        }
        Answer::Retrieved { .. } => {
            Err(Failure::new(FailureKind::Integrity, "a file of the folder is not the one that its listing tells of"))
        }
        Answer::Failed(Failure { kind: FailureKind::Folder, .. }) => {
            Err(Failure::new(FailureKind::Integrity, "a folder stands where the folder's listing tells of a file"))
        }
        other => Err(Failure::from(other.clone())),
    }
}

/// The bytes of a file in its pack.
pub(super) fn slice(pack: &File, offset: u32, content: &Content) -> Result<Vec<u8>, Failure> {
    let mut bytes = vec![0; usize::try_from(content.size).unwrap_or(0)];
    let read = pack.read_exact_at(&mut bytes, offset.into());
    if read.is_err() || Id::of(&bytes) != content.sha256 {
        let reason = "a pack of the folder does not hold the bytes that its listing tells of";
        return Err(Failure::new(FailureKind::Integrity, reason));
    }
    Ok(bytes)
}

/// All who may read the file may execute it too.
pub(super) fn make_executable(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode & 0o777 | (mode & 0o444) >> 2))
}

fn retrieved(content: &Content, holders: usize, standing: bool, took: std::time::Duration) -> Answer {
    Answer::Retrieved {
        bytes: content.size,
        resumed: 0,
        sha256: Some(content.sha256),
        hashed: true,
        blocks: u64::from(content.size > 0),
        holders,
        from: Vec::new(),
        standing,
        complete: true,
        took,
    }
}
