//! Which network: its name, and where its key is read from.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueHint};
use kadring::network::{NetworkName, USUAL};
use kadring::runtime::Keyring;

/// Holds keys as the key file does. It is no option: a command line is seen by everybody on the machine.
const KEY_VARIABLE: &str = "KADRING_NETWORK_KEY";

/// Names the key file.
const FILE_VARIABLE: &str = "KADRING_NETWORK_KEY_FILE";

/// Of which network a peer is, and under which key its peers speak.
#[derive(Args, Default, Debug)]
pub(crate) struct NetworkArgs {
    /// The network's name: peers of another name are refused, so that two networks never become one by mistake
    #[arg(long = "network", id = "network", env = "KADRING_NETWORK", value_name = "NAME", default_value = USUAL)]
    pub(crate) name: NetworkName,
    /// File with the network key, as keygen writes it: all that travels is sealed, and peers without the key are not
    /// answered. A regular file is read again when it changes, a pipe once. KADRING_NETWORK_KEY may hold the key itself
    /// instead
    #[arg(long, env = FILE_VARIABLE, value_name = "FILE", value_hint = ValueHint::FilePath)]
    network_key_file: Option<PathBuf>,
}

impl NetworkArgs {
    /// The keys; none if none are given.
    ///
    /// # Errors
    /// For people: what is wrong with what is given.
    pub(crate) fn keys(&self) -> Result<Option<Arc<Keyring>>, String> {
        // What should have printed a key, or its file's name, may have failed: then nothing is to be sent in the open.
        let file = self.network_key_file.clone().or_else(|| std::env::var_os(FILE_VARIABLE).map(PathBuf::from));
        let keys = match (&file, std::env::var_os(KEY_VARIABLE)) {
            (Some(path), _) => Keyring::of_file(path),
            (None, Some(text)) => Keyring::of_text(&text.to_string_lossy(), KEY_VARIABLE),
            (None, None) => return Ok(None),
        };
        keys.map(|keys| Some(Arc::new(keys))).map_err(|error| error.to_string())
    }
}

/// The arguments of `keygen`.
#[derive(Args, Debug)]
pub(crate) struct KeygenArgs {
    /// Write the key to this new file, which only you may read, instead of standard output
    #[arg(long, env = "KADRING_OUT", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) out: Option<PathBuf>,
}
