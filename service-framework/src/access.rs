//! Who may what: the access file, and the rights it gives.
//!
//! ```toml
//! [[principal]]
//! name = "shop-ci"
//! secret-sha256 = "…" # 64 hexadecimal digits
//! rights = [{ path = "/shop", right = "change" }, { path = "/db", right = "view" }]
//! ```
//! `view` shows what lies below the path, `change` also changes it, `admin` (of `/` only) may everything. Without a file
//! whoever is let in may everything, as does who shows the token of `--token-file`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use mete_daemon::auth::private_file::{self, PrivateFileError};
use mete_daemon::auth::{BadDigest, Callers, Known, Principal, SecretDigest, Token};
use mete_service_framework_core::spec::app::AppId;
use serde::Deserialize;
use tracing::info;

/// The largest file: a thousand principals with some rights each.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// Principals: each request is compared with all of them.
const MAX_PRINCIPALS: usize = 1_000;
/// Rights of one: each app of a list is compared with all of them.
const MAX_RIGHTS: usize = 100;
/// Names that stand for those the file does not know: who has shown the token, and who needs none.
const RESERVED: [&str; 2] = ["token", "anyone"];

/// Why an access file cannot be used. Says nothing of secrets.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// It cannot be read, or others may.
    #[error("access file cannot be used")]
    File(#[from] PrivateFileError),
    /// It is no TOML of the right shape.
    #[error("access file {}: {reason}", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// What the parser said, without the line it was said of.
        reason: String,
    },
    /// A principal makes no sense.
    #[error("access file {}: principal {name:?} {reason}", path.display())]
    Principal {
        /// The file.
        path: PathBuf,
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
}

/// What may be done with what lies below a path. Each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Right {
    View,
    Change,
    Admin,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    principal: Vec<WrittenPrincipal>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct WrittenPrincipal {
    name: String,
    secret_sha256: String,
    rights: Vec<WrittenRight>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRight {
    path: String,
    right: Right,
}

/// The rights of one caller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rights(Vec<(Option<AppId>, Right)>);

impl Rights {
    /// Everything.
    pub(crate) fn all() -> Self {
        Self(vec![(None, Right::Admin)])
    }

    /// Whether it has a right to an app or group and all below it; `None` is the root.
    pub(crate) fn has(&self, right: Right, path: Option<&AppId>) -> bool {
        self.0.iter().any(|(below, given)| {
            let is_below = match (below, path) {
                (None, _) => true,
                (Some(_), None) => false,
                (Some(below), Some(path)) => path.is_within(below),
            };
            is_below && *given >= right
        })
    }

    /// Whether something that it may see lies below a group, or is it.
    pub(crate) fn has_below(&self, group: &AppId) -> bool {
        let leads_there = |(below, _): &(Option<AppId>, Right)| {
            below.as_ref().is_some_and(|below| below.is_within(group))
        };
        self.has(Right::View, Some(group)) || self.0.iter().any(leads_there)
    }
}

/// What a file says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    known: Vec<Known>,
    rights: BTreeMap<Arc<str>, Arc<Rights>>,
}

/// Who may what, as it stands. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Access {
    file: Option<PathBuf>,
    callers: Callers,
    rights: Arc<ArcSwap<BTreeMap<Arc<str>, Arc<Rights>>>>,
    everything: Arc<Rights>,
    nothing: Arc<Rights>,
}

impl Access {
    /// Reads the file, when there is one.
    ///
    /// # Errors
    /// When it cannot be used.
    pub(crate) fn read(file: Option<&Path>, token: Option<Token>) -> Result<Self, AccessError> {
        let read = file.map(read).transpose()?;
        let (callers, rights) = match read {
            None => (Callers::from(token), BTreeMap::new()),
            Some(read) => (Callers::known(token, read.known), read.rights),
        };
        Ok(Self {
            file: file.map(Path::to_owned),
            callers,
            rights: Arc::new(ArcSwap::from_pointee(rights)),
            everything: Arc::new(Rights::all()),
            nothing: Arc::default(),
        })
    }

