//! Followers of the healthy-task list.
