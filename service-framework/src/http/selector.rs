//! Label selectors: `k`, `k==v`, `k!=v`, `k in (a,b)`, `k notin (a,b)`, joined by commas that mean "and".
//!
//! Every form needs the key to be there. Characters other than letters, digits, `-`, `_` and `.` are written with a
//! backslash before them.

use std::collections::BTreeMap;

/// The longest selector read, in bytes.
const MAX_SELECTOR_BYTES: usize = 4096;

/// Conditions, all of which must hold.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Selector(Vec<Condition>);

#[derive(Debug, PartialEq, Eq)]
struct Condition {
    key: String,
    /// The values it must be among, or must not; `None`: any.
    values: Option<(bool, Vec<String>)>,
}

impl Selector {
    /// Reads a selector.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_SELECTOR_BYTES {
            return Err(format!(
                "a label selector has at most {MAX_SELECTOR_BYTES} bytes"
            ));
        }
        let bad = |what: &str| format!("Could not parse label selector '{text}': {what}");
        let mut rest = Rest(text.trim());
        let mut conditions = Vec::new();
        loop {
            conditions.push(rest.condition().map_err(|what| bad(&what))?);
            match rest.next() {
                None => return Ok(Self(conditions)),
                Some(',') => {}
                Some(other) => return Err(bad(&format!("',' expected, not '{other}'"))),
            }
        }
    }

    /// Whether labels meet every condition.
    pub(super) fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|condition| {
            labels
                .get(&condition.key)
                .is_some_and(|value| match &condition.values {
                    None => true,
                    Some((wanted, values)) => values.contains(value) == *wanted,
                })
        })
    }
}

/// What is still to be read.
struct Rest<'a>(&'a str);

impl Rest<'_> {
    fn condition(&mut self) -> Result<Condition, String> {
        let key = self.word()?;
        let values = match self.operator() {
            "==" => Some((true, vec![self.word()?])),
            "!=" => Some((false, vec![self.word()?])),
            "in" => Some((true, self.set()?)),
            "notin" => Some((false, self.set()?)),
            _ => None,
        };
        Ok(Condition { key, values })
    }

    fn operator(&mut self) -> &'static str {
        self.0 = self.0.trim_start();
        for operator in ["==", "!=", "notin", "in"] {
            if let Some(rest) = self.0.strip_prefix(operator) {
                self.0 = rest;
                return operator;
            }
        }
        ""
    }

    fn set(&mut self) -> Result<Vec<String>, String> {
        if self.next() != Some('(') {
            return Err("'(' expected".to_owned());
        }
        let mut values = vec![self.word()?];
        loop {
            match self.next() {
                Some(',') => values.push(self.word()?),
                Some(')') => return Ok(values),
                Some(_) | None => return Err("',' or ')' expected".to_owned()),
            }
        }
    }

    fn word(&mut self) -> Result<String, String> {
        self.0 = self.0.trim_start();
        let mut word = String::new();
        let mut characters = self.0.chars();
        loop {
            let before = characters.as_str();
            match characters.next() {
                Some('\\') => word.extend(characters.next()),
                Some(plain) if plain.is_ascii_alphanumeric() || "-_.".contains(plain) => {
                    word.push(plain)
                }
                Some(_) | None => {
                    self.0 = before;
                    break;
                }
            }
        }
        if word.is_empty() {
            Err("a name or value expected".to_owned())
        } else {
            Ok(word)
        }
    }

    fn next(&mut self) -> Option<char> {
        let mut characters = self.0.trim_start().chars();
        let next = characters.next();
        self.0 = characters.as_str();
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_needs_the_key() {
        let labels = BTreeMap::from(
            [("tier", "web"), ("a/b", "1 2")].map(|(k, v)| (k.to_owned(), v.to_owned())),
        );
        for (text, expected) in [
            ("tier", true),
            ("none", false),
            ("tier==web", true),
            ("tier == api", false),
            ("tier!=api", true),
            ("none!=api", false),
            ("tier in (api, web)", true),
            ("tier notin (api,web)", false),
            ("tier notin (api)", true),
            ("tier, a\\/b==1\\ 2", true),
            ("tier, none", false),
        ] {
            assert_eq!(
                Selector::parse(text).expect(text).matches(&labels),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for bad in [
            "", ",", "a,", "a==", "a=b", "a in", "a in (", "a in (b", "a b", "==",
        ] {
            assert!(Selector::parse(bad).is_err(), "{bad:?}");
        }
    }
}
