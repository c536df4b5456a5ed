//! Levels of the log, changed while a daemon runs: for a while, or until it ends.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tracing_subscriber::EnvFilter;

/// The name of what is logged by all that has no level of its own.
pub const ROOT: &str = "ROOT";

/// The most modules that may have a level set while a daemon runs.
const MAX_SET: usize = 100;

/// Puts another filter in the place of the one in use.
type Replace = Box<dyn Fn(EnvFilter) -> bool + Send + Sync>;

/// The levels of this process; not there before logging has been started.
static LEVELS: OnceLock<Levels> = OnceLock::new();

struct Levels {
    /// As the daemon was started.
    base: String,
    replace: Replace,
    set: Mutex<Set>,
}

#[derive(Default)]
struct Set {
    /// By module, or [`ROOT`]: the level, and which change set it.
    by_name: BTreeMap<String, (String, u64)>,
    changes: u64,
}

/// Why a level is not set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLevel {
    /// The word is none of the levels.
    #[error("log level '{0}' is none of trace, debug, info, warn, error, off")]
    Level(String),
    /// The name is no module.
    #[error("logger '{0}' is no module, such as mete_master, and not ROOT")]
    Logger(String),
    /// More than a hundred have one.
    #[error("{MAX_SET} loggers have a level of their own already")]
    TooMany,
    /// Nothing is logged in this process.
    #[error("logging has not been started")]
    NotStarted,
}

pub(super) fn began(base: &str, replace: Replace) {
    let levels = Levels {
        base: base.to_owned(),
        replace,
        set: Mutex::default(),
    };
    // Logging starts once; a second start has failed before it comes here.
    let _ = LEVELS.set(levels);
}

/// The level of each module that has one of its own, in capitals, and of [`ROOT`].
pub fn levels() -> BTreeMap<String, String> {
    let Some(levels) = LEVELS.get() else {
        return BTreeMap::new();
    };
    let text = levels.text(&levels.lock());
    let mut told = BTreeMap::from([(ROOT.to_owned(), "ERROR".to_owned())]);
    for directive in text.split(',').filter(|directive| !directive.is_empty()) {
        let (name, level) = directive.split_once('=').unwrap_or((ROOT, directive));
        told.insert(name.to_owned(), level.to_ascii_uppercase());
    }
    told
}

/// How much is logged, as Mesos counts it: 0 for no more than what is usual, 1 and 2 for more.
pub fn verbosity() -> u32 {
    match levels().get(ROOT).map(String::as_str) {
        Some("TRACE") => 2,
        Some("DEBUG") => 1,
        Some(_) | None => 0,
    }
}

/// Logs so much for `duration`. Must be called within a tokio runtime.
///
/// # Errors
/// As [`set_level`].
pub fn set_verbosity(verbosity: u32, duration: Duration) -> Result<(), BadLevel> {
    let level = match verbosity {
        0 => "info",
        1 => "debug",
        _ => "trace",
    };
    set_level(ROOT, level, Some(duration))
}

/// Sets the level of a module, or of [`ROOT`]; after `duration`, when one is given, it is again what it was at the start.
/// Case does not matter. Must be called within a tokio runtime.
///
/// # Errors
/// [`BadLevel`]: nothing has changed.
pub fn set_level(logger: &str, level: &str, duration: Option<Duration>) -> Result<(), BadLevel> {
    let levels = LEVELS.get().ok_or(BadLevel::NotStarted)?;
    let level = word(level)?;
    if logger != ROOT && !is_module(logger) {
        return Err(BadLevel::Logger(logger.chars().take(80).collect()));
    }
    let mut set = levels.lock();
    if !set.by_name.contains_key(logger) && set.by_name.len() >= MAX_SET {
        return Err(BadLevel::TooMany);
    }
    set.changes += 1;
    let change = set.changes;
    set.by_name
        .insert(logger.to_owned(), (level.to_owned(), change));
    levels.apply(&set);
    drop(set);
    if let Some(duration) = duration {
        let logger = logger.to_owned();
        tokio::spawn(async move {
            tokio::time::sleep(duration).await;
            levels.forget(&logger, change);
        });
    }
    Ok(())
}

impl Levels {
    fn lock(&self) -> std::sync::MutexGuard<'_, Set> {
        // Whoever panicked left a whole map behind.
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends what a change set, unless another has been made since.
    fn forget(&self, logger: &str, change: u64) {
        let mut set = self.lock();
        if set.by_name.get(logger).is_some_and(|(_, by)| *by == change) {
            set.by_name.remove(logger);
            self.apply(&set);
        }
    }

    /// What comes later in a filter wins.
    fn text(&self, set: &Set) -> String {
        let mut text = self.base.clone();
        for (name, (level, _)) in &set.by_name {
            let directive = match &**name {
                ROOT => format!(",{level}"),
                name => format!(",{name}={level}"),
            };
            text.push_str(&directive);
        }
        text
    }

    fn apply(&self, set: &Set) {
        let filter = EnvFilter::builder().parse(self.text(set));
        if !filter.is_ok_and(|filter| (self.replace)(filter)) {
            tracing::error!("the log's filter cannot be changed");
        }
    }
}

fn word(level: &str) -> Result<&'static str, BadLevel> {
    let known = ["trace", "debug", "info", "warn", "error", "off"];
    let lower = level.to_ascii_lowercase();
    let wanted = match &*lower {
        "all" => "trace",
        lower => lower,
    };
    let found = known.into_iter().find(|known| *known == wanted);
    found.ok_or_else(|| BadLevel::Level(level.chars().take(80).collect()))
}

fn is_module(name: &str) -> bool {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':';
    !name.is_empty() && name.len() <= 200 && name.bytes().all(is_good)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn a_level_is_set_for_a_while_and_what_makes_no_sense_is_not() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&seen);
        began(
            "info,mete_x=debug",
            Box::new(move |filter| {
                told.lock().expect("whole").push(filter.to_string());
                true
            }),
        );
        let told = |name: &str| levels().get(name).cloned();

        assert_eq!(set_level("mete_y", "WARN", None), Ok(()));
        let while_ = Some(Duration::from_millis(200));
        assert_eq!(set_level(ROOT, "debug", while_), Ok(()));

        assert_eq!(told(ROOT).as_deref(), Some("DEBUG"));
        assert_eq!(told("mete_x").as_deref(), Some("DEBUG"));
        assert_eq!(told("mete_y").as_deref(), Some("WARN"));
        let last = seen.lock().expect("whole").last().cloned();
        let last = last.expect("a filter");
        assert!(
            last.contains("mete_y=warn") && last.contains("debug"),
            "{last}"
        );
        let over = tokio::time::timeout(Duration::from_secs(20), async {
            while told(ROOT).as_deref() != Some("INFO") {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        assert!(over.await.is_ok(), "{:?}", levels());

        let loud = BadLevel::Level("loud".to_owned());
        assert_eq!(set_level(ROOT, "loud", None), Err(loud));
        let odd = BadLevel::Logger("a=b,c".to_owned());
        assert_eq!(set_level("a=b,c", "info", None), Err(odd));
        for number in 0..MAX_SET - 1 {
            assert_eq!(set_level(&format!("m{number}"), "info", None), Ok(()));
        }
        assert_eq!(set_level("one_more", "info", None), Err(BadLevel::TooMany));
    }
}
