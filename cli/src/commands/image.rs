//! `mete image import`, `list`, `rm`: images that lie on one agent, for hosts without a registry.
//!
//! An archive is sent to the agent rather than named to it: so nobody who may speak to an agent can have files of its
//! host read to him, and the archive need not be on that host.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use futures::{Stream, StreamExt as _};
use reqwest::Body;
use serde_json::Value;
use tokio::fs::File;
use tokio::task::spawn_blocking;
use tokio_util::io::{ReaderStream, SyncIoBridge};

use crate::client::{Addresses, Api, or};
use crate::table;

/// Shown of a digest: `sha256:` and as many digits as nobody mistakes.
const SHOWN_DIGEST: usize = 7 + 12;
/// Bytes sent at once.
const PIECE_BYTES: usize = 128 << 10;

/// What can be asked of the images of an agent.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Ask {
    /// Sends images to an agent: an OCI layout (directory or tar), or what `docker save` has written.
    Import {
        /// The archive or directory.
        path: PathBuf,
        /// The name it gets, in the place of those in the archive.
        #[arg(long)]
        name: Option<String>,
        /// Which agent.
        #[command(flatten)]
        agent: Agent,
    },
    /// Images on an agent.
    List {
        /// JSON for programs.
        #[arg(long)]
        json: bool,
        /// Which agent.
        #[command(flatten)]
        agent: Agent,
    },
    /// Removes a name of an image from an agent, and the image with its last name.
    Rm {
        /// A name, or the digest: then with all its names.
        name: String,
        /// Which agent.
        #[command(flatten)]
        agent: Agent,
    },
}

/// Where an agent listens unless it is told otherwise.
const AGENT: &str = "http://127.0.0.1:5051";

/// Which agent is meant.
#[derive(Debug, clap::Args)]
pub(crate) struct Agent {
    /// Address of the agent.
    #[arg(
        long = "agent",
        env = "METE_AGENT",
        value_name = "URL",
        default_value = AGENT
    )]
    url: String,
}

impl Agent {
    pub(super) fn api(&self, addresses: &Addresses) -> Result<Api> {
        Api::new(
            "agent",
            or(&self.url, AGENT),
            &addresses.credentials()?,
            "--agent or METE_AGENT",
        )
    }
}

pub(crate) async fn run(addresses: &Addresses, ask: Ask) -> Result<()> {
    match ask {
        Ask::Import { path, name, agent } => {
            import(&agent.api(addresses)?, &path, name.as_deref()).await
        }
        Ask::List { json, agent } => list(&agent.api(addresses)?, json).await,
        Ask::Rm { name, agent } => remove(&agent.api(addresses)?, &name).await,
    }
}

async fn import(agent: &Api, path: &Path, name: Option<&str>) -> Result<()> {
    let named = || path.display().to_string();
    let kind = tokio::fs::metadata(path).await.with_context(named)?;
    let body = match kind.is_dir() {
        true => Body::wrap_stream(archived(path.to_owned())),
        false => {
            let file = File::open(path).await.with_context(named)?;
            Body::wrap_stream(ReaderStream::with_capacity(file, PIECE_BYTES))
        }
    };
    let query: Vec<(&str, &str)> = name.map(|name| ("name", name)).into_iter().collect();
    let answer = agent.upload("/v1/images/import", &query, body).await?;
    for image in answer["images"].as_array().into_iter().flatten() {
        let digest = table::cell(&image["digest"]);
        match names(image).as_str() {
            "" => crate::say!("{digest} is here, without a name"),
            names => crate::say!("{names} is here: {digest}"),
        }
    }
    Ok(())
}

/// A directory as a tar, made while it is read.
fn archived(directory: PathBuf) -> impl Stream<Item = io::Result<bytes::Bytes>> {
    let (reader, writer) = tokio::io::duplex(PIECE_BYTES);
    let making = spawn_blocking(move || {
        let mut builder = tar::Builder::new(SyncIoBridge::new(writer));
        // Links could lead anywhere; a layout has none.
        builder.follow_symlinks(false);
        builder.append_dir_all("", directory)?;
        builder.finish()
    });
    // What comes out ends when the making does; how it ended is told last.
    let pieces = ReaderStream::with_capacity(reader, PIECE_BYTES);
    let end = futures::stream::once(making).filter_map(|made| async {
        match made {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(Err(error)),
            Err(error) => Some(Err(io::Error::other(error))),
        }
    });
    pieces.chain(end)
}

async fn list(agent: &Api, json: bool) -> Result<()> {
    let answer = agent.get("/v1/images").await?;
    if json {
        return table::json(&answer["images"]);
    }
    let rows = answer["images"].as_array().into_iter().flatten();
    let rows = rows.map(|image| {
        let digest = table::cell(&image["digest"]);
        let users = image["containers"].as_array().map_or(0, Vec::len);
        [
            names(image),
            digest.chars().take(SHOWN_DIGEST).collect(),
            table::cell(&image["layers"]),
            megabytes(&image["bytes"]),
            users.to_string(),
        ]
    });
    table::print(["NAMES", "DIGEST", "LAYERS", "SIZE", "IN USE"], rows);
    Ok(())
}

async fn remove(agent: &Api, name: &str) -> Result<()> {
    let answer = agent.delete("/v1/images", &[("name", name)]).await?;
    for gone in ["names", "images"] {
        for one in answer[gone].as_array().into_iter().flatten() {
            crate::say!("{} is gone", table::cell(one));
        }
    }
    Ok(())
}

fn names(image: &Value) -> String {
    let names = image["names"].as_array().into_iter().flatten();
    names.map(table::cell).collect::<Vec<_>>().join(", ")
}

fn megabytes(bytes: &Value) -> String {
    let bytes = bytes.as_f64().unwrap_or_default();
    format!("{:.1} MB", bytes / 1e6)
}
