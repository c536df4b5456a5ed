//! The words of Mete: what things are called, what they are made of, and what may follow what.
//!
//! No I/O, no clock, no wire format: `mete-proto` turns messages into these types and back.
//!
//! - an **agent** is a machine that runs **tasks**; it has **resources** and **attributes**;
//! - a **framework** takes **offers** of resources in one of its **roles** and launches tasks with them;
//! - a **status** is one report about one task;
//! - a **machine** is a decider: one input in, effects out.
//!
//! Start with [`resources`], then [`task`], then [`machine`].

pub mod agent; // an agent as it describes itself
pub mod attributes; // rack, zone, kind of disk
pub mod checksum; // what fetched bytes must hash to
pub mod container; // what to run, and the container around it
pub mod deadlines; // moments of things that wait
pub mod executor; // what looks after tasks of a group
pub mod framework; // a framework as it describes itself
pub mod health; // what "healthy" means for a task
pub mod ids; // names: opaque text, one type per noun
pub mod limits; // how far a task may go beyond what it asks for
pub mod machine; // Timestamp, Machine, Effects
pub mod offer; // what is on the table, for whom
pub mod resources; // vectors of CPUs, bytes, GPUs, ports
pub mod role; // who resources are given to: paths in a tree
pub mod shared_map; // a map that is cheap to publish
pub mod status; // one report about one task
pub mod task; // TaskSpec, TaskState and what may follow what
pub mod unavailability; // when a machine will not be there

pub use agent::{AgentInfo, BadDomain, Endpoint, FaultDomain};
pub use attributes::{AttributeValue, Attributes};
pub use checksum::{BadChecksum, Checksum, HashFunction};
pub use container::{CommandSpec, ContainerSpec, FetchUri, LinuxCapability, Program, WindowSize};
pub use deadlines::Deadlines;
pub use executor::{ExecutorKind, ExecutorSpec, TaskGroup};
pub use framework::{Capability, FrameworkInfo};
pub use health::{CheckAnswer, HealthCheck, Probe, Question, TaskCheck};
pub use ids::{
    AgentId, BadId, ContainerId, ExecutorId, FrameworkId, OfferId, OperationId, TaskId, TaskKey,
    UpdateId,
};
pub use limits::{Limit, TaskLimits};
pub use machine::{Change, Durable, Effects, Machine, Timestamp};
pub use offer::{InverseOffer, Offer};
pub use resources::{
    BadStack, BadVolumeName, Device, Devices, MB_MILLI, MEBIBYTE, Ranges, Reservation,
    ReservationKind, Resources, Tag, Volume, VolumeName,
};
pub use role::{BadRole, Role};
pub use shared_map::SharedMap;
pub use status::{Limitation, Reason, Source, TaskStatus};
pub use task::{TaskSpec, TaskState};
pub use unavailability::Unavailability;
