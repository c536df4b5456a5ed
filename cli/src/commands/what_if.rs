//! `mete what-if`: what would be placed where, and what not, if this were asked and those agents were empty.

use anyhow::{Result, bail};
use reqwest::Method;
use serde_json::{Value, json};

use super::explain::{amounts, list, shape, text};
use crate::client::Addresses;
use crate::table;

/// A question. Nothing is touched.
#[derive(Debug, clap::Args)]
pub(crate) struct Question {
    /// What would be added: how many, then what each takes, memory and disk in MB: `--add 20x cpus=4,mem=16384`. May be
    /// repeated.
    #[arg(long, num_args = 1..=2, value_names = ["COUNTx", "RESOURCES"], action = clap::ArgAction::Append)]
    add: Vec<String>,
    /// An agent that would be empty and closed, by its id or the name of its machine; what runs there is placed
    /// elsewhere. May be repeated.
    #[arg(long, value_name = "AGENT")]
    drain: Vec<String>,
    /// How places would be chosen: first-fit, best-fit, spread, dot-product, l2, fgd, or the default.
    #[arg(long)]
    policy: Option<String>,
    /// In which role it would be asked.
    #[arg(long)]
    role: Option<String>,
    /// JSON for programs.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(addresses: &Addresses, question: Question) -> Result<()> {
    let body = body(&question)?;
    let answer = addresses
        .master()?
        .call(Method::POST, "/what-if", Some(&body))
        .await?;
    if question.json {
        return table::json(&answer);
    }
    for one in list(&answer["shapes"]) {
        let name = one["name"]
            .as_str()
            .map_or_else(String::new, |name| format!(" ({name})"));
        let placed: u64 = list(&one["placed"])
            .iter()
            .filter_map(|place| place["count"].as_u64())
            .sum();
        crate::say!(
            "{} of {} × {}{name} would be placed",
            placed,
            text(&one["count"]),
            amounts(&one["resources"])
        );
        for place in list(&one["placed"]) {
            crate::say!("  {} on {}", text(&place["count"]), text(&place["agent"]));
        }
        if !one["why_not"].is_null() {
            crate::say!("  {} would not:", text(&one["missing"]));
            shape(&one["why_not"], "    ");
        }
    }
    for (name, of) in [("free", &answer["free"]), ("stranded", &answer["stranded"])] {
        crate::say!(
            "{name}: {} now, {} then",
            amounts(&of["before"]),
            amounts(&of["after"])
        );
    }
    Ok(())
}

fn body(question: &Question) -> Result<Value> {
    let mut add = Vec::new();
    let mut count = None;
    for word in &question.add {
        if let Some(number) = word.strip_suffix('x').filter(|number| {
            !number.is_empty() && number.chars().all(|digit| digit.is_ascii_digit())
        }) {
            if count.replace(number.parse::<u32>()?).is_some() {
                bail!("--add {word}: what each takes is missing before it");
            }
            continue;
        }
        let (number, resources) = match word.split_once([' ', 'x']) {
            Some((number, rest)) if number.chars().all(|digit| digit.is_ascii_digit()) => (
                Some(number.parse::<u32>()?),
                rest.trim_start_matches(['x', ' ']),
            ),
            _ => (None, word.as_str()),
        };
        add.push(json!({
            "count": number.or_else(|| count.take()).unwrap_or(1),
            "resources": resources,
            "role": question.role,
        }));
    }
    if count.is_some() {
        bail!(
            "--add: what each takes is missing after the count, as in --add 20x cpus=4,mem=16384"
        );
    }
    Ok(json!({ "add": add, "drain": question.drain, "policy": question.policy }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(add: &[&str]) -> Result<Value> {
        body(&Question {
            add: add.iter().map(|&word| word.to_owned()).collect(),
            drain: Vec::new(),
            policy: None,
            role: None,
            json: false,
        })
    }

    #[test]
    fn a_count_stands_before_what_each_takes_in_one_word_or_two() {
        let expected = json!([{ "count": 20, "resources": "cpus=4,mem=16384", "role": null }]);

        for words in [
            &["20x", "cpus=4,mem=16384"][..],
            &["20x cpus=4,mem=16384"],
            &["20xcpus=4,mem=16384"],
        ] {
            assert_eq!(asked(words).expect("good")["add"], expected, "{words:?}");
        }
        assert_eq!(asked(&["cpus=1"]).expect("good")["add"][0]["count"], 1);
    }

    #[test]
    fn a_count_without_resources_is_refused() {
        assert!(asked(&["20x"]).is_err());
        assert!(asked(&["20x", "3x", "cpus=1"]).is_err());
    }
}
