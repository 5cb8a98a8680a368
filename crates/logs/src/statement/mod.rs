//! Statements without their constants, so that executions of one statement are told apart from those of another.
//!
//! The rules are those of PostgreSQL's lexer, without a parser: no statement is refused, and any bytes have a shape.

mod ddl;
mod duration;
mod fingerprint;
mod message;
mod normal;
mod split;
mod tags;
mod token;
mod words;

pub(crate) use ddl::may_change;
pub use ddl::{Ddl, changes};
pub use duration::{Phase, Told, told};
pub use fingerprint::fingerprint;
pub(crate) use message::cut;
pub use message::normalise_message;
pub use normal::Normaliser;
pub use split::{has_parameters, split};
pub use tags::tags;

/// Returns a statement without its constants; [`Normaliser`] does the same for many with less work.
pub fn normalise(statement: &[u8]) -> String {
    Normaliser::default().normalise(statement).into_owned()
}

/// Returns the first word of a normalised statement.
pub fn verb(normalised: &str) -> &str {
    let text = normalised.trim_start_matches(['(', ' ']);
    let end = text
        .find(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .unwrap_or(text.len());
    &text[..end]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WORDS: &[&str] = &[
        "select",
        " in",
        "(",
        ")",
        "[",
        "]",
        ",",
        "values",
        "array",
        "null",
        "true",
        "default",
        "-",
        "5",
        "'x'",
        "'",
        "\"a\"",
        "\"",
        "$1",
        "$$",
        "/*",
        "*/",
        "--",
        "\n",
        " ",
        "?",
        "=",
        "::",
        ":",
        ".",
        ";",
        "fetch",
        "set",
        "to",
        "savepoint",
        "prepare",
        "inner",
        "left ",
        "outer",
        "create",
        "temp ",
        "table",
        "rollback",
        "x",
        "E'",
        "u&\"",
        "is",
        "not",
        "\"in\"",
        "@?",
        "|",
        "{",
        "\\",
        "é",
        "deallocate",
        "escape",
        "#",
        "$",
    ];

    fn check(statement: &str, expected: &str) {
        let once = normalise(statement.as_bytes());
        assert_eq!(once, expected, "{statement}");
        assert_eq!(normalise(once.as_bytes()), once, "{statement}");
    }

    #[test]
    fn constants_comments_and_spaces_go() {
        for (statement, expected) in [
            (
                "SELECT  *\nFROM Orders -- all\nWHERE id=-5 ;",
                "select * from orders where id = ?",
            ),
            (
                "select a - 5, -5, a -5, (-5.5e-3), .5, 0x1F, 1_000, -5::int",
                "select a - ?, ?, a - ?, (?), ?, ?, ?, - ?::int",
            ),
            (
                "select E'it\\'s', 'it''s', U&'x', B'1', X'F', $1, $$a'b$$, $t$ $$ $t$, N'x'",
                "select ?, ?, ?, ?, ?, ?, ?, ?, ?",
            ),
            (
                "select 'a'\n 'b' from \"Orders\" o, \"orders\", \"select\", \"a\"\"b\"",
                "select ? from \"Orders\" o, orders, \"select\", \"a\"\"b\"",
            ),
            ("/* a /* b */ c */ select 1 /*key='v'*/", "select ?"),
            (
                "select count( * ), a.b . c, x::int[], y [1:2] from t",
                "select count(*), a.b.c, x::int[], y[? : ?] from t",
            ),
            (
                "select null, true where a is null and b is not true or c = false",
                "select ?, ? where a is null and b is not true or c = ?",
            ),
            (
                "select a where b->>'x' != 1 and c ? 'k' and d @? '$.x' and e ?| array['a','b']",
                "select a where b ->> ? <> ? and c ? ? and d @? ? and e ?| array[?]",
            ),
            ("select a=-5, a=?, b>=?", "select a = ?, a = ?, b >= ?"),
            (
                "select * from a left outer join b on true inner join c using (x)",
                "select * from a left join b on true join c using (x)",
            ),
        ] {
            check(statement, expected);
        }
    }

    #[test]
    fn lists_of_constants_collapse() {
        for (statement, expected) in [
            (
                "select 1 where a in (1,2,3) and b IN ('x') and c not in ($1, $2)",
                "select ? where a in (?) and b in (?) and c not in (?)",
            ),
            (
                "select 1 where (a,b) in ((1,2),(3,4))",
                "select ? where (a, b) in ((?, ?))",
            ),
            (
                "insert into t (a,b) values (1,'x'),(2,default),(-3,null) returning a",
                "insert into t(a, b) values (?, ?) returning a",
            ),
            (
                "insert into t values (1, now()), (2, now()), (3, 'x') on conflict do nothing",
                "insert into t values (?, now()), (?, ?) on conflict do nothing",
            ),
            (
                "select array[1,2,3], array[[1,2],[3,4]], array['a'::text, 'b'::text]",
                "select array[?], array[[?]], array[?::text]",
            ),
            (
                "select 1 where a in (1, b, 2, b) and c in (select d, d from e)",
                "select ? where a in (?, b) and c in (select d, d from e)",
            ),
            (
                "select * from (values (1,2),(3,4)) v(a,b), f(1,2)",
                "select * from (values (?, ?)) v(a, b), f(?, ?)",
            ),
            (
                "select 1 where a in (values (1), (2))",
                "select ? where a in (values (?))",
            ),
        ] {
            check(statement, expected);
        }
    }

    #[test]
    fn lists_that_no_statement_has_are_stable() {
        for statement in [
            &b"in(0values(),)"[..],
            b"values (1 values (2)), (3 values (2))",
            b"in(\xff,\xbb)",
        ] {
            let once = normalise(statement);
            assert_eq!(normalise(once.as_bytes()), once);
        }
        assert_eq!(normalise(b"in(\xff,\xbb)"), "in (\u{fffd})");
    }

    #[test]
    fn names_of_a_session_and_values_of_settings_are_masked() {
        for (statement, expected) in [
            ("SAVEPOINT s1", "savepoint ?"),
            ("rollback to savepoint s1", "rollback to savepoint ?"),
            ("release s1; commit", "release ?; commit"),
            ("EXECUTE p1(1, 'a')", "execute ? (?, ?)"),
            ("prepare p as select 1", "prepare ? as select ?"),
            ("prepare transaction 'x'", "prepare transaction ?"),
            ("deallocate prepare p", "deallocate prepare ?"),
            ("DEALLOCATE ALL", "deallocate all"),
            (
                "declare c no scroll cursor for select 1",
                "declare ? no scroll cursor for select ?",
            ),
            ("fetch forward 100 from \"C\"", "fetch forward ? from ?"),
            ("close c", "close ?"),
            (
                "set local search_path to a, \"B\", c",
                "set local search_path = ?",
            ),
            ("SET x = default", "set x = default"),
            ("set role admin", "set role ?"),
            (
                "create temp table if not exists t_123 (a int)",
                "create temp table if not exists ? (a int)",
            ),
            (
                "create table t (a int not null default 5)",
                "create table t(a int not null default ?)",
            ),
            ("alter role a password 'secret'", "alter role a password ?"),
            ("do $$ begin end $$", "do ?"),
        ] {
            check(statement, expected);
        }
    }

    #[test]
    fn a_statement_that_is_cut_or_deep_has_a_shape() {
        for cut in [
            "select 'a",
            "select \"a",
            "select $x$ a",
            "select /* a",
            "select E'\\",
            "select 1 where a in (1, 2",
            "$",
            ":",
            "\"",
            "u&\"",
            "\u{0}",
        ] {
            let once = normalise(cut.as_bytes());
            assert_eq!(normalise(once.as_bytes()), once, "{cut}");
        }
        let deep = format!("select {}1{}", "(".repeat(2000), ")".repeat(2000));
        let once = normalise(deep.as_bytes());
        assert_eq!(normalise(once.as_bytes()), once);
        assert_eq!(verb("((select ?))"), "select");
        assert_eq!(verb(""), "");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn any_bytes_have_a_stable_shape(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let once = normalise(&bytes);
            prop_assert_eq!(normalise(once.as_bytes()), once);
        }

        #[test]
        fn any_words_have_a_stable_shape(parts in prop::collection::vec(prop::sample::select(WORDS), 0..40)) {
            let once = normalise(parts.concat().as_bytes());
            prop_assert_eq!(normalise(once.as_bytes()), once);
            let once = normalise(parts.join(" ").as_bytes());
            prop_assert_eq!(normalise(once.as_bytes()), once);
        }
    }
}
