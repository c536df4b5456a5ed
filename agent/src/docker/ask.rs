//! From a task to what the engine is asked for. The walls are those that the agent builds itself: the same powers, the
//! same limits; what the engine cannot carry is refused by name.

use std::path::{Path, PathBuf};

use bollard::models::{
    ContainerCreateBody, DeviceMapping, HostConfig, HostConfigLogConfig, Mount as EngineMount,
    MountTmpfsOptions, MountType, ResourcesUlimits,
};
use mete_agent_core::task_dir::SANDBOX_INSIDE;
use mete_model::ContainerSpec;
use mete_model::container::{
    ContainerKind, Isolation, Mount, MountSource, Network, Program, Rlimit,
};

use super::container::name;
use super::{AGENT_LABEL, CONTAINER_LABEL, Setup, Wanted};
use crate::cgroups::{Limits, MIN_MEMORY_BYTES};
use crate::containerizer::host_paths;
use crate::containerizer::oci::OciError;
use crate::containerizer::permissions::{below_root, check};
use crate::containerizer::volume_mount::{OnPath, VolumeMount, on_path};
use crate::containerizer::{Start, StartError};
use crate::devices::Node;

/// Mesos gives 1,024 shares per CPU; the kernel takes no fewer than 2.
const SHARES_PER_CPU: u64 = 1_024;

/// The period of a CPU quota (Mesos: 100 ms), in microseconds.
const QUOTA_PERIOD_US: u64 = 100_000;

/// The shortest quota that the engine takes, in microseconds.
const MIN_QUOTA_US: u64 = 1_000;

