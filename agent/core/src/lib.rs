//! What the agent decides.

pub mod task_dir; // layout of one task's directory: the protocol between agent and shim
