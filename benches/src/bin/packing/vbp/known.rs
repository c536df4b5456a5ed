//! What is known of each instance: `instance_name LB OPT best_overall …`, tab-separated, OPT empty or a dash
//! where no optimum is proven.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

/// One line of the summary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// `class1_20_3_0`: class, items, dimensions, number.
    pub(super) name: String,
    pub(super) class: String,
    pub(super) dims: u32,
    pub(super) lower_bound: usize,
    /// Proven by an exact method, for two thirds of the instances.
    pub(super) optimum: Option<usize>,
    /// The fewest bins any of the 351 algorithms used.
    pub(super) best_of_351: usize,
}

pub(super) fn read(path: &Path) -> Result<Vec<Known>> {
    let text = std::fs::read_to_string(path).with_context(|| {
        format!(
            "no data: {} cannot be read (the `New` set of Vectorpack/experiments_vector_paper belongs there)",
            path.display()
        )
    })?;
    let lines = text.lines().skip(1).filter(|line| !line.trim().is_empty());
    let known: Vec<Known> = lines
        .map(|line| parse(line).with_context(|| format!("{}: {line:?}", path.display())))
        .collect::<Result<_>>()?;
    ensure!(!known.is_empty(), "{} lists no instances", path.display());
    Ok(known)
}

fn parse(line: &str) -> Result<Known> {
    let mut fields = line.split('\t');
    let mut field = |name: &'static str| fields.next().with_context(|| format!("no {name}"));
    let name = field("instance_name")?;
    let lower_bound = field("LB")?.trim().parse().context("LB is no number")?;
    let optimum = field("OPT")?.trim().parse().ok();
    let best_of_351 = field("best_overall")?
        .trim()
        .parse()
        .context("best_overall is no number")?;
    let mut parts = name.split('_');
    let class = parts.next().unwrap_or_default().to_owned();
    let dims = parts.nth(1).and_then(|dims| dims.parse().ok());
    Ok(Known {
        name: name.to_owned(),
        class,
        dims: dims.context("the name does not tell the dimensions")?,
        lower_bound,
        optimum,
        best_of_351,
    })
}
