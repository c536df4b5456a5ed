//! What a task prints, followed through its agent, and through the next one when that is cut off: where it was, nothing twice and
//! nothing left out.

use std::io;
use std::time::Duration;

use anyhow::{Error, Result, bail};
use mete_proto::mete::v1::follow_response::Message;
use mete_proto::mete::v1::{FollowGap, FollowPoint, FollowRequest, FollowResponse};
use tokio::time::{sleep, timeout};
use tonic::{Code, Streaming};

use super::find::{self, Found};
use super::tasks_client::{self, is_broken, refused};
use crate::client::Addresses;

/// The pause before the first attempt to come back; each next one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause between attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How long an agent may be away: longer than a restart takes, and a machine that is gone is not waited for for ever.
const PATIENCE: Duration = Duration::from_secs(60);

/// Has printed what is told, until the task has ended, or once what there is now; or nobody reads it any more.
///
/// # Errors
/// A task or an agent that is not there; what the agent says against it; an agent that was cut off and does not come back.
pub(super) async fn follow(
    addresses: &Addresses,
    id: &str,
    mut request: FollowRequest,
    mut print: impl FnMut(bool, &[u8]) -> io::Result<()>,
) -> Result<()> {
    let found = find::task(addresses, id).await?;
    request.task_id = found.task.clone();
    request.framework_id = Some(found.framework.clone());
    request.points = Some(!request.once());
    let mut client = tasks_client::connect(addresses, &found).await?;
    let answer = client.follow(request.clone()).await;
    let mut pieces = answer.map_err(|status| refused(&status))?.into_inner();
    loop {
        let Some(broken) = listen(&mut pieces, &mut request, &mut print).await? else {
            return Ok(());
        };
        let back = timeout(PATIENCE, come_back(addresses, &found, &request)).await;
        pieces = match back.map_err(|_| broken)?? {
            Some(pieces) => pieces,
            None => return Ok(()),
        };
    }
}

/// Prints until the end; or until it was cut off where another call can go on, and how that is told. The request becomes the one that
/// goes on.
async fn listen(
    pieces: &mut Streaming<FollowResponse>,
    request: &mut FollowRequest,
    print: &mut impl FnMut(bool, &[u8]) -> io::Result<()>,
) -> Result<Option<Error>> {
    loop {
        let piece = match pieces.message().await {
            Ok(Some(piece)) => piece,
            Ok(None) => return Ok(None),
            // Agents of older versions have told no point.
            Err(status) if is_broken(&status) && request.from.is_some() => {
                return Ok(Some(refused(&status)));
            }
            Err(status) => return Err(refused(&status)),
        };
        let printed = match piece.message {
            Some(Message::Stdout(bytes)) => print(false, &bytes),
            Some(Message::Stderr(bytes)) => print(true, &bytes),
            Some(Message::Gap(FollowGap { is_stderr })) => {
                let stream = if is_stderr { "stderr" } else { "stdout" };
                crate::complain!(
                    "mete: some of {stream} may be missing here: it was removed to make room"
                );
                Ok(())
            }
            None => Ok(()),
        };
        match printed {
            // Nobody reads any more, as in `mete task logs … | head`.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(None),
            printed => printed?,
        }
        if let Some(until) = piece.until {
            go_on(request.from.get_or_insert_default(), until);
        }
    }
}

/// A stream of which nothing is said is where it was.
fn go_on(from: &mut FollowPoint, until: FollowPoint) {
    from.container_id = until.container_id.or_else(|| from.container_id.take());
    from.stdout = until.stdout.or_else(|| from.stdout.take());
    from.stderr = until.stderr.or_else(|| from.stderr.take());
}

/// Asks until an agent answers; `None`: it does not know the task any more, which has ended meanwhile.
async fn come_back(
    addresses: &Addresses,
    found: &Found,
    request: &FollowRequest,
) -> Result<Option<Streaming<FollowResponse>>> {
    let mut pause = FIRST_PAUSE;
    loop {
        sleep(pause).await;
        pause = LONGEST_PAUSE.min(pause * 2);
        let Ok(mut client) = tasks_client::connect(addresses, found).await else {
            continue;
        };
        let mut pieces = match client.follow(request.clone()).await {
            Ok(answer) => answer.into_inner(),
            Err(status) if is_broken(&status) => continue,
            Err(status) if status.code() == Code::NotFound => return Ok(None),
            Err(status) => return Err(refused(&status)),
        };
        // The first answer tells where it goes on, which is what was asked for, and nothing else.
        match pieces.message().await {
            Ok(Some(first)) if first.message.is_none() => return Ok(Some(pieces)),
            Ok(Some(_)) => bail!(
                "the agent is of an older version now, which cannot go on where the other was"
            ),
            Ok(None) => return Ok(None),
            Err(status) if is_broken(&status) => {}
            Err(status) => return Err(refused(&status)),
        }
    }
}

#[cfg(test)]
mod tests {
    use mete_proto::mete::v1::FollowPlace;

    use super::*;

    #[test]
    fn each_stream_goes_on_where_it_was_told_last() {
        let place = |offset| {
            Some(FollowPlace {
                inode: 1,
                made_ns: None,
                offset,
            })
        };
        let mut from = FollowPoint::default();

        go_on(
            &mut from,
            FollowPoint {
                container_id: Some("c".into()),
                stdout: place(1),
                stderr: None,
            },
        );
        for (stdout, stderr) in [(place(5), None), (None, place(7))] {
            let until = FollowPoint {
                container_id: None,
                stdout,
                stderr,
            };
            go_on(&mut from, until);
        }

        let expected = FollowPoint {
            container_id: Some("c".into()),
            stdout: place(5),
            stderr: place(7),
        };
        assert_eq!(from, expected);
    }
}
