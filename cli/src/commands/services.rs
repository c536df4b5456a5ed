//! `mete services backup|restore`: all that the service framework knows, in one file, and back.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use mete_service_framework::backup::{self, Contents, Existing, Incoming};

use crate::client::Addresses;

/// What can be asked of a service framework's state.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Ask {
    /// Writes all apps, groups, deployments and instances of this moment into a file: of the running service framework,
    /// or of the state directory of one that has ended.
    Backup {
        /// The file; one of this name is replaced once the new one is whole.
        file: PathBuf,
        /// The state directory of a service framework that does not run; without it the running one is asked.
        #[arg(long, value_name = "DIR")]
        state_dir: Option<PathBuf>,
    },
    /// Puts a backup into an empty state directory; the service framework that is started there goes on with what runs.
    Restore {
        /// The file.
        file: PathBuf,
        /// The state directory.
        #[arg(
            long,
            env = "METE_SERVICES_STATE_DIR",
            value_name = "DIR",
            default_value = ".mete/services"
        )]
        state_dir: PathBuf,
        /// Puts aside the store that is there, as `services.redb.replaced`.
        #[arg(long)]
        replace: bool,
    },
}

pub(crate) async fn run(addresses: &Addresses, ask: Ask) -> Result<()> {
    match ask {
        Ask::Backup { file, state_dir } => {
            let contents = match state_dir {
                Some(state_dir) => backup::save(&state_dir, &file).await?,
                None => fetch(addresses, &file).await?,
            };
            crate::say!("{}: {}", file.display(), words(&contents));
        }
        Ask::Restore {
            file,
            state_dir,
            replace,
        } => {
            let existing = match replace {
                true => Existing::Replace,
                false => Existing::Refuse,
            };
            let contents = backup::restore(&file, &state_dir, existing).await?;
            crate::say!("{}: {}", state_dir.display(), words(&contents));
        }
    }
    Ok(())
}

/// The backup of a service framework that runs.
async fn fetch(addresses: &Addresses, file: &Path) -> Result<Contents> {
    let mut answer = addresses.services()?.download("/v2/backup").await?;
    let mut incoming = Incoming::begin(file)?;
    while let Some(piece) = answer.chunk().await.context("the backup was broken off")? {
        incoming.piece(&piece)?;
    }
    Ok(incoming.finish()?)
}

fn words(contents: &Contents) -> String {
    let framework = contents.framework().unwrap_or("that had no id yet");
    format!(
        "{} entries of framework {framework}, as of {}",
        contents.entries, contents.header.time
    )
}
