//! Builds again when a folder of the catalogue comes or goes, which the embedding itself does not notice.
#![expect(clippy::print_stdout, reason = "a build script speaks to cargo on its standard output")]

fn main() {
    println!("cargo::rerun-if-changed=catalog");
}
