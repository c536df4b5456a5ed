//! One agent's containerizer in a directory of its own; nothing of it is left after the test.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mete_agent::cgroups::{Cgroups, Hierarchies, Limits, Options};
use mete_agent::containerizer::permissions::Permissions;
use mete_agent::containerizer::process::ProcessContainerizer;
use mete_agent::containerizer::{Containerizer, Start};
use mete_agent::oci_runtime::OciRuntime;
use mete_agent::sandbox;
use mete_agent::shims::Executable;
use mete_agent_core::task_dir::{Command, OutputLimits, PidFile, Runner, TaskDir, TaskFile};
use mete_model::ContainerId;

/// Long enough for a loaded machine; a test that gets here has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The program that is nothing but a shim.
pub(crate) fn program() -> PathBuf {
    example("agent_shim")
}

/// A program that `cargo test` builds along.
pub(crate) fn example(name: &str) -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let target = tests.parent().unwrap().parent().unwrap();
    let program = target.join("examples").join(name);
    assert!(
        program.exists(),
        "build it: cargo build -p mete-agent --examples"
    );
    program
}

pub(crate) fn shim() -> Executable {
    Executable::at(&program(), &[]).unwrap()
}

/// The OCI runtime that is to build the containers of all tests, if there is to be one: `METE_OCI_RUNTIME=/usr/bin/crun`.
pub(crate) fn wanted_runtime() -> Option<String> {
    std::env::var("METE_OCI_RUNTIME").ok()
}

/// An OCI runtime of this machine.
pub(crate) fn runtime(path: &str) -> OciRuntime {
    let path = PathBuf::from(path);
    let asking = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(OciRuntime::find(&path)).unwrap()
    });
    asking.join().unwrap()
}

/// What containers may do when a test says nothing.
fn permissions() -> Permissions {
    Permissions {
        runtime: wanted_runtime().map(|path| runtime(&path)),
        ..Permissions::default()
    }
}

/// An agent, as far as it runs tasks.
pub(crate) struct Agent {
    pub(crate) work: tempfile::TempDir,
    pub(crate) cgroups: Cgroups,
    pub(crate) tasks: ProcessContainerizer,
}

impl Agent {
    /// With whatever control groups this host has.
    pub(crate) fn new() -> Self {
        Self::with(&Hierarchies::of_this_host(), |_| {})
    }

    /// As on a host without any.
    pub(crate) fn without_groups() -> Self {
        Self::with(&Hierarchies::default(), |_| {})
    }

    pub(crate) fn with(hierarchies: &Hierarchies, choose: impl FnOnce(&mut Options)) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let work = tempfile::tempdir().unwrap();
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let mut options = Options::new(format!("test-{}-{number}", std::process::id()));
        choose(&mut options);
        let cgroups = Cgroups::set_up(hierarchies, options);
        let tasks =
            ProcessContainerizer::new(work.path().join("tasks"), cgroups.clone(), shim()).unwrap();
        Self {
            work,
            cgroups,
            tasks: tasks.allowing(permissions()),
        }
    }

    /// The next life of the same agent.
    pub(crate) fn again(&self) -> ProcessContainerizer {
        ProcessContainerizer::new(self.work.path().join("tasks"), self.cgroups.clone(), shim())
            .unwrap()
            .allowing(permissions())
    }

    pub(crate) fn has_memory_limits(&self) -> bool {
        self.cgroups.isolation().missing.is_empty()
    }

    /// A task with a sandbox.
    pub(crate) fn task(&self, container: &str, text: &str) -> Start {
        let sandbox = self.work.path().join("sandboxes").join(container);
        sandbox::create(&sandbox, None).unwrap();
        Start {
            container: id(container),
            sandbox,
            command: Command::Shell(text.into()),
            environment: BTreeMap::from([("PATH".into(), "/usr/bin:/bin".into())]),
            user: None,
            limits: Limits::new(100, 32 << 20),
            output: OutputLimits::default(),
            around: None,
            terminal: None,
            docker: None,
        }
    }

    pub(crate) fn dir(&self, container: &str) -> TaskDir {
        self.tasks.task_dir(&id(container))
    }

    /// A file of a task's sandbox, once it has content.
    pub(crate) async fn said(&self, container: &str, file: &str) -> String {
        let path = self
            .work
            .path()
            .join("sandboxes")
            .join(container)
            .join(file);
        until(|| fs::read_to_string(&path).is_ok_and(|text| text.ends_with('\n'))).await;
        fs::read_to_string(path).unwrap()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        for container in self.tasks.containers().unwrap() {
            mete_agent::shims::kill_remains(&self.tasks.task_dir(&container));
        }
        let plans = self.cgroups.orphans(&std::collections::BTreeSet::new());
        for plan in plans.values() {
            mete_agent::cgroups::kill(plan);
            let _ = mete_agent::cgroups::remove(plan);
        }
        self.tasks.tear_down();
    }
}

pub(crate) fn id(container: &str) -> ContainerId {
    ContainerId::new(container).unwrap()
}

pub(crate) fn runner(dir: &TaskDir) -> Runner {
    PidFile::decode(&fs::read(dir.pid()).unwrap())
        .unwrap()
        .runner
        .unwrap()
}

/// Waits until it is so.
pub(crate) async fn until(mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .expect("it has not become so in time");
}

/// The same within a deadline.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what)
        .await
        .expect("it has not ended in time")
}

/// Starts a task and forgets its shim, as an agent does that is killed.
pub(crate) async fn start_and_forget(agent: &Agent, container: &str, text: &str) -> Runner {
    let shim = agent
        .tasks
        .start(agent.task(container, text))
        .await
        .unwrap();
    shim.runner()
}
