//! End to end: real processes, real sockets, a real HAProxy. Each test stands up a cluster with `mete up` and takes it
//! down again, also when it fails.

mod harness; // a cluster, REST, HAProxy's counters, waiting with a deadline

mod backups; // a state that was lost and put back
mod bridges; // apps on bridges, behind HAProxy
mod changed; // an agent that comes back with more
mod checks; // several checks, readiness, a rolling upgrade
mod demo; // what the README promises
mod drain; // an agent is emptied, and what is on it moves first
mod faults; // kill -9 of everything
mod frameworks; // two-level sharing: examples beside the service framework
mod groups; // tasks that belong together, and volumes that stay
mod images; // apps in containers, from a real registry
mod inside; // into running tasks, and watching them
mod languages; // a framework in Python
mod limits; // requests and limits, down to control groups
mod load; // no request is lost
mod pods; // containers that start and end together
mod residents; // an app with a volume that stays
mod secrets; // secrets in files, and who does not see them
mod together; // groups of apps, daemons, and why something waits
mod users; // users of containers that are others outside