/// The container of a task. Blocks, because it looks at paths.
pub(super) fn body(
    setup: &Setup,
    task: &Start,
    wanted: &Wanted,
) -> Result<ContainerCreateBody, StartError> {
    let spec = &wanted.spec;
    check(spec, &setup.permissions)?;
    let (entrypoint, cmd) = program(&wanted.program);
    let labels = [
        (AGENT_LABEL, setup.scope.as_str()),
        (CONTAINER_LABEL, task.container.as_str()),
    ];
    let own = format!("MESOS_CONTAINER_NAME={}", name(&task.container));
    let environment = task.environment.iter();
    let environment = environment.map(|(name, value)| format!("{name}={value}"));
    Ok(ContainerCreateBody {
        image: spec.image.clone(),
        hostname: spec.hostname.clone(),
        user: wanted.user.clone(),
        // What the task says comes last, and wins.
        env: Some([own].into_iter().chain(environment).collect()),
        entrypoint,
        cmd,
        working_dir: spec.working_dir.clone(),
        labels: Some(
            labels
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        ),
        tty: task.terminal.map(|_| true),
        // Not only for the first who types.
        open_stdin: task.terminal.map(|_| true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        host_config: Some(HostConfig {
            mounts: Some(mounts(setup, &task.sandbox, wanted)?),
            devices: Some(wanted.devices.iter().map(device).collect()),
            // Engines before version 23 do not look at it; the follower tells them.
            console_size: task
                .terminal
                .map(|size| vec![size.rows.into(), size.columns.into()]),
            ..walls(spec, limits(setup, task.limits))
        }),
        ..ContainerCreateBody::default()
    })
}

/// A device under the name that it has on the machine; it may be used, not made anew.
fn device(node: &Node) -> DeviceMapping {
    DeviceMapping {
        path_on_host: Some(node.path.clone()),
        path_in_container: Some(node.path.clone()),
        cgroup_permissions: Some("rw".to_owned()),
    }
}

/// Entry point and arguments. A program of the task runs instead of that of the image, as it does without an engine.
fn program(program: &Program) -> (Option<Vec<String>>, Option<Vec<String>>) {
    match program {
        Program::Shell(line) => (
            Some(vec!["/bin/sh".to_owned()]),
            Some(vec!["-c".to_owned(), line.clone()]),
        ),
        Program::Exec { path, argv } => (
            Some(vec![path.clone()]),
            Some(argv.get(1..).unwrap_or_default().to_vec()),
        ),
        Program::Image { arguments } => {
            (None, Some(arguments.clone()).filter(|all| !all.is_empty()))
        }
    }
}

/// What it may use.
fn limits(setup: &Setup, limits: Limits) -> HostConfig {
    let shares = limits.cpus_milli.saturating_mul(SHARES_PER_CPU) / 1_000;
    let quota = limits
        .cpu_cap_milli(setup.cpu_quota)
        .map(|milli| (milli.saturating_mul(QUOTA_PERIOD_US) / 1_000).max(MIN_QUOTA_US));
    let memory = limits.mem_cap_bytes().map(signed);
    let pids = limits
        .max_pids
        .map_or(setup.max_pids, |pids| pids.min(setup.max_pids));
    HostConfig {
        cpu_shares: Some(signed(shares.max(2))),
        cpu_period: quota.map(|_| signed(QUOTA_PERIOD_US)),
        cpu_quota: quota.map(signed),
        memory,
        // With the memory itself: no swap.
        memory_swap: memory,
        memory_reservation: Some(signed(limits.mem_bytes.max(MIN_MEMORY_BYTES))),
        pids_limit: Some(signed(pids)),
        ..HostConfig::default()
    }
}

/// What is around it.
fn walls(spec: &ContainerSpec, limits: HostConfig) -> HostConfig {
    let isolation = &spec.isolation;
    HostConfig {
        // The output is kept in the sandbox; the engine would keep it a second time.
        log_config: Some(HostConfigLogConfig {
            typ: Some("none".to_owned()),
            config: None,
        }),
        network_mode: Some(network(&spec.network).to_owned()),
        // All, then those that remain: the engine's own choice is not asked. One that is privileged has all that the engine
        // knows of, and older engines refuse the names of newer powers.
        cap_drop: (!isolation.privileged).then(|| vec!["ALL".to_owned()]),
        cap_add: (!isolation.privileged).then(|| {
            let remaining = isolation.remaining();
            remaining.iter().map(ToString::to_string).collect()
        }),
        security_opt: Some(security(isolation)),
        // It finds the devices of the machine without being told which.
        privileged: isolation.privileged.then_some(true),
        group_add: Some(spec.groups.clone()).filter(|groups| !groups.is_empty()),
        readonly_rootfs: Some(isolation.read_only_root),
        shm_size: isolation.shm_bytes.map(signed),
        ulimits: Some(isolation.rlimits.iter().map(ulimit).collect()),
        ..limits
    }
}

/// Those with a network of their own are the agent's ([`is_for_engine`]).
const fn network(network: &Network) -> &'static str {
    match network {
        Network::Host => "host",
        Network::None | Network::Bridge { .. } | Network::Named { .. } => "none",
    }
}

/// Whether the engine runs a container. One on a bridge or on networks by name is the agent's own: addresses, ports of
/// the host and checks inside are the same for all tasks then.
pub(crate) const fn is_for_engine(spec: &ContainerSpec) -> bool {
    matches!(spec.kind, ContainerKind::Docker)
        && matches!(spec.network, Network::Host | Network::None)
}

fn security(isolation: &Isolation) -> Vec<String> {
    let unconfined = (!isolation.seccomp).then_some("seccomp=unconfined");
    let privileges = isolation.no_new_privileges.then_some("no-new-privileges");
    let all = unconfined.into_iter().chain(privileges);
    all.map(str::to_owned).collect()
}

fn ulimit(limit: &Rlimit) -> ResourcesUlimits {
    let amount = |amount: Option<u64>| Some(amount.map_or(-1, signed));
    ResourcesUlimits {
        name: Some(limit.kind.as_str().to_owned()),
        soft: amount(limit.soft),
        hard: amount(limit.hard),
    }
}

