//! Ids of apps and groups: absolute paths.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The longest app id, in bytes: with `.instance-<uuid>._app.<n>` behind it a task id must fit 255 bytes.
pub const MAX_APP_ID_BYTES: usize = 190;

/// The most segments of an id. A group is printed in the group it lies in, two levels of JSON for each segment, and usual
/// parsers follow no more than 128.
const MAX_SEGMENTS: usize = 32;

/// Last segments that mean something else in the paths of the API.
pub const RESERVED_SEGMENTS: [&str; 3] = ["restart", "tasks", "versions"];

/// A path that names an app or a group of apps: `/shop/web`. Always absolute, never the root.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AppId(Arc<str>);

/// A text that cannot be an app id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bad app id {text:?}: {rule}")]
pub struct BadAppId {
    text: String,
    rule: &'static str,
}

impl BadAppId {
    /// The rule it breaks, in the words of the API.
    pub const fn rule(&self) -> &'static str {
        self.rule
    }
}

impl AppId {
    /// Takes a path with or without slashes at its ends and makes it absolute.
    ///
    /// # Errors
    /// [`BadAppId`] when it is the root, too long or too deep, ends in a word the API needs, or a segment is not made of `a-z`,
    /// `0-9`, `-` and `.`, with a letter or digit at both ends.
    pub fn new(text: &str) -> Result<Self, BadAppId> {
        let bad = |rule| {
            let text = text.chars().take(80).collect();
            Err(BadAppId { text, rule })
        };
        if text.len() > MAX_APP_ID_BYTES {
            return bad("must not be longer than 190 bytes");
        }
        let inner = text.trim_matches('/');
        if inner.is_empty() {
            return bad("must not be empty");
        }
        if inner.split('/').count() > MAX_SEGMENTS {
            return bad("must not have more than 32 segments");
        }
        if !inner.split('/').all(is_segment) {
            return bad(
                "must fully match regular expression '^(([a-z0-9]|[a-z0-9][a-z0-9\\-]*[a-z0-9])\\.)*([a-z0-9]|[a-z0-9][a-z0-9\\-]*[a-z0-9])|(\\.|\\.\\.)$'",
            );
        }
        if inner
            .rsplit('/')
            .next()
            .is_some_and(|last| RESERVED_SEGMENTS.contains(&last))
        {
            return bad("must not end in one of [restart, tasks, versions]");
        }
        Ok(Self(Arc::from(format!("/{inner}"))))
    }

