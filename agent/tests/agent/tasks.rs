//! Tasks started, ended, found again, lost.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command as Process;

use mete_agent::cgroups::Hierarchies;
use mete_agent::containerizer::process::ProcessContainerizer;
use mete_agent::containerizer::{Containerizer, Found, KillSignal, StartError};
use mete_agent::processes;
use mete_agent::shims::{self, Executable, ShimError};
use mete_agent_core::task_dir::{
    Command, End, Launch, PidFile, Process as Identity, Runner, TaskFile,
};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Agent, id, program, runner, shim, soon, start_and_forget, until};

/// Ignores SIGTERM, and leaves a daemon in another session.
const STUBBORN: &str = "trap '' TERM; setsid sh -c 'echo $$ > daemon; sleep 1000' & echo ready; while :; do sleep 1000; done";

#[tokio::test]
async fn a_task_runs_ends_and_leaves_nothing_but_its_sandbox() {
    let agent = Agent::new();

    let shim = agent
        .tasks
        .start(agent.task("c1", "echo hello; exit 3"))
        .await
        .unwrap();
    let exit = soon(shim.ended()).await.expect("the shim wrote it down");
    let plan = Launch::decode(&fs::read(agent.dir("c1").launch()).unwrap())
        .unwrap()
        .cgroups;
    agent.tasks.destroy(id("c1")).await.unwrap();
    agent.tasks.destroy(id("c1")).await.unwrap();

    assert_eq!(exit.end, End::Exited { code: 3 });
    assert_eq!(agent.said("c1", "stdout").await, "hello\n");
    assert!(!agent.dir("c1").path().exists());
    assert!(
        plan.directories()
            .iter()
            .all(|group| !std::path::Path::new(group).exists())
    );
    assert_eq!(agent.tasks.containers().unwrap(), []);
}

#[tokio::test]
async fn a_task_has_the_soft_limit_of_open_files_that_is_for_tasks_and_may_take_more() {
    let agent = Agent::new();
    let place = agent.work.path().join("tasks");
    let shim = shim().with_descriptors(Some(77));
    let tasks = ProcessContainerizer::new(place, agent.cgroups.clone(), shim).unwrap();
    let line = "ulimit -Sn; ulimit -Sn 78 && ulimit -Sn";

    let shim = tasks.start(agent.task("c1", line)).await.unwrap();
    soon(shim.ended()).await.expect("the shim wrote it down");

    assert_eq!(agent.said("c1", "stdout").await, "77\n78\n");
    tasks.destroy(id("c1")).await.unwrap();
}

/// As on a machine that allows no programs in memory.
#[tokio::test]
async fn shims_run_from_their_file_where_there_can_be_no_copy() {
    let agent = Agent::new();
    let on_disk = Executable::on_disk(&program(), &[]).unwrap();
    let place = agent.work.path().join("tasks");
    let tasks = ProcessContainerizer::new(place, agent.cgroups.clone(), on_disk).unwrap();
    let wait = "while [ ! -e go ]; do sleep 0.02; done";

    let task = agent.task("c1", &format!("echo hello; {wait}; exit 3"));
    let sandbox = task.sandbox.clone();
    let shim = tasks.start(task).await.unwrap();

    let runs = fs::read_link(format!("/proc/{}/exe", shim.runner().shim.pid));
    assert_eq!(runs.unwrap(), program(), "it is no copy");
    assert_eq!(agent.said("c1", "stdout").await, "hello\n");
    drop(shim);
    let Found::Running(shim) = agent.again().find(id("c1")).await.unwrap() else {
        panic!("it runs");
    };
    fs::write(sandbox.join("go"), "").unwrap();
    let exit = soon(shim.ended()).await.expect("the shim wrote it down");
    assert_eq!(exit.end, End::Exited { code: 3 });
    agent.tasks.destroy(id("c1")).await.unwrap();
}

#[tokio::test]
async fn a_task_directory_is_for_the_agent_only() {
    use std::os::unix::fs::PermissionsExt;
    let agent = Agent::new();

    start_and_forget(&agent, "c1", "sleep 1000").await;

    let mode = |path: std::path::PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(agent.dir("c1").path().to_owned()), 0o700);
    assert_eq!(mode(agent.dir("c1").launch()), 0o600);
}

