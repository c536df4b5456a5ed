//! When and by whom the program was built, as Mesos' `/version` says it.

use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::{Value, json};

/// A build, as `/version` and `/state` say it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Built {
    /// `2026-11-30 02:15:00`, in UTC.
    #[serde(rename = "build_date")]
    pub date: String,
    /// The same in seconds since the epoch.
    #[serde(rename = "build_time")]
    pub time: f64,
    /// The account that built.
    #[serde(rename = "build_user")]
    pub user: &'static str,
}

/// `/version`. Clients written for Mesos look whether they can talk to its version, which here is that of its API.
pub fn version(of_api: &str) -> Value {
    let Built { date, time, user } = built();
    json!({
        "version": of_api,
        "mete_version": env!("CARGO_PKG_VERSION"),
        "build_date": date,
        "build_time": time,
        "build_user": user,
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
