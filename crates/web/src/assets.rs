//! The files that pages load: stylesheet, script and icons, inside the binary; their names change with their content.

use std::borrow::Cow;
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
    pub body: Cow<'static, [u8]>,
}

/// From so many on, the icon says only that there are many.
const COUNT_MAX: usize = 100;
const SVG: &str = "image/svg+xml";

/// All files, in the order of [`sources`], and then the icons with a number, from 1 on.
static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    let fixed = sources().map(|(name, extension, content_type, body)| {
        asset(name, extension, content_type, Cow::Borrowed(body))
    });
    let counted = (1..=COUNT_MAX).map(|count| {
        let body = Cow::Owned(counted(count).into_bytes());
        asset(&format!("icon-critical-{count}"), "svg", SVG, body)
    });
    fixed.into_iter().chain(counted).collect()
});

type Source = (&'static str, &'static str, &'static str, &'static [u8]);

/// The colours, then the pages, then the charts, whose rules for tables and figures come above those of pages.
static STYLESHEET: LazyLock<String> = LazyLock::new(|| {
    let pages = include_str!("../assets/pawang.css");
    [pawang_chart::PALETTE, pages, pawang_chart::CSS].join("\n")
});

fn sources() -> [Source; 7] {
    const JS: &str = "text/javascript; charset=utf-8";
    const CSS: &str = "text/css; charset=utf-8";
    [
        ("pawang", "css", CSS, STYLESHEET.as_bytes()),
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
        ("tail", "js", JS, include_bytes!("../assets/tail.js")),
    ]
}

/// Draws the icon with a number; pages show nothing else of the red ones when they are in the background.
fn counted(count: usize) -> String {
    let text = match count {
        COUNT_MAX.. => "99+".to_owned(),
        count => count.to_string(),
    };
    let size = [22, 18, 14][text.len() - 1];
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 32 32\"><rect width=\"32\" height=\"32\" rx=\"8\" \
         fill=\"#c8232c\"/><text x=\"16\" y=\"17\" fill=\"#fff\" font-family=\"sans-serif\" font-weight=\"700\" \
         font-size=\"{size}\" text-anchor=\"middle\" dominant-baseline=\"central\">{text}</text></svg>"
    )
}

fn asset(
    name: &str,
    extension: &str,
    content_type: &'static str,
    body: Cow<'static, [u8]>,
) -> Asset {
    let hash = Sha256::digest(&body);
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

/// Returns the path of the script of pages with a live tail.
pub(crate) fn tail() -> &'static str {
    &ASSETS[6].path
}

/// Returns the path of the icon that shows how bad it is, and how many are red.
pub(crate) fn icon(level: Level, red: usize) -> &'static str {
    let index = match level {
        _ if red > 0 => sources().len() + red.min(COUNT_MAX) - 1,
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
    const SCRIPT_BYTES_MAX: usize = 22 << 10;
    /// The budget of what only pages with a live tail load.
    const TAIL_BYTES_MAX: usize = 4 << 10;

    #[test]
    fn every_file_is_found_by_its_own_name() {
        for asset in ASSETS.iter() {
            assert!(find(&asset.path).is_some(), "{}", asset.path);
        }
        assert!(stylesheet().ends_with(".css") && script().ends_with(".js"));
        assert!(tail().starts_with("/assets/tail-") && tail().ends_with(".js"));
        assert!(icon(Level::Critical, 0).contains("critical"));
        assert!(icon(Level::Critical, 7).starts_with("/assets/icon-critical-7-"));
        assert!(icon(Level::Ok, 5_000).starts_with("/assets/icon-critical-100-"));
        assert!(find("/assets/../Cargo.toml").is_none());
    }

    #[test]
    fn the_scripts_stay_small() {
        for (path, bytes_max) in [(script(), SCRIPT_BYTES_MAX), (tail(), TAIL_BYTES_MAX)] {
            let bytes = find(path).unwrap().body.len();
            assert!(bytes < bytes_max, "{path}: {bytes}");
        }
    }
}
