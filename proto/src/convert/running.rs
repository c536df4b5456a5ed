//! What a master must know of a task that runs, read out of its message without reading the rest: a hundred thousand may come
//! in one second, and each was checked when it was launched.

use std::time::Duration;

use mete_model::{ExecutorSpec, Resources, Role, TaskId};
use prost::{Message, Name};

use super::{ConvertError, Within as _, executor, resources, task};
use crate::encoded;
use crate::json::number_of;
use crate::mesos::v1 as wire;

/// A task that runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Running {
    /// Its name within its framework.
    pub id: TaskId,
    /// What it takes.
    pub resources: Resources,
    /// On whose account, when it says so.
    pub role: Option<Role>,
    /// From SIGTERM to SIGKILL; `None`: the agent's own.
    pub kill_grace_period: Option<Duration>,
    /// The executor of its framework's own that it came with.
    pub executor: Option<ExecutorSpec>,
}

impl Running {
    /// Out of a `mesos.v1.TaskInfo`, encoded.
    ///
    /// # Errors
    /// Names the field that is missing or makes no sense.
    pub fn of(task_info: &[u8]) -> Result<Self, ConvertError> {
        const ID: u32 = number_of::<wire::TaskInfo>("task_id");
        const RESOURCES: u32 = number_of::<wire::TaskInfo>("resources");
        const KILL_POLICY: u32 = number_of::<wire::TaskInfo>("kill_policy");
        const EXECUTOR: u32 = number_of::<wire::TaskInfo>("executor");
        let (mut id, mut list, mut policy, mut own) = (None, Vec::new(), None, None);
        for (number, held) in encoded::delimited(task_info) {
            match number {
                ID => id = Some(read::<wire::TaskId>(held, "task_id")?),
                RESOURCES => list.push(read::<wire::Resource>(held, "resources")?),
                KILL_POLICY => policy = Some(read::<wire::KillPolicy>(held, "kill_policy")?),
                EXECUTOR => own = Some(read::<wire::ExecutorInfo>(held, "executor")?),
                _ => {}
            }
        }
        let id = id.ok_or_else(|| ConvertError::missing("task_id"))?;
        let policy = policy.as_ref().map_or(Ok(None), task::grace_period);
        let own = own.as_ref().map(executor::of_task).transpose();
        Ok(Self {
            id: (&id).try_into().within("task_id")?,
            resources: resources::from_wire(&list)?,
            role: role_of(&list),
            kill_grace_period: policy.within("kill_policy")?,
            executor: own.within("executor")?,
        })
    }
}

fn read<M: Message + Name + Default>(held: &[u8], path: &str) -> Result<M, ConvertError> {
    M::decode(held).map_err(|error| ConvertError::bad_value(path, error, "it cannot be read"))
}

fn role_of(resources: &[wire::Resource]) -> Option<Role> {
    let allocations = resources
        .iter()
        .filter_map(|one| one.allocation_info.as_ref());
    let mut roles = allocations.filter_map(|allocation| allocation.role.as_deref());
    Role::new(roles.next()?).ok()
}
