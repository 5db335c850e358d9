//! The contract in `wit/`: every word of it says what it means, numbers say their unit, the
//! tables of its README are what the host does, and what crosses the border arrives whole.

use std::path::Path;

use grace_model::manifest::World;
use grace_model::plugin::{Batch, Field, Observation, Value};
use grace_model::port::PluginHost;
use grace_wasm::Capability;
use wit_parser::{Docs, Resolve, Type, TypeDefKind, TypeId, WorldItem, WorldKey};

use crate::guests::detector;
use crate::world::{DETECTOR, Yard, patiently};

const WIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../wit");

/// Numbers that count, number or identify something, so that they have no unit.
const COUNTS: [&str; 10] = [
    "pid",
    "port",
    "generation",
    "status",
    "requests",
    "failures",
    "instances",
    "integer",
    "restart",
    "scale",
];
/// Words by which a description names a unit.
const UNITS: [&str; 5] = [
    "1/10,000",
    "0 to 1000",
    "milliseconds",
    "generation",
    "number of",
];

/// What is not documented, and numbers without a unit.
fn faults(resolve: &Resolve) -> Vec<String> {
    let mut faults = Vec::new();
    let mut need = |name: String, docs: &Docs| {
        if docs
            .contents
            .as_deref()
            .is_none_or(|text| text.trim().is_empty())
        {
            faults.push(format!("{name} has no description"));
        }
    };
    for (_, interface) in &resolve.interfaces {
        let Some(of) = &interface.name else { continue };
        need(of.clone(), &interface.docs);
        for (name, function) in &interface.functions {
            need(format!("{of}.{name}"), &function.docs);
        }
        for (name, id) in &interface.types {
            let Some(def) = resolve.types.get(*id) else {
                continue;
            };
            // A type that is used from elsewhere is described there.
            if matches!(def.kind, TypeDefKind::Type(Type::Id(_))) {
                continue;
            }
            need(format!("{of}.{name}"), &def.docs);
            let mut part = |part: &str, docs: &Docs| need(format!("{of}.{name}.{part}"), docs);
            match &def.kind {
                TypeDefKind::Record(record) => {
                    record.fields.iter().for_each(|it| part(&it.name, &it.docs));
                }
                TypeDefKind::Variant(variant) => {
                    variant.cases.iter().for_each(|it| part(&it.name, &it.docs));
                }
                TypeDefKind::Enum(of) => of.cases.iter().for_each(|it| part(&it.name, &it.docs)),
                _ => {}
            }
        }
    }
    for (_, world) in &resolve.worlds {
        need(world.name.clone(), &world.docs);
        for (key, item) in world.imports.iter().chain(&world.exports) {
            if let (WorldKey::Name(name), WorldItem::Function(function)) = (key, item) {
                need(format!("{}.{name}", world.name), &function.docs);
            }
        }
    }
    faults.extend(without_unit(resolve));
    faults
}

fn without_unit(resolve: &Resolve) -> Vec<String> {
    let mut faults = Vec::new();
    let mut number = |name: &str, ty: &Type, docs: &Docs| {
        let docs = docs.contents.as_deref().unwrap_or_default();
        let says = ["ms", "us", "bytes", "permille"]
            .iter()
            .any(|unit| name == *unit || name.ends_with(&format!("-{unit}")))
            || UNITS.iter().any(|unit| docs.contains(unit))
            || COUNTS.contains(&name);
        if is_number(resolve, ty) && !says {
            faults.push(format!("{name} is a number without a unit"));
        }
    };
    for (_, def) in &resolve.types {
        match &def.kind {
            TypeDefKind::Record(record) => record
                .fields
                .iter()
                .for_each(|field| number(&field.name, &field.ty, &field.docs)),
            TypeDefKind::Variant(variant) => variant.cases.iter().for_each(|case| {
                if let Some(ty) = &case.ty {
                    number(&case.name, ty, &case.docs);
                }
            }),
            TypeDefKind::Type(ty) => {
                number(def.name.as_deref().unwrap_or_default(), ty, &def.docs);
            }
            _ => {}
        }
    }
    for (_, interface) in &resolve.interfaces {
        for (name, function) in &interface.functions {
            for param in &function.params {
                number(&param.name, &param.ty, &function.docs);
            }
            if let Some(ty) = &function.result {
                number(name, ok_of(resolve, ty).unwrap_or(ty), &function.docs);
            }
        }
    }
    faults
}

