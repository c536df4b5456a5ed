//! What lies where in the work directory.
//!
//! ```text
//! <work directory>/
//!     agent.redb      the store; its lock keeps a second agent out
//!     scope           what all is called that the agent makes on the machine
//!     reserve         room for the store when tasks have filled the disk
//!     fetch/parts, fetch/cache                  what tasks fetch: under way, and kept for others
//!     images/         images, unpacked and shared
//!     volumes/        persistent volumes, by role
//!     secrets/<container>/                      what secrets of a task hold
//!     trial/          for a moment at the start: a container that is built to see whether it can be
//!     tasks/<container>/                        what agent and shim say to each other
//!     slaves/<agent>/frameworks/<framework>/executors/<task>/runs/<container>/     the sandbox
//!                                                                 …/runs/latest    the newest of them
//!     …/executors/<executor>/runs/<container>/containers/<container>/   the same for a task of a group
//!                                            /tasks/<task>              leads there
//!     namespaces/     networks that tasks of groups share
//! ```
//! The path of a sandbox is Mesos': tools that know it find their way.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use mete_agent_core::{ExecutorKey, Sandbox, Task, View, Within};
use mete_model::{AgentId, ContainerId, FrameworkId, TaskId, TaskKey};

use crate::cgroups;

/// The link beside the runs of a task that leads to the newest of them.
pub(crate) const LATEST: &str = "latest";

/// Who may enter the work directory: tasks of other users pass through on the way to their sandboxes, and list nothing.
pub(crate) const WORK_DIR_MODE: u32 = 0o711;

/// The work directory of one agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    root: PathBuf,
}

