//! What can be asked of `mete`: daemons, a whole cluster, and the questions and orders of people.

mod agent; // agents of the cluster
mod app; // add, list, show, scale, restart, rm
mod daemons; // master, agent, services, haproxy-sync
mod deployment; // what is being changed
mod explain; // why somebody got what it got
mod group; // apps that belong together
mod image; // images that lie on an agent
mod maintenance; // machines that are planned to be away
mod pod; // containers that start and end together
mod policy; // how places for tasks are chosen
mod quota; // what roles may have, and what is kept for them
mod role; // roles with their weights
mod services; // what the service framework knows, in one file, and back
mod status; // the cluster in ten lines
mod task; // instances, and what they print
mod up; // a whole cluster on this machine
mod volume; // volumes that lie on an agent
mod wait; // progress until healthy
mod what_if; // what would be placed where
mod whoami; // the smallest useful service
mod why; // what an app or a pod waits for

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Command, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use clap_complete::Shell;
use mete_daemon::exit::Exit;

use crate::client::Addresses;

/// Mete out a cluster: to give each its share.
///
/// Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 store locked or unreadable; `task exec` ends as its
/// command does.
#[derive(Debug, Parser)]
#[command(name = "mete", version, max_term_width = 100)]
struct Line {
    #[command(flatten)]
    addresses: Addresses,
    #[command(subcommand)]
    ask: Ask,
}

#[derive(Debug, Subcommand)]
enum Ask {
    /// A whole cluster on this machine: master, agents, service framework, HAProxy.
    Up(up::Options),
    /// Apps: definitions that the service framework keeps running.
    #[command(subcommand)]
    App(app::Ask),
    /// Groups of apps, changed as one.
    #[command(subcommand)]
    Group(group::Ask),
    /// Pods: containers that start and end together on one agent.
    #[command(subcommand)]
    Pod(pod::Ask),
    /// Tasks: the running instances of apps.
    #[command(subcommand)]
    Task(task::Ask),
    /// Agents of the cluster (without a further word: the agent daemon).
    #[command(subcommand)]
    Agent(agent::Ask),
    /// The state of the service framework, in one file, and back (without a further word: the daemon).
    #[command(subcommand)]
    Services(services::Ask),
    /// Images that lie on an agent, for hosts without a registry.
    #[command(subcommand)]
    Image(image::Ask),
    /// Volumes that lie on an agent.
    #[command(subcommand)]
    Volume(volume::Ask),
    /// Maintenance: which machines are planned to be away, and which are.
    #[command(subcommand)]
    Maintenance(maintenance::Ask),
    /// Roles: who resources are given to, in which proportion.
    #[command(subcommand)]
    Role(role::Ask),
    /// Quotas: the most a role may have, and what is kept for it.
    #[command(subcommand)]
    Quota(quota::Ask),
    /// How places for tasks are chosen: shows it, or sets it for the cluster or a role.
    Policy(policy::Options),
    /// Deployments: changes under way.
    #[command(subcommand)]
    Deployment(deployment::Ask),
    /// The cluster in ten lines.
    Status {
        /// JSON for programs.
        #[arg(long)]
        json: bool,
    },
    /// Why a framework, a role or an agent got what it got, and what a task would need.
    Explain(explain::Question),
    /// What would be placed where, if; nothing is touched.
    WhatIf(what_if::Question),
    /// Says over HTTP who answers: an app that needs nothing but `mete`.
    Whoami(whoami::Options),
    /// Completions for a shell: `mete completions bash > /etc/bash_completion.d/mete`.
    Completions {
        /// Which shell.
        shell: Shell,
    },
}

