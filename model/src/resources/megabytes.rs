//! Memory and disk: thousandths of a MB of 2^20 bytes, as Mesos counts them, and the bytes that they are.

use super::MEBIBYTE;

/// One MB of memory or disk, in thousandths.
pub const MB_MILLI: u64 = 1_000;

/// Bytes that hold so many thousandths of a MB: rounded up.
pub const fn bytes_of(milli: u64) -> u64 {
    let (whole, rest) = (milli / MB_MILLI, milli % MB_MILLI);
    let rest = (rest * MEBIBYTE).div_ceil(MB_MILLI);
    whole.saturating_mul(MEBIBYTE).saturating_add(rest)
}

/// Whole thousandths of a MB that are in so many bytes.
pub const fn milli_within(bytes: u64) -> u64 {
    let (whole, rest) = (bytes / MEBIBYTE, bytes % MEBIBYTE);
    whole * MB_MILLI + rest * MB_MILLI / MEBIBYTE
}

/// The thousandths of a MB that are nearest to so many bytes: those that became [bytes](bytes_of), also where these were added
/// and taken away since.
pub const fn milli_nearest(bytes: u64) -> u64 {
    let (whole, rest) = (bytes / MEBIBYTE, bytes % MEBIBYTE);
    whole * MB_MILLI + (rest * MB_MILLI + MEBIBYTE / 2) / MEBIBYTE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_hold_what_they_stand_for_and_no_more() {
        assert_eq!(bytes_of(0), 0);
        assert_eq!(bytes_of(1), 1_049);
        assert_eq!(bytes_of(10_400), 10_905_191);
        assert_eq!(bytes_of(2_048_000), 2_048 * MEBIBYTE);
        assert_eq!(bytes_of(u64::MAX), u64::MAX);
        assert_eq!(milli_within(1_048), 0);
        assert_eq!(milli_nearest(1_048), 1);
        assert_eq!(milli_within(u64::MAX), milli_nearest(u64::MAX) - 1);
        for milli in (0..3_000).chain([10_400, 1_566, 999_999_999, 1 << 50]) {
            let bytes = bytes_of(milli);
            assert_eq!((milli_within(bytes), milli_nearest(bytes)), (milli, milli));
            if milli > 0 {
                assert_eq!(milli_within(bytes - 1), milli - 1);
                assert_eq!(milli_nearest(bytes - 1), milli);
            }
        }
    }
}
