//! Into a running task, and watching it: `mete task exec`, `stats`, `logs -f`, through a whole cluster.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};

use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};
use serde_json::{Value, json};

use crate::harness::{Cluster, PATIENCE, eventually, mete};

/// A command that ends with its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `mete task …` for a cluster.
fn task(cluster: &Cluster, arguments: &[&str]) -> Command {
    let mut command = mete(&["task"]);
    command
        .args(arguments)
        .env("METE_MASTER", cluster.url("master"))
        .env("TERM", "xterm");
    command
}

pub(crate) fn exec(cluster: &Cluster, id: &str, command: &[&str]) -> Output {
    let mut all = vec!["exec", id, "--"];
    all.extend(command);
    task(cluster, &all).output().expect("mete runs")
}

/// What somebody says, as it comes.
struct Heard {
    parts: Receiver<Vec<u8>>,
    text: String,
}

impl Heard {
    fn of(mut source: impl std::io::Read + Send + 'static) -> Self {
        let (sender, parts) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4_096];
            // A terminal whose other end is closed fails where a pipe ends.
            while let Ok(count @ 1..) = source.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            parts,
            text: String::new(),
        }
    }

    /// Waits until it holds a text.
    fn until(&mut self, wanted: &str) {
        while !self.text.contains(wanted) {
            let part = self.parts.recv_timeout(PATIENCE);
            let part = part.unwrap_or_else(|_| panic!("{wanted:?} is not in {:?}", self.text));
            self.text.push_str(&String::from_utf8_lossy(&part));
        }
    }
}

/// A terminal of 30 lines: the end of the person, and that of the program.
fn terminal() -> (OwnedFd, OwnedFd) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let person = openpt(flags).expect("a terminal");
    unlockpt(&person).expect("unlocked");
    let program = ioctl_tiocgptpeer(&person, flags).expect("the other end");
    resize(&person, 30, 90);
    (person, program)
}

