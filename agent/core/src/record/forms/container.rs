//! The container around a task.

use mete_model::container::{
    ContainerKind, Isolation, Login, Mount, MountSource, Pull, Rlimit, RlimitKind,
};
use mete_model::{ContainerSpec, LinuxCapability};
use serde::{Deserialize, Serialize};

use super::network::NetworkForm;

/// What is around a task.
#[derive(Serialize, Deserialize)]
pub(super) struct Container {
    #[serde(default)]
    kind: KindForm,
    image: Option<String>,
    pull: PullForm,
    /// A login of its own, which is written nowhere.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    own_login: bool,
    network: NetworkForm,
    hostname: Option<String>,
    mounts: Vec<MountForm>,
    isolation: IsolationForm,
    user: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    groups: Vec<String>,
    working_dir: Option<String>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum KindForm {
    #[default]
    Mesos,
    Docker,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PullForm {
    IfMissing,
    Always,
}

#[derive(Serialize, Deserialize)]
struct MountForm {
    target: String,
    source: SourceForm,
    read_only: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SourceForm {
    Host(String),
    Sandbox(String),
    Parent(String),
    Tmpfs {
        size_bytes: Option<u64>,
    },
    Image(String),
    Named(String),
    /// What it holds is written nowhere.
    Secret,
}

#[derive(Serialize, Deserialize)]
struct IsolationForm {
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    privileged: bool,
    capabilities: Option<Vec<String>>,
    add: Vec<String>,
    drop: Vec<String>,
    seccomp: bool,
    no_new_privileges: bool,
    read_only_root: bool,
    shm_bytes: Option<u64>,
    max_pids: Option<u64>,
    cpu_limit_milli: Option<u64>,
    rlimits: Vec<RlimitForm>,
}

#[derive(Serialize, Deserialize)]
struct RlimitForm {
    kind: String,
    soft: Option<u64>,
    hard: Option<u64>,
}

impl From<&ContainerSpec> for Container {
    fn from(spec: &ContainerSpec) -> Self {
        Self {
            kind: match spec.kind {
                ContainerKind::Mesos => KindForm::Mesos,
                ContainerKind::Docker => KindForm::Docker,
            },
            image: spec.image.clone(),
            pull: match spec.pull {
                Pull::IfMissing => PullForm::IfMissing,
                Pull::Always => PullForm::Always,
            },
            own_login: spec.login != Login::Agents,
            network: NetworkForm::from(&spec.network),
            hostname: spec.hostname.clone(),
            mounts: spec.mounts.iter().map(MountForm::from).collect(),
            isolation: IsolationForm::from(&spec.isolation),
            user: spec.user.clone(),
            groups: spec.groups.clone(),
            working_dir: spec.working_dir.clone(),
        }
    }
}

impl Container {
    pub(super) fn read(self) -> Result<ContainerSpec, String> {
        Ok(ContainerSpec {
            kind: match self.kind {
                KindForm::Mesos => ContainerKind::Mesos,
                KindForm::Docker => ContainerKind::Docker,
            },
            image: self.image,
            pull: match self.pull {
                PullForm::IfMissing => Pull::IfMissing,
                PullForm::Always => Pull::Always,
            },
            login: match self.own_login {
                true => Login::Own(None),
                false => Login::Agents,
            },
            network: self.network.read(),
            hostname: self.hostname,
            mounts: self.mounts.into_iter().map(MountForm::read).collect(),
            isolation: self.isolation.read()?,
            user: self.user,
            groups: self.groups,
            working_dir: self.working_dir,
        })
    }
}

impl From<&Mount> for MountForm {
    fn from(mount: &Mount) -> Self {
        Self {
            target: mount.target.clone(),
            source: match &mount.source {
                MountSource::Host(path) => SourceForm::Host(path.clone()),
                MountSource::Sandbox(path) => SourceForm::Sandbox(path.clone()),
                MountSource::Parent(path) => SourceForm::Parent(path.clone()),
                MountSource::Tmpfs { size_bytes } => SourceForm::Tmpfs {
                    size_bytes: *size_bytes,
                },
                MountSource::Image(reference) => SourceForm::Image(reference.clone()),
                MountSource::Named(name) => SourceForm::Named(name.clone()),
                MountSource::Secret(_) => SourceForm::Secret,
            },
            read_only: mount.read_only,
        }
    }
}

impl MountForm {
    fn read(self) -> Mount {
        Mount {
            target: self.target,
            source: match self.source {
                SourceForm::Host(path) => MountSource::Host(path),
                SourceForm::Sandbox(path) => MountSource::Sandbox(path),
                SourceForm::Parent(path) => MountSource::Parent(path),
                SourceForm::Tmpfs { size_bytes } => MountSource::Tmpfs { size_bytes },
                SourceForm::Image(reference) => MountSource::Image(reference),
                SourceForm::Named(name) => MountSource::Named(name),
                SourceForm::Secret => MountSource::Secret(None),
            },
            read_only: self.read_only,
        }
    }
}

impl From<&Isolation> for IsolationForm {
    fn from(isolation: &Isolation) -> Self {
        let names = |all: &std::collections::BTreeSet<LinuxCapability>| {
            all.iter().map(ToString::to_string).collect()
        };
        let rlimit = |limit: &Rlimit| RlimitForm {
            kind: limit.kind.as_str().to_owned(),
            soft: limit.soft,
            hard: limit.hard,
        };
        Self {
            privileged: isolation.privileged,
            capabilities: isolation.capabilities.as_ref().map(names),
            add: names(&isolation.add),
            drop: names(&isolation.drop),
            seccomp: isolation.seccomp,
            no_new_privileges: isolation.no_new_privileges,
            read_only_root: isolation.read_only_root,
            shm_bytes: isolation.shm_bytes,
            max_pids: isolation.max_pids,
            cpu_limit_milli: isolation.cpu_limit_milli,
            rlimits: isolation.rlimits.iter().map(rlimit).collect(),
        }
    }
}

impl IsolationForm {
    fn read(self) -> Result<Isolation, String> {
        fn known<C: FromIterator<LinuxCapability>>(names: &[String]) -> Result<C, String> {
            let one = |name: &String| {
                let known: Result<LinuxCapability, _> = name.parse();
                known.map_err(|bad| bad.to_string())
            };
            names.iter().map(one).collect()
        }
        let rlimit = |limit: RlimitForm| {
            let kind = RlimitKind::from_name(&limit.kind);
            Ok(Rlimit {
                kind: kind.ok_or_else(|| format!("no limit is called {:?}", limit.kind))?,
                soft: limit.soft,
                hard: limit.hard,
            })
        };
        Ok(Isolation {
            privileged: self.privileged,
            capabilities: self.capabilities.as_deref().map(known).transpose()?,
            add: known(&self.add)?,
            drop: known(&self.drop)?,
            seccomp: self.seccomp,
            no_new_privileges: self.no_new_privileges,
            read_only_root: self.read_only_root,
            shm_bytes: self.shm_bytes,
            max_pids: self.max_pids,
            cpu_limit_milli: self.cpu_limit_milli,
            rlimits: self
                .rlimits
                .into_iter()
                .map(rlimit)
                .collect::<Result<_, String>>()?,
        })
    }
}
