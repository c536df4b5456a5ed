//! Java's regular expressions, as far as they write otherwise what is meant in the same way here: `\Q…\E`, and the classes of
//! ASCII that are `\p{Alnum}` there and `[[:alnum:]]` here.

use std::borrow::Cow;

/// Java's names of classes of ASCII, and those of POSIX.
const CLASSES: [(&str, &str); 13] = [
    ("Alnum", "alnum"),
    ("Alpha", "alpha"),
    ("ASCII", "ascii"),
    ("Blank", "blank"),
    ("Cntrl", "cntrl"),
    ("Digit", "digit"),
    ("Graph", "graph"),
    ("Lower", "lower"),
    ("Print", "print"),
    ("Punct", "punct"),
    ("Space", "space"),
    ("Upper", "upper"),
    ("XDigit", "xdigit"),
];

/// The same expression without these.
pub(super) fn translated(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(quoted) = rest.strip_prefix(r"\Q") {
            let (quoted, after) = quoted.split_once(r"\E").unwrap_or((quoted, ""));
            out.push_str(&regex::escape(quoted));
            rest = after;
        } else if let Some((class, after)) = class(rest) {
            out.push_str(&class);
            rest = after;
        } else {
            // With the letter after it, which may be another backslash.
            let end = rest
                .char_indices()
                .nth(2)
                .map_or(rest.len(), |(end, _)| end);
            out.push_str(&rest[..end]);
            rest = &rest[end..];
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// A class of ASCII at the start, and what follows it.
fn class(text: &str) -> Option<(String, &str)> {
    let (not, named) = match text.strip_prefix(r"\p{") {
        Some(named) => ("", named),
        None => ("^", text.strip_prefix(r"\P{")?),
    };
    let (name, after) = named.split_once('}')?;
    let (_, posix) = CLASSES.iter().find(|(java, _)| *java == name)?;
    Some((format!("[{not}[:{posix}:]]"), after))
}

/// Whether a quantifier has a plus behind it, which keeps all that it has taken; elsewhere that would be read as a repetition
/// of a repetition, and match more.
pub(super) fn gives_nothing_back(text: &str) -> bool {
    let mut letters = text.chars();
    let (mut depth_of_class, mut after_quantifier) = (0_u32, false);
    while let Some(letter) = letters.next() {
        if letter == '+' && after_quantifier && depth_of_class == 0 {
            return true;
        }
        after_quantifier = !after_quantifier && matches!(letter, '*' | '+' | '?' | '}');
        match letter {
            '\\' => {
                letters.next();
            }
            '[' => depth_of_class += 1,
            ']' => depth_of_class = depth_of_class.saturating_sub(1),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_java_writes_otherwise_is_translated_and_the_rest_left() {
        for (java, here) in [
            ("a.*", "a.*"),
            (r"\Qa.b\E.*", r"a\.b.*"),
            (r"\Qa.b", r"a\.b"),
            (r"\\Qa", r"\\Qa"),
            (r"\p{Alnum}\P{Punct}", "[[:alnum:]][^[:punct:]]"),
            (r"\p{L}\p{Greek}\é", r"\p{L}\p{Greek}\é"),
            (r"a\", r"a\"),
        ] {
            assert_eq!(translated(java), here);
        }
    }

    #[test]
    fn a_plus_behind_a_quantifier_is_told_from_one_behind_a_letter() {
        for possessive in ["a*+", "a++b", "a?+", "a{2}+", "[a]++"] {
            assert!(gives_nothing_back(possessive), "{possessive}");
        }
        for other in ["a+", r"\++", "[*+]+", r"a\?+", "a+?", "a+b+"] {
            assert!(!gives_nothing_back(other), "{other}");
        }
    }
}
