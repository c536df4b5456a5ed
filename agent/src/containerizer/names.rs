//! Who is who on the network, as a container sees it: `/etc/hosts`, `/etc/hostname`, `/etc/resolv.conf`.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use mete_agent_core::task_dir::{Mounted, TaskDir};
use mete_model::container::Network;

use super::mounts::path_source;
use super::oci::{OciError, directory, read, text};
use crate::networks::resolver;

/// What the files are made from.
pub(super) struct Names<'a> {
    pub(super) network: &'a Network,
    /// Its own, when it has one.
    pub(super) address: Option<Ipv4Addr>,
    /// Name servers of its network; empty: those of the machine.
    pub(super) servers: Vec<String>,
    /// Its own, when it has one.
    pub(super) hostname: Option<&'a str>,
}

impl Names<'_> {
    /// The files in a container with an image.
    pub(super) fn mounts(&self, dir: &TaskDir) -> Result<Vec<Mounted>, OciError> {
        self.files(dir, |path| Some(path.to_owned()))
    }

    /// The files over those of the machine, which may be links; what the machine has not is left out.
    pub(super) fn of_machine(&self, dir: &TaskDir) -> Result<Vec<Mounted>, OciError> {
        self.files(dir, |path| {
            let place = Path::new(path).canonicalize().ok()?;
            place.to_str().map(str::to_owned)
        })
    }

    fn files(
        &self,
        dir: &TaskDir,
        place: impl Fn(&str) -> Option<String>,
    ) -> Result<Vec<Mounted>, OciError> {
        let own = self
            .hostname
            .map_or_else(mete_daemon::host::name, str::to_owned);
        let files = [
            ("hosts", self.hosts()),
            ("hostname", format!("{own}\n").into_bytes()),
            ("resolv.conf", self.resolver()),
        ];
        let etc = dir.path().join("etc");
        directory(dir.path(), "etc", 0o700)?;
        let mut mounts = Vec::new();
        for (name, bytes) in files {
            let path = etc.join(name);
            fs::write(&path, bytes).map_err(|source| OciError::Io { path, source })?;
            if let Some(target) = place(&format!("/etc/{name}")) {
                mounts.push(Mounted {
                    target,
                    source: path_source(text(&etc)?, name.to_owned()),
                    read_only: false,
                });
            }
        }
        Ok(mounts)
    }

    /// The machine's view on its own network, else the container's alone.
    fn hosts(&self) -> Vec<u8> {
        let mut hosts = match self.network {
            Network::Host => read(Path::new("/etc/hosts")),
            Network::None | Network::Bridge { .. } | Network::Named { .. } => {
                b"127.0.0.1 localhost\n::1 localhost\n".to_vec()
            }
        };
        if let Some(name) = self.hostname {
            let ip = self.address.unwrap_or(Ipv4Addr::LOCALHOST);
            hosts.extend_from_slice(format!("{ip} {name}\n").as_bytes());
        }
        hosts
    }

    fn resolver(&self) -> Vec<u8> {
        match self.network {
            Network::Host => read(Path::new("/etc/resolv.conf")),
            Network::None => Vec::new(),
            Network::Named { .. } if !self.servers.is_empty() => {
                let lines = self
                    .servers
                    .iter()
                    .map(|server| format!("nameserver {server}\n"));
                lines.collect::<String>().into_bytes()
            }
            Network::Bridge { .. } | Network::Named { .. } => resolver(read),
        }
    }
}
