//! The description of a container that OCI runtimes take, config.json (runtime-spec 1.0.2), from the plan of the shim.
//!
//! What it does not say, because it holds already when the runtime begins: control groups and the namespace of processes.
//! Everything else is said, and says the same as `mounts` and `powers` do.

use mete_agent_core::task_dir::{
    Command, Container, Launch, Mounted, Net, ProcessLimit, Root, User,
};
use serde_json::{Value, json};

use crate::container::mounts::{MASKED, UNCHANGEABLE};
use crate::container::seccomp;

/// The version of the description.
const VERSION: &str = "1.0.2";

/// What may be made is for its owner to change, and for all to read.
const UMASK: u32 = 0o022;

/// One place besides the root, as the description has it.
pub(super) struct Place {
    mount: Value,
    /// The rule of a granted device, for runtimes that set rules.
    rule: Option<Value>,
}

impl Place {
    fn new(mount: Value) -> Self {
        Self { mount, rule: None }
    }

    /// Something that lies at a path of the room.
    pub(super) fn bound(target: &str, source: &str, read_only: bool) -> Self {
        let options = with_access(&["bind", "nosuid", "nodev", "private"], read_only);
        Self::new(json!({
            "destination": target, "type": "bind", "source": source, "options": options,
        }))
    }

    /// Memory that the task asked for.
    pub(super) fn memory(mounted: &Mounted, target: &str, size_bytes: Option<u64>) -> Self {
        let mut options = with_access(&["nosuid", "nodev", "mode=1777"], mounted.read_only);
        options.extend(size_bytes.map(|bytes| format!("size={bytes}")));
        Self::new(own(target, "tmpfs", &options))
    }

    /// A directory that looks empty, with room for places below it.
    pub(super) fn cover(target: String) -> Self {
        let options = ["nosuid", "nodev", "noexec", "mode=755", "size=64k"];
        Self::new(own(&target, "tmpfs", &options.map(str::to_owned)))
    }

    /// A file like `/dev/null`.
    pub(super) fn nothing(target: &str) -> Self {
        Self::new(json!({
            "destination": target, "type": "bind", "source": "/dev/null", "options": ["bind", "private"],
        }))
    }

    /// A device node of the machine, by its mode and number.
    pub(super) fn device(path: &str, mode: u32, number: u64) -> Self {
        let kind = match mode & libc::S_IFMT {
            libc::S_IFBLK => "b",
            _ => "c",
        };
        let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
        Self {
            mount: json!({
                "destination": path, "type": "bind", "source": path,
                "options": ["bind", "nosuid", "noexec", "private"],
            }),
            rule: Some(json!({
                "allow": true, "type": kind, "major": major, "minor": minor, "access": "rw",
            })),
        }
    }
}

fn with_access(options: &[&str], read_only: bool) -> Vec<String> {
    let access = if read_only { "ro" } else { "rw" };
    let options = options.iter().chain([&access]);
    options.map(|&option| option.to_owned()).collect()
}

/// A file system of the kernel's.
fn own(target: &str, kind: &str, options: &[String]) -> Value {
    json!({"destination": target, "type": kind, "source": kind, "options": options})
}

/// All of it. `group`: what the runtime knows of the task's control groups, if it must know.
pub(super) fn config(
    launch: &Launch,
    container: &Container,
    places: &[Place],
    group: Option<&str>,
) -> Value {
    let mut mounts = kernels(container);
    mounts.extend(places.iter().map(|place| place.mount.clone()));
    // Runtimes make a root that can only be read writable again, unless they are told.
    let read_only = match container.root {
        Root::Machine { .. } => true,
        Root::Layers(_) | Root::Directory { .. } => container.read_only_root,
    };
    let mut config = json!({
        "ociVersion": VERSION,
        "root": {"path": container.place, "readonly": read_only},
        "process": process(launch, container),
        "mounts": mounts,
        "linux": linux(container, places, group),
    });
    if let Some(name) = &container.hostname {
        config["hostname"] = json!(name);
    }
    config
}