#[tokio::test]
async fn a_program_that_is_not_there_is_told_and_cleaned_up() {
    let agent = Agent::new();
    let mut task = agent.task("c1", "");
    task.command = Command::Program {
        path: "no-such-program".into(),
        arguments: vec![],
    };

    let refused = agent.tasks.start(task).await.unwrap_err();

    assert!(matches!(
        refused,
        StartError::Shim(ShimError::NotStarted(_))
    ));
    let said = "could not be started: executing the program: no-such-program: No such file or directory (os error 2)";
    assert_eq!(refused.to_string(), said);
    assert_eq!(agent.tasks.containers().unwrap(), []);
    assert_eq!(agent.cgroups.orphans(&Default::default()).len(), 0);
}

#[tokio::test]
async fn a_program_that_is_no_shim_starts_nothing() {
    let agent = Agent::new();
    let other = mete_agent::shims::Executable::at("/bin/false".as_ref(), &[]).unwrap();
    let tasks = mete_agent::containerizer::process::ProcessContainerizer::new(
        agent.work.path().join("tasks"),
        agent.cgroups.clone(),
        other,
    );

    let refused = tasks
        .unwrap()
        .start(agent.task("c1", "true"))
        .await
        .unwrap_err();

    assert!(matches!(refused, StartError::Shim(ShimError::Spawn(_))));
    assert_eq!(refused.to_string(), "the shim could not be started");
}

#[tokio::test]
async fn sigterm_reaches_every_process_of_a_task() {
    for agent in [Agent::new(), Agent::without_groups()] {
        let text = "trap 'echo parent >> told; exit 5' TERM; setsid sh -c \"trap 'echo child >> told; exit' TERM; echo ready; while :; do sleep 0.01; done\" & while :; do sleep 0.01; done";
        let shim = agent.tasks.start(agent.task("c1", text)).await.unwrap();
        agent.said("c1", "stdout").await;

        agent
            .tasks
            .kill(id("c1"), KillSignal::Terminate)
            .await
            .unwrap();
        let exit = soon(shim.ended()).await.unwrap();

        assert_eq!(exit.end, End::Exited { code: 5 });
        assert!(agent.said("c1", "told").await.contains("parent"));
    }
}

#[tokio::test]
async fn sigkill_ends_what_ignores_sigterm_and_what_has_left_the_session() {
    for agent in [
        Agent::new(),
        Agent::without_groups(),
        Agent::with(&without_v2(), |_| {}),
    ] {
        let shim = agent.tasks.start(agent.task("c1", STUBBORN)).await.unwrap();
        let daemon: i32 = agent.said("c1", "daemon").await.trim().parse().unwrap();
        let daemon = processes::stat(daemon).unwrap().process;
        agent.said("c1", "stdout").await;

        agent.tasks.kill(id("c1"), KillSignal::Kill).await.unwrap();

        assert!(!processes::is_running(daemon));
        assert_eq!(
            soon(shim.ended()).await.unwrap().end,
            End::Signaled { signal: 9 }
        );
        agent.tasks.destroy(id("c1")).await.unwrap();
    }
}

/// The hierarchies of this host as on an older kernel: killing goes by the freezer.
fn without_v2() -> Hierarchies {
    Hierarchies {
        v2: None,
        ..Hierarchies::of_this_host()
    }
}

