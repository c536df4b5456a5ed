//! The shim as a program of its own, for the tests of the agent: `agent_shim TASK_DIRECTORY`.

use std::process::ExitCode;

fn main() -> ExitCode {
    mete_shim::main(std::env::args_os().skip(1))
}
