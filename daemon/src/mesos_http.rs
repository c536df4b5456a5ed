//! Habits of Mesos' HTTP servers that its clients rely on: paths that are longer than what is there, answers as scripts,
//! long answers packed.

mod jsonp; // `?jsonp=f`
mod packing; // gzip
mod prefixes; // longer paths, and those below the name of the process

pub use jsonp::wrap as jsonp;
pub use packing::{Streamed, packed};
pub use prefixes::beside;
