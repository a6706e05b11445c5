//! Retrieving: which of a file, a folder and something in a folder is meant.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use super::inside;
use super::single::check;
use super::standing::why_not;
use super::work_folder;
use crate::console::perform::Performer;
use crate::console::reply::LineReply;
use crate::console::{Backend, finding};
use crate::file::folder::{FileBytes, ItemKind};
use crate::id::Key;
use crate::node::{Answer, Command, Failure, FailureKind, Source};
use crate::runtime::{Origin, Session, read_manifest};

impl<B: Backend> Performer<B> {
    /// Retrieves a file, a folder, or something in a folder. Where `whole` is not set, a folder is refused.
    pub(in crate::console) fn retrieve(&self, source: Source, dest: &Path, replace: bool, whole: bool) -> LineReply {
        self.bring(source, dest, replace, whole).unwrap_or_else(LineReply::from)
    }

    fn bring(&self, source: Source, dest: &Path, replace: bool, whole: bool) -> Result<LineReply, Failure> {
        let (catalogue, dest) = (self.catalogue.as_ref(), self.folder.join(dest));
        if replace && catalogue.is_some_and(|catalogue| catalogue.lies_in(&dest)) {
            let reason =
                format!("{} holds what this peer and its catalogue keep: it is not replaced", super::name(&dest));
            return Err(Failure::new(FailureKind::Usage, reason));
        }
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
    fn bring_inside(
        &self,
        key: Key,
        path: &Path,
        dest: &Path,
        replace: bool,
        whole: bool,
    ) -> Result<LineReply, Failure> {
        if path.as_os_str().is_empty() && whole {
            return self.bring_folder(key, path, dest, replace);
        }
        let folder = work_folder()?;
        let (_, extent) = self.listing(key, path, folder.path().join("listing"))?;
        match extent.itself.map(|item| item.kind) {
            Some(ItemKind::File(content)) => self.bring_single(&content, folder.path(), dest, replace),
            Some(ItemKind::Link { target }) => {
                let to = super::name(&target);
                let reason = match why_not(path, &target) {
                    None => format!("{} is a link to {to}; name that", super::name(path)),
                    Some(kind) => format!("{} is {kind}: {to}; nothing there was stored", super::name(path)),
                };
                Err(Failure::new(FailureKind::Usage, reason))
            }
            _ if whole => self.bring_folder(key, path, dest, replace),
            _ => {
                let reason =
                    format!("{} is a folder, not a file", super::name(&Path::new(&key.to_string()).join(path)));
                Err(Failure::new(FailureKind::Folder, reason))
            }
        }
    }
}

impl Performer<Session> {
    /// Writes a file, or one in a folder, to `to` in order, while its blocks arrive. A small file of a folder is
    /// written once it is whole. The session is over with it.
    pub fn stream(&self, source: Source, to: &mut dyn Write) -> LineReply {
        self.pour(source, to).map_or_else(LineReply::from, LineReply::Node)
    }

    fn pour(&self, source: Source, to: &mut dyn Write) -> Result<Answer, Failure> {
        let (catalogue, folder) = (self.catalogue.as_ref(), work_folder()?);
        if let Some((key, path)) = inside::source(catalogue, &self.folder, &source)? {
            let (_, extent) = self.listing(key, &path, folder.path().join("listing"))?;
            if let Some(ItemKind::File(content)) = extent.itself.map(|item| item.kind)
                && let FileBytes::Own(key) = content.place
            {
                let answer = self.pour_blocks(Source::Key(key), to)?;
                return check(&content, &answer).map(|()| answer);
            }
        } else {
            return self.pour_blocks(finding::resolve_source(catalogue, &self.folder, source)?, to);
        }
        let dest = folder.path().join("file");
        match self.bring(source, &dest, false, false)? {
            LineReply::Node(Answer::Failed(failure)) => Err(failure),
            LineReply::Node(answer) => {
                let copied = File::open(&dest).and_then(|mut file| io::copy(&mut file, to)).and_then(|_| to.flush());
                copied.map_err(|error| {
                    Failure::new(FailureKind::Other, format!("cannot write what was retrieved: {error}"))
                })?;
                Ok(answer)
            }
            other => Err(Failure::new(FailureKind::Other, format!("an unexpected answer: {other:?}"))),
        }
    }

    fn pour_blocks(&self, source: Source, to: &mut dyn Write) -> Result<Answer, Failure> {
        let retrieve = Command::Retrieve { source: source.clone(), dest: "-".into(), replace: false };
        let mut show = self.shows.begin(&retrieve);
        let origin = match &source {
            Source::Key(key) => Origin::Key(*key),
            Source::Manifest(path) => Origin::Listed(read_manifest(&self.folder.join(path))?.0),
        };
        let streamed = self.backend.stream(origin, 0..u64::MAX, to, None, &mut *show);
        streamed.map_err(|mut failure| {
            if let Source::Key(key) = source {
                finding::recognise(self.catalogue.as_ref(), &key, &mut failure);
            }
            failure
        })
    }
}
