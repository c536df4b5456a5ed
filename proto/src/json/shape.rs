//! What the generated tables are made of: the shape of a message, its fields, and the names of enums.

/// How many fields a message may have: those that were seen are bits of one word.
pub(super) const MAX_FIELDS: usize = 64;

/// Names, numbers and types of a message's fields.
#[derive(Debug)]
pub struct Shape {
    /// Full name of the message.
    pub(super) name: &'static str,
    /// In the order in which they are declared; at most [`MAX_FIELDS`].
    pub(super) fields: &'static [Field],
    /// Places in `fields`, smallest number first: the order of the encoding.
    pub(super) by_number: &'static [u8],
    /// A bit for each place in `fields` that has to be set.
    pub(super) required: u64,
}

#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    /// The name as it stands in JSON after another field: a comma, the name in quotes, a colon.
    pub(super) key: &'static str,
    /// Whether it is also written, not only read: see `NOT_WRITTEN` in `build/json.rs`.
    pub(super) is_written: bool,
    pub(super) number: u32,
    pub(super) label: Label,
    pub(super) kind: Kind,
    /// What is written when the field is not set, as JSON.
    pub(super) default: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Label {
    Required,
    Optional,
    Repeated,
    /// Keys are strings, values are of the field's kind.
    Map,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Double,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Bool,
    String,
    Bytes,
    Enum(&'static Names),
    Message(&'static Shape),
}

/// The values of an enum.
#[derive(Debug)]
pub(super) struct Names {
    /// Full name of the enum.
    pub(super) name: &'static str,
    /// The name of the value that is declared first: what a required field holds that nobody has set.
    pub(super) first: &'static str,
    /// By number.
    pub(super) values: &'static [(i32, &'static str)],
}

impl Shape {
    /// The number of the field of this name, as the compiler looks for it.
    pub(super) const fn number_of(&self, name: &str) -> Option<u32> {
        let mut at = 0;
        while at < self.fields.len() {
            if is_same(self.fields[at].name.as_bytes(), name.as_bytes()) {
                return Some(self.fields[at].number);
            }
            at += 1;
        }
        None
    }

    /// The place of a field, looked for from `guess` on and then before it: texts mostly keep the order of the declaration.
    pub(super) fn find(&self, name: &str, guess: usize) -> Option<usize> {
        let (before, after) = self.fields.split_at_checked(guess)?;
        let found = after.iter().position(|field| field.name == name);
        found.map_or_else(
            || before.iter().position(|field| field.name == name),
            |at| Some(guess + at),
        )
    }
}

const fn is_same(one: &[u8], other: &[u8]) -> bool {
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    at == one.len() && at == other.len()
}

impl Names {
    pub(super) fn name_of(&self, number: i32) -> Option<&'static str> {
        let found = self
            .values
            .binary_search_by_key(&number, |(number, _)| *number);
        found.ok().map(|at| self.values[at].1)
    }

    pub(super) fn number_of(&self, name: &str) -> Option<i32> {
        let found = self.values.iter().find(|(_, value)| *value == name);
        found.map(|(number, _)| *number)
    }
}
