//! Query texts without the values in them.

/// A text is cut here.
pub const TEXT_BYTES_MAX: usize = 8 << 10;

/// Returns the text cut at [`TEXT_BYTES_MAX`], with `...` where something is missing.
pub(crate) fn cut(text: &str) -> String {
    const MARK: &str = "...";
    if text.len() <= TEXT_BYTES_MAX {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(TEXT_BYTES_MAX - MARK.len());
    format!("{}{MARK}", &text[..end])
}
