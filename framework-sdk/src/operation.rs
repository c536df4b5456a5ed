//! What can be done with offered resources.

use mete_model::{AgentId, Resources, Role};
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
}

impl Operation {
    pub(crate) fn for_offer(self, agent: &AgentId, role: &Role) -> wire::offer::Operation {
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
                operation.launch_group = Some(group.for_offer(agent, role));
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
        };
        operation.set_type(kind);
        operation
    }
}
