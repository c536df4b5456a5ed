//! `GET /files/browse`, `/files/read`, `/files/download`, `/files/debug`: sandboxes as Mesos shows them. The path is that of the sandbox,
//! with or without the work directory in front; `runs/latest` works. What leads out of the sandbox is refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use mete_daemon::http_error::HttpError;
use mete_daemon::mesos_http::{FileQuery, FileRefusal};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio_stream::wrappers::ReceiverStream;

use super::About;
use crate::containerizer::users::Names;
use crate::places::Places;
use crate::sandbox::{Chunk, DIRECTORY, Entry, FileError, Listing, MAX_READ_BYTES, Sandbox};

/// Parts of a download that wait for a slow reader.
const WAITING_PARTS: usize = 4;

pub(super) async fn browse(
    State(about): State<Arc<About>>,
    query: FileQuery,
) -> Result<Json<Value>, FileRefusal> {
    let entries = entries(&about, query.path()?).await?;
    let entries = entries.iter().map(|one| {
        json!({
            "path": one.path,
            "nlink": one.entry.links,
            "size": one.entry.size,
            "mtime": one.entry.modified_seconds,
            "mode": mode(&one.entry),
            "uid": one.user,
            "gid": one.group,
        })
    });
    Ok(Json(entries.collect()))
}

/// What a directory holds.
pub(super) struct Listed {
    pub(super) path: String,
    pub(super) entry: Entry,
    /// Whose it is, by name, as Mesos tells it; by number where there is no name.
    pub(super) user: String,
    /// The same of its group.
    pub(super) group: String,
}

/// What a directory holds, each by its path. A file holds nothing: tools find a file by browsing for it, and Mesos answers so.
pub(super) async fn entries(about: &About, path: &str) -> Result<Vec<Listed>, HttpError> {
    let list = |sandbox: &Sandbox, inside: &str| {
        let listing = match sandbox.list(inside) {
            Err(FileError::WrongKind { .. }) => Listing::default(),
            listing => listing?,
        };
        Ok((listing, Names::of_machine()))
    };
    let (listing, names) = look(&about.places, "browse", path.to_owned(), list).await?;
    if listing.is_cut {
        tracing::debug!(path, "listing is cut");
    }
    let base = path.trim_end_matches('/');
    let entries = listing.entries.into_iter();
    Ok(entries
        .map(|entry| Listed {
            path: format!("{base}/{}", entry.name),
            user: names.user(entry.uid),
            group: names.group(entry.gid),
            entry,
        })
        .collect())
}

/// A part of a file.
pub(super) async fn chunk(
    about: &About,
    path: String,
    offset: i64,
    length: Option<usize>,
) -> Result<Chunk, HttpError> {
    let length = length.unwrap_or(MAX_READ_BYTES);
    look(&about.places, "read", path, move |sandbox, inside| {
        sandbox.read(inside, offset, length)
    })
    .await
}

/// From `offset` on, which without one is the end; at most 64 KiB, which is also the default.
pub(super) async fn read(
    State(about): State<Arc<About>>,
    query: FileQuery,
) -> Result<Json<Value>, FileRefusal> {
    let path = query.path()?.to_owned();
    let offset = query.number("offset")?;
    let offset = offset.map_or(-1, |offset| i64::try_from(offset).unwrap_or(i64::MAX));
    let length = query.number("length")?;
    let length = length.map(|length| usize::try_from(length).unwrap_or(usize::MAX));
    let chunk = chunk(&about, path, offset, length).await?;
    Ok(Json(
        json!({ "data": text(&chunk), "offset": chunk.offset }),
    ))
}

/// Which sandboxes there are: by the path that is asked for, where it lies. Both are the same here.
pub(super) async fn debug(State(about): State<Arc<About>>) -> Json<BTreeMap<String, String>> {
    let view = about.handle.view();
    let live = view.tasks.values().filter(|task| task.is_live());
    let live = live.map(|task| about.places.sandbox_of(task, &view));
    let left = view.sandboxes.values();
    let left = left.map(|kept| about.places.sandbox_left(kept));
    let paths = live.chain(left).map(|place| place.display().to_string());
    Json(paths.map(|path| (path.clone(), path)).collect())
}

pub(super) async fn download(
    State(about): State<Arc<About>>,
    query: FileQuery,
) -> Result<Response, FileRefusal> {
    let path = query.path()?.to_owned();
    // Whether it can be read at all is known before the answer begins.
    let first = look(
        &about.places,
        "download",
        path.clone(),
        |sandbox, inside| sandbox.read(inside, 0, MAX_READ_BYTES),
    )
    .await?;
    let name: String = path
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .chars()
        .map(|c| {
            if c.is_ascii_graphic() && c != '"' && c != '\\' {
                c
            } else {
                '_'
            }
        })
        .collect();
    let disposition = HeaderValue::try_from(format!("attachment; filename=\"{name}\""))
        .unwrap_or(HeaderValue::from_static("attachment"));
    let headers = [
        (
            CONTENT_TYPE,
            HeaderValue::from_static("application/octet-stream"),
        ),
        (CONTENT_DISPOSITION, disposition),
        (CONTENT_LENGTH, HeaderValue::from(first.size)),
    ];
    let (parts, waiting) = mpsc::channel(WAITING_PARTS);
    tokio::spawn(send_parts(about.places.clone(), path, first, parts));
    Ok((headers, Body::from_stream(ReceiverStream::new(waiting))).into_response())
}

