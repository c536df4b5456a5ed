//! Values with a unit: durations and sizes, for `#[arg(value_parser = …)]`.

use std::time::Duration;

/// Reads a duration with its unit: `30s`, `250ms`, `1h 30m`.
///
/// # Errors
/// When the unit is missing or the duration is negative or out of range.
pub fn duration(text: &str) -> Result<Duration, String> {
    let span: jiff::SignedDuration = text
        .parse()
        .map_err(|_| "must be a duration with its unit, such as 250ms, 30s or 1h 30m".to_owned())?;
    Duration::try_from(span).map_err(|_| "must not be negative".to_owned())
}

/// Reads a size in bytes: `1048576`, `64KiB`, `512MiB`, `2GiB`, `1TiB` (powers of 1024), `10kB`, `5MB`, `2GB` (of 1000).
///
/// # Errors
/// When the text is no whole number, the unit is unknown or the size is out of range.
pub fn bytes(text: &str) -> Result<u64, String> {
    let digits = text
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim() {
        "" | "B" => 1,
        "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => {
            return Err(
                "must be a whole number of bytes, or with unit, such as 512MiB or 2GB".to_owned(),
            );
        }
    };
    let number: u64 = number
        .parse()
        .map_err(|_| "must begin with a whole number".to_owned())?;
    number
        .checked_mul(factor)
        .ok_or_else(|| "is out of range".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("1h 30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert!(duration("30").is_err());
        assert!(duration("-1s").is_err());
    }

    #[test]
    fn sizes_know_both_kinds_of_units() {
        assert_eq!(bytes("12"), Ok(12));
        assert_eq!(bytes("2KiB"), Ok(2048));
        assert_eq!(bytes("3 MB"), Ok(3_000_000));
        assert!(bytes("MiB").is_err());
        assert!(bytes("99999999TiB").is_err());
        assert!(bytes("1 parsec").is_err());
    }
}
