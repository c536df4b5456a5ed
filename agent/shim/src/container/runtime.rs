//! A container that an OCI runtime builds, by the same plan as the shim's own code.
//!
//! ```text
//! first process ─▶ groups ─▶ root and sources put together, bundle written ─▶ runtime run ─▶ moves in ─▶ reaps, tells
//!                            (mounts that nobody else sees)                       └─▶ task
//! ```
//! The first process is the copy of the shim that it is in any container; the runtime runs below it, in its groups and in
//! its namespace of processes, and leaves the task to it. So an end, a signal and a lack of memory are seen as always, and
//! when this process ends, so does whatever runtime and task have left.
//!
//! Once the runtime has done its work, this process moves into what it has built. That is where checks and sessions
//! look for a container; and the mounts that hold the bundle and the runtime's own state go with the last process that sees
//! them. There is nothing to be deleted, and nothing that a runtime would be asked later.

mod bundle; // config.json
mod stage; // what stands ready before a runtime begins
mod targets; // places inside, before there is an inside

use std::ffi::{CString, c_int};
use std::os::fd::OwnedFd;

use mete_agent_core::task_dir::{Container, Launch, Runtime, RuntimeKind, StartStep};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitOptions, pidfd_open, waitpid};
use serde_json::Value;

use super::{NEVER_RAN, first, join};
use crate::directory::read_text;
use crate::report::{self, Fault};
use crate::system::{self, CStringArray};

/// What a runtime calls the container. Its state is seen by this container's first process alone, so all have one name.
const NAME: &str = "task";

/// Its environment: nothing of the agent's.
const SEARCH_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Numbers of errors that have words: those of every architecture end before it.
const ERRORS: std::ops::Range<i32> = 1..134;

/// The life of a container's first process, in its groups; returns its exit code.
pub(super) fn live(
    launch: &Launch,
    container: &Container,
    runtime: &Runtime,
    report: &OwnedFd,
) -> c_int {
    let begun = stage::set(launch, container, runtime).and_then(|()| begin(runtime));
    match begun {
        Ok(task) => {
            system::close_all_but([report]);
            first::watch(task, report)
        }
        Err(fault) => {
            report::failed(report, fault.step, fault.errno, &fault.what);
            NEVER_RAN
        }
    }
}

/// Has the runtime start the task, and moves to where it is.
fn begin(runtime: &Runtime) -> Result<Pid, Fault> {
    run(runtime)?;
    let pid = read_text(&in_room(runtime, "pid")).map_err(Fault::of("the runtime's pid file"))?;
    let pid = pid.trim().parse().ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| Fault::of("the runtime's pid file")(Errno::INVAL))?;
    // Nobody but this process waits for it, so the number is its own.
    let task = pidfd_open(pid, PidfdFlags::empty());
    let task = task.map_err(Fault::of("the task's process"))?;
    match join::enter(&task, join::ALL - join::PROCESSES) {
        // It may have ended already; then nobody will look for it.
        Ok(()) | Err(Errno::SRCH) => Ok(pid),
        Err(errno) => Err(Fault::of("joining the container")(errno)),
    }
}

fn in_room(runtime: &Runtime, name: &str) -> String {
    format!("{}/{name}", runtime.room)
}

/// Runs the runtime until it has started the task and ended.
fn run(runtime: &Runtime) -> Result<(), Fault> {
    let texts = |words: Vec<String>| -> Result<Vec<CString>, Fault> {
        let words = words.into_iter().map(CString::new);
        let words = words.collect::<Result<_, _>>();
        words.map_err(|_| Fault::of(runtime.program.as_str())(Errno::INVAL))
    };
    let words = texts(command(runtime))?;
    let environment = texts(vec![SEARCH_PATH.to_owned()])?;
    let (argv, variables) = (CStringArray::new(&words), CStringArray::new(&environment));
    let child = || {
        system::default_signals();
        if let Some(program) = words.first() {
            system::exec(program, &argv, &variables);
        }
        NEVER_RAN
    };
    let child = system::fork(None, 0, child).map_err(Fault::of(runtime.program.as_str()))?;
    let ended = waitpid(Some(child), WaitOptions::empty());
    let (_, status) = ended
        .ok()
        .flatten()
        .ok_or_else(|| silent(runtime, "is gone"))?;
    if status.exit_status() == Some(0) {
        return Ok(());
    }
    let log = read_text(&in_room(runtime, "log")).unwrap_or_default();
    // Where there is one group for everything, runc that fails kills all in it, itself too: what it has said comes first.
    Err(match (complaint(&log), status.terminating_signal()) {
        (Some(said), _) => in_words(runtime, &said),
        (None, Some(signal)) => silent(runtime, &format!("was killed by signal {signal}")),
        (None, None) => {
            let code = status.exit_status().unwrap_or_default();
            silent(
                runtime,
                &format!("has ended with code {code} and said nothing"),
            )
        }
    })
}

