//! One key from three sources, and all faults at once.

use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use mete_daemon::auth::ListenOptions;
use mete_daemon::config::{self, Checked, ConfigError, Fault};
use mete_daemon::telemetry::{LogFormat, TelemetryOptions};
use tempfile::NamedTempFile;

/// Keeps HAProxy in step.
#[derive(Debug, clap::Args)]
struct Options {
    #[command(flatten)]
    listen: ListenOptions,
    #[command(flatten)]
    telemetry: TelemetryOptions,
    /// Port to listen on.
    #[arg(long, default_value_t = 9102)]
    port: u16,
    /// How long to wait.
    #[arg(long, default_value = "10s", value_parser = config::duration)]
    drain_time: Duration,
    /// Roles that may register.
    #[arg(long)]
    role: Vec<String>,
    /// Does nothing.
    #[arg(long)]
    dry_run: bool,
    /// Where the configuration goes.
    #[arg(long)]
    output: Option<PathBuf>,
    /// Must not be shown.
    #[arg(long, value_parser = clap::value_parser!(u16))]
    stats_password: Option<u16>,
}

impl Checked for Options {
    fn faults(&self) -> Vec<Fault> {
        let mut faults = self.listen.faults();
        faults.extend(self.telemetry.faults());
        if self.drain_time > Duration::from_secs(3600) {
            faults.push(Fault::new("drain-time", "must be at most 1h"));
        }
        faults
    }
}

const NONE: [(&str, &str); 0] = [];

