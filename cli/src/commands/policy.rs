//! `mete policy`: how places for tasks are chosen.

use anyhow::{Result, bail};
use reqwest::Method;
use serde_json::json;

use crate::client::Addresses;
use crate::table;

/// Shows or sets a packing policy.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The policy from now on, e.g. `best-fit` or `spread`; `default`: what holds when none is set.
    name: Option<String>,
    /// For this role and those below it, not for the cluster.
    #[arg(long)]
    role: Option<String>,
    /// JSON for programs.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(addresses: &Addresses, options: Options) -> Result<()> {
    let master = addresses.master()?;
    let Options { name, role, json } = options;
    if let Some(name) = name {
        let policy = Some(&name).filter(|name| *name != "default");
        let body = json!({ "policy": policy, "role": role });
        master.call(Method::PUT, "/policy", Some(&body)).await?;
        match role {
            Some(role) => crate::say!("policy of role {role}: {name}"),
            None => crate::say!("policy of the cluster: {name}"),
        }
        return Ok(());
    }
    let answer = master.get("/policy").await?;
    if let Some(role) = role {
        let Some(policy) = answer["roles"].get(&role) else {
            bail!("role {role} has no policy of its own");
        };
        crate::say!("{}", table::cell(policy));
        return Ok(());
    }
    if json {
        return table::json(&answer);
    }
    let cluster = ["(cluster)".to_owned(), table::cell(&answer["policy"])];
    let roles = answer["roles"].as_object().into_iter().flatten();
    let roles = roles.map(|(role, policy)| [role.clone(), table::cell(policy)]);
    table::print(["FOR", "POLICY"], std::iter::once(cluster).chain(roles));
    Ok(())
}
