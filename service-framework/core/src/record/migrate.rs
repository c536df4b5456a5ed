//! Records of older formats → records of this one, before anything of them is read.
//!
//! ```text
//! format 1 ──step──▶ 2 ──step──▶ … ──step──▶ FORMAT      all records of a store at once, in one transaction
//! ```
//! Invariants: the records of a store are of one format; a format above [`FORMAT`] is refused; each format ever written
//! has a step to the next, and a file with its bytes in `service-framework/tests/formats`,
//! which all later programs read.

use std::collections::{BTreeMap, BTreeSet};

use mete_model::machine::Change;
use serde_json::Value;

use super::{BadRecord, FORMAT};

/// A key and its value, as they lie in the store.
type Entry = (Vec<u8>, Vec<u8>);
/// All records of a store by their keys, without the byte of their format.
type Records = BTreeMap<String, Value>;

/// From one format to the next. It may change, make and remove records; it reads what the older format was, by itself:
/// types of this program change later.
struct Step(fn(&mut Records) -> Result<(), BadRecord>);

/// The first is from 1 to 2. As many as there are formats behind this one, or it does not compile.
const STEPS: [Step; FORMAT as usize - 1] = [];

/// Records in the format of this program.
#[derive(Debug, PartialEq, Eq)]
pub struct Migrated {
    /// The format they had; this program's when there were none.
    pub from: u8,
    /// All of them.
    pub entries: Vec<Entry>,
    /// What is to be stored, as one, before anything else is; nothing when they had this format.
    pub changes: Vec<Change>,
}

/// Brings all entries of a store to the format of this program.
///
/// # Errors
/// When one has a later format, another than the others, or makes no sense to a step.
pub fn migrate(entries: Vec<Entry>) -> Result<Migrated, BadRecord> {
    through(&STEPS, entries)
}

fn through(steps: &[Step], entries: Vec<Entry>) -> Result<Migrated, BadRecord> {
    let newest = u8::try_from(steps.len() + 1).unwrap_or(u8::MAX);
    let from = format(newest, &entries)?;
    let Some(steps) = steps
        .get(usize::from(from) - 1..)
        .filter(|steps| !steps.is_empty())
    else {
        let changes = Vec::new();
        return Ok(Migrated {
            from,
            entries,
            changes,
        });
    };
    let mut records = Records::new();
    for (key, value) in &entries {
        let bad = |why: String| BadRecord::of(key, why);
        let json = serde_json::from_slice(&value[1..]).map_err(|error| bad(error.to_string()))?;
        let key = String::from_utf8(key.clone()).map_err(|_| bad("its key is no text".into()))?;
        records.insert(key, json);
    }
    for Step(apply) in steps {
        apply(&mut records)?;
    }
    let before: BTreeSet<Vec<u8>> = entries.into_iter().map(|(key, _)| key).collect();
    let entries: BTreeMap<Vec<u8>, Vec<u8>> = records
        .into_iter()
        .map(|(key, json)| {
            let value = [&[newest], json.to_string().as_bytes()].concat();
            (key.into_bytes(), value)
        })
        .collect();
    let gone = before.into_iter().filter(|key| !entries.contains_key(key));
    let gone = gone.map(|key| Change { key, value: None });
    let put = entries.iter().map(|(key, value)| Change {
        key: key.clone(),
        value: Some(value.clone()),
    });
    let changes = gone.chain(put).collect();
    Ok(Migrated {
        from,
        entries: entries.into_iter().collect(),
        changes,
    })
}

/// The one format of all records.
fn format(newest: u8, entries: &[Entry]) -> Result<u8, BadRecord> {
    let mut all = None;
    for (key, value) in entries {
        let bad = |why: String| Err(BadRecord::of(key, why));
        match value.first() {
            None => return bad("it is empty".to_owned()),
            Some(&found) if found > newest => {
                return bad(format!(
                    "its format is {found}, and {newest} is the last that this program reads: a later program wrote it"
                ));
            }
            Some(0) => return bad("its format is 0, and 1 is the first".to_owned()),
            Some(&found) => match *all.get_or_insert(found) {
                others if others == found => {}
                others => {
                    return bad(format!(
                        "its format is {found}, that of those before is {others}"
                    ));
                }
            },
        }
    }
    Ok(all.unwrap_or(newest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &str, value: &str) -> Entry {
        (key.as_bytes().to_vec(), value.as_bytes().to_vec())
    }

    /// From 1 to 2: `size` becomes `bytes`, and whatever is called `old` goes; from 2 to 3: a record of its own.
    const STEPS: [Step; 2] = [
        Step(|records| {
            records.remove("old");
            for (key, record) in records {
                let size = record["size"].as_u64();
                let size = size.ok_or_else(|| BadRecord::of(key.as_bytes(), "no size".into()))?;
                *record = serde_json::json!({ "bytes": size * 1024 });
            }
            Ok(())
        }),
        Step(|records| {
            let sum: u64 = records.values().filter_map(|r| r["bytes"].as_u64()).sum();
            records.insert("sum".to_owned(), sum.into());
            Ok(())
        }),
    ];

    #[test]
    fn records_go_through_every_step_from_their_format_on() {
        let first = vec![
            entry("a", "\x01{\"size\":1}"),
            entry("b", "\x01{\"size\":2}"),
            entry("old", "\x01null"),
        ];
        let migrated = through(&STEPS, first).expect("good");
        let entries = vec![
            entry("a", "\x03{\"bytes\":1024}"),
            entry("b", "\x03{\"bytes\":2048}"),
            entry("sum", "\x033072"),
        ];
        let put = entries.iter().map(|(key, value)| Change {
            key: key.clone(),
            value: Some(value.clone()),
        });
        let gone = Change {
            key: b"old".to_vec(),
            value: None,
        };
        let expected = Migrated {
            from: 1,
            changes: std::iter::once(gone).chain(put).collect(),
            entries,
        };
        assert_eq!(migrated, expected);

        let second = vec![entry("old", "\x02{\"bytes\":5}")];
        let migrated = through(&STEPS, second).expect("good");
        let expected = [entry("old", "\x03{\"bytes\":5}"), entry("sum", "\x035")];
        assert_eq!((migrated.from, migrated.changes.len()), (2, 2));
        assert_eq!(migrated.entries, expected);
    }

    #[test]
    fn what_has_the_newest_format_is_left_as_it_is() {
        for entries in [vec![], vec![entry("a", "\x03{ }")]] {
            let expected = Migrated {
                from: 3,
                entries: entries.clone(),
                changes: Vec::new(),
            };
            assert_eq!(through(&STEPS, entries), Ok(expected));
        }
    }

    #[test]
    fn what_cannot_be_brought_along_is_named_and_nothing_is_changed() {
        let refused =
            |entries: Vec<Entry>| through(&STEPS, entries).expect_err("refused").to_string();

        assert_eq!(
            refused(vec![entry("a", "\x04{}")]),
            "record \"a\" cannot be read: its format is 4, and 3 is the last that this program reads: a later program wrote it"
        );
        assert_eq!(
            refused(vec![entry("a", "\x01{}"), entry("b", "\x02{}")]),
            "record \"b\" cannot be read: its format is 2, that of those before is 1"
        );
        assert_eq!(
            refused(vec![entry("a", "\x01{}")]),
            "record \"a\" cannot be read: no size"
        );
        for (value, word) in [("", "empty"), ("\0{}", "1 is the first"), ("\x01{", "EOF")] {
            let told = refused(vec![entry("a", value)]);
            assert!(told.contains(word), "{told}");
        }
    }
}
