//! One small process per task: starts it, keeps its output, and writes down how it ended.
//!
//! ```text
//! launch.json → detach → fork → pid → exec → watch: output, children → sweep → exit.json
//!                          └─ into a container, if there is one: see `container`
//! ```
//!
//! A shim is one thread without a runtime. It lives in a session of its own and holds nothing of
//! the agent's, so the agent's end, by `kill -9` too, is not noticed here. Signals to the shim are
//! not passed on: the agent signals the task, and a shim ends only when its task has. The task
//! directory ([`mete_agent_core::task_dir`]) is all that the two share.
//!
//! Start with [`main`], then `process` (into the task), `supervise` (while it runs, and after).

mod check; // joins a running task to check its health
mod container; // a container around the program, if the task wants one
mod directory; // launch.json in, pid and exit.json out
mod fork_server; // shims that are copies of one
mod image; // what exec needs
mod network; // a network of its own, mounted on a file
mod output; // stdout and stderr into files, rotated
mod probe; // whether containers can be built here
mod process; // from launch.json to a running program
mod report; // what the task's process tells its shim
mod session; // a command that people run inside a running task
mod supervise; // children reaped, output kept, leftovers killed
mod system; // the system calls that have no safe wrapper

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use mete_agent_core::task_dir::{End, Exit, Launch, StartStep};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit, setrlimit};

use directory::Directory;
use probe::Kind;
use process::NotStarted;

/// The task ended, or could not be started, and exit.json says so.
const DONE: u8 = 0;
/// The shim could not do its work; standard error says why.
const FAILED: u8 = 1;
/// The arguments make no sense.
const USAGE: u8 = 2;

/// Runs a shim with the arguments that follow `mete shim`: the path of a task directory, or
/// `--check DIRECTORY SECONDS PROGRAM ARGV…` to run a health check inside a running task, `--session DIRECTORY` to run
/// what the agent asks for on standard input inside one, `--probe DIRECTORY [FIRST:COUNT]` or
/// `--probe-copy DIRECTORY [FIRST:COUNT]` to see whether containers can be built here, of layers or of a plain directory
/// and with users of their own, `--network FILE` to mount a new network on a file, or `--fork-server ROOM` to make shims for the agent that asks on standard input (see `fork_server`; the length
/// of ROOM is what `ps` has room for).
///
/// `--descriptors SOFT` before any of these is the soft limit of open files for it and all that it runs.
///
/// Call it before any thread is started. It closes every file descriptor above 2. Standard output
/// gets one line, `running`, when the task's program runs, and end of file when it never will; standard error gets why.
/// After that line it lets go of both.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let words = match arguments.as_slice() {
        [flag, soft, rest @ ..] if flag == "--descriptors" => {
            allow_descriptors(soft);
            rest
        }
        all => all,
    };
    let code = match words {
        [flag, directory, seconds, program, argv @ ..] if flag == "--check" => {
            check::run(Path::new(directory), seconds, program, argv)
        }
        [flag, directory] if flag == "--session" => session::run(Path::new(directory)),
        [flag, directory, users @ ..] if flag == "--probe" => {
            probe::run(Path::new(directory), Kind::Layers, users)
        }
        [flag, directory, users @ ..] if flag == "--probe-copy" => {
            probe::run(Path::new(directory), Kind::Directory, users)
        }
        [flag, file] if flag == "--network" => network::run(Path::new(file)),
        [flag, _room] if flag == "--fork-server" => fork_server::run(),
        [directory] if !directory.as_encoded_bytes().starts_with(b"-") => run(Path::new(directory)),
        _ => {
            eprintln!(
                "usage: shim [--descriptors SOFT] TASK_DIRECTORY | shim --check TASK_DIRECTORY SECONDS PROGRAM ARGV... | shim --session TASK_DIRECTORY | shim --probe DIRECTORY [FIRST:COUNT] | shim --probe-copy DIRECTORY [FIRST:COUNT] | shim --network FILE | shim --fork-server ROOM"
            );
            USAGE
        }
    };
    ExitCode::from(code)
}

/// What the agent takes for itself is not for tasks: programs that wait with `select` break with more than 1,024. The hard limit
/// stays, so that they may take more; images and tasks say their own later.
fn allow_descriptors(soft: &OsStr) {
    let Some(soft) = soft.to_str().and_then(|text| text.parse().ok()) else {
        return;
    };
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = Some(limit.maximum.map_or(soft, |hard| hard.min(soft)));
    // Less than the hard limit is never refused.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// The life of one shim.
fn run(path: &Path) -> u8 {
    detach();
    let place = path.to_owned();
    std::panic::set_hook(Box::new(move |panic| complain(&place, panic)));
    let outcome = Directory::open(path).and_then(|directory| supervise_task(&directory));
    match outcome {
        Ok(()) => DONE,
        Err(error) => {
            complain(path, &error);
            FAILED
        }
    }
}

/// Leaves everything of the agent behind. None of it can fail in a way that matters: a shim that
/// leads its session already, because a person started it, goes on.
fn detach() {
    system::close_from(3);
    system::hold_signals();
    let _ = rustix::process::setsid();
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    let _ = rustix::thread::set_name(c"mete-shim");
    let _ = rustix::process::chdir("/");
}

/// From launch.json to exit.json. An error means that there is no exit.json.
fn supervise_task(directory: &Directory) -> Result<(), directory::Error> {
    let slot = directory.reserve_exit()?;
    let started = match read_launch(directory) {
        Ok(launch) => process::start(&launch, directory)?.map(|task| (launch, task)),
        Err(refusal) => Err(refusal),
    };
    let exit = match started {
        Ok((launch, task)) => {
            announce_running();
            supervise::to_the_end(&launch, task)
        }
        Err(NotStarted {
            step,
            errno,
            reason,
        }) => {
            let errno = errno.map(Errno::raw_os_error);
            Exit::new(
                End::NotStarted {
                    step,
                    errno,
                    reason,
                },
                system::wall_clock_us(),
            )
        }
    };
    slot.write(&exit)
}

fn read_launch(directory: &Directory) -> Result<Launch, NotStarted> {
    directory.read().map_err(|error| NotStarted {
        step: StartStep::Read,
        errno: None,
        reason: error.to_string(),
    })
}

/// Tells the agent, if it still listens, and lets go of its pipe.
fn announce_running() {
    let _ = rustix::io::write(rustix::stdio::stdout(), b"running\n");
    if let Ok(null) = process::open_null() {
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
    }
}

/// Says what went wrong: to the agent, while it listens to this shim, and in shim.log.
fn complain(path: &Path, what: &dyn std::fmt::Display) {
    let text = format!("shim of {}: {what}\n", path.display());
    let _ = rustix::io::write(rustix::stdio::stderr(), text.as_bytes());
    directory::log(path, text.as_bytes());
}
