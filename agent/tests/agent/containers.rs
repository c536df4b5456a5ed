//! Tasks in containers: limits, ends, adoption, what is refused. Needs root and busybox, and says so without.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use mete_agent::cgroups::{Hierarchies, Limits};
use mete_agent::containerizer::image::Image;
use mete_agent::containerizer::image_root::ImageRoot;
use mete_agent::containerizer::oci::Around;
use mete_agent::containerizer::permissions::Permissions;
use mete_agent::containerizer::{Containerizer, Found, KillSignal, Start};
use mete_agent::{processes, shims};
use mete_agent_core::image::ImageConfig;
use mete_agent_core::task_dir::{End, SANDBOX_INSIDE};
use mete_model::ContainerSpec;
use mete_model::container::{Mount, MountSource};
use rustix::process::Signal;

use crate::support::{Agent, id, runner, soon, until};

/// Where busybox-static lies.
pub(crate) const BUSYBOX: [&str; 2] = ["/usr/bin/busybox", "/bin/busybox"];

/// Whether containers can be made here; says why not.
pub(crate) fn possible() -> bool {
    let root = rustix::process::geteuid().is_root();
    let busybox = BUSYBOX.iter().any(|path| Path::new(path).exists());
    if !root || !busybox {
        eprintln!("skipped: containers need root and busybox-static (scripts/install-deps test)");
    }
    root && busybox
}

/// An image with a busybox, unpacked below `place`.
pub(crate) fn busybox(place: &Path) -> Image {
    // Tasks of a group ask for it at the same time.
    static MAKING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = MAKING.lock().unwrap();
    let layer = place.join("image");
    if !layer.exists() {
        fs::create_dir_all(layer.join("bin")).unwrap();
        fs::create_dir_all(layer.join("etc")).unwrap();
        let busybox = BUSYBOX
            .iter()
            .find(|path| Path::new(path).exists())
            .unwrap();
        fs::copy(busybox, layer.join("bin/busybox")).unwrap();
        for name in ["sh", "sleep", "cat", "ls", "id", "tail", "hostname", "trap"] {
            symlink("busybox", layer.join("bin").join(name)).unwrap();
        }
        fs::write(
            layer.join("etc/passwd"),
            "root:x:0:0::/root:/bin/sh\nweb:x:4444:5555::/srv:/bin/sh\n",
        )
        .unwrap();
    }
    Image {
        digest: format!("sha256:{:064x}", 1),
        layers: vec![layer],
        config: ImageConfig::default(),
    }
}

/// A task of `agent` in a container.
pub(crate) fn task(agent: &Agent, container: &str, text: &str) -> Start {
    let mut start = agent.task(container, text);
    start.environment = BTreeMap::from([("PATH".into(), "/bin".into())]);
    start.around = Some(Around {
        spec: ContainerSpec::default(),
        image: Some(busybox(agent.work.path())),
        mounted: BTreeMap::new(),
        image_root: ImageRoot::Overlay,
        volumes: Vec::new(),
        parent_volumes: Vec::new(),
        secrets: None,
        parent: None,
        shared: None,
        users: None,
        devices: Vec::new(),
        working_dir: SANDBOX_INSIDE.into(),
        stop_signal: 15,
    });
    start
}

pub(crate) fn around(start: &mut Start) -> &mut Around {
    start.around.as_mut().unwrap()
}

fn mount(target: &str, source: MountSource, read_only: bool) -> Mount {
    Mount {
        target: target.into(),
        source,
        read_only,
    }
}

