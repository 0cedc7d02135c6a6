use std::env;
use std::path::{Path, PathBuf};

use caesure_consensus::Network;

use crate::Error;

/// Returns the base folder: `-b`, else `$CAESURE_BASE`, else `~/.caesure`.
pub(crate) fn base_folder(base: Option<&Path>) -> Result<PathBuf, Error> {
    Ok(match base {
        Some(base) => base.to_owned(),
        None => match env::var_os("CAESURE_BASE").filter(|base| !base.is_empty()) {
            Some(base) => base.into(),
            None => PathBuf::from(env::var_os("HOME").ok_or(Error::NoBase)?).join(".caesure"),
        },
    })
}

/// Returns the folder of a network: main lies in the base itself, other networks in subfolders named
/// as Core's.
pub(crate) fn network_folder(base: Option<&Path>, network: Network) -> Result<PathBuf, Error> {
    let base = base_folder(base)?;
    Ok(if network == Network::Main { base } else { base.join(network.name()) })
}
