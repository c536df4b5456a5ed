//! Tasks in containers that an OCI runtime builds: the same as those of their shims. With each runtime that is installed;
//! needs root and busybox, and says so without.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use mete_agent::cgroups::Limits;
use mete_agent::containerizer::permissions::Permissions;
use mete_agent::containerizer::process::ProcessContainerizer;
use mete_agent::containerizer::{Containerizer, Found, KillSignal, Start};
use mete_agent::oci_runtime::OciRuntime;
use mete_agent::processes;
use mete_agent_core::task_dir::{Command, End, SANDBOX_INSIDE, User};
use mete_model::LinuxCapability;
use mete_model::container::{Mount, MountSource, Network, Rlimit, RlimitKind};
use rustix::process::Signal;

use crate::containers::{around, busybox, mounts_of, possible, task};
use crate::support::{Agent, id, runner, runtime, soon, until};

/// Where Debian's packages put them.
const PROGRAMS: [&str; 2] = ["/usr/bin/crun", "/usr/sbin/runc"];

/// Enough for a runtime in Go too, which runs within the limits of its task.
const MEMORY_BYTES: u64 = 96 << 20;

/// The runtimes that can be tried here. runc needs control groups.
fn runtimes() -> Vec<OciRuntime> {
    let there = PROGRAMS.iter().filter(|path| Path::new(path).exists());
    let there: Vec<_> = there.map(|path| runtime(path)).collect();
    if there.is_empty() {
        eprintln!("skipped: no OCI runtime is installed (scripts/install-deps test)");
    }
    match possible() {
        true => there,
        false => Vec::new(),
    }
}

/// An agent whose containers a runtime builds, and the same without one.
fn agent(runtime: &OciRuntime, permissions: Permissions) -> (Agent, ProcessContainerizer) {
    let agent = Agent::new();
    let tasks = agent.again().allowing(Permissions {
        runtime: Some(runtime.clone()),
        ..permissions
    });
    (agent, tasks)
}

fn roomy(agent: &Agent, container: &str, text: &str) -> Start {
    let mut start = task(agent, container, text);
    start.limits = Limits::new(100, MEMORY_BYTES);
    start
}

/// Nothing of a task is left but its sandbox.
fn assert_gone(agent: &Agent, container: &str) {
    assert!(!agent.dir(container).path().exists());
    assert_eq!(mounts_of(agent), [""; 0]);
    assert_eq!(agent.cgroups.orphans(&Default::default()), BTreeMap::new());
    for state in ["/run/crun/task", "/run/runc/task"] {
        assert!(!Path::new(state).exists(), "{state}");
    }
}

/// What a task finds around it, in words that do not depend on who has built it.
const LOOK_AROUND: &str = "busybox id; pwd; hostname; umask; busybox env | busybox sort; \
    busybox grep -E '^(Cap|NoNew|Seccomp:|Groups)' /proc/self/status; ulimit -n; ulimit -Hn; \
    ls -A /; ls /dev | busybox grep -v core; ls /mnt/mesos/sandbox; cat /data/file; \
    busybox awk '$2 !~ /^.(proc|dev).+/ {print $2, $3, substr($4, 1, 2)}' /proc/mounts | busybox sort; \
    busybox cat /proc/kcore | busybox wc -c; ls /proc/acpi /sys/firmware | busybox wc -l; \
    for file in /data/new /proc/sys/kernel/domainname /sys/new /dev/zero/new /kept /memory/new /mnt/mesos/sandbox/new; do \
        (echo x > $file) 2> /dev/null && echo wrote $file; done; \
    busybox df -k /memory /dev/shm | busybox awk '{print $2, $6}'; \
    busybox unshare -m true 2> /dev/null || echo no namespaces; \
    busybox mount -t tmpfs none /memory 2> /dev/null || echo no mounts; \
    busybox mknod /memory/null c 1 3 2> /dev/null || echo no nodes; \
    busybox chroot / true && echo chroot; busybox ip addr show lo | busybox grep -c LOOPBACK,UP; \
    exit 3";