impl Places {
    /// Of a work directory that is there; its path becomes absolute and free of links.
    ///
    /// # Errors
    /// What the system says, with the path.
    pub fn open(work_dir: &Path) -> io::Result<Self> {
        let named = |error: io::Error| {
            io::Error::new(error.kind(), format!("{}: {error}", work_dir.display()))
        };
        let root = work_dir.canonicalize().map_err(named)?;
        if root.to_str().is_none() {
            let text = format!("{}: the path is not UTF-8", root.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        Ok(Self { root })
    }

    /// The work directory itself, absolute.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The store.
    pub fn store(&self) -> PathBuf {
        self.root.join("agent.redb")
    }

    /// What control groups, networks and containers of an engine are called that the agent of this directory makes: see
    /// [`scope_of`](cgroups::scope_of), with the first name that the agent has had, so that it finds them under another one.
    /// Blocks.
    ///
    /// # Errors
    /// What the system says, with the path.
    pub(crate) fn scope(&self, name: &str) -> io::Result<String> {
        let file = self.root.join("scope");
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", file.display()));
        let known = match fs::read_to_string(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            read => Some(read.map_err(named)?),
        };
        let scope = cgroups::scope_of(name, &self.root);
        // A directory that was copied from elsewhere has a scope of its own.
        let mark = cgroups::scope_of("", &self.root);
        let known = known.filter(|known| known.ends_with(&mark) && !known.contains('/'));
        if let Some(known) = known {
            return Ok(known);
        }
        let aside = self.root.join("scope.new");
        fs::write(&aside, &scope).map_err(named)?;
        fs::rename(&aside, &file).map_err(named)?;
        Ok(scope)
    }

    /// The store's reserve.
    pub fn reserve(&self) -> PathBuf {
        self.root.join("reserve")
    }

    /// What tasks fetch, before it is in their sandboxes.
    pub fn fetch(&self) -> PathBuf {
        self.root.join("fetch")
    }

    /// The images.
    pub fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    /// The key of the tokens of executors.
    pub(crate) fn executor_key(&self) -> PathBuf {
        self.root.join("executor.key")
    }

    /// The persistent volumes.
    pub(crate) fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }

    /// What secrets of tasks hold.
    pub(crate) fn secrets(&self) -> PathBuf {
        self.root.join("secrets")
    }

    /// Where a container is built at the start, to see whether it can be.
    pub(crate) fn trial(&self) -> PathBuf {
        self.root.join("trial")
    }

    /// Above the task directories.
    pub fn tasks(&self) -> PathBuf {
        self.root.join("tasks")
    }

    /// Above the runs of one task.
    fn task(&self, agent: &AgentId, key: &TaskKey) -> PathBuf {
        let framework = self.framework(agent, &key.framework);
        framework.join("executors").join(key.task.as_str())
    }

    fn framework(&self, agent: &AgentId, framework: &FrameworkId) -> PathBuf {
        self.root
            .join("slaves")
            .join(agent.as_str())
            .join("frameworks")
            .join(framework.as_str())
    }

    /// The sandbox of one run of a task.
    pub fn sandbox(&self, agent: &AgentId, key: &TaskKey, container: &ContainerId) -> PathBuf {
        let runs = self.task(agent, key).join("runs");
        runs.join(container.as_str())
    }

    /// The sandbox of an executor, in which those of its tasks lie.
    pub(crate) fn executor_sandbox(
        &self,
        agent: &AgentId,
        framework: &FrameworkId,
        within: &Within,
    ) -> PathBuf {
        self.framework(agent, framework)
            .join("executors")
            .join(within.executor.as_str())
            .join("runs")
            .join(within.container.as_str())
    }

    /// The sandbox of one run of a task that came alone or in a group.
    pub(crate) fn sandbox_within(
        &self,
        agent: &AgentId,
        key: &TaskKey,
        container: &ContainerId,
        within: Option<&Within>,
    ) -> PathBuf {
        match within {
            None => self.sandbox(agent, key, container),
            Some(within) => self
                .executor_sandbox(agent, &key.framework, within)
                .join("containers")
                .join(container.as_str()),
        }
    }

    /// The same for a task that the core knows.
    pub(crate) fn sandbox_of(&self, task: &Task, view: &View) -> PathBuf {
        let own = task.executor.clone().map(|executor| ExecutorKey {
            framework: task.key.framework.clone(),
            executor,
        });
        // A task that an executor of its framework's own runs has the sandbox of that.
        if let Some(own) = own.and_then(|key| view.custom_executors.get(&key)) {
            return self.executor_sandbox(&own.agent, &own.key.framework, &own.within());
        }
        let within = within(task, view);
        self.sandbox_within(&task.agent, &task.key, &task.container, within.as_ref())
    }

    /// The same for what an ended task left behind.
    pub(crate) fn sandbox_left(&self, left: &Sandbox) -> PathBuf {
        self.sandbox_within(
            &left.agent,
            &left.key,
            &left.container,
            left.within.as_ref(),
        )
    }

    /// Lets `tasks/<task>` in the sandbox of an executor lead to that of its task. Blocks.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn link_task(
        &self,
        parent: &Path,
        task: &TaskId,
        container: &ContainerId,
    ) -> io::Result<()> {
        let tasks = parent.join("tasks");
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o711)
            .create(&tasks)?;
        let link = tasks.join(task.as_str());
        match fs::remove_file(&link) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        symlink(Path::new("../containers").join(container.as_str()), link)
    }

    /// Network namespaces that tasks of groups share.
    pub(crate) fn namespaces(&self) -> PathBuf {
        self.root.join("namespaces")
    }

    /// Takes a virtual path apart: the sandbox, and the path in it. `None` when it does not lead into a sandbox.
    pub fn locate(&self, path: &str) -> Option<(PathBuf, String)> {
        let relative = path
            .strip_prefix(self.root.to_str()?)
            .unwrap_or(path)
            .trim_start_matches('/');
        let mut parts: Vec<&str> = relative
            .split('/')
            .filter(|part| !part.is_empty())
            .collect();
        let agent = match parts.first() {
            Some(&"frameworks") => self.agent_with(parts.get(..4)?),
            Some(_) | None => None,
        };
        if let Some(agent) = &agent {
            parts.splice(..0, ["slaves", agent.as_str()]);
        }
        let [
            slaves,
            agent,
            frameworks,
            framework,
            executors,
            task,
            runs,
            run,
            inside @ ..,
        ] = &parts[..]
        else {
            return None;
        };
        let words = (*slaves, *frameworks, *executors, *runs);
        if words != ("slaves", "frameworks", "executors", "runs") {
            return None;
        }
        let key = TaskKey {
            framework: framework.parse().ok()?,
            task: task.parse().ok()?,
        };
        let agent = agent.parse().ok()?;
        let run = if *run == LATEST {
            let link = self.task(&agent, &key).join("runs").join(LATEST);
            ContainerId::new(fs::read_link(link).ok()?.to_str()?).ok()?
        } else {
            run.parse().ok()?
        };
        Some((self.sandbox(&agent, &key, &run), inside.join("/")))
    }

    /// The agent of which there is something at `frameworks/<framework>/executors/<executor>`, where a path does not name it
    /// (Mesos has such paths, to `runs/latest`); of several, the one that ran there last.
    fn agent_with(&self, below: &[&str]) -> Option<AgentId> {
        // Names of directories, and nothing that leads elsewhere.
        let [_, framework, _, executor] = below else {
            return None;
        };
        let framework: FrameworkId = framework.parse().ok()?;
        let executor: TaskId = executor.parse().ok()?;
        let below = Path::new("frameworks")
            .join(framework.as_str())
            .join("executors")
            .join(executor.as_str())
            .join("runs");
        let agents = fs::read_dir(self.root.join("slaves")).ok()?.flatten();
        let known = agents.filter_map(|agent| {
            let runs = fs::metadata(agent.path().join(&below)).ok()?;
            let id: AgentId = agent.file_name().to_str()?.parse().ok()?;
            Some((runs.modified().ok()?, id))
        });
        known.max().map(|(_, agent)| agent)
    }

    /// Lets `latest` lead to this run. Blocks.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn link_latest(&self, sandbox: &Path) -> io::Result<()> {
        let (Some(runs), Some(run)) = (sandbox.parent(), sandbox.file_name()) else {
            return Ok(());
        };
        // Tasks of a group make the same link at the same time.
        static LINKING: Mutex<()> = Mutex::new(());
        let _one_at_a_time = LINKING.lock().unwrap_or_else(PoisonError::into_inner);
        let latest = runs.join(LATEST);
        match symlink(run, &latest) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made,
        }
        let aside = runs.join(".latest");
        match fs::remove_file(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        symlink(run, &aside)?;
        fs::rename(&aside, latest)
    }

    /// Removes what stands above a sandbox that is gone, as far as nothing else is in it. Blocks.
    pub(crate) fn prune(&self, sandbox: &Path) {
        let Some(runs) = sandbox.parent() else {
            return;
        };
        let latest = runs.join(LATEST);
        // The link is left over when what it leads to is gone.
        if latest.is_symlink() && !latest.exists() {
            let _ = fs::remove_file(&latest);
        }
        // runs, <task>, executors, <framework>, frameworks, <agent>, slaves; the first that is not empty ends it.
        for above in runs.ancestors().take(7) {
            if above == self.root || fs::remove_dir(above).is_err() {
                return;
            }
        }
    }
}

