//! Makes the release binary smaller: functions of one code are kept once.
#![expect(
    clippy::disallowed_methods,
    reason = "cargo talks to build scripts through the environment"
)]

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let set = |name: &str, value: &str| std::env::var(name).is_ok_and(|found| found == value);
    // Rust links this target with its own LLD, which can; other linkers refuse the option. Nothing of ours compares addresses of functions.
    if set("PROFILE", "release") && set("TARGET", "x86_64-unknown-linux-gnu") {
        println!("cargo:rustc-link-arg-bins=-Wl,--icf=all");
    }
}
