//! How an agent drains, or that it has, in the words of Mesos.

use std::time::Duration;

use mete_master_core::{Admission, Agent, Drain};
use mete_proto::convert::duration_info;
use mete_proto::mesos::v1 as wire;

/// How an agent drains, or that it has; `None` for one that does not.
pub(crate) fn drain_info(agent: &Agent) -> Option<wire::DrainInfo> {
    let (state, config) = match agent.admission {
        Admission::Draining(drain) => (wire::DrainState::Draining, config(&drain)),
        // One that was to be marked gone then is: it is not there any more.
        Admission::Drained { max_grace, .. } => {
            (wire::DrainState::Drained, as_ordered(max_grace, false))
        }
        Admission::Active | Admission::Deactivated | Admission::Gone { .. } => return None,
    };
    Some(wire::DrainInfo {
        state: state.into(),
        config,
    })
}

/// How an agent drains.
pub(crate) fn config(drain: &Drain) -> wire::DrainConfig {
    as_ordered(drain.ordered_grace(), drain.mark_gone)
}

fn as_ordered(max_grace: Option<Duration>, mark_gone: bool) -> wire::DrainConfig {
    wire::DrainConfig {
        max_grace_period: max_grace.map(duration_info),
        mark_gone: Some(mark_gone),
    }
}
