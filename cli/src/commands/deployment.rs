//! `mete deployment`: changes under way.

use anyhow::Result;

use crate::client::Addresses;
use crate::table;

/// What can be asked of deployments.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Ask {
    /// All changes under way.
    List {
        /// JSON for programs.
        #[arg(long)]
        json: bool,
    },
}

pub(crate) async fn run(addresses: &Addresses, ask: Ask) -> Result<()> {
    let Ask::List { json } = ask;
    let answer = addresses.services()?.get("/v2/deployments").await?;
    if json {
        return table::json(&answer);
    }
    let rows = answer.as_array().into_iter().flatten().map(|deployment| {
        let list = |key: &str, of: &str| {
            let all = deployment[key].as_array().into_iter().flatten();
            all.map(|item| table::cell(if of.is_empty() { item } else { &item[of] }))
                .collect::<Vec<_>>()
                .join(",")
        };
        [
            table::cell(&deployment["id"]),
            [list("affectedApps", ""), list("affectedPods", "")]
                .into_iter()
                .filter(|paths| !paths.is_empty())
                .collect::<Vec<_>>()
                .join(","),
            format!(
                "{}/{}",
                table::cell(&deployment["currentStep"]),
                table::cell(&deployment["totalSteps"])
            ),
            list("currentActions", "action"),
            table::cell(&deployment["version"]),
        ]
    });
    table::print(
        ["DEPLOYMENT", "APPS AND PODS", "STEP", "DOING", "SINCE"],
        rows,
    );
    Ok(())
}
