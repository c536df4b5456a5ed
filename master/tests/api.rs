//! A real master on a free port, with raw streams of agents and frameworks.

#[path = "api/bad_input.rs"]
mod bad_input;
#[path = "api/crowd.rs"]
mod crowd;
#[path = "api/explain.rs"]
mod explain;
#[path = "api/life.rs"]
mod life;
#[path = "api/maintenance.rs"]
mod maintenance;
#[path = "api/operations.rs"]
mod operations;
#[path = "api/operators.rs"]
mod operators;
#[path = "api/operators_http.rs"]
mod operators_http;
#[path = "api/peers.rs"]
mod peers;
#[path = "api/scenarios.rs"]
mod scenarios;
#[path = "api/v1.rs"]
mod v1;
#[path = "api/v1_fuzz.rs"]
mod v1_fuzz;
#[path = "api/v1_operator.rs"]
mod v1_operator;
#[path = "api/v1_scheduler.rs"]
mod v1_scheduler;
#[path = "api/walk.rs"]
mod walk;
