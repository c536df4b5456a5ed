//! Tasks as GET_TASKS tells them, written as protobuf piece by piece: made as messages first, a hundred thousand of them would
//! take many times as long, and as much memory.

use std::sync::Arc;

use mete_daemon::aside;
use mete_master_core::{Task, View};
use mete_model::{Resources, Role, TaskState};
use mete_proto::convert::said::Said;
use mete_proto::convert::{resources, status};
use mete_proto::encoded;
use mete_proto::json::number_of;
use mete_proto::mesos::v1 as wire;
use prost::Message as _;
use wire::master::response::GetTasks;

/// What a usual task takes as protobuf: a guess too low costs a copy of megabytes.
const TASK_BYTES: usize = 512;

/// Tasks in pieces: that may run, the last that are over, and whose agents cannot be reached. Those in the view's two halves
/// are written at the same time.
pub(super) fn all(view: &View) -> Vec<Vec<u8>> {
    let all: Vec<&Task> = view.tasks.values().map(Arc::as_ref).collect();
    let (first, second) = all.split_at(all.len() / 2);
    let (first, second) = aside::both(|| Told::of(view, first), || Told::of(view, second));
    let ended: Vec<&Task> = view.ended_tasks.values().map(Arc::as_ref).collect();
    let ended = Told::of(view, &ended);
    let over = [first.over, second.over, ended.over];
    let mut pieces = vec![first.may_run, second.may_run];
    pieces.extend(over);
    pieces.extend([first.unreachable, second.unreachable]);
    pieces
}

/// A task as its framework described it, and what was told of it.
pub(super) fn one(view: &View, task: &Task) -> wire::Task {
    let mut written = Vec::new();
    Writer::of(view).put_fields(&mut written, task);
    // What was just written can be read.
    wire::Task::decode(written.as_slice()).unwrap_or_default()
}

/// Some tasks, written as they stand in [`GetTasks`].
#[derive(Default)]
struct Told {
    may_run: Vec<u8>,
    over: Vec<u8>,
    unreachable: Vec<u8>,
}

impl Told {
    fn of(view: &View, tasks: &[&Task]) -> Self {
        const MAY_RUN: u32 = number_of::<GetTasks>("tasks");
        const OVER: u32 = number_of::<GetTasks>("completed_tasks");
        const UNREACHABLE: u32 = number_of::<GetTasks>("unreachable_tasks");
        let mut told = Self::default();
        let mut writer = Writer::of(view);
        for task in tasks {
            let (number, list) = if task.state == TaskState::Unreachable {
                (UNREACHABLE, &mut told.unreachable)
            } else if task.state.is_terminal() {
                (OVER, &mut told.over)
            } else {
                (MAY_RUN, &mut told.may_run)
            };
            if list.capacity() == 0 {
                list.reserve(tasks.len() * TASK_BYTES);
            }
            let from = encoded::open(list, number);
            writer.put_fields(list, task);
            encoded::close(list, from);
        }
        told
    }
}

/// Writes tasks one after the other. Many have the same resources as the one before.
struct Writer<'a> {
    view: &'a View,
    /// What the last task took on whose account, as it is written.
    last: Option<(&'a Resources, &'a Role, Vec<u8>)>,
}

impl<'a> Writer<'a> {
    const fn of(view: &'a View) -> Self {
        Self { view, last: None }
    }

    /// Writes what stands in a [`wire::Task`].
    fn put_fields(&mut self, out: &mut Vec<u8>, task: &'a Task) {
        const NAME: u32 = number_of::<wire::Task>("name");
        const TASK: u32 = number_of::<wire::Task>("task_id");
        const FRAMEWORK: u32 = number_of::<wire::Task>("framework_id");
        const EXECUTOR: u32 = number_of::<wire::Task>("executor_id");
        const AGENT: u32 = number_of::<wire::Task>("agent_id");
        const STATE: u32 = number_of::<wire::Task>("state");
        const STATUSES: u32 = number_of::<wire::Task>("statuses");
        const TOLD_STATE: u32 = number_of::<wire::Task>("status_update_state");
        const TOLD_UUID: u32 = number_of::<wire::Task>("status_update_uuid");
        let said = Said::of(&task.spec.original);
        encoded::put_delimited(out, NAME, said.name.as_bytes());
        encoded::put_id(out, TASK, task.key.task.as_str());
        encoded::put_id(out, FRAMEWORK, task.key.framework.as_str());
        if let Some(executor) = &task.executor {
            encoded::put_id(out, EXECUTOR, executor.as_str());
        }
        encoded::put_id(out, AGENT, task.agent.as_str());
        encoded::put_enum(out, STATE, number(task.state));
        self.put_resources(out, task);
        for report in &task.reports {
            status::put(out, STATUSES, &task.told(report));
        }
        let unacknowledged = task.unacknowledged.as_ref();
        let latest = task.latest().map(|status| status.state);
        if let Some(state) = unacknowledged.map(|(_, state)| *state).or(latest) {
            encoded::put_enum(out, TOLD_STATE, number(state));
        }
        if let Some((uuid, _)) = unacknowledged {
            encoded::put_delimited(out, TOLD_UUID, &uuid.0);
        }
        let frameworks = &self.view.frameworks;
        let framework = || frameworks.get(&task.key.framework);
        let user = said.user.or_else(|| Some(framework()?.info.user.as_str()));
        said.put_into_task(user.filter(|user| !user.is_empty()), out);
    }

    fn put_resources(&mut self, out: &mut Vec<u8>, task: &'a Task) {
        const RESOURCES: u32 = number_of::<wire::Task>("resources");
        let (held, role) = (&task.spec.resources, &task.role);
        if let Some((resources, on_account, written)) = &self.last
            && *resources == held
            && *on_account == role
        {
            return out.extend_from_slice(written);
        }
        let from = out.len();
        let mut list = resources::to_wire(held);
        resources::allocate(&mut list, role);
        for resource in &list {
            encoded::put_message(out, RESOURCES, resource);
        }
        self.last = Some((held, role, out[from..].to_vec()));
    }
}

fn number(state: TaskState) -> i32 {
    wire::TaskState::from(state).into()
}
