//! On whose account resources are handed out, as who names them says it (`allocation_info`).

use mete_model::Role;

use super::{ConvertError, Fault, Within as _};
use crate::mesos::v1 as wire;

/// The one role that resources name; `None` when none of them names any: those in whose role they are offered is meant.
///
/// # Errors
/// Names two roles, or what is none.
pub fn named<'a>(
    resources: impl IntoIterator<Item = &'a wire::Resource>,
) -> Result<Option<Role>, ConvertError> {
    let mut found: Option<&str> = None;
    for resource in resources {
        let account = resource.allocation_info.as_ref();
        let Some(role) = account.and_then(|account| account.role.as_deref()) else {
            continue;
        };
        match found {
            Some(first) if first != role => {
                let both = format!("{first} and {role}");
                let rule = "all are handed out on account of one role";
                return Err(ConvertError::bad_value("allocation_info", both, rule));
            }
            Some(_) => {}
            None => found = Some(role),
        }
    }
    found.map(role).transpose().within("allocation_info")
}

fn role(text: &str) -> Result<Role, ConvertError> {
    Role::new(text).map_err(|bad| ConvertError {
        path: "role".to_owned(),
        fault: Fault::BadRole(bad),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(role: Option<&str>) -> wire::Resource {
        wire::Resource {
            allocation_info: Some(wire::resource::AllocationInfo {
                role: role.map(str::to_owned),
            }),
            ..wire::Resource::default()
        }
    }

    #[test]
    fn resources_name_one_role_or_none() {
        let eng = Role::new("eng").expect("good");
        let silent = wire::Resource::default();

        assert_eq!(named([]), Ok(None));
        assert_eq!(named([&silent, &of(None)]), Ok(None));
        assert_eq!(named([&silent, &of(Some("eng"))]), Ok(Some(eng)));
        let two = named([&of(Some("eng")), &of(Some("ops"))]).expect_err("two");
        assert!(two.to_string().contains("eng and ops"), "{two}");
        let bad = named([&of(Some("a b"))]).expect_err("no role");
        assert_eq!(bad.path, "allocation_info.role");
    }
}
