//! Query texts: normalised unless the configuration says otherwise, and never longer than a line needs.

use pawang_config::QueryText;

use crate::page::{PageError, Visit};

/// What the server shows instead of a text that the role may not see.
pub(crate) const HIDDEN: &str = "<insufficient privilege>";

/// Returns the text of a session's statement as it may be shown.
pub(crate) fn shown(visit: &Visit<'_>, text: &str) -> String {
    match visit.site.settings.query_text {
        QueryText::Raw => text.to_owned(),
        QueryText::Normalised => pawang_store::text::normalise(text),
    }
}

/// Returns the normalised text of a statement, once it is known.
///
/// # Errors
/// The history does not answer.
pub(crate) fn text_of(visit: &Visit<'_>, queryid: &str) -> Result<Option<String>, PageError> {
    match queryid.parse() {
        Ok(queryid) => Ok(visit.reader.text(queryid)?),
        Err(_) => Ok(None),
    }
}
