//! What is asked of a binary, one question after the other, until all are answered or somebody interrupts.

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::answers::Answers;
use crate::interruption::interrupted;

/// Asks all questions of the binary, and prints the answers, also when a question fails or somebody interrupts: what is known is
/// known.
///
/// # Errors
/// That there is no such binary, that it was interrupted, or why a question has no answer.
pub async fn asked(
    mete: &Path,
    questions: impl AsyncFnOnce(&Path, &mut Answers) -> Result<()>,
) -> Result<()> {
    let binary = mete.canonicalize();
    let binary = binary.with_context(|| format!("no {}", mete.display()))?;
    let mut answers = Answers::default();
    let asked = tokio::select! {
        asked = questions(&binary, &mut answers) => asked,
        interrupted = interrupted() => interrupted,
    };
    answers.print();
    asked
}
