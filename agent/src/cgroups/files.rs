//! The files of control groups: numbers and lists as the kernel writes them.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::CgroupError;

/// Names the path in an error.
fn at(path: &Path) -> impl FnOnce(io::Error) -> CgroupError {
    let path = path.to_owned();
    |source| CgroupError { path, source }
}

/// Makes a group and those above it; one that is there is fine.
pub(super) fn make(group: &Path) -> Result<(), CgroupError> {
    fs::create_dir_all(group).map_err(at(group))
}

/// Writes one value. The file must be there: in a group nothing can be made.
pub(super) fn write(file: &Path, value: impl Display) -> Result<(), CgroupError> {
    // One write call: the kernel takes each for a value of its own.
    let value = value.to_string();
    let opened = fs::OpenOptions::new().write(true).open(file);
    opened
        .and_then(|mut open| open.write_all(value.as_bytes()))
        .map_err(at(file))
}

/// Hands a controller down to the groups below `group`.
pub(super) fn enable(group: &Path, controller: &str) -> Result<(), CgroupError> {
    let file = group.join("cgroup.subtree_control");
    if list(&file).contains(controller) {
        return Ok(());
    }
    write(&file, format!("+{controller}"))
}

/// The text of a file; empty when it cannot be read.
pub(super) fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_default()
}

/// The words of a file.
pub(super) fn list(file: &Path) -> BTreeSet<String> {
    read(file).split_whitespace().map(str::to_owned).collect()
}

/// The number in a file; `None` for `max`, which is no limit, and for what version 1 says instead.
pub(super) fn number(file: &Path) -> Option<u64> {
    /// Version 1 writes the largest number of pages for "no limit".
    const NO_LIMIT: u64 = 1 << 62;
    read(file)
        .trim()
        .parse()
        .ok()
        .filter(|number| *number < NO_LIMIT)
}

/// The number in the line `name N`.
pub(super) fn stat_line(file: &Path, name: &str) -> Option<u64> {
    read(file).lines().find_map(|line| {
        line.strip_prefix(name)?
            .strip_prefix(' ')?
            .trim()
            .parse()
            .ok()
    })
}

/// The names of the groups right below `group`.
pub(super) fn subgroups(group: &Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(group).into_iter().flatten().flatten();
    let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    directories.filter_map(|entry| entry.file_name().into_string().ok())
}

/// The processes of a group and of all groups below it.
pub(super) fn members_below(group: &Path, pids: &mut Vec<i32>) {
    pids.extend(
        read(&group.join("cgroup.procs"))
            .lines()
            .filter_map(|line| line.parse::<i32>().ok()),
    );
    for below in subgroups(group) {
        members_below(&group.join(below), pids);
    }
}

/// Removes a group, those inside it first; one that is gone is fine.
pub(super) fn remove_group(group: &Path) -> io::Result<()> {
    for below in subgroups(group).map(|name| -> PathBuf { group.join(name) }) {
        remove_group(&below)?;
    }
    match fs::remove_dir(group) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
