//! Operations that are done and that their frameworks have not acknowledged, as GET_OPERATIONS shows them.

use mete_master_core::{DoneOperation, OperationKind, View};
use mete_model::Resources;
use mete_proto::convert::{ids, resources};
use mete_proto::mesos::v1 as wire;
use wire::master::response;
use wire::offer::operation::{self, Type};

use crate::grpc::events;

pub(super) fn all(view: &View) -> response::GetOperations {
    response::GetOperations {
        operations: view.operations.values().map(|done| one(done)).collect(),
    }
}

/// It has one status, and both have one uuid.
fn one(done: &DoneOperation) -> wire::Operation {
    let (framework, id) = &done.key;
    let status = events::finished(id, Some(&done.agent), &done.made, done.uuid);
    wire::Operation {
        framework_id: Some(framework.into()),
        agent_id: Some((&done.agent).into()),
        info: wire::offer::Operation {
            id: Some(id.into()),
            ..asked(done.kind, &done.asked)
        },
        statuses: vec![status.clone()],
        latest_status: status,
        uuid: wire::Uuid {
            value: ids::uuid(done.uuid),
        },
    }
}

/// What the framework wanted, in its form.
fn asked(kind: OperationKind, asked: &Resources) -> wire::offer::Operation {
    let mut operation = wire::offer::Operation::default();
    let named = resources::to_wire(asked);
    let kind = match kind {
        OperationKind::Reserve => {
            operation.reserve = Some(operation::Reserve {
                resources: named,
                ..operation::Reserve::default()
            });
            Type::Reserve
        }
        OperationKind::Unreserve => {
            operation.unreserve = Some(operation::Unreserve { resources: named });
            Type::Unreserve
        }
        OperationKind::Create => {
            operation.create = Some(operation::Create { volumes: named });
            Type::Create
        }
        OperationKind::Destroy => {
            operation.destroy = Some(operation::Destroy { volumes: named });
            Type::Destroy
        }
        OperationKind::Grow => {
            operation.grow_volume = Some(Box::new(operation::GrowVolume {
                volume: disk(asked, true),
                addition: disk(asked, false),
            }));
            Type::GrowVolume
        }
        OperationKind::Shrink { by_milli } => {
            let mut by = Resources::none();
            by.disk_milli = by_milli;
            operation.shrink_volume = Some(Box::new(operation::ShrinkVolume {
                volume: disk(asked, true),
                subtract: disk(&by, false).scalar.unwrap_or_default(),
            }));
            Type::ShrinkVolume
        }
    };
    operation.set_type(kind);
    operation
}

/// The one resource that is a volume, or that is none.
fn disk(all: &Resources, is_volume: bool) -> wire::Resource {
    let some = all
        .clone()
        .only_parts(|tag| tag.volume.is_some() == is_volume);
    resources::to_wire(&some)
        .into_iter()
        .next()
        .unwrap_or_default()
}
