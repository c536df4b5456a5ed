//! Constraints out of text, and why a text is none.

use super::pattern::{BadPattern, Pattern, Patterns};
use super::{Constraint, Field, Rule};

/// Why a constraint is refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BadConstraint {
    /// No such operator.
    #[error(
        "unknown operator {0:?}; there are UNIQUE, CLUSTER, GROUP_BY, LIKE, UNLIKE, MAX_PER and IS"
    )]
    Operator(String),
    /// The operator takes a value.
    #[error("{0} needs a value")]
    Missing(&'static str),
    /// The operator takes none.
    #[error("{operator} takes no value, found {value:?}")]
    Needless {
        /// Which.
        operator: &'static str,
        /// What was there.
        value: String,
    },
    /// The value is no number that can be meant.
    #[error("{operator} needs a whole number above zero, found {value:?}")]
    Number {
        /// Which.
        operator: &'static str,
        /// What was there.
        value: String,
    },
    /// The value holds a character that values of IS do not have.
    #[error("IS compares with letters, digits and `_/.-`, found {0:?}")]
    Text(String),
    /// The value is no regular expression, or one too costly.
    #[error("{operator} cannot use the pattern {pattern:?}")]
    Pattern {
        /// Which.
        operator: &'static str,
        /// The start of what was there.
        pattern: String,
        /// Why.
        source: BadPattern,
    },
}

impl Constraint {
    /// Reads a constraint as Marathon's apps state it: `["rack", "GROUP_BY", "3"]`. Case does not
    /// matter in operators.
    ///
    /// # Errors
    /// [`BadConstraint`] names the operator and the value it does not take.
    pub fn parse(field: &str, operator: &str, value: Option<&str>) -> Result<Self, BadConstraint> {
        Self::parse_among(field, operator, value, &mut Patterns::default())
    }

    /// The same for one of many: patterns are read by `patterns`.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_among(
        field: &str,
        operator: &str,
        value: Option<&str>,
        patterns: &mut Patterns,
    ) -> Result<Self, BadConstraint> {
        let rule = match operator.to_ascii_uppercase().as_str() {
            "UNIQUE" => match value {
                None | Some("") => Rule::Unique,
                Some(value) => {
                    return Err(BadConstraint::Needless {
                        operator: "UNIQUE",
                        value: start(value),
                    });
                }
            },
            "CLUSTER" => Rule::Cluster(value.filter(|value| !value.is_empty()).map(str::to_owned)),
            "GROUP_BY" => Rule::GroupBy(value.map_or(Ok(1), |value| number("GROUP_BY", value))?),
            "LIKE" => Rule::Like(pattern("LIKE", value, patterns)?),
            "UNLIKE" => Rule::Unlike(pattern("UNLIKE", value, patterns)?),
            "MAX_PER" => Rule::MaxPer(number("MAX_PER", needed("MAX_PER", value)?)?),
            "IS" => Rule::Is(plain(needed("IS", value)?)?),
            _ => return Err(BadConstraint::Operator(start(operator))),
        };
        Ok(Self {
            field: Field::from_name(field),
            rule,
            stated: None,
        })
    }
}

fn needed<'a>(operator: &'static str, value: Option<&'a str>) -> Result<&'a str, BadConstraint> {
    value.ok_or(BadConstraint::Missing(operator))
}

fn number(operator: &'static str, value: &str) -> Result<u32, BadConstraint> {
    match value.trim().parse() {
        Ok(number) if number > 0 => Ok(number),
        Ok(_) | Err(_) => Err(BadConstraint::Number {
            operator,
            value: start(value),
        }),
    }
}

fn pattern(
    operator: &'static str,
    value: Option<&str>,
    patterns: &mut Patterns,
) -> Result<Pattern, BadConstraint> {
    let text = needed(operator, value)?;
    patterns
        .read(text)
        .map_err(|source| BadConstraint::Pattern {
            operator,
            pattern: start(text),
            source,
        })
}

fn plain(value: &str) -> Result<String, BadConstraint> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '/' | '.' | '-');
    if value.chars().all(is_plain) {
        Ok(value.to_owned())
    } else {
        Err(BadConstraint::Text(start(value)))
    }
}

/// Enough of a text to know it again.
fn start(text: &str) -> String {
    text.chars().take(80).collect()
}
