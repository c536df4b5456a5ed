//! What secrets hold, where it is told: to the agent that runs a task, and to nobody else.

use mete_model::TaskSpec;
use mete_model::container::{Login, MountSource, SecretValue};

use super::{ConvertError, refuse};
use crate::mesos::v1 as wire;

/// What a secret holds; `None` when that is not told.
///
/// # Errors
/// For one that lies elsewhere.
pub(super) fn value(secret: &wire::Secret) -> Result<Option<SecretValue>, ConvertError> {
    refuse(
        secret.r#type() == wire::secret::Type::Reference || secret.reference.is_some(),
        "reference",
        "secrets that lie elsewhere are",
    )?;
    let value = secret.value.as_ref();
    Ok(value.map(|value| SecretValue::new(value.data.to_vec())))
}

/// A secret that holds this.
pub(super) fn to_wire(value: Option<&SecretValue>) -> wire::Secret {
    let mut secret = wire::Secret {
        value: value.map(held),
        ..wire::Secret::default()
    };
    secret.set_type(wire::secret::Type::Value);
    secret
}

fn held(value: &SecretValue) -> wire::secret::Value {
    wire::secret::Value {
        data: value.bytes().to_vec().into(),
    }
}

/// Whether a task says what a secret holds, be it for nobody: of two variables of one name the first.
pub(super) fn is_told(info: &wire::TaskInfo) -> bool {
    let environment = info
        .command
        .iter()
        .filter_map(|one| one.environment.as_ref());
    let mut variables = environment
        .flat_map(|all| &all.variables)
        .filter_map(|variable| variable.secret.as_ref());
    let container = info.container.as_deref();
    let login = container
        .and_then(|one| one.mesos.as_ref()?.image.as_ref()?.docker.as_ref())
        .and_then(|docker| docker.config.as_ref());
    let volumes = container.map_or(&[][..], |one| &one.volumes);
    let sources = volumes.iter().filter_map(|volume| volume.source.as_ref());
    let holds = |secret: &wire::Secret| secret.value.is_some();
    variables.any(holds)
        || login.is_some_and(holds)
        || sources.filter_map(|one| one.secret.as_ref()).any(holds)
}

/// Takes what secrets hold out of a task.
pub(super) fn redact(info: &mut wire::TaskInfo) {
    let variables = info.command.iter_mut().flat_map(variables);
    variables.for_each(|secret| secret.value = None);
    let Some(container) = info.container.as_mut() else {
        return;
    };
    if let Some(login) = login(container) {
        login.value = None;
    }
    volumes(container).for_each(|secret| secret.value = None);
}

/// Puts what the secrets of a task hold into its message.
pub(super) fn tell(task: &TaskSpec, info: &mut wire::TaskInfo) {
    let environment = info
        .command
        .as_mut()
        .and_then(|one| one.environment.as_mut());
    for variable in environment.into_iter().flat_map(|all| &mut all.variables) {
        let value = task.command.secrets.get(&variable.name);
        if let (Some(secret), Some(value)) = (&mut variable.secret, value) {
            secret.value = value.as_ref().map(held);
        }
    }
    let (Some(spec), Some(container)) = (task.container.as_deref(), info.container.as_mut()) else {
        return;
    };
    if let (Login::Own(value), Some(login)) = (&spec.login, login(container)) {
        login.value = value.as_ref().map(held);
    }
    let values = spec.mounts.iter().filter_map(|mount| match &mount.source {
        MountSource::Secret(value) => Some(value.as_ref()),
        MountSource::Host(_)
        | MountSource::Sandbox(_)
        | MountSource::Parent(_)
        | MountSource::Tmpfs { .. }
        | MountSource::Named(_)
        | MountSource::Image(_) => None,
    });
    for (secret, value) in volumes(container).zip(values) {
        secret.value = value.map(held);
    }
}

fn variables(command: &mut wire::CommandInfo) -> impl Iterator<Item = &mut wire::Secret> {
    let environment = command.environment.iter_mut();
    let variables = environment.flat_map(|all| &mut all.variables);
    variables.filter_map(|variable| variable.secret.as_mut())
}

/// The login for the registry of its image.
fn login(container: &mut wire::ContainerInfo) -> Option<&mut wire::Secret> {
    let image = container.mesos.as_mut()?.image.as_mut()?;
    image.docker.as_mut()?.config.as_mut()
}

fn volumes(container: &mut wire::ContainerInfo) -> impl Iterator<Item = &mut wire::Secret> {
    let sources = container.volumes.iter_mut();
    let sources = sources.filter_map(|volume| volume.source.as_mut());
    sources.filter_map(|source| source.secret.as_mut())
}
