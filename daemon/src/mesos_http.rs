//! Habits of Mesos' HTTP servers that its clients rely on: the order in which calls are looked at, paths that are longer than
//! what is there, answers as scripts, long answers packed, how much is logged, the names of
//! numbers, what a version says.

mod built; // when and by whom the program was built
mod call; // method, kind of body, body
mod files; // what is asked of the paths below `/files`, and how it is refused
mod jsonp; // `?jsonp=f`
mod logging; // `/logging/toggle`
mod numbers; // `/metrics/snapshot`
mod packing; // gzip
mod prefixes; // longer paths, and those below the name of the process
mod reading; // paths that are only read

pub use built::{Built, built, version};
pub use call::{call, list, text};
pub use files::{FileQuery, FileRefusal};
pub use jsonp::wrap as jsonp;
pub use logging::{TOGGLE_PATH, logging};
pub use numbers::{Numbers, STATS_PATH, stats};
pub use packing::{Streamed, packed};
pub use prefixes::beside;
pub use reading::read;
