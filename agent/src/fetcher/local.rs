//! Files of this machine, as far as the task's user may read them.
//!
//! The agent may be root; what it copies into a sandbox belongs to the task. So the way to the file is walked with the
//! user's eyes: each directory must let the user pass, the file must let it read. Permission bits count, access lists
//! do not; a file behind a list is fetched over HTTP, or given to a group.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use mete_agent_core::task_dir::User;
use mete_model::Checksum;
use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, fstat, openat};

use super::Failure;
use super::digest::Sum;
use super::part::{Part, Parts};
use super::stop::Stop;

/// Bytes copied at once.
const PIECE_BYTES: usize = 128 << 10;
/// Permission bits, as for others.
const READ: u32 = 0o4;
const PASS: u32 = 0o1;

/// Copies a file into a part. Blocks.
pub(super) fn copy(
    path: &Path,
    checksum: Option<Checksum>,
    user: Option<&User>,
    parts: &Parts,
    stop: &Stop,
) -> Result<Part, Failure> {
    let mut from = open(path, user)?;
    let (mut part, mut to) = parts.create()?;
    let mut sum = Sum::new(checksum);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        stop.check()?;
        let count = from.read(&mut piece)?;
        let piece = piece.get(..count).unwrap_or_default();
        if piece.is_empty() {
            break;
        }
        sum.update(piece)?;
        to.write_all(piece)?;
    }
    part.bytes = sum.finish()?;
    Ok(part)
}

fn open(path: &Path, user: Option<&User>) -> Result<File, Failure> {
    // Links are followed here, and nowhere below.
    let path = fs::canonicalize(path)?;
    let way = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut place: OwnedFd = openat(CWD, "/", way, Mode::empty())?;
    let above = path.parent().and_then(|above| above.strip_prefix("/").ok());
    let denied = |user: &User| Failure::Denied(user.name.clone());
    let check = |place: &OwnedFd, bit| -> Result<Stat, Failure> {
        let stat = fstat(place)?;
        match user.filter(|user| !may(user, &stat, bit)) {
            Some(user) => Err(denied(user)),
            None => Ok(stat),
        }
    };
    for name in above.into_iter().flatten() {
        check(&place, PASS)?;
        place = openat(&place, name, way, Mode::empty())?;
    }
    check(&place, PASS)?;
    let name = path.file_name().unwrap_or_default();
    // A pipe must not wait for its other end, a terminal must not become ours.
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let located = openat(
        &place,
        name,
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let stat = check(&located, READ)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Failure::NotCarried("only plain files are fetched"));
    }
    let file = openat(&place, name, flags, Mode::empty())?;
    let opened = check(&file, READ)?;
    match (opened.st_dev, opened.st_ino) == (stat.st_dev, stat.st_ino) {
        true => Ok(file.into()),
        false => Err(Failure::NotCarried("it was replaced while it was opened")),
    }
}

/// Whether the permission bits of something give a user `bit`.
fn may(user: &User, stat: &Stat, bit: u32) -> bool {
    if user.uid == 0 {
        return true;
    }
    let shift = if stat.st_uid == user.uid {
        6
    } else if stat.st_gid == user.gid || user.groups.contains(&stat.st_gid) {
        3
    } else {
        0
    };
    stat.st_mode >> shift & bit == bit
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;

    fn user(uid: u32, gid: u32) -> User {
        User {
            name: "web".into(),
            uid,
            gid,
            groups: Vec::new(),
        }
    }

    #[test]
    fn a_file_is_read_with_the_eyes_of_the_user() {
        let directory = tempfile::tempdir().expect("a directory");
        let inner = directory.path().join("inner");
        fs::create_dir(&inner).expect("made");
        let path = inner.join("secret");
        fs::write(&path, "s").expect("written");
        let own = fs::metadata(&path).expect("there");
        let (uid, gid) = (own.uid(), own.gid());
        let set = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
        };
        set(directory.path(), 0o755);
        let allowed = |mode: u32, above: u32, user: &User| {
            set(&path, mode);
            set(&inner, above);
            match open(&path, Some(user)) {
                Ok(_) => true,
                Err(Failure::Denied(name)) => {
                    assert_eq!(name, "web");
                    false
                }
                Err(other) => panic!("{other}"),
            }
        };
        let stranger = user(uid + 4_001, gid + 4_001);
        let member = user(uid + 4_001, gid);

        assert!(allowed(0o644, 0o755, &stranger));
        assert!(!allowed(0o640, 0o755, &stranger));
        assert!(!allowed(0o644, 0o750, &stranger), "the directory is closed");
        assert!(allowed(0o640, 0o750, &member));
        assert!(!allowed(0o604, 0o755, &member), "its group may not");
        set(&inner, 0o755);
    }

    #[test]
    fn what_is_no_plain_file_is_not_opened() {
        for path in ["/dev/null", "/etc"] {
            let error = open(Path::new(path), None).expect_err(path);
            assert!(error.to_string().contains("only plain files"), "{error}");
        }
        let error = open(Path::new("/nowhere/at-all"), None).expect_err("nowhere");
        assert!(error.to_string().contains("No such file"), "{error}");
    }
}
