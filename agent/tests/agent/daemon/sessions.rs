//! Commands inside running tasks, and what tasks print, as people's tools ask for them: over gRPC.

use std::fs;
use std::time::Duration;

use bytes::Bytes;
use mete_agent::cgroups::Hierarchies;
use mete_model::TaskState;
use mete_model::container::Network;
use mete_proto::mete::v1 as wire;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};
use wire::exec_ended::How;
use wire::exec_request::Message as Ask;
use wire::exec_response::Message as Answer;
use wire::tasks_client::TasksClient;

use super::contained::contained;
use super::master::{Master, task};
use super::nested::Caller;
use super::world::{Daemon, Scene, Work, json as get_json};
use crate::containers::possible;
use crate::support::{PATIENCE, soon, until};

pub(super) async fn client(port: i32) -> TasksClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}")).unwrap();
    TasksClient::new(soon(endpoint.connect()).await.unwrap())
}

/// A command under way.
pub(super) struct Exec {
    asks: mpsc::Sender<wire::ExecRequest>,
    answers: Streaming<wire::ExecResponse>,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

pub(super) fn start(task: &str, command: &[&str]) -> wire::ExecStart {
    wire::ExecStart {
        task_id: task.to_owned(),
        command: command.iter().map(|&word| word.to_owned()).collect(),
        ..wire::ExecStart::default()
    }
}

pub(super) const fn size(rows: u32, columns: u32) -> wire::TerminalSize {
    wire::TerminalSize { rows, columns }
}

/// What is said to the agent, and the first of it.
async fn said_first(
    message: Ask,
) -> (
    mpsc::Sender<wire::ExecRequest>,
    mpsc::Receiver<wire::ExecRequest>,
) {
    let (asks, waiting) = mpsc::channel(10);
    let message = Some(message);
    asks.send(wire::ExecRequest { message }).await.unwrap();
    (asks, waiting)
}

impl Exec {
    pub(super) async fn begin(port: i32, start: wire::ExecStart) -> Result<Self, Status> {
        let (asks, waiting) = said_first(Ask::Start(start)).await;
        let mut client = client(port).await;
        let answer = soon(client.exec(ReceiverStream::new(waiting))).await?;
        Ok(Self::of(asks, answer.into_inner()))
    }

    /// At the terminal of a task.
    pub(super) async fn attach(port: i32, task: &str) -> Result<Self, Status> {
        let start = wire::AttachStart {
            task_id: task.to_owned(),
            framework_id: None,
        };
        let (asks, waiting) = said_first(Ask::Attach(start)).await;
        let mut client = client(port).await;
        let answer = soon(client.attach(ReceiverStream::new(waiting))).await?;
        Ok(Self::of(asks, answer.into_inner()))
    }

    const fn of(
        asks: mpsc::Sender<wire::ExecRequest>,
        answers: Streaming<wire::ExecResponse>,
    ) -> Self {
        Self {
            asks,
            answers,
            stdout: String::new(),
            stderr: String::new(),
        }
    }

    /// Says no more; what is answered until the answers end, and whether that was with a word on the task's end.
    pub(super) async fn let_go(self) -> (String, bool) {
        let Self {
            asks,
            mut answers,
            mut stdout,
            ..
        } = self;
        drop(asks);
        let mut has_ended = false;
        while let Some(answer) = soon(answers.message()).await.unwrap() {
            match answer.message.unwrap() {
                Answer::Stdout(bytes) => stdout.push_str(&String::from_utf8_lossy(&bytes)),
                Answer::Ended(_) => has_ended = true,
                Answer::Started(_) | Answer::Stderr(_) => {}
            }
        }
        (stdout, has_ended)
    }

    /// The status with which the agent ends the call.
    pub(super) async fn refused(&mut self) -> Status {
        loop {
            match soon(self.answers.message()).await {
                Ok(answer) => assert!(answer.is_some(), "it ended without a word"),
                Err(status) => return status,
            }
        }
    }

    pub(super) async fn say(&self, message: Ask) {
        let message = Some(message);
        // A command that has ended already hears nothing any more; how it ended is seen by what comes back.
        let _ = self.asks.send(wire::ExecRequest { message }).await;
    }

    pub(super) async fn type_in(&self, text: &str) {
        self.say(Ask::Stdin(Bytes::copy_from_slice(text.as_bytes())))
            .await;
    }

