//! What an agent says of itself: rack, zone, kind of disk. Never counted, only compared.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::resources::Ranges;

/// The value of one attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttributeValue {
    /// A number, in thousandths.
    Scalar(i64),
    /// A set of numbers.
    Ranges(Ranges),
    /// A text.
    Text(Arc<str>),
}

/// As constraints see it: text as it is, a scalar with up to three digits, ranges in brackets.
impl fmt::Display for AttributeValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar(milli) => write!(f, "{}", *milli as f64 / 1e3),
            Self::Ranges(ranges) => write!(f, "{ranges}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// Attributes by name, in the order of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes(BTreeMap<Arc<str>, AttributeValue>);

impl Attributes {
    /// None.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// The value of one attribute.
    pub fn get(&self, name: &str) -> Option<&AttributeValue> {
        self.0.get(name)
    }

    /// Sets an attribute; the value it had is gone.
    pub fn set(&mut self, name: &str, value: AttributeValue) {
        self.0.insert(Arc::from(name), value);
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &AttributeValue)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
