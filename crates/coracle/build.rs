//! Links the program with packed relative relocations, where the C library can read them.
//!
//! A list of 110,000 places that hold addresses is read when the program starts, and stays in memory: 2.7 MB as it is
//! usually written, 33 kB packed, of the 40 MB that an idle cluster takes.

use std::process::Command;

/// The first glibc that reads packed relocations. An older one would crash at the start.
const GLIBC: (u32, u32) = (2, 36);

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = |what: &str| std::env::var(format!("CARGO_CFG_TARGET_{what}")).unwrap_or_default();
    let is_ours = std::env::var("HOST").ok() == std::env::var("TARGET").ok();
    if target("OS") == "linux" && target("ENV") == "gnu" && is_ours && glibc().is_some_and(|v| v >= GLIBC) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// The version of the machine's own C library, as `getconf` says it: `glibc 2.36`.
fn glibc() -> Option<(u32, u32)> {
    let said = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let version = String::from_utf8(said.stdout).ok()?;
    let (major, minor) = version.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.split('.').next()?.parse().ok()?))
}