/// The file as it was when the download began: what is written meanwhile does not count, so that it ends.
async fn send_parts(
    places: Places,
    path: String,
    first: Chunk,
    parts: mpsc::Sender<Result<Bytes, FileError>>,
) {
    let end = first.size;
    let mut next = first;
    loop {
        let offset = next.offset + next.data.len() as u64;
        let is_last = next.data.is_empty() || offset >= end;
        if parts.send(Ok(next.data.into())).await.is_err() || is_last {
            return;
        }
        let read = look(&places, "download", path.clone(), move |sandbox, inside| {
            let length = usize::try_from(end - offset).unwrap_or(MAX_READ_BYTES);
            sandbox.read(inside, i64::try_from(offset).unwrap_or(i64::MAX), length)
        });
        match read.await {
            Ok(chunk) => next = chunk,
            Err(error) => {
                let error = FileError::NotFound(error.message);
                let _ = parts.send(Err(error)).await;
                return;
            }
        }
    }
}

/// Looks into the sandbox that a path names, on a thread that may block. `verb` is what is done there, for people.
async fn look<T: Send + 'static>(
    places: &Places,
    verb: &'static str,
    path: String,
    work: impl FnOnce(&Sandbox, &str) -> Result<T, FileError> + Send + 'static,
) -> Result<T, HttpError> {
    let places = places.clone();
    let looked = spawn_blocking(move || {
        let (place, inside) = places.locate(&path).ok_or_else(|| {
            let shown: String = path.chars().take(200).collect();
            HttpError::not_found(format!("{shown:?} is not in a sandbox"))
        })?;
        let sandbox = Sandbox::open(&place).map_err(|_| {
            HttpError::not_found(format!("{} is not there any more", place.display()))
        })?;
        work(&sandbox, &inside).map_err(|error| refusal(verb, error))
    });
    looked
        .await
        .map_err(|_| HttpError::unavailable("the agent ends"))?
}

/// What clients of Mesos compare are its words.
fn refusal(verb: &str, error: FileError) -> HttpError {
    let (status, message) = match &error {
        FileError::NotFound(_) => (StatusCode::NOT_FOUND, error.to_string()),
        FileError::Outside(path) => (StatusCode::FORBIDDEN, format!("'{path}' is inaccessible")),
        FileError::WrongKind { is: DIRECTORY, .. } => {
            let message = format!("Cannot {verb} a directory");
            (StatusCode::BAD_REQUEST, message)
        }
        FileError::WrongKind { .. } | FileError::BadOffset(_) => {
            (StatusCode::BAD_REQUEST, error.to_string())
        }
        FileError::Unreadable { source, .. }
            if source.kind() == std::io::ErrorKind::PermissionDenied =>
        {
            (StatusCode::FORBIDDEN, error.to_string())
        }
        FileError::Unreadable { .. } => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    };
    HttpError::new(status, message)
}

/// Bytes as text of the same length, so that who reads on knows where: bytes that are no UTF-8 become `?`. A character
/// that is cut at the end of a part is left to the next one.
fn text(chunk: &Chunk) -> String {
    let whole = chunk.data.len() - cut_character(&chunk.data);
    // What is nothing but the beginning of a character may stay so for ever.
    let data = if whole == 0 {
        &chunk.data[..]
    } else {
        &chunk.data[..whole]
    };
    let mut text = String::with_capacity(data.len());
    for piece in data.utf8_chunks() {
        text.push_str(piece.valid());
        text.extend(piece.invalid().iter().map(|_| '?'));
    }
    text
}

/// How many bytes at the end begin a character of UTF-8 that goes on behind them.
fn cut_character(data: &[u8]) -> usize {
    let expected = |byte: u8| match byte {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => 0,
    };
    let tail = data.iter().rev().take(3).enumerate();
    tail.map(|(before, byte)| (before + 1, expected(*byte)))
        .find(|(held, expected)| held < expected)
        .map_or(0, |(held, _)| held)
}

/// `-rw-r--r--`, as `ls` writes it.
fn mode(entry: &Entry) -> String {
    let kind = match entry.mode & 0o170_000 {
        0o040_000 => 'd',
        0o120_000 => 'l',
        0o010_000 => 'p',
        0o140_000 => 's',
        0o020_000 => 'c',
        0o060_000 => 'b',
        _ => '-',
    };
    let bits = (0..9).map(|at| {
        let letter = ['r', 'w', 'x'][at % 3];
        if entry.mode & (0o400 >> at) == 0 {
            '-'
        } else {
            letter
        }
    });
    std::iter::once(kind).chain(bits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_as_long_as_the_bytes() {
        let bytes = b"a\xc3\xa4b\xffc\xc3.".to_vec();
        let chunk = Chunk {
            offset: 0,
            size: 0,
            data: bytes.clone(),
        };

        assert_eq!(text(&chunk), "aäb?c?.");
        assert_eq!(text(&chunk).len(), bytes.len());
    }

    #[test]
    fn a_character_cut_at_the_end_is_left_to_the_next_part() {
        let read = |data: &[u8]| {
            text(&Chunk {
                offset: 0,
                size: 0,
                data: data.to_vec(),
            })
        };

        assert_eq!(read("a€".as_bytes()), "a€");
        for cut in 1..3 {
            assert_eq!(read(&"a€".as_bytes()[..=cut]), "a");
        }
        assert_eq!(
            read("€".as_bytes().split_at(2).0),
            "??",
            "nothing else is there"
        );
        assert_eq!(read(b"a\x80\x80"), "a??", "no beginning of a character");
    }

    #[test]
    fn a_mode_is_written_as_people_read_it() {
        let entry = |mode| Entry {
            name: String::new(),
            mode,
            size: 0,
            modified_seconds: 0,
            links: 1,
            uid: 0,
            gid: 0,
        };

        assert_eq!(mode(&entry(0o100_644)), "-rw-r--r--");
        assert_eq!(mode(&entry(0o040_755)), "drwxr-xr-x");
    }
}