/// The type of a result's good case.
fn ok_of<'a>(resolve: &'a Resolve, ty: &Type) -> Option<&'a Type> {
    let Type::Id(id) = ty else { return None };
    match &kind(resolve, *id)? {
        TypeDefKind::Result(result) => result.ok.as_ref(),
        _ => None,
    }
}

fn kind(resolve: &Resolve, id: TypeId) -> Option<&TypeDefKind> {
    resolve.types.get(id).map(|def| &def.kind)
}

/// Whether it is a number that no named type explains.
fn is_number(_resolve: &Resolve, ty: &Type) -> bool {
    use Type::{S8, S16, S32, S64, U8, U16, U32, U64};
    matches!(ty, U8 | U16 | U32 | U64 | S8 | S16 | S32 | S64)
}

#[test]
fn every_word_of_the_contract_is_described_and_every_number_has_a_unit() {
    let mut resolve = Resolve::default();
    resolve.push_dir(WIT).expect("wit/ is sound");
    assert_eq!(faults(&resolve), Vec::<String>::new());
}

#[test]
fn a_word_without_a_description_and_a_number_without_a_unit_are_faults() {
    let mut resolve = Resolve::default();
    let text = "package a:b;
/// Described.
interface one {
  /// Described.
  record r {
    /// Described.
    size: u32,
    /// Described.
    wait-ms: u32,
    silent: string,
  }
  /// Described.
  variant v { quiet(string) }
  /// Described.
  enum e { still }
  mute: func(wait: u32) -> result<u64, string>;
}
interface two { }
world w { import one; import two; }
";
    resolve.push_str("a.wit", text).expect("it is sound");
    let mut found = faults(&resolve);
    found.sort();
    assert_eq!(
        found,
        [
            "mute is a number without a unit",
            "one.e.still has no description",
            "one.mute has no description",
            "one.r.silent has no description",
            "one.v.quiet has no description",
            "size is a number without a unit",
            "two has no description",
            "w has no description",
            "wait is a number without a unit",
        ]
    );
}

fn readme() -> String {
    std::fs::read_to_string(Path::new(WIT).join("README.md")).expect("wit/README.md")
}

/// The rows of the table below `heading`, cell by cell.
fn table(text: &str, heading: &str) -> Vec<Vec<String>> {
    let (_, rest) = text.split_once(heading).expect("the heading is there");
    rest.lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| {
            let cells = line.trim_matches('|').split('|');
            cells.map(|cell| cell.trim().to_owned()).collect()
        })
        .collect()
}

/// The words in back-ticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[test]
fn the_table_of_capabilities_says_which_world_may_hold_which() {
    let rows = table(&readme(), "## Capabilities");
    assert!(rows.len() >= 12, "{rows:?}");
    for row in rows {
        let text = quoted(&row[0])[0]
            .replace("HOST:PORT", "127.0.0.1:80")
            .replace("PATH", "/srv/app");
        let capability = Capability::parse(&text).expect("it is one");
        let (detector, action) = match row[1].as_str() {
            "both" => (true, true),
            "detector" => (true, true),
            "action" => (false, true),
            other => panic!("{other} is no world"),
        };
        assert_eq!(capability.fits(World::Detector), detector, "{text}");
        assert_eq!(capability.fits(World::Action), action, "{text}");
    }
}

/// A value of the kind that the table says a field has: text, flag, or else a number.
fn value(described: &str, number: u64) -> Value {
    if described.contains("text") {
        Value::from(format!("text {number} \u{fc}\u{20ac}\u{1f600}"))
    } else if described.contains("flag") {
        Value::from(number.is_multiple_of(2))
    } else {
        Value::from(number << 33)
    }
}

