use std::env;
use std::path::{Path, PathBuf};

use caesure_consensus::Network;

use crate::Error;

/// Returns the folder of a network: `-b`, else `$CAESURE_BASE`, else `~/.caesure`; main lies in the
/// base itself, other networks in subfolders named as Core's.
pub(crate) fn network_folder(base: Option<&Path>, network: Network) -> Result<PathBuf, Error> {
    let base = match base {
        Some(base) => base.to_owned(),
        None => match env::var_os("CAESURE_BASE").filter(|base| !base.is_empty()) {
            Some(base) => base.into(),
            None => PathBuf::from(env::var_os("HOME").ok_or(Error::NoBase)?).join(".caesure"),
        },
    };
    Ok(if network == Network::Main { base } else { base.join(network.name()) })
}