    /// Has so much typed while all that comes back is heard.
    pub(super) async fn type_through(&mut self, text: &str) -> How {
        let asks = self.asks.clone();
        let typing = async {
            let parts = text.as_bytes().chunks(16 << 10);
            let parts = parts.map(|part| Ask::Stdin(Bytes::copy_from_slice(part)));
            for message in parts.chain([Ask::StdinEnd(wire::StdinEnd {})]) {
                let message = Some(message);
                asks.send(wire::ExecRequest { message }).await.unwrap();
            }
        };
        tokio::join!(typing, self.ended()).1
    }

    /// The next answer; how it ended, when it has.
    async fn hear(&mut self) -> Option<How> {
        let answer = match timeout(PATIENCE, self.answers.message()).await {
            Ok(answer) => answer.unwrap().expect("it ends with a word"),
            Err(_) => panic!("nothing is heard after {:?} {:?}", self.stdout, self.stderr),
        };
        match answer.message.unwrap() {
            Answer::Started(_) => None,
            Answer::Stdout(bytes) => {
                self.stdout.push_str(&String::from_utf8_lossy(&bytes));
                None
            }
            Answer::Stderr(bytes) => {
                self.stderr.push_str(&String::from_utf8_lossy(&bytes));
                None
            }
            Answer::Ended(ended) => ended.how,
        }
    }

    /// Until standard output holds a text.
    pub(super) async fn until_said(&mut self, text: &str) {
        while !self.stdout.contains(text) {
            let ended = self.hear().await;
            assert_eq!(ended, None, "{:?} {:?}", self.stdout, self.stderr);
        }
    }

    pub(super) async fn ended(&mut self) -> How {
        loop {
            if let Some(how) = self.hear().await {
                return how;
            }
        }
    }
}

#[tokio::test]
async fn a_command_runs_inside_a_task_with_its_place_and_environment() {
    let scene = Scene::sleeping().await;
    let port = scene.port;
    let line = "pwd; echo $MESOS_TASK_ID $COLOUR; cat; echo bad >&2; exit 7";
    let mut wanted = start("t", &["sh", "-c", line]);
    wanted.environment.insert("COLOUR".into(), "red".into());

    let mut exec = Exec::begin(port, wanted).await.unwrap();
    exec.type_in("typed\n").await;
    exec.say(Ask::StdinEnd(wire::StdinEnd {})).await;
    let how = exec.ended().await;

    let place = fs::canonicalize(scene.work.sandbox("t")).unwrap();
    let expected = format!("{}\nt red\ntyped\n", place.display());
    assert_eq!((exec.stdout, exec.stderr), (expected, "bad\n".to_owned()));
    assert_eq!(how, How::ExitCode(7));
    let mut killed = Exec::begin(port, start("t", &["sleep", "1000"]))
        .await
        .unwrap();
    killed.say(Ask::Signal(15)).await;
    assert_eq!(killed.ended().await, How::Signal(15));
}

#[tokio::test]
async fn a_terminal_has_a_size_and_passes_keys_on_as_signals() {
    let scene = Scene::sleeping().await;
    let port = scene.port;
    let line = "trap 'stty size' WINCH; trap 'echo int; exit 3' INT; tty; stty size; while :; do sleep 0.05; done";
    let mut wanted = start("t", &["sh", "-c", line]);
    wanted.terminal = Some(size(33, 77));

    let mut exec = Exec::begin(port, wanted).await.unwrap();
    exec.until_said("33 77\r\n").await;
    for (rows, columns) in [(44, 88), (0, 0)] {
        exec.say(Ask::Resize(size(rows, columns))).await;
        exec.until_said(&format!("\n{rows} {columns}\r\n")).await;
    }
    exec.type_in("\x03").await;
    let how = exec.ended().await;

    assert!(exec.stdout.contains("/dev/pts/"), "{}", exec.stdout);
    assert!(exec.stdout.ends_with("int\r\n"), "{}", exec.stdout);
    assert_eq!((how, exec.stderr), (How::ExitCode(3), String::new()));
}

#[tokio::test]
async fn a_command_in_a_container_is_the_tasks_user_among_its_processes() {
    if !possible() {
        return;
    }
    let mut master = Master::start().await;
    let work = Work::new();
    let _agent = work.start(master.address, &[]);
    let (mut link, register) = master.admit().await;
    let port = register.agent_info.port();
    let spec = contained("c", "sleep 1000", |container| {
        container.user = Some("web".into());
        container.network = Network::None;
    });
    link.run(&spec).await;
    link.until(TaskState::Running).await;
    let line = "id -u; pwd; set -- /proc/[0-9]*; echo $#; busybox grep -E 'Seccomp:|NoNewPrivs|CapEff' /proc/self/status; busybox tty; echo > /dev/stdout";

    for terminal in [None, Some(size(24, 80))] {
        let mut wanted = start("c", &["busybox", "sh", "-c", line]);
        wanted.terminal = terminal;
        let mut exec = Exec::begin(port, wanted).await.unwrap();
        exec.say(Ask::StdinEnd(wire::StdinEnd {})).await;
        let how = exec.ended().await;

        let said = exec.stdout.replace('\r', "");
        let tty = terminal.map_or("not a tty", |_| "/dev/pts/0");
        // The first process, the task, and the shell.
        let expected = format!(
            "4444\n/mnt/mesos/sandbox\n3\nCapEff:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n{tty}\n\n"
        );
        assert_eq!((said, how), (expected, How::ExitCode(0)), "{}", exec.stderr);
    }
    let mut exec = Exec::begin(port, start("c", &["nonsense"])).await.unwrap();
    let How::NotStarted(why) = exec.ended().await else {
        panic!("it cannot run");
    };
    assert_eq!(why.errno, Some(2), "{why:?}");
    assert!(why.reason.contains("nonsense"), "{why:?}");
}

/// Processes of this machine with a word in their command line.
pub(super) fn with_word(word: &str) -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let has = |line: &Vec<u8>| String::from_utf8_lossy(line).contains(word);
    lines.filter(has).count()
}

