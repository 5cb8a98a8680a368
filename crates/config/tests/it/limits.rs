//! Overrides: the most particular one wins, key by key.

use std::collections::BTreeMap;

use pawang_config::{Config, Direction, KnownCheck, Override, Place, Quantity, matches, parse};
use pawang_core::{Limits, Unit};
use proptest::prelude::*;

fn check(id: &str, unit: Unit) -> KnownCheck {
    KnownCheck {
        id: id.to_owned(),
        unit,
        direction: Direction::Above,
        floors: BTreeMap::from([("size".to_owned(), Unit::Bytes)]),
    }
}

const LAYERS: &str = r#"
[check.lag]
warning = "1 min"
floors = { size = "1 MB" }

[[override]]
check = "lag"
object = "slot*"
warning = "4 s"

[[override]]
check = "l*"
group = "prod"
warning = "2 s"
critical = "20 s"
floors = { size = "1 kB", other = 3 }

[[override]]
check = "lag"
instance = "dwh-*"
warning = "3 s"

[[override]]
check = "lag"
instance = "dwh-2"
critical = "never"
enabled = false
"#;

#[test]
fn more_particular_places_win_key_by_key() {
    let config = parse(LAYERS, "pawang.toml").expect("it is well formed");
    let defaults = Limits {
        warning: Some(5_000.0),
        critical: Some(30_000.0),
        floors: BTreeMap::from([("size".to_owned(), 0.0)]),
    };
    let lag = check("lag", Unit::Milliseconds);
    let place = |group, instance, object| Place {
        group,
        instance,
        object,
        database: None,
    };
    let (prod, one, two) = (Some("prod"), Some("dwh-1"), Some("dwh-2"));
    let mega = 1_048_576.0;
    let cases = [
        (
            "estate",
            place(None, None, None),
            (true, Some(60_000.0), Some(30_000.0), mega),
        ),
        (
            "group",
            place(prod, None, None),
            (true, Some(2_000.0), Some(20_000.0), 1024.0),
        ),
        (
            "instance",
            place(prod, one, None),
            (true, Some(3_000.0), Some(20_000.0), 1024.0),
        ),
        (
            "later",
            place(None, two, None),
            (false, Some(3_000.0), None, mega),
        ),
        (
            "object",
            place(None, one, Some("slot1")),
            (true, Some(4_000.0), Some(30_000.0), mega),
        ),
    ];
    for (name, place, expected) in cases {
        let resolved = config.limits(&lag, &defaults, place);
        let limits = resolved.limits;
        assert_eq!(
            (
                resolved.enabled,
                limits.warning,
                limits.critical,
                limits.floors["size"]
            ),
            expected,
            "{name}"
        );
        assert_eq!(
            limits.floors.len(),
            1,
            "floors that the check does not have are left out"
        );
    }
    let other = config.limits(&check("other", Unit::Count), &defaults, Place::default());
    assert_eq!((other.enabled, other.limits), (true, defaults));
}

const NAMES: [&str; 3] = ["a", "b", "ab"];

fn selector() -> impl Strategy<Value = Option<String>> {
    prop_oneof![
        2 => Just(None),
        1 => prop::sample::select(vec!["a", "b", "a*", "*", "*b", "x"]).prop_map(|text| Some(text.to_owned())),
    ]
}

fn entry() -> impl Strategy<Value = Override> {
    let value = || {
        prop::option::of(0_u8..100)
            .prop_map(|value| value.map(|value| Quantity::Plain(f64::from(value))))
    };
    let check = prop::sample::select(vec!["lag", "l*", "*", "bloat"]);
    let selectors = (check, selector(), selector(), selector(), selector());
    (selectors, value(), value(), prop::option::of(any::<bool>())).prop_map(
        |((check, group, instance, database, object), warning, critical, enabled)| Override {
            check: check.to_owned(),
            group,
            instance,
            database,
            object,
            enabled,
            warning,
            critical,
            floors: BTreeMap::new(),
        },
    )
}

/// The rule as the documentation says it: of all that match and have the key, the one with the last (rank, position).
fn by_definition<T>(
    entries: &[Override],
    place: Place<'_>,
    key: impl Fn(&Override) -> Option<T>,
) -> Option<T> {
    let fits = |pattern: &Option<String>, text: Option<&str>| {
        pattern
            .as_ref()
            .is_none_or(|pattern| text.is_some_and(|text| matches(pattern, text)))
    };
    let candidates = entries.iter().enumerate().filter(|(_, entry)| {
        matches(&entry.check, "lag")
            && fits(&entry.group, place.group)
            && fits(&entry.instance, place.instance)
            && fits(&entry.database, place.database)
            && fits(&entry.object, place.object)
            && key(entry).is_some()
    });
    let particular = |entry: &Override| {
        (
            entry.object.is_some(),
            entry.database.is_some(),
            entry.instance.is_some(),
            entry.group.is_some(),
        )
    };
    // Rank is the most particular selector alone: two selectors on one rank do not outdo a later entry.
    let rank = |entry: &Override| match particular(entry) {
        (true, ..) => 4,
        (_, true, ..) => 3,
        (_, _, true, _) => 2,
        (.., true) => 1,
        _ => 0,
    };
    candidates
        .max_by_key(|(index, entry)| (rank(entry), *index))
        .and_then(|(_, entry)| key(entry))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn precedence_is_as_documented(
        entries in prop::collection::vec(entry(), 0..8),
        place in prop::array::uniform4(prop::option::of(0_usize..NAMES.len())),
    ) {
        let [group, instance, database, object] = place.map(|index| index.map(|index| NAMES[index]));
        let place = Place { group, instance, database, object };
        let config = Config { overrides: entries, ..Config::default() };
        let resolved = config.limits(&check("lag", Unit::Count), &Limits::default(), place);
        let value = |quantity: Option<Quantity>| quantity.and_then(|quantity| quantity.in_unit(Unit::Count).ok().flatten());
        prop_assert_eq!(resolved.limits.warning, value(by_definition(&config.overrides, place, |entry| entry.warning)));
        prop_assert_eq!(resolved.limits.critical, value(by_definition(&config.overrides, place, |entry| entry.critical)));
        prop_assert_eq!(resolved.enabled, by_definition(&config.overrides, place, |entry| entry.enabled).unwrap_or(true));
    }
}
