//! What is. These files do not know each other; `transitions` join them.

pub(crate) mod agents; // who runs tasks, and whether it can be reached
pub(crate) mod deadlines; // what happens by time alone
pub(crate) mod erasures; // destroyed volumes that agents have not erased yet
pub(crate) mod executors; // what looks after tasks
pub(crate) mod frameworks; // who launches tasks, and whether it is there
pub(crate) mod inverse_offers; // who is asked to leave which agent
pub(crate) mod offers; // what is on the table
pub(crate) mod operations; // named operations that are done and not acknowledged
pub(crate) mod reconciliations; // answers that are told piece by piece
pub(crate) mod reports; // what was said of a task
pub(crate) mod schedule; // which machines are planned to be away, and which are
pub(crate) mod tasks; // what runs where
