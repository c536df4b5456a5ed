//! The JSON of HTTP: `/v2` of the service framework, and the file in which `mete up` says what it has started.
//!
//! Names are camelCase, keys we do not know are ignored.

pub mod backends; // the healthy-task list, its stream, and what proxies answer
pub mod cluster; // cluster.json