    /// Reads the file again. What was read before holds on when it cannot be used.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub(crate) fn read_again(&self) -> Result<(), AccessError> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let read = read(file)?;
        info!(principals = read.known.len(), "access file read again");
        // Rights first: who is new has them when let in, who is gone has none.
        self.rights.store(Arc::new(read.rights));
        self.callers.set(read.known);
        Ok(())
    }

    /// Whom the server lets in.
    pub(crate) fn callers(&self) -> Callers {
        self.callers.clone()
    }

    /// What a caller may.
    pub(crate) fn of(&self, principal: &Principal) -> Arc<Rights> {
        if RESERVED.contains(&&*principal.name) {
            return Arc::clone(&self.everything);
        }
        let known = self.rights.load().get(&principal.name).cloned();
        known.unwrap_or_else(|| Arc::clone(&self.nothing))
    }
}

fn read(path: &Path) -> Result<Said, AccessError> {
    let text = private_file::read(path, MAX_FILE_BYTES)?;
    let shape = |reason: String| AccessError::Shape {
        path: path.to_owned(),
        reason,
    };
    // Only the message: the whole error shows the line, in which a secret may stand.
    let written = toml::from_str::<Written>(&text);
    let written = written.map_err(|error| shape(error.message().to_owned()))?;
    if written.principal.len() > MAX_PRINCIPALS {
        let count = written.principal.len();
        let reason = format!("has {count} principals, may have {MAX_PRINCIPALS}");
        return Err(shape(reason));
    }
    let (mut read, mut names) = (Said::default(), BTreeSet::new());
    for principal in written.principal {
        let name = principal.name.clone();
        let (known, rights) = checked(principal, &mut names).map_err(|reason| {
            let (path, name) = (path.to_owned(), name);
            AccessError::Principal { path, name, reason }
        })?;
        read.rights
            .insert(Arc::clone(&known.name), Arc::new(rights));
        read.known.push(known);
    }
    Ok(read)
}