fn command(runtime: &Runtime) -> Vec<String> {
    let room = |name: &str| in_room(runtime, name);
    let words = [
        &runtime.program,
        "--root",
        &room("state"),
        "--log",
        &room("log"),
    ];
    let groups: &[&str] = match runtime.kind {
        // They are entered already.
        RuntimeKind::Crun => &["--cgroup-manager=disabled"],
        // It cannot be told so. It enters the one that it sees once more.
        RuntimeKind::Runc => &[],
    };
    let task = ["--bundle", &runtime.room, "--pid-file", &room("pid"), NAME];
    let words = words.iter().chain(&["--log-format", "json"]);
    let words = words.chain(groups).chain(&["run", "--detach"]).chain(&task);
    words.map(|&word| word.to_owned()).collect()
}

fn silent(runtime: &Runtime, how: &str) -> Fault {
    Fault::of(format!("{} {how}", runtime.program))(Errno::CANCELED)
}

/// The last error in a runtime's log.
fn complaint(log: &str) -> Option<String> {
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut errors = lines.filter(|line| line["level"] == "error");
    let last = errors.next_back()?;
    last["msg"].as_str().map(|said| said.trim().to_owned())
}

/// What a runtime says, which mostly ends with the words of an error of the system.
fn in_words(runtime: &Runtime, said: &str) -> Fault {
    let ending = ERRORS.map(Errno::from_raw_os_error).find_map(|errno| {
        let words = crate::process::text_of(errno);
        let (words, _) = words.split_once(" (os error")?;
        let at = said.len().checked_sub(words.len())?;
        let (start, end) = said.split_at_checked(at)?;
        let what = start
            .strip_suffix(": ")
            .filter(|_| end.eq_ignore_ascii_case(words))?;
        Some((errno, what))
    });
    let (errno, what) = ending.unwrap_or((Errno::CANCELED, said));
    if said.contains("executable file") {
        // What it is about is known.
        return Fault {
            step: StartStep::Exec,
            errno: match errno {
                Errno::CANCELED => Errno::NOENT,
                said => said,
            },
            what: String::new(),
        };
    }
    Fault::of(format!("{}: {what}", runtime.kind.as_str()))(errno)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crun() -> Runtime {
        Runtime {
            kind: RuntimeKind::Crun,
            program: "/usr/bin/crun".into(),
            room: "/room".into(),
        }
    }

    #[test]
    fn the_last_error_of_a_log_is_told_as_that_of_the_system() {
        let log = r#"{"msg":"first: Invalid argument","level":"error"}
not json
{"msg":"mount `x` to `y`: Permission denied","level":"error"}
{"msg":"odd","level":"warning"}"#;

        let said = complaint(log).expect("an error");
        let fault = in_words(&crun(), &said);

        assert_eq!(fault.what, "crun: mount `x` to `y`");
        assert_eq!(
            (fault.step, fault.errno),
            (StartStep::Container, Errno::ACCESS)
        );
        assert_eq!(complaint("nothing"), None);
    }

    #[test]
    fn a_program_that_is_not_there_is_told_as_without_a_runtime() {
        let of_crun = "executable file `nope` not found in $PATH: No such file or directory";
        let of_runc = "runc run failed: exec: \"nope\": executable file not found in $PATH";

        for said in [of_crun, of_runc] {
            let fault = in_words(&crun(), said);
            assert_eq!((fault.step, fault.errno), (StartStep::Exec, Errno::NOENT));
            assert_eq!(fault.what, "");
        }
    }
}