fn load(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Options, ConfigError> {
    config::load("haproxy-sync", arguments, environment.iter().copied())
}

fn faults(arguments: &[&str], environment: &[(&str, &str)]) -> Vec<String> {
    match load(arguments, environment) {
        Err(ConfigError::Faults(faults)) => faults.0.iter().map(ToString::to_string).collect(),
        Err(ConfigError::Help(text)) => panic!("help instead of faults: {text}"),
        Ok(options) => panic!("no faults: {options:?}"),
    }
}

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

#[test]
fn without_any_source_there_are_the_defaults() {
    let options = load(&[], &NONE).unwrap();

    assert_eq!(
        (options.port, options.drain_time),
        (9102, Duration::from_secs(10))
    );
    assert_eq!(options.listen.ip, IpAddr::from([127, 0, 0, 1]));
    assert_eq!(options.telemetry.log_format, LogFormat::Text);
    assert!(options.role.is_empty() && !options.dry_run && options.output.is_none());
}

#[test]
fn flags_win_over_environment_over_file() {
    let file = file(
        "port = 1\ndrain_time = \"1s\"\nlog = \"debug\"\nrole = [\"a\", \"b\"]\ndry-run = true\nlog-format = \"json\"",
    );
    let path = file.path().to_str().unwrap();
    let environment = [
        ("METE_HAPROXY_SYNC_CONFIG", path),
        ("METE_HAPROXY_SYNC_PORT", "2"),
        ("METE_HAPROXY_SYNC_DRAIN_TIME", "2s"),
        ("METE_HAPROXY_SYNC_OUTPUT", ""),
        ("METE_MASTER_UNKNOWN", "of another daemon"),
        ("PATH", "/bin"),
    ];

    let options = load(&["--port=3", "--role", "c", "--role=d"], &environment).unwrap();

    assert_eq!((options.port, options.drain_time.as_secs()), (3, 2));
    assert_eq!(
        (options.telemetry.log.as_str(), options.telemetry.log_format),
        ("debug", LogFormat::Json)
    );
    assert_eq!(
        (options.role, options.dry_run, options.output),
        (vec!["c".into(), "d".into()], true, None)
    );
}

#[test]
fn a_switch_can_be_taken_back_and_a_list_comes_from_one_variable() {
    let file = file("dry-run = true");
    let environment = [
        ("METE_HAPROXY_SYNC_ROLE", "a, b,c"),
        ("METE_HAPROXY_SYNC_DRY_RUN", "true"),
    ];
    let config = format!("--config={}", file.path().display());

    let options = load(&[&config, "--dry-run=false"], &environment).unwrap();

    assert_eq!(
        (options.dry_run, options.role),
        (false, vec!["a".into(), "b".into(), "c".into()])
    );
}

#[test]
fn all_faults_of_all_sources_are_reported_together() {
    let file =
        file("prot = 1\nlog-format = \"xml\"\nrole = [[1]]\nip = \"0.0.0.0\"\ndrain-time = \"2h\"");
    let path = file.path().to_str().unwrap();
    let environment = [
        ("METE_HAPROXY_SYNC_PORT", "many"),
        ("METE_HAPROXY_SYNC_PROT", "1"),
    ];

    let faults = faults(
        &["--config", path, "--outptu", "x", "stray", "--output"],
        &environment,
    );

    assert_eq!(
        faults,
        [
            "--outptu: unknown flag".to_owned(),
            "stray: unexpected argument".to_owned(),
            "output: needs a value".to_owned(),
            "METE_HAPROXY_SYNC_PROT: unknown environment variable".to_owned(),
            format!("prot: unknown key in file {path}"),
            format!("role: must be a list of texts or numbers in file {path}"),
            format!("log-format: `xml` from file {path} is not valid: must be one of text, json"),
            "port: `many` from METE_HAPROXY_SYNC_PORT is not valid: invalid digit found in string"
                .to_owned(),
            "ip: 0.0.0.0 can be reached by others: give --token-file, or say --insecure-no-auth"
                .to_owned(),
            "drain-time: must be at most 1h".to_owned(),
        ]
    );
}

#[test]
fn a_secret_is_in_no_text() {
    let faults = faults(&["--stats-password=hunter2"], &NONE);

    assert_eq!(
        faults,
        ["stats-password: the value from --stats-password is not valid"]
    );
}

#[test]
fn a_file_that_is_missing_or_no_toml_is_named() {
    assert!(
        faults(&["--config=/no/such/file"], &NONE)[0]
            .starts_with("config: file /no/such/file cannot be opened")
    );

    let file = file("port = 1\nlog = hunter2");
    let faults = faults(&["--config", file.path().to_str().unwrap()], &NONE);
    assert!(
        faults[0].contains("is not TOML: line 2") && !faults[0].contains("hunter2"),
        "{faults:?}"
    );
}

#[test]
fn help_names_options_units_defaults_and_variables() {
    let Err(ConfigError::Help(text)) = load(&["--port=x", "--help"], &NONE) else {
        panic!("help")
    };

    for part in [
        "mete haproxy-sync",
        "--drain-time",
        "[default: 10s]",
        "METE_HAPROXY_SYNC_DRAIN_TIME",
        "--config",
        "--ip",
    ] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    assert!(text.starts_with("Keeps HAProxy in step"), "{text}");
    assert_eq!(
        config::command::<Options>("haproxy-sync").get_name(),
        "haproxy-sync"
    );
}

/// Needs something.
#[derive(Debug, clap::Args)]
struct Strict {
    /// The master.
    #[arg(long)]
    master: String,
    /// A number.
    #[arg(long, default_value_t = 1)]
    number: u8,
}

impl Checked for Strict {}

#[test]
fn a_missing_required_key_is_one_fault_among_others() {
    let Err(refused) = config::load::<Strict>("strict", ["--number=300"], NONE) else {
        panic!("faults")
    };

    let text = refused.to_string();
    assert!(
        text.contains(
            "master: is required: give --master, METE_STRICT_MASTER or `master` in the file"
        ),
        "{text}"
    );
    assert!(
        text.contains("number: `300` from --number is not valid: 300 is not in 0..=255"),
        "{text}"
    );
    assert!(
        config::load::<Strict>("strict", ["--master=here"], NONE)
            .is_ok_and(|strict| strict.master == "here")
    );
}
