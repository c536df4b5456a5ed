//! What becomes of a task's command in an image: pure, by the rules of Mesos for images.
//!
//! | task says | what runs |
//! |---|---|
//! | a shell line | `/bin/sh -c line` |
//! | a program and its arguments | just that |
//! | arguments only | the image's entrypoint, then the arguments |
//! | nothing | the image's entrypoint, then the image's arguments |
//!
//! Environment: the image's, over it the agent's, over it the task's. User: that of the task's container, else that of
//! its command, else the image's.

use std::collections::BTreeMap;

use mete_model::{CommandSpec, ContainerSpec, Program};

use super::ImageConfig;
use crate::task_dir::{Command, SANDBOX_INSIDE};

/// Where programs are looked for when neither image nor task says.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Signals by name: those that a program may want to be ended with.
const SIGNALS: [(&str, i32); 14] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ABRT", 6),
    ("KILL", 9),
    ("USR1", 10),
    ("USR2", 12),
    ("ALRM", 14),
    ("TERM", 15),
    ("CONT", 18),
    ("STOP", 19),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
];

/// What runs inside a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inside {
    /// The program.
    pub command: Command,
    /// The whole environment.
    pub environment: BTreeMap<String, String>,
    /// The user as it was written; `None`: nobody says.
    pub user: Option<String>,
    /// Absolute path inside.
    pub working_dir: String,
    /// Number of the signal that asks it to end.
    pub stop_signal: i32,
}

/// Why nothing can run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InsideError {
    /// Neither task nor image names a program.
    #[error("neither the task nor its image names a program")]
    NoProgram,
    /// The image wants to be ended with a signal that there is not, or with a real-time signal.
    #[error("the image names {0:?} as its stop signal, which is none of the signals 1 to 31")]
    BadSignal(String),
}

/// Joins what image, agent and task say.
///
/// # Errors
/// [`InsideError`].
pub fn inside(
    image: &ImageConfig,
    agents: BTreeMap<String, String>,
    command: &CommandSpec,
    container: &ContainerSpec,
) -> Result<Inside, InsideError> {
    let user = [&container.user, &command.user]
        .into_iter()
        .find_map(Clone::clone)
        .or_else(|| Some(image.user.clone()).filter(|user| !user.is_empty()));
    Ok(Inside {
        command: program(image, &command.program)?,
        environment: environment(image, agents, &command.environment),
        user,
        working_dir: working_dir(image, container),
        stop_signal: stop_signal(image)?,
    })
}

fn program(image: &ImageConfig, said: &Program) -> Result<Command, InsideError> {
    let Program::Image { arguments } = said else {
        return Ok(said.into());
    };
    let tail = match arguments.is_empty() {
        true => &image.cmd,
        false => arguments,
    };
    let words: Vec<String> = image.entrypoint.iter().chain(tail).cloned().collect();
    let path = words.first().filter(|path| !path.is_empty());
    Ok(Command::Program {
        path: path.ok_or(InsideError::NoProgram)?.clone(),
        arguments: words,
    })
}

fn environment(
    image: &ImageConfig,
    agents: BTreeMap<String, String>,
    task: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let variable = |text: &String| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        (!name.is_empty()).then(|| (name.to_owned(), value.to_owned()))
    };
    let mut all = BTreeMap::from([("PATH".to_owned(), DEFAULT_PATH.to_owned())]);
    all.extend(image.env.iter().filter_map(variable));
    all.extend(agents);
    all.extend(task.clone());
    all
}

/// A relative one is below the root, as in Docker.
fn working_dir(image: &ImageConfig, container: &ContainerSpec) -> String {
    let said = container.working_dir.as_deref();
    let path = said.unwrap_or(&image.working_dir);
    match path {
        "" => SANDBOX_INSIDE.to_owned(),
        path if path.starts_with('/') => path.to_owned(),
        path => format!("/{path}"),
    }
}

fn stop_signal(image: &ImageConfig) -> Result<i32, InsideError> {
    let Some(text) = image.stop_signal.as_deref().filter(|text| !text.is_empty()) else {
        return Ok(15);
    };
    signal_number(text).ok_or_else(|| InsideError::BadSignal(text.chars().take(40).collect()))
}

