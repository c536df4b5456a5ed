//! At the terminal of a task: what it says from now on, what is typed there, and how it ended. Who goes leaves it as it is.

use std::pin::pin;
use std::sync::Arc;

use futures::{Stream, StreamExt, future, stream};
use mete_agent_core::task_dir::End;
use mete_daemon::auth::Principal;
use mete_proto::mete::v1 as wire;
use mete_proto::mete::v1::exec_response::Message as Answer;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::{answer, how};
use crate::output::{Piece, Wanted};
use crate::sessions::Said;
use crate::task_desk::{DeskError, Pieces, TaskDesk};

/// Somebody at the terminal of a task.
pub(super) struct Attached {
    said: mpsc::Sender<Said>,
    pieces: Pieces,
    end: AbortOnDropHandle<Option<End>>,
}

/// Before anything is typed, what the task says is listened to.
///
/// # Errors
/// [`DeskError`].
pub(super) async fn begin(
    desk: &Arc<TaskDesk>,
    start: &wire::AttachStart,
    principal: Option<&Principal>,
) -> Result<Attached, DeskError> {
    let container = desk.container_of(&start.task_id, start.framework_id.as_deref())?;
    let pieces = desk.follow_in(container.as_str(), Wanted::NEWS).await?;
    let said = desk.type_in(container.as_str(), principal).await?;
    let desk = Arc::clone(desk);
    let end = async move { desk.end_in(container.as_str()).await.ok().flatten() };
    Ok(Attached {
        said,
        pieces,
        end: AbortOnDropHandle::new(tokio::spawn(end)),
    })
}

impl Attached {
    /// What is answered, until the task has ended or nobody types any more.
    pub(super) fn answers(
        self,
        typed: impl Stream<Item = Said> + Send + 'static,
    ) -> impl Stream<Item = wire::ExecResponse> + Send + Unpin {
        let Self { said, pieces, end } = self;
        let typing = AbortOnDropHandle::new(tokio::spawn(pass_on(typed, said)));
        let news = pieces.filter_map(|piece| {
            future::ready(match piece {
                Piece::Stdout(bytes) => Some(Answer::Stdout(bytes)),
                Piece::Stderr(bytes) => Some(Answer::Stderr(bytes)),
                Piece::Gap { .. } => None,
            })
        });
        let ended = stream::once(async {
            let how = end.await.ok().flatten().map(how);
            Answer::Ended(wire::ExecEnded { how })
        });
        let started = stream::iter([Answer::Started(wire::ExecStarted {})]);
        let all = started.chain(news).chain(ended).map(answer);
        Box::pin(all.take_until(typing))
    }
}

/// Has it typed; over when there is no more. What is typed once the task has ended is for nobody.
async fn pass_on(typed: impl Stream<Item = Said>, said: mpsc::Sender<Said>) {
    let mut typed = pin!(typed);
    while let Some(word) = typed.next().await {
        if said.send(word).await.is_err() {
            return future::pending().await;
        }
    }
}
