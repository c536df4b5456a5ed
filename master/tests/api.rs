//! A real master on a free port, with raw streams of agents and frameworks.

#[path = "api/bad_input.rs"]
mod bad_input;
#[path = "api/explain.rs"]
mod explain;
#[path = "api/life.rs"]
mod life;
#[path = "api/maintenance.rs"]
mod maintenance;
#[path = "api/operators.rs"]
mod operators;
#[path = "api/operators_http.rs"]
mod operators_http;
#[path = "api/peers.rs"]
mod peers;
#[path = "api/scenarios.rs"]
mod scenarios;
#[path = "api/walk.rs"]
mod walk;
