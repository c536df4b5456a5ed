//! Spans and moments: seconds as doubles, nanoseconds as 64-bit numbers.

use std::time::Duration;

use mete_model::Timestamp;

use super::ConvertError;
use crate::mesos::v1 as wire;

/// A span given in seconds.
///
/// # Errors
/// When it is negative, not a number, or beyond all measure.
pub fn duration(path: &str, seconds: f64) -> Result<Duration, ConvertError> {
    Duration::try_from_secs_f64(seconds).map_err(|_| {
        ConvertError::bad_value(path, seconds, "a span is a number of seconds, at least 0")
    })
}

/// A span given in nanoseconds.
///
/// # Errors
/// When it is negative.
pub fn duration_of(path: &str, info: wire::DurationInfo) -> Result<Duration, ConvertError> {
    u64::try_from(info.nanoseconds)
        .map(Duration::from_nanos)
        .map_err(|_| {
            ConvertError::bad_value(path, info.nanoseconds, "a span is at least 0 nanoseconds")
        })
}

/// A span in nanoseconds; what is longer than 292 years is cut.
pub fn duration_info(span: Duration) -> wire::DurationInfo {
    wire::DurationInfo {
        nanoseconds: i64::try_from(span.as_nanos()).unwrap_or(i64::MAX),
    }
}

/// A moment given in seconds since the epoch.
///
/// # Errors
/// When it is before the epoch or not a number.
pub fn moment(path: &str, seconds: f64) -> Result<Timestamp, ConvertError> {
    Timestamp::from_secs_f64(seconds).ok_or_else(|| {
        ConvertError::bad_value(path, seconds, "a moment is a number of seconds since 1970")
    })
}

/// A moment given in nanoseconds since the epoch, cut to microseconds.
///
/// # Errors
/// When it is before the epoch.
pub fn moment_of(path: &str, info: wire::TimeInfo) -> Result<Timestamp, ConvertError> {
    u64::try_from(info.nanoseconds)
        .map(|nanoseconds| Timestamp::from_micros(nanoseconds / 1_000))
        .map_err(|_| ConvertError::bad_value(path, info.nanoseconds, "a moment is not before 1970"))
}

/// A moment in nanoseconds since the epoch; what is later than the year 2262 is cut.
pub fn time_info(moment: Timestamp) -> wire::TimeInfo {
    let nanoseconds = moment.as_micros().saturating_mul(1_000);
    wire::TimeInfo {
        nanoseconds: i64::try_from(nanoseconds).unwrap_or(i64::MAX),
    }
}
