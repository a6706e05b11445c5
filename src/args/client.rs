//! The command lines of clients that come for one command, of the catalogue, and of those who talk to a running peer.

use std::path::PathBuf;

use clap::builder::{BoolishValueParser, OsStringValueParser, PathBufValueParser, TypedValueParser};
use clap::{ArgGroup, Args, ValueHint};
use kadring::console::folder::Tree;
use kadring::console::terms::Terms;
use kadring::console::words::{parse_host_port, parse_name, parse_source};
use kadring::file::{LocalManifest, ManifestForm};
use kadring::node::Source;
use kadring::raw_text;
use kadring::raw_text::{no_file, output_file, own_stream};

use super::{CopiesArgs, FormatArgs, NetworkArgs, OverlayName};

/// How a client that comes for one command finds the network.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("way").required(true).multiple(true))]
pub(crate) struct JoinArgs {
    /// A running peer to join through; may be given several times, or separated by commas
    #[arg(long, env = "KADRING_BOOTSTRAP", value_name = "HOST:PORT", value_delimiter = ',',
          group = "way", value_parser = parse_host_port, value_hint = ValueHint::Hostname)]
    pub(crate) bootstrap: Vec<String>,
    /// Have it done by the peer that runs with this data folder; only if none does, join
    #[arg(long, env = "KADRING_DATA", value_name = "DIR", group = "way", value_hint = ValueHint::DirPath)]
    pub(crate) data: Option<PathBuf>,
    /// How the peers find one another
    #[arg(long, env = "KADRING_OVERLAY", value_enum, default_value_t)]
    pub(crate) overlay: OverlayName,
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
}

/// The arguments of `import`.
#[derive(Args, Debug)]
pub(crate) struct ImportArgs {
    /// The folder, such as the dht_store of DHTFileStore
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) dir: PathBuf,
    /// Keep the blocks for so long; without it, for ever
    #[arg(id = "for", long, env = "KADRING_FOR", value_name = "TIME")]
    pub(crate) lasts: Option<String>,
    #[command(flatten)]
    pub(crate) join: JoinArgs,
    #[command(flatten)]
    pub(crate) copies: CopiesArgs,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

/// Which catalogue, and how it is shown.
#[derive(Args, Debug)]
pub(crate) struct CatalogueArgs {
    /// The data folder of the peer whose catalogue is meant; without it, what this user's own commands stored
    #[arg(long, env = "KADRING_DATA", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) data: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

/// The arguments of `files`.
#[derive(Args, Debug)]
pub(crate) struct FilesArgs {
    /// A part of the name, or a pattern with * and ?
    #[arg(default_value = "", hide_default_value = true)]
    pub(crate) pattern: String,
    #[command(flatten)]
    pub(crate) of: CatalogueArgs,
}

/// The arguments of `name`.
#[derive(Args, Debug)]
pub(crate) struct NameArgs {
    /// The file: its name, or its key or the beginning of it
    #[arg(value_name = "KEY|NAME", value_parser = word())]
    pub(crate) word: String,
    /// The further name
    #[arg(value_parser = catalogue_name())]
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) of: CatalogueArgs,
}

/// The arguments of `forget`.
#[derive(Args, Debug)]
pub(crate) struct ForgetArgs {
    /// The file: its name, or its key or the beginning of it
    #[arg(value_name = "KEY|NAME", value_parser = word())]
    pub(crate) word: String,
    #[command(flatten)]
    pub(crate) of: CatalogueArgs,
}

/// The arguments of `ctl`.
#[derive(Args, Debug)]
pub(crate) struct CtlArgs {
    /// The data folder of the peer
    #[arg(long, env = "KADRING_DATA", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) data: PathBuf,
    /// Print the keys of what was stored alone, a line each
    #[arg(short, long, env = "KADRING_QUIET", value_parser = BoolishValueParser::new(), conflicts_with = "json")]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
    /// The command and its arguments, as at the peer's own console; "help" lists them. Without one, commands come from
    /// standard input, a line each, and the exit code is that of the first that failed
    #[arg(value_name = "COMMAND", value_parser = word(), trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) words: Vec<String>,
}

