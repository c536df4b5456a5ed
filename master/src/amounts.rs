//! Limits and guarantees: scalars of which some are stated. In messages a list of resources, in JSON an object of numbers;
//! memory and disk in MB.

use std::collections::{BTreeMap, BTreeSet};

use mete_master_core::Amounts;
use mete_proto::convert::{ConvertError, Within as _, resources};
use mete_proto::mesos::v1 as wire;

/// The most resources one limit may name: more kinds than any machine has.
const MAX_NAMES: usize = 64;
/// How far a number may be from whole thousandths: what a double cannot tell, with a margin.
const ROUNDING: f64 = 1e-6;

/// Amounts by name; the same as resources say it, where nothing stated is `None`. A scalar of 0 is stated too, which
/// [`Amounts::from`] cannot tell.
///
/// # Errors
/// Names the resource that is no scalar, no whole number of thousandths, somebody's, or named twice.
pub(crate) fn from_wire(list: &[wire::Resource]) -> Result<Option<Amounts>, ConvertError> {
    if list.is_empty() {
        return Ok(None);
    }
    if list.len() > MAX_NAMES {
        let rule = "at most 64 resources can be named";
        return Err(ConvertError::bad_value("resources", list.len(), rule));
    }
    let mut names = BTreeSet::new();
    for named in list {
        if !names.insert(&named.name) {
            let rule = "each resource is named once";
            return Err(ConvertError::bad_value("resources", &named.name, rule));
        }
        if !is_plain(named) {
            let rule = "quotas are of what is not reserved, no volume and not revocable";
            return Err(ConvertError::bad_value("resources", &named.name, rule));
        }
    }
    let sum = resources::from_wire(list)?;
    if !sum.ports.is_empty() {
        return Err(ConvertError::not_carried("ports", "quotas of ports are"));
    }
    let mut amounts = Amounts::default();
    for named in list {
        let value = named.scalar.as_ref().map_or(0.0, |scalar| scalar.value);
        milli(&named.name, value)?;
        match named.name.as_str() {
            "cpus" => amounts.cpus_milli = Some(sum.cpus_milli),
            "mem" => amounts.mem_milli = Some(sum.mem_milli),
            "disk" => amounts.disk_milli = Some(sum.disk_milli),
            "gpus" => amounts.gpus_milli = Some(sum.gpus_milli),
            "ports" => {}
            other => drop(amounts.other.insert(other.into(), sum.other(other))),
        }
    }
    Ok(Some(amounts))
}

/// Whether it says how much and nothing else.
fn is_plain(named: &wire::Resource) -> bool {
    named.reservations.is_empty()
        && named.reservation.is_none()
        && named.role.as_ref().is_none_or(|role| role == "*")
        && named.disk.is_none()
        && named.revocable.is_none()
        && named.shared.is_none()
}

/// One resource for each amount that is stated.
pub(crate) fn to_wire(amounts: &Amounts) -> Vec<wire::Resource> {
    let named = to_json(amounts).into_iter();
    named.map(|(name, value)| scalar(&name, value)).collect()
}

/// Amounts from numbers by name.
///
/// # Errors
/// As [`from_wire`].
pub(crate) fn from_json(numbers: &BTreeMap<String, f64>) -> Result<Option<Amounts>, ConvertError> {
    let list: Vec<_> = numbers
        .iter()
        .map(|(name, value)| scalar(name, *value))
        .collect();
    if let Some(value) = numbers.get("ports") {
        return Err(ConvertError::bad_value(
            "ports",
            value,
            "quotas are of scalars",
        ));
    }
    from_wire(&list)
}

/// Numbers by name.
pub(crate) fn to_json(amounts: &Amounts) -> BTreeMap<String, f64> {
    let number = |milli: u64| milli as f64 / 1e3;
    let main = [
        ("cpus", amounts.cpus_milli.map(number)),
        ("mem", amounts.mem_milli.map(number)),
        ("disk", amounts.disk_milli.map(number)),
        ("gpus", amounts.gpus_milli.map(number)),
    ];
    let main = main
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let other = amounts.other.iter();
    main.chain(other.map(|(name, milli)| (name.to_string(), number(*milli))))
        .collect()
}

/// A number in thousandths.
///
/// # Errors
/// When it is negative, not a number, or finer than thousandths.
pub(crate) fn milli(path: &str, value: f64) -> Result<f64, ConvertError> {
    let milli = value * 1e3;
    if !value.is_finite() || value < 0.0 {
        return Err(ConvertError::bad_value(
            path,
            value,
            "it is a number, at least 0",
        ));
    }
    if (milli - milli.round()).abs() > ROUNDING * milli.max(1.0) {
        let rule = "it has at most three digits after the point";
        return Err(ConvertError::bad_value(path, value, rule));
    }
    Ok(milli.round())
}

/// Says of what the amounts are: `quota.limit`.
pub(crate) fn within(
    amounts: Result<Option<Amounts>, ConvertError>,
    field: &str,
) -> Result<Option<Amounts>, ConvertError> {
    amounts.within(field)
}

fn scalar(name: &str, value: f64) -> wire::Resource {
    wire::Resource {
        name: name.to_owned(),
        r#type: wire::value::Type::Scalar.into(),
        scalar: Some(wire::value::Scalar { value }),
        ..wire::Resource::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(pairs: &[(&str, f64)]) -> BTreeMap<String, f64> {
        let pair = |(name, value): &(&str, f64)| ((*name).to_owned(), *value);
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn what_is_stated_comes_back_as_it_was_said() {
        let said = numbers(&[("cpus", 0.0), ("fpga", 2.0), ("mem", 1_024.5)]);

        let amounts = from_json(&said).expect("good").expect("something");

        assert_eq!(amounts.cpus_milli, Some(0));
        assert_eq!(to_json(&amounts), said);
        assert_eq!(from_wire(&to_wire(&amounts)), Ok(Some(amounts)));
        assert_eq!(from_json(&BTreeMap::new()), Ok(None));
    }

    #[test]
    fn numbers_that_are_no_quantities_are_refused() {
        for bad in [-1.0, f64::NAN, f64::INFINITY, 1e300, 0.000_1, 0.123_4] {
            let refused = from_json(&numbers(&[("cpus", bad)]));

            assert!(refused.is_err(), "{bad}");
        }
        assert!(from_json(&numbers(&[("ports", 1.0)])).is_err());
        assert!(from_json(&numbers(&[("", 1.0)])).is_err());
        let many: BTreeMap<String, f64> = (0..10_000).map(|n| (format!("r{n}"), 1.0)).collect();
        assert!(from_json(&many).is_err());
    }

    #[test]
    fn a_resource_that_is_named_twice_or_is_somebodys_is_refused() {
        let twice = [scalar("cpus", 2.0), scalar("cpus", 3.0)];
        let reserved = wire::Resource {
            reservations: vec![wire::resource::ReservationInfo::default()],
            ..scalar("cpus", 2.0)
        };
        let revocable = wire::Resource {
            revocable: Some(wire::resource::RevocableInfo::default()),
            ..scalar("cpus", 2.0)
        };

        for list in [&twice[..], &[reserved], &[revocable]] {
            let refused = from_wire(list).expect_err("refused");
            assert!(refused.to_string().contains("cpus"), "{refused}");
        }
    }

    #[test]
    fn thousandths_are_taken_as_they_are_meant() {
        for good in [0.001, 0.1, 2.5, 1_234_567.891, 4_294_967.0] {
            assert!(milli("weight", good).is_ok(), "{good}");
        }
    }
}