/// The sandbox first; then what the task asks for, in its order. The engine sorts them by how deep they are.
fn mounts(setup: &Setup, sandbox: &Path, wanted: &Wanted) -> Result<Vec<EngineMount>, StartError> {
    let own = EngineMount {
        target: Some(SANDBOX_INSIDE.to_owned()),
        ..bind(sandbox.display().to_string())
    };
    let mut all = vec![own];
    for (at, mount) in wanted.spec.mounts.iter().enumerate() {
        let secret = wanted.secrets.as_ref();
        let secret = secret.map(|place| place.join(at.to_string()));
        let found = match &mount.source {
            MountSource::Sandbox(path) => on_path(&wanted.volumes, path, SANDBOX_INSIDE),
            MountSource::Host(_)
            | MountSource::Parent(_)
            | MountSource::Tmpfs { .. }
            | MountSource::Named(_)
            | MountSource::Image(_)
            | MountSource::Secret(_) => OnPath::default(),
        };
        all.push(match &found.on {
            Some((volume, rest)) => on_volume(mount, volume, rest)?,
            None => mounted(setup, sandbox, mount, secret)?,
        });
        all.extend(found.below.iter().map(|(volume, rest)| EngineMount {
            target: Some(format!("{}/{rest}", inside(&mount.target))),
            read_only: Some(mount.read_only || volume.read_only),
            ..bind(volume.place.display().to_string())
        }));
    }
    for volume in &wanted.volumes {
        all.push(EngineMount {
            target: Some(inside(&volume.target)),
            read_only: Some(volume.read_only),
            ..bind(volume.place.display().to_string())
        });
    }
    Ok(all)
}

/// A relative place is below the sandbox.
fn inside(target: &str) -> String {
    match target.starts_with('/') {
        true => target.to_owned(),
        false => format!("{SANDBOX_INSIDE}/{target}"),
    }
}

/// A mount of a path that leads to a volume, or below it.
fn on_volume(mount: &Mount, volume: &VolumeMount, rest: &str) -> Result<EngineMount, StartError> {
    if volume.is_shared && !rest.is_empty() {
        // Between the look and the engine's own they could put a link there.
        let reason = format!(
            "volume at {}: others write to it, so that a Docker Engine does not mount {rest} of it",
            volume.target
        );
        return Err(StartError::Unusable(reason));
    }
    let source = host_paths::path(&volume.place, rest, true).map_err(StartError::Unusable)?;
    Ok(EngineMount {
        target: Some(inside(&mount.target)),
        read_only: Some(mount.read_only || volume.read_only),
        ..bind(source)
    })
}

/// `secret`: where it lies, should the mount show one.
fn mounted(
    setup: &Setup,
    sandbox: &Path,
    mount: &Mount,
    secret: Option<PathBuf>,
) -> Result<EngineMount, StartError> {
    let made = match &mount.source {
        MountSource::Host(path) => {
            let (root, below) = below_root(path, &setup.permissions)?;
            bind(host_paths::path(&root, &below, true).map_err(StartError::Unusable)?)
        }
        MountSource::Sandbox(path) => {
            bind(host_paths::path(sandbox, path, true).map_err(StartError::Unusable)?)
        }
        MountSource::Named(name) => {
            let root = &setup.permissions.named_volumes;
            bind(host_paths::path(root, name, true).map_err(StartError::Unusable)?)
        }
        MountSource::Tmpfs { size_bytes } => EngineMount {
            typ: Some(MountType::TMPFS),
            tmpfs_options: Some(MountTmpfsOptions {
                size_bytes: size_bytes.map(signed),
                ..MountTmpfsOptions::default()
            }),
            ..EngineMount::default()
        },
        // Tasks in groups are not brought to the engine.
        MountSource::Parent(path) => {
            let reason = format!("{path} is a directory of a group, and the task is in none");
            return Err(StartError::Unusable(reason));
        }
        MountSource::Image(reference) => {
            let reason = format!("a Docker Engine does not mount image {reference:?} as a volume");
            return Err(StartError::Unusable(reason));
        }
        MountSource::Secret(_) => {
            let place = secret.ok_or_else(|| OciError::NoSecret(mount.target.clone()))?;
            bind(place.display().to_string())
        }
    };
    Ok(EngineMount {
        target: Some(inside(&mount.target)),
        read_only: Some(mount.read_only),
        ..made
    })
}

fn bind(source: String) -> EngineMount {
    EngineMount {
        typ: Some(MountType::BIND),
        source: Some(source),
        ..EngineMount::default()
    }
}

