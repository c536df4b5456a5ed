//! Users inside an image: by its own `/etc/passwd` and `/etc/group`, as far as it has them.

use std::io::Read;
use std::path::PathBuf;

use mete_agent_core::task_dir::User;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2};

use super::users;

/// The largest user database that is read.
const MAX_BYTES: u64 = 1 << 20;

/// A user of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageUser {
    /// The numbers.
    pub user: User,
    /// The home directory, when the image knows the user.
    pub home: Option<String>,
}

/// Why a user cannot be found.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageUserError {
    /// A name that the image does not know.
    #[error("user {0:?} is not known in the image")]
    User(String),
    /// The same of a group.
    #[error("group {0:?} is not known in the image")]
    Group(String),
}

/// Finds `user`, `uid`, `user:group` or `uid:gid`, who is in `more` groups as well, by name or number. A number need not be
/// known; then the group is root's.
///
/// # Errors
/// A name that the image does not know. Blocks for a moment.
pub fn find(text: &str, more: &[String], layers: &[PathBuf]) -> Result<ImageUser, ImageUserError> {
    let (passwd, group) = (file(layers, "etc/passwd"), file(layers, "etc/group"));
    let mut found = look_up(text, &passwd, &group)?;
    for name in more {
        let gid = users::group_of(name, &group);
        let gid = gid.ok_or_else(|| ImageUserError::Group(name.clone()))?;
        found.user.groups.push(gid);
    }
    Ok(found)
}

fn look_up(text: &str, passwd: &str, group: &str) -> Result<ImageUser, ImageUserError> {
    let (name, group_name) = match text.split_once(':') {
        Some((name, group)) => (name, Some(group).filter(|group| !group.is_empty())),
        None => (text, None),
    };
    let known = users::find(name, passwd, group);
    let mut user = match (known, name.parse()) {
        (Some(user), _) => user,
        (None, Ok(uid)) => User {
            name: name.to_owned(),
            uid,
            gid: 0,
            groups: vec![0],
        },
        (None, Err(_)) => return Err(ImageUserError::User(name.to_owned())),
    };
    if let Some(wanted) = group_name {
        let gid = users::group_of(wanted, group);
        user.gid = gid.ok_or_else(|| ImageUserError::Group(wanted.to_owned()))?;
        user.groups = vec![user.gid];
    }
    let home = passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        match fields[..] {
            [_, _, uid, _, _, home, ..] if uid.parse() == Ok(user.uid) => Some(home.to_owned()),
            _ => None,
        }
    });
    Ok(ImageUser {
        user,
        home: home.filter(|home| home.starts_with('/')),
    })
}

/// The text of a file in the highest layer that has it; empty when none does. Links are followed inside the layer only.
fn file(layers: &[PathBuf], path: &str) -> String {
    let text = layers.iter().rev().find_map(|layer| {
        let directory = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let layer = open(layer, directory, Mode::empty()).ok()?;
        // What claims to be a file may be a pipe, at which one would wait.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let file = openat2(&layer, path, flags, Mode::empty(), resolve).ok()?;
        let kind = FileType::from_raw_mode(fstat(&file).ok()?.st_mode);
        let mut bytes = Vec::new();
        if kind == FileType::RegularFile {
            std::fs::File::from(file)
                .take(MAX_BYTES)
                .read_to_end(&mut bytes)
                .ok()?;
        }
        Some(String::from_utf8_lossy(&bytes).into_owned())
    });
    text.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:101:102::/var/web:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nweb:x:102:\nlogs:x:4:web\n";

    fn numbers(text: &str) -> Option<(u32, u32, Vec<u32>, Option<String>)> {
        let found = look_up(text, PASSWD, GROUP).ok()?;
        Some((
            found.user.uid,
            found.user.gid,
            found.user.groups,
            found.home,
        ))
    }

    #[test]
    fn users_of_images_have_names_and_numbers() {
        let home = || Some("/var/web".to_owned());
        assert_eq!(numbers("web"), Some((101, 102, vec![102, 4], home())));
        assert_eq!(numbers("101"), numbers("web"));
        assert_eq!(numbers("web:logs"), Some((101, 4, vec![4], home())));
        assert_eq!(numbers("5000"), Some((5000, 0, vec![0], None)));
        assert_eq!(numbers("5000:6000"), Some((5000, 6000, vec![6000], None)));
        assert_eq!(numbers("nobody"), None);
        assert_eq!(numbers("web:nobodies"), None);
    }

    #[test]
    fn groups_are_added_by_name_or_number() {
        let layer = tempfile::tempdir().unwrap();
        std::fs::create_dir(layer.path().join("etc")).unwrap();
        std::fs::write(layer.path().join("etc/group"), GROUP).unwrap();
        let layers = [layer.path().to_owned()];
        let groups = |more: &[&str]| {
            let more: Vec<_> = more.iter().map(|&name| name.to_owned()).collect();
            find("7:8", &more, &layers).map(|found| found.user.groups)
        };

        assert_eq!(groups(&["logs", "99"]), Ok(vec![8, 4, 99]));
        let unknown = ImageUserError::Group("nobodies".to_owned());
        assert_eq!(groups(&["nobodies"]), Err(unknown));
    }

    #[test]
    fn a_link_in_an_image_leads_nowhere_outside() {
        let layers = tempfile::tempdir().unwrap();
        let (low, high) = (layers.path().join("low"), layers.path().join("high"));
        for layer in [&low, &high] {
            std::fs::create_dir_all(layer.join("etc")).unwrap();
        }
        std::fs::write(low.join("etc/passwd"), PASSWD).unwrap();
        std::os::unix::fs::symlink("/../../../etc/hostname", high.join("etc/group")).unwrap();

        assert_eq!(file(&[low.clone(), high.clone()], "etc/passwd"), PASSWD);
        assert_eq!(file(&[low, high], "etc/group"), "");
    }
}
