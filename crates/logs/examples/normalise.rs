//! Normalises statements that it makes, and tells how long each takes: name, count, bytes and nanoseconds of each sort, tab-separated.

use std::time::Instant;

use pawang_logs::statement::Normaliser;

/// Statements of each sort, none like another.
const COUNT: usize = 5_000;
const ROUNDS: usize = 10;

/// One sort of statement: its name, and the statement of a number.
type Sort = (&'static str, fn(u64) -> String);

const SORTS: [Sort; 8] = [
    ("one row by key", |n| {
        format!(
            "SELECT abalance FROM pgbench_accounts WHERE aid = {};",
            n * 7919
        )
    }),
    ("update of one row", |n| {
        format!(
            "UPDATE sales.orders SET state = 'sent-{n}', sent_at = '2026-01-{:02} 12:00:00+00'::timestamptz WHERE order_id = {n}",
            n % 28 + 1
        )
    }),
    ("list of constants", |n| {
        let list: Vec<String> = (0..n % 40 + 2).map(|item| (item * n).to_string()).collect();
        format!(
            "SELECT * FROM events WHERE id IN ({}) AND kind = ANY(ARRAY['a', 'b{n}'])",
            list.join(", ")
        )
    }),
    ("many rows of VALUES", |n| {
        let rows: Vec<String> = (0..n % 20 + 1)
            .map(|row| format!("({row}, 'name {n}', {}.5, NULL, now())", row * n))
            .collect();
        format!(
            "INSERT INTO staging.items (id, name, price, note, at) VALUES {}",
            rows.join(", ")
        )
    }),
    ("report with joins", |n| {
        format!(
            "/* job='daily',run={n} */\nSELECT d.year, d.month, p.category,\n       sum(f.amount) FILTER (WHERE f.amount > {n}.25) AS total,\n       \
             count(DISTINCT f.customer_id)\n  FROM fact.sales AS f\n  JOIN dim.day AS d ON d.day_id = f.day_id\n  \
             JOIN dim.product AS p USING (product_id)\n -- only what is new\n WHERE d.day BETWEEN DATE '2025-01-01' AND DATE '2026-01-01' + {n}\n   \
             AND p.name LIKE '%{n}%' AND f.region IN ('N', 'S', 'E', 'W')\n GROUP BY 1, 2, 3\nHAVING sum(f.amount) > 1e6\n ORDER BY 4 DESC\n LIMIT {}",
            n % 1_000
        )
    }),
    ("function with dollar quotes", |n| {
        format!(
            "DO $body{n}$ BEGIN PERFORM refresh('mart_{n}'); EXCEPTION WHEN others THEN RAISE NOTICE 'no %', SQLERRM; END $body{n}$"
        )
    }),
    ("COPY and SET", |n| {
        format!(
            "COPY staging.part_{n} (a, b, c) FROM '/data/in/{n}.csv' WITH (FORMAT csv, HEADER true, DELIMITER E'\\t')"
        )
    }),
    ("with parameters", |_| {
        "SELECT o.id, o.total FROM orders o LEFT JOIN customers c ON c.id = o.customer_id WHERE o.state = $1 AND c.country = $2 LIMIT $3"
            .to_owned()
    }),
];

#[expect(clippy::print_stdout, reason = "an example talks")]
fn main() {
    let mut all: Vec<String> = Vec::new();
    for (name, make) in SORTS {
        let statements: Vec<String> = (0..COUNT as u64).map(make).collect();
        println!("{name}\t{}", measured(&statements));
        all.extend(statements);
    }
    // As they come in a log: no two of a sort in a row.
    let mixed: Vec<String> = (0..COUNT)
        .flat_map(|number| all.iter().skip(number).step_by(COUNT).cloned())
        .collect();
    println!("all\t{}", measured(&mixed));
}

/// Returns count, bytes of each, and nanoseconds of each in the best round.
fn measured(statements: &[String]) -> String {
    let mut normaliser = Normaliser::default();
    let bytes: usize = statements.iter().map(String::len).sum();
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        let mut written = 0;
        for statement in statements {
            written += normaliser
                .normalise(std::hint::black_box(statement.as_bytes()))
                .len();
        }
        std::hint::black_box(written);
        best = best.min(begin.elapsed().as_secs_f64());
    }
    let count = statements.len() as f64;
    format!(
        "{}\t{:.1}\t{:.1}",
        statements.len(),
        bytes as f64 / count,
        best * 1e9 / count
    )
}