/// A task under its name, and what is different about it.
type Change<'a> = (&'a str, &'a dyn Fn(&mut Start));

fn look_around(agent: &Agent, container: &str, volumes: &Path) -> Start {
    let mut start = roomy(agent, container, LOOK_AROUND);
    start.environment.insert("HOME".into(), "/srv".into());
    start.environment.insert("COLOUR".into(), "dark red".into());
    let spec = &mut around(&mut start).spec;
    spec.hostname = Some("inside".into());
    spec.network = Network::None;
    spec.isolation.shm_bytes = Some(1 << 20);
    spec.isolation.drop.insert("NET_RAW".parse().unwrap());
    spec.isolation.rlimits.push(Rlimit {
        kind: RlimitKind::Nofile,
        soft: Some(123),
        hard: Some(234),
    });
    spec.mounts = vec![
        Mount {
            target: "/data".into(),
            source: MountSource::Host(volumes.display().to_string()),
            read_only: true,
        },
        Mount {
            target: "/memory".into(),
            source: MountSource::Tmpfs {
                size_bytes: Some(1 << 20),
            },
            read_only: false,
        },
    ];
    start
}

#[tokio::test]
async fn walls_are_the_same_whoever_builds_them() {
    for runtime in runtimes() {
        let volumes = tempfile::tempdir().unwrap();
        fs::write(volumes.path().join("file"), "of the machine\n").unwrap();
        let allowed = Permissions {
            volume_roots: vec![volumes.path().to_owned()],
            ..Permissions::default()
        };
        let (agent, tasks) = agent(&runtime, allowed.clone());
        let own = agent.again().allowing(allowed);
        let web = User {
            name: "web".into(),
            uid: 4444,
            gid: 5555,
            groups: vec![5555, 77],
        };
        let powers = LinuxCapability::USUAL;
        let changes: [Change<'_>; 4] = [
            ("root", &|_| {}),
            ("web", &|start| start.user = Some(web.clone())),
            ("read", &|start| {
                around(start).spec.isolation.read_only_root = true
            }),
            ("few", &|start| {
                let isolation = &mut around(start).spec.isolation;
                isolation.no_new_privileges = false;
                isolation.drop.extend(powers);
            }),
        ];
        for (name, change) in changes {
            let (mut ours, mut theirs) = (
                look_around(&agent, &format!("{name}-ours"), volumes.path()),
                look_around(&agent, &format!("{name}-theirs"), volumes.path()),
            );
            change(&mut ours);
            change(&mut theirs);

            let ours = own.start(ours).await.unwrap();
            let ours = soon(ours.ended()).await.unwrap();
            let theirs = tasks.start(theirs).await.unwrap();
            let theirs = soon(theirs.ended()).await.unwrap();

            assert_eq!(theirs.end, ours.end, "{name}");
            let expected = agent.said(&format!("{name}-ours"), "stdout").await;
            let said = agent.said(&format!("{name}-theirs"), "stdout").await;
            assert!(said.contains("of the machine\n"), "{name}: {said}");
            assert_eq!(said, expected, "{} for {name}", runtime.name());
        }
    }
}

#[tokio::test]
async fn ends_are_told_and_nothing_is_left() {
    for runtime in runtimes() {
        let (agent, tasks) = agent(&runtime, Permissions::default());
        for (name, text, end) in [
            (
                "exits",
                "echo out; echo err >&2; exit 3",
                End::Exited { code: 3 },
            ),
            (
                "aborts",
                "echo out; kill -ABRT $$",
                End::Signaled { signal: 6 },
            ),
            (
                "daemon",
                "busybox setsid sleep 1000 & echo out",
                End::Exited { code: 0 },
            ),
        ] {
            let shim = tasks.start(roomy(&agent, name, text)).await.unwrap();
            let exit = soon(shim.ended()).await.unwrap();

            assert_eq!(exit.end, end, "{} {name}", runtime.name());
            assert_eq!(agent.said(name, "stdout").await, "out\n");
            tasks.destroy(id(name)).await.unwrap();
            assert_gone(&agent, name);
        }
        assert_eq!(agent.said("exits", "stderr").await, "err\n");
    }
}

