//! What an instance holds on its agent from one task to the next: resources that are reserved for it alone, and volumes on
//! their disk.
//!
//! Each reservation bears two labels, under Marathon's names: whose framework it is and which instance. So whoever is offered
//! it knows for whom it is kept, also after a restart, and everybody else leaves it alone.

use std::collections::BTreeMap;

use mete_model::resources::megabytes::{bytes_of, milli_nearest};
use mete_model::{
    FrameworkId, Reservation, ReservationKind, Resources, Role, Tag, UpdateId, Volume,
};

use crate::effects::Kept;
use crate::spec::app::{AppId, AppSpec};
use crate::state::instances::InstanceId;

/// The label with the id of the framework.
pub(crate) const FRAMEWORK_LABEL: &str = "marathon_framework_id";
/// The label with the id of the instance. (Marathon once wrote a task's; the name stayed.)
const INSTANCE_LABEL: &str = "marathon_task_id";

/// What the id of a volume has besides the id of its app and its path: two signs and a UUID.
pub(crate) const VOLUME_ID_BYTES: usize = 2 + 36;

/// What an instance holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// Of which framework.
    pub framework: FrameworkId,
    /// For which role; never `*`.
    pub role: Role,
    /// All but the volumes, as it was before it was reserved.
    pub resources: Resources,
    /// In the order of its app's list.
    pub volumes: Vec<LocalVolume>,
    /// Whether anybody has seen it; until then it is only asked for.
    pub is_confirmed: bool,
}

/// A volume of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalVolume {
    /// The place inside, below the sandbox.
    pub container_path: String,
    /// Its size.
    pub size_bytes: u64,
    /// Makes its id one that was never used before.
    pub uuid: UpdateId,
}

impl LocalVolume {
    /// The id of a volume of an app: `<app id with / as _>#<path>#<uuid>`, as Marathon's.
    pub fn persistence_id(&self, app: &AppId) -> String {
        format!("{}#{}#{}", app.flat(), self.container_path, self.uuid)
    }
}

impl Holding {
    /// What an instance of `spec` is to hold, out of what it was given of an offer.
    pub(crate) fn of(
        spec: &AppSpec,
        framework: FrameworkId,
        role: Role,
        given: &Resources,
        mut uuid: impl FnMut() -> [u8; 16],
    ) -> Self {
        let volumes = spec.persistent_volumes().iter().map(|wanted| LocalVolume {
            container_path: wanted.container_path.clone(),
            size_bytes: wanted.size_bytes,
            uuid: UpdateId(uuid()),
        });
        let mut resources = given.clone();
        let of_volumes = milli_nearest(spec.volume_bytes());
        resources.disk_milli = resources.disk_milli.saturating_sub(of_volumes);
        Self {
            framework,
            role,
            resources,
            volumes: volumes.collect(),
            is_confirmed: false,
        }
    }

    /// What these parts, all that is reserved for one instance on one agent, are to whoever has forgotten it; `None`: we have
    /// not made them.
    pub(crate) fn found(framework: FrameworkId, parts: &Resources) -> Option<Self> {
        let (mut role, mut resources, mut volumes) = (None, Resources::none(), Vec::new());
        for (tag, part) in parts.parts() {
            role = Some(tag.role()?.clone());
            match &tag.volume {
                None => resources.add(part),
                Some(volume) => volumes.push(LocalVolume {
                    container_path: volume.container_path.clone(),
                    size_bytes: bytes_of(part.disk_milli),
                    uuid: volume.id.rsplit_once('#')?.1.parse().ok()?,
                }),
            }
        }
        Some(Self {
            framework,
            role: role?,
            resources,
            volumes,
            is_confirmed: false,
        })
    }

    /// Whether an instance of `spec` may run on it: it is what that asks for, neither more nor less.
    pub fn fits(&self, spec: &AppSpec) -> bool {
        let wanted = spec.persistent_volumes();
        let has_volumes = wanted.len() == self.volumes.len()
            && wanted.iter().zip(&self.volumes).all(|(wanted, there)| {
                wanted.container_path == there.container_path
                    && wanted.size_bytes == there.size_bytes
            });
        let there = &self.resources;
        let has_ports = spec.host_ports().count() as u64 == there.ports.count()
            && spec
                .host_ports()
                .all(|port| port == 0 || there.ports.contains(port.into()));
        has_volumes
            && has_ports
            && there.cpus_milli == spec.cpus_milli
            && there.mem_milli == milli_nearest(spec.mem_bytes)
            && there.disk_milli == milli_nearest(spec.disk_bytes)
            && there.gpus_milli == u64::from(spec.gpus) * 1_000
    }

    /// As the master has it: what is reserved in all, and the volumes that lie on it.
    pub fn kept(&self, id: &InstanceId) -> Kept {
        let mut reserved = self.resources.clone();
        let mut volumes = Resources::none();
        for volume in &self.volumes {
            reserved.add(&disk(volume.size_bytes));
            let tag = Tag {
                volume: Some(Volume {
                    id: volume.persistence_id(&id.app()),
                    container_path: volume.container_path.clone(),
                    read_only: false,
                    principal: None,
                }),
                ..self.tag(id)
            };
            volumes.add_part(tag, disk(volume.size_bytes));
        }
        Kept {
            reserved: Resources::none().with_part(self.tag(id), reserved),
            volumes,
        }
    }

