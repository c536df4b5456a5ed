//! Arrows between crates point down only: what `cargo metadata` says is compared with the plan.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Each crate and the crates of Mete it may use. What stands for tests alone (`dev-dependencies`) is not an arrow.
const ARROWS: [(&str, &[&str]); 15] = [
    ("mete-model", &[]),
    ("mete-placement", &["mete-model"]),
    ("mete-proto", &["mete-placement", "mete-model"]),
    ("mete-daemon", &["mete-model"]),
    (
        "mete-framework-sdk",
        &["mete-proto", "mete-placement", "mete-model"],
    ),
    ("mete-master-core", &["mete-placement", "mete-model"]),
    ("mete-agent-core", &["mete-model"]),
    (
        "mete-service-framework-core",
        &["mete-placement", "mete-model"],
    ),
    ("mete-shim", &["mete-agent-core", "mete-model"]),
    (
        "mete-agent",
        &["mete-agent-core", "mete-proto", "mete-daemon", "mete-model"],
    ),
    (
        "mete-master",
        &[
            "mete-master-core",
            "mete-placement",
            "mete-proto",
            "mete-daemon",
            "mete-model",
        ],
    ),
    (
        "mete-service-framework",
        &[
            "mete-service-framework-core",
            "mete-framework-sdk",
            "mete-proto",
            "mete-daemon",
            "mete-model",
        ],
    ),
    (
        "mete-discovery",
        &["mete-proto", "mete-daemon", "mete-model"],
    ),
    (
        "mete-cli",
        &[
            "mete-model",
            "mete-proto",
            "mete-daemon",
            "mete-master",
            "mete-agent",
            "mete-shim",
            "mete-service-framework",
            "mete-discovery",
        ],
    ),
    (
        "mete-benches",
        &[
            "mete-model",
            "mete-placement",
            "mete-proto",
            "mete-master-core",
            "mete-service-framework-core",
            "mete-framework-sdk",
            "mete-daemon",
        ],
    ),
];

/// Crates that decide, and what would let the world in.
const PURE: [&str; 5] = [
    "mete-model",
    "mete-placement",
    "mete-master-core",
    "mete-agent-core",
    "mete-service-framework-core",
];
const IMPURE: [&str; 8] = [
    "tokio", "tonic", "axum", "hyper", "reqwest", "rand", "rustix", "redb",
];

/// Each crate of the workspace with the crates it uses outside of its tests.
fn uses() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version=1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    let metadata: Value =
        serde_json::from_slice(&output.stdout).expect("cargo metadata speaks JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let uses = |package: &Value| {
        let all = package["dependencies"]
            .as_array()
            .expect("dependencies")
            .iter();
        all.filter(|used| used["kind"].is_null())
            .map(|used| used["name"].as_str().expect("name").to_owned())
            .collect()
    };
    packages
        .iter()
        .map(|package| {
            (
                package["name"].as_str().expect("name").to_owned(),
                uses(package),
            )
        })
        .collect()
}

#[test]
fn every_arrow_is_in_the_plan() {
    let plan: BTreeMap<&str, &[&str]> = ARROWS.into_iter().collect();

    for (package, used) in uses() {
        let allowed = plan
            .get(package.as_str())
            .unwrap_or_else(|| panic!("{package} is not in the plan"));
        for other in used.iter().filter(|other| other.starts_with("mete-")) {
            assert!(
                allowed.contains(&other.as_str()),
                "{package} uses {other}: that arrow is not in the plan"
            );
        }
    }
}

#[test]
fn crates_that_decide_do_nothing_else() {
    let uses = uses();

    for package in PURE {
        for other in IMPURE {
            assert!(
                !uses[package].contains(other),
                "{package} decides and may not use {other}"
            );
        }
    }
}
