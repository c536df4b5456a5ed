//! `/logging/toggle`: how much is logged, as Mesos counts it, for a while.

use std::time::Duration;

use axum::Router;
use axum::extract::Query;
use axum::routing::get;
use serde::Deserialize;

use crate::config;
use crate::http_error::HttpError;
use crate::telemetry;

/// Where it is asked and changed. Ask a `Router` of a daemon to merge it.
pub const TOGGLE_PATH: &str = "/logging/toggle";

#[derive(Deserialize)]
struct Toggle {
    level: Option<String>,
    duration: Option<String>,
}

/// The route.
pub fn logging<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route(TOGGLE_PATH, get(toggle).post(toggle))
}

/// Without a level and a duration, how much is logged now.
async fn toggle(Query(asked): Query<Toggle>) -> Result<String, HttpError> {
    let (level, duration) = match (asked.level, asked.duration) {
        (None, None) => return Ok(format!("{}\n", telemetry::verbosity())),
        (Some(level), Some(duration)) => (level, duration),
        (Some(_), None) => return Err(HttpError::bad_request("duration is missing")),
        (None, Some(_)) => return Err(HttpError::bad_request("level is missing")),
    };
    let (level, duration) = read(&level, &duration).map_err(HttpError::bad_request)?;
    telemetry::set_verbosity(level, duration)
        .map_err(|bad| HttpError::bad_request(bad.to_string()))?;
    Ok(String::new())
}

/// Mesos' `10secs`, `5mins`, `1hrs`, and ours.
fn read(level: &str, duration: &str) -> Result<(u32, Duration), String> {
    let level: u32 = level
        .parse()
        .map_err(|_| format!("level {level:?} is no number from 0 on"))?;
    let duration =
        config::duration(duration).map_err(|rule| format!("duration {duration:?}: it {rule}"))?;
    Ok((level, duration))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_mesos_writes_them() {
        for (text, seconds) in [
            ("10secs", 10.0),
            ("5mins", 300.0),
            ("1hrs", 3_600.0),
            ("250ms", 0.25),
            ("1.5mins", 90.0),
        ] {
            let (level, duration) = read("1", text).expect(text);
            assert_eq!((level, duration.as_secs_f64()), (1, seconds));
        }
        for (level, duration, word) in [
            ("-1", "1secs", "\"-1\""),
            ("x", "1secs", "\"x\""),
            ("1", "5", "\"5\""),
            ("1", "-5secs", "\"-5secs\""),
        ] {
            let error = read(level, duration).expect_err(word);
            assert!(error.contains(word), "{error}");
        }
    }
}
