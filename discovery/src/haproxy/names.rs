//! Names that HAProxy's files and commands can carry, made from names that people chose.
//!
//! Invariants: a name holds only letters, digits and `_ . -`, so that it can end neither a line, a word nor a command;
//! two different ids never get the same name; the same id gets the same name in every run.

/// The longest server name: what the tables of the stats page still show whole.
pub const MAX_SERVER_NAME: usize = 60;

/// The longest backend name; an app id may be longer than a sensible line.
pub const MAX_BACKEND_NAME: usize = 200;

/// Hexadecimal digits of a hash that is appended to a name which had to be changed.
const HASH_DIGITS: usize = 16;

/// `/shop/web` and 10000 → `shop_web_10000`.
pub fn backend(app_id: &str, service_port: u16) -> String {
    let plain = app_id.trim_start_matches('/').replace('/', "_");
    let port = format!("_{service_port}");
    // App ids hold no underscore, so that `/a/b` and `/a_b` cannot meet; should one come along, it is told apart by its hash.
    let unchanged = !app_id.contains('_');
    tidy(app_id, &plain, unchanged, MAX_BACKEND_NAME - port.len()) + &port
}

/// A task id as the name of a server.
pub fn server(task_id: &str) -> String {
    tidy(task_id, task_id, true, MAX_SERVER_NAME)
}

fn tidy(id: &str, plain: &str, unchanged: bool, limit: usize) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if unchanged && !plain.is_empty() && plain.len() <= limit && plain.chars().all(allowed) {
        return plain.to_owned();
    }
    let kept = plain
        .chars()
        .map(|c| if allowed(c) { c } else { '_' })
        .take(limit - HASH_DIGITS - 1);
    let kept: String = kept.collect();
    format!("{kept}-{:016x}", fingerprint(id.as_bytes()))
}

/// FNV-1a, 64 bits: the same in every release and on every machine, which `std`'s hashers do not promise.
pub fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_app_and_its_port_name_the_backend() {
        assert_eq!(backend("/web", 10000), "web_10000");
        assert_eq!(
            backend("/shop/cart.v2/api", 10001),
            "shop_cart.v2_api_10001"
        );
    }

    #[test]
    fn ordinary_task_ids_stay_readable() {
        let id = "shop_web.instance-7d8f1c2a-0f3e-4a51-9d0b-1c2d3e4f5a6b._app.1";

        assert_eq!(server("web.4f0c"), "web.4f0c");
        assert_eq!(server(id).len(), MAX_SERVER_NAME);
        assert!(server(id).starts_with("shop_web.instance-7d8f1c2a-0f3e-4a51-9d0b-"));
    }

    #[test]
    fn ids_that_differ_only_in_what_is_cut_or_replaced_keep_apart() {
        let long = "x".repeat(100);

        assert_ne!(server(&format!("{long}1")), server(&format!("{long}2")));
        assert_ne!(server("a b"), server("a_b"));
        assert_ne!(backend("/a/b", 1), backend("/a_b", 1));
        assert_eq!(fingerprint(b"foobar"), 0x8594_4171_f739_67e8); // the published value for FNV-1a 64
    }

    proptest! {
        #[test]
        fn no_id_can_end_a_line_or_a_command(id in any::<String>(), port in any::<u16>()) {
            for (name, limit) in [(server(&id), MAX_SERVER_NAME), (backend(&id, port), MAX_BACKEND_NAME)] {
                prop_assert!(!name.is_empty() && name.len() <= limit);
                prop_assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b)), "{}", name);
            }
        }
    }
}
