//! The algorithms of both levels.