#[tokio::test]
async fn killing_a_task_that_has_ended_is_fine() {
    let agent = Agent::new();
    let shim = agent.tasks.start(agent.task("c1", "true")).await.unwrap();
    soon(shim.ended()).await.unwrap();

    agent
        .tasks
        .kill(id("c1"), KillSignal::Terminate)
        .await
        .unwrap();
    agent.tasks.kill(id("c1"), KillSignal::Kill).await.unwrap();
    agent
        .tasks
        .kill(id("never"), KillSignal::Kill)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_destroyed_task_is_dead() {
    let agent = Agent::new();
    let runner = start_and_forget(&agent, "c1", STUBBORN).await;

    agent.tasks.destroy(id("c1")).await.unwrap();

    assert!(!processes::is_running(runner.task));
    until(|| !processes::is_running(runner.shim)).await;
}

#[tokio::test]
async fn memory_and_process_limits_hold() {
    let agent = Agent::with(&Hierarchies::of_this_host(), |options| options.max_pids = 5);
    if !agent.has_memory_limits() {
        eprintln!(
            "needs writable control groups: {}",
            agent.cgroups.isolation()
        );
        return;
    }
    let hog = agent
        .tasks
        .start(agent.task("hog", "exec tail /dev/zero"))
        .await
        .unwrap();
    let bomb = "for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done; echo never";
    let bomb = agent.tasks.start(agent.task("bomb", bomb)).await.unwrap();

    let hog = soon(hog.ended()).await.unwrap();
    let bomb = soon(bomb.ended()).await.unwrap();

    assert!(hog.is_out_of_memory(), "{hog:?}");
    assert!(hog.sentence().starts_with("out of memory: "), "{hog}");
    assert!(!bomb.is_success() && !bomb.is_out_of_memory(), "{bomb:?}");
    assert!(
        agent
            .said("bomb", "stderr")
            .await
            .to_lowercase()
            .contains("fork")
    );
}

#[tokio::test]
async fn usage_is_measured_while_a_task_runs() {
    let agent = Agent::new();
    start_and_forget(&agent, "c1", "sleep 1000 & sleep 1000 & wait").await;

    until(|| mete_agent::cgroups::members(&plan(&agent)).len() == 3 || !agent.has_memory_limits())
        .await;
    let usage = agent.tasks.usage(id("c1")).await;

    if agent.has_memory_limits() {
        assert_eq!(
            (usage.mem_limit_bytes, usage.pids),
            (Some(32 << 20), Some(3))
        );
        assert!(usage.cpu.total_ns.is_some() && usage.mem_bytes.is_some());
    }
    assert_eq!(agent.tasks.usage(id("never")).await.mem_bytes, None);
}

fn plan(agent: &Agent) -> mete_agent_core::task_dir::CgroupPlan {
    Launch::decode(&fs::read(agent.dir("c1").launch()).unwrap())
        .unwrap()
        .cgroups
}

#[tokio::test]
async fn a_task_is_found_again_and_its_end_is_noticed() {
    let agent = Agent::new();
    let before = start_and_forget(&agent, "c1", "sleep 1000").await;

    let tasks = agent.again();
    let Found::Running(shim) = tasks.find(id("c1")).await.unwrap() else {
        panic!("it runs")
    };
    assert_eq!(shim.runner(), before);
    tasks.kill(id("c1"), KillSignal::Terminate).await.unwrap();

    assert_eq!(
        soon(shim.ended()).await.unwrap().end,
        End::Signaled { signal: 15 }
    );
}

#[tokio::test]
async fn a_task_whose_shim_is_no_child_of_ours_is_found_again() {
    let agent = Agent::without_groups();
    orphan(&agent, "c1", "exec sleep 1000").await;

    let Found::Running(shim) = agent.tasks.find(id("c1")).await.unwrap() else {
        panic!("it runs")
    };
    assert_ne!(
        processes::stat(shim.runner().shim.pid).unwrap().parent,
        std::process::id() as i32
    );
    agent.tasks.kill(id("c1"), KillSignal::Kill).await.unwrap();

    assert_eq!(
        soon(shim.ended()).await.unwrap().end,
        End::Signaled { signal: 9 }
    );
}

/// Starts a shim whose parent is gone, as after the death of an agent.
async fn orphan(agent: &Agent, container: &str, text: &str) -> Runner {
    let task = agent.task(container, text);
    let dir = agent.dir(container);
    fs::create_dir(dir.path()).unwrap();
    fs::write(
        dir.launch(),
        Launch::new(task.command, task.sandbox.to_str().unwrap()).encode(),
    )
    .unwrap();
    let script = format!(
        "{} {} > /dev/null &",
        program().display(),
        dir.path().display()
    );
    assert!(
        Process::new("sh")
            .args(["-c", &script])
            .process_group(0)
            .status()
            .unwrap()
            .success()
    );
    until(|| dir.pid().exists()).await;
    runner(&dir)
}

#[tokio::test]
async fn an_end_without_an_agent_is_read_afterwards() {
    let agent = Agent::new();
    let runner = start_and_forget(&agent, "c1", "exit 9").await;
    until(|| !processes::is_running(runner.shim)).await;

    let found = agent.again().find(id("c1")).await.unwrap();

    assert!(matches!(found, Found::Ended(exit) if exit.end == End::Exited { code: 9 }));
}

#[tokio::test]
async fn a_killed_shim_takes_its_task_with_it() {
    for agent in [Agent::new(), Agent::without_groups()] {
        let shim = agent
            .tasks
            .start(agent.task("c1", "sleep 1000 & sleep 1000 & wait"))
            .await
            .unwrap();
        let runner = shim.runner();
        until(|| processes::session_of(runner.task).len() == 3).await;

        assert!(processes::signal(runner.shim, Signal::KILL));
        let exit = soon(shim.ended()).await;

        assert_eq!(exit, None);
        assert_eq!(processes::session_of(runner.task), []);
        let found = agent.again().find(id("c1")).await.unwrap();
        assert!(matches!(found, Found::Vanished));
    }
}

#[tokio::test]
async fn a_stopped_shim_does_not_hold_up_the_end_of_its_task() {
    for agent in [Agent::new(), Agent::without_groups()] {
        let task = agent.task("c1", "exec sleep 1000");
        let shim = agent.tasks.start(task).await.unwrap();
        let runner = shim.runner();
        assert!(processes::signal(runner.shim, Signal::STOP));

        let killed = agent.tasks.kill(id("c1"), KillSignal::Kill);
        soon(killed).await.unwrap();
        let exit = soon(shim.ended()).await;

        assert_eq!(exit, None);
        assert!(!processes::is_running(runner.task));
        soon(agent.tasks.destroy(id("c1"))).await.unwrap();
    }
}

#[tokio::test]
async fn a_shim_killed_without_an_agent_takes_its_task_with_it_on_return() {
    let agent = Agent::without_groups();
    let runner = start_and_forget(&agent, "c1", "exec sleep 1000").await;
    assert!(processes::signal(runner.shim, Signal::KILL));
    until(|| !processes::is_running(runner.shim)).await;
    assert!(processes::is_running(runner.task));

    let found = agent.again().find(id("c1")).await.unwrap();

    assert!(matches!(found, Found::Vanished));
    assert!(!processes::is_running(runner.task));
}

/// A process that has nothing to do with any task.
struct Bystander(std::process::Child);

impl Bystander {
    fn new() -> (Self, Identity) {
        let child = Process::new("setsid")
            .args(["sleep", "1000"])
            .spawn()
            .unwrap();
        let process = processes::stat(child.id() as i32).unwrap().process;
        (Self(child), process)
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A task directory that names these processes.
fn claim(agent: &Agent, boot_id: &str, runner: Runner) {
    let dir = agent.dir("c1");
    fs::create_dir(dir.path()).unwrap();
    let pid = PidFile {
        version: 1,
        boot_id: boot_id.into(),
        runner: Some(runner),
    };
    fs::write(
        dir.launch(),
        Launch::new(Command::Shell("true".into()), "/").encode(),
    )
    .unwrap();
    fs::write(dir.pid(), pid.encode()).unwrap();
}

#[tokio::test]
async fn a_pid_that_is_used_again_is_neither_adopted_nor_killed() {
    let agent = Agent::without_groups();
    let (_guard, bystander) = Bystander::new();
    let earlier = Identity {
        start_ticks: bystander.start_ticks - 1,
        ..bystander
    };
    claim(
        &agent,
        &processes::boot_id().unwrap(),
        Runner {
            shim: earlier,
            task: earlier,
        },
    );

    let found = agent.tasks.find(id("c1")).await.unwrap();
    agent.tasks.kill(id("c1"), KillSignal::Kill).await.unwrap();

    assert!(matches!(found, Found::Vanished));
    assert!(processes::is_running(bystander));
}

#[tokio::test]
async fn processes_of_another_boot_are_nobody_we_know() {
    let agent = Agent::without_groups();
    let (_guard, bystander) = Bystander::new();
    claim(
        &agent,
        "another-boot",
        Runner {
            shim: bystander,
            task: bystander,
        },
    );

    let found = agent.tasks.find(id("c1")).await.unwrap();
    agent.tasks.kill(id("c1"), KillSignal::Kill).await.unwrap();

    assert!(matches!(found, Found::Vanished));
    assert!(processes::is_running(bystander));
}

#[tokio::test]
async fn a_launch_that_nobody_began_never_begins() {
    let agent = Agent::without_groups();
    let task = agent.task("c1", "echo ran");
    let dir = agent.dir("c1");
    fs::create_dir(dir.path()).unwrap();
    fs::write(
        dir.launch(),
        Launch::new(task.command, task.sandbox.to_str().unwrap()).encode(),
    )
    .unwrap();

    let found = agent.tasks.find(id("c1")).await.unwrap();
    let late = Process::new(program()).arg(dir.path()).output().unwrap();

    assert!(matches!(found, Found::NeverStarted));
    assert_eq!(late.status.code(), Some(1));
    assert!(!task.sandbox.join("stdout").exists());
    assert!(matches!(
        agent.tasks.find(id("c1")).await.unwrap(),
        Found::NeverStarted
    ));
    assert!(matches!(
        agent.tasks.find(id("never")).await.unwrap(),
        Found::NeverStarted
    ));
}

#[tokio::test]
async fn groups_without_a_directory_are_removed_and_others_stay() {
    let agent = Agent::new();
    if !agent.has_memory_limits() {
        return;
    }
    start_and_forget(&agent, "known", "sleep 1000").await;
    agent
        .cgroups
        .create("lost", agent.task("lost", "").limits)
        .unwrap();

    let removed = agent.again().remove_orphaned_groups().unwrap();

    assert_eq!(removed, ["lost"]);
    assert!(processes::is_running(runner(&agent.dir("known")).task));
}

#[tokio::test]
async fn a_full_disk_refuses_a_launch_with_that_reason() {
    let agent = Agent::without_groups();
    let root = agent.work.path().join("tasks");
    let mounted = Process::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
        .arg(&root)
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("needs root: no small file system can be mounted");
        return;
    }
    let _ = fs::write(root.join("hog"), vec![0; 1 << 20]);

    let refused = agent.tasks.start(agent.task("c1", "true")).await;
    assert!(
        Process::new("umount")
            .arg(&root)
            .status()
            .unwrap()
            .success()
    );

    assert!(matches!(refused, Err(StartError::DiskFull)), "{refused:?}");
}

#[tokio::test]
async fn the_shim_stays_when_its_program_is_overwritten() {
    let agent = Agent::without_groups();
    let copy = agent.work.path().join("shim");
    fs::copy(program(), &copy).unwrap();
    let shim = shims::Executable::at(&copy, &[]).unwrap();
    let root = agent.work.path().join("tasks");
    let tasks = mete_agent::containerizer::process::ProcessContainerizer::new(
        root,
        agent.cgroups.clone(),
        shim,
    )
    .unwrap();
    // In place, so that whoever executes the file itself finds rubbish.
    fs::write(&copy, "no program").unwrap();

    let shim = tasks.start(agent.task("c1", "sleep 1000")).await.unwrap();

    let runner = shim.runner();
    let exe = fs::read_link(format!("/proc/{}/exe", runner.shim.pid)).unwrap();
    assert_eq!(exe.as_os_str(), "/memfd:mete-shim (deleted)");
    assert!(processes::signal(runner.task, Signal::KILL));
    let end = soon(shim.ended()).await.unwrap().end;
    assert_eq!(end, End::Signaled { signal: 9 });
}

#[tokio::test]
async fn shims_outlive_the_one_they_are_copies_of_and_the_next_task_has_another() {
    let agent = Agent::without_groups();
    let start = |name| agent.tasks.start(agent.task(name, "sleep 1000"));
    let first = start("c1").await.unwrap();
    let server = parent_of(first.runner().shim.pid);
    kill_process(server, Signal::KILL).unwrap();

    let second = start("c2").await.unwrap();

    assert_ne!(parent_of(second.runner().shim.pid), server);
    for shim in [first, second] {
        assert!(processes::signal(shim.runner().task, Signal::KILL));
        let end = soon(shim.ended()).await.unwrap().end;
        assert_eq!(end, End::Signaled { signal: 9 });
    }
}

fn parent_of(pid: i32) -> Pid {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, behind) = stat.rsplit_once(')').unwrap();
    let parent = behind.split_whitespace().nth(1).unwrap();
    Pid::from_raw(parent.parse().unwrap()).unwrap()
}

#[tokio::test]
async fn nothing_of_the_agents_environment_reaches_shim_or_task() {
    let agent = Agent::without_groups();
    let mut task = agent.task("c1", "");
    task.command = Command::Program {
        path: "sleep".into(),
        arguments: vec!["sleep".into(), "1000".into()],
    };

    let runner = agent.tasks.start(task).await.unwrap().runner();

    let environment = |pid: i32| fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
    assert_eq!(environment(runner.shim.pid), "");
    // The task is told to run when its exec is past failing, which is before the kernel shows its environment.
    until(|| !environment(runner.task.pid).is_empty()).await;
    assert_eq!(
        environment(runner.task.pid).trim_end_matches('\0'),
        "PATH=/usr/bin:/bin"
    );
}

#[tokio::test]
async fn a_process_in_one_group_of_nobody_is_ended_with_it() {
    let agent = Agent::new();
    let limits = mete_agent::cgroups::Limits::new(100, 64 << 20);
    let Ok(plan) = agent.cgroups.create("orphan", limits) else {
        eprintln!("skipped: no control groups");
        return;
    };
    let groups = plan.directories();
    for group in &groups {
        let mut child = Process::new("sleep").arg("1000").spawn().unwrap();
        let procs = std::path::Path::new(group).join("cgroup.procs");
        fs::write(procs, child.id().to_string()).unwrap();
        std::thread::spawn(move || child.wait());
    }

    let removed = agent.tasks.remove_orphaned_groups().unwrap();

    assert!(groups.is_empty() || removed.contains(&"orphan".to_owned()));
    let is_there = |group: &&str| std::path::Path::new(group).exists();
    assert!(!groups.iter().any(is_there));
}