/// The arguments of `store`.
#[derive(Args, Debug)]
pub(crate) struct StoreArgs {
    /// The files and folders; - is standard input. Of two, the second is a manifest to write in DHTFileStore's text,
    /// unless another file stands there already
    #[arg(required = true, value_name = "FILE",
          value_parser = PathBufValueParser::new().try_map(input), value_hint = ValueHint::FilePath)]
    pub(crate) files: Vec<PathBuf>,
    /// Local file to write a manifest to that shows if it is cut short
    #[arg(long, env = "KADRING_MANIFEST", value_name = "FILE",
          value_parser = PathBufValueParser::new().try_map(output_file), value_hint = ValueHint::FilePath)]
    pub(crate) manifest: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) join: JoinArgs,
    #[command(flatten)]
    pub(crate) copies: CopiesArgs,
    /// What one file is called in the list of what was stored here, if not by the last part of its path
    #[arg(long, env = "KADRING_NAME", value_parser = catalogue_name())]
    pub(crate) name: Option<String>,
    /// Leave out of folders what fits: a pattern of a name or, with a slash, of a path in the folder; may be given
    /// several times, or separated by commas
    #[arg(long, env = "KADRING_EXCLUDE", value_name = "GLOB", value_delimiter = ',', value_parser = word())]
    pub(crate) exclude: Vec<String>,
    /// Store the rest of a folder in which something cannot be read
    #[arg(long, env = "KADRING_SKIP_UNREADABLE", value_parser = BoolishValueParser::new())]
    pub(crate) skip_unreadable: bool,
    /// Keep it for so long; without it, for ever
    #[arg(id = "for", long, env = "KADRING_FOR", value_name = "TIME")]
    pub(crate) lasts: Option<String>,
    /// Have so many copies of each block kept; without it, as many as the peers usually keep
    #[arg(id = "copies", long, env = "KADRING_COPIES", value_name = "N")]
    pub(crate) number: Option<String>,
    /// Print the keys alone, a line each
    #[arg(short, long, env = "KADRING_QUIET", value_parser = BoolishValueParser::new(), conflicts_with = "json")]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

impl StoreArgs {
    /// How long it is kept.
    pub(crate) fn terms(&self) -> Result<Terms, String> {
        Terms::read(self.lasts.as_deref(), self.number.as_deref())
    }

    /// How folders are stored.
    pub(crate) fn tree(&self) -> Tree {
        Tree { exclude: self.exclude.clone(), skip_unreadable: self.skip_unreadable }
    }

    /// The local manifest that was asked for.
    ///
    /// # Errors
    /// For people: a manifest is of one file.
    pub(crate) fn local_manifest(&self) -> Result<Option<LocalManifest>, String> {
        match &self.manifest {
            Some(_) if self.files.len() > 1 => Err("--manifest is the manifest of one file".to_owned()),
            named => Ok(named.clone().map(|path| LocalManifest { path, form: ManifestForm::Whole })),
        }
    }
}

