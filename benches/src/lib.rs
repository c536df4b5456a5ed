//! Criterion questions and their answers.
