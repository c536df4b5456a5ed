//! The service framework as a whole: inputs in, effects out, restarts in between.

mod kit; // a world around an orchestrator: a store, a master, agents, proxies
mod told; // effects as lines of text

mod apps; // what users ask for, and what they are answered
mod checks; // what the framework asks instances itself
mod daemons; // apps that run once on each agent
mod demands; // what waits, told to the master
mod drains; // planned kills and the healthy-task list
mod failures; // tasks, agents and masters that fail
mod groups; // made, replaced, scaled, gone back to, removed
mod launches; // from a wish to healthy instances
mod moves; // agents that drain, and what is on them
mod plans; // wanted + present → steps, as text
mod pods; // containers that start and end together
mod random_events; // what holds whatever happens
mod readiness; // new instances say that they are ready
mod residents; // instances with volumes of their own
mod restarts; // what the store brings back
mod roles; // apps in roles of their own
mod upgrades; // one version replaces another
