//! A health check inside a running task: enters the task's control groups, sandbox, user and
//! environment, and becomes the check's program. For a task in a container see `container/join.rs`.
//!
//! Variables of the caller's environment win over the task's. The kernel ends the check after its
//! time even if the agent that started it is gone.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use mete_agent_core::task_dir::{Command, Launch};
use rustix::process::setsid;

use crate::container::join;
use crate::directory::Directory;
use crate::image::Image;
use crate::process::{Entry, NotStarted, text_of};
use crate::system::{self, CStringArray};

/// The check could not be run at all; standard error says why. What `env` and `timeout` use, too.
pub(crate) const CANNOT_RUN: u8 = 125;

/// Becomes the check's program; returns only when that failed, or with the exit code of a check in a container.
pub(crate) fn run(directory: &Path, seconds: &OsStr, program: &OsStr, argv: &[OsString]) -> u8 {
    system::close_from(3);
    let failure = match become_check(directory, seconds, program, argv) {
        Ok(code) => return code,
        Err(failure) => failure,
    };
    eprintln!("{failure}");
    CANNOT_RUN
}

fn become_check(
    directory: &Path,
    seconds: &OsStr,
    program: &OsStr,
    argv: &[OsString],
) -> Result<u8, String> {
    let seconds = seconds
        .to_str()
        .and_then(|text| text.parse().ok())
        .ok_or("the time is no number of seconds")?;
    let open = Directory::open(directory).map_err(|error| error.to_string())?;
    let launch: Launch = open.read().map_err(|error| error.to_string())?;
    let mut environment = launch.environment.clone();
    environment.extend(std::env::vars());
    let text = |word: &OsStr| {
        word.to_str()
            .map(str::to_owned)
            .ok_or_else(|| "an argument is not UTF-8".to_owned())
    };
    let arguments = argv
        .iter()
        .map(|word| text(word))
        .collect::<Result<_, _>>()?;
    let command = Command::Program {
        path: text(program)?,
        arguments,
    };
    let refused = |refusal: NotStarted| format!("{}: {}", refusal.step, refusal.reason);
    let image = Image::of(&command, &environment).map_err(refused)?;
    if let Some(container) = &launch.container {
        return join::run(&open, &launch, container, &image, seconds);
    }
    let entry = Entry::open(&launch).map_err(refused)?;
    let _ = setsid();
    entry
        .enter(false)
        .map_err(|(step, errno)| format!("{step}: {}", text_of(errno)))?;
    system::end_after(seconds);
    let errno = image.execute(
        &CStringArray::new(&image.argv),
        &CStringArray::new(&image.environment),
    );
    Err(format!("{}: {}", program.display(), text_of(errno)))
}
