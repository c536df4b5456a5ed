//! Roles: names in a tree, `prod/web` below `prod`; `*` is everybody's.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::ids::MAX_ID_BYTES;

/// Who resources are given to. A path of components; the default is [`Role::any`], `*`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Role(Arc<str>);

/// A text that cannot be a role (rules as in Mesos' `roles.cpp`).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bad role {text:?}: {rule}")]
pub struct BadRole {
    text: String,
    rule: &'static str,
}

impl Role {
    /// The role `*`: unreserved resources and frameworks that name no role.
    pub fn any() -> Self {
        Self(Arc::from("*"))
    }

    /// How many clones there are of it, itself among them. Reading it brings near in memory what the next clone changes.
    pub fn sharers(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    /// Whether both are the same text in memory; then they are equal, and otherwise they may be.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Checks a text and takes it as a role.
    ///
    /// # Errors
    /// [`BadRole`] names the text and the rule it breaks.
    pub fn new(text: &str) -> Result<Self, BadRole> {
        let bad = |rule| {
            Err(BadRole {
                text: text.chars().take(80).collect(),
                rule,
            })
        };
        if text == "*" {
            return Ok(Self::any());
        }
        if text.is_empty() || text.len() > MAX_ID_BYTES {
            return bad("a role has 1 to 255 bytes");
        }
        if text.starts_with('/') || text.ends_with('/') || text.contains("//") {
            return bad("no slash at either end, none doubled");
        }
        for component in text.split('/') {
            if matches!(component, "." | ".." | "*") {
                return bad("no component is '.', '..' or '*'");
            }
            if component.starts_with('-') {
                return bad("no component begins with '-'");
            }
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return bad("no white space, no control characters");
        }
        Ok(Self(Arc::from(text)))
    }

    /// The role as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first component: quota is set on these.
    pub fn top_level(&self) -> Self {
        match self.0.split_once('/') {
            Some((top, _)) => Self(Arc::from(top)),
            None => self.clone(),
        }
    }

    /// The role one level up; `None` at the top.
    pub fn parent(&self) -> Option<Self> {
        self.0
            .rsplit_once('/')
            .map(|(parent, _)| Self(Arc::from(parent)))
    }

    /// Whether this role is `other` or stands below it.
    pub fn is_within(&self, other: &Self) -> bool {
        match self.0.strip_prefix(&*other.0) {
            Some(rest) => rest.is_empty() || rest.starts_with('/'),
            None => false,
        }
    }
}

impl Default for Role {
    fn default() -> Self {
        Self::any()
    }
}

impl FromStr for Role {
    type Err = BadRole;
    fn from_str(text: &str) -> Result<Self, BadRole> {
        Self::new(text)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "role {}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_a_clean_path() {
        for bad in [
            "", "/a", "a/", "a//b", "a/../b", "a/.", "a/*", "-a", "a/-b", "a b", "a\u{7f}",
        ] {
            assert!(Role::new(bad).is_err(), "{bad:?}");
        }
        assert_eq!(
            Role::new("prod/web/eu").expect("good").parent(),
            Some(Role::new("prod/web").expect("good"))
        );
    }

    #[test]
    fn within_follows_components_not_letters() {
        let role = |text| Role::new(text).expect("good");

        assert!(role("a/b").is_within(&role("a")));
        assert!(role("a").is_within(&role("a")));
        assert!(!role("ab").is_within(&role("a")));
        assert_eq!(role("a/b/c").top_level(), role("a"));
    }
}