#[tokio::test]
async fn signals_reach_the_task_and_a_stubborn_one_is_killed() {
    for runtime in runtimes() {
        let (agent, tasks) = agent(&runtime, Permissions::default());
        let handles = "trap 'echo usr1; exit 5' USR1; echo ready; while :; do sleep 0.01; done";
        let ignores = "trap '' TERM; echo ready; while :; do sleep 0.01; done";
        for (name, text, signal, end) in [
            (
                "plain",
                "echo ready; exec sleep 1000",
                15,
                End::Signaled { signal: 15 },
            ),
            ("handles", handles, 10, End::Exited { code: 5 }),
            ("ignores", ignores, 15, End::Signaled { signal: 9 }),
        ] {
            let mut start = roomy(&agent, name, text);
            around(&mut start).stop_signal = signal;
            let shim = tasks.start(start).await.unwrap();
            agent.said(name, "stdout").await;

            tasks.kill(id(name), KillSignal::Terminate).await.unwrap();
            if name == "ignores" {
                assert!(processes::is_running(shim.runner().task));
                tasks.kill(id(name), KillSignal::Kill).await.unwrap();
            }
            let exit = soon(shim.ended()).await.unwrap();

            assert_eq!(exit.end, end, "{} {name}", runtime.name());
            tasks.destroy(id(name)).await.unwrap();
            assert_gone(&agent, name);
        }
    }
}

#[tokio::test]
async fn limits_of_memory_and_processes_hold_for_what_a_runtime_has_built() {
    for runtime in runtimes() {
        let (agent, tasks) = agent(&runtime, Permissions::default());
        if !agent.has_memory_limits() {
            return eprintln!("skipped: needs writable control groups");
        }
        let hog = roomy(&agent, "hog", "exec tail /dev/zero");
        let line = "i=0; while [ $i -lt 60 ]; do sleep 1000 & i=$((i+1)); done; echo never";
        let mut bomb = roomy(&agent, "bomb", line);
        bomb.limits.max_pids = Some(40);

        let hog = tasks.start(hog).await.unwrap();
        let bomb = tasks.start(bomb).await.unwrap();
        let hog = soon(hog.ended()).await.unwrap();
        let bomb = soon(bomb.ended()).await.unwrap();

        assert!(hog.is_out_of_memory(), "{}: {hog:?}", runtime.name());
        assert_eq!(hog.memory_limit_bytes, Some(MEMORY_BYTES));
        assert!(!bomb.is_success() && !bomb.is_out_of_memory(), "{bomb:?}");
        assert!(agent.said("bomb", "stderr").await.contains("fork"));
    }
}

#[tokio::test]
async fn a_task_is_found_again_and_one_whose_shim_is_killed_is_gone() {
    for runtime in runtimes() {
        let (agent, tasks) = agent(&runtime, Permissions::default());
        let text = "busybox setsid sleep 1000 & echo ready; exec sleep 1000";
        for name in ["found", "lost"] {
            let shim = tasks.start(roomy(&agent, name, text)).await.unwrap();
            drop(shim);
            agent.said(name, "stdout").await;
        }

        let next = agent.again();
        let Found::Running(found) = next.find(id("found")).await.unwrap() else {
            panic!("it runs")
        };
        let Found::Running(lost) = next.find(id("lost")).await.unwrap() else {
            panic!("it runs")
        };
        assert!(processes::signal(
            runner(&agent.dir("lost")).shim,
            Signal::KILL
        ));
        let task = lost.runner().task;
        assert!(soon(lost.ended()).await.is_none());
        until(|| !processes::is_running(task)).await;
        next.kill(id("found"), KillSignal::Kill).await.unwrap();
        assert!(!soon(found.ended()).await.unwrap().is_success());

        for name in ["found", "lost"] {
            next.destroy(id(name)).await.unwrap();
            assert!(!agent.dir(name).path().exists());
        }
        assert_gone(&agent, "found");
    }
}

