//! Answers that nobody reads or that cannot be written, and wishes that make no sense.

use std::fs::File;
use std::process::{Command, Output, Stdio};

fn mete(arguments: &[&str], stdout: Stdio) -> Output {
    let mut mete = Command::new(env!("CARGO_BIN_EXE_mete"));
    let child = mete
        .args(arguments)
        .stdout(stdout)
        .stderr(Stdio::piped())
        .spawn();
    child
        .and_then(std::process::Child::wait_with_output)
        .expect("mete runs")
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn where_nobody_reads_the_command_ends_quietly() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);

    let output = mete(&["completions", "bash"], writer.into());

    assert_eq!(
        (output.status.code(), errors(&output)),
        (Some(0), String::new())
    );
}

#[test]
fn an_answer_that_cannot_be_written_is_a_failure_with_a_word() {
    let full = File::options().write(true).open("/dev/full");

    let output = mete(&["completions", "bash"], full.expect("it is there").into());

    let said = errors(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("No space left on device"), "{said}");
}

#[test]
fn daemons_say_which_version_they_are() {
    for daemon in ["master", "agent", "services", "haproxy-sync"] {
        let output = mete(&[daemon, "--version"], Stdio::piped());

        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success() && said.starts_with("mete "),
            "{daemon}: {said}"
        );
    }
}

#[test]
fn a_variable_that_is_empty_counts_as_not_set() {
    let names = ["METE_MASTER", "METE_SERVICES", "METE_TOKEN_FILE"];
    let who = ["METE_USER", "METE_PASSWORD_FILE", "METE_PASSWORD"];
    let nowhere = "http://127.0.0.1:1";
    let mut ask = Command::new(env!("CARGO_BIN_EXE_mete"));
    ask.args(["role", "list", "--master", nowhere]);
    ask.envs(names.into_iter().chain(who).map(|name| (name, "")));

    let output = ask.output().expect("mete runs");

    let said = errors(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("no answer from the master at http://127.0.0.1:1"),
        "{said}"
    );
}

#[test]
fn values_that_make_no_sense_are_wrong_usage() {
    let lines: [(&[&str], &str); 5] = [
        (&["up", "--token-file", "t"], "means nothing to `mete up`"),
        (&["group", "scale", "shop", "NaN"], "not negative"),
        (&["group", "scale", "shop", "inf"], "not negative"),
        (&["group", "scale", "shop", "--", "-1"], "not negative"),
        (&["task", "exec", "-e", "A", "t", "true"], "NAME=VALUE"),
    ];
    for (line, word) in lines {
        let output = mete(line, Stdio::null());

        let said = errors(&output);
        assert_eq!(output.status.code(), Some(2), "{line:?}: {said}");
        assert!(said.contains(word), "{line:?}: {said}");
    }
}

#[test]
fn a_directory_that_cannot_be_made_is_wrong_usage_and_no_store_that_cannot_be_read() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let file = file.path().to_str().expect("text");
    let daemons: [&[&str]; 5] = [
        &["master", "--port=0", "--state-dir"],
        &["agent", "--port=0", "--work-dir"],
        &["services", "--port=0", "--state-dir"],
        &["haproxy-sync", "--port=0", "--state-dir"],
        &["up", "--state-dir"],
    ];
    for words in daemons {
        for place in [file, "/proc/x"] {
            let line = [words, &[place]].concat();

            let output = mete(&line, Stdio::null());

            let said = errors(&output);
            assert_eq!(output.status.code(), Some(2), "{line:?}: {said}");
            let expected = format!("directory {place} cannot be made");
            assert!(said.contains(&expected), "{line:?}: {said}");
        }
    }
}
