//! What a framework sees, by the suite that the SDK has for any master: this one is the real one, its agents run nothing.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mete_framework_sdk::testkit::scenarios::Stage;
use mete_model::{Resources, TaskId, TaskState};
use mete_proto::mesos::v1 as mesos;
use mete_proto::mete::v1 as mete;
use mete_proto::mete::v1::agent_message::Message as Said;
use mete_proto::mete::v1::master_message::Message as Heard;
use prost::Message as _;
use tempfile::{TempDir, tempdir};
use tokio::sync::broadcast;

use crate::peers::{Agent, Master, registration};

/// An update that is not acknowledged is sent again after this.
const REPEAT: Duration = Duration::from_millis(200);

struct Real {
    master: Master,
    agents: u16,
    /// Heard by all agents; the one that has the task ends it.
    ends: broadcast::Sender<(TaskId, TaskState)>,
    _dir: TempDir,
}

impl Stage for Real {
    fn master_address(&self) -> String {
        self.master.url.clone()
    }

    async fn add_agent(&mut self, resources: Resources) {
        self.agents += 1;
        let mut register = registration();
        register.agent_info.port = Some(5050 + i32::from(self.agents));
        register.agent_info.resources = mete_proto::convert::resources::to_wire(&resources);
        let agent = Agent::registered_as(&self.master, register).await;
        tokio::spawn(pretend(agent, self.ends.subscribe()));
    }

    async fn finish_task(&mut self, task: &TaskId, state: TaskState) {
        self.ends
            .send((task.clone(), state))
            .expect("an agent listens");
    }
}

/// A task that an agent pretends to run: reports that wait, the first of them sent.
struct Pretended {
    framework: mesos::FrameworkId,
    reports: VecDeque<mesos::TaskStatus>,
    /// The others of its group.
    others: Vec<String>,
    over: bool,
}

/// Pretends to run what it is told to, until its stream ends.
async fn pretend(mut agent: Agent, mut ends: broadcast::Receiver<(TaskId, TaskState)>) {
    let mut tasks: BTreeMap<String, Pretended> = BTreeMap::new();
    let mut repeat = tokio::time::interval(REPEAT);
    loop {
        tokio::select! {
            order = agent.order() => match order {
                Some(order) => obey(&agent, &mut tasks, order).await,
                None => return,
            },
            Ok((task, state)) = ends.recv() => end(&agent, &mut tasks, task.as_str(), state).await,
            _ = repeat.tick() => {
                for task in tasks.values() {
                    send_first(&agent, task).await;
                }
            }
        }
    }
}

async fn obey(agent: &Agent, tasks: &mut BTreeMap<String, Pretended>, order: Heard) {
    match order {
        Heard::RunTask(run) => run_task(agent, tasks, *run).await,
        Heard::RunGroup(group) => {
            let infos = group.task_group.tasks.iter();
            let names: Vec<_> = infos.map(|info| info.task_id.value.clone()).collect();
            for task_info in group.task_group.tasks {
                let run = mete::RunTask {
                    framework_info: group.framework_info.clone(),
                    task_info,
                };
                run_task(agent, tasks, run).await;
            }
            for name in &names {
                if let Some(task) = tasks.get_mut(name) {
                    task.others.clone_from(&names);
                }
            }
        }
        Heard::KillTask(kill) => end(agent, tasks, &kill.task_id.value, TaskState::Killed).await,
        Heard::Acknowledge(acknowledge) => {
            let name = acknowledge.task_id.value;
            let Some(task) = tasks.get_mut(&name) else {
                return;
            };
            if task.reports.front().and_then(|report| report.uuid.as_ref())
                == Some(&acknowledge.uuid)
            {
                task.reports.pop_front();
                send_first(agent, task).await;
            }
            if task.over && task.reports.is_empty() {
                tasks.remove(&name);
            }
        }
        Heard::Ping(mete::Ping { sequence }) => {
            agent.try_say(Said::Pong(mete::Pong { sequence })).await
        }
        Heard::Registered(_)
        | Heard::Refused(_)
        | Heard::ResendUpdates(_) // What is not acknowledged is repeated anyway.
        | Heard::UpdateFramework(_)
        | Heard::Standing(_)
        | Heard::ShutdownFramework(_)
        | Heard::EraseVolumes(_)
        | Heard::ExecutorMessage(_)
        | Heard::ShutdownExecutor(_)
        | Heard::Shutdown(_) => {}
    }
}

async fn run_task(agent: &Agent, tasks: &mut BTreeMap<String, Pretended>, run: mete::RunTask) {
    let name = run.task_info.task_id.value.clone();
    let framework = run.framework_info.id.expect("a framework with id");
    let task = tasks.entry(name.clone()).or_insert(Pretended {
        framework,
        reports: VecDeque::new(),
        others: Vec::new(),
        over: false,
    });
    task.over = false;
    for state in [
        mesos::TaskState::TaskStarting,
        mesos::TaskState::TaskRunning,
    ] {
        add(agent, task, &name, state).await;
    }
}

/// A task ends; unless it has finished, so do the others of its group.
async fn end(agent: &Agent, tasks: &mut BTreeMap<String, Pretended>, name: &str, state: TaskState) {
    let Some(task) = tasks.get_mut(name).filter(|task| !task.over) else {
        return;
    };
    task.over = true;
    let others = task.others.clone();
    add(agent, task, name, state.into()).await;
    if state != TaskState::Finished {
        for other in &others {
            if let Some(task) = tasks.get_mut(other).filter(|task| !task.over) {
                task.over = true;
                add(agent, task, other, TaskState::Killed.into()).await;
            }
        }
    }
}

async fn add(agent: &Agent, task: &mut Pretended, name: &str, state: mesos::TaskState) {
    static REPORTS: AtomicU64 = AtomicU64::new(0);
    let number = u128::from(REPORTS.fetch_add(1, Ordering::Relaxed));
    let mut report = agent.status(name, state, 0);
    report.uuid = Some(number.to_be_bytes().to_vec().into());
    task.reports.push_back(report);
    if task.reports.len() == 1 {
        send_first(agent, task).await;
    }
}

async fn send_first(agent: &Agent, task: &Pretended) {
    if let Some(report) = task.reports.front() {
        let update = mete::StatusUpdate {
            framework_id: task.framework.clone(),
            status: report.encode_to_vec().into(),
            latest_state: None,
        };
        agent.try_say(Said::Update(update)).await;
    }
}

async fn real() -> Real {
    let dir = tempdir().expect("a directory");
    let quick = ["--kill-repeat=500ms"];
    let master = Master::with(dir.path(), &quick).await;
    Real {
        master,
        agents: 0,
        ends: broadcast::Sender::new(16),
        _dir: dir,
    }
}

mete_framework_sdk::scenario_tests!(real);
