//! A real Docker Engine for one test: no bridge, no rules, a directory and control groups of its own.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bollard::exec::{CreateExecOptions, StartExecOptions};
use futures::StreamExt;
use mete_agent::cgroups::Hierarchies;
use mete_agent::docker::Engine;
use mete_daemon::clock;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::containers::{busybox, possible};
use crate::support::{soon, until};

/// Where dockerd lies.
const DOCKERD: [&str; 2] = ["/usr/sbin/dockerd", "/usr/bin/dockerd"];

/// How long it may take to end: it stops its containers first.
const END: Duration = Duration::from_secs(30);

/// The image that every engine of a test has.
pub(crate) const IMAGE: &str = "bb:1";

fn dockerd() -> Option<&'static str> {
    DOCKERD.into_iter().find(|path| Path::new(path).exists())
}

/// Whether an engine can run here; says why not.
pub(crate) fn engine_possible() -> bool {
    let there = dockerd().is_some();
    if !there {
        eprintln!("skipped: there is no dockerd (scripts/install-deps test)");
    }
    there && possible()
}

/// A running engine, and what it keeps.
pub(crate) struct Dockerd {
    place: tempfile::TempDir,
    child: Child,
    groups: String,
}

impl Dockerd {
    /// With the image [`IMAGE`].
    pub(crate) async fn start() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let place = tempfile::tempdir().unwrap();
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let groups = format!("mete-test-engine-{}-{number}", std::process::id());
        let child = spawn(place.path(), &groups);
        let engine = Self {
            place,
            child,
            groups,
        };
        engine.until_it_answers().await;
        engine.import().await;
        engine
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.place.path().join("s")
    }

    async fn until_it_answers(&self) {
        let socket = self.socket();
        until(|| socket.exists()).await;
        soon(async {
            while Engine::connect(&socket).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }

    async fn import(&self) {
        let layer = busybox(self.place.path()).layers.remove(0);
        let tar = Command::new("tar")
            .arg("-C")
            .arg(layer)
            .args(["-c", "."])
            .output();
        let body = bollard::body_full(tar.unwrap().stdout.into());
        let options = bollard::query_parameters::CreateImageOptionsBuilder::new()
            .from_src("-")
            .repo("bb")
            .tag("1")
            .build();
        let docker = self.client();
        let mut words = std::pin::pin!(docker.create_image(Some(options), Some(body), None));
        while let Some(word) = soon(words.next()).await {
            word.unwrap();
        }
    }

    fn client(&self) -> bollard::Docker {
        let path = self.socket();
        let version = bollard::ClientVersion {
            major_version: 1,
            minor_version: 41,
        };
        bollard::Docker::connect_with_unix(path.to_str().unwrap(), 20, &version).unwrap()
    }

    /// The containers it has, running or not, by name.
    pub(crate) async fn containers(&self) -> Vec<String> {
        let options = bollard::query_parameters::ListContainersOptionsBuilder::new()
            .all(true)
            .build();
        let docker = self.client();
        let found = soon(docker.list_containers(Some(options))).await.unwrap();
        let names = found.into_iter().filter_map(|one| one.names);
        names.flatten().collect()
    }

    /// Runs a command in a container as an agent does that has died: it has the variable that marks what agents run there.
    pub(crate) async fn leave_behind(&self, name: &str, line: &str) {
        let docker = self.client();
        let found = soon(docker.inspect_container(name, None)).await.unwrap();
        let id = found.id.unwrap();
        let command = CreateExecOptions {
            cmd: Some(
                vec!["/bin/sh", "-c", line]
                    .into_iter()
                    .map(str::to_owned)
                    .collect(),
            ),
            env: Some(vec![format!("METE_SESSION={}-1-1", &id[..16])]),
            ..CreateExecOptions::<String>::default()
        };
        let made = soon(docker.create_exec(&id, command)).await.unwrap();
        let detached = StartExecOptions {
            detach: true,
            ..StartExecOptions::default()
        };
        soon(docker.start_exec(&made.id, Some(detached)))
            .await
            .unwrap();
    }

    /// Holds a container, as `docker pause` does.
    pub(crate) async fn pause(&self, name: &str) {
        soon(self.client().pause_container(name)).await.unwrap();
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap()
    }

    /// Nothing is answered any more.
    pub(crate) fn hang(&self) {
        kill_process(self.pid(), Signal::STOP).unwrap();
    }

    /// And again.
    pub(crate) fn go_on(&self) {
        kill_process(self.pid(), Signal::CONT).unwrap();
    }

    /// Kills it and starts it again; it ends containers that it finds running.
    pub(crate) async fn kill_and_restart(&mut self) {
        let _ = kill_process_group(self.pid(), Signal::KILL);
        self.child.wait().unwrap();
        let _ = fs::remove_file(self.socket());
        // Their owners are dead; a number that somebody else has by now would keep the next from beginning.
        for left in ["pid", "exec/containerd/containerd.pid"] {
            let _ = fs::remove_file(self.place.path().join(left));
        }
        self.child = spawn(self.place.path(), &self.groups);
        self.until_it_answers().await;
    }
}

fn spawn(place: &Path, groups: &str) -> Child {
    let path = |name: &str| place.join(name).display().to_string();
    let log = fs::File::create(place.join("log")).unwrap();
    fs::write(place.join("config"), "{}").unwrap();
    Command::new(dockerd().unwrap())
        .args([
            "--config-file",
            &path("config"),
            "--data-root",
            &path("data"),
        ])
        .args(["--exec-root", &path("exec"), "--pidfile", &path("pid")])
        .args(["--host", &format!("unix://{}", path("s"))])
        .args([
            "--bridge=none",
            "--iptables=false",
            "--ip-forward=false",
            "--ip-masq=false",
        ])
        .arg(format!("--cgroup-parent=/{groups}"))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .process_group(0)
        .spawn()
        .unwrap()
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        self.go_on();
        let _ = kill_process(self.pid(), Signal::TERM);
        let give_up = clock::elapsed() + END;
        while matches!(self.child.try_wait(), Ok(None)) && clock::elapsed() < give_up {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = kill_process_group(self.pid(), Signal::KILL);
        let _ = self.child.wait();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let own = self.place.path().display().to_string();
        let places = mounts.lines().filter_map(|line| line.split(' ').nth(4));
        for place in places.filter(|place| place.starts_with(&own)) {
            let _ = rustix::mount::unmount(place, rustix::mount::UnmountFlags::DETACH);
        }
        let hierarchies = Hierarchies::of_this_host();
        for mount in hierarchies.v1.values().chain(&hierarchies.v2) {
            let _ = fs::remove_dir(mount.join(&self.groups));
        }
    }
}
