//! Numbers as Marathon prints them: a whole one without a fraction.

use serde::Serializer;

/// Below this every whole `f64` is exact as an integer.
const EXACT: f64 = 9_007_199_254_740_992.0;

pub(super) fn optional<S: Serializer>(
    value: &Option<f64>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(number) if number.fract() == 0.0 && number.abs() < EXACT => {
            serializer.serialize_i64(*number as i64)
        }
        Some(number) => serializer.serialize_f64(*number),
        None => serializer.serialize_none(),
    }
}
