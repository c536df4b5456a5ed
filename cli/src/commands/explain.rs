//! `mete explain`: why a framework, a role or an agent got what it got, and what a task would need.

use std::fmt::Write as _;

use anyhow::Result;
use serde_json::Value;

use crate::client::Addresses;
use crate::table;

/// About whom or what. With `--shape`, `--framework` and `--role` say who would ask.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("subject").required(true).multiple(true).args(["framework", "role", "agent", "shape"])))]
pub(crate) struct Question {
    /// A framework by its id.
    #[arg(long, value_name = "ID", conflicts_with = "agent")]
    framework: Option<String>,
    /// A role.
    #[arg(long, conflicts_with = "agent")]
    role: Option<String>,
    /// An agent by its id or the name of its machine.
    #[arg(long, value_name = "AGENT", conflicts_with = "shape")]
    agent: Option<String>,
    /// What a task would take: `cpus=4,mem=16384`, memory and disk in MB.
    #[arg(long, value_name = "RESOURCES")]
    shape: Option<String>,
    /// With --shape, what the agent must be like: `rack:LIKE:a.*`; may be repeated.
    #[arg(long, value_name = "FIELD:OPERATOR:VALUE", requires = "shape")]
    constraint: Vec<String>,
    /// JSON for programs.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(addresses: &Addresses, question: Question) -> Result<()> {
    let mut query = Vec::new();
    for (name, value) in [
        ("framework", &question.framework),
        ("role", &question.role),
        ("agent", &question.agent),
        ("shape", &question.shape),
    ] {
        query.extend(value.as_deref().map(|value| (name, value)));
    }
    let constraints = question.constraint.iter();
    query.extend(constraints.map(|constraint| ("constraint", constraint.as_str())));
    let answer = addresses.master()?.ask("/explain", &query).await?;
    if question.json {
        return table::json(&answer);
    }
    if let Some(roles) = answer["roles"].as_array() {
        roles.iter().for_each(client);
    } else if question.shape.is_some() {
        shape(&answer, "");
    } else if question.agent.is_some() {
        agent(&answer);
    } else {
        role(&answer);
    }
    Ok(())
}

fn client(client: &Value) {
    crate::say!(
        "framework {} in role {}: share {:.3}, policy {}",
        text(&client["framework"]),
        text(&client["role"]),
        client["share"].as_f64().unwrap_or(0.0),
        text(&client["policy"]),
    );
    crate::say!("  in use: {}", amounts(&client["in_use"]));
    for offer in list(&client["on_offer"]) {
        crate::say!(
            "  on offer: {} on {}",
            amounts(&offer["resources"]),
            text(&offer["agent"])
        );
    }
    reasons(&client["reasons"], "  ");
    groups(&client["agents"], "  ");
    for one in list(&client["shapes"]) {
        shape(one, "  ");
    }
}

fn role(role: &Value) {
    crate::say!(
        "role {}: weight {}, share {:.3}",
        text(&role["role"]),
        text(&role["weight"]),
        role["share"].as_f64().unwrap_or(0.0),
    );
    for (name, value) in [("limit", &role["limit"]), ("guarantee", &role["guarantee"])] {
        if !value.is_null() {
            crate::say!("  {name}: {}", amounts(value));
        }
    }
    crate::say!("  charged: {}", amounts(&role["charged"]));
    reasons(&role["reasons"], "  ");
    list(&role["frameworks"]).iter().for_each(client);
}

fn agent(agent: &Value) {
    crate::say!(
        "agent {} on {}",
        text(&agent["agent"]),
        text(&agent["hostname"])
    );
    crate::say!("  has: {}", amounts(&agent["total"]));
    crate::say!("  free: {}", amounts(&agent["free"]));
    for used in list(&agent["in_use"]) {
        crate::say!(
            "  in use by {} in role {}: {}",
            text(&used["framework"]),
            text(&used["role"]),
            amounts(&used["resources"])
        );
    }
    reasons(&agent["reasons"], "  ");
    for one in list(&agent["frameworks"]) {
        crate::say!(
            "  to framework {} in role {}:",
            text(&one["framework"]),
            text(&one["role"])
        );
        reasons(&one["reasons"], "    ");
    }
}

/// A shape with what stands against it; each line begins with `indent`.
pub(super) fn shape(shape: &Value, indent: &str) {
    let name = shape["name"]
        .as_str()
        .map_or_else(String::new, |name| format!("{name}: "));
    crate::say!(
        "{indent}shape {name}{} in role {}: {} waiting, {} on offer, fits on {} agents now",
        amounts(&shape["resources"]),
        text(&shape["role"]),
        text(&shape["waiting"]),
        text(&shape["on_offer"]),
        text(&shape["fits_on"]),
    );
    let inner = format!("{indent}  ");
    groups(&shape["agents"], &inner);
    for near in list(&shape["nearest"]) {
        crate::say!("{inner}nearest: {}", text(&near["agent"]));
        reasons(&near["reasons"], &format!("{inner}  "));
    }
    let changes = list(&shape["smallest_change"]).iter();
    let changes: Vec<String> = changes.map(|change| text(&change["text"])).collect();
    if !changes.is_empty() {
        crate::say!("{inner}smallest change: {}", changes.join("; "));
    }
}

fn groups(groups: &Value, indent: &str) {
    for group in list(groups) {
        let examples: Vec<String> = list(&group["examples"]).iter().map(text).collect();
        crate::say!(
            "{indent}{} agents: {} [{}] ({})",
            text(&group["count"]),
            text(&group["reason"]["text"]),
            text(&group["reason"]["code"]),
            examples.join(", ")
        );
    }
}

fn reasons(reasons: &Value, indent: &str) {
    for reason in list(reasons) {
        crate::say!(
            "{indent}{} [{}]",
            text(&reason["text"]),
            text(&reason["code"])
        );
    }
}

/// `cpus 4, mem 1024`.
pub(super) fn amounts(amounts: &Value) -> String {
    let mut all = String::new();
    for (name, amount) in amounts.as_object().into_iter().flatten() {
        let comma = if all.is_empty() { "" } else { ", " };
        let _ = write!(all, "{comma}{name} {}", text(amount));
    }
    if all.is_empty() {
        "nothing".to_owned()
    } else {
        all
    }
}

pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub(super) fn text(value: &Value) -> String {
    match value.as_f64() {
        Some(number) => ((number * 1e3).round() / 1e3).to_string(),
        None => table::cell(value),
    }
}