/// Everything mounted in this process' view that has to do with an agent.
pub(crate) fn mounts_of(agent: &Agent) -> Vec<String> {
    let own = agent.work.path().to_str().unwrap();
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap();
    text.lines()
        .filter(|line| line.contains(own))
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn a_container_runs_ends_and_leaves_nothing_but_its_sandbox() {
    if !possible() {
        return;
    }
    let agent = Agent::new();
    let text = "echo hello; echo mine > /file; cat /etc/hostname; ls /etc; exit 3";

    let shim = agent.tasks.start(task(&agent, "c1", text)).await.unwrap();
    let exit = soon(shim.ended()).await.unwrap();

    assert_eq!(exit.end, End::Exited { code: 3 });
    let host = mete_daemon::host::name();
    let expected = format!("hello\n{host}\nhostname\nhosts\npasswd\nresolv.conf\n");
    assert_eq!(agent.said("c1", "stdout").await, expected);
    assert!(agent.dir("c1").path().join("root/upper/file").exists());
    assert!(!agent.work.path().join("image/file").exists());
    agent.tasks.destroy(id("c1")).await.unwrap();
    assert_eq!(agent.tasks.containers().unwrap(), []);
    assert_eq!(mounts_of(&agent), [""; 0]);
}

#[tokio::test]
async fn volumes_of_an_image_can_be_written_to_when_its_root_cannot() {
    if !possible() {
        return;
    }
    let agent = Agent::new();
    let text = "echo x > /made/by/it && cat /made/by/it; echo y > /file || exit 3";
    let mut start = task(&agent, "c1", text);
    let around = around(&mut start);
    around.spec.isolation.read_only_root = true;
    let image = around.image.as_mut().unwrap();
    let wanted = ["/made/by", "/", "relative", "/../up", "/proc/x"];
    image.config.volumes = wanted.map(str::to_owned).to_vec();

    let shim = agent.tasks.start(start).await.unwrap();
    let exit = soon(shim.ended()).await.unwrap();

    assert_eq!(exit.end, End::Exited { code: 3 }, "{exit}");
    assert_eq!(agent.said("c1", "stdout").await, "x\n");
    agent.tasks.destroy(id("c1")).await.unwrap();
    assert!(!agent.work.path().join("image/made").exists());
    assert_eq!(mounts_of(&agent), [""; 0]);
}

#[tokio::test]
async fn memory_and_process_limits_hold_in_containers_and_hit_them_alone() {
    if !possible() {
        return;
    }
    let agent = Agent::with(&Hierarchies::of_this_host(), |_| {});
    if !agent.has_memory_limits() {
        return eprintln!(
            "skipped: needs writable control groups: {}",
            agent.cgroups.isolation()
        );
    }
    let neighbour = task(&agent, "neighbour", "echo here; sleep 1000");
    let neighbour = agent.tasks.start(neighbour).await.unwrap();
    let hog = agent
        .tasks
        .start(task(&agent, "hog", "exec tail /dev/zero"))
        .await
        .unwrap();
    let mut bomb = task(
        &agent,
        "bomb",
        "for i in 1 2 3 4 5 6 7 8 9; do sleep 1000 & done; echo never",
    );
    bomb.limits = Limits {
        max_pids: Some(6),
        ..bomb.limits
    };
    let bomb = agent.tasks.start(bomb).await.unwrap();

    let hog = soon(hog.ended()).await.unwrap();
    let bomb = soon(bomb.ended()).await.unwrap();

    assert!(hog.is_out_of_memory(), "{hog:?}");
    assert!(!bomb.is_success() && !bomb.is_out_of_memory(), "{bomb:?}");
    assert!(agent.said("bomb", "stderr").await.contains("fork"));
    let usage = agent.tasks.usage(id("neighbour")).await;
    assert_eq!(usage.mem_limit_bytes, Some(32 << 20));
    assert!(processes::is_running(neighbour.runner().task));
}

#[tokio::test]
async fn a_container_is_told_to_end_with_the_signal_of_its_image() {
    if !possible() {
        return;
    }
    let agent = Agent::new();
    let text = "trap 'echo usr1; exit 5' USR1; echo ready; while :; do sleep 0.01; done";
    let mut start = task(&agent, "c1", text);
    around(&mut start).stop_signal = 10;
    let shim = agent.tasks.start(start).await.unwrap();
    agent.said("c1", "stdout").await;

    agent
        .tasks
        .kill(id("c1"), KillSignal::Terminate)
        .await
        .unwrap();

    assert_eq!(
        soon(shim.ended()).await.unwrap().end,
        End::Exited { code: 5 }
    );
}

#[tokio::test]
async fn a_program_that_handles_no_signal_is_ended_by_sigterm_in_a_container_too() {
    if !possible() {
        return;
    }
    for agent in [Agent::new(), Agent::without_groups()] {
        let start = task(&agent, "c1", "echo ready; exec sleep 1000");
        let shim = agent.tasks.start(start).await.unwrap();
        agent.said("c1", "stdout").await;

        agent
            .tasks
            .kill(id("c1"), KillSignal::Terminate)
            .await
            .unwrap();

        assert_eq!(
            soon(shim.ended()).await.unwrap().end,
            End::Signaled { signal: 15 }
        );
    }
}

#[tokio::test]
async fn a_container_is_found_again_by_the_next_agent() {
    if !possible() {
        return;
    }
    let agent = Agent::new();
    let start = task(&agent, "c1", "echo ready; exec sleep 1000");
    let before = agent.tasks.start(start).await.unwrap().runner();
    agent.said("c1", "stdout").await;

    let tasks = agent.again();
    let Found::Running(shim) = tasks.find(id("c1")).await.unwrap() else {
        panic!("it runs")
    };
    assert_eq!(shim.runner(), before);
    tasks.kill(id("c1"), KillSignal::Kill).await.unwrap();

    assert!(!soon(shim.ended()).await.unwrap().is_success());
    tasks.destroy(id("c1")).await.unwrap();
    assert_eq!(mounts_of(&agent), [""; 0]);
}

#[tokio::test]
async fn a_container_whose_shim_is_killed_is_gone_with_all_its_mounts() {
    if !possible() {
        return;
    }
    for agent in [Agent::new(), Agent::without_groups()] {
        let text = "busybox setsid sleep 1000 & echo ready; exec sleep 1000";
        let shim = agent.tasks.start(task(&agent, "c1", text)).await.unwrap();
        agent.said("c1", "stdout").await;
        let runner = runner(&agent.dir("c1"));

        assert!(processes::signal(runner.shim, Signal::KILL));
        assert!(soon(shim.ended()).await.is_none());

        until(|| !processes::is_running(runner.task)).await;
        assert_eq!(shims::kill_remains(&agent.dir("c1")), 0);
        agent.tasks.destroy(id("c1")).await.unwrap();
        assert_eq!(mounts_of(&agent), [""; 0]);
        assert!(!agent.dir("c1").path().exists());
    }
}

#[tokio::test]
async fn volumes_are_mounted_below_allowed_roots_only() {
    if !possible() {
        return;
    }
    let agent = Agent::new();
    let volumes = agent.work.path().join("volumes");
    fs::create_dir_all(volumes.join("data")).unwrap();
    fs::write(volumes.join("data/file"), "of the machine\n").unwrap();
    let wanted = |path: PathBuf| {
        let mut start = task(
            &agent,
            "c1",
            "cat /data/file; echo x > kept/file; ls /other/bin | busybox grep busybox",
        );
        let around = around(&mut start);
        around
            .mounted
            .insert("other".into(), busybox(agent.work.path()));
        around.spec.mounts = vec![
            mount("/data", MountSource::Host(path.display().to_string()), true),
            mount("kept", MountSource::Sandbox("below/here".into()), false),
            mount("/other", MountSource::Image("other".into()), false),
        ];
        start
    };
    let permissions = Permissions {
        volume_roots: vec![volumes.clone()],
        ..Permissions::default()
    };
    let tasks = agent.again().allowing(permissions);

    let nowhere = agent
        .tasks
        .start(wanted(volumes.join("data")))
        .await
        .unwrap_err();
    let outside = tasks.start(wanted("/etc".into())).await.unwrap_err();
    let shim = tasks.start(wanted(volumes.join("data"))).await.unwrap();
    let exit = soon(shim.ended()).await.unwrap();

    assert!(
        nowhere
            .to_string()
            .ends_with("is below no directory that this agent allows (none)")
    );
    assert!(
        outside
            .to_string()
            .starts_with("volume /etc is below no directory")
    );
    assert!(
        exit.is_success(),
        "{exit}: {}",
        agent.said("c1", "stderr").await
    );
    assert_eq!(
        agent.said("c1", "stdout").await,
        "of the machine\nbusybox\n"
    );
    assert_eq!(agent.said("c1", "below/here/file").await, "x\n");
}