/// One observation of every kind in the table, with every field that it lists.
fn every_kind() -> Vec<Observation> {
    let mut number = 0;
    table(&readme(), "## Observations")
        .iter()
        .map(|row| {
            let text = without_brackets(&row[2]);
            // The fields come first, after the target where that is not an instance.
            let part = usize::from(text.starts_with("target"));
            let fields = text.split(';').nth(part).unwrap_or_default();
            Observation {
                at: 1_700_000_000_000 + u64::try_from(row[2].len()).expect("short"),
                target: "shop-1".to_owned(),
                kind: quoted(&row[0])[0].to_owned(),
                fields: fields
                    .split(',')
                    .filter_map(|piece| {
                        number += 1;
                        let name = (*quoted(piece).first()?).to_owned();
                        Some(Field {
                            name,
                            value: value(piece, number),
                        })
                    })
                    .collect(),
            }
        })
        .collect()
}

fn without_brackets(text: &str) -> String {
    let mut depth = 0_u32;
    let mut outside = String::new();
    for letter in text.chars() {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ if depth == 0 => outside.push(letter),
            _ => {}
        }
    }
    outside
}

#[test]
fn every_field_of_every_kind_of_observation_arrives_in_a_detector_as_it_was_sent() {
    // Makes of each observation a finding: its fields, laid out alike, are the evidence, and
    // its time goes into the state.
    let echo = detector(
        "(local $i i32) (local $from i32) (local $to i32)
    (local.set $from (local.get $seen))
    (local.set $to (i32.const 65536))
    (drop (memory.grow (i32.const 2)))
    (local.set $to (i32.mul (i32.sub (memory.size) (i32.const 2)) (i32.const 65536)))
    (i32.store (i32.const 1028) (i32.add (local.get $to) (i32.const 65536)))
    (i32.store (i32.const 1032) (i32.mul (local.get $seen_len) (i32.const 8)))
    (i32.store (i32.const 1036) (local.get $to))
    (i32.store (i32.const 1040) (local.get $seen_len))
    (block $done (loop $next
      (br_if $done (i32.eq (local.get $i) (local.get $seen_len)))
      (i64.store
        (i32.add (i32.load (i32.const 1028)) (i32.mul (local.get $i) (i32.const 8)))
        (i64.load (local.get $from)))
      (i64.store (local.get $to) (i64.load offset=16 (local.get $from)))
      (i64.store offset=8 (local.get $to) (i64.load offset=8 (local.get $from)))
      (i64.store offset=36 (local.get $to) (i64.load offset=24 (local.get $from)))
      (local.set $from (i32.add (local.get $from) (i32.const 32)))
      (local.set $to (i32.add (local.get $to) (i32.const 44)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $next)))
    (i32.const 1024)",
    );
    let sent = every_kind();
    assert!(sent.len() >= 15, "{} kinds", sent.len());
    let fields: usize = sent.iter().map(|one| one.fields.len()).sum();
    assert!(fields >= 60, "{fields} fields");
    let yard = Yard::new();
    yard.put("echo", &echo, DETECTOR);
    let registry = yard.start();
    let batch = Batch {
        now: 1,
        observations: sent.clone(),
    };
    let came = patiently(|| registry.observe("echo", &[], &batch)).expect("an answer");
    assert_eq!(came.findings.len(), sent.len());
    for (place, (sent, came_back)) in sent.iter().zip(&came.findings).enumerate() {
        assert_eq!(sent.kind, came_back.kind);
        assert_eq!(sent.target, came_back.target);
        assert_eq!(sent.fields, came_back.evidence, "{}", sent.kind);
        let at = came.state.get(place * 8..place * 8 + 8).expect("a time");
        assert_eq!(u64::from_le_bytes(at.try_into().expect("eight")), sent.at);
    }
}
