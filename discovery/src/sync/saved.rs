//! The last list, kept so that an HAProxy can be started while no service framework answers.
//!
//! It is never held against an HAProxy that runs: that one knows better.

use mete_daemon::chain;
use mete_proto::rest::backends::Backends;
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::haproxy::configuration::Folder;

/// The version of this file's form.
const FORMAT: u32 = 1;

#[derive(Deserialize, Serialize)]
struct Saved<L> {
    format: u32,
    list: L,
}

/// The saved list; `None` when there is none that can be read.
pub(super) fn load(folder: &Folder) -> Option<Backends> {
    let path = folder.list();
    let text = std::fs::read_to_string(&path).ok()?;
    match serde_json::from_str::<Saved<Backends>>(&text) {
        Ok(saved) if saved.format <= FORMAT => Some(saved.list),
        Ok(saved) => {
            warn!(path = %path.display(), format = saved.format, "saved list is of a later version, not used");
            None
        }
        Err(error) => {
            warn!(path = %path.display(), %error, "saved list cannot be read, not used");
            None
        }
    }
}

/// Saves the list. A failure is logged: the list comes again from the service framework.
pub(super) fn save(folder: &Folder, list: &Backends) {
    let Ok(text) = serde_json::to_string(&Saved {
        format: FORMAT,
        list,
    }) else {
        return;
    };
    if let Err(error) = folder.write(&folder.list(), &text) {
        warn!(error = chain(&error), "list not saved");
    }
}
