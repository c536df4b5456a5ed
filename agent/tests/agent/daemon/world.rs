//! An agent in a directory of its own, on threads of its own, so that it can be stopped dead.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use mete_agent::cgroups::{self, Cgroups, Hierarchies};
use mete_agent::containerizer::image::ImageSource;
use mete_agent::containerizer::process::ProcessContainerizer;
use mete_agent::networks::{NetworkOptions, Networks};
use mete_agent::{Options, RunError, run_with};
use mete_daemon::config;
use mete_model::TaskState;
use mete_proto::mete::v1 as wire;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::master::{Link, Master, task};
use crate::containers::busybox;
use crate::support::{shim, soon, until, wanted_runtime};

/// An agent of a master, and what the two say to each other. Ends from the top down.
pub(super) struct Scene {
    pub(super) link: Link,
    pub(super) agent: Daemon,
    pub(super) work: Work,
    pub(super) master: Master,
    pub(super) register: wire::Register,
    pub(super) port: i32,
}

impl Scene {
    /// The agent has registered, with these options beside the usual ones.
    pub(super) async fn with(options: &[&str]) -> Self {
        Self::in_work(Work::new(), options).await
    }

    /// The same in a work directory that something has been done with.
    pub(super) async fn in_work(work: Work, options: &[&str]) -> Self {
        Self::begun(Master::start().await, work, options).await
    }

    /// Images come from real registries, not from the test.
    pub(super) async fn pulling(options: &[&str]) -> Self {
        let (master, work) = (Master::start().await, Work::new());
        let agent = Daemon::with(work.options(master.address, options), None);
        Self::admitted(master, work, agent).await
    }

    async fn begun(master: Master, work: Work, options: &[&str]) -> Self {
        let agent = work.start(master.address, options);
        Self::admitted(master, work, agent).await
    }

    async fn admitted(mut master: Master, work: Work, agent: Daemon) -> Self {
        let (link, register) = master.admit().await;
        let port = register.agent_info.port();
        Self {
            link,
            agent,
            work,
            master,
            register,
            port,
        }
    }

    /// A task `t` sleeps on it.
    pub(super) async fn sleeping() -> Self {
        let mut scene = Self::with(&[]).await;
        scene.link.run(&task("t", "exec sleep 1000")).await;
        scene.link.until(TaskState::Running).await;
        scene
    }

    /// The agent is killed, and started again with these options.
    pub(super) async fn again(self, options: &[&str]) -> Self {
        self.killed().await.again(options).await
    }

    /// The agent is killed.
    pub(super) async fn killed(self) -> Killed {
        drop(self.link);
        self.agent.kill().await;
        Killed {
            work: self.work,
            master: self.master,
        }
    }

    /// The agent is asked to end, and does; what it has left.
    pub(super) async fn end(self) -> Work {
        drop(self.link);
        self.agent.stop().await.unwrap();
        self.work
    }
}

/// What there is while an agent is dead.
pub(super) struct Killed {
    pub(super) work: Work,
    master: Master,
}

impl Killed {
    /// It is started again with these options.
    pub(super) async fn again(self, options: &[&str]) -> Scene {
        Scene::begun(self.master, self.work, options).await
    }
}

/// A work directory. Whatever still runs in it dies with it.
pub(super) struct Work {
    directory: tempfile::TempDir,
    pub(super) path: PathBuf,
}

