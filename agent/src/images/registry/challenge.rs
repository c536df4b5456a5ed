//! What a registry asks for with `WWW-Authenticate`: a password, or a token from a server that it names.

use hyper::header::{HeaderMap, WWW_AUTHENTICATE};

/// The longest header that is looked at.
const MAX_BYTES: usize = 8 << 10;

/// How the registry wants to be told who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// Name and password with each request.
    Basic,
    /// A token.
    Bearer {
        /// Who gives tokens out.
        realm: String,
        /// For which service.
        service: Option<String>,
        /// For what.
        scope: Option<String>,
    },
}

/// The first challenge that we can meet; a token rather than a password.
pub(super) fn read(headers: &HeaderMap) -> Option<Challenge> {
    let mut found = Vec::new();
    for header in headers.get_all(WWW_AUTHENTICATE) {
        let text = header.to_str().ok().filter(|text| text.len() <= MAX_BYTES);
        found.extend(text.map(challenges).unwrap_or_default());
    }
    let token = found
        .iter()
        .position(|one| matches!(one, Challenge::Bearer { .. }));
    let at = token.unwrap_or(0);
    (at < found.len()).then(|| found.swap_remove(at))
}

/// One scheme and its parameters.
type Raw = (String, Vec<(String, String)>);

fn challenges(text: &str) -> Vec<Challenge> {
    let known = |(scheme, parameters): Raw| {
        let get = |name: &str| {
            let found = parameters.iter().find(|(key, _)| key == name);
            found.map(|(_, value)| value.clone())
        };
        match scheme.as_str() {
            "basic" => Some(Challenge::Basic),
            "bearer" => Some(Challenge::Bearer {
                realm: get("realm")?,
                service: get("service"),
                scope: get("scope"),
            }),
            _ => None,
        }
    };
    split(text).into_iter().filter_map(known).collect()
}

/// Takes `Scheme key=value, key="value", Scheme …` apart (RFC 9110 §11.6.1); what does not read ends it.
fn split(text: &str) -> Vec<Raw> {
    let mut all: Vec<Raw> = Vec::new();
    let mut rest = text.trim_start_matches([' ', ',']);
    while !rest.is_empty() {
        let end = rest.find([' ', '=', ',']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let word = word.to_ascii_lowercase();
        match after.trim_start().strip_prefix('=') {
            Some(value) => {
                let (value, after) = value_of(value.trim_start());
                let Some((_, parameters)) = all.last_mut() else {
                    return all;
                };
                parameters.push((word, value));
                rest = after;
            }
            None => {
                all.push((word, Vec::new()));
                rest = after;
            }
        }
        rest = rest.trim_start_matches([' ', ',']);
    }
    all
}

/// A value, quoted or not, and what comes after it.
fn value_of(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', ',']).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return (value.to_owned(), rest);
    };
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (value, quoted.get(at + 1..).unwrap_or_default()),
            '\\' => value.extend(letters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(headers: &[&str]) -> Option<Challenge> {
        let mut map = HeaderMap::new();
        for text in headers {
            map.append(WWW_AUTHENTICATE, text.parse().expect("a header"));
        }
        read(&map)
    }

    #[test]
    fn a_token_is_preferred_and_its_server_known() {
        let token = r#"Bearer realm="https://auth.x/t?a=1,2",service="reg \"x\"",scope="repository:a:pull""#;
        let wanted = Challenge::Bearer {
            realm: "https://auth.x/t?a=1,2".into(),
            service: Some("reg \"x\"".into()),
            scope: Some("repository:a:pull".into()),
        };

        assert_eq!(asked(&[token]), Some(wanted.clone()));
        assert_eq!(asked(&["Basic realm=x", token]), Some(wanted.clone()));
        assert_eq!(
            asked(&[&format!("Basic realm=\"x\", {token}")]),
            Some(wanted)
        );
        assert_eq!(asked(&["Basic"]), Some(Challenge::Basic));
    }

    #[test]
    fn what_cannot_be_met_is_none() {
        for text in [
            "",
            "Negotiate",
            "Bearer service=x",
            "Bearer realm",
            "=,=",
            "\"",
            "Digest a=\"",
        ] {
            assert_eq!(asked(&[text]), None, "{text}");
        }
        assert_eq!(asked(&[]), None);
    }
}
