//! `ls` and `cat`: what is in a folder, and what is in a file.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::answer::{ListedFolder, ListedItem, ShownText};
use super::{inside, trouble, work_folder};
use crate::config::MAX_BLOCK_SIZE;
use crate::console::Backend;
use crate::console::escape::quoted;
use crate::console::perform::Performer;
use crate::console::reply::{ConsoleAnswer, LineReply};
use crate::console::words::parse_source;
use crate::node::{Failure, FailureKind};
use crate::raw_text;

/// Bytes of the longest text that is shown.
const LONGEST_SHOWN: u64 = MAX_BLOCK_SIZE as u64;

impl<B: Backend> Performer<B> {
    /// What is in a folder in the network: at one place, or `all` below it.
    pub(in crate::console) fn list_folder(&self, word: &str, all: bool) -> LineReply {
        self.listed(word, all).unwrap_or_else(LineReply::from)
    }

    fn listed(&self, word: &str, all: bool) -> Result<LineReply, Failure> {
        let Some((key, path)) = inside::named(self.catalogue.as_ref(), &raw_text::path(word))? else {
            let reason = format!("{} is no key and no name in the catalogue", quoted(word));
            return Err(Failure::new(FailureKind::NotFound, reason));
        };
        let folder = work_folder()?;
        let (listing, extent) = self.listing(key, &path, folder.path().join("listing"))?;
        let mut items = Vec::new();
        listing.each(&mut |path, item| {
            if path.components().count() == 1 || (all && path != Path::new("")) {
                items.push(ListedItem::new(path, item));
            }
            Ok(())
        })?;
        // Of what is no folder, the listing is that one thing.
        match extent.itself {
            Some(item) if !matches!(item.kind, crate::file::folder::ItemKind::Folder) => {
                items.push(ListedItem::new(Path::new(path.file_name().unwrap_or_default()), item));
            }
            _ => {}
        }
        Ok(LineReply::Console(ConsoleAnswer::Listed(ListedFolder { key, path, items })))
    }

    /// The text of a file in the network, as an answer.
    pub(in crate::console) fn show(&self, word: &str) -> LineReply {
        self.shown(word).unwrap_or_else(LineReply::from)
    }

    fn shown(&self, word: &str) -> Result<LineReply, Failure> {
        let source = parse_source(word).map_err(|reason| Failure::new(FailureKind::Usage, reason))?;
        let folder = work_folder()?;
        let dest = folder.path().join("file");
        let reply = self.retrieve(source, &dest, false, false);
        if reply.failure().is_some() {
            return Ok(reply);
        }
        let mut bytes = Vec::new();
        let read = File::open(&dest).and_then(|file| file.take(LONGEST_SHOWN + 1).read_to_end(&mut bytes));
        read.map_err(|error| trouble("read", &dest, &error))?;
        let unfit = |what: &str| {
            Failure::new(
                FailureKind::Usage,
                format!("{} {what}; retrieve it to a file, or run 'kadring cat'", quoted(word)),
            )
        };
        if bytes.len() as u64 > LONGEST_SHOWN {
            return Err(unfit("is longer than the 1 MiB that is shown here"));
        }
        let text = String::from_utf8(bytes).map_err(|_| unfit("is no text"))?;
        Ok(LineReply::Console(ConsoleAnswer::Shown(ShownText { text })))
    }
}
