//! When a daemon that has ended is started again.
//!
//! ```text
//! ended with 2: left alone        with anything else: again after 1, 2, 4 … 30 s
//!                                                     after 1 s when it had run for a minute
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use mete_daemon::exit::Exit;

/// Others may die of the same cause; they come back together.
const FIRST: Duration = Duration::from_secs(1);
/// Somebody who mends what is wrong does not wait longer than that.
const LONGEST: Duration = Duration::from_secs(30);
/// One that has run so long ends of something else than the last time.
const STEADY: Duration = Duration::from_secs(60);

/// What becomes of a daemon that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Starting it again would not help.
    Never,
    /// It is started again so much later.
    After(Duration),
}

/// How long each daemon was waited for the last time.
#[derive(Debug, Default)]
pub(super) struct Pauses(BTreeMap<String, Duration>);

impl Pauses {
    /// A daemon has ended with a code, or by a signal (`None`), when it had run for so long.
    pub(super) fn ended(&mut self, name: &str, code: Option<i32>, ran: Duration) -> Next {
        if code == Some(Exit::Usage.code().into()) {
            return Next::Never;
        }
        let last = self.0.get(name).filter(|_| ran < STEADY);
        let pause = last.map_or(FIRST, |last| (*last * 2).min(LONGEST));
        self.0.insert(name.to_owned(), pause);
        Next::After(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT_ONCE: Duration = Duration::from_millis(10);

    #[test]
    fn who_keeps_ending_is_waited_for_longer_and_longer_until_it_has_run_a_minute() {
        let mut pauses = Pauses::default();
        let mut seconds = |name, code, ran| match pauses.ended(name, code, ran) {
            Next::Never => panic!("it is not left alone"),
            Next::After(pause) => pause.as_secs(),
        };

        let grown: Vec<_> = (0..7).map(|_| seconds("a", Some(3), AT_ONCE)).collect();

        assert_eq!(grown, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(seconds("b", None, AT_ONCE), 1, "each by itself");
        assert_eq!(seconds("a", Some(1), STEADY), 1);
        assert_eq!(seconds("a", None, AT_ONCE), 2);
    }

    #[test]
    fn what_is_configured_wrongly_is_left_alone() {
        assert_eq!(Pauses::default().ended("a", Some(2), STEADY), Next::Never);
    }
}
