//! Users of the host by name, from `/etc/passwd` and `/etc/group`.
//!
//! Read anew for each task: users come and go, and a task is rare compared with a file of some
//! kilobytes. Directories beyond these files (LDAP and the like) are not asked.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use mete_agent_core::task_dir::{Launch, Root, TaskDir, User};

use crate::shims;

/// Why a task cannot run as a user.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// There is no such user.
    #[error("Failed to get user information for '{0}': it is not known on this host")]
    Unknown(String),
    /// There is no such group.
    #[error("group {0:?} is not known on this host")]
    Group(String),
    /// It would have to be looked up in an image.
    #[error("user {0:?} of an image is not looked up for commands inside tasks; say its number")]
    OfImage(String),
    /// The agent is not root, and it is another user.
    #[error("the agent runs as user id {own}, so it cannot run tasks as {name}")]
    NotRoot {
        /// The agent's.
        own: u32,
        /// The one asked for.
        name: String,
    },
    /// The files cannot be read.
    #[error("the user database cannot be read")]
    Unreadable(#[from] io::Error),
}

/// The user that a task asks for, by name or number; `None` when the agent is that user already.
///
/// # Errors
/// [`UserError`] names the user.
pub fn look_up(name: &str) -> Result<Option<User>, UserError> {
    let own = rustix::process::geteuid().as_raw();
    let passwd = fs::read_to_string("/etc/passwd")?;
    let group = fs::read_to_string("/etc/group").unwrap_or_default();
    let user = find(name, &passwd, &group).ok_or_else(|| UserError::Unknown(name.to_owned()))?;
    match (user.uid == own, own == 0) {
        (true, _) => Ok(None),
        (false, true) => Ok(Some(user)),
        (false, false) => Err(UserError::NotRoot {
            own,
            name: name.to_owned(),
        }),
    }
}

/// The user that a command inside a task asks for, by name or number; `None` when the agent is not root: all that it runs has
/// its user. Names of the image that a container is made of are not looked up: there a user is a number, or `root`.
///
/// # Errors
/// [`UserError`] names the user.
pub(crate) fn for_session(dir: &TaskDir, name: &str) -> Result<Option<User>, UserError> {
    let launch: Launch = shims::read_file(&dir.launch()).map_err(io::Error::other)?;
    let is_root = rustix::process::geteuid().is_root();
    let alone = |name: &str, id: u32| User {
        name: name.to_owned(),
        uid: id,
        gid: id,
        groups: vec![id],
    };
    let is_of_image = launch
        .container
        .is_some_and(|container| match container.root {
            Root::Layers(_) | Root::Directory { .. } => true,
            Root::Machine { .. } => false,
        });
    if is_of_image {
        let number = if name == "root" {
            Some(0)
        } else {
            name.parse().ok()
        };
        let number = number.ok_or_else(|| UserError::OfImage(name.to_owned()))?;
        return Ok(Some(alone(name, number)));
    }
    match look_up(name)? {
        None if is_root => Ok(Some(alone("root", 0))),
        found => Ok(found),
    }
}

/// Names of users and groups of the machine by their numbers.
pub(crate) struct Names {
    users: BTreeMap<u32, String>,
    groups: BTreeMap<u32, String>,
}

impl Names {
    /// Reads the two files; those of one that cannot be read have none. Blocks.
    pub(crate) fn of_machine() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        Self {
            users: by_number(&read("/etc/passwd")),
            groups: by_number(&read("/etc/group")),
        }
    }

    /// What a user is called: by the number when nothing else is known.
    pub(crate) fn user(&self, id: u32) -> String {
        self.users
            .get(&id)
            .map_or_else(|| id.to_string(), Clone::clone)
    }

    /// The same of a group.
    pub(crate) fn group(&self, id: u32) -> String {
        self.groups
            .get(&id)
            .map_or_else(|| id.to_string(), Clone::clone)
    }
}

/// Of the lines of either file; the first of several names of a number, as the C library has it.
fn by_number(text: &str) -> BTreeMap<u32, String> {
    let mut names = BTreeMap::new();
    for line in text.lines() {
        let mut fields = line.split(':');
        if let (Some(name), Some(number)) = (fields.next(), fields.nth(1))
            && let Ok(number) = number.parse()
        {
            names.entry(number).or_insert_with(|| name.to_owned());
        }
    }
    names
}

/// The numbers of groups of the machine, by name or number. Blocks.
///
/// # Errors
/// [`UserError::Group`] names one that is not known.
pub(crate) fn groups_of_machine(names: &[String]) -> Result<Vec<u32>, UserError> {
    let text = fs::read_to_string("/etc/group").unwrap_or_default();
    let found = names.iter().map(|name| {
        let gid = group_of(name, &text);
        gid.ok_or_else(|| UserError::Group(name.clone()))
    });
    found.collect()
}

/// The number of a group by its name in the text of the file; a number need not be known.
pub(super) fn group_of(name: &str, group: &str) -> Option<u32> {
    let by_name = group.lines().find_map(|line| {
        let mut fields = line.split(':');
        let is_it = fields.next()? == name;
        let gid = fields.nth(1)?.parse().ok()?;
        is_it.then_some(gid)
    });
    by_name.or_else(|| name.parse().ok())
}

/// Finds a user in the text of the two files.
pub(super) fn find(name: &str, passwd: &str, group: &str) -> Option<User> {
    let number: Option<u32> = name.parse().ok();
    let entry = |line: &str| -> Option<User> {
        let mut fields = line.split(':');
        let (found, uid, gid) = (
            fields.next()?,
            fields.nth(1)?.parse().ok()?,
            fields.next()?.parse().ok()?,
        );
        (found == name || number == Some(uid)).then(|| User {
            name: found.to_owned(),
            uid,
            gid,
            groups: vec![gid],
        })
    };
    let mut user = passwd.lines().find_map(entry)?;
    for line in group.lines() {
        let mut fields = line.split(':');
        let gid: Option<u32> = fields.nth(2).and_then(|gid| gid.parse().ok());
        let is_member = fields
            .next()
            .is_some_and(|members| members.split(',').any(|member| member == user.name));
        user.groups
            .extend(gid.filter(|gid| is_member && *gid != user.gid));
    }
    Some(user)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nweb:x:1001:1002:Web,,,:/srv:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nweb:x:1002:web\nlogs:x:50:adm,web\nwebs:x:51:webmaster\n";

    #[test]
    fn a_user_comes_with_all_groups() {
        let user = find("web", PASSWD, GROUP).unwrap();

        assert_eq!(
            user,
            User {
                name: "web".into(),
                uid: 1_001,
                gid: 1_002,
                groups: vec![1_002, 50]
            }
        );
        assert_eq!(find("1001", PASSWD, GROUP), Some(user));
        assert_eq!(find("we", PASSWD, GROUP), None);
    }

    #[test]
    fn numbers_have_the_first_name_that_stands_for_them() {
        let twice = format!("{GROUP}again:x:50:\n");

        assert_eq!(by_number(PASSWD)[&1_001], "web");
        assert_eq!(by_number(&twice)[&50], "logs");
        assert_eq!(Names::of_machine().user(4_000_000_001), "4000000001");
    }

    #[test]
    fn an_unknown_user_is_named() {
        let error = look_up("no-such-user-here").unwrap_err();

        assert_eq!(
            error.to_string(),
            "Failed to get user information for 'no-such-user-here': it is not known on this host"
        );
    }
}
