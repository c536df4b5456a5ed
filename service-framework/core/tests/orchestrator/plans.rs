//! Each file of `tests/plans` holds what was wanted, what is wanted, and the steps from one to the other.
//!
//! `METE_UPDATE_PLANS=1` writes the steps anew, to be read in review.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mete_model::Timestamp;
use mete_service_framework_core::deployment::plan::{ActionKind, Apps, Groups, plan};
use mete_service_framework_core::spec::app::AppSpec;
use mete_service_framework_core::spec::group::Group;
use mete_service_framework_core::spec::history::AppVersion;

use crate::kit::id;

#[test]
fn plans_are_as_written_beside_them() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("the folder")
        .map(|entry| entry.expect("a file").path())
        .collect();
    files.sort();
    assert!(!files.is_empty());

    for file in files {
        let text = std::fs::read_to_string(&file).expect("readable");
        let (given, expected) = text.split_once("steps\n").expect("a line that says steps");

        let steps = steps(given);

        if std::env::var_os("METE_UPDATE_PLANS").is_some() {
            std::fs::write(&file, format!("{given}steps\n{steps}")).expect("writable");
        } else {
            assert_eq!(steps, expected, "{}", file.display());
        }
    }
}

fn steps(given: &str) -> String {
    let (present, wanted) = given
        .split_once("wanted\n")
        .expect("a line that says wanted");
    let (_, present) = present
        .split_once("present\n")
        .expect("a line that says present");
    let mut text = String::new();
    match plan(&apps(present), &apps(wanted), &groups(wanted)) {
        Ok(steps) => {
            for (number, step) in steps.iter().enumerate() {
                let action =
                    |action: &mete_service_framework_core::deployment::plan::Action| match action
                        .kind
                    {
                        ActionKind::Scale { to } => {
                            format!("{} {} to {to}", action.name(), action.app)
                        }
                        ActionKind::Stop | ActionKind::Start | ActionKind::Restart => {
                            format!("{} {}", action.name(), action.app)
                        }
                    };
                let actions: Vec<String> = step.actions.iter().map(action).collect();
                writeln!(text, "{} {}", number + 1, actions.join(", ")).expect("to memory");
            }
        }
        Err(cycle) => writeln!(text, "{cycle}").expect("to memory"),
    }
    text
}

/// Lines of `group <path> after <path>…`.
fn groups(lines: &str) -> Groups {
    let mut groups = BTreeMap::new();
    for line in lines.lines().filter(|line| line.starts_with("group ")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["group", group, "after", rest @ ..] = &*words else {
            panic!("cannot read {line:?}")
        };
        let dependencies = rest.iter().map(|other| id(other)).collect();
        groups.insert(
            id(group),
            Arc::new(Group {
                dependencies,
                ..Group::default()
            }),
        );
    }
    groups
}

/// Lines of `[pod ]<app> config <n> instances <n> [after <app>…]`.
fn apps(lines: &str) -> Apps {
    let mut apps = BTreeMap::new();
    let is_app = |line: &&str| !line.trim().is_empty() && !line.starts_with("group ");
    for line in lines.lines().filter(is_app) {
        let app = line.strip_prefix("pod ");
        let words: Vec<&str> = app.unwrap_or(line).split_whitespace().collect();
        let is_pod = app.is_some();
        let [app, "config", config, "instances", instances, rest @ ..] = &*words else {
            panic!("cannot read {line:?}")
        };
        let mut spec = AppSpec::new(id(app));
        spec.pod = is_pod.then(Box::default);
        spec.instances = instances.parse().expect("a number");
        spec.dependencies = rest.iter().skip(1).map(|other| id(other)).collect();
        let version = Timestamp::from_millis(config.parse().expect("a number"));
        apps.insert(
            id(app),
            Arc::new(AppVersion::first(version, Arc::new(spec))),
        );
    }
    apps
}