/// The number of a signal that is given as `SIGTERM`, `term` or `15`; `None`: it is none of the signals 1 to 31.
pub fn signal_number(text: &str) -> Option<i32> {
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let by_name = SIGNALS.iter().find(|(known, _)| *known == name);
    let number = by_name.map(|(_, number)| *number);
    number.or_else(|| name.parse().ok().filter(|number| (1..=31).contains(number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    fn image(entrypoint: &[&str], cmd: &[&str]) -> ImageConfig {
        ImageConfig {
            entrypoint: texts(entrypoint),
            cmd: texts(cmd),
            ..ImageConfig::default()
        }
    }

    fn own(arguments: &[&str]) -> Program {
        Program::Image {
            arguments: texts(arguments),
        }
    }

    #[test]
    fn the_program_is_the_tasks_or_the_images() {
        let exec = Program::Exec {
            path: "/p".into(),
            argv: texts(&["p", "1"]),
        };
        let table: [(ImageConfig, Program, Option<&[&str]>); 7] = [
            (
                image(&["e"], &["c"]),
                Program::Shell("l".into()),
                Some(&["/bin/sh", "-c", "l"]),
            ),
            (image(&["e"], &["c"]), exec, Some(&["/p", "p", "1"])),
            (image(&["e"], &["c"]), own(&["a"]), Some(&["e", "e", "a"])),
            (image(&["e"], &["c"]), own(&[]), Some(&["e", "e", "c"])),
            (image(&[], &["c", "d"]), own(&[]), Some(&["c", "c", "d"])),
            (image(&[], &["c", "d"]), own(&["a"]), Some(&["a", "a"])),
            (image(&[], &[]), own(&[]), None),
        ];
        for (image, said, expected) in table {
            let words = match program(&image, &said) {
                Ok(Command::Shell(line)) => Some(texts(&["/bin/sh", "-c", &line])),
                Ok(Command::Program { path, arguments }) => Some([vec![path], arguments].concat()),
                Err(_) => None,
            };
            assert_eq!(words, expected.map(texts), "{said:?} in {image:?}");
        }
    }

    #[test]
    fn the_image_says_least_and_the_task_has_the_last_word() {
        let mut image = image(&[], &["c"]);
        image.env = texts(&["A=image", "B=image", "C=image", "C=later", "=bad", "D"]);
        let agents = BTreeMap::from([("B".to_owned(), "agent".to_owned())]);
        let task = BTreeMap::from([("A".to_owned(), "task".to_owned())]);

        let all = environment(&image, agents, &task);

        let said: Vec<String> = all
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let path = format!("PATH={DEFAULT_PATH}");
        assert_eq!(said, ["A=task", "B=agent", "C=later", "D=", &path]);
    }

    #[test]
    fn user_and_place_are_the_most_particular_ones() {
        let mut config = image(&[], &["c"]);
        let mut command = CommandSpec::shell("x");
        let mut container = ContainerSpec::default();
        let mut look =
            |change: &mut dyn FnMut(&mut ImageConfig, &mut CommandSpec, &mut ContainerSpec)| {
                change(&mut config, &mut command, &mut container);
                let found = inside(&config, BTreeMap::new(), &command, &container).expect("fine");
                (found.user, found.working_dir)
            };

        let said = |user: &str, place: &str| (Some(user.to_owned()), place.to_owned());
        assert_eq!(look(&mut |_, _, _| {}), (None, SANDBOX_INSIDE.to_owned()));
        let images = look(&mut |image, _, _| {
            image.user = "i".into();
            image.working_dir = "srv".into();
        });
        assert_eq!(images, said("i", "/srv"));
        assert_eq!(
            look(&mut |_, command, _| command.user = Some("c".into())),
            said("c", "/srv")
        );
        let containers = look(&mut |_, _, container| {
            container.user = Some("k".into());
            container.working_dir = Some("/k".into());
        });
        assert_eq!(containers, said("k", "/k"));
    }

    #[test]
    fn stop_signals_have_names_and_numbers() {
        let of = |text: &str| {
            stop_signal(&ImageConfig {
                stop_signal: Some(text.into()),
                ..ImageConfig::default()
            })
        };

        assert_eq!(stop_signal(&ImageConfig::default()), Ok(15));
        assert_eq!((of("SIGQUIT"), of("usr1"), of("9")), (Ok(3), Ok(10), Ok(9)));
        assert_eq!(of("SIGNAL"), Err(InsideError::BadSignal("SIGNAL".into())));
        assert!(of("32").is_err() && of("SIGRTMIN+3").is_err());
    }
}
