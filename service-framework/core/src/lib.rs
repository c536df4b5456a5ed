//! What the service framework decides.