impl Work {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("work");
        Self { directory, path }
    }

    /// In a place that is already there.
    pub(super) fn within(place: &Path) -> Self {
        let directory = tempfile::tempdir_in(place).unwrap();
        let path = directory.path().join("work");
        Self { directory, path }
    }

    /// A directory for the test's own files.
    pub(super) fn beside(&self) -> &Path {
        self.directory.path()
    }

    pub(super) fn options(&self, master: SocketAddr, more: &[&str]) -> Options {
        let is_port = |word: &&str| word.starts_with("--port=");
        let port = more.iter().copied().find(is_port).unwrap_or("--port=0");
        let mut arguments = vec![
            port.to_owned(),
            format!("--work-dir={}", self.path.display()),
            format!("--master=http://{master}"),
            "--disk-reserve=2MiB".to_owned(),
            "--stop-tasks-on-exit".to_owned(),
        ];
        let more = more.iter().filter(|word| !is_port(word));
        arguments.extend(more.map(|&word| word.to_owned()));
        if !arguments
            .iter()
            .any(|word| word.starts_with("--oci-runtime"))
        {
            arguments.extend(wanted_runtime().map(|path| format!("--oci-runtime={path}")));
        }
        config::load("agent", arguments, [("", ""); 0]).unwrap()
    }

    /// Starts an agent here.
    pub(super) fn start(&self, master: SocketAddr, more: &[&str]) -> Daemon {
        Daemon::start(self.options(master, more))
    }

    /// The networks of the agent here, as another process sees them.
    pub(super) fn networks(&self) -> Networks {
        let path = self.path.canonicalize().unwrap();
        let here = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
        Networks::new(
            &cgroups::scope_of("agent", &path),
            NetworkOptions::default(),
            here,
        )
    }

    /// The sandbox of the newest run of a task.
    pub(super) fn sandbox(&self, task: &str) -> PathBuf {
        let framework = format!("slaves/m-S1/frameworks/{}", super::master::FRAMEWORK);
        let runs = format!("{framework}/executors/{task}/runs/latest");
        self.path.join(runs)
    }

    /// A file that a task writes, once it ends with a line.
    pub(super) async fn said(&self, task: &str, file: &str) -> String {
        let path = self.sandbox(task).join(file);
        until(|| fs::read_to_string(&path).is_ok_and(|text| text.ends_with('\n'))).await;
        fs::read_to_string(path).unwrap()
    }

    /// A file of a task that has ended.
    pub(super) fn said_now(&self, task: &str, file: &str) -> String {
        fs::read_to_string(self.sandbox(task).join(file)).unwrap()
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let Ok(path) = self.path.canonicalize() else {
            return;
        };
        for left in fs::read_dir(path.join("namespaces"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let _ = Command::new("umount").arg("-l").arg(left.path()).output();
        }
        let options = cgroups::Options::new(cgroups::scope_of("agent", &path));
        let groups = Cgroups::set_up(&Hierarchies::of_this_host(), options);
        let Ok(tasks) = ProcessContainerizer::new(path.join("tasks"), groups, shim()) else {
            return;
        };
        for container in tasks.containers().unwrap_or_default() {
            mete_agent::shims::kill_remains(&tasks.task_dir(&container));
            let _ = fs::remove_dir_all(tasks.task_dir(&container).path());
        }
        let _ = tasks.remove_orphaned_groups();
        let _ = self.networks().tear_down();
        tasks.tear_down();
    }
}

/// What the image `private` is pulled by.
pub(super) const LOGIN: &str = r#"{"auths":{"registry":{"auth":"YTpi"}}}"#;

/// One image, `busybox`, unpacked in `place`; as `private` it wants a login.
fn images(place: PathBuf) -> ImageSource {
    Arc::new(move |reference, _, login, _, _| {
        let found = match reference {
            "busybox" => Ok(busybox(&place)),
            "private" => match login {
                Some(login) if login.bytes() == LOGIN.as_bytes() => Ok(busybox(&place)),
                other => Err(format!("private wants a login, not {other:?}")),
            },
            _ => Err(format!("no image is called {reference}")),
        };
        Box::pin(std::future::ready(found))
    })
}

/// A running agent.
pub(super) struct Daemon {
    shutdown: CancellationToken,
    killed: CancellationToken,
    thread: Option<thread::JoinHandle<Option<Result<(), RunError>>>>,
}

impl Daemon {
    pub(super) fn start(options: Options) -> Self {
        let images = images(options.work_dir.parent().unwrap().to_owned());
        Self::with(options, Some(images))
    }

    /// With images of the test, or with its own.
    fn with(options: Options, images: Option<ImageSource>) -> Self {
        let (shutdown, killed) = (CancellationToken::new(), CancellationToken::new());
        let (asked, dead) = (shutdown.clone(), killed.clone());
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            let ended = runtime.block_on(async {
                tokio::select! {
                    ended = run_with(options, shim(), images, asked) => Some(ended),
                    () = dead.cancelled() => None,
                }
            });
            runtime.shutdown_timeout(Duration::from_secs(5));
            ended
        });
        Self {
            shutdown,
            killed,
            thread: Some(thread),
        }
    }

    /// Stops the agent dead, as `kill -9` does: every part of it ends where it is.
    pub(super) async fn kill(mut self) {
        self.killed.cancel();
        assert!(self.join().await.is_none(), "it had ended by itself");
    }

    /// Ends it as SIGTERM does.
    pub(super) async fn stop(mut self) -> Result<(), RunError> {
        self.shutdown.cancel();
        self.join().await.expect("it was not killed")
    }

    /// Waits until it ends by itself.
    pub(super) async fn ended(mut self) -> Result<(), RunError> {
        self.join().await.expect("it was not killed")
    }

    async fn join(&mut self) -> Option<Result<(), RunError>> {
        let thread = self.thread.take().unwrap();
        let joined = soon(tokio::task::spawn_blocking(move || thread.join())).await;
        joined.unwrap().expect("no panic in the agent")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.shutdown.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What an agent answers: status and body.
pub(super) async fn get(port: i32, path: &str, query: &[(&str, &str)]) -> (u16, Vec<u8>) {
    let client = mete_daemon::http_client::plain().build().unwrap();
    let url = format!("http://127.0.0.1:{port}{path}");
    let answer = soon(client.get(url).query(query).send()).await.unwrap();
    let status = answer.status().as_u16();
    (status, soon(answer.bytes()).await.unwrap().to_vec())
}

/// The same as JSON.
pub(super) async fn json(port: i32, path: &str, query: &[(&str, &str)]) -> (u16, Value) {
    let (status, body) = get(port, path, query).await;
    (status, serde_json::from_slice(&body).unwrap())
}
