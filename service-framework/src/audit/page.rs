//! What was written down last, read back: the newest line first, over the file that is written and those put aside.

use std::fs;
use std::io;
use std::path::Path;

use serde_json::Value;

use super::{MAX_OLD_FILES, old};

/// Some lines.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Page {
    /// The newest first.
    pub(crate) lines: Vec<Value>,
    /// Whether there are older ones.
    pub(crate) more: bool,
}

/// Up to `limit` lines, after `offset` newer ones. One file, of 16 MiB, is in memory at a time. A line that a full disk has
/// cut off counts and is left out.
///
/// # Errors
/// When a file cannot be read.
pub(crate) fn read(path: &Path, offset: usize, limit: usize) -> io::Result<Page> {
    let mut page = Page::default();
    let mut skip = offset;
    for number in 0..=MAX_OLD_FILES {
        let bytes = match number {
            0 => fs::read(path),
            number => fs::read(old(path, number)),
        };
        let bytes = match bytes {
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            bytes => bytes?,
        };
        let lines = bytes.split(|byte| *byte == b'\n');
        for line in lines.filter(|line| !line.is_empty()).rev() {
            if skip > 0 {
                skip -= 1;
            } else if page.lines.len() == limit {
                page.more = true;
                return Ok(page);
            } else if let Ok(line) = serde_json::from_slice(line) {
                page.lines.push(line);
            }
        }
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_come_first_over_all_files() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("audit.log");
        fs::write(&path, "{\"n\":4}\n{\"n\":5}\n").expect("written");
        fs::write(old(&path, 1), "{\"n\":2}\n{\"n\":\n{\"n\":3}\n").expect("written");
        fs::write(old(&path, 2), "{\"n\":1}\n").expect("written");
        let numbers = |offset, limit| {
            let page = read(&path, offset, limit).expect("read");
            let lines = page.lines.iter().map(|line| line["n"].as_u64());
            (lines.collect::<Vec<_>>(), page.more)
        };

        let all: Vec<_> = (1..=5).rev().map(Some).collect();
        assert_eq!(numbers(0, 10), (all.clone(), false));
        assert_eq!(numbers(0, 2), (all[..2].to_vec(), true));
        assert_eq!(numbers(1, 2), (all[1..3].to_vec(), true));
        assert_eq!(numbers(4, 10), (all[3..].to_vec(), false));
        assert_eq!(numbers(9, 10), (Vec::new(), false));
        let nothing = read(&directory.path().join("none"), 0, 1);
        assert_eq!(nothing.expect("read"), Page::default());
    }
}
