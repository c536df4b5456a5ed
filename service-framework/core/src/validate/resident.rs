//! The same of an app whose instances have volumes of their own: what they need, and what may not change.

use mete_model::ids::MAX_ID_BYTES;

use super::{Violation, are_unique};
use crate::spec::app::{AppSpec, DAEMON_LABEL, UnreachableStrategy};
use crate::state::holdings::VOLUME_ID_BYTES;

/// Volumes of one app: each is a directory, and a shape of what waits names them all.
const MAX_VOLUMES: usize = 16;

/// What is wrong with an app's volumes, and with the rest for their sake. `role`: the app's.
pub(super) fn volumes(spec: &AppSpec, role: &str, found: &mut Vec<Violation>) {
    if spec.residency.is_some() != spec.is_resident() {
        let text = "App must contain persistent volumes and define residency";
        found.push(Violation::new("/", text));
    }
    if !spec.is_resident() {
        return;
    }
    each(spec, found);
    if role == "*" {
        let text = "is *, for which nothing can be reserved: apps with persistent volumes need another, that of their group at the top or of the framework (--role)";
        found.push(Violation::new("/role", text));
    }
    let accepted = spec.accepted_resource_roles.as_ref();
    if accepted.is_some_and(|roles| roles.iter().any(|role| role != "*")) {
        let text = "Resident apps may not define acceptedResourceRoles other than \"*\" (unreserved resources)";
        found.push(Violation::new("/acceptedResourceRoles", text));
    }
    if spec.upgrade_strategy.maximum_over_capacity != 0.0 {
        let text = "got a value, expected 0.0: no instance may have the volume of another";
        found.push(Violation::new("/upgradeStrategy/maximumOverCapacity", text));
    }
    if spec.unreachable_strategy != UnreachableStrategy::Disabled {
        let text = "unreachableStrategy must be disabled for resident tasks";
        found.push(Violation::new("/unreachableStrategy", text));
    }
    if spec.is_daemon() {
        let text = format!("apps with persistent volumes cannot be {DAEMON_LABEL}");
        found.push(Violation::new("/labels", text));
    }
}

fn each(spec: &AppSpec, found: &mut Vec<Violation>) {
    let all = spec.persistent_volumes();
    let paths: Vec<&String> = all.iter().map(|volume| &volume.container_path).collect();
    if !are_unique(&paths) {
        let text = "containerPath of persistent volumes must be unique";
        found.push(Violation::new("/container/volumes", text));
    }
    if all.len() > MAX_VOLUMES {
        let text = format!("must have at most {MAX_VOLUMES} persistent volumes");
        found.push(Violation::new("/container/volumes", text));
    }
    // It becomes part of the id of the volume, which becomes the name of a directory.
    let longest = MAX_ID_BYTES - VOLUME_ID_BYTES - spec.id.flat().len().min(MAX_ID_BYTES / 2 + 90);
    for path in paths.into_iter().filter(|path| path.len() > longest) {
        let text = format!("containerPath {path:?} is longer than {longest} bytes");
        found.push(Violation::new("/container/volumes", text));
    }
}

/// What may not change of an app from `before` on, because its instances hold it.
pub fn update(before: &AppSpec, spec: &AppSpec) -> Vec<Violation> {
    let mut found = Vec::new();
    if !before.is_resident() && !spec.is_resident() {
        return found;
    }
    if before.persistent_volumes() != spec.persistent_volumes() {
        found.push(Violation::new(
            "/",
            "Persistent volumes can not be changed!",
        ));
    }
    let text = "Resident Tasks may not change resource requirements!";
    let same = [
        ("/cpus", before.cpus_milli == spec.cpus_milli),
        ("/mem", before.mem_bytes == spec.mem_bytes),
        ("/disk", before.disk_bytes == spec.disk_bytes),
        ("/gpus", before.gpus == spec.gpus),
        ("/", before.host_ports().eq(spec.host_ports())),
        ("/requirePorts", before.require_ports == spec.require_ports),
        ("/role", before.role == spec.role),
    ];
    let changed = same.into_iter().filter(|(_, is_same)| !is_same);
    found.extend(changed.map(|(path, _)| Violation::new(path, text)));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::app::{AppId, Container, ContainerKind, PersistentVolume, Residency};

    fn resident() -> AppSpec {
        let mut spec = AppSpec::new(AppId::new("/db").expect("good"));
        spec.cmd = Some("serve".to_owned());
        spec.container = Some(Container {
            kind: ContainerKind::Mesos,
            image: None,
            force_pull: false,
            privileged: false,
            pull_secret: None,
            volumes: Vec::new(),
            secrets: Vec::new(),
            persistent: vec![PersistentVolume {
                container_path: "data".to_owned(),
                size_bytes: 1 << 20,
            }],
        });
        spec.residency = Some(Residency::default());
        spec.upgrade_strategy.maximum_over_capacity = 0.0;
        spec.unreachable_strategy = UnreachableStrategy::Disabled;
        spec
    }

    /// The paths at which something is wrong after a change, in a framework of this role.
    fn wrong(role: &str, change: impl FnOnce(&mut AppSpec)) -> Vec<String> {
        let mut spec = resident();
        change(&mut spec);
        let found = super::super::app(&spec, &super::super::Roles::only(role)).into_iter();
        found.map(|violation| violation.path).collect()
    }

    #[test]
    fn an_app_with_volumes_stays_where_it_is_in_a_role_of_its_own() {
        assert_eq!(wrong("dev", |_| {}), [""; 0]);
        assert_eq!(wrong("*", |_| {}), ["/role"]);
        assert_eq!(wrong("dev", |spec| spec.residency = None), ["/"]);
        assert_eq!(wrong("dev", |spec| spec.container = None), ["/"]);
        let path = |spec: &mut AppSpec| {
            let volumes = &mut spec.container.as_mut().expect("there").persistent;
            volumes[0].container_path = "x".repeat(300);
        };
        assert_eq!(wrong("dev", path), ["/container/volumes"]);
        let over = |spec: &mut AppSpec| spec.upgrade_strategy.maximum_over_capacity = 0.5;
        assert_eq!(wrong("dev", over), ["/upgradeStrategy/maximumOverCapacity"]);
        let enabled =
            |spec: &mut AppSpec| spec.unreachable_strategy = UnreachableStrategy::default();
        assert_eq!(wrong("dev", enabled), ["/unreachableStrategy"]);
    }

    #[test]
    fn what_is_reserved_for_instances_may_not_change() {
        let paths = |change: fn(&mut AppSpec)| -> Vec<String> {
            let mut spec = resident();
            change(&mut spec);
            let found = update(&resident(), &spec).into_iter();
            found.map(|violation| violation.path).collect()
        };

        assert_eq!(paths(|spec| spec.cmd = Some("other".to_owned())), [""; 0]);
        assert_eq!(paths(|spec| spec.cpus_milli = 7), ["/cpus"]);
        assert_eq!(paths(|spec| spec.port_definitions.clear()), ["/"]);
        assert_eq!(paths(|spec| spec.require_ports = true), ["/requirePorts"]);
        assert_eq!(paths(|spec| spec.container = None), ["/"]);
    }
}
