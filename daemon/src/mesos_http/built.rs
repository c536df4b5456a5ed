//! When and by whom the program was built, as Mesos' `/version` says it.

use jiff::tz::TimeZone;
use serde_json::{Value, json};

/// A build.
#[derive(Clone, Debug, PartialEq)]
pub struct Built {
    /// `2026-11-30 02:15:00`, in UTC.
    pub date: String,
    /// The same in seconds since the epoch.
    pub time: f64,
    /// The account that built.
    pub user: &'static str,
}

/// `/version`. Clients written for Mesos look whether they can talk to its version, which here is that of its API.
pub fn version(of_api: &str) -> Value {
    let built = built();
    json!({
        "version": of_api,
        "mete_version": env!("CARGO_PKG_VERSION"),
        "build_date": built.date,
        "build_time": built.time,
        "build_user": built.user,
    })
}

/// The build of this program.
pub fn built() -> Built {
    let seconds: i64 = env!("METE_BUILD_SECONDS").parse().unwrap_or_default();
    let moment = jiff::Timestamp::from_second(seconds).unwrap_or_default();
    let date = moment.to_zoned(TimeZone::UTC).strftime("%F %T");
    Built {
        date: date.to_string(),
        time: seconds as f64,
        user: env!("METE_BUILD_USER"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_has_a_date_and_somebody_who_built() {
        let built = built();

        assert_eq!(built.date.len(), "2026-11-30 02:15:00".len());
        assert!(built.time > 0.0 || built.date.starts_with("1970"));
        assert!(!built.user.is_empty());
    }
}
