//! Rows for people, JSON for programs.

use anyhow::Result;
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use mete_model::agent::authority;
use serde_json::Value;

/// Prints rows under their heads; columns as wide as they need.
pub(crate) fn print<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(head);
    for row in rows {
        table.add_row(row);
    }
    for line in table.lines() {
        crate::say!("{}", line.trim_end());
    }
}

/// Prints a value for programs.
pub(crate) fn json(value: &Value) -> Result<()> {
    crate::say!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

/// Where an agent of the master's state is: `host:port`.
pub(crate) fn address(agent: &Value) -> String {
    authority(&cell(&agent["hostname"]), cell(&agent["port"]))
}

/// A value as a cell: text without quotes, nothing for null.
pub(crate) fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}
