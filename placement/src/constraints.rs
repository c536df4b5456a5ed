//! Where instances may stand, seen from where the others already are: Marathon's seven operators, and one that frameworks
//! use among themselves and the master.
//!
//! A constraint reads one value of a place (host name, region, zone or an attribute) and compares it
//! with what the operator says and with how many instances stand on which value. A place that lacks
//! the attribute satisfies UNLIKE and HOME only; instances that lack it count for nothing.

mod pattern; // regular expressions, bounded
mod reading; // constraints out of text, and why not
pub mod tally; // how many stand on which value

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use mete_model::{AttributeValue, Attributes, FaultDomain, Offer};

pub use pattern::{BadPattern, MAX_COMPILED_PATTERNS, MAX_PATTERN_BYTES, Pattern, Patterns};
pub use reading::BadConstraint;
pub use tally::Tally;

/// Where something stands or may stand.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Name of the machine.
    pub hostname: &'a str,
    /// Its region and zone, when it is in one.
    pub domain: Option<&'a FaultDomain>,
    /// What the agent says of itself.
    pub attributes: &'a Attributes,
}

impl<'a> From<&'a Offer> for Place<'a> {
    fn from(offer: &'a Offer) -> Self {
        Self {
            hostname: &offer.endpoint.hostname,
            domain: offer.domain.as_ref(),
            attributes: &offer.attributes,
        }
    }
}

/// Where an instance stands, kept with the instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placed {
    /// Name of the machine.
    pub hostname: String,
    /// Its region and zone, when it is in one.
    pub domain: Option<FaultDomain>,
    /// What the agent said of itself.
    pub attributes: Attributes,
}

impl Placed {
    /// As a place to compare.
    pub fn place(&self) -> Place<'_> {
        Place {
            hostname: &self.hostname,
            domain: self.domain.as_ref(),
            attributes: &self.attributes,
        }
    }
}

impl From<Place<'_>> for Placed {
    fn from(place: Place<'_>) -> Self {
        Self {
            hostname: place.hostname.to_owned(),
            domain: place.domain.cloned(),
            attributes: place.attributes.clone(),
        }
    }
}

/// What a constraint looks at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// `hostname` or `@hostname`.
    Hostname,
    /// `@region`.
    Region,
    /// `@zone`.
    Zone,
    /// An attribute of the agent.
    Attribute(Arc<str>),
}

impl Field {
    /// From its name; every name that is not special names an attribute.
    pub fn from_name(name: &str) -> Self {
        match name {
            "hostname" | "@hostname" => Self::Hostname,
            "@region" => Self::Region,
            "@zone" => Self::Zone,
            attribute => Self::Attribute(Arc::from(attribute)),
        }
    }

    /// The name of it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Hostname => "hostname",
            Self::Region => "@region",
            Self::Zone => "@zone",
            Self::Attribute(name) => name,
        }
    }

    /// What a place has there, as text.
    pub fn value<'a>(&self, place: Place<'a>) -> Option<Cow<'a, str>> {
        match self {
            Self::Hostname => Some(Cow::Borrowed(place.hostname)),
            Self::Region => place.domain.map(|domain| Cow::Borrowed(&*domain.region)),
            Self::Zone => place.domain.map(|domain| Cow::Borrowed(&*domain.zone)),
            Self::Attribute(name) => place.attributes.get(name).map(|value| match value {
                AttributeValue::Text(text) => Cow::Borrowed(&**text),
                AttributeValue::Scalar(_) | AttributeValue::Ranges(_) => {
                    Cow::Owned(value.to_string())
                }
            }),
        }
    }
}

/// What an operator demands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// No two instances on one value.
    Unique,
    /// All instances on one value: this one, or the first instance's.
    Cluster(Option<String>),
    /// Spread evenly over the values, of which at least so many are expected.
    GroupBy(u32),
    /// The whole value matches.
    Like(Pattern),
    /// The whole value does not match.
    Unlike(Pattern),
    /// At most so many instances on one value.
    MaxPer(u32),
    /// The value is this one.
    Is(String),
    /// The value is this one, or there is none: who says nothing of regions stays in the master's, where all are that say
    /// nothing either. No operator of apps.
    Home(String),
}

/// One constraint of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constraint {
    /// What it looks at.
    pub field: Field,
    /// What it demands.
    pub rule: Rule,
    /// What somebody has written, where this one only says what of it can be told of an agent by itself: at most
    /// [`MAX_STATED_BYTES`]. For explanations.
    pub stated: Option<Arc<str>>,
}