fn resize(terminal: &OwnedFd, ws_row: u16, ws_col: u16) {
    let size = Winsize {
        ws_row,
        ws_col,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(terminal, size).expect("sized");
}

/// Runs a line at a terminal, which is that of a session, so that keys and changes of its size are told as signals.
fn at(program: &OwnedFd, line: Command) -> Running {
    let end = || Stdio::from(program.try_clone().expect("a copy"));
    let mut session = Command::new("setsid");
    // As a person's shell starts it, whatever signals are ignored where the tests run.
    session.args(["--ctty", "--wait", "env", "--default-signal"]);
    session.arg(line.get_program());
    session.args(line.get_args());
    for (name, value) in line.get_envs() {
        session.env(name, value.unwrap_or_default());
    }
    session.stdin(end()).stdout(end()).stderr(end());
    Running(session.spawn().expect("util-linux is installed"))
}

/// Somebody watches what a task prints, and lets go of it: the task runs on.
fn a_person_attaches_and_leaves(cluster: &Cluster, id: &str) {
    let (person, program) = terminal();
    let mut watching = at(&program, task(cluster, &["attach", id]));
    let mut keys = File::from(person.try_clone().expect("a copy"));
    let mut heard = Heard::of(File::from(person));

    heard.until("tick\r\ntick\r\n");
    keys.write_all(b"\x03").expect("typed");

    let status = watching.0.wait().expect("it ends");
    assert_eq!(status.signal(), Some(2), "{}", heard.text);
    assert!(
        !heard.text.contains("bad"),
        "what was said before is not told"
    );
    let output = exec(cluster, id, &["echo", "here"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "here\n");
}

/// Somebody types into a task, lets go of it by keys and by a signal, and comes again; then it ends.
fn a_person_types_into_a_task(cluster: &Cluster, id: &str) {
    let (person, program) = terminal();
    let before = format!("{:?}", tcgetattr(&program).expect("modes"));
    let is_as_before = |text: &str| {
        let after = format!("{:?}", tcgetattr(&program).expect("modes"));
        assert_eq!(before, after, "the terminal is as it was: {text}");
    };
    let attach = || at(&program, task(cluster, &["attach", "-it", id]));
    let mut keys = File::from(person.try_clone().expect("a copy"));
    let mut heard = Heard::of(File::from(person.try_clone().expect("a copy")));
    let mut type_in = |text: &str| keys.write_all(text.as_bytes()).expect("typed");

    let mut running = attach();
    // The program is told of this terminal's size; nothing is typed before this one is raw.
    heard.until("size 30 90\r\n");
    resize(&person, 40, 100);
    heard.until("size 40 100\r\n");
    type_in("one\n");
    heard.until("got one\r\n");
    type_in("\x03");
    heard.until("int\r\n");
    type_in("half\x10\x11");
    let status = running.0.wait().expect("it ends");
    assert_eq!(status.code(), Some(0), "{}", heard.text);
    heard.until("runs on");
    is_as_before(&heard.text);

    let mut running = attach();
    type_in("way\n");
    heard.until("got halfway\r\n");
    let pid = rustix::process::Pid::from_child(&running.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
    let status = running.0.wait().expect("it ends");
    assert_eq!(status.code(), Some(143), "{}", heard.text);
    is_as_before(&heard.text);

    let mut running = attach();
    type_in("end\n");
    let status = running.0.wait().expect("it ends");
    assert_eq!(status.code(), Some(6), "{}", heard.text);
    is_as_before(&heard.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn people_type_into_tasks_that_have_a_terminal() {
    let cluster = Cluster::start(&[]).await;
    let line = "trap 'echo int' INT; trap 'echo size $(stty size)' WINCH; \
        while :; do read word || continue; test -z \"$word\" || echo got $word; test \"$word\" = end && exit 6; done";
    let app = |id: &str, tty: bool| json!({ "id": id, "cmd": line, "cpus": 0.1, "mem": 64, "instances": 1, "tty": tty });
    cluster
        .ok("POST", "/v2/apps", Some(&app("/talks", true)))
        .await;
    let mut deaf = app("/deaf", false);
    deaf["cmd"] = "exec sleep 1000".into();
    cluster.ok("POST", "/v2/apps", Some(&deaf)).await;
    let mut ids = Vec::new();
    for name in ["/talks", "/deaf"] {
        cluster.healthy(name).await;
        let tasks = cluster.tasks(name).await;
        ids.push(tasks[0]["id"].as_str().expect("an id").to_owned());
    }

    a_person_types_into_a_task(&cluster, &ids[0]);

    let refused = |words: &[&str]| {
        let mut attach = task(&cluster, &[&["attach"], words].concat());
        let output = attach.stdin(Stdio::null()).output().expect("mete runs");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = refused(&["-i", &ids[1]]);
    assert!(
        said.contains(&format!("task {} has no terminal", ids[1])),
        "{said}"
    );
    let said = refused(&["-it", &ids[1]]);
    assert!(
        said.contains("standard input is no terminal; leave -t out"),
        "{said}"
    );
}

/// Waits until somebody runs a line: what is typed is echoed before it is begun.
fn begun(line: &[&str]) {
    let line = line.join("\0") + "\0";
    let runs = |entry: std::fs::DirEntry| {
        let words = std::fs::read(entry.path().join("cmdline"));
        words.is_ok_and(|words| words == line.as_bytes())
    };
    let begin = mete_daemon::clock::elapsed();
    while !std::fs::read_dir("/proc")
        .expect("there")
        .flatten()
        .any(runs)
    {
        assert!(
            mete_daemon::clock::elapsed() - begin < PATIENCE,
            "nobody runs {line:?}"
        );
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// An interactive shell, as a person has it.
fn a_person_at_a_terminal(cluster: &Cluster, id: &str) {
    let (person, program) = terminal();
    let before = format!("{:?}", tcgetattr(&program).expect("modes"));
    let mut running = at(
        &program,
        task(cluster, &["exec", "-it", id, "--", "/bin/sh"]),
    );
    let mut keys = File::from(person.try_clone().expect("a copy"));
    let mut heard = Heard::of(File::from(person.try_clone().expect("a copy")));
    let mut type_in = |text: &str| keys.write_all(text.as_bytes()).expect("typed");

    type_in("stty size; echo $((6 * 7))$TERM\n");
    heard.until("30 90\r\n");
    heard.until("42xterm");
    resize(&person, 40, 100);
    type_in("sleep 0.2; stty size\n");
    heard.until("40 100\r\n");
    // Ctrl-C ends what runs in the shell, and neither the shell nor us.
    type_in("sleep 4242.31\n");
    begun(&["sleep", "4242.31"]);
    type_in("\x03");
    // What is typed before the shell asks again goes with what was interrupted.
    heard.until("^C\r\n# ");
    type_in("echo still $((2 + 2)); exit 5\n");
    heard.until("still 4");

    let status = running.0.wait().expect("it ends");
    assert_eq!(status.code(), Some(5), "{}", heard.text);
    let after = format!("{:?}", tcgetattr(&program).expect("modes"));
    assert_eq!(before, after, "the terminal is as it was");
}

#[tokio::test(flavor = "multi_thread")]
async fn people_get_into_tasks_and_watch_them() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can build containers");
        return;
    }
    let cluster = Cluster::start(&[]).await;
    let app = json!({
        "id": "/box",
        "cmd": "echo bad >&2; while :; do echo tick; sleep 0.1; done",
        "cpus": 0.1, "mem": 64, "instances": 1,
        "container": { "type": "MESOS" },
    });
    cluster.ok("POST", "/v2/apps", Some(&app)).await;
    cluster.healthy("/box").await;
    let tasks = cluster.tasks("/box").await;
    let id = tasks[0]["id"].as_str().expect("an id").to_owned();

    let ended = |command: &[&str]| {
        let output = exec(&cluster, &id, command);
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code().expect("no signal"), words)
    };
    assert_eq!(ended(&["sh", "-c", "exit 9"]).0, 9);
    assert_eq!(ended(&["sh", "-c", "kill -TERM $$"]).0, 143);
    let (code, words) = ended(&["no-such-program"]);
    assert_eq!(code, 127);
    assert!(words.contains("no-such-program"), "{words}");
    let mut cat = task(&cluster, &["exec", "-i", &id, "--", "cat"]);
    let cat = cat.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut cat = cat.expect("mete runs");
    let mut keys = cat.stdin.take().expect("piped");
    keys.write_all(b"to and fro\n").expect("written");
    drop(keys);
    let output = cat.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "to and fro\n");
    a_person_at_a_terminal(&cluster, &id);
    a_person_attaches_and_leaves(&cluster, &id);

    let output = task(&cluster, &["stats", "--json", &id]).output();
    let stats: Value = serde_json::from_slice(&output.expect("mete runs").stdout).expect("JSON");
    assert_eq!(stats[0]["source"], id.as_str(), "{stats}");
    // The kernel tells the two apart by its clock's ticks: one of them may be none.
    let used = ["cpus_user_time_secs", "cpus_system_time_secs"].map(|name| {
        let seconds = stats[0]["statistics"][name].as_f64();
        seconds.unwrap_or_else(|| panic!("{name}: {stats}"))
    });
    assert!(used.iter().sum::<f64>() > 0.0, "{stats}");
    let mut logs = task(&cluster, &["logs", "-f", &id]);
    let logs = logs.stdout(Stdio::piped()).spawn();
    let mut logs = Running(logs.expect("mete runs"));
    let mut heard = Heard::of(logs.0.stdout.take().expect("piped"));
    heard.until("err | bad\n");
    heard.until("out | tick\n");
    cluster.ok("DELETE", "/v2/apps/box?force=true", None).await;
    let status = eventually("the log ends with its task", async || {
        logs.0.try_wait().expect("it can be waited for")
    })
    .await;
    assert!(status.success(), "{status:?}");
}

/// Numbers without one that is missing or there twice.
fn counted(text: &str, before: &str) -> Vec<u32> {
    let lines = text.lines().filter_map(|line| line.strip_prefix(before));
    let numbers: Vec<u32> = lines.map(|line| line.parse().expect("a number")).collect();
    let first = numbers.first().copied().expect("some");
    let whole: Vec<u32> = (first..).take(numbers.len()).collect();
    assert_eq!(numbers, whole);
    numbers
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_followed_goes_on_when_the_agent_is_killed() {
    let cluster = Cluster::start(&[]).await;
    let app = json!({
        "id": "/counts",
        "cmd": "i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done",
        "cpus": 0.1, "mem": 64, "instances": 1,
    });
    cluster.ok("POST", "/v2/apps", Some(&app)).await;
    cluster.healthy("/counts").await;
    let tasks = cluster.tasks("/counts").await;
    let id = tasks[0]["id"].as_str().expect("an id").to_owned();
    let follow = |arguments: &[&str]| {
        let mut command = task(&cluster, arguments);
        let child = command.arg(&id).stdout(Stdio::piped()).spawn();
        let mut running = Running(child.expect("mete runs"));
        let heard = Heard::of(running.0.stdout.take().expect("piped"));
        (running, heard)
    };
    let (mut logs, mut log) = follow(&["logs", "-f"]);
    let (mut attach, mut news) = follow(&["attach"]);
    log.until("out | 20\n");
    news.until("\n");

    for _ in 0..2 {
        for agent in ["agent-1", "agent-2", "agent-3"] {
            cluster.kill(agent).await;
        }
        for (heard, before) in [(&mut log, "out | "), (&mut news, "")] {
            let complete = heard.text.rfind('\n').map_or("", |at| &heard.text[..at]);
            let last = counted(complete, before).last().copied().expect("some");
            heard.until(&format!("\n{before}{}\n", last + 100));
        }
    }
    cluster
        .ok("DELETE", "/v2/apps/counts?force=true", None)
        .await;

    for (running, heard) in [(&mut logs, &mut log), (&mut attach, &mut news)] {
        let status = eventually("it ends with its task", async || {
            running.0.try_wait().expect("it can be waited for")
        })
        .await;
        assert!(status.success(), "{status:?}");
        while let Ok(part) = heard.parts.recv_timeout(PATIENCE) {
            heard.text.push_str(&String::from_utf8_lossy(&part));
        }
    }
    assert_eq!(counted(&log.text, "out | ")[0], 1);
    let until = |text: &str, before| counted(text, before).last().copied();
    assert_eq!(until(&log.text, "out | "), until(&news.text, ""));
}
