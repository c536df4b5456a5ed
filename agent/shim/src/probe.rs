//! Whether containers can be built here: builds one and throws it away.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use mete_agent_core::task_dir::{
    BadIdRange, Command, Container, IdRange, Launch, Layers, Net, Root,
};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{WaitOptions, waitpid};

use crate::container::Users;
use crate::process::text_of;
use crate::report::{self, Fault, Told};
use crate::{container, system};

/// Seconds after which the kernel ends it: it takes milliseconds.
const PATIENCE_SECONDS: u32 = 20;

/// What its root is made of.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// Layers on top of one another.
    Layers,
    /// One directory.
    Directory,
}

/// Builds a container in `directory`, which must be empty, with users of its own if an argument names them. Says on
/// standard error why it cannot.
pub(crate) fn run(directory: &Path, kind: Kind, users: &[OsString]) -> u8 {
    system::close_from(3);
    system::hold_signals();
    system::end_after(PATIENCE_SECONDS);
    match range_of(users).and_then(|users| build(directory, kind, users)) {
        Ok(()) => 0,
        Err(why) => {
            eprintln!("{why}");
            1
        }
    }
}

fn range_of(users: &[OsString]) -> Result<Option<IdRange>, String> {
    let text = users.first().map(|text| text.to_string_lossy());
    let parsed = text.map(|text| text.parse()).transpose();
    parsed.map_err(|bad: BadIdRange| bad.to_string())
}

fn build(directory: &Path, kind: Kind, users: Option<IdRange>) -> Result<(), String> {
    let place = |name: &str| {
        let path = directory.join(name);
        fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let text = path.to_str().ok_or("the path is not UTF-8")?;
        Ok::<_, String>(text.to_owned())
    };
    let wanted = Container {
        images: Vec::new(),
        root: match kind {
            Kind::Layers => Root::Layers(Layers {
                lower: vec![place("lower")?],
                upper: place("upper")?,
                work: place("work")?,
            }),
            Kind::Directory => Root::Directory {
                path: place("copy")?,
            },
        },
        place: place("place")?,
        mounts: Vec::new(),
        volumes: Vec::new(),
        users,
        working_dir: "/".to_owned(),
        hostname: Some("probe".to_owned()),
        network: Net::None,
        capabilities: Vec::new(),
        privileged: false,
        seccomp: true,
        no_new_privileges: true,
        read_only_root: true,
        shm_bytes: 1 << 20,
        rlimits: Vec::new(),
        devices: Vec::new(),
        stop_signal: 15,
        runtime: None,
    };
    let launch = Launch::new(Command::Shell(String::new()), "/");
    let said = |errno| format!("a container cannot be made: {}", text_of(errno));
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).map_err(said)?;
    let words = |fault: Fault| format!("{}: {}", fault.what, text_of(fault.errno));
    let made = users.map(Users::make).transpose().map_err(words)?;
    let child = || container::try_out(&launch, &wanted, made.as_ref(), &writer);
    let pid = system::fork(None, container::namespaces(&wanted), child).map_err(said)?;
    drop(writer);
    let told = report::listen(&reader);
    let _ = waitpid(Some(pid), WaitOptions::empty());
    match told {
        Told::Started => Ok(()),
        Told::Failed(fault) => Err(format!(
            "{}: {}: {}",
            fault.step,
            fault.what,
            text_of(fault.errno)
        )),
        Told::Nothing | Told::Ended(_) => Err("its first process has ended".to_owned()),
    }
}
