//! What an app's labels ask of its backend: `HAPROXY_<n>_VHOST` and its like, for the service port with index n.
//!
//! Labels are written by people who may deploy an app but may not write the proxy's configuration. So each value is
//! parsed into a type that cannot hold anything else; a value that does not parse is ignored and named, and the app is
//! served as if the label were not there.

use std::collections::BTreeMap;

use mete_proto::rest::backends::Mode;

/// Host names of one service: each is an entry in the map that every request is looked up in.
const MAX_VHOSTS: usize = 64;

/// The longest host name (RFC 1035 §2.3.4).
const MAX_VHOST_BYTES: usize = 253;

/// The longest path prefix: with the host name it stays far below HAProxy's line of 2,048 bytes.
const MAX_PATH_BYTES: usize = 512;

/// How much of a bad value a warning repeats.
const MAX_QUOTED_CHARS: usize = 80;

/// How HAProxy picks a server. Only those under which servers can come and go at run time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// Each in turn.
    #[default]
    RoundRobin,
    /// The one with the fewest connections.
    LeastConnections,
    /// Any.
    Random,
    /// The first that has room.
    First,
    /// By the client's address, hashed consistently.
    Source,
    /// By the request's path, hashed consistently; HTTP only.
    Uri,
}

impl Balance {
    /// HAProxy's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RoundRobin => "roundrobin",
            Self::LeastConnections => "leastconn",
            Self::Random => "random",
            Self::First => "first",
            Self::Source => "source",
            Self::Uri => "uri",
        }
    }

    /// Whether it needs a consistent hash to bear servers that come and go.
    pub fn is_hash(self) -> bool {
        match self {
            Self::Source | Self::Uri => true,
            Self::RoundRobin | Self::LeastConnections | Self::Random | Self::First => false,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let all = [
            Self::RoundRobin,
            Self::LeastConnections,
            Self::Random,
            Self::First,
            Self::Source,
            Self::Uri,
        ];
        all.into_iter().find(|balance| balance.as_str() == text)
    }
}

/// What the labels of one service port say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `HAPROXY_<n>_ENABLED=false`: not served at all.
    pub disabled: bool,
    /// Host names, lower case, in the order given.
    pub vhosts: Vec<String>,
    /// The path prefix that goes with the host names.
    pub path: Option<String>,
    /// HTTP or TCP, where the label says so.
    pub mode: Option<Mode>,
    /// How a server is picked.
    pub balance: Balance,
    /// Whether a client stays with its server, by a cookie.
    pub sticky: bool,
}

/// A label that was ignored, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("label {label}: {reason} (value {value:?})")]
pub struct BadLabel {
    /// Its key.
    pub label: String,
    /// Its value, cut to a length that fits a log line.
    pub value: String,
    /// What is wrong, in words.
    pub reason: &'static str,
}

/// Reads the labels of the service port with this index. Labels without the prefix are nobody's business here.
pub fn read(labels: &BTreeMap<String, String>, port_index: u32) -> (Settings, Vec<BadLabel>) {
    let prefix = format!("HAPROXY_{port_index}_");
    let mut settings = Settings::default();
    let mut bad = Vec::new();
    for (label, value) in labels.range(prefix.clone()..) {
        let Some(key) = label.strip_prefix(&prefix) else {
            break;
        };
        if let Err(reason) = take(&mut settings, key, value.trim()) {
            let value = value.chars().take(MAX_QUOTED_CHARS).collect();
            bad.push(BadLabel {
                label: label.chars().take(MAX_QUOTED_CHARS).collect(),
                value,
                reason,
            });
        }
    }
    if settings.path.is_some() && settings.vhosts.is_empty() {
        let path = settings.path.take().unwrap_or_default();
        bad.push(BadLabel {
            label: prefix + "PATH",
            value: path,
            reason: "a path needs a VHOST beside it",
        });
    }
    (settings, bad)
}

fn take(settings: &mut Settings, key: &str, value: &str) -> Result<(), &'static str> {
    match key {
        "ENABLED" => settings.disabled = !truth(value)?,
        "STICKY" => settings.sticky = truth(value)?,
        "VHOST" => settings.vhosts = vhosts(value)?,
        "PATH" => settings.path = Some(path(value)?),
        "MODE" => settings.mode = Some(mode(value)?),
        "BALANCE" => {
            settings.balance = Balance::parse(value)
                .ok_or("not one of roundrobin, leastconn, random, first, source, uri")?;
        }
        // Which proxies serve an app is decided by where the proxies run, until groups come.
        "GROUP" => {}
        _ => return Err("not carried"),
    }
    Ok(())
}

fn truth(value: &str) -> Result<bool, &'static str> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err("neither true nor false"),
    }
}

fn mode(value: &str) -> Result<Mode, &'static str> {
    match value {
        "http" => Ok(Mode::Http),
        "tcp" => Ok(Mode::Tcp),
        _ => Err("neither http nor tcp"),
    }
}

