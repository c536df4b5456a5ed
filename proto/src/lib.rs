//! Everything that crosses the network: the messages of `proto/*.proto` and their services, in protobuf and in JSON, the
//! JSON of the service framework's `/v2`, and what turns them into the words of `mete-model` and back.
//!
//! No I/O and no decisions. A message that lacks a required field never gets past [`strict`]; a message that makes no
//! sense never gets past [`convert`]; either way the error names the field.

pub mod capabilities; // what masters and agents can do
pub mod connect; // services that send what is encoded already
pub mod convert; // messages → words of the model, with reasons, and back
pub mod encoded; // protobuf, field by field
pub mod json; // messages as Mesos' HTTP API has them in JSON
pub mod lost; // whether a call ended because its connection did
pub mod media; // JSON or protobuf, as a request means it
pub mod recordio; // messages one after another in a stream
pub mod resources_text; // resources and attributes as people write them
pub mod rest; // the JSON of HTTP
pub mod strict; // decoding that insists on required fields, and the codec that uses it

/// Messages with the names, numbers and types of Apache Mesos.
pub mod mesos {
    #[allow(
        missing_docs,
        clippy::all,
        clippy::allow_attributes_without_reason,
        clippy::too_many_lines,
        reason = "generated from proto/mesos/v1/**/*.proto"
    )]
    pub mod v1 {
        tonic::include_proto!("mesos.v1");
        /// What operators and executors ask of an agent.
        pub mod agent {
            tonic::include_proto!("mesos.v1.agent");
        }
        /// What frameworks answer to inverse offers.
        pub mod allocator {
            tonic::include_proto!("mesos.v1.allocator");
        }
        /// The executor API.
        pub mod executor {
            tonic::include_proto!("mesos.v1.executor");
        }
        /// When machines are away.
        pub mod maintenance {
            tonic::include_proto!("mesos.v1.maintenance");
        }
        /// The operator API.
        pub mod master {
            tonic::include_proto!("mesos.v1.master");
        }
        /// What roles are promised and limited to.
        pub mod quota {
            tonic::include_proto!("mesos.v1.quota");
        }
        /// The resource provider API.
        pub mod resource_provider {
            tonic::include_proto!("mesos.v1.resource_provider");
        }
        /// The scheduler API.
        pub mod scheduler {
            tonic::include_proto!("mesos.v1.scheduler");
        }
    }
}

/// Messages and services of Mete's own.
pub mod mete {
    #[allow(
        missing_docs,
        clippy::all,
        clippy::allow_attributes_without_reason,
        clippy::too_many_lines,
        reason = "generated from proto/mete/v1/*.proto"
    )]
    pub mod v1 {
        tonic::include_proto!("mete.v1");
    }
}

/// The descriptors of all messages and services, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The version of Mesos whose v1 API this is. Clients of that API ask for a version, and some talk to none below 1.0.
pub const MESOS_VERSION: &str = "1.11.0";

/// The version of the protocols of this build, as streams open with it.
pub const PROTOCOL_VERSION: u32 = 1;
