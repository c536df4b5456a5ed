//! The JSON of HTTP: `/v2` of the service framework, and the file in which `mete up` says what it has started.
//!
//! Names are camelCase, keys we do not know are ignored.

pub mod apps; // what is wanted, and how it stands
pub mod backends; // the healthy-task list, its stream, and what proxies answer
pub mod cluster; // cluster.json
pub mod deployments; // plans and how far they are
pub mod errors; // the one shape of an error
pub mod events; // what subscribers hear
pub mod groups; // groups of apps
pub mod info; // what the service framework says of itself
mod number; // 1 rather than 1.0
pub mod pods; // containers that run together, and how they stand
pub mod queue; // what waits, and why
pub mod readiness; // readiness checks, and what they have said
pub mod tasks; // what runs where

/// A struct each field of which may be left out: read with `null` as absent, printed only when set.
macro_rules! optional_fields {
    (
        $(#[$meta:meta])*
        pub struct $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub struct $name {
            $(
                $(#[$field_meta])*
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $field: Option<$type>,
            )*
        }
    };
}
use optional_fields;
