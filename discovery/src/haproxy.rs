//! Keeping one HAProxy in step with a list of services.
//!
//! ```text
//! services ──backends──► plan ──render──► text ──configuration──► file ──reload──► workers
//!                          └──reconcile──► commands ──runtime──► the current worker ──rows──► what is in effect
//! ```

pub mod backends; // the list → what HAProxy is to have (pure)
pub mod configuration; // files: checked, then replaced, never half
pub mod labels; // what an app's labels ask for (pure)
pub mod names; // names that a configuration can carry (pure)
pub mod process; // started, adopted, found dead
pub mod reconcile; // has × should have → commands (pure)
pub mod reload; // a new worker, no connection lost
pub mod render; // plan → text (pure)
pub mod rows; // what HAProxy says of its servers (pure)
pub mod runtime; // the admin socket and the master's
pub mod template; // the built-in text, or the user's
