//! What happens: one file per happening. Each joins the nouns of `state` and writes down what follows.

mod attend; // an executor of a framework's own subscribes, says how its tasks go
mod collect; // which old sandboxes go first; the disk is full, and has room again
mod delegate; // tasks for an executor of their framework's own
mod dismiss; // such an executor is started, awaited, ended, over
mod finish; // a task's process has ended
mod groups; // tasks that begin in order and end together
mod kill; // a task, a framework, the agent is to end
mod probe; // a result, perhaps a verdict
mod recover; // what the store says × what still runs → keep, report, clean
mod register; // with a master, without one
mod report; // made, sent, acknowledged, sent again
mod run; // accepted, begun, started or not
mod volumes; // tasks hold volumes, the master destroys them