/// The arguments of `retrieve`.
#[derive(Args, Debug)]
pub(crate) struct RetrieveArgs {
    /// The file's or folder's key, its name in the list of what was stored here, or the local list of its blocks; /PATH
    /// behind a folder's key or name is what lies there
    #[arg(value_name = "KEY|NAME[/PATH]|MANIFEST", value_parser = source(), value_hint = ValueHint::FilePath)]
    pub(crate) source: Source,
    /// Where to; - is standard output, and the answer goes to standard error then
    #[arg(value_parser = PathBufValueParser::new().try_map(destination), value_hint = ValueHint::FilePath)]
    pub(crate) dest: PathBuf,
    /// Replace another file that stands at DEST; what stands in a folder's place is moved aside
    #[arg(long, env = "KADRING_FORCE", value_parser = BoolishValueParser::new())]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) join: JoinArgs,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

/// The arguments of `renew`.
#[derive(Args, Debug)]
pub(crate) struct RenewArgs {
    /// The files, by key or by their names in the list of what was stored here; without any, all that end some time
    #[arg(value_name = "KEY|NAME", value_parser = word())]
    pub(crate) files: Vec<String>,
    /// Keep them for so long from now, or "ever"; without it, as long as at first
    #[arg(id = "for", long, env = "KADRING_FOR", value_name = "TIME")]
    pub(crate) lasts: Option<String>,
    #[command(flatten)]
    pub(crate) join: JoinArgs,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

/// The arguments of `delete`.
#[derive(Args, Debug)]
pub(crate) struct DeleteArgs {
    /// The files, by key or by their names in the list of what was stored here
    #[arg(required = true, value_name = "KEY|NAME", value_parser = word())]
    pub(crate) files: Vec<String>,
    #[command(flatten)]
    pub(crate) join: JoinArgs,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

/// The arguments of `copies`.
#[derive(Args, Debug)]
pub(crate) struct RecountArgs {
    /// The file, by key or by its name in the list of what was stored here
    #[arg(value_name = "KEY|NAME", value_parser = word())]
    pub(crate) file: String,
    /// How many copies of each block are kept from now on
    #[arg(value_name = "N")]
    pub(crate) copies: String,
    #[command(flatten)]
    pub(crate) join: JoinArgs,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

/// The arguments of `ls`.
#[derive(Args, Debug)]
pub(crate) struct LsArgs {
    /// The folder's key or its name in the list of what was stored here, and maybe a path in it
    #[arg(value_name = "KEY|NAME[/PATH]", value_parser = word())]
    pub(crate) folder: String,
    /// List what is in its folders too
    #[arg(long, env = "KADRING_ALL", value_parser = BoolishValueParser::new())]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) join: JoinArgs,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

/// The arguments of `cat`.
#[derive(Args, Debug)]
pub(crate) struct CatArgs {
    /// The file: its key or name, or a folder's and the path in it
    #[arg(value_name = "KEY|NAME[/PATH]", value_parser = source())]
    pub(crate) file: Source,
    #[command(flatten)]
    pub(crate) join: JoinArgs,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

/// The arguments of `lookup`.
#[derive(Args, Debug)]
pub(crate) struct LookupArgs {
    /// The key, 64 hexadecimal digits; or its beginning, or a name, in the list of what was stored here
    #[arg(value_name = "KEY|NAME", value_parser = word())]
    pub(crate) key: String,
    /// Show each question that is asked, and what came of it
    #[arg(long, env = "KADRING_EXPLAIN")]
    pub(crate) explain: bool,
    /// File for a picture of them: time against distance, a bar for each
    #[arg(long, env = "KADRING_SVG", value_name = "FILE",
          value_parser = PathBufValueParser::new().try_map(output_file), value_hint = ValueHint::FilePath)]
    pub(crate) svg: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) join: JoinArgs,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

/// The arguments of `check`.
#[derive(Args, Debug)]
pub(crate) struct CheckArgs {
    /// The file's key, its name in the list of what was stored here, or the local list of its blocks
    #[arg(required = true, value_name = "KEY|NAME|MANIFEST", value_parser = word(), value_hint = ValueHint::FilePath)]
    pub(crate) files: Vec<String>,
    /// Have each holder hash its copies now
    #[arg(long, env = "KADRING_VERIFY", value_parser = BoolishValueParser::new())]
    pub(crate) verify: bool,
    /// Make the copies that are missing
    #[arg(long, env = "KADRING_REPAIR", value_parser = BoolishValueParser::new())]
    pub(crate) repair: bool,
    #[command(flatten)]
    pub(crate) join: JoinArgs,
    #[command(flatten)]
    pub(crate) copies: CopiesArgs,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

/// The arguments of `ping`.
#[derive(Args, Debug)]
pub(crate) struct PingArgs {
    /// The address
    #[arg(value_name = "HOST:PORT", value_parser = parse_host_port, value_hint = ValueHint::Hostname)]
    pub(crate) addr: String,
    /// How the peer finds others
    #[arg(long, env = "KADRING_OVERLAY", value_enum, default_value_t)]
    pub(crate) overlay: OverlayName,
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

/// Any word, as text.
fn word() -> impl TypedValueParser<Value = String> {
    OsStringValueParser::new().map(raw_text::text_of)
}

/// What names a file in the network.
fn source() -> impl TypedValueParser<Value = Source> {
    word().try_map(|word| parse_source(&word))
}

/// A name for the catalogue.
fn catalogue_name() -> impl TypedValueParser<Value = String> {
    word().try_map(|word| parse_name(&word))
}

/// A file to be stored. Standard input is `-` by all its names; what else this process was given is read.
fn input(path: PathBuf) -> Result<PathBuf, String> {
    match path.to_str().map(|word| (word, own_stream(word))) {
        Some((_, Some("0"))) => Ok("-".into()),
        Some((word, Some("1" | "2" | "tty"))) => Err(no_file(word)),
        _ => Ok(path),
    }
}

/// Where a file is to be written. Standard output is `-` by all its names: the answer goes elsewhere then.
fn destination(path: PathBuf) -> Result<PathBuf, String> {
    match path.to_str().map(|word| (word, own_stream(word))) {
        Some((_, Some("1"))) => Ok("-".into()),
        Some((word, Some(_))) => Err(no_file(word)),
        _ => Ok(path),
    }
}
