//! Moments as the API writes them: `2026-01-31T12:00:00.000Z`, UTC, three digits, always `Z`.

use mete_model::Timestamp;

const DAY_MS: u64 = 86_400_000;

/// A moment as the API writes it, cut down to milliseconds.
pub fn text(moment: Timestamp) -> String {
    let millis = moment.as_millis();
    let (year, month, day) = date(millis / DAY_MS);
    let of_day = millis % DAY_MS;
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        of_day / 3_600_000,
        of_day / 60_000 % 60,
        of_day / 1_000 % 60,
        of_day % 1_000
    )
}

/// Reads what [`text`] writes; the fraction may be left out or have up to nine digits, of which three count, and an offset
/// stand for the `Z`: `+02:00`.
pub fn parse(text: &str) -> Option<Timestamp> {
    let (text, ahead) = match text.strip_suffix('Z') {
        Some(text) => (text, 0),
        None => {
            let (text, offset) = text.split_at_checked(text.len().checked_sub(6)?)?;
            (text, offset_ms(offset)?)
        }
    };
    let (date_text, time_text) = text.split_once('T')?;
    let mut date_parts = date_text.splitn(3, '-').map(number);
    let (year, month, day) = (
        date_parts.next()??,
        date_parts.next()??,
        date_parts.next()??,
    );
    let (time_text, fraction) = time_text.split_once('.').unwrap_or((time_text, "0"));
    let mut time_parts = time_text.splitn(3, ':').map(number);
    let (hour, minute, second) = (
        time_parts.next()??,
        time_parts.next()??,
        time_parts.next()??,
    );
    let is_fraction =
        (1..=9).contains(&fraction.len()) && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let in_range =
        (1970..10_000).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !is_fraction || !in_range || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let millis = number(&format!("{fraction:0<3}")[..3])?;
    let of_day = ((hour * 60 + minute) * 60 + second) * 1_000 + millis;
    let days = days_since_1970(year, month, day);
    let utc = i64::try_from(days * DAY_MS + of_day).ok()? - ahead;
    let moment = Timestamp::from_millis(u64::try_from(utc).ok()?);
    (date(days) == (year, month, day)).then_some(moment)
}

/// How far a clock that shows `+02:00` is ahead.
fn offset_ms(text: &str) -> Option<i64> {
    let sign = match text.get(..1)? {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    let (hours, minutes) = text.get(1..)?.split_once(':')?;
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let minutes = (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)?;
    Some(sign * i64::try_from(minutes).ok()? * 60_000)
}

fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

/// Year, month, day of a day counted from 1970-01-01 (Hinnant, "chrono-compatible low-level date algorithms").
fn date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468; // days since 0000-03-01: the leap day ends a year that begins in March
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let year = year - u64::from(month <= 2);
    let year_of_era = year % 400;
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    (year / 400 * 146_097 + of_era).saturating_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_they_are_written() {
        for (millis, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_700_000_000_123, "2023-11-14T22:13:20.123Z"),
            (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
        ] {
            let moment = Timestamp::from_millis(millis);
            assert_eq!(text(moment), expected);
            assert_eq!(parse(expected), Some(moment));
        }
        for day in (0..60_000).step_by(7) {
            let moment = Timestamp::from_millis(day * DAY_MS + 1);
            assert_eq!(parse(&text(moment)), Some(moment));
        }
    }

    #[test]
    fn what_is_no_moment_is_not_read() {
        for bad in [
            "",
            "Z",
            "2023-02-30T00:00:00.000Z",
            "2023-11-14T22:13:20.123",
            "2023-11-14T25:00:00Z",
            "1-1-1T1:1:1.éZ",
            "2023-11-14T22:13:20+24:00",
            "2023-11-14T22:13:20.000é00",
            "1970-01-01T00:00:00+00:01",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        for same in [
            "2023-11-14T22:13:20.000+00:00",
            "2023-11-15T00:13:20+02:00",
            "2023-11-14T16:43:20-05:30",
        ] {
            let moment = Timestamp::from_millis(1_700_000_000_000);
            assert_eq!(parse(same), Some(moment), "{same}");
        }
        assert_eq!(
            parse("2023-11-14T22:13:20Z"),
            Some(Timestamp::from_millis(1_700_000_000_000))
        );
    }
}
