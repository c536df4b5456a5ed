//! Amounts by name: to compare limits, guarantees, what is used and what there is, and to say so in the words of people
//! (CPUs, MB).

use mete_model::Resources;
use mete_placement::Amounts;

/// The amounts that are stated, by name, in the smallest unit.
pub(crate) fn stated(amounts: &Amounts) -> Vec<(&str, u64)> {
    let main = [
        ("cpus", amounts.cpus_milli),
        ("mem", amounts.mem_milli),
        ("disk", amounts.disk_milli),
        ("gpus", amounts.gpus_milli),
    ];
    let main = main
        .into_iter()
        .filter_map(|(name, one)| Some((name, one?)));
    let other = amounts.other.iter().map(|(name, milli)| (&**name, *milli));
    main.chain(other).collect()
}

/// What is stated of one name.
pub(crate) fn of_amounts(amounts: &Amounts, name: &str) -> Option<u64> {
    match name {
        "cpus" => amounts.cpus_milli,
        "mem" => amounts.mem_milli,
        "disk" => amounts.disk_milli,
        "gpus" => amounts.gpus_milli,
        other => amounts.other.get(other).copied(),
    }
}

/// How much there is of one name.
pub(crate) fn of_resources(resources: &Resources, name: &str) -> u64 {
    match name {
        "cpus" => resources.cpus_milli,
        "mem" => resources.mem_milli,
        "disk" => resources.disk_milli,
        "gpus" => resources.gpus_milli,
        other => resources.other(other),
    }
}

/// An amount as people write it: `2.5`, `1024 MB`.
pub(crate) fn text(name: &str, amount: u128) -> String {
    let unit = match name {
        "mem" | "disk" => " MB",
        _ => "",
    };
    let (whole, part) = (amount / 1_000, amount % 1_000);
    let number = if part == 0 {
        whole.to_string()
    } else {
        let digits = format!("{whole}.{part:03}");
        digits.trim_end_matches('0').to_owned()
    };
    format!("{number}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_as_people_write_them() {
        assert_eq!(text("cpus", 2_500), "2.5");
        assert_eq!(text("cpus", 40), "0.04");
        assert_eq!(text("mem", 1_024_000), "1024 MB");
        assert_eq!(text("fpga", 3_000), "3");
    }

    #[test]
    fn nothing_stated_is_not_the_same_as_zero_stated() {
        let amounts = Amounts {
            cpus_milli: Some(0),
            ..Amounts::default()
        };

        assert_eq!(stated(&amounts), [("cpus", 0)]);
        assert_eq!(of_amounts(&amounts, "mem"), None);
    }
}