/// The longest text that an explanation shows in place of a constraint.
pub const MAX_STATED_BYTES: usize = 255;

impl Constraint {
    /// Whether one more instance may stand at `place` beside those in `tally`, which was made for this
    /// constraint.
    pub fn allows(&self, place: Place<'_>, tally: &Tally) -> bool {
        let Some(value) = self.field.value(place) else {
            return matches!(self.rule, Rule::Unlike(_) | Rule::Home(_));
        };
        match &self.rule {
            Rule::Unique => tally.count(&value) == 0,
            Rule::Cluster(wanted) => {
                wanted.as_ref().is_none_or(|wanted| *wanted == value) && tally.is_all_on(&value)
            }
            Rule::GroupBy(groups) => tally.count(&value) <= tally.least(*groups),
            Rule::Like(pattern) => pattern.matches(&value),
            Rule::Unlike(pattern) => !pattern.matches(&value),
            Rule::MaxPer(most) => tally.count(&value) < *most,
            Rule::Is(wanted) => *wanted == value || self.is_same_number(place, wanted),
            Rule::Home(wanted) => *wanted == value,
        }
    }

    /// This one, told in the words of the one that it was made of.
    #[must_use]
    pub fn standing_for(self, written: &Self) -> Self {
        let text = written.to_string();
        let stated = &text[..text.floor_char_boundary(MAX_STATED_BYTES)];
        Self {
            stated: Some(Arc::from(stated)),
            ..self
        }
    }

    /// Whether one instance alone may stand at `place`: all there is to ask of a
    /// [static](Self::is_static) constraint.
    pub fn holds(&self, place: Place<'_>) -> bool {
        self.allows(place, &Tally::default())
    }

    /// Whether it says the same of a place whatever stands where: IS, LIKE, UNLIKE, and CLUSTER with a
    /// value.
    pub const fn is_static(&self) -> bool {
        match &self.rule {
            Rule::Is(_)
            | Rule::Home(_)
            | Rule::Like(_)
            | Rule::Unlike(_)
            | Rule::Cluster(Some(_)) => true,
            Rule::Unique | Rule::Cluster(None) | Rule::GroupBy(_) | Rule::MaxPer(_) => false,
        }
    }

    /// The operator and its value as Marathon's apps state them; [`Self::parse`] reads them.
    pub fn words(&self) -> (&'static str, Option<Cow<'_, str>>) {
        let number = |number: u32| Some(Cow::Owned(number.to_string()));
        match &self.rule {
            Rule::Unique => ("UNIQUE", None),
            Rule::Cluster(value) => ("CLUSTER", value.as_deref().map(Cow::Borrowed)),
            Rule::GroupBy(1) => ("GROUP_BY", None),
            Rule::GroupBy(groups) => ("GROUP_BY", number(*groups)),
            Rule::Like(pattern) => ("LIKE", Some(Cow::Borrowed(pattern.as_str()))),
            Rule::Unlike(pattern) => ("UNLIKE", Some(Cow::Borrowed(pattern.as_str()))),
            Rule::MaxPer(most) => ("MAX_PER", number(*most)),
            Rule::Is(value) => ("IS", Some(Cow::Borrowed(value))),
            Rule::Home(value) => ("HOME", Some(Cow::Borrowed(value))),
        }
    }

    /// Whether a place that is closed now may open when more instances are placed elsewhere.
    pub const fn may_reopen(&self) -> bool {
        matches!(self.rule, Rule::GroupBy(_))
    }

    /// `IS 2.50` is satisfied by the scalar 2.5.
    fn is_same_number(&self, place: Place<'_>, wanted: &str) -> bool {
        let Field::Attribute(name) = &self.field else {
            return false;
        };
        match (place.attributes.get(name), wanted.parse::<f64>()) {
            (Some(AttributeValue::Scalar(milli)), Ok(wanted)) => {
                (wanted * 1e3).round() as i64 == *milli
            }
            _ => false,
        }
    }
}

/// As Marathon's `/v2/apps` shows it, with colons: `rack:GROUP_BY:3`; what was written, where it was made of another.
impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(stated) = &self.stated {
            return f.write_str(stated);
        }
        let (operator, value) = self.words();
        write!(f, "{}:{operator}", self.field.as_str())?;
        match value {
            Some(value) => write!(f, ":{value}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
