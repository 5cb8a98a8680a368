//! The files that pages load: stylesheet, script and icons, inside the binary; their names change with their content.

use std::sync::LazyLock;

use pawang_core::Level;
use sha2::{Digest, Sha256};

/// A file that pages load.
pub(crate) struct Asset {
    /// Its path, such as `/assets/pawang-1a2b3c4d.css`; it never has another content.
    pub path: String,
    /// Its `Content-Type`.
    pub content_type: &'static str,
    /// Its content.
    pub body: &'static [u8],
}

/// All files, in the order of [`sources`].
static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| sources().into_iter().map(asset).collect());

type Source = (&'static str, &'static str, &'static str, &'static [u8]);

const fn sources() -> [Source; 6] {
    const JS: &str = "text/javascript; charset=utf-8";
    const CSS: &str = "text/css; charset=utf-8";
    const SVG: &str = "image/svg+xml";
    [
        ("pawang", "css", CSS, include_bytes!("../assets/pawang.css")),
        ("pawang", "js", JS, include_bytes!("../assets/pawang.js")),
        (
            "icon-ok",
            "svg",
            SVG,
            include_bytes!("../assets/icon-ok.svg"),
        ),
        (
            "icon-warning",
            "svg",
            SVG,
            include_bytes!("../assets/icon-warning.svg"),
        ),
        (
            "icon-critical",
            "svg",
            SVG,
            include_bytes!("../assets/icon-critical.svg"),
        ),
        (
            "icon-unknown",
            "svg",
            SVG,
            include_bytes!("../assets/icon-unknown.svg"),
        ),
    ]
}

fn asset((name, extension, content_type, body): Source) -> Asset {
    let hash = Sha256::digest(body);
    let hash: String = hash
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Asset {
        path: format!("/assets/{name}-{hash}.{extension}"),
        content_type,
        body,
    }
}

/// Returns the file at a path.
pub(crate) fn find(path: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.path == path)
}

/// Returns the path of the stylesheet.
pub(crate) fn stylesheet() -> &'static str {
    &ASSETS[0].path
}

/// Returns the path of the script.
pub(crate) fn script() -> &'static str {
    &ASSETS[1].path
}

/// Returns the path of the icon that shows how bad it is.
pub(crate) fn icon(level: Level) -> &'static str {
    let index = match level {
        Level::Ok | Level::Info => 2,
        Level::Warning => 3,
        Level::Critical => 4,
        Level::Unknown => 5,
    };
    &ASSETS[index].path
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The script's budget; what people wait for on a phone.
    const SCRIPT_BYTES_MAX: usize = 20 << 10;

    #[test]
    fn every_file_is_found_by_its_own_name() {
        for asset in ASSETS.iter() {
            assert!(find(&asset.path).is_some(), "{}", asset.path);
        }
        assert!(stylesheet().ends_with(".css") && script().ends_with(".js"));
        assert!(icon(Level::Critical).contains("critical"));
        assert!(find("/assets/../Cargo.toml").is_none());
    }

    #[test]
    fn the_script_stays_small() {
        let script = find(script()).unwrap();
        assert!(
            script.body.len() < SCRIPT_BYTES_MAX,
            "{}",
            script.body.len()
        );
    }
}
