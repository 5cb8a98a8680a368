//! What a table was like in another server, exact enough to be made again under another schema.

use serde::{Deserialize, Serialize};

/// The throw-away server that has the rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowSource {
    /// The folder of its socket.
    pub folder: String,
    /// Its port, which only names the socket.
    pub port: u16,
    /// The role that reads.
    pub role: String,
    /// The database.
    pub database: String,
}

/// A table as the catalogue of another server has it.
///
/// Types, expressions and bounds are that catalogue's own words, so a plan with them is only applied by the command that read
/// them, never from a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableShape {
    /// Its schema there.
    pub schema: String,
    /// Its name, there and here.
    pub name: String,
    /// Its columns, in order; those that were dropped are left out.
    pub columns: Vec<ColumnShape>,
    /// `PARTITION BY` of a partitioned table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition_key: Option<String>,
    /// The table that it is a partition of, by its name here, and its bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition_of: Option<(String, String)>,
    /// Its storage parameters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<(String, String)>,
    /// Its constraints but foreign keys, name and definition.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub constraints: Vec<(String, String)>,
    /// Its indexes but those of constraints.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub indexes: Vec<IndexShape>,
    /// Its comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// What it took on disk, with its indexes.
    pub bytes: u64,
}

/// A column.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnShape {
    /// Its name.
    pub name: String,
    /// Its type with its modifier.
    pub data_type: String,
    /// Its collation, where it is not that of the type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collation: Option<String>,
    /// NOT NULL.
    pub not_null: bool,
    /// Where its values come from when none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<ColumnDefault>,
    /// Its comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// Where the values of a column come from when none is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ColumnDefault {
    /// An expression.
    Expression(String),
    /// The next value of a sequence that belongs to the column.
    Serial(SequenceShape),
    /// GENERATED AS IDENTITY; whether ALWAYS.
    Identity(bool, SequenceShape),
    /// GENERATED ALWAYS AS; whether it is stored.
    Generated(bool, String),
}

/// A sequence that belongs to a column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceShape {
    /// Its name.
    pub name: String,
    /// Everything behind its name in CREATE SEQUENCE.
    pub options: SequenceOptions,
    /// The value that it stands at, and whether that was given out.
    pub last: (i64, bool),
}

/// The numbers of a sequence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceOptions {
    /// The type of its values.
    pub data_type: String,
    /// START.
    pub start: i64,
    /// INCREMENT.
    pub increment: i64,
    /// MINVALUE.
    pub minimum: i64,
    /// MAXVALUE.
    pub maximum: i64,
    /// CACHE.
    pub cache: i64,
    /// CYCLE.
    pub cycle: bool,
}

/// An index that no constraint made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexShape {
    /// Its name.
    pub name: String,
    /// UNIQUE.
    pub unique: bool,
    /// Everything behind the name of the table.
    pub definition: String,
}

impl TableShape {
    /// Returns the columns whose values are copied: what is computed is computed again.
    pub fn copied(&self) -> impl Iterator<Item = &ColumnShape> {
        let computed =
            |column: &&ColumnShape| matches!(column.default, Some(ColumnDefault::Generated(..)));
        self.columns.iter().filter(move |column| !computed(column))
    }
}

/// How rows of a restored copy go back into the table that they are of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MergeShape {
    /// The schema of the copy; the copy has the name of the table.
    pub schema: String,
    /// The columns of the primary key.
    pub key: Vec<String>,
    /// The other columns, which both have and which are not computed.
    pub columns: Vec<String>,
    /// Of these, those whose type cannot be compared but as text.
    pub as_text: Vec<String>,
    /// Put in rows that are only in the copy.
    pub insert: bool,
    /// Change rows that are different.
    pub update: bool,
    /// Delete rows that are not in the copy.
    pub delete: bool,
    /// What the comparison saw: the merge is done only while it is still so.
    pub seen: MergeSeen,
}

/// The rows of a table and of its copy that are not the same: of each kind how many, and a sum over what they hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MergeSeen {
    /// Those that only the copy has.
    pub only_restored: String,
    /// Those that only the table has.
    pub only_live: String,
    /// Those with the same key and other values.
    pub different: String,
}

impl MergeShape {
    /// Returns the kinds of rows of `r FULL JOIN t` that are not the same, as conditions: only in the copy, only in the table,
    /// in both with other values.
    pub fn kinds(&self, quote: fn(&str) -> String) -> [String; 3] {
        let first = self.key.first().map_or_else(String::new, |key| quote(key));
        [
            format!("t.{first} IS NULL"),
            format!("r.{first} IS NULL"),
            format!(
                "r.{first} IS NOT NULL AND t.{first} IS NOT NULL AND {}",
                self.different(quote)
            ),
        ]
    }

    /// Returns an aggregate over `r FULL JOIN t` that is another one when any row of a kind changes, comes or goes.
    pub fn digest(which: &str) -> String {
        // A sum, since rows have no order.
        format!(
            "pg_catalog.concat(pg_catalog.count(*) FILTER (WHERE {which}), ':', pg_catalog.sum(pg_catalog.hashtextextended(\
             ROW(r.*, t.*)::pg_catalog.text COLLATE pg_catalog.\"C\", 0)) FILTER (WHERE {which}))"
        )
    }

    /// Returns a condition over `r`, the copy, and `t`, the table, that is true for rows with the same key; `quote` makes
    /// identifiers.
    pub fn same_key(&self, quote: fn(&str) -> String) -> String {
        let equal = |name: &String| format!("r.{0} = t.{0}", quote(name));
        let all: Vec<String> = self.key.iter().map(equal).collect();
        all.join(" AND ")
    }

    /// Returns a condition that is true for rows whose other columns are different.
    pub fn different(&self, quote: fn(&str) -> String) -> String {
        let row = |side: char| {
            let value = |name: &String| {
                let text = if self.as_text.contains(name) {
                    "::pg_catalog.text"
                } else {
                    ""
                };
                format!("{side}.{}{text}", quote(name))
            };
            let all: Vec<String> = self.columns.iter().map(value).collect();
            format!("ROW({})", all.join(", "))
        };
        match self.columns.is_empty() {
            true => "false".to_owned(),
            false => format!("{} IS DISTINCT FROM {}", row('r'), row('t')),
        }
    }
}
