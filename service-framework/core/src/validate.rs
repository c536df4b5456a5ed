//! Whether what a user wants makes sense, in Marathon's words.

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Where: `/upgradeStrategy/minimumHealthCapacity`, list index as `/a(0)/b`; the whole object is `/`.
    pub path: String,
    /// What is wrong with it.
    pub message: String,
}

impl Violation {
    /// At `path`, what is wrong.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
        }
    }
}

/// Turns a number of the API into an integer in a smaller unit: 0.1 CPUs in thousandths is 100.
///
/// # Errors
/// A [`Violation`] at `path` when the number is not finite, less than `minimum`, or too large.
pub fn quantity(path: &str, value: f64, minimum: f64, unit: u64) -> Result<u64, Violation> {
    let units = value * unit as f64;
    if !value.is_finite() || units >= u64::MAX as f64 {
        return Err(Violation::new(
            path,
            "is not a number that can be counted with",
        ));
    }
    if value < minimum {
        return Err(Violation::new(
            path,
            format!("error.min: {minimum} but was {value}"),
        ));
    }
    Ok(units.round() as u64)
}
