//! The words of SQL that the normaliser has to know: those that a quoted name must not be mistaken for, and those that say what follows.

/// What a word means to the normaliser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// No word of the table: a name.
    Name,
    /// A keyword without any consequence but its spacing.
    Plain,
    /// A keyword after which a value follows, so that a minus sign there belongs to a number.
    Before,
    /// A keyword that is a value itself, as `current_date`.
    Value,
    /// `IN`.
    In,
    /// `VALUES`.
    Values,
    /// `ARRAY`.
    Array,
    /// `NULL`, `TRUE` and `FALSE`.
    Literal,
    /// `DEFAULT`.
    Default,
    /// The first word of a query inside of parentheses.
    Query,
    /// `INNER`, which says nothing.
    Inner,
    /// `OUTER`, which says nothing after `LEFT`, `RIGHT` and `FULL`.
    Outer,
    /// `LEFT`, `RIGHT` and `FULL`.
    Side,
    /// The first word of a statement whose names are masked.
    Opening(Opening),
}

/// The first word of a statement that names something of a session: a cursor, a savepoint, a prepared statement, a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// `SAVEPOINT`, `EXECUTE`, `DECLARE`, `LISTEN`, `UNLISTEN`, `NOTIFY`: a name follows.
    Name,
    /// `PREPARE`: a name or `TRANSACTION` follows.
    Prepare,
    /// `DEALLOCATE`, `CLOSE`, `RELEASE`: a name, perhaps after a word.
    Drop,
    /// `ROLLBACK`.
    Rollback,
    /// `FETCH`, `MOVE`.
    Fetch,
    /// `SET`.
    Set,
    /// `CREATE`.
    Create,
}

const PLAIN: &[&str] = &[
    "all",
    "analyse",
    "analyze",
    "any",
    "as",
    "asc",
    "asymmetric",
    "both",
    "cast",
    "check",
    "collate",
    "column",
    "constraint",
    "cross",
    "current",
    "deferrable",
    "desc",
    "distinct",
    "do",
    "except",
    "exists",
    "filter",
    "for",
    "foreign",
    "freeze",
    "grant",
    "group",
    "grouping",
    "initially",
    "intersect",
    "into",
    "is",
    "isnull",
    "join",
    "lateral",
    "leading",
    "natural",
    "not",
    "notnull",
    "order",
    "over",
    "overlaps",
    "partition",
    "placing",
    "primary",
    "references",
    "row",
    "rows",
    "similar",
    "some",
    "symmetric",
    "tablesample",
    "trailing",
    "union",
    "unique",
    "using",
    "variadic",
    "verbose",
    "window",
    "within",
    "role",
    "authorization",
    "session",
    "local",
    "global",
    "temp",
    "temporary",
    "transaction",
    "work",
    "if",
    "next",
    "prior",
    "first",
    "last",
    "absolute",
    "relative",
    "forward",
    "backward",
    "prepared",
    "update",
    "insert",
    "delete",
    "merge",
    "conflict",
    "nothing",
    "matched",
    "begin",
    "commit",
    "on",
    "to",
    // Names of types and functions with a grammar of their own: quoted, they are something else.
    "binary",
    "concurrently",
    "bigint",
    "bit",
    "boolean",
    "char",
    "character",
    "dec",
    "decimal",
    "double",
    "extract",
    "float",
    "inout",
    "int",
    "integer",
    "interval",
    "national",
    "nchar",
    "none",
    "normalize",
    "numeric",
    "out",
    "overlay",
    "position",
    "precision",
    "real",
    "setof",
    "smallint",
    "substring",
    "time",
    "timestamp",
    "treat",
    "trim",
    "varchar",
    "xmlattributes",
    "xmlconcat",
    "xmlelement",
    "xmlexists",
    "xmlforest",
    "xmlparse",
    "xmlpi",
    "xmlroot",
    "xmlserialize",
    "coalesce",
    "greatest",
    "least",
    "nullif",
];
const BEFORE: &[&str] = &[
    "and",
    "or",
    "where",
    "when",
    "then",
    "else",
    "case",
    "limit",
    "offset",
    "having",
    "between",
    "like",
    "ilike",
    "from",
    "by",
    "returning",
    "return",
];
const VALUE: &[&str] = &[
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "end",
    "localtime",
    "localtimestamp",
    "session_user",
    "system_user",
    "user",
];
const SPECIAL: &[(&str, Word)] = &[
    ("in", Word::In),
    ("values", Word::Values),
    ("array", Word::Array),
    ("null", Word::Literal),
    ("true", Word::Literal),
    ("false", Word::Literal),
    ("default", Word::Default),
    ("select", Word::Query),
    ("with", Word::Query),
    ("table", Word::Query),
    ("inner", Word::Inner),
    ("outer", Word::Outer),
    ("left", Word::Side),
    ("right", Word::Side),
    ("full", Word::Side),
    ("savepoint", Word::Opening(Opening::Name)),
    ("execute", Word::Opening(Opening::Name)),
    ("declare", Word::Opening(Opening::Name)),
    ("listen", Word::Opening(Opening::Name)),
    ("unlisten", Word::Opening(Opening::Name)),
    ("notify", Word::Opening(Opening::Name)),
    ("prepare", Word::Opening(Opening::Prepare)),
    ("deallocate", Word::Opening(Opening::Drop)),
    ("close", Word::Opening(Opening::Drop)),
    ("release", Word::Opening(Opening::Drop)),
    ("rollback", Word::Opening(Opening::Rollback)),
    ("fetch", Word::Opening(Opening::Fetch)),
    ("move", Word::Opening(Opening::Fetch)),
    ("set", Word::Opening(Opening::Set)),
    ("create", Word::Opening(Opening::Create)),
];