fn checked(
    written: WrittenPrincipal,
    names: &mut BTreeSet<String>,
) -> Result<(Known, Rights), String> {
    let name = written.name;
    let is_plain = name
        .chars()
        .all(|letter| !letter.is_control() && letter != ':');
    if name.is_empty() || name.len() > 128 || !is_plain {
        return Err("has a name that is empty, longer than 128 bytes, or has a colon".to_owned());
    }
    if RESERVED.contains(&name.as_str()) {
        return Err("has a name that stands for others".to_owned());
    }
    if !names.insert(name.clone()) {
        return Err("is there twice".to_owned());
    }
    if written.rights.len() > MAX_RIGHTS {
        let count = written.rights.len();
        return Err(format!("has {count} rights, may have {MAX_RIGHTS}"));
    }
    let secret = SecretDigest::parse(&written.secret_sha256);
    let secret = secret.map_err(|bad: BadDigest| format!("has a secret-sha256 that {bad}"))?;
    let mut rights = Vec::new();
    for WrittenRight { path, right } in written.rights {
        let below = match path.as_str() {
            "/" => None,
            path if !path.starts_with('/') => {
                return Err(format!(
                    "has a right to {path:?}, which does not begin with a slash"
                ));
            }
            path => Some(AppId::new(path).map_err(|bad| bad.to_string())?),
        };
        if right == Right::Admin && below.is_some() {
            return Err(format!(
                "is admin of {path:?}: admin is of everything, path \"/\""
            ));
        }
        rights.push((below, right));
    }
    let name = name.into();
    Ok((Known { name, secret }, Rights(rights)))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use tempfile::TempDir;

    use super::*;

    fn written(text: &str, mode: u32) -> (TempDir, PathBuf) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("access.toml");
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("set");
        (directory, path)
    }

    fn principal(name: &str, digest: &str, rights: &str) -> String {
        format!(
            "[[principal]]\nname = \"{name}\"\nsecret-sha256 = \"{digest}\"\nrights = [{rights}]\n"
        )
    }

    fn id(text: &str) -> AppId {
        AppId::new(text).expect("good")
    }

    #[test]
    fn rights_are_of_all_below_a_path_and_of_nothing_beside_it() {
        let digest = SecretDigest::of("0123456789abcdef").to_string();
        let rights =
            "{ path = \"/shop\", right = \"change\" }, { path = \"/db/eu\", right = \"view\" }";
        let (_directory, path) = written(&principal("shop", &digest, rights), 0o600);

        let access = Access::read(Some(&path), None).expect("good");
        let of = |name: &str| access.of(&Principal { name: name.into() });
        let shop = of("shop");

        for (right, path, may) in [
            (Right::Change, "/shop", true),
            (Right::View, "/shop/web", true),
            (Right::Admin, "/shop", false),
            (Right::View, "/shop-2", false),
            (Right::View, "/db/eu/1", true),
            (Right::Change, "/db/eu/1", false),
            (Right::View, "/db", false),
        ] {
            assert_eq!(shop.has(right, Some(&id(path))), may, "{right:?} {path}");
        }
        assert!(!shop.has(Right::View, None));
        assert!(shop.has_below(&id("/db")) && !shop.has_below(&id("/x")));
        assert!(of("token").has(Right::Admin, None));
        assert_eq!(*of("nobody"), Rights::default());
    }

    #[test]
    fn a_file_that_others_may_read_or_that_makes_no_sense_is_refused_without_its_secrets() {
        let good = SecretDigest::of("0123456789abcdef").to_string();
        let one = principal("a", &good, "");
        for (text, mode, word) in [
            (one.clone(), 0o640, "chmod 600"),
            (one.clone(), 0o602, "chmod 600"),
            ("principal = 5".to_owned(), 0o600, "invalid type"),
            (one.clone() + &one, 0o600, "twice"),
            (principal("token", &good, ""), 0o600, "stands for others"),
            (principal("a:b", &good, ""), 0o600, "colon"),
            (
                principal("a", "my-secret", ""),
                0o600,
                "64 hexadecimal digits",
            ),
            (
                principal("a", &good, "{ path = \"x\", right = \"view\" }"),
                0o600,
                "slash",
            ),
            (
                principal("a", &good, "{ path = \"/A\", right = \"view\" }"),
                0o600,
                "regular expression",
            ),
            (
                principal("a", &good, "{ path = \"/\", right = \"own\" }"),
                0o600,
                "unknown variant",
            ),
            (
                principal("a", &good, "{ path = \"/a\", right = \"admin\" }"),
                0o600,
                "everything",
            ),
            (
                format!("{one}password = \"my-secret\""),
                0o600,
                "unknown field",
            ),
        ] {
            let (_directory, path) = written(&text, mode);
            let refused = Access::read(Some(&path), None).err().expect(word);
            let refused = mete_daemon::chain(&refused);
            assert!(refused.contains(word), "{refused}");
            assert!(
                !refused.contains("my-secret") && !refused.contains(&good),
                "{refused}"
            );
        }
    }

    #[test]
    fn a_bad_file_read_again_changes_nothing() {
        let digest = SecretDigest::of("0123456789abcdef").to_string();
        let rights = "{ path = \"/\", right = \"view\" }";
        let (_directory, path) = written(&principal("a", &digest, rights), 0o600);
        let access = Access::read(Some(&path), None).expect("good");
        let may_view = |name: &str| {
            let rights = access.of(&Principal { name: name.into() });
            rights.has(Right::View, None)
        };

        fs::write(&path, "nonsense").expect("written");
        assert!(access.read_again().is_err());
        assert!(may_view("a"));
        fs::write(&path, principal("b", &digest, rights)).expect("written");
        access.read_again().expect("good");

        assert!(may_view("b") && !may_view("a"));
    }
}