/// Whoever starts a command and goes away leaves nothing in the task.
async fn leaves_nothing(word: &str, contained_: bool, options: &[&str]) {
    let mut master = Master::start().await;
    let work = Work::new();
    let _agent = work.start(master.address, options);
    let (mut link, register) = master.admit().await;
    let port = register.agent_info.port();
    let spec = match contained_ {
        true => contained("t", "sleep 1000", |_| {}),
        false => task("t", "exec sleep 1000"),
    };
    link.run(&spec).await;
    link.until(TaskState::Running).await;
    let shell = if contained_ { "busybox" } else { "env" };
    let line = format!(
        "trap '' HUP; ({shell} setsid sleep {word} &); {shell} setsid sleep {word} & echo up; {shell} sleep {word}"
    );
    for terminal in [None, Some(size(24, 80))] {
        let mut wanted = start("t", &["/bin/sh", "-c", &line]);
        wanted.terminal = terminal;
        let mut exec = Exec::begin(port, wanted).await.unwrap();
        exec.until_said("up").await;
        // Some shells become the last of their commands.
        until(|| with_word(word) >= 3).await;

        drop(exec);

        until(|| with_word(word) == 0).await;
    }
    link.kill("t").await;
    link.until(TaskState::Killed).await;
}

#[tokio::test]
async fn a_caller_who_goes_away_leaves_nothing_in_the_task() {
    leaves_nothing("4242.17", false, &[]).await;
}

#[tokio::test]
async fn a_caller_who_goes_away_leaves_nothing_without_control_groups() {
    leaves_nothing("4242.18", false, &["--isolation=none"]).await;
}

#[tokio::test]
async fn a_caller_who_goes_away_leaves_nothing_in_a_container() {
    if possible() {
        leaves_nothing("4242.19", true, &[]).await;
    }
}

#[tokio::test]
async fn a_command_ends_with_its_task_and_its_agent() {
    let mut master = Master::start().await;
    let work = Work::new();
    let agent = work.start(master.address, &[]);
    let (mut link, register) = master.admit().await;
    let port = register.agent_info.port();
    // When a task ends, what else runs in it is killed at once. `asked` does not end when it is asked to, so that what
    // its command hears is the question.
    for (name, line) in [
        ("asked", "trap '' TERM; echo up; exec sleep 1000"),
        ("ends", "while [ ! -e go ]; do sleep 0.02; done"),
        ("stays", "exec sleep 1000"),
    ] {
        link.run(&task(name, line)).await;
        link.until(TaskState::Running).await;
    }
    work.said("asked", "stdout").await;
    let mut commands = Vec::new();
    for name in ["asked", "ends", "stays"] {
        let command = start(name, &["sleep", "4242.20"]);
        commands.push(Exec::begin(port, command).await.unwrap());
    }
    until(|| with_word("4242.20") == 3).await;

    link.kill("asked").await;
    assert_eq!(commands[0].ended().await, How::Signal(15));
    fs::write(work.sandbox("ends").join("go"), "").unwrap();
    assert_eq!(commands[1].ended().await, How::Signal(9));
    agent.kill().await;

    until(|| with_word("4242.20") == 0).await;
    drop(commands);
}

/// The shims of sessions in a work directory.
fn shims_of_sessions(work: &Work) -> Vec<i32> {
    let place = work.path.canonicalize().unwrap();
    let place = place.to_string_lossy().into_owned();
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let is_shim = |pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        line.contains("--session") && line.contains(&place)
    };
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter(is_shim).collect()
}

