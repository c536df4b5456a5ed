//! References: what people call an image, in the full form that Docker's tools make of it.
//!
//! ```text
//! busybox                      docker.io/library/busybox:latest
//! me/app:1                     docker.io/me/app:1
//! registry:5000/app@sha256:…   registry:5000/app@sha256:…
//! ```
//! A digest wins over a tag. The grammar is that of the distribution project's reference package.

use std::fmt;

use super::digest::Digest;
use super::error::ImageError;

/// Where names without a registry live.
const DEFAULT_REGISTRY: &str = "docker.io";
/// The host that answers for [`DEFAULT_REGISTRY`].
const DEFAULT_REGISTRY_HOST: &str = "registry-1.docker.io";
/// The tag of who names none.
const DEFAULT_TAG: &str = "latest";
/// The longest name, registry included: the bound of the grammar.
const MAX_NAME_BYTES: usize = 255;
/// The longest tag: the bound of the grammar.
const MAX_TAG_BYTES: usize = 128;
/// What is shown of a text that is no reference; it may be of any size.
const SHOWN_CHARS: usize = 100;

/// An image's name in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// Reads a reference and fills in what Docker fills in.
    ///
    /// # Errors
    /// [`ImageError::BadReference`] says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, ImageError> {
        let bad = |why| ImageError::BadReference {
            text: text.chars().take(SHOWN_CHARS).collect(),
            why,
        };
        let (rest, digest) = match text.split_once('@') {
            None => (text, None),
            Some((rest, digest)) => {
                let digest = Digest::parse(digest)
                    .ok_or_else(|| bad("the digest is not sha256: or sha512: with its digits"))?;
                (rest, Some(digest))
            }
        };
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            Some(_) | None => (rest, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(bad(
                "the tag is not of letters, digits, '.', '_' and '-', at most 128",
            ));
        }
        let (registry, repository) = split_name(name);
        if !is_host(&registry) {
            return Err(bad("the registry is not a host with or without a port"));
        }
        if !repository.split('/').all(is_component) {
            return Err(bad(
                "the name is not of lower-case letters and digits, parted by '/', '.', '_' and '-'",
            ));
        }
        if registry.len() + 1 + repository.len() > MAX_NAME_BYTES {
            return Err(bad("the name is longer than 255 bytes"));
        }
        let tag = match (tag, &digest) {
            (None, None) => Some(DEFAULT_TAG),
            (tag, _) => tag,
        };
        Ok(Self {
            registry,
            repository,
            tag: tag.map(str::to_owned),
            digest,
        })
    }

    /// The registry as it is named: `docker.io`, `registry:5000`.
    pub(crate) fn registry(&self) -> &str {
        &self.registry
    }

    /// Host and port that are asked for it.
    pub(crate) fn host(&self) -> &str {
        match self.registry.as_str() {
            DEFAULT_REGISTRY => DEFAULT_REGISTRY_HOST,
            other => other,
        }
    }

    /// The name below the registry.
    pub(crate) fn repository(&self) -> &str {
        &self.repository
    }

    /// What the content must be, when that is said.
    pub(crate) const fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// What a registry is asked for: the digest, else the tag.
    pub(crate) fn version(&self) -> &str {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.as_str(),
            (None, Some(tag)) => tag,
            (None, None) => DEFAULT_TAG,
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

/// Registry and repository. The first part is a registry when it looks like a host.
fn split_name(name: &str) -> (String, String) {
    let (registry, repository) = match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.contains(|c: char| c.is_ascii_uppercase()) =>
        {
            (first.to_ascii_lowercase(), rest)
        }
        Some(_) | None => (DEFAULT_REGISTRY.to_owned(), name),
    };
    if registry != DEFAULT_REGISTRY && registry != "index.docker.io" {
        return (registry, repository.to_owned());
    }
    let repository = match repository.contains('/') {
        true => repository.to_owned(),
        false => format!("library/{repository}"),
    };
    (DEFAULT_REGISTRY.to_owned(), repository)
}

/// Whether a text is `host`, `host:port` or `[v6]:port`.
pub(super) fn is_host(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        Some(_) | None => (text, None),
    };
    let has_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    let is_v6 = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .is_some_and(|host| host.parse::<std::net::Ipv6Addr>().is_ok());
    let is_name = host.split('.').all(|label| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(inner)
    });
    has_port && (is_v6 || is_name)
}

/// One part of a repository: letters and digits, parted by one `.`, one or two `_`, or any number of `-`.
fn is_component(text: &str) -> bool {
    let ends = |byte: Option<&u8>| {
        byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    let bytes = text.as_bytes();
    let parted = text
        .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        .all(|part| matches!(part, "" | "." | "_" | "__") || part.bytes().all(|byte| byte == b'-'));
    ends(bytes.first()) && ends(bytes.last()) && parted
}

fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let (first, len) = (text.bytes().next(), text.len());
    first.is_some_and(word)
        && len <= MAX_TAG_BYTES
        && text
            .bytes()
            .all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_filled_in_as_docker_does() {
        let digest = format!("sha256:{}", "0".repeat(64));
        for (short, full, host) in [
            (
                "busybox",
                "docker.io/library/busybox:latest",
                "registry-1.docker.io",
            ),
            (
                "docker.io/busybox",
                "docker.io/library/busybox:latest",
                "registry-1.docker.io",
            ),
            (
                "index.docker.io/busybox:1",
                "docker.io/library/busybox:1",
                "registry-1.docker.io",
            ),
            (
                "me/app:1.2-x",
                "docker.io/me/app:1.2-x",
                "registry-1.docker.io",
            ),
            ("localhost/app", "localhost/app:latest", "localhost"),
            (
                "registry:5000/a/b__c/d--e",
                "registry:5000/a/b__c/d--e:latest",
                "registry:5000",
            ),
            ("Ghcr.io/a/b:v1", "ghcr.io/a/b:v1", "ghcr.io"),
            ("[::1]:5000/a", "[::1]:5000/a:latest", "[::1]:5000"),
        ] {
            let reference = Reference::parse(short).expect(short);
            assert_eq!(reference.to_string(), full);
            assert_eq!(reference.host(), host);
        }
        let both = Reference::parse(&format!("r:1/a:t@{digest}")).expect("both");
        assert_eq!(both.to_string(), format!("r:1/a:t@{digest}"));
        assert_eq!(both.version(), digest);
        let by_digest = Reference::parse(&format!("a@{digest}")).expect("no tag");
        assert_eq!(
            by_digest.to_string(),
            format!("docker.io/library/a@{digest}")
        );
    }

    #[test]
    fn what_is_no_reference_is_refused_with_its_reason() {
        for (text, says) in [
            ("", "the name"),
            ("UPPER", "the name"),
            ("a/../b", "the name"),
            ("a//b", "the name"),
            ("/a", "the name"),
            ("a/", "the name"),
            ("a___b", "the name"),
            ("a:", "the tag"),
            ("a:-x", "the tag"),
            ("a:b c", "the tag"),
            ("a@sha256:12", "the digest"),
            ("host:70000/a", "the registry"),
            ("ho_st.x/a", "the registry"),
            ("http://x/a", "the registry"),
            (&format!("a{}", "b".repeat(300)), "longer than 255"),
            (&format!("a:{}", "b".repeat(129)), "the tag"),
        ] {
            let error = Reference::parse(text).expect_err(text).to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