#[tokio::test]
async fn no_volume_is_seen_through_a_link_that_leads_astray() {
    for runtime in runtimes() {
        let volumes = tempfile::tempdir().unwrap();
        symlink("/etc", volumes.path().join("out")).unwrap();
        fs::create_dir(volumes.path().join("data")).unwrap();
        let allowed = Permissions {
            volume_roots: vec![volumes.path().to_owned()],
            ..Permissions::default()
        };
        let (agent, tasks) = agent(&runtime, allowed);
        busybox(agent.work.path());
        symlink("/proc/self", agent.work.path().join("image/kernel")).unwrap();
        let data = volumes.path().join("data").display().to_string();
        let out = volumes.path().join("out").display().to_string();
        for (target, source, words) in [
            ("/m", "/etc", "is below no directory that this agent allows"),
            ("/m", &out, "out: Invalid cross-device link"),
            ("/kernel/x", &data, "/proc/self/x: Operation not permitted"),
            ("/proc/sys", &data, "/proc/sys: Operation not permitted"),
        ] {
            let mut start = roomy(&agent, "c1", "echo never");
            around(&mut start).spec.mounts = vec![Mount {
                target: target.into(),
                source: MountSource::Host(source.into()),
                read_only: false,
            }];

            let refused = tasks.start(start).await.unwrap_err();

            let text = mete_daemon::chain(&refused);
            assert!(text.contains(words), "{}: {text}", runtime.name());
            assert_gone(&agent, "c1");
        }
    }
}

#[tokio::test]
async fn what_a_bundle_cannot_carry_and_what_does_not_start_is_named() {
    for runtime in runtimes() {
        let (agent, tasks) = agent(&runtime, Permissions::default());
        let with = |path: &str, arguments: &[&str]| {
            let mut start = roomy(&agent, "c1", "");
            start.command = Command::Program {
                path: path.into(),
                arguments: arguments.iter().map(|&word| word.into()).collect(),
            };
            start
        };

        let login = tasks.start(with("/bin/sh", &["-sh"])).await.unwrap_err();
        let missing = tasks.start(with("nonsense", &[])).await.unwrap_err();
        let fine = tasks.start(with("/bin/sh", &["sh", "-c", "exit 4"])).await;
        let fine = soon(fine.unwrap().ended()).await.unwrap();

        let expected = format!(
            "/bin/sh is to find \"-sh\" in the place of its name, which {}",
            runtime.name()
        );
        let login = mete_daemon::chain(&login);
        assert!(login.starts_with(&expected), "{login}");
        let missing = mete_daemon::chain(&missing);
        let expected = "executing the program: nonsense: No such file or directory (os error 2)";
        assert!(missing.contains(expected), "{}: {missing}", runtime.name());
        assert_eq!(fine.end, End::Exited { code: 4 });
    }
}

/// As on a host without control groups, where crun does without them too.
#[tokio::test]
async fn crun_needs_no_control_groups() {
    for runtime in runtimes().into_iter().filter(|one| one.name() == "crun") {
        let agent = Agent::without_groups();
        let tasks = agent.again().allowing(Permissions {
            runtime: Some(runtime),
            ..Permissions::default()
        });

        let line = format!("pwd; exec sleep 1000; {SANDBOX_INSIDE}");
        let shim = tasks.start(task(&agent, "c1", &line)).await.unwrap();
        assert_eq!(
            agent.said("c1", "stdout").await,
            format!("{SANDBOX_INSIDE}\n")
        );
        tasks.kill(id("c1"), KillSignal::Terminate).await.unwrap();

        let exit = soon(shim.ended()).await.unwrap();
        assert_eq!(exit.end, End::Signaled { signal: 15 });
        tasks.destroy(id("c1")).await.unwrap();
        assert!(!agent.dir("c1").path().exists());
        assert_eq!(mounts_of(&agent), [""; 0]);
    }
}
