//! Retrieving: which of a file, a folder and something in a folder is meant.

use std::path::Path;

use super::inside;
use super::list::temporary;
use crate::console::perform::Performer;
use crate::console::reply::Reply;
use crate::console::{Backend, finding};
use crate::file::folder::Kind;
use crate::id::Key;
use crate::node::{Command, Failure, FailureKind, Source};

impl<B: Backend> Performer<B> {
    /// Retrieves a file, a folder, or something in a folder. Where `whole` is not set, a folder is refused.
    pub(in crate::console) fn retrieve(&self, source: Source, dest: &Path, replace: bool, whole: bool) -> Reply {
        self.bring(source, dest, replace, whole).unwrap_or_else(Reply::from)
    }

    fn bring(&self, source: Source, dest: &Path, replace: bool, whole: bool) -> Result<Reply, Failure> {
        let (catalogue, dest) = (self.catalogue.as_ref(), self.folder.join(dest));
        if let Some((key, path)) = inside::source(catalogue, &self.folder, &source)? {
            return self.bring_inside(key, &path, &dest, replace, whole);
        }
        let source = match finding::resolve_source(catalogue, &self.folder, source)? {
            Source::Manifest(path) => Source::Manifest(self.folder.join(path)),
            key => key,
        };
        let reply = self.reply(Command::Retrieve { source: source.clone(), dest: dest.clone(), replace }, None);
        let is_folder = reply.failure().is_some_and(|failure| failure.kind == FailureKind::Folder);
        match source {
            Source::Key(key) if is_folder && whole => self.bring_folder(key, Path::new(""), &dest, replace),
            _ => Ok(reply),
        }
    }

    /// Retrieves something in a folder.
    fn bring_inside(&self, key: Key, path: &Path, dest: &Path, replace: bool, whole: bool) -> Result<Reply, Failure> {
        if path.as_os_str().is_empty() && whole {
            return self.bring_folder(key, path, dest, replace);
        }
        let folder = temporary()?;
        let (_, extent) = self.listing(key, path, folder.path().join("listing"))?;
        match extent.itself.map(|item| item.kind) {
            Some(Kind::File(content)) => self.bring_single(&content, folder.path(), dest, replace),
            Some(Kind::Link { target }) => {
                let reason = format!("{} is a link to {}; retrieve that", super::name(path), super::name(&target));
                Err(super::failed(FailureKind::Usage, reason))
            }
            _ if whole => self.bring_folder(key, path, dest, replace),
            _ => {
                let reason =
                    format!("{} is a folder, not a file", super::name(&Path::new(&key.to_string()).join(path)));
                Err(super::failed(FailureKind::Folder, reason))
            }
        }
    }
}