    /// What a task of the instance takes: all of it.
    pub fn of_task(&self, id: &InstanceId) -> Resources {
        let mut all = self.kept(id).volumes;
        all.add_part(self.tag(id), self.resources.clone());
        all
    }

    fn tag(&self, id: &InstanceId) -> Tag {
        let label = |name: &str, value: String| (name.to_owned(), Some(value));
        Tag {
            reservations: vec![Reservation {
                role: self.role.clone(),
                kind: ReservationKind::Dynamic,
                principal: None,
                labels: vec![
                    label(FRAMEWORK_LABEL, self.framework.to_string()),
                    label(INSTANCE_LABEL, id.to_string()),
                ],
            }],
            ..Tag::default()
        }
    }
}

/// The parts of offered resources that are kept for instances of `framework`, by instance.
pub(crate) fn by_owner(
    offered: &Resources,
    framework: &FrameworkId,
) -> BTreeMap<InstanceId, Resources> {
    let mut all: BTreeMap<InstanceId, Resources> = BTreeMap::new();
    for (tag, part) in offered.parts() {
        if let Some(owner) = owner(tag, framework) {
            let parts = all.entry(owner).or_default();
            parts.add_part(tag.clone(), part.clone());
        }
    }
    all
}

/// The instance that a reservation of `framework` is kept for.
fn owner(tag: &Tag, framework: &FrameworkId) -> Option<InstanceId> {
    let labels = &tag.reservations.last()?.labels;
    let value = |name: &str| {
        let label = labels.iter().find(|(label, _)| label == name)?;
        label.1.as_deref()
    };
    let is_ours = value(FRAMEWORK_LABEL)? == framework.as_str();
    is_ours.then(|| InstanceId::parse(value(INSTANCE_LABEL)?))?
}

/// Parts that are reserved, as they were kept: volumes, and with their disk all that was reserved.
pub(crate) fn as_kept(parts: &Resources) -> Kept {
    let (mut reserved, mut volumes) = (Resources::none(), Resources::none());
    for (tag, part) in parts.parts() {
        if tag.volume.is_some() {
            volumes.add_part(tag.clone(), part.clone());
        }
        let plain = Tag {
            shared: false,
            volume: None,
            ..Tag::clone(tag)
        };
        reserved.add_part(plain, part.clone());
    }
    Kept { reserved, volumes }
}

fn disk(bytes: u64) -> Resources {
    let mut disk = Resources::none();
    disk.disk_milli = milli_nearest(bytes);
    disk
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::app::{Container, ContainerKind, PersistentVolume};
    use mete_model::{MB_MILLI, Ranges};

    fn spec() -> AppSpec {
        let mut spec = AppSpec::new(AppId::new("/shop/db").expect("good"));
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
                size_bytes: 100 << 20,
            }],
        });
        spec
    }

    #[test]
    fn what_is_kept_is_found_again_by_its_labels_and_is_as_much_as_was_given() {
        let framework = FrameworkId::new("f-1").expect("good");
        let role = Role::new("dev").expect("good");
        let mut given = Resources::cpus_mem(500, 64).with_ports(Ranges::interval(31_000, 31_000));
        given.disk_milli = 110 * MB_MILLI;
        let spec = spec();
        let id = InstanceId::new(&spec.id, *b"0123456789abcdef");

        let holding = Holding::of(&spec, framework.clone(), role, &given, || [7; 16]);

        let Kept { reserved, volumes } = holding.kept(&id);
        assert_eq!(*reserved.flat(), given);
        let named: Vec<String> = volumes
            .volumes()
            .map(|(name, _, bytes)| format!("{name} {bytes}"))
            .collect();
        let expected = "dev: shop_db#data#07070707-0707-0707-0707-070707070707 104857600";
        assert_eq!(named, [expected]);
        let task = holding.of_task(&id);
        assert_eq!(*task.flat(), given);
        let other = FrameworkId::new("f-2").expect("good");
        assert_eq!(by_owner(&task, &framework)[&id], task);
        assert!(by_owner(&task, &other).is_empty());
        assert_eq!(as_kept(&task), holding.kept(&id));
        assert_eq!(Holding::found(framework, &task), Some(holding));
    }

    #[test]
    fn it_fits_what_asks_for_just_that() {
        let mut spec = spec();
        (spec.cpus_milli, spec.mem_bytes) = (500, 64 << 20);
        let mut given = Resources::cpus_mem(500, 64).with_ports(Ranges::interval(31_000, 31_000));
        given.disk_milli = 100 * MB_MILLI;
        let role = Role::new("dev").expect("good");
        let framework = FrameworkId::new("f-1").expect("good");
        let holding = Holding::of(&spec, framework, role, &given, || [7; 16]);
        let fits = |change: fn(&mut AppSpec)| {
            let mut other = spec.clone();
            change(&mut other);
            holding.fits(&other)
        };

        assert!(fits(|_| {}));
        assert!(!fits(|spec| spec.cpus_milli = 499));
        assert!(!fits(|spec| spec.port_definitions.clear()));
        assert!(!fits(|spec| spec.container = None));
    }
}
