//! What to run: a command, its environment, what to fetch first.

use std::collections::BTreeMap;

use mete_model::container::SecretValue;
use mete_model::{Checksum, CommandSpec, FetchUri, Program};

use super::{ConvertError, Within as _, refuse, secret, without_nul};
use crate::mesos::v1 as wire;
use wire::environment::variable::Type as VariableType;

impl TryFrom<&wire::CommandInfo> for CommandSpec {
    type Error = ConvertError;
    fn try_from(command: &wire::CommandInfo) -> Result<Self, ConvertError> {
        let uris = command.uris.iter().enumerate();
        let uris = uris.map(|(at, uri)| fetch_uri(uri).within(format_args!("uris[{at}]")));
        if let Some(user) = &command.user {
            without_nul("user", user)?;
        }
        let Variables { plain, secrets } = variables(command.environment.as_ref())?;
        Ok(Self {
            program: program(command)?,
            environment: plain,
            secrets,
            user: command.user.clone().filter(|user| !user.is_empty()),
            uris: uris.collect::<Result<_, _>>()?,
            terminal: None, // The container of a task says so.
        })
    }
}

impl From<&CommandSpec> for wire::CommandInfo {
    fn from(command: &CommandSpec) -> Self {
        let plain = command.environment.iter();
        let plain = plain.map(|(name, value)| variable(name, value));
        let secrets = command.secrets.iter();
        let secrets = secrets.map(|(name, value)| secret_variable(name, value.as_ref()));
        let variables: Vec<_> = plain.chain(secrets).collect();
        let (shell, value, arguments) = match &command.program {
            Program::Shell(line) => (true, Some(line), Vec::new()),
            Program::Exec { path, argv } => (false, Some(path), argv.clone()),
            Program::Image { arguments } => (false, None, arguments.clone()),
        };
        Self {
            uris: command.uris.iter().map(uri).collect(),
            environment: (!variables.is_empty()).then_some(wire::Environment { variables }),
            value: value.cloned(),
            user: command.user.clone(),
            shell: Some(shell),
            arguments,
        }
    }
}

/// Refuses a command that names no program: where there is no image, nothing else does.
///
/// # Errors
/// Says that `value` is missing.
pub(super) fn names_its_program(command: &CommandSpec) -> Result<(), ConvertError> {
    match command.program {
        Program::Image { .. } => Err(ConvertError::missing("value")),
        Program::Shell(_) | Program::Exec { .. } => Ok(()),
    }
}

fn program(command: &wire::CommandInfo) -> Result<Program, ConvertError> {
    let value = command.value.as_deref().unwrap_or_default();
    without_nul("value", value)?;
    for (at, argument) in command.arguments.iter().enumerate() {
        without_nul(&format!("arguments[{at}]"), argument)?;
    }
    if command.shell() {
        if value.is_empty() {
            return Err(ConvertError::missing("value"));
        }
        return Ok(Program::Shell(value.to_owned()));
    }
    if value.is_empty() {
        return Ok(Program::Image {
            arguments: command.arguments.clone(),
        });
    }
    Ok(Program::Exec {
        path: value.to_owned(),
        argv: command.arguments.clone(),
    })
}

/// Refuses a command with variables that hold secrets.
///
/// # Errors
/// Says that they are not carried there.
pub(super) fn without_secrets(
    command: &CommandSpec,
    whose: &'static str,
) -> Result<(), ConvertError> {
    refuse(!command.secrets.is_empty(), "environment", whose)
}

/// Variables by name.
#[derive(Default)]
struct Variables {
    plain: BTreeMap<String, String>,
    secrets: BTreeMap<String, Option<SecretValue>>,
}

/// The last of several variables of one name counts, as in a shell.
fn variables(environment: Option<&wire::Environment>) -> Result<Variables, ConvertError> {
    let variables = environment.map_or(&[][..], |environment| &environment.variables);
    let mut found = Variables::default();
    for (at, variable) in variables.iter().enumerate() {
        let name = variable.name.clone();
        match checked(variable).within(format_args!("environment.variables[{at}]"))? {
            Value::Plain(value) => {
                found.secrets.remove(&name);
                found.plain.insert(name, value);
            }
            Value::Secret(value) => {
                found.plain.remove(&name);
                found.secrets.insert(name, value);
            }
        }
    }
    Ok(found)
}

enum Value {
    Plain(String),
    Secret(Option<SecretValue>),
}

fn checked(variable: &wire::environment::Variable) -> Result<Value, ConvertError> {
    if variable.name.is_empty() || variable.name.contains(['=', '\0']) {
        let name = format_args!("{:?}", variable.name).to_string();
        return Err(ConvertError::bad_value(
            "name",
            name,
            "a variable has a name without '=' and NUL",
        ));
    }
    if variable.r#type() == VariableType::Secret {
        let secret = variable.secret.as_ref();
        let secret = secret.ok_or_else(|| ConvertError::missing("secret"))?;
        let value = secret::value(secret).within("secret")?;
        let bytes = value.as_ref().map_or(&[][..], SecretValue::bytes);
        if bytes.contains(&0) || std::str::from_utf8(bytes).is_err() {
            let rule = "what a variable holds is text without NUL";
            return Err(ConvertError::bad_value(
                "secret.value",
                "what it holds",
                rule,
            ));
        }
        return Ok(Value::Secret(value));
    }
    let secret = variable.secret.is_some();
    refuse(secret, "secret", "secrets of variables of type VALUE are")?;
    let value = variable
        .value
        .as_ref()
        .ok_or_else(|| ConvertError::missing("value"))?;
    without_nul("value", value)?;
    Ok(Value::Plain(value.clone()))
}

fn fetch_uri(uri: &wire::command_info::Uri) -> Result<FetchUri, ConvertError> {
    if uri.value.is_empty() {
        return Err(ConvertError::bad_value(
            "value",
            "\"\"",
            "there is nothing to fetch",
        ));
    }
    without_nul("value", &uri.value)?;
    if Checksum::split(&uri.value).is_err() {
        return Err(ConvertError::bad_value(
            "value",
            format_args!("{:?}", uri.value),
            "its fragment gives at most one checksum, sha256=<64 digits> or sha512=<128 digits>",
        ));
    }
    if let Some(file) = uri.output_file.as_deref() {
        let leaves =
            file.is_empty() || file.starts_with('/') || file.split('/').any(|part| part == "..");
        if leaves || file.contains('\0') {
            let rule = "it is a path below the sandbox";
            return Err(ConvertError::bad_value(
                "output_file",
                format_args!("{file:?}"),
                rule,
            ));
        }
    }
    Ok(FetchUri {
        value: uri.value.clone(),
        extract: uri.extract(),
        executable: uri.executable(),
        cache: uri.cache(),
        output_file: uri.output_file.clone(),
    })
}

fn variable(name: &str, value: &str) -> wire::environment::Variable {
    wire::environment::Variable {
        name: name.to_owned(),
        value: Some(value.to_owned()),
        r#type: Some(VariableType::Value.into()),
        secret: None,
    }
}

fn secret_variable(name: &str, value: Option<&SecretValue>) -> wire::environment::Variable {
    wire::environment::Variable {
        name: name.to_owned(),
        value: None,
        r#type: Some(VariableType::Secret.into()),
        secret: Some(secret::to_wire(value)),
    }
}

fn uri(uri: &FetchUri) -> wire::command_info::Uri {
    wire::command_info::Uri {
        value: uri.value.clone(),
        executable: Some(uri.executable),
        extract: Some(uri.extract),
        cache: Some(uri.cache),
        output_file: uri.output_file.clone(),
    }
}