fn vhosts(value: &str) -> Result<Vec<String>, &'static str> {
    let mut found: Vec<String> = Vec::new();
    for host in value
        .split(',')
        .map(str::trim)
        .filter(|host| !host.is_empty())
    {
        let host = host.to_ascii_lowercase();
        if !is_host_name(&host) {
            return Err("not a comma-separated list of host names");
        }
        if !found.contains(&host) {
            found.push(host);
        }
        if found.len() > MAX_VHOSTS {
            return Err("more than 64 host names");
        }
    }
    if found.is_empty() {
        Err("no host name")
    } else {
        Ok(found)
    }
}

/// Letters, digits and inner hyphens between dots: what a `Host` header can name, and what a map file can hold.
pub(crate) fn is_host_name(text: &str) -> bool {
    let is_part = |part: &str| {
        (1..=63).contains(&part.len())
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    text.len() <= MAX_VHOST_BYTES && text.split('.').all(is_part)
}

fn path(value: &str) -> Result<String, &'static str> {
    // The characters that RFC 3986 allows in a path unquoted, less those that mean something to a map file.
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@%".contains(&b);
    if !value.starts_with('/') || !value.bytes().all(allowed) {
        return Err("not a path prefix");
    }
    if value.len() > MAX_PATH_BYTES {
        return Err("a path prefix of more than 512 bytes");
    }
    Ok(value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn labels_of_the_own_port_index_are_read_and_others_passed_over() {
        let all = labels(&[
            (
                "HAPROXY_0_VHOST",
                "Shop.Example, www.shop.example,shop.example",
            ),
            ("HAPROXY_0_PATH", "/api"),
            ("HAPROXY_0_BALANCE", "leastconn"),
            ("HAPROXY_0_STICKY", "true"),
            ("HAPROXY_1_MODE", "tcp"),
            ("HAPROXY_10_VHOST", "ten.example"),
            ("HAPROXY_GROUP", "external"),
            ("team", "a\nb"),
        ]);

        let (settings, bad) = read(&all, 0);

        assert_eq!(bad, []);
        assert_eq!(settings.vhosts, ["shop.example", "www.shop.example"]);
        assert_eq!(settings.path.as_deref(), Some("/api"));
        assert_eq!(
            (settings.balance, settings.sticky),
            (Balance::LeastConnections, true)
        );
        assert_eq!((settings.mode, settings.disabled), (None, false));
        assert_eq!(read(&all, 1).0.mode, Some(Mode::Tcp));
    }

    #[test]
    fn hostile_values_are_ignored_and_named() {
        let hostile = [
            ("HAPROXY_0_VHOST", "a.example\nbackend evil"),
            ("HAPROXY_0_VHOST", "a.example b.example"),
            ("HAPROXY_0_VHOST", "a\".example"),
            ("HAPROXY_0_VHOST", "a#.example"),
            ("HAPROXY_0_VHOST", "${HOME}"),
            ("HAPROXY_0_VHOST", ""),
            ("HAPROXY_0_MODE", "http\n  server x 1.2.3.4:80"),
            ("HAPROXY_0_MODE", "health"),
            ("HAPROXY_0_BALANCE", "static-rr"),
            ("HAPROXY_0_BALANCE", "roundrobin\ncookie x"),
            ("HAPROXY_0_STICKY", "maybe"),
            ("HAPROXY_0_ENABLED", ""),
            ("HAPROXY_0_BACKEND_HEAD", "backend {x}"),
        ];
        for (label, value) in hostile {
            let (settings, bad) = read(&labels(&[(label, value)]), 0);

            assert_eq!(settings, Settings::default(), "{label}={value:?}");
            assert_eq!(bad.len(), 1, "{label}={value:?}");
            assert!(
                !bad[0].to_string().contains('\n'),
                "a warning stays one line: {}",
                bad[0]
            );
        }
    }

    #[test]
    fn a_path_must_be_one_and_needs_a_host() {
        for path in [
            "api",
            "/a b",
            "/a\nb",
            "/a\"b",
            "/a#b",
            &format!("/{}", "x".repeat(600)),
        ] {
            let (settings, bad) = read(
                &labels(&[("HAPROXY_0_VHOST", "a.example"), ("HAPROXY_0_PATH", path)]),
                0,
            );

            assert_eq!((settings.path, bad.len()), (None, 1), "{path:?}");
        }
        assert_eq!(read(&labels(&[("HAPROXY_0_PATH", "/api")]), 0).1.len(), 1);
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_is_one_word(value in any::<String>()) {
            let all = labels(&[("HAPROXY_0_VHOST", &value), ("HAPROXY_0_PATH", &value)]);
            let (settings, _) = read(&all, 0);
            for word in settings.vhosts.iter().chain(&settings.path) {
                prop_assert!(word.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'#' && b != b'\\'));
            }
        }
    }
}