/// The sandbox of the executor that a task's own lies in, when it came in a group.
pub(crate) fn within(task: &Task, view: &View) -> Option<Within> {
    let key = ExecutorKey {
        framework: task.key.framework.clone(),
        executor: task.executor.clone()?,
    };
    view.executors.get(&key).map(|executor| executor.within())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids() -> (AgentId, TaskKey, ContainerId) {
        let key = TaskKey {
            framework: "f-0001".parse().expect("good"),
            task: "web.1".parse().expect("good"),
        };
        (
            "m-S1".parse().expect("good"),
            key,
            "c-1".parse().expect("good"),
        )
    }

    #[test]
    fn a_sandbox_is_found_by_its_path_with_and_without_the_work_directory() {
        let directory = tempfile::tempdir().expect("a directory");
        let places = Places::open(directory.path()).expect("opens");
        let (agent, key, container) = ids();
        let sandbox = places.sandbox(&agent, &key, &container);
        fs::create_dir_all(&sandbox).expect("made");
        places.link_latest(&sandbox).expect("linked");
        places.link_latest(&sandbox).expect("linked again");
        let full = sandbox.to_str().expect("UTF-8");
        let short = full
            .strip_prefix(places.root().to_str().expect("UTF-8"))
            .expect("inside");
        let latest = full.replace("c-1", LATEST);

        let (_, below) = latest.split_once("/m-S1").expect("an agent");

        for path in [full, short, &latest, below] {
            let found = places.locate(&format!("{path}/a//b"));
            assert_eq!(found, Some((sandbox.clone(), "a/b".to_owned())), "{path}");
        }
    }

    #[test]
    fn the_scope_stays_that_of_the_first_name_until_the_directory_is_another() {
        let directory = tempfile::tempdir().expect("a directory");
        let (one, other) = (directory.path().join("one"), directory.path().join("other"));
        fs::create_dir(&one).expect("made");
        let places = Places::open(&one).expect("opens");
        let first = places.scope("agent-1").expect("written");
        assert_eq!(first, cgroups::scope_of("agent-1", places.root()));

        assert_eq!(places.scope("renamed").expect("read"), first);
        fs::rename(&one, &other).expect("moved");
        let moved = Places::open(&other).expect("opens");

        let scope = moved.scope("renamed").expect("written");
        assert_eq!(scope, cgroups::scope_of("renamed", moved.root()));
    }

    #[test]
    fn a_path_that_leads_elsewhere_is_nowhere() {
        let directory = tempfile::tempdir().expect("a directory");
        let places = Places::open(directory.path()).expect("opens");

        for path in [
            "",
            "/",
            "/etc/passwd",
            "/agent.redb",
            "/slaves/m-S1/frameworks/f/executors/t/runs",
            "/slaves/m-S1/frameworks/f/executors/t/runs/..",
            "/slaves/../frameworks/f/executors/t/runs/c",
            "/slaves/m-S1/frameworks/f/executors/t/runs/latest",
            "/frameworks",
            "/frameworks/f/executors/t/runs/latest",
            "/frameworks/../executors/../runs/latest",
        ] {
            assert_eq!(places.locate(path), None, "{path}");
        }
    }

    #[test]
    fn what_stands_above_a_removed_sandbox_goes_when_it_is_empty() {
        let directory = tempfile::tempdir().expect("a directory");
        let places = Places::open(directory.path()).expect("opens");
        let (agent, key, container) = ids();
        let sandbox = places.sandbox(&agent, &key, &container);
        fs::create_dir_all(&sandbox).expect("made");
        places.link_latest(&sandbox).expect("linked");
        fs::remove_dir(&sandbox).expect("removed");

        places.prune(&sandbox);

        assert!(!places.root().join("slaves").exists());
        assert!(places.root().exists());
    }
}
