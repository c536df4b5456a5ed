//! What an answer must look like, whatever was asked.

use std::time::Duration;

use reqwest::{RequestBuilder, StatusCode};
use serde_json::Value;

/// A request that takes longer holds up everybody: the longest of those tried, with 8 MiB, take a second or two.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sends it, and says what is wrong with the answer.
pub(crate) async fn of(request: RequestBuilder) -> Result<(StatusCode, Value), String> {
    let asked = async {
        let response = request.send().await.map_err(|error| format!("{error:?}"))?;
        let status = response.status();
        let text = response.text().await.map_err(|error| error.to_string())?;
        Ok::<_, String>((status, text))
    };
    let asked = tokio::time::timeout(PATIENCE, asked).await;
    let (status, text) = asked.map_err(|_| format!("no answer within {PATIENCE:?}"))??;
    if status.is_server_error() {
        return Err(format!("{status}: {text:.500}"));
    }
    if text.is_empty() && status.is_success() {
        return Ok((status, Value::Null));
    }
    let body = serde_json::from_str(&text);
    let body: Value = body.map_err(|error| format!("{status}: {error} in {text:.500}"))?;
    if !status.is_success() && !is_error(&body) {
        return Err(format!(
            "{status}: no error as Marathon writes them: {body:.500}"
        ));
    }
    Ok((status, body))
}

/// `{"message": …}`, `details` as one text or a list of places with their errors, `deployments` by their ids.
fn is_error(body: &Value) -> bool {
    let Value::Object(entries) = body else {
        return false;
    };
    let is_text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    let is_detail = |detail: &Value| {
        let errors = detail["errors"].as_array();
        is_text(&detail["path"]) && errors.is_some_and(|errors| errors.iter().all(is_text))
    };
    let is_list = |value: &Value, of: &dyn Fn(&Value) -> bool| {
        value.as_array().is_some_and(|items| items.iter().all(of))
    };
    entries.iter().all(|(key, value)| match key.as_str() {
        "message" => is_text(value),
        "details" => is_text(value) || is_list(value, &is_detail),
        "deployments" => is_list(value, &|one| is_text(&one["id"])),
        _ => false,
    }) && entries.contains_key("message")
}
