//! The catalogue from the command line: of the user, or of a peer's data folder.

use std::io;

use kadring::console::Screen;
use kadring::console::catalogue::Catalogue;
use kadring::console::finding;
use kadring::console::spec::LineTask;

use super::client::tell;
use super::{Exit, log_to};
use crate::args::{CatalogueArgs, FilesArgs, ForgetArgs, NameArgs};

/// `kadring files`.
pub(crate) fn files(FilesArgs { pattern, of }: FilesArgs) -> Exit {
    answer(&of, LineTask::Files { pattern })
}

/// `kadring name`.
pub(crate) fn name(NameArgs { word, name, of }: NameArgs) -> Exit {
    answer(&of, LineTask::Name { word, name })
}

/// `kadring forget`.
pub(crate) fn forget(ForgetArgs { word, of }: ForgetArgs) -> Exit {
    answer(&of, LineTask::Forget { word })
}

fn answer(of: &CatalogueArgs, request: LineTask) -> Exit {
    log_to(&Screen::stderr(), "warn");
    let catalogue = of.data.clone().map(Catalogue::of).or_else(Catalogue::of_user);
    let reply = finding::answer(catalogue.as_ref(), request);
    tell(&reply, of.format.format(), io::stdout())
}
