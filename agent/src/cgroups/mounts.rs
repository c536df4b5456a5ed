//! Where the hierarchies of control groups are mounted: from `/proc/self/mountinfo`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::disks;

/// The mounted hierarchies of this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hierarchies {
    /// Version 1: controller → mount point.
    pub v1: BTreeMap<String, PathBuf>,
    /// Version 2: mount point.
    pub v2: Option<PathBuf>,
}

impl Hierarchies {
    /// Of this host; none when `/proc` cannot be read. Without version 1's `blkio` where no disk has a scheduler that heeds
    /// its weights: such groups would cost each task something and do nothing.
    pub fn of_this_host() -> Self {
        let mut found =
            Self::parse(&std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default());
        if !disks::are_weighed(Path::new("/sys/block")) {
            found.v1.remove(disks::CONTROLLER_V1);
        }
        found
    }

    /// From the text of a mountinfo file. The first mount of a hierarchy counts.
    pub fn parse(text: &str) -> Self {
        let mut found = Self::default();
        for line in text.lines() {
            // <id> <parent> <device> <root> <mount point> <options> … - <type> <source> <super options>
            let Some((left, right)) = line.split_once(" - ") else {
                continue;
            };
            let Some(mount_point) = left.split(' ').nth(4).map(unescape) else {
                continue;
            };
            let mut right = right.split(' ');
            match (right.next(), right.nth(1)) {
                (Some("cgroup2"), _) => drop(found.v2.get_or_insert(mount_point)),
                (Some("cgroup"), Some(options)) => {
                    // Options that are no controllers (`rw`, `name=systemd`) are never asked for.
                    for option in options.split(',') {
                        found
                            .v1
                            .entry(option.to_owned())
                            .or_insert_with(|| mount_point.clone());
                    }
                }
                _ => {}
            }
        }
        found
    }
}

/// Undoes the kernel's `\040` for a space and the like.
fn unescape(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after
            .get(..3)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        match code
            .and_then(|digits| u8::from_str_radix(digits, 8).ok())
            .filter(|_| *first == b'\\')
        {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    PathBuf::from(<std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(bytes))
}
