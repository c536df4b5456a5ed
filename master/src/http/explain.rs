//! `GET /explain` and `POST /what-if`: why somebody got what it got, and what would happen if.
//!
//! Both look at a copy of the allocator, taken between two inputs; however long they take, no decision waits for them.
//! Only a few are answered at a time, because each works on a copy of its own.

mod ask; // questions out of queries and bodies
#[cfg(test)]
mod documented; // docs/api/explain.md names every code and what it holds
mod json; // answers as JSON

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use mete_daemon::clock;
use mete_daemon::event_loop::Handle;
use mete_daemon::http_error::HttpError;
use mete_master_core::{Input, Reply, View};
use mete_placement::Allocator;
use mete_proto::mete::v1::ExplainRequest;
use serde_json::Value;
use tokio::sync::Semaphore;

use super::body::Body;
use crate::rounds::Timed;
use ask::Question;

/// Answers in the making at a time: one for each core of a small machine; a copy of a large cluster is some tens of MB.
const AT_A_TIME: usize = 2;

/// What the answers are made from; those over gRPC come from here, too.
#[derive(Clone, Debug)]
pub(crate) struct Explainers {
    handle: Handle<Timed>,
    places: Arc<Semaphore>,
}

pub(crate) fn routes(desk: Explainers) -> Router {
    Router::new()
        .route("/explain", get(explain))
        .route("/what-if", post(what_if))
        .with_state(desk)
}

async fn explain(
    State(desk): State<Explainers>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, HttpError> {
    let question = Question::from_query(query.as_deref().unwrap_or(""))?;
    desk.explain(question).await.map(Json)
}

async fn what_if(
    State(desk): State<Explainers>,
    Body(body): Body<Value>,
) -> Result<Json<Value>, HttpError> {
    let now = clock::now();
    desk.answer(move |allocator, view| {
        let question = ask::what_if(view, &body)?;
        Ok(json::what_if(&allocator.what_if(now, &question)))
    })
    .await
    .map(Json)
}

impl Explainers {
    pub(crate) fn new(handle: Handle<Timed>) -> Self {
        Self {
            handle,
            places: Arc::new(Semaphore::new(AT_A_TIME)),
        }
    }

    /// What `GET /explain` answers to the same words.
    pub(crate) async fn explain_in_words(&self, words: ExplainRequest) -> Result<Value, HttpError> {
        self.explain(Question::read(words)?).await
    }

    async fn explain(&self, question: Question) -> Result<Value, HttpError> {
        self.answer(move |allocator, view| ask::explain(allocator, view, &question))
            .await
    }

    /// Answers on a thread that may take its time.
    async fn answer(
        &self,
        make: impl FnOnce(&Allocator, &View) -> Result<Value, HttpError> + Send + 'static,
    ) -> Result<Value, HttpError> {
        let gone = |_| HttpError::unavailable("the master is stopping");
        let place = Arc::clone(&self.places)
            .acquire_owned()
            .await
            .map_err(|_| HttpError::unavailable("the master is stopping"))?;
        let reply = self.handle.ask(Input::Snapshot).await.map_err(gone)?;
        let Reply::Snapshot(snapshot) = reply else {
            return Err(HttpError::unavailable("the answer was to another question"));
        };
        let view = self.handle.view();
        let made = tokio::task::spawn_blocking(move || {
            let answer = make(snapshot.allocator(), &view);
            drop(place);
            answer
        });
        made.await
            .map_err(|_| HttpError::unavailable("the answer could not be made"))?
    }
}
