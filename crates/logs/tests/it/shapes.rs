//! Random statements: variants of one have one shape, different ones have different shapes.

use std::collections::HashMap;

use pawang_logs::statement::{Normaliser, fingerprint, normalise};

/// Statements that are generated.
const STATEMENTS: usize = 10_000;

/// Random numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % bound
    }

    fn pick<'a>(&mut self, texts: &[&'a str]) -> &'a str {
        texts[self.below(texts.len())]
    }
}

/// Builds statements out of tokens; `#` stands for a constant, `#*` for a list of constants, `#r` for rows of two.
fn statement(random: &mut Random) -> Vec<String> {
    let table = format!(
        "{}{}",
        random.pick(&["orders", "items", "users", "log_"]),
        random.below(40)
    );
    let column = |random: &mut Random| {
        format!(
            "{}{}",
            random.pick(&["id", "name", "price", "created_"]),
            random.below(30)
        )
    };
    let text = match random.below(6) {
        0 | 1 => {
            let mut text = format!("select {} , count ( * )", column(random));
            for _ in 0..random.below(3) {
                text += &format!(
                    " , {} {} #",
                    column(random),
                    random.pick(&["+", "-", "||", "->>"])
                );
            }
            text += &format!(" from {table}");
            if random.below(2) == 0 {
                text += &format!(
                    " t join items{} using ( {} )",
                    random.below(40),
                    column(random)
                );
            }
            text += &format!(" where {}", condition(random));
            text + random.pick(&[
                "",
                " order by 1 desc limit #",
                " group by 1 having count ( * ) > #",
                " for update",
            ])
        }
        2 => format!(
            "insert into {table} ( {} , {} ) values #r {}",
            column(random),
            column(random),
            random.pick(&["", "returning id", "on conflict do nothing"])
        ),
        3 => format!(
            "update {table} set {} = # , {} = now ( ) where {}",
            column(random),
            column(random),
            condition(random)
        ),
        4 => format!("delete from {table} where {}", condition(random)),
        _ => format!(
            "with w as ( select {} from {table} where {} ) select * from w where {}",
            column(random),
            condition(random),
            condition(random)
        ),
    };
    text.split_whitespace().map(str::to_owned).collect()
}

fn condition(random: &mut Random) -> String {
    let column = format!(
        "{}{}",
        random.pick(&["id", "name", "price", "created_"]),
        random.below(30)
    );
    match random.below(7) {
        0 => format!("{column} in ( #* )"),
        1 => format!("{column} between # and #"),
        2 => format!("{column} = any ( array [ #* ] )"),
        3 => format!("{column} is not null and {}", condition(random)),
        4 => format!("( {} or {} )", condition(random), condition(random)),
        5 => format!("{column} ilike #"),
        _ => format!(
            "{column} {} #",
            random.pick(&["=", "<>", "<", ">=", "@>", "~*"])
        ),
    }
}

fn constant(random: &mut Random) -> String {
    match random.below(9) {
        0 => format!("-{}", random.below(1000)),
        1 => format!("{}.{}", random.below(1000), random.below(100)),
        2 => format!("'it''s {}'", random.below(1000)),
        3 => format!("E'a\\'b{}'", random.below(1000)),
        4 => format!("$q${} ' \"$q$", random.below(1000)),
        5 => format!("${}", random.below(20) + 1),
        6 => format!("'-- {} /*'", random.below(1000)),
        7 => random.pick(&["null", "true", "false", "NULL"]).to_owned(),
        _ => random.below(100_000).to_string(),
    }
}

fn variant(tokens: &[String], random: &mut Random) -> String {
    let list = |random: &mut Random| {
        (0..=random.below(6))
            .map(|_| constant(random))
            .collect::<Vec<_>>()
            .join(" , ")
    };
    let mut text = String::new();
    for token in tokens {
        text += random.pick(&[" ", "\n", "\t ", " /* a /* b */ ' */ ", " -- it's\n"]);
        text += &match token.as_str() {
            "#" => constant(random),
            "#*" => list(random),
            "#r" => (0..=random.below(4))
                .map(|_| format!("({},{})", constant(random), constant(random)))
                .collect::<Vec<_>>()
                .join(","),
            word if random.below(2) == 0 => word.to_uppercase(),
            word => word.to_owned(),
        };
    }
    text + random.pick(&["", ";", " ; ", " /*key='value'*/"])
}

#[test]
fn variants_have_one_shape_and_others_another() {
    let mut random = Random(42);
    let mut normaliser = Normaliser::default();
    let mut structures: HashMap<String, u64> = HashMap::new();
    let mut shapes: HashMap<u64, String> = HashMap::new();
    for _ in 0..STATEMENTS {
        let tokens = statement(&mut random);
        let structure = tokens.join(" ");
        let first = fingerprint(&normaliser.normalise(variant(&tokens, &mut random).as_bytes()));
        for _ in 0..3 {
            let text = variant(&tokens, &mut random);
            let normal = normaliser.normalise(text.as_bytes()).into_owned();
            assert_eq!(fingerprint(&normal), first, "{structure}\n{text}\n{normal}");
            assert_eq!(normalise(normal.as_bytes()), normal);
        }
        structures.insert(structure.clone(), first);
        let known = shapes.entry(first).or_insert_with(|| structure.clone());
        assert_eq!(known, &structure);
    }
    assert!(
        structures.len() > STATEMENTS * 9 / 10,
        "{}",
        structures.len()
    );
}
