//! What the master decides.
