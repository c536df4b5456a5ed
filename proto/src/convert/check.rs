//! Checks from whose answers nothing follows, and their answers.

use mete_model::{CheckAnswer, CommandSpec, Question, TaskCheck};

use super::command::{names_its_program, without_secrets};
use super::health::path;
use super::{ConvertError, Within as _, duration, port};
use crate::mesos::v1 as wire;
use wire::check_info::{Command, Http, Tcp, Type};
use wire::check_status_info as answers;

impl TryFrom<&wire::CheckInfo> for TaskCheck {
    type Error = ConvertError;
    fn try_from(check: &wire::CheckInfo) -> Result<Self, ConvertError> {
        Ok(Self {
            question: question(check)?,
            delay: duration("delay_seconds", check.delay_seconds())?,
            interval: duration("interval_seconds", check.interval_seconds())?,
            timeout: duration("timeout_seconds", check.timeout_seconds())?,
        })
    }
}

fn question(check: &wire::CheckInfo) -> Result<Question, ConvertError> {
    match check.r#type() {
        Type::Unknown => Err(ConvertError::missing("type")),
        Type::Command => {
            let command = check.command.as_ref();
            let command = command.ok_or_else(|| ConvertError::missing("command"))?;
            let command = CommandSpec::try_from(&command.command);
            let command = command.within("command.command")?;
            names_its_program(&command).within("command.command")?;
            without_secrets(&command, "secrets of checks are").within("command.command")?;
            Ok(Question::Command(command))
        }
        Type::Http => {
            let http = check.http.as_ref();
            let http = http.ok_or_else(|| ConvertError::missing("http"))?;
            Ok(Question::Http {
                port: port("http.port", http.port)?,
                path: path(http.path.as_deref()).within("http")?,
            })
        }
        Type::Tcp => {
            let tcp = check.tcp.as_ref();
            let tcp = tcp.ok_or_else(|| ConvertError::missing("tcp"))?;
            Ok(Question::Tcp {
                port: port("tcp.port", tcp.port)?,
            })
        }
    }
}

impl From<&TaskCheck> for wire::CheckInfo {
    fn from(check: &TaskCheck) -> Self {
        let mut message = Self {
            delay_seconds: Some(check.delay.as_secs_f64()),
            interval_seconds: Some(check.interval.as_secs_f64()),
            timeout_seconds: Some(check.timeout.as_secs_f64()),
            ..Self::default()
        };
        match &check.question {
            Question::Command(command) => {
                message.set_type(Type::Command);
                message.command = Some(Command {
                    command: command.into(),
                });
            }
            Question::Http { port, path } => {
                message.set_type(Type::Http);
                message.http = Some(Http {
                    port: (*port).into(),
                    path: Some(path.clone()),
                });
            }
            Question::Tcp { port } => {
                message.set_type(Type::Tcp);
                message.tcp = Some(Tcp {
                    port: (*port).into(),
                });
            }
        }
        message
    }
}

/// `None` for one of no kind: it says nothing.
pub(super) fn answer(status: &wire::CheckStatusInfo) -> Option<CheckAnswer> {
    match status.r#type() {
        Type::Unknown => None,
        Type::Command => {
            let command = status.command.as_ref();
            Some(CheckAnswer::Command(command.and_then(|one| one.exit_code)))
        }
        Type::Http => {
            let http = status.http.as_ref();
            let code = http.and_then(|one| one.status_code);
            Some(CheckAnswer::Http(
                code.and_then(|code| u16::try_from(code).ok()),
            ))
        }
        Type::Tcp => {
            let tcp = status.tcp.as_ref();
            Some(CheckAnswer::Tcp(tcp.and_then(|one| one.succeeded)))
        }
    }
}

pub(super) fn answer_to_wire(answer: CheckAnswer) -> wire::CheckStatusInfo {
    let mut status = wire::CheckStatusInfo::default();
    match answer {
        CheckAnswer::Command(exit_code) => {
            status.set_type(Type::Command);
            status.command = Some(answers::Command { exit_code });
        }
        CheckAnswer::Http(code) => {
            status.set_type(Type::Http);
            status.http = Some(answers::Http {
                status_code: code.map(u32::from),
            });
        }
        CheckAnswer::Tcp(succeeded) => {
            status.set_type(Type::Tcp);
            status.tcp = Some(answers::Tcp { succeeded });
        }
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_and_its_answers_are_what_they_were() {
        for (question, answers) in [
            (
                Question::Command(CommandSpec::shell("true")),
                [CheckAnswer::Command(Some(3)), CheckAnswer::Command(None)],
            ),
            (
                Question::Http {
                    port: 80,
                    path: "/up?x".to_owned(),
                },
                [CheckAnswer::Http(Some(503)), CheckAnswer::Http(None)],
            ),
            (
                Question::Tcp { port: 1 },
                [CheckAnswer::Tcp(Some(false)), CheckAnswer::Tcp(None)],
            ),
        ] {
            let check = TaskCheck::new(question);
            let message = wire::CheckInfo::from(&check);
            assert_eq!(TaskCheck::try_from(&message), Ok(check));
            for one in answers {
                assert_eq!(answer(&answer_to_wire(one)), Some(one));
            }
        }
    }

    #[test]
    fn a_check_of_no_kind_is_none() {
        let check = TaskCheck::try_from(&wire::CheckInfo::default());

        assert_eq!(check, Err(ConvertError::missing("type")));
    }
}
