//! What names a volume, on one agent.

use std::fmt;
use std::sync::Arc;

use super::Resources;
use super::megabytes::bytes_of;
use super::tag::Tag;
use crate::ids::MAX_ID_BYTES;
use crate::role::Role;

/// Names a volume among those of one agent: two roles may use the same id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VolumeName {
    role: Role,
    id: String,
}

/// A text that cannot be the id of a volume, or a role that cannot have one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bad volume {id:?} of role {role}: {rule}")]
pub struct BadVolumeName {
    role: Role,
    id: String,
    rule: &'static str,
}

/// The rule of ids of volumes, which become names of directories.
pub const VOLUME_ID_RULE: &str =
    "it names a directory: 1 to 255 bytes, no slash, no control character, not '.' or '..'";

/// Whether a text can be the id of a volume: see [`VOLUME_ID_RULE`].
pub fn is_volume_id(id: &str) -> bool {
    !(id.is_empty()
        || id.len() > MAX_ID_BYTES
        || matches!(id, "." | "..")
        || id.contains(['/', '\\'])
        || id.chars().any(char::is_control))
}

impl VolumeName {
    /// A volume of a role.
    ///
    /// # Errors
    /// [`BadVolumeName`] says which rule is broken.
    pub fn new(role: Role, id: impl Into<String>) -> Result<Self, BadVolumeName> {
        let id = id.into();
        let rule = match is_volume_id(&id) {
            false => VOLUME_ID_RULE,
            true if role == Role::any() => "a volume is on disk that is reserved for a role",
            true => return Ok(Self { role, id }),
        };
        let id = id.chars().take(MAX_ID_BYTES).collect();
        Err(BadVolumeName { role, id, rule })
    }

    /// Whose it is: the role its disk is reserved for.
    pub const fn role(&self) -> &Role {
        &self.role
    }

    /// What the role calls it.
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// `prod/web: data`. Roles hold no spaces, so it is unambiguous.
impl fmt::Display for VolumeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.role, self.id)
    }
}

impl Tag {
    /// The name of the volume, when it is one that can be.
    pub fn volume_name(&self) -> Option<VolumeName> {
        let volume = self.volume.as_ref()?;
        VolumeName::new(self.role()?.clone(), volume.id.as_str()).ok()
    }
}

impl Resources {
    /// The volumes among them, with their tags and sizes in bytes.
    pub fn volumes(&self) -> impl Iterator<Item = (VolumeName, &Tag, u64)> {
        self.parts()
            .filter_map(|(tag, part)| Some((tag.volume_name()?, &**tag, bytes_of(part.disk_milli))))
    }

    /// The same with each volume as it is in `others`, if it is there: under its path, to be written or read only.
    #[must_use]
    pub fn with_volumes_as_in(&self, others: &Self) -> Self {
        if self.parts().all(|(tag, _)| tag.volume.is_none()) {
            return self.clone();
        }
        let mut same = self.clone().only_parts(|tag| tag.volume.is_none());
        for (tag, part) in self.parts().filter(|(tag, _)| tag.volume.is_some()) {
            let mut there = others.parts().map(|(there, _)| there);
            let there = there.find(|there| there.is_same_volume(tag));
            same.add_part(Arc::clone(there.unwrap_or(tag)), part.clone());
        }
        same
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_has_the_name_of_a_directory_and_a_role() {
        let role = Role::new("prod/web").expect("good");

        let name = VolumeName::new(role.clone(), "data").expect("good");

        assert_eq!(name.to_string(), "prod/web: data");
        for bad in ["", ".", "..", "a/b", "a\\b", "a\nb", &"x".repeat(256)] {
            assert!(VolumeName::new(role.clone(), bad).is_err(), "{bad:?}");
        }
        assert!(VolumeName::new(Role::any(), "data").is_err());
    }
}
