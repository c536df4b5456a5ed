//! The login for the image of a container of Docker's kind that a task brings along, as agents of Mesos take it from the
//! sandbox: `.docker/config.json`, or `.dockercfg`, its older form, fetched as they are or in an archive called `docker.tar.gz`
//! or alike.
//!
//! An image is pulled before there is a sandbox. So what may be a login is fetched twice: here, to a place that nobody sees,
//! and with all else into the sandbox.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use mete_agent_core::LaunchStage;
use mete_model::container::{ContainerKind, SecretValue};
use mete_model::{ContainerSpec, FetchUri};
use tokio::task::spawn_blocking;

use super::{Failure, Job, Launcher};
use crate::sandbox::{self, MAX_READ_BYTES, Sandbox};

/// Docker's `config.json`, in the sandbox.
const CONFIG: &str = ".docker/config.json";
/// Before there was one: what is under `auths` in it.
const OLDER: &str = ".dockercfg";

/// Whether what is fetched may be, or hold, a login: it is known by its name, for everything else would be fetched twice for
/// nothing.
fn may_be_login(uri: &FetchUri) -> bool {
    if let Some(place) = &uri.output_file {
        return [CONFIG, OLDER].contains(&place.as_str());
    }
    let address = uri.value.split(['?', '#']).next().unwrap_or_default();
    let name = address.rsplit('/').next().unwrap_or_default();
    let is_archive = uri.extract && name.trim_start_matches('.').starts_with("docker.");
    name == OLDER || is_archive
}

impl Launcher {
    /// The login that the task fetches for the image of its container; `None`: it does not.
    pub(super) async fn fetched_login(
        &self,
        job: &Job,
        spec: &ContainerSpec,
    ) -> Result<Option<SecretValue>, Failure> {
        let uris = job.spec.command.uris.iter();
        let uris: Vec<FetchUri> = uris.filter(|uri| may_be_login(uri)).cloned().collect();
        if uris.is_empty() || spec.kind != ContainerKind::Docker || spec.image.is_none() {
            return Ok(None);
        }
        let failed = |error: io::Error| Failure::io(LaunchStage::Fetch, &error);
        let broken = |error: tokio::task::JoinError| Failure::new(LaunchStage::Fetch, error);
        let place = self.secrets.of(&job.container).join("login");
        let turn = self.turns.fetches.acquire().await;
        let _turn = turn.map_err(|error| Failure::new(LaunchStage::Fetch, error))?;
        let made = place.clone();
        let making = spawn_blocking(move || {
            sandbox::remove_tree(&made)?;
            let mut builder = std::fs::DirBuilder::new();
            builder.recursive(true).mode(0o700).create(&made)
        });
        making.await.map_err(broken)?.map_err(failed)?;
        let fetched = self.fetcher.fetch(&uris, &place, None).await;
        let reading = spawn_blocking(move || {
            let login = read(&place);
            sandbox::remove_tree(&place).map(|()| login)
        });
        let login = reading.await.map_err(broken)?.map_err(failed)?;
        fetched.map_err(|error| Failure {
            disk_full: error.is_disk_full(),
            ..Failure::new(LaunchStage::Fetch, error)
        })?;
        Ok(login)
    }
}

/// What of it there is, the newer form first. No link leads out of the place.
fn read(place: &Path) -> Option<SecretValue> {
    let place = Sandbox::open(place).ok()?;
    let text = |name: &str| {
        let chunk = place.read(name, 0, MAX_READ_BYTES).ok()?;
        Some(chunk.data)
    };
    let older = || Some([&br#"{"auths":"#[..], &text(OLDER)?, b"}"].concat());
    text(CONFIG).or_else(older).map(SecretValue::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(value: &str, extract: bool, output_file: Option<&str>) -> FetchUri {
        FetchUri {
            value: value.to_owned(),
            extract,
            executable: false,
            cache: false,
            output_file: output_file.map(str::to_owned),
        }
    }

    #[test]
    fn a_login_is_known_by_its_name() {
        for (value, extract, output_file) in [
            ("file:///etc/docker.tar.gz", true, None),
            ("https://keys.example/docker.tgz?v=1", true, None),
            ("/root/.dockercfg", false, None),
            (
                "https://keys.example/mine",
                false,
                Some(".docker/config.json"),
            ),
        ] {
            assert!(may_be_login(&uri(value, extract, output_file)), "{value}");
        }
        for (value, extract, output_file) in [
            ("file:///etc/docker.tar.gz", false, None),
            ("https://example/dockerfile.tgz", true, None),
            ("https://example/config.json", false, None),
            ("/root/.dockercfg", false, Some("kept")),
        ] {
            assert!(!may_be_login(&uri(value, extract, output_file)), "{value}");
        }
    }

    #[test]
    fn the_older_form_is_a_part_of_the_newer_and_links_lead_nowhere() {
        let place = tempfile::tempdir().unwrap();
        let login = || read(place.path()).map(|value| value.bytes().to_vec());
        let secret = place.path().with_extension("elsewhere");
        std::fs::write(&secret, "{}").unwrap();

        assert_eq!(login(), None);
        std::fs::write(place.path().join(OLDER), r#"{"r":{"auth":"a"}}"#).unwrap();
        let older = br#"{"auths":{"r":{"auth":"a"}}}"#.to_vec();
        assert_eq!(login(), Some(older.clone()));
        std::fs::create_dir(place.path().join(".docker")).unwrap();
        std::os::unix::fs::symlink(&secret, place.path().join(CONFIG)).unwrap();
        assert_eq!(login(), Some(older));
        std::fs::remove_file(place.path().join(CONFIG)).unwrap();
        std::fs::write(place.path().join(CONFIG), r#"{"auths":{}}"#).unwrap();
        assert_eq!(login(), Some(br#"{"auths":{}}"#.to_vec()));
        std::fs::remove_file(secret).unwrap();
    }
}
