//! Builds again when a folder of the catalogue comes or goes, which the embedding itself does not notice.

fn main() {
    println!("cargo::rerun-if-changed=catalog");
}
