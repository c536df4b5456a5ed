//! What a task finds in its environment: Mesos' variables, and its own, which win. Nothing of the agent's.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use mete_agent_core::executor_environment::{CustomExecutor, Whereabouts, executor_environment};
use mete_model::Endpoint;
use mete_proto::mesos::v1 as wire;
use prost::Message as _;

use super::Job;
use crate::executors::ExecutorTokens;

/// Where programs are looked for when the task does not say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Of a task that runs on the files of the machine.
pub(super) fn of(
    job: &Job,
    sandbox: &Path,
    endpoint: &Endpoint,
    tokens: Option<&ExecutorTokens>,
) -> BTreeMap<String, String> {
    let mut all = of_agent(job, sandbox, endpoint, tokens);
    all.insert("PATH".to_owned(), SEARCH_PATH.clone());
    all.extend(job.spec.command.environment.clone());
    all
}

/// The agent's part alone. Where programs are is not the agent's to say in an image.
pub(super) fn of_agent(
    job: &Job,
    sandbox: &Path,
    endpoint: &Endpoint,
    tokens: Option<&ExecutorTokens>,
) -> BTreeMap<String, String> {
    let sandbox = sandbox.display().to_string();
    let task = job.key.task.to_string();
    let parent = job.parent.as_ref();
    let executor = parent.map_or_else(|| task.clone(), |parent| parent.key.executor.to_string());
    let whereabouts = Whereabouts {
        framework: &job.key.framework,
        executor: &executor,
        agent: &job.agent,
        endpoint,
        directory: &sandbox,
        sandbox: &sandbox,
    };
    if let Some(shutdown_grace) = job.shutdown_grace {
        return of_executor(job, whereabouts, shutdown_grace, tokens);
    }
    let of_tasks = [
        ("MESOS_TASK_ID", task),
        ("MESOS_ALLOCATION_ROLE", allocation_role(job)),
        ("MESOS_CONTAINER_IP", endpoint.ip.clone()),
    ];
    let mut all = whereabouts.environment();
    all.extend(of_tasks.map(|(name, value)| (name.to_owned(), value)));
    all
}

/// Of an executor of a framework's own.
fn of_executor(
    job: &Job,
    whereabouts: Whereabouts<'_>,
    shutdown_grace: Duration,
    tokens: Option<&ExecutorTokens>,
) -> BTreeMap<String, String> {
    let info = wire::FrameworkInfo::decode(job.framework.original.clone());
    let mut all = executor_environment(&CustomExecutor {
        whereabouts,
        checkpoint: info.unwrap_or_default().checkpoint(),
        shutdown_grace,
    });
    if let Some(tokens) = tokens {
        let token = tokens.of(&job.container);
        all.insert("MESOS_EXECUTOR_AUTHENTICATION_TOKEN".to_owned(), token);
    }
    all
}

/// See [`search_path`]: as it was when the first task asked.
static SEARCH_PATH: LazyLock<String> = LazyLock::new(search_path);

/// The folder of the agent's own program comes last, so that tasks can call `mete` wherever it is installed.
fn search_path() -> String {
    let program = std::env::current_exe().ok();
    let folder = program
        .as_deref()
        .and_then(Path::parent)
        .and_then(Path::to_str);
    match folder.filter(|folder| {
        !folder.contains(':') && !DEFAULT_PATH.split(':').any(|known| known == *folder)
    }) {
        Some(folder) => format!("{DEFAULT_PATH}:{folder}"),
        None => DEFAULT_PATH.to_owned(),
    }
}

/// On whose account the task's resources were handed out: what they say, else the framework's first role.
pub(super) fn allocation_role(job: &Job) -> String {
    let info = wire::TaskInfo::decode(job.spec.original.clone()).unwrap_or_default();
    let said = info
        .resources
        .iter()
        .find_map(|resource| resource.allocation_info.as_ref()?.role.clone());
    said.unwrap_or_else(|| {
        let role = job.framework.roles.first();
        role.cloned().unwrap_or_default().to_string()
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mete_model::{AgentId, CommandSpec, FrameworkInfo, Resources, Role, TaskKey, TaskSpec};

    use super::*;

    fn job() -> Job {
        let mut command = CommandSpec::shell("env");
        command.environment = [("PORT0".into(), "31000".into())].into();
        let agent: AgentId = "m-S1".parse().expect("good");
        let framework = FrameworkInfo {
            id: Some("f".parse().expect("good")),
            name: "n".into(),
            user: String::new(),
            roles: [Role::new("prod").expect("good")].into(),
            capabilities: [].into(),
            failover_timeout: std::time::Duration::ZERO,
            principal: None,
            hostname: String::new(),
            webui_url: None,
            original: [].as_slice().into(),
        };
        Job {
            key: TaskKey {
                framework: "f".parse().expect("good"),
                task: "t".parse().expect("good"),
            },
            container: "c".parse().expect("good"),
            agent: agent.clone(),
            spec: Arc::new(TaskSpec::new(
                "t".parse().expect("good"),
                agent,
                Resources::cpus_mem(100, 32),
                command,
            )),
            framework: Arc::new(framework),
            parent: None,
            shutdown_grace: None,
        }
    }

    fn endpoint() -> Endpoint {
        Endpoint {
            hostname: "here".into(),
            ip: "127.0.0.2".into(),
            port: 5051,
        }
    }

    #[test]
    fn the_task_is_told_who_and_where_it_is() {
        let all = of(&job(), Path::new("/w/s"), &endpoint(), None);

        assert_eq!(all["MESOS_TASK_ID"], "t");
        assert_eq!(all["MESOS_SANDBOX"], "/w/s");
        assert_eq!(all["MESOS_AGENT_ENDPOINT"], "127.0.0.2:5051");
        assert_eq!(all["MESOS_ALLOCATION_ROLE"], "prod");
        assert_eq!(all["PORT0"], "31000");
        assert!(
            all.keys()
                .all(|name| name.starts_with("MESOS_") || name == "PATH" || name == "PORT0")
        );
    }

    #[test]
    fn what_the_task_says_wins() {
        let mut job = job();
        let mut spec = (*job.spec).clone();
        spec.command.environment = [("PATH".into(), "/mine".into())].into();
        job.spec = Arc::new(spec);

        assert_eq!(
            of(&job, Path::new("/w/s"), &endpoint(), None)["PATH"],
            "/mine"
        );
    }
}
