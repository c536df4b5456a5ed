//! Instances in VPSolver's text form: the number of dimensions, the capacities, the number of lines, and per
//! line the sizes of an item and how many there are of it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use flate2::read::GzDecoder;

/// Items of one instance at most; the largest of the set has 500.
const MOST_ITEMS: u64 = 1_000_000;

/// Items and the capacity of each bin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Instance {
    pub(super) capacity: Vec<u64>,
    pub(super) items: Vec<Vec<u64>>,
}

/// The texts of all instances, by name.
pub(super) struct Instances(BTreeMap<String, String>);

impl Instances {
    /// Reads the archive in `folder`, or what has been unpacked beside it.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let unpacked = folder.join("New_instances");
        let archive = folder.join("New_instances.tar.gz");
        let mut texts = BTreeMap::new();
        if unpacked.is_dir() {
            read_folder(&unpacked, &mut texts)
                .with_context(|| format!("{} cannot be read", unpacked.display()))?;
        } else {
            read_archive(&archive, &mut texts)
                .with_context(|| format!("no data: {} cannot be read", archive.display()))?;
        }
        Ok(Self(texts))
    }

    /// The instance of this name; each can be taken once.
    pub(super) fn take(&mut self, name: &str) -> Result<Instance> {
        let text = self
            .0
            .remove(name)
            .with_context(|| format!("instance {name} is not in the data"))?;
        parse(&text).with_context(|| format!("instance {name}"))
    }
}

fn read_archive(path: &Path, texts: &mut BTreeMap<String, String>) -> Result<()> {
    let mut archive = tar::Archive::new(GzDecoder::new(File::open(path)?));
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        if let Some(name) = name_of(&path) {
            let mut text = String::new();
            entry.read_to_string(&mut text)?;
            texts.insert(name, text);
        }
    }
    Ok(())
}

fn read_folder(folder: &Path, texts: &mut BTreeMap<String, String>) -> Result<()> {
    for entry in folder.read_dir()? {
        let path = entry?.path();
        if path.is_dir() {
            read_folder(&path, texts)?;
        } else if let Some(name) = name_of(&path) {
            texts.insert(name, std::fs::read_to_string(&path)?);
        }
    }
    Ok(())
}

/// `class1_20_3_0` of `…/class1/class1_20_3_0.vbp`.
fn name_of(path: &Path) -> Option<String> {
    let is_instance = path.extension().is_some_and(|end| end == "vbp");
    let name = path.file_stem().filter(|_| is_instance)?;
    Some(name.to_str()?.to_owned())
}

fn parse(text: &str) -> Result<Instance> {
    let mut words = text.split_ascii_whitespace();
    let mut number = || -> Result<u64> {
        let word = words.next().context("ends too early")?;
        word.parse()
            .with_context(|| format!("{word:?} is no number"))
    };
    let dims = number()?;
    let capacity: Vec<u64> = (0..dims).map(|_| number()).collect::<Result<_>>()?;
    let mut items = Vec::new();
    for _ in 0..number()? {
        let item: Vec<u64> = (0..dims).map(|_| number()).collect::<Result<_>>()?;
        let count = number()?;
        ensure!(
            count <= MOST_ITEMS && items.len() as u64 + count <= MOST_ITEMS,
            "more than {MOST_ITEMS} items"
        );
        items.extend((0..count).map(|_| item.clone()));
    }
    Ok(Instance { capacity, items })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_with_a_demand_is_there_as_often() {
        let instance = parse("2\n10 20\n2\n1 2 1\n3 4 2\n").expect("well-formed");

        assert_eq!(instance.capacity, [10, 20]);
        assert_eq!(instance.items, [vec![1, 2], vec![3, 4], vec![3, 4]]);
    }

    #[test]
    fn a_text_cut_short_is_an_error() {
        assert!(parse("2\n10 20\n2\n1 2 1\n3").is_err());
    }
}
