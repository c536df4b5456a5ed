//! RecordIO as it comes: each record is its length in decimal digits, a line feed, and so many bytes.

use axum::body::Bytes;
use futures::{Stream, StreamExt};

/// Digits of a length: enough for any record that is taken.
const MAX_DIGITS: usize = 10;

/// The records of a stream of bytes.
pub(super) struct Records<S> {
    bytes: S,
    buffer: Vec<u8>,
    most: usize,
}

impl<S, E> Records<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
{
    /// Of at most `most` bytes each.
    pub(super) const fn new(bytes: S, most: usize) -> Self {
        Self {
            bytes,
            buffer: Vec::new(),
            most,
        }
    }

    /// The next record; `None` at the end.
    ///
    /// # Errors
    /// In words, for what is no record or too long a one.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, String> {
        loop {
            if let Some(record) = self.take()? {
                return Ok(Some(record));
            }
            match self.bytes.next().await {
                Some(Ok(bytes)) => self.buffer.extend_from_slice(&bytes),
                // A caller that is gone has no more to say.
                Some(Err(_)) | None if self.buffer.is_empty() => return Ok(None),
                Some(Err(_)) | None => return Err("the last record is cut".to_owned()),
            }
        }
    }

    /// The record at the beginning of the buffer, if it is whole.
    fn take(&mut self) -> Result<Option<Bytes>, String> {
        let head = self.buffer.iter().take(MAX_DIGITS + 1);
        let Some(digits) = head.clone().position(|byte| *byte == b'\n') else {
            return match self.buffer.len() > MAX_DIGITS {
                true => Err("a record begins with its length and a line feed".to_owned()),
                false => Ok(None),
            };
        };
        let length = std::str::from_utf8(self.buffer.get(..digits).unwrap_or_default())
            .ok()
            .and_then(|text| text.trim().parse::<usize>().ok())
            .ok_or("a record begins with its length and a line feed")?;
        if length > self.most {
            return Err(format!(
                "a record of {length} bytes; at most {} are taken",
                self.most
            ));
        }
        let end = digits + 1 + length;
        if self.buffer.len() < end {
            return Ok(None);
        }
        let mut record: Vec<u8> = self.buffer.drain(..end).collect();
        record.drain(..=digits);
        Ok(Some(record.into()))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::stream;

    use super::*;

    async fn read(parts: &[&str]) -> (Vec<String>, Option<String>) {
        let parts: Vec<Result<Bytes, Infallible>> = parts
            .iter()
            .map(|part| Ok(Bytes::copy_from_slice(part.as_bytes())))
            .collect();
        let mut records = Records::new(stream::iter(parts), 10);
        let mut all = Vec::new();
        loop {
            match records.next().await {
                Ok(Some(record)) => all.push(String::from_utf8(record.to_vec()).expect("text")),
                Ok(None) => return (all, None),
                Err(words) => return (all, Some(words)),
            }
        }
    }

    #[tokio::test]
    async fn records_come_however_they_are_cut() {
        let whole = (
            vec!["abc".to_owned(), String::new(), "d\ne".to_owned()],
            None,
        );

        assert_eq!(read(&["3\nabc0\n3\nd\ne"]).await, whole);
        assert_eq!(read(&["3", "\nab", "c0", "\n", "3\nd", "\ne"]).await, whole);
    }

    #[tokio::test]
    async fn what_is_no_record_is_refused() {
        let words = |answer: (Vec<String>, Option<String>)| answer.1.expect("refused");

        assert!(words(read(&["x\nabc"]).await).contains("its length"));
        assert!(words(read(&["123456789012345"]).await).contains("its length"));
        assert!(words(read(&["11\n"]).await).contains("at most 10"));
        assert!(words(read(&["3\nab"]).await).contains("cut"));
    }
}