/// The engine counts with signs.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use mete_agent_core::task_dir::{Command, OutputLimits};
    use mete_model::ContainerId;

    use super::*;
    use crate::containerizer::permissions::Permissions;

    fn asked(change: impl FnOnce(&mut ContainerSpec)) -> Result<ContainerCreateBody, StartError> {
        let mut spec = ContainerSpec {
            image: Some("busybox".into()),
            ..ContainerSpec::default()
        };
        change(&mut spec);
        let wanted = Wanted {
            spec,
            volumes: Vec::new(),
            secrets: None,
            devices: vec![Node {
                path: "/dev/gpu0".into(),
                is_block: false,
                major: 1,
                minor: 3,
            }],
            program: Program::Shell("echo hi".into()),
            user: Some("7:8".into()),
        };
        let setup = Setup {
            socket: "/s".into(),
            scope: "here".into(),
            permissions: Permissions::default(),
            cpu_quota: false,
            max_pids: 100,
            logins: None,
        };
        let task = Start {
            container: ContainerId::new("c").unwrap(),
            sandbox: "/sandbox".into(),
            command: Command::Shell(String::new()),
            environment: BTreeMap::from([("A".into(), "1".into())]),
            user: None,
            limits: Limits::new(500, 64 << 20),
            output: OutputLimits::default(),
            around: None,
            terminal: None,
            docker: None,
        };
        body(&setup, &task, &wanted)
    }

    #[test]
    fn limits_and_walls_are_those_of_the_agents_own_containers() {
        let body = asked(|spec| {
            spec.network = Network::None;
            spec.isolation.cpu_limit_milli = Some(250);
            spec.isolation.read_only_root = true;
        });

        let body = body.unwrap();
        let host = body.host_config.unwrap();
        assert_eq!(body.cmd.unwrap(), ["-c", "echo hi"]);
        assert_eq!(body.user.as_deref(), Some("7:8"));
        assert_eq!(body.env.unwrap(), ["MESOS_CONTAINER_NAME=mete-c", "A=1"]);
        assert_eq!((host.cpu_shares, host.pids_limit), (Some(512), Some(100)));
        assert_eq!(
            (host.memory, host.memory_swap),
            (Some(64 << 20), Some(64 << 20))
        );
        assert_eq!(host.cap_drop.unwrap(), ["ALL"]);
        assert_eq!(host.security_opt.unwrap(), ["no-new-privileges"]);
        assert_eq!(host.network_mode.as_deref(), Some("none"));
        assert_eq!(host.readonly_rootfs, Some(true));
        assert_eq!(host.privileged, None);
        let devices = host.devices.unwrap();
        assert_eq!(devices.len(), 1);
        assert_eq!(devices[0].path_on_host.as_deref(), Some("/dev/gpu0"));
        assert_eq!(devices[0].cgroup_permissions.as_deref(), Some("rw"));
    }

    #[test]
    fn one_that_is_privileged_is_asked_for_as_such_and_no_power_by_name() {
        let mut spec = ContainerSpec::default();
        spec.isolation.raze();

        let host = walls(&spec, HostConfig::default());

        assert_eq!((host.privileged, host.cap_add), (Some(true), None));
        assert_eq!(host.cap_drop, None);
        assert_eq!(host.security_opt.unwrap(), ["seccomp=unconfined"]);
    }

    #[test]
    fn what_the_operator_has_not_allowed_or_an_engine_cannot_do_is_refused() {
        let mount = |source| Mount {
            target: "/m".into(),
            source,
            read_only: false,
        };
        let refused = |change: Box<dyn FnOnce(&mut ContainerSpec)>| {
            asked(change).expect_err("refused").to_string()
        };

        let host = mount(MountSource::Host("/etc".into()));
        let said = refused(Box::new(move |spec| spec.mounts.push(host)));
        assert!(said.contains("/etc is below no directory"), "{said}");
        let image = mount(MountSource::Image("other".into()));
        let said = refused(Box::new(move |spec| spec.mounts.push(image)));
        assert!(said.contains("\"other\""), "{said}");
        let said = refused(Box::new(|spec| spec.isolation.seccomp = false));
        assert!(said.contains("filter of system calls"), "{said}");
        let said = refused(Box::new(|spec| spec.isolation.raze()));
        assert!(said.contains("privileged"), "{said}");
    }
}