const SLOTS: usize = 1024;
/// Length of the longest word of the table, `current_timestamp`.
const LENGTH_MAX: usize = 17;

#[derive(Clone, Copy)]
struct Slot {
    packed: u64,
    length: u8,
    word: Word,
}

static TABLE: [Slot; SLOTS] = table();

/// Returns what a word means, given its last eight bytes, [`packed`], and its length.
#[inline]
pub(super) fn find(packed: u64, length: usize) -> Word {
    if length > LENGTH_MAX {
        return Word::Name;
    }
    let mut slot = slot_of(packed, length);
    loop {
        let entry = &TABLE[slot];
        if entry.length == 0 {
            return Word::Name;
        }
        if entry.packed == packed && usize::from(entry.length) == length {
            return entry.word;
        }
        slot = (slot + 1) % SLOTS;
    }
}

/// Returns the last eight bytes of a word as one number. Bit 5 of each is set, which makes letters lower case and leaves apart
/// all other bytes that a word may have.
#[inline]
pub(super) const fn packed(word: &[u8]) -> u64 {
    const LOWER: u64 = 0x2020_2020_2020_2020;
    if let Some(last) = word.last_chunk() {
        return u64::from_be_bytes(*last) | LOWER;
    }
    let mut packed = 0;
    let mut index = 0;
    while index < word.len() {
        packed = packed << 8 | (word[index] | 0x20) as u64;
        index += 1;
    }
    packed
}

const fn slot_of(packed: u64, length: usize) -> usize {
    let mixed = (packed ^ length as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 54) as usize
}

const fn table() -> [Slot; SLOTS] {
    let empty = Slot {
        packed: 0,
        length: 0,
        word: Word::Name,
    };
    let mut slots = [empty; SLOTS];
    slots = fill(slots, PLAIN, Word::Plain);
    slots = fill(slots, BEFORE, Word::Before);
    slots = fill(slots, VALUE, Word::Value);
    let mut index = 0;
    while index < SPECIAL.len() {
        slots = put(slots, SPECIAL[index].0, SPECIAL[index].1);
        index += 1;
    }
    slots
}

const fn fill(mut slots: [Slot; SLOTS], words: &[&str], word: Word) -> [Slot; SLOTS] {
    let mut index = 0;
    while index < words.len() {
        slots = put(slots, words[index], word);
        index += 1;
    }
    slots
}

const fn put(mut slots: [Slot; SLOTS], text: &str, word: Word) -> [Slot; SLOTS] {
    let bytes = text.as_bytes();
    let packed = packed(bytes);
    let mut slot = slot_of(packed, bytes.len());
    while slots[slot].length != 0 {
        slot = (slot + 1) % SLOTS;
    }
    slots[slot] = Slot {
        packed,
        length: bytes.len() as u8,
        word,
    };
    slots
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(word: &str) -> Word {
        find(packed(word.as_bytes()), word.len())
    }

    #[test]
    fn words_are_found_and_names_are_not() {
        for (text, word) in SPECIAL {
            assert_eq!(of(text), *word, "{text}");
        }
        assert_eq!(of("and"), Word::Before);
        assert_eq!(of("current_timestamp"), Word::Value);
        for name in ["", "x", "orders", "a_name_longer_than_any_word", "id"] {
            assert_eq!(of(name), Word::Name, "{name}");
        }
    }
}
