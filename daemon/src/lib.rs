//! What every daemon is made of.
