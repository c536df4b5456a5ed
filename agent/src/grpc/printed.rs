//! `mete.v1.Tasks.Follow`: what a task prints; for those who ask, with each answer how far it is told, where another call can go on.

use futures::{Stream, StreamExt};
use mete_model::ContainerId;
use mete_proto::mete::v1 as wire;
use mete_proto::mete::v1::follow_response::Message;

use crate::output::{Piece, Place, Point, Told, Wanted};
use crate::task_desk::{DeskError, TaskDesk};

/// What is answered, as the task prints it.
///
/// # Errors
/// [`DeskError`].
pub(super) async fn answers(
    desk: &TaskDesk,
    asked: &wire::FollowRequest,
) -> Result<impl Stream<Item = wire::FollowResponse> + Send + use<>, DeskError> {
    let wanted = Wanted {
        stdout: !asked.without_stdout(),
        stderr: !asked.without_stderr(),
        tail_bytes: asked.tail_bytes,
        from: asked.from.as_ref().map(from),
        once: asked.once(),
    };
    let container = asked
        .from
        .as_ref()
        .and_then(|from| from.container_id.as_deref());
    let meant = (
        asked.task_id.as_str(),
        asked.framework_id.as_deref(),
        container,
    );
    let (container, told) = desk.follow(meant, wanted).await?;
    let with_points = asked.points();
    Ok(told.filter_map(move |told| std::future::ready(answer(told, with_points, &container))))
}

/// Where both streams begin is told those alone who have asked for points.
fn answer(told: Told, with_points: bool, container: &ContainerId) -> Option<wire::FollowResponse> {
    if told.piece.is_none() && !with_points {
        return None;
    }
    let until = wire::FollowPoint {
        container_id: told.piece.is_none().then(|| container.to_string()),
        stdout: told.until.stdout.map(place),
        stderr: told.until.stderr.map(place),
    };
    Some(wire::FollowResponse {
        message: told.piece.map(message),
        until: with_points.then_some(until),
    })
}

fn message(piece: Piece) -> Message {
    match piece {
        Piece::Stdout(bytes) => Message::Stdout(bytes),
        Piece::Stderr(bytes) => Message::Stderr(bytes),
        Piece::Gap { is_stderr } => Message::Gap(wire::FollowGap { is_stderr }),
    }
}

const fn place(place: Place) -> wire::FollowPlace {
    wire::FollowPlace {
        inode: place.inode,
        made_ns: place.made_ns,
        offset: place.offset,
    }
}

fn from(point: &wire::FollowPoint) -> Point {
    let place = |place: &wire::FollowPlace| Place {
        inode: place.inode,
        made_ns: place.made_ns,
        offset: place.offset,
    };
    Point {
        stdout: point.stdout.as_ref().map(place),
        stderr: point.stderr.as_ref().map(place),
    }
}
