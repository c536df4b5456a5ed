//! Shims as processes, with real tasks.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use mete_agent_core::task_dir::{
    Command, End, Exit, Launch, OutputLimits, PidFile, ProcStat, Runner, StartStep, TaskDir,
    TaskFile, User,
};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// Long enough for a loaded machine; a test that gets here has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// The program that is nothing but a shim.
fn program() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    tests
        .parent()
        .unwrap()
        .parent()
        .unwrap()
        .join("examples/shim")
}

/// One task with its directories; whatever of it still runs dies with it.
struct Fixture {
    root: tempfile::TempDir,
    launch: Launch,
    shim: Option<Child>,
}

impl Fixture {
    fn new(command: Command) -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("task")).unwrap();
        fs::create_dir(root.path().join("sandbox")).unwrap();
        let mut launch = Launch::new(command, root.path().join("sandbox").to_str().unwrap());
        launch.environment = BTreeMap::from([("PATH".into(), "/usr/bin:/bin".into())]);
        Self {
            root,
            launch,
            shim: None,
        }
    }

    fn shell(text: &str) -> Self {
        Self::new(Command::Shell(text.into()))
    }

    fn dir(&self) -> TaskDir {
        TaskDir::new(self.root.path().join("task"))
    }

    fn sandbox(&self, name: &str) -> PathBuf {
        self.root.path().join("sandbox").join(name)
    }

    /// Starts the shim and waits until it says that the program runs, or says nothing.
    fn start(&mut self) -> bool {
        fs::write(self.dir().launch(), self.launch.encode()).unwrap();
        let log = fs::File::create(self.dir().shim_log()).unwrap();
        let mut shim = Process::new(program());
        shim.arg(self.dir().path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log);
        let mut shim = shim.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(shim.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        self.shim = Some(shim);
        line == "running\n"
    }

    fn runner(&self) -> Runner {
        PidFile::decode(&fs::read(self.dir().pid()).unwrap())
            .unwrap()
            .runner
            .unwrap()
    }

    /// Waits for the shim's end and reads what it wrote down.
    fn end(&mut self) -> Exit {
        self.wait();
        let log = fs::read_to_string(self.dir().shim_log()).unwrap();
        Exit::decode(&fs::read(self.dir().exit()).unwrap_or_else(|error| panic!("{error}: {log}")))
            .unwrap()
    }

    /// The code with which the shim itself ended.
    fn wait(&mut self) -> Option<i32> {
        let mut shim = self.shim.take().unwrap();
        until("the shim has ended", || shim.try_wait().unwrap().is_some());
        shim.wait().unwrap().code()
    }

    fn run(text: &str) -> Exit {
        let mut task = Self::shell(text);
        task.start();
        task.end()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let Ok(bytes) = fs::read(self.dir().pid()) else {
            return;
        };
        let runner = PidFile::decode(&bytes).unwrap().runner.unwrap();
        if let Some(mut shim) = self.shim.take() {
            for pid in descendants(runner.shim.pid) {
                let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
            }
            let _ = shim.kill();
            let _ = shim.wait();
        }
    }
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let mut waited = Duration::ZERO;
    while !is_so() {
        assert!(waited < PATIENCE, "{what}: not within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(2));
        waited += Duration::from_millis(2);
    }
}

fn stat(pid: i32) -> Option<ProcStat> {
    ProcStat::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn is_alive(pid: i32) -> bool {
    stat(pid).is_some_and(|stat| stat.state != 'Z')
}

fn descendants(pid: i32) -> Vec<i32> {
    let children =
        fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children: Vec<i32> = children
        .split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .collect();
    children
        .iter()
        .flat_map(|child| descendants(*child))
        .chain(children.iter().copied())
        .collect()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn text(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn exit_codes_and_signals_are_told_apart() {
    assert_eq!(Fixture::run("exit 0").end, End::Exited { code: 0 });
    assert_eq!(Fixture::run("exit 255").end, End::Exited { code: 255 });
    assert_eq!(
        Fixture::run("kill -TERM $$").end,
        End::Signaled { signal: 15 }
    );
    assert_eq!(
        Fixture::run("kill -SEGV $$").end,
        End::Signaled { signal: 11 }
    );
}

#[test]
fn a_program_that_is_not_there_is_a_failure_to_start() {
    let mut task = Fixture::new(Command::Program {
        path: "/no/such/program".into(),
        arguments: vec![],
    });

    assert!(!task.start());
    let exit = task.end();

    let expected = "could not be started: executing the program: /no/such/program: No such file or directory (os error 2)";
    assert_eq!(exit.sentence(), expected);
    assert!(matches!(
        exit.end,
        End::NotStarted {
            step: StartStep::Exec,
            errno: Some(2),
            ..
        }
    ));
}

#[test]
fn a_file_that_is_no_program_is_a_failure_to_start() {
    let mut task = Fixture::new(Command::Program {
        path: "./notes.txt".into(),
        arguments: vec![],
    });
    fs::write(task.sandbox("notes.txt"), "not a program").unwrap();

    assert!(!task.start());

    assert!(task.end().sentence().contains("Permission denied"));
}

#[test]
fn a_sandbox_that_is_not_there_is_a_failure_to_start() {
    let mut task = Fixture::shell("true");
    fs::remove_dir(task.sandbox("")).unwrap();

    assert!(!task.start());

    assert!(matches!(
        task.end().end,
        End::NotStarted {
            step: StartStep::Sandbox,
            errno: Some(2),
            ..
        }
    ));
}

#[test]
fn a_launch_file_that_cannot_be_read_is_a_failure_to_start() {
    let mut task = Fixture::shell("true");
    task.start();
    task.end();
    for file in [task.dir().pid(), task.dir().exit()] {
        fs::remove_file(file).unwrap();
    }
    fs::write(task.dir().launch(), "{\"version\":1,").unwrap();

    let status = Process::new(program())
        .arg(task.dir().path())
        .status()
        .unwrap();

    assert!(status.success());
    let exit = Exit::decode(&fs::read(task.dir().exit()).unwrap()).unwrap();
    assert!(
        matches!(
            exit.end,
            End::NotStarted {
                step: StartStep::Read,
                ..
            }
        ),
        "{exit}"
    );
}

#[test]
fn a_program_is_looked_up_in_the_path_of_the_task() {
    let mut task = Fixture::new(Command::Program {
        path: "greet".into(),
        arguments: vec!["hi".into(), "there".into()],
    });
    fs::write(task.sandbox("greet"), "#!/bin/sh\necho \"$0 $1\"\n").unwrap();
    fs::set_permissions(
        task.sandbox("greet"),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    task.launch.environment = BTreeMap::from([("PATH".into(), "/no/such/place:".into())]);

    assert!(task.start());

    assert!(task.end().is_success());
    assert_eq!(text(task.sandbox("stdout")), "./greet there\n");
}

#[test]
fn the_environment_is_exactly_what_was_given() {
    let mut task = Fixture::new(Command::Program {
        path: "/usr/bin/env".into(),
        arguments: vec![],
    });
    task.launch.environment =
        BTreeMap::from([("A".into(), "1".into()), ("B".into(), "two words".into())]);

    task.start();
    task.end();

    assert_eq!(text(task.sandbox("stdout")), "A=1\nB=two words\n");
}

#[test]
fn a_task_begins_in_its_sandbox_with_nothing_open_and_no_signal_held() {
    let mut task = Fixture::shell(
        "pwd; ls -l /proc/self/fd | wc -l; grep -E 'Sig(Blk|Ign)' /proc/self/status; readlink /proc/self/fd/0; umask",
    );
    task.start();

    assert!(task.end().is_success());

    // `ls` sees a line of totals, the standard three, and its own directory.
    let sandbox = fs::canonicalize(task.sandbox("")).unwrap();
    let expected = format!(
        "{}\n5\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n/dev/null\n0022\n",
        sandbox.display()
    );
    assert_eq!(text(task.sandbox("stdout")), expected);
}

#[test]
fn streams_are_kept_apart() {
    let mut task = Fixture::shell("echo out; echo err >&2");
    task.start();
    task.end();

    assert_eq!(text(task.sandbox("stdout")), "out\n");
    assert_eq!(text(task.sandbox("stderr")), "err\n");
}

#[test]
fn a_hundred_megabytes_of_output_stay_within_their_files() {
    let mut task = Fixture::shell(
        "yes 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde | head -c 104857600",
    );
    task.launch.output = OutputLimits {
        max_bytes: 1 << 20,
        max_files: 3,
    };

    task.start();
    let exit = task.end();

    assert!(exit.is_success());
    assert_eq!(exit.stdout_dropped_bytes, 0);
    let names: Vec<_> = ["stdout", "stdout.1", "stdout.2", "stdout.3"]
        .map(|name| task.sandbox(name))
        .into();
    let sizes: Vec<u64> = names
        .iter()
        .filter_map(|name| Some(fs::metadata(name).ok()?.len()))
        .collect();
    assert_eq!(sizes, [1 << 20, 1 << 20, 1 << 20]);
}

#[test]
fn output_of_the_last_moment_is_kept() {
    let mut task = Fixture::shell("head -c 60000 /dev/zero | tr '\\0' x; echo end");
    task.start();
    task.end();

    assert_eq!(text(task.sandbox("stdout")).len(), 60_004);
}

#[test]
fn a_grandchild_that_left_the_session_is_killed_and_reaped() {
    let mut task =
        Fixture::shell("setsid sh -c 'setsid sleep 1000 & echo $! > daemon' & wait; sleep 1000");
    task.start();
    let daemon = task.sandbox("daemon");
    until("the daemon has written its id", || {
        fs::read_to_string(&daemon).is_ok_and(|text| text.ends_with('\n'))
    });
    let daemon: i32 = text(daemon).trim().parse().unwrap();
    until("the daemon has left for the shim", || {
        stat(daemon).unwrap().parent == task.runner().shim.pid
    });
    assert_ne!(stat(daemon).unwrap().session, task.runner().task.pid);

    kill_process(Pid::from_raw(task.runner().task.pid).unwrap(), Signal::KILL).unwrap();
    let exit = task.end();

    assert_eq!(exit.end, End::Signaled { signal: 9 });
    assert!(exit.stragglers_killed >= 1, "{exit:?}");
    assert!(stat(daemon).is_none());
}

#[test]
fn zombies_of_a_running_task_are_reaped() {
    let mut task =
        Fixture::shell("for i in 1 2 3 4 5; do (setsid true &) ; done; echo done; exec sleep 1000");
    task.start();
    until("all have been started", || {
        text(task.sandbox("stdout")) == "done\n"
    });

    let shim = task.runner().shim.pid;
    until("only the task is left", || descendants(shim).len() == 1);
}

#[test]
fn a_pipe_held_by_a_stranger_does_not_hold_the_shim() {
    let mut task = Fixture::shell("echo $$ > id; exec sleep 1000");
    task.start();
    until("the task runs", || task.sandbox("id").exists());
    let pid = task.runner().task.pid;
    let stranger = fs::OpenOptions::new()
        .write(true)
        .open(format!("/proc/{pid}/fd/1"))
        .unwrap();

    kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();

    assert_eq!(task.end().end, End::Signaled { signal: 15 });
    drop(stranger);
}

#[test]
fn signals_to_the_shim_do_not_reach_it() {
    let mut task = Fixture::shell("exec sleep 1000");
    task.start();
    let runner = task.runner();
    let shim = Pid::from_raw(runner.shim.pid).unwrap();

    for signal in [
        Signal::TERM,
        Signal::INT,
        Signal::HUP,
        Signal::PIPE,
        Signal::USR1,
        Signal::ALARM,
    ] {
        kill_process(shim, signal).unwrap();
    }

    assert!(is_alive(runner.shim.pid) && is_alive(runner.task.pid));
    kill_process(Pid::from_raw(runner.task.pid).unwrap(), Signal::KILL).unwrap();
    assert_eq!(task.end().end, End::Signaled { signal: 9 });
}

#[test]
fn shim_and_task_lead_sessions_of_their_own_and_hold_nothing_else() {
    let mut task = Fixture::shell("exec sleep 1000");
    task.start();
    let runner = task.runner();

    let (shim, child) = (
        stat(runner.shim.pid).unwrap(),
        stat(runner.task.pid).unwrap(),
    );

    assert_eq!(
        (shim.process, shim.session, shim.group),
        (runner.shim, runner.shim.pid, runner.shim.pid)
    );
    assert_eq!(
        (child.process, child.session, child.group),
        (runner.task, runner.task.pid, runner.task.pid)
    );
    let open = fs::read_dir(format!("/proc/{}/fd", runner.shim.pid)).unwrap();
    let open: Vec<_> = open
        // One that is closed while we look is not held.
        .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
        .collect();
    assert!(
        open.iter()
            .all(|path| !path.to_string_lossy().contains("socket")),
        "{open:?}"
    );
    assert!(open.len() < 20, "{open:?}");
}

#[test]
fn one_directory_runs_at_most_one_task() {
    let mut task = Fixture::shell("echo ran; exec sleep 1000");
    task.start();

    let second = Process::new(program())
        .arg(task.dir().path())
        .stderr(Stdio::piped())
        .output()
        .unwrap();

    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("claimed before"));
    let stdout = task.sandbox("stdout");
    until("the task has said so", || text(&stdout) == "ran\n");
    kill_process(Pid::from_raw(task.runner().task.pid).unwrap(), Signal::KILL).unwrap();
    assert_eq!(task.end().end, End::Signaled { signal: 9 });
    assert_eq!(text(task.sandbox("stdout")), "ran\n");
}

#[test]
fn shims_that_race_for_a_directory_start_one_task() {
    let task = Fixture::shell("echo $$ >> ../ran; sleep 0.2");
    fs::write(task.dir().launch(), task.launch.encode()).unwrap();

    let start = || {
        Process::new(program())
            .arg(task.dir().path())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    let mut shims: Vec<Child> = (0..8).map(|_| start()).collect();
    let ends: Vec<_> = shims
        .iter_mut()
        .map(|shim| shim.wait().unwrap().code())
        .collect();

    assert_eq!(
        ends.iter().filter(|code| **code == Some(0)).count(),
        1,
        "{ends:?}"
    );
    assert_eq!(text(task.root.path().join("ran")).lines().count(), 1);
    assert!(
        Exit::decode(&fs::read(task.dir().exit()).unwrap())
            .unwrap()
            .is_success()
    );
}

#[test]
fn a_launch_that_was_given_up_is_not_run() {
    let mut task = Fixture::shell("echo ran");
    fs::write(
        task.dir().pid(),
        PidFile {
            version: 1,
            boot_id: String::new(),
            runner: None,
        }
        .encode(),
    )
    .unwrap();

    assert!(!task.start());

    assert_eq!(task.wait(), Some(1));
    assert!(!task.sandbox("stdout").exists());
    fs::remove_file(task.dir().pid()).unwrap();
}

#[test]
fn a_task_takes_on_its_user() {
    if !is_root() {
        eprintln!("needs root: another user cannot be tried");
        return;
    }
    let mut task = Fixture::shell("id -u; id -g; id -G; echo again > /dev/stdout");
    fs::set_permissions(
        task.root.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    std::os::unix::fs::chown(task.sandbox(""), Some(65_534), None).unwrap();
    task.launch.user = Some(User {
        name: "nobody".into(),
        uid: 65_534,
        gid: 65_534,
        groups: vec![65_534, 100],
    });

    task.start();
    let exit = task.end();

    assert!(
        exit.is_success(),
        "{exit}: {}",
        text(task.sandbox("stderr"))
    );
    assert_eq!(
        text(task.sandbox("stdout")),
        "65534\n65534\n65534 100\nagain\n"
    );
}

#[test]
fn a_full_disk_neither_stops_the_task_nor_hides_its_end() {
    if !is_root() {
        eprintln!("needs root: a small file system cannot be mounted");
        return;
    }
    let mut task = Fixture::shell("head -c 8000000 /dev/zero; echo; exit 3");
    let mount = Mount::tmpfs(task.root.path(), "1m");
    for name in ["task", "sandbox"] {
        fs::create_dir(task.root.path().join(name)).unwrap();
    }
    task.launch.output = OutputLimits {
        max_bytes: 100 << 20,
        max_files: 2,
    };

    task.start();
    let exit = task.end();

    assert_eq!(exit.end, End::Exited { code: 3 });
    assert!(exit.stdout_dropped_bytes > 6_000_000, "{exit:?}");
    drop(mount);
}

/// A small file system over a directory, gone with the test.
struct Mount(PathBuf);

impl Mount {
    fn tmpfs(path: &Path, size: &str) -> Self {
        let options = format!("size={size}");
        let done = Process::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(path)
            .status()
            .unwrap();
        assert!(done.success());
        Self(path.to_owned())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Process::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Version 1 groups of one test, gone with it.
struct Groups(Vec<PathBuf>);

impl Groups {
    /// A memory group with a limit and a freezer group; `None` where that cannot be had.
    fn memory(launch: &mut Launch, limit: u64) -> Option<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("mete-shim-test-{}-{number}", std::process::id());
        let memory = Path::new("/sys/fs/cgroup/memory").join(name);
        fs::create_dir(&memory).ok()?;
        for file in ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"] {
            fs::write(memory.join(file), limit.to_string()).ok()?;
        }
        launch
            .cgroups
            .v1
            .insert("memory".into(), memory.to_str().unwrap().into());
        Some(Self(vec![memory]))
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for group in &self.0 {
            until("the group is empty", || fs::remove_dir(group).is_ok());
        }
    }
}

/// What the shim tells of a task with 32 MB of memory that uses more, which is killed for it.
fn is_told_to_be_out_of_memory(line: &str) {
    let mut task = Fixture::shell(line);
    let Some(groups) = Groups::memory(&mut task.launch, 32 << 20) else {
        eprintln!("needs a writable version 1 memory hierarchy");
        return;
    };

    task.start();
    let exit = task.end();

    assert_eq!(exit.end, End::Signaled { signal: 9 });
    assert!(exit.is_out_of_memory(), "{exit:?}");
    drop(groups);
}

#[test]
fn a_memory_hog_is_told_apart_from_one_that_was_killed() {
    is_told_to_be_out_of_memory("exec tail /dev/zero");
}

#[test]
fn a_task_ends_with_the_process_that_used_up_its_memory() {
    is_told_to_be_out_of_memory("tail /dev/zero; sleep 1000; exit 0");
}

#[test]
fn a_group_that_is_gone_is_a_failure_to_start() {
    let mut task = Fixture::shell("true");
    task.launch.cgroups.v1.insert(
        "memory".into(),
        "/sys/fs/cgroup/memory/mete/never/made".into(),
    );

    assert!(!task.start());

    assert!(matches!(
        task.end().end,
        End::NotStarted {
            step: StartStep::Cgroup,
            errno: Some(2),
            ..
        }
    ));
}

#[test]
fn a_version_2_group_is_entered_and_emptied() {
    let Some(root) = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"]
        .into_iter()
        .find(|root| Path::new(root).join("cgroup.controllers").exists())
    else {
        return;
    };
    let group = Path::new(root).join(format!("mete-shim-test-{}", std::process::id()));
    if fs::create_dir(&group).is_err() {
        eprintln!("needs a writable version 2 hierarchy");
        return;
    }
    let groups = Groups(vec![group.clone()]);
    let mut task = Fixture::shell("cat /proc/self/cgroup; setsid sleep 1000 & sleep 0.1");
    task.launch.cgroups.v2 = Some(group.to_str().unwrap().into());

    task.start();
    let exit = task.end();

    assert!(exit.is_success() && exit.stragglers_killed == 1, "{exit:?}");
    let name = group.file_name().unwrap().to_str().unwrap();
    assert!(text(task.sandbox("stdout")).contains(name));
    assert_eq!(text(group.join("cgroup.procs")), "");
    drop(groups);
}

#[test]
fn a_killed_shim_leaves_its_task_to_the_agent() {
    let mut task = Fixture::shell("exec sleep 1000");
    task.start();
    let runner = task.runner();

    kill_process(Pid::from_raw(runner.shim.pid).unwrap(), Signal::KILL).unwrap();
    task.shim.take().unwrap().wait().unwrap();

    assert!(
        !task.dir().exit().exists(),
        "a killed shim has no last word"
    );
    let pid = Pid::from_raw(runner.task.pid).unwrap();
    assert!(
        test_kill_process(pid).is_ok(),
        "the task outlives its shim until the agent kills it"
    );
    kill_process(pid, Signal::KILL).unwrap();
    until("the task is gone", || !is_alive(runner.task.pid));
}

#[test]
fn a_check_runs_in_the_place_of_its_task() {
    let mut task = Fixture::shell("exec sleep 1000");
    task.launch
        .environment
        .insert("COLOUR".into(), "red".into());
    task.launch
        .environment
        .insert("TASTE".into(), "sweet".into());
    task.start();

    let check = |seconds: &str, text: &str| {
        let mut check = Process::new(program());
        check
            .arg("--check")
            .arg(task.dir().path())
            .args([seconds, "/bin/sh", "sh", "-c", text]);
        check.env_clear().env("TASTE", "sour").output().unwrap()
    };

    let sandbox = fs::canonicalize(task.sandbox("")).unwrap();
    let done = check("60", "echo $COLOUR $TASTE; pwd; exit 7");
    assert_eq!(
        String::from_utf8_lossy(&done.stdout),
        format!("red sour\n{}\n", sandbox.display())
    );
    assert_eq!(done.status.code(), Some(7));
    let slow = check("1", "exec sleep 1000");
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&slow.status),
        Some(14)
    );
    let mut missing = Process::new(program());
    let missing = missing
        .arg("--check")
        .arg(task.dir().path())
        .args(["60", "/no/such", "such"])
        .output()
        .unwrap();
    assert_eq!(missing.status.code(), Some(125));
    assert_eq!(
        String::from_utf8_lossy(&missing.stderr),
        "/no/such: No such file or directory (os error 2)\n"
    );
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    let wrong = Process::new(program()).arg("--help").output().unwrap();

    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).starts_with("usage: "));
}
