//! Notes when and by whom the program is built, for `/version`.

use std::env;
use std::time::{SystemTime, UNIX_EPOCH};

#[expect(
    clippy::disallowed_methods,
    reason = "the one who builds has no other clock"
)]
fn main() {
    // Whoever wants equal bytes from equal sources says which moment it is (reproducible-builds.org).
    let said = env::var("SOURCE_DATE_EPOCH").ok();
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |since| since.as_secs());
    let seconds = said.and_then(|text| text.parse().ok()).unwrap_or(now);
    let user = env::var("USER").unwrap_or_default();
    let user = if user.is_empty() { "unknown" } else { &user };
    println!("cargo::rustc-env=METE_BUILD_SECONDS={seconds}");
    println!("cargo::rustc-env=METE_BUILD_USER={user}");
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    println!("cargo::rerun-if-changed=src");
}
