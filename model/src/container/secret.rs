//! What a secret holds.

use std::fmt;
use std::sync::Arc;

/// What a secret holds. Whoever prints it sees nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(Arc<[u8]>);

impl SecretValue {
    /// Of these bytes.
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// All of it, for whoever carries it on or writes it where the task reads it.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_never_printed() {
        let value = SecretValue::new(*b"hunter2");

        assert_eq!(value.bytes(), b"hunter2");
        assert_eq!(format!("{value:?}"), "a secret");
    }
}
