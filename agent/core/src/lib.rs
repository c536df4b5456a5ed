//! What the agent decides.