/// What is mounted of the kernel's own.
fn kernels(container: &Container) -> Vec<Value> {
    let at = |target: &str, kind: &str, options: &[&str]| {
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        own(target, kind, &options)
    };
    let size = format!("size={}", container.shm_bytes);
    let of_machine = if container.privileged { "rw" } else { "ro" };
    let mut all = vec![
        at("/proc", "proc", &["nosuid", "nodev", "noexec"]),
        at("/sys", "sysfs", &["nosuid", "nodev", "noexec", of_machine]),
        at(
            "/dev",
            "tmpfs",
            &["nosuid", "noexec", "mode=755", "size=64k"],
        ),
        at(
            "/dev/pts",
            "devpts",
            &[
                "nosuid",
                "noexec",
                "newinstance",
                "ptmxmode=0666",
                "mode=0620",
            ],
        ),
        at(
            "/dev/shm",
            "tmpfs",
            &["nosuid", "nodev", "noexec", "mode=1777", &size],
        ),
    ];
    let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if known.split_ascii_whitespace().any(|name| name == "mqueue") {
        all.push(at("/dev/mqueue", "mqueue", &["nosuid", "nodev", "noexec"]));
    }
    all
}

fn process(launch: &Launch, container: &Container) -> Value {
    let environment = launch.environment.iter();
    let environment: Vec<_> = environment
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let names = container.capabilities.iter();
    let left: Vec<_> = names.map(|name| format!("CAP_{name}")).collect();
    json!({
        "terminal": false,
        "user": user(launch.user.as_ref()),
        "args": arguments(&launch.command),
        "env": environment,
        "cwd": container.working_dir,
        "capabilities": {
            "bounding": left, "effective": left, "permitted": left, "inheritable": [], "ambient": [],
        },
        "rlimits": container.rlimits.iter().map(limit).collect::<Vec<_>>(),
        "noNewPrivileges": container.no_new_privileges,
    })
}

fn user(user: Option<&User>) -> Value {
    let groups = user.map_or(&[][..], |user| &user.groups);
    json!({
        "uid": user.map_or(0, |user| user.uid),
        "gid": user.map_or(0, |user| user.gid),
        "additionalGids": groups,
        "umask": UMASK,
    })
}

/// The first word is the program. That it is also what the program is to find there has been seen to by the agent.
fn arguments(command: &Command) -> Vec<&str> {
    match command {
        Command::Shell(line) => vec!["/bin/sh", "-c", line],
        Command::Program { path, arguments } => {
            let others = arguments.iter().skip(1).map(String::as_str);
            [path.as_str()].into_iter().chain(others).collect()
        }
    }
}

fn limit(limit: &ProcessLimit) -> Value {
    let number = |bound: Option<u64>| bound.unwrap_or(libc::RLIM64_INFINITY);
    json!({
        "type": format!("RLIMIT_{}", limit.kind.to_ascii_uppercase()),
        "soft": number(limit.soft),
        "hard": number(limit.hard),
    })
}

fn linux(container: &Container, places: &[Place], group: Option<&str>) -> Value {
    let mut namespaces = vec![
        json!({"type": "mount"}),
        json!({"type": "ipc"}),
        json!({"type": "uts"}),
        json!({"type": "cgroup"}),
    ];
    match &container.network {
        Net::Host => {}
        Net::None => namespaces.push(json!({"type": "network"})),
        Net::Joined { namespace } => {
            namespaces.push(json!({"type": "network", "path": namespace}));
        }
    }
    let mut linux = json!({ "namespaces": namespaces });
    if !container.privileged {
        linux["maskedPaths"] = json!(MASKED);
        linux["readonlyPaths"] = json!(UNCHANGEABLE);
    }
    if container.seccomp {
        linux["seccomp"] = seccomp::profile(container.capability_bits());
    }
    if let Some(group) = group {
        let others = json!({"allow": container.privileged, "access": "rwm"});
        let granted = places.iter().filter_map(|place| place.rule.clone());
        let rules: Vec<_> = [others].into_iter().chain(granted).collect();
        linux["cgroupsPath"] = json!(group);
        linux["resources"] = json!({"devices": rules});
    }
    linux
}
