//! A client of Mesos' v1 HTTP API: calls as text or bytes, and streams of records.

use bytes::Bytes;
use mete_daemon::http_client;
use mete_proto::recordio;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use serde_json::Value;

use crate::peers::{Master, PATIENCE};

pub(crate) const JSON: &str = "application/json";
pub(crate) const PROTOBUF: &str = "application/x-protobuf";
pub(crate) const STREAM_ID: &str = "mesos-stream-id";

/// Posts a body with these headers.
pub(crate) async fn post(
    master: &Master,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<reqwest::Body>,
) -> reqwest::Response {
    let client = http_client::plain().build().expect("a client");
    let mut request = client.post(format!("{}{path}", master.url));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body).send().await.expect("an answer")
}

/// Posts JSON; the status and the text.
pub(crate) async fn call(master: &Master, path: &str, call: &Value) -> (u16, String) {
    let headers = [("content-type", JSON)];
    let answer = post(master, path, &headers, call.to_string()).await;
    let status = answer.status().as_u16();
    (status, answer.text().await.expect("a body"))
}

/// Asks the operator API; the answer as JSON.
pub(crate) async fn ask(master: &Master, question: &Value) -> Value {
    let (status, text) = call(master, "/api/v1", question).await;
    assert_eq!(status, 200, "{question}: {text}");
    serde_json::from_str(&text).expect("JSON")
}

/// A stream of records.
pub(crate) struct Records {
    answer: reqwest::Response,
    decoder: recordio::Decoder,
    chunk: Bytes,
}

impl Records {
    pub(crate) async fn open(
        master: &Master,
        path: &str,
        media: &str,
        body: impl Into<reqwest::Body>,
    ) -> Self {
        let headers = [(CONTENT_TYPE.as_str(), media), (ACCEPT.as_str(), media)];
        let answer = post(master, path, &headers, body).await;
        let status = answer.status();
        if status != 200 {
            panic!("{status}: {}", answer.text().await.expect("a body"));
        }
        assert_eq!(answer.headers()[CONTENT_TYPE], media);
        assert_eq!(answer.headers()["transfer-encoding"], "chunked");
        assert!(!answer.headers().contains_key("content-encoding"));
        Self::of(answer)
    }

    /// What an answer holds.
    pub(crate) fn of(answer: reqwest::Response) -> Self {
        Self {
            answer,
            decoder: recordio::Decoder::new(1 << 22),
            chunk: Bytes::new(),
        }
    }

    pub(crate) fn stream_id(&self) -> String {
        let id = self.answer.headers()[STREAM_ID].to_str();
        id.expect("text").to_owned()
    }

    /// The next record; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(record) = self.decoder.next(&mut self.chunk).expect("records") {
                return Some(record);
            }
            let chunk = tokio::time::timeout(PATIENCE, self.answer.chunk());
            self.chunk = chunk.await.expect("in time").expect("no break")?;
        }
    }

    /// The next record that is no heartbeat, as JSON.
    pub(crate) async fn event(&mut self) -> Value {
        loop {
            let record = self.next().await.expect("no end");
            let event: Value = serde_json::from_slice(&record).expect("JSON");
            if event["type"] != "HEARTBEAT" {
                return event;
            }
        }
    }

    /// The next event of a kind; others are passed over.
    pub(crate) async fn wait_for(&mut self, kind: &str) -> Value {
        loop {
            let event = self.event().await;
            if event["type"] == kind {
                return event;
            }
        }
    }
}
