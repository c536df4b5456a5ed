//! Images from a real registry, from one that misbehaves in every way there is, and from disk.
//!
//! Needs `docker-registry`, `skopeo`, `umoci` and `busybox` (`scripts/install-deps test`).

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod disk; // what stays, what goes, what is full
mod import; // archives and layouts
mod misbehaving; // registries that are slow, broken, lying, or ask for a login
mod pulls; // what works
mod registry; // a real one
mod sample; // images made here
mod servers; // a registry that does what a test says