/// Runs what the arguments (those after the program's name) ask for.
pub(crate) fn run(arguments: &[OsString]) -> ExitCode {
    if let Some(exit) = daemons::run(arguments) {
        return exit;
    }
    let program = OsString::from("mete");
    let line = offered().try_get_matches_from(std::iter::once(&program).chain(arguments));
    let line = line.and_then(|matches| {
        is_of_use(&matches)?;
        Line::from_arg_matches(&matches)
    });
    let line = match line {
        Ok(line) => line,
        Err(error) => {
            // Help and version are answers, not faults; clap knows which is which.
            let exit = if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Done
            };
            let _ = error.print();
            return exit.into();
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            crate::complain!("mete: cannot start: {error}");
            return Exit::Failed.into();
        }
    };
    match runtime.block_on(answer(line)) {
        Ok(()) => Exit::Done.into(),
        Err(error) => match error.downcast_ref::<EndedWith>() {
            Some(ended) => {
                if let Some(why) = &ended.why {
                    crate::complain!("mete: {why}");
                }
                ExitCode::from(ended.code)
            }
            None => {
                crate::complain!("mete: {error:#}");
                Exit::of(error.as_ref()).into()
            }
        },
    }
}

/// `mete up` has addresses of its own, and daemons that let in whoever is on this machine: who says otherwise is not to
/// believe that it was heard.
fn is_of_use(matches: &ArgMatches) -> Result<(), clap::Error> {
    let Some(("up", up)) = matches.subcommand() else {
        return Ok(());
    };
    let said = |id: &&str| up.value_source(id) == Some(ValueSource::CommandLine);
    let ids = ["master", "services", "token_file", "user", "password_file"];
    match ids.into_iter().find(said) {
        Some(id) => Err(clap::Error::raw(
            ErrorKind::ArgumentConflict,
            format!(
                "--{} means nothing to `mete up`: its daemons have addresses of their own, and let in everybody on this machine\n",
                id.replace('_', "-")
            ),
        )),
        None => Ok(()),
    }
}

/// How a command that was run elsewhere has ended: `mete` ends the same way.
#[derive(Debug)]
pub(crate) struct EndedWith {
    pub(crate) code: u8,
    /// What is to be said about it.
    pub(crate) why: Option<String>,
}

impl std::fmt::Display for EndedWith {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ended with code {}", self.code)
    }
}

impl std::error::Error for EndedWith {}

/// Daemons whose names are also those of questions and orders.
const ASKED_TOO: [&str; 2] = ["agent", "services"];

/// What is parsed here, and the daemons for the help: those have been looked for before.
fn offered() -> Command {
    let daemons = daemons::commands().into_iter();
    Line::command().subcommands(daemons.filter(|daemon| !ASKED_TOO.contains(&daemon.get_name())))
}

/// Everything, each daemon with its options: for completions.
fn whole() -> Command {
    let mut whole = Line::command();
    for daemon in daemons::commands() {
        whole = if ASKED_TOO.contains(&daemon.get_name()) {
            // `mete agent` runs one, `mete agent list` asks for all: one command with both.
            whole.mut_subcommand(daemon.get_name(), |both| {
                both.args(daemon.get_arguments())
                    .subcommand_negates_reqs(true)
            })
        } else {
            whole.subcommand(daemon)
        };
    }
    whole
}

async fn answer(line: Line) -> Result<()> {
    let Line { addresses, ask } = line;
    match ask {
        Ask::Up(options) => up::run(options).await,
        Ask::App(ask) => app::run(&addresses, ask).await,
        Ask::Group(ask) => group::run(&addresses, ask).await,
        Ask::Pod(ask) => pod::run(&addresses, ask).await,
        Ask::Task(ask) => task::run(&addresses, ask).await,
        Ask::Agent(ask) => agent::run(&addresses, ask).await,
        Ask::Services(ask) => services::run(&addresses, ask).await,
        Ask::Image(ask) => image::run(&addresses, ask).await,
        Ask::Volume(ask) => volume::run(&addresses, ask).await,
        Ask::Maintenance(ask) => maintenance::run(&addresses, ask).await,
        Ask::Role(ask) => role::run(&addresses, ask).await,
        Ask::Quota(ask) => quota::run(&addresses, ask).await,
        Ask::Policy(options) => policy::run(&addresses, options).await,
        Ask::Deployment(ask) => deployment::run(&addresses, ask).await,
        Ask::Status { json } => status::run(&addresses, json).await,
        Ask::Explain(question) => explain::run(&addresses, question).await,
        Ask::WhatIf(question) => what_if::run(&addresses, question).await,
        Ask::Whoami(options) => whoami::run(options).await,
        Ask::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut whole(), "mete", &mut script);
            crate::say::bytes(&script);
            Ok(())
        }
    }
}