#[tokio::test]
async fn a_nested_container_whose_shim_dies_with_the_agent_is_ended_by_the_next_one() {
    let host = Hierarchies::of_this_host();
    if host.v2.is_none() && !host.v1.contains_key("freezer") {
        eprintln!("skipped: no control groups");
        return;
    }
    let mut master = Master::start().await;
    let work = Work::new();
    let agent = work.start(master.address, &[]);
    let (mut link, register) = master.admit().await;
    link.run(&task("t", "exec sleep 1000")).await;
    link.until(TaskState::Running).await;
    let port = register.agent_info.port();
    let (_, containers) = get_json(port, "/containers", &[]).await;
    let call = json!({ "type": "LAUNCH_NESTED_CONTAINER", "launch_nested_container": {
        "container_id": { "value": "one", "parent": { "value": containers[0]["container_id"] } },
        "command": { "value": "setsid sleep 4242.21 & exec sleep 4242.21" },
    } });
    let launched = Caller::of(port).call(&call).await;
    assert_eq!(launched.status().as_u16(), 200);
    until(|| with_word("4242.21") >= 2).await;

    for shim in shims_of_sessions(&work) {
        let pid = Pid::from_raw(shim).unwrap();
        kill_process(pid, Signal::KILL).unwrap();
    }
    agent.kill().await;
    assert!(with_word("4242.21") > 0, "that it is left is the question");

    let _agent = work.start(master.address, &[]);
    let (_link, again) = master.admit().await;
    assert_eq!(with_word("4242.21"), 0);
    assert_eq!(again.tasks.len(), 1, "the task runs on");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_by_name() {
    let scene = Scene::sleeping().await;
    let port = scene.port;
    let mut odd = start("t", &["true"]);
    odd.terminal = Some(size(70_000, 80));
    let mut other = start("t", &["true"]);
    other.framework_id = Some("f-9".into());

    let refused = [
        (start("ghost", &["true"]), Code::NotFound, "ghost"),
        (other, Code::NotFound, "\"t\""),
        (start("t", &[]), Code::InvalidArgument, "no command"),
        (odd, Code::InvalidArgument, "70000 rows"),
    ];
    for (wanted, code, words) in refused {
        let Err(status) = Exec::begin(port, wanted).await else {
            panic!("{words}: it was let in");
        };
        assert_eq!(status.code(), code, "{status:?}");
        assert!(status.message().contains(words), "{status:?}");
    }
}

#[tokio::test]
async fn what_makes_no_sense_later_ends_the_session_with_a_word() {
    let scene = Scene::sleeping().await;
    let cases = [
        (
            Ask::Stdin(vec![b'x'; 300_000].into()),
            Code::OutOfRange,
            "too large",
        ),
        (Ask::Signal(999), Code::InvalidArgument, "signal: 999"),
        (
            Ask::Resize(size(24, 70_000)),
            Code::InvalidArgument,
            "70000 columns",
        ),
        (
            Ask::Start(start("t", &["true"])),
            Code::InvalidArgument,
            "runs already",
        ),
    ];
    for (odd, code, words) in cases {
        let mut exec = Exec::begin(scene.port, start("t", &["cat"])).await.unwrap();
        assert_eq!(exec.hear().await, None, "it has started");

        exec.say(odd).await;

        let status = soon(exec.answers.message()).await.unwrap_err();
        assert_eq!(status.code(), code, "{status:?}");
        assert!(status.message().contains(words), "{status:?}");
    }
}

#[tokio::test]
async fn what_a_task_prints_is_followed_over_rotations_to_its_end() {
    let mut master = Master::start().await;
    let work = Work::new();
    // All that it prints is kept, so that whoever follows slowly misses nothing either.
    let _agent = work.start(master.address, &["--output-bytes=4096", "--output-files=8"]);
    let (mut link, register) = master.admit().await;
    let port = register.agent_info.port();
    let line = "i=0; while test $i -lt 2000; do echo line $i; i=$((i+1)); test $((i % 100)) = 0 && sleep 0.02; done; echo bad >&2";
    link.run(&task("t", line)).await;
    link.until(TaskState::Running).await;
    let request = wire::FollowRequest {
        task_id: "t".into(),
        ..wire::FollowRequest::default()
    };

    let mut client = client(port).await;
    let mut pieces = soon(client.follow(request)).await.unwrap().into_inner();
    let (mut stdout, mut stderr) = (String::new(), String::new());
    while let Some(piece) = soon(pieces.message()).await.unwrap() {
        match piece.message.unwrap() {
            wire::follow_response::Message::Stdout(bytes) => {
                stdout.push_str(&String::from_utf8_lossy(&bytes));
            }
            wire::follow_response::Message::Stderr(bytes) => {
                stderr.push_str(&String::from_utf8_lossy(&bytes));
            }
            wire::follow_response::Message::Gap(gap) => panic!("{gap:?}"),
        }
    }

    let expected: String = (0..2000).map(|number| format!("line {number}\n")).collect();
    assert_eq!(stdout, expected);
    assert_eq!(stderr, "bad\n");
    let ended = timeout(Duration::from_secs(20), link.until(TaskState::Finished)).await;
    ended.expect("it had ended");
}

/// All that is told of both streams until the end or the end of the connection, and how far.
#[derive(Default)]
struct Followed {
    stdout: String,
    stderr: String,
    until: wire::FollowPoint,
}

impl Followed {
    /// Whether all was told.
    async fn hear(
        &mut self,
        pieces: &mut Streaming<wire::FollowResponse>,
        enough: impl Fn(&str) -> bool,
    ) -> bool {
        while !enough(&self.stdout) {
            let piece = match soon(pieces.message()).await {
                Ok(Some(piece)) => piece,
                Ok(None) => return true,
                Err(_) => return false,
            };
            let until = piece.until.expect("points are asked for");
            let told = &mut self.until;
            told.container_id = until.container_id.or_else(|| told.container_id.take());
            told.stdout = until.stdout.or_else(|| told.stdout.take());
            told.stderr = until.stderr.or_else(|| told.stderr.take());
            match piece.message {
                Some(wire::follow_response::Message::Stdout(bytes)) => {
                    self.stdout.push_str(&String::from_utf8_lossy(&bytes));
                }
                Some(wire::follow_response::Message::Stderr(bytes)) => {
                    self.stderr.push_str(&String::from_utf8_lossy(&bytes));
                }
                Some(wire::follow_response::Message::Gap(gap)) => panic!("{gap:?}"),
                None => {}
            }
        }
        false
    }
}

#[tokio::test]
async fn what_a_task_prints_goes_on_where_it_was_when_its_agent_is_killed() {
    goes_on_through_the_next_agent(false).await;
}

#[tokio::test]
async fn what_a_task_prints_goes_on_where_it_was_when_its_agent_ends() {
    goes_on_through_the_next_agent(true).await;
}

async fn goes_on_through_the_next_agent(ends_by_itself: bool) {
    let mut master = Master::start().await;
    let work = Work::new();
    let options = ["--output-bytes=4096", "--output-files=8"];
    let mut begun = work.options(master.address, &options);
    begun.stop_tasks_on_exit = !ends_by_itself;
    let agent = Daemon::start(begun);
    let (mut link, register) = master.admit().await;
    // The second half is printed once the first agent is dead: over two files and more, and part of it before the next begins.
    let gate = work.beside().join("gate");
    let line = format!(
        "echo bad >&2; i=0; while test $i -lt 2000; do test $i = 1000 && until test -e {}; do sleep 0.01; done; \
         echo line $i; i=$((i+1)); done; echo end >&2",
        gate.display()
    );
    link.run(&task("t", &line)).await;
    link.until(TaskState::Running).await;
    let mut request = wire::FollowRequest {
        task_id: "t".into(),
        points: Some(true),
        ..wire::FollowRequest::default()
    };
    let mut told = Followed::default();
    let answer = client(register.agent_info.port())
        .await
        .follow(request.clone())
        .await;
    let mut pieces = answer.unwrap().into_inner();
    let half = told
        .hear(&mut pieces, |text| text.contains("line 999\n"))
        .await;
    assert!(!half, "the task waits");

    match ends_by_itself {
        true => agent.stop().await.unwrap(),
        false => agent.kill().await,
    }
    assert!(!told.hear(&mut pieces, |_| false).await, "it is cut off");
    fs::write(&gate, "").unwrap();
    let _agent = work.start(master.address, &options);
    let (mut link, register) = master.admit().await;
    let mut client = client(register.agent_info.port()).await;
    request.from = Some(told.until.clone());
    let mut pieces = client.follow(request.clone()).await.unwrap().into_inner();
    assert!(told.hear(&mut pieces, |_| false).await, "to the end");

    let expected: String = (0..2000).map(|number| format!("line {number}\n")).collect();
    assert_eq!(told.stdout, expected);
    assert_eq!(told.stderr, "bad\nend\n");
    link.until(TaskState::Finished).await;
    request.from.as_mut().unwrap().container_id = Some("another".into());
    let refused = client.follow(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound, "{refused:?}");
}