    /// The absolute path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its segments, from the root.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0[1..].split('/')
    }

    /// The group it lies in; `None`: the root.
    pub fn parent(&self) -> Option<Self> {
        let (above, _) = self.0.rsplit_once('/')?;
        (!above.is_empty()).then(|| Self(Arc::from(above)))
    }

    /// The groups it lies in, the nearest first, without the root.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> {
        std::iter::successors(self.parent(), Self::parent)
    }

    /// The group right below the root that it lies in; `None`: it lies in the root itself.
    pub fn top_group(&self) -> Option<Self> {
        self.ancestors().last()
    }

    /// The role of that group: its name.
    pub fn group_role(&self) -> Option<&str> {
        let is_in_one = self.segments().nth(1).is_some();
        self.segments().next().filter(|_| is_in_one)
    }

    /// A path relative to `base` (`None`: the root) made absolute; `.` is here and `..` one up, of which the root has none.
    ///
    /// # Errors
    /// [`BadAppId`] as [`Self::new`].
    pub fn resolve(text: &str, base: Option<&Self>) -> Result<Self, BadAppId> {
        let mut segments: Vec<&str> = match base {
            Some(base) if !text.starts_with('/') => base.segments().collect(),
            Some(_) | None => Vec::new(),
        };
        for segment in text.split('/').filter(|segment| !segment.is_empty()) {
            match segment {
                "." => {}
                ".." => drop(segments.pop()),
                segment => segments.push(segment),
            }
        }
        Self::new(&segments.join("/"))
    }

    /// A path that was stored: a group may end in a word that an app may not.
    ///
    /// # Errors
    /// [`BadAppId`] when it is no path of segments.
    pub(crate) fn stored_group(text: &str) -> Result<Self, BadAppId> {
        let inner = text.trim_start_matches('/');
        if inner.split('/').all(is_segment) {
            return Ok(Self(Arc::from(format!("/{inner}"))));
        }
        Err(BadAppId {
            text: text.to_owned(),
            rule: "is no path",
        })
    }

    /// Whether this is `group` itself or lies below it.
    pub fn is_within(&self, group: &Self) -> bool {
        self.0
            .strip_prefix(&*group.0)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The same of a group or, when `None`, the root, in which everything lies.
    pub fn is_in(&self, group: Option<&Self>) -> bool {
        group.is_none_or(|group| self.is_within(group))
    }

    /// The segments reversed and joined by dots, as tasks are called: `/shop/web` is `web.shop`.
    pub fn task_name(&self) -> String {
        self.segments().rev().collect::<Vec<_>>().join(".")
    }

    /// The segments joined by `_`, as ids of instances and names of backends begin: `/shop/web` is `shop_web`.
    pub fn flat(&self) -> String {
        self.0[1..].replace('/', "_")
    }

    /// Back from [`Self::flat`]; possible because no segment holds a `_`.
    pub fn from_flat(flat: &str) -> Option<Self> {
        if flat.contains('/') {
            return None;
        }
        Self::new(&flat.replace('_', "/")).ok()
    }
}

/// Labels joined by dots, each of `a-z`, `0-9` and inner dashes.
fn is_segment(segment: &str) -> bool {
    segment.split('.').all(|label| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
    })
}

impl fmt::Display for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "app {}", self.0)
    }
}

/// Looked up by text; order and equality are those of the text.
impl std::borrow::Borrow<str> for AppId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for AppId {
    type Error = BadAppId;
    fn try_from(text: String) -> Result<Self, BadAppId> {
        Self::new(&text)
    }
}

impl From<AppId> for String {
    fn from(id: AppId) -> Self {
        id.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_made_absolute() {
        for text in ["web", "/web", "//web/", "web/"] {
            assert_eq!(AppId::new(text).expect("good").as_str(), "/web");
        }
        for bad in [
            "",
            "/",
            "/Web",
            "/a_b",
            "/-a",
            "/a-",
            "/a..b",
            "/a//b",
            "/a/restart",
            "/a b",
            &"x".repeat(200),
        ] {
            assert!(AppId::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_path_is_relative_to_where_it_is_said() {
        let id = |text| AppId::new(text).expect("good");
        let shop = id("/shop/eu");
        for (text, told) in [
            ("db", "/shop/eu/db"),
            ("./db", "/shop/eu/db"),
            ("../db", "/shop/db"),
            ("../../../db", "/db"),
            ("/db", "/db"),
            ("/a/../db", "/db"),
        ] {
            assert_eq!(AppId::resolve(text, Some(&shop)), Ok(id(told)), "{text}");
        }
        assert_eq!(AppId::resolve("../db", None), Ok(id("/db")));
        assert!(AppId::resolve("..", Some(&id("/shop"))).is_err());
        assert_eq!(shop.parent(), Some(id("/shop")));
        assert_eq!(id("/a/b/c").ancestors().count(), 2);
        assert_eq!(id("/a").parent(), None);
    }

    #[test]
    fn an_id_is_read_back_from_the_ids_of_its_instances() {
        let id = AppId::new("/shop/web-1.x").expect("good");

        assert_eq!(id.flat(), "shop_web-1.x");
        assert_eq!(AppId::from_flat(&id.flat()), Some(id.clone()));
        assert_eq!(id.task_name(), "web-1.x.shop");
        assert!(id.is_within(&AppId::new("/shop").expect("good")));
        assert!(!id.is_within(&AppId::new("/sho").expect("good")));
    }
}
