//! The shim as a program of its own, for the tests of the agent: `agent_shim TASK_DIRECTORY`; and what it runs of that
//! program, `agent_shim docker-follow TASK_DIRECTORY`.

use std::process::ExitCode;

use mete_agent::docker::follow::{self, FOLLOW};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).peekable();
    if arguments.next_if(|first| first == FOLLOW).is_some() {
        return follow::main(arguments);
    }
    mete_shim::main(arguments)
}
