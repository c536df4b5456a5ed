//! An address as anybody may read it, in statuses, events and logs: without the name and password of a login, and
//! without the query, in which signed addresses carry their signature.

use mete_daemon::chain;
use reqwest::Url;

/// What stands in the place of what is left out.
const LEFT_OUT: &str = "***";

/// The address of a thing to fetch, without what is secret in it. Files of this machine are shown as they are.
pub(super) fn shown(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else {
        return address.to_owned();
    };
    if scheme.eq_ignore_ascii_case("file") {
        return address.to_owned();
    }
    // A password may hold what makes the address no address: then nobody knows where it ends.
    if Url::parse(address).is_err() {
        return format!("{scheme}://{LEFT_OUT}");
    }
    let (rest, fragment) = rest
        .split_once('#')
        .map_or((rest, None), |(rest, fragment)| (rest, Some(fragment)));
    let (rest, has_query) = rest
        .split_once('?')
        .map_or((rest, false), |(rest, _)| (rest, true));
    // More slashes than two are as two.
    let rest = rest.trim_start_matches(['/', '\\']);
    let (host, path) = rest.split_at(rest.find(['/', '\\']).unwrap_or(rest.len()));
    let mut text = format!("{scheme}://");
    match host.rsplit_once('@') {
        Some((_, host)) => text.extend([LEFT_OUT, "@", host, path]),
        None => text.extend([host, path]),
    }
    if has_query {
        text.extend(["?", LEFT_OUT]);
    }
    // Checksums stand here.
    if let Some(fragment) = fragment {
        text.extend(["#", fragment]);
    }
    text
}

/// What a client says of a request that failed. Where a redirect had led to is part of it.
pub(super) fn failure(error: reqwest::Error) -> String {
    let at = error.url().map(|url| shown(url.as_str()));
    let what = chain(&error.without_url());
    match at {
        Some(at) => format!("{what} ({at})"),
        None => what,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_secret_in_an_address_is_left_out() {
        for (address, expected) in [
            ("http://x/a.tgz", "http://x/a.tgz"),
            (
                "http://x:80/@scope/a#sha256=1",
                "http://x:80/@scope/a#sha256=1",
            ),
            ("HTTPS://me:pa@ss@x/a", "HTTPS://***@x/a"),
            ("https://token@x", "https://***@x"),
            ("https://x/a?sig=s&k=1#part", "https://x/a?***#part"),
            ("https://x?sig=@", "https://x?***"),
            ("http://me:pa/ss@x/a", "http://***"),
            ("s3://me:secret@x/a", "s3://***@x/a"),
            ("http:///me:secret@x/a", "http://***@x/a"),
            ("/srv/a?b@c", "/srv/a?b@c"),
            ("file:///srv/a?b@c", "file:///srv/a?b@c"),
        ] {
            assert_eq!(shown(address), expected, "{address}");
        }
    }
}
