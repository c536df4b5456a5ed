//! Images that the engine brings.

use std::path::PathBuf;
use std::time::Duration;

use bollard::auth::DockerCredentials;
use bollard::models::CreateImageInfo;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures::StreamExt;
use mete_model::container::{Pull, SecretValue};
use tokio::task::spawn_blocking;

use super::Setup;
use super::engine::Engine;
use crate::containerizer::image::Tell;
use crate::images::credentials::{self, Login};
use crate::images::{ImageError, reference::Reference};

/// How long the engine may say nothing while it pulls: unpacking a layer of some GiB takes minutes.
const SILENCE: Duration = Duration::from_secs(600);

/// Brings an image, unless it is there and may be old.
pub(super) async fn pull(
    setup: &Setup,
    reference: &str,
    pull: Pull,
    own: Option<SecretValue>,
    tell: &Tell,
) -> Result<(), String> {
    let failed = |why: &dyn std::error::Error| {
        let cause = why
            .source()
            .map_or_else(String::new, |it| format!(": {it}"));
        format!("image {reference:?}: {why}{cause}")
    };
    let engine = Engine::connect(&setup.socket).await;
    let engine = engine.map_err(|error| failed(&error))?;
    if pull == Pull::IfMissing {
        match engine.call(engine.docker.inspect_image(reference)).await {
            Ok(_) => return Ok(()),
            Err(error) if error.is_missing() => {}
            Err(error) => return Err(failed(&error)),
        }
    }
    let logins = match (own, &setup.logins) {
        (Some(own), _) => Some(Logins::Own(own)),
        (None, Some(file)) => Some(Logins::Agents(file.clone())),
        (None, None) => None,
    };
    let login = match logins {
        Some(logins) => login(logins, reference.to_owned()).await?,
        None => None,
    };
    let options = CreateImageOptionsBuilder::new()
        .from_image(&tagged(reference))
        .build();
    let mut words = std::pin::pin!(engine.docker.create_image(Some(options), None, login));
    loop {
        match tokio::time::timeout(SILENCE, words.next()).await {
            Ok(Some(Ok(word))) => tell(format!("image {reference}: {}", sentence(&word))),
            Ok(Some(Err(error))) => return Err(failed(&engine.error(error))),
            Ok(None) => return Ok(()),
            Err(_) => {
                let seconds = SILENCE.as_secs();
                return Err(format!(
                    "image {reference:?}: the Docker Engine has said nothing for {seconds} s"
                ));
            }
        }
    }
}

/// Where logins stand: in a Docker `config.json`.
enum Logins {
    /// In one of the task's own.
    Own(SecretValue),
    /// In the agent's file.
    Agents(PathBuf),
}

/// The login for the registry of an image, as the engine takes it.
async fn login(logins: Logins, reference: String) -> Result<Option<DockerCredentials>, String> {
    let read = spawn_blocking(move || {
        let registry = Reference::parse(&reference)?.registry().to_owned();
        let login = match &logins {
            Logins::Own(text) => credentials::login_in(text.bytes(), &registry)?,
            Logins::Agents(file) => credentials::login(Some(file), &registry)?,
        };
        Ok::<_, ImageError>((registry, login))
    });
    let (registry, login) = read
        .await
        .map_err(|error| error.to_string())?
        .map_err(|error| mete_daemon::chain(&error))?;
    let of_registry = DockerCredentials {
        serveraddress: Some(registry.clone()),
        ..DockerCredentials::default()
    };
    match login {
        Login::Anonymous => Ok(None),
        Login::Password { user, password } => Ok(Some(DockerCredentials {
            username: Some(user),
            password: Some(password),
            ..of_registry
        })),
        Login::Identity(token) => Ok(Some(DockerCredentials {
            identitytoken: Some(token),
            ..of_registry
        })),
        Login::Helper(helper) => Err(format!(
            "the login for {registry} is kept by the helper {helper}, which an agent does not run; put it under \"auths\""
        )),
    }
}

/// With a tag: without one the engine pulls them all.
fn tagged(reference: &str) -> String {
    let name = reference.rsplit('/').next().unwrap_or(reference);
    match name.contains([':', '@']) {
        true => reference.to_owned(),
        false => format!("{reference}:latest"),
    }
}

fn sentence(word: &CreateImageInfo) -> String {
    let layer = word
        .id
        .as_ref()
        .map_or_else(String::new, |id| format!("{id} "));
    let status = word.status.as_deref().unwrap_or("pulling").to_lowercase();
    let far = word.progress_detail.as_ref();
    let far = far.and_then(|far| Some((far.current?, far.total?)));
    let far = far.map_or_else(String::new, |(now, all)| format!(" {now} of {all} bytes"));
    format!("{layer}{status}{far}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_login_for_a_registry_is_that_of_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.json");
        let text = r#"{"auths":{"registry:5000":{"username":"u","password":"p"},"quay.io":{"identitytoken":"t"}},
            "credHelpers":{"b.io":"ecr"}}"#;
        std::fs::write(&file, text).unwrap();
        let of = |reference: &str| login(Logins::Agents(file.clone()), reference.to_owned());

        let password = of("registry:5000/a/b:1").await.unwrap().unwrap();
        let told = (password.username.as_deref(), password.password.as_deref());
        assert_eq!(told, (Some("u"), Some("p")));
        assert_eq!(password.serveraddress.as_deref(), Some("registry:5000"));
        let token = of("quay.io/a").await.unwrap().unwrap();
        assert_eq!(token.identitytoken.as_deref(), Some("t"));
        assert!(of("busybox").await.unwrap().is_none());
        assert!(of("b.io/a").await.unwrap_err().contains("helper ecr"));
    }

    #[test]
    fn one_tag_is_pulled() {
        assert_eq!(tagged("busybox"), "busybox:latest");
        assert_eq!(tagged("localhost:5000/a/b"), "localhost:5000/a/b:latest");
        assert_eq!(tagged("a/b:1"), "a/b:1");
        assert_eq!(tagged("a@sha256:00"), "a@sha256:00");
    }
}
