//! What can be done with offered resources.

use mete_model::{AgentId, MEBIBYTE, OperationId, Resources, Role};
use mete_proto::convert::resources;
use mete_proto::mesos::v1 as wire;
use wire::offer::operation::{self, Type};

use crate::group::Group;
use crate::launch::Task;

/// What can be done with offered resources. More may come: match with a `_` arm.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Operation {
    /// Start tasks, each for itself.
    Launch(Vec<Task>),
    /// Start tasks together.
    LaunchGroup(Box<Group>),
    /// Keep resources for a role: they are named as they are to be, the last reservation included.
    Reserve(Resources),
    /// Take the last reservation away from these.
    Unreserve(Resources),
    /// Make volumes, named as they are to be, of reserved disk.
    Create(Resources),
    /// Destroy these volumes, with what is on them.
    Destroy(Resources),
    /// Make a volume larger. Refused when it is not one volume, and one kind of disk.
    Grow {
        /// The volume as it is offered.
        volume: Resources,
        /// Disk, reserved as the volume is, that becomes part of it.
        addition: Resources,
    },
    /// Make a volume smaller; what goes stays reserved. Refused when it is not one volume.
    Shrink {
        /// The volume as it is offered.
        volume: Resources,
        /// By so much: something has to stay.
        by_bytes: u64,
    },
}

/// An operation as it goes out: with a name, or without.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    id: Option<OperationId>,
    operation: Operation,
}

impl From<Operation> for Order {
    fn from(operation: Operation) -> Self {
        Self {
            id: None,
            operation,
        }
    }
}

impl Order {
    pub(crate) fn for_offer(self, agent: &AgentId, role: &Role) -> wire::offer::Operation {
        wire::offer::Operation {
            id: self.id.as_ref().map(wire::OperationId::from),
            ..self.operation.for_offer(agent, role)
        }
    }
}

impl Operation {
    /// With a name, under which [`Event::Operation`](crate::Event::Operation) tells how it went. No two that are not
    /// acknowledged yet may have one name. Launches cannot have one: their tasks tell.
    pub fn named(self, id: OperationId) -> Order {
        Order {
            id: Some(id),
            operation: self,
        }
    }

    fn for_offer(self, agent: &AgentId, role: &Role) -> wire::offer::Operation {
        let mut operation = wire::offer::Operation::default();
        let named = |all: &Resources| {
            let mut named = resources::to_wire(all);
            resources::allocate(&mut named, role);
            named
        };
        let kind = match self {
            Self::Launch(tasks) => {
                let tasks = tasks.into_iter();
                operation.launch = Some(operation::Launch {
                    task_infos: tasks.map(|task| task.for_offer(agent, role)).collect(),
                });
                Type::Launch
            }
            Self::LaunchGroup(group) => {
                operation.launch_group = Some(Box::new(group.for_offer(agent, role)));
                Type::LaunchGroup
            }
            Self::Reserve(all) => {
                operation.reserve = Some(operation::Reserve {
                    resources: named(&all),
                    ..operation::Reserve::default()
                });
                Type::Reserve
            }
            Self::Unreserve(all) => {
                operation.unreserve = Some(operation::Unreserve {
                    resources: named(&all),
                });
                Type::Unreserve
            }
            Self::Create(all) => {
                operation.create = Some(operation::Create {
                    volumes: named(&all),
                });
                Type::Create
            }
            Self::Destroy(all) => {
                operation.destroy = Some(operation::Destroy {
                    volumes: named(&all),
                });
                Type::Destroy
            }
            Self::Grow { volume, addition } => {
                operation.grow_volume = Some(Box::new(operation::GrowVolume {
                    volume: one(named(&volume)),
                    addition: one(named(&addition)),
                }));
                Type::GrowVolume
            }
            Self::Shrink { volume, by_bytes } => {
                operation.shrink_volume = Some(Box::new(operation::ShrinkVolume {
                    volume: one(named(&volume)),
                    subtract: megabytes(by_bytes),
                }));
                Type::ShrinkVolume
            }
        };
        operation.set_type(kind);
        operation
    }
}

/// The only one, or one that every master refuses.
fn one(resources: Vec<wire::Resource>) -> wire::Resource {
    let only: Result<[wire::Resource; 1], _> = resources.try_into();
    only.map_or_else(|_| wire::Resource::default(), |[one]| one)
}

fn megabytes(bytes: u64) -> wire::value::Scalar {
    let value = bytes as f64 / MEBIBYTE as f64;
    wire::value::Scalar { value }
}
