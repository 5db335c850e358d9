//! Values of configuration that can be read and are wrong: another type, another size, a
//! misspelt or missing key; what a file beside it says, what a schema demands.

use std::collections::BTreeMap;

use serde_json::Value;

use super::config::check;
use crate::candidate::{Candidate, Edit, Kind};
use crate::facts::{Facts, distance};
use crate::failure::Failure;
use crate::lang::{self, Lang};
use crate::project::{Format, Project, Role};

/// One `key: value` of a text.
#[derive(Debug, Clone)]
struct Pair {
    key: std::ops::Range<usize>,
    name: String,
    value: std::ops::Range<usize>,
}

/// Candidates for configuration that can be read.
#[must_use]
pub fn values(project: &Project, failure: &Failure) -> Vec<Candidate> {
    let mut words = Facts::default();
    for (_, file, lang) in project.sources().chain(project.tests()) {
        words.add(&Facts::of(lang, &file.text));
    }
    let schema = schemas(project);
    let mut found = Vec::new();
    for (at, file) in project.files.iter().enumerate() {
        let Role::Config(format) = file.role else {
            continue;
        };
        if is_schema(&file.path) || is_lock(&file.path) || check(format, &file.text).is_err() {
            continue;
        }
        let name = file
            .path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let used = project
            .sources()
            .chain(project.tests())
            .any(|(_, source, _)| source.text.contains(name))
            || failure.says(name);
        // A manifest of a package is read by tools, not by the program.
        let scale = if used { 1.0 } else { 0.15 };
        found.extend(last_known_good(project, at, format, 2.0 * scale));
        let pairs = pairs(format, &file.text);
        for pair in &pairs {
            of_pair(
                at, &file.text, format, pair, &words, failure, &schema, scale, &mut found,
            );
        }
        missing(
            at, &file.text, format, &pairs, failure, &schema, scale, &mut found,
        );
    }
    found
}

fn is_schema(path: &std::path::Path) -> bool {
    path.file_name()
        .and_then(|name| name.to_str())
        .is_some_and(|name| name.contains("schema"))
}

fn is_lock(path: &std::path::Path) -> bool {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    matches!(
        name,
        "package.json" | "package-lock.json" | "Cargo.toml" | "pyproject.toml" | "tsconfig.json"
    )
}

/// What the properties of all schemas demand, by the property's name.
fn schemas(project: &Project) -> BTreeMap<String, Value> {
    fn walk(value: &Value, found: &mut BTreeMap<String, Value>) {
        match value {
            Value::Object(map) => {
                if let Some(Value::Object(properties)) = map.get("properties") {
                    for (name, demand) in properties {
                        found.entry(name.clone()).or_insert_with(|| demand.clone());
                    }
                }
                map.values().for_each(|inner| walk(inner, found));
            }
            Value::Array(list) => list.iter().for_each(|inner| walk(inner, found)),
            _ => {}
        }
    }
    let mut found = BTreeMap::new();
    for file in project.files.iter().filter(|file| is_schema(&file.path)) {
        if let Ok(value) = serde_json::from_str(&file.text) {
            walk(&value, &mut found);
        }
    }
    found
}

/// A file of the same name that is kept beside, as a whole.
#[must_use]
pub fn last_known_good(project: &Project, at: usize, format: Format, score: f64) -> Vec<Candidate> {
    let Some(file) = project.files.get(at) else {
        return Vec::new();
    };
    let name = |path: &std::path::Path| {
        path.file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default()
            .to_owned()
    };
    let mine = name(&file.path);
    let stem = mine.split('.').next().unwrap_or_default().to_owned();
    let marks = [
        "bak", "orig", "old", "good", "example", "default", "sample", "dist", "backup", "last",
        "prev", "template", "saved", "~",
    ];
    let mut found = Vec::new();
    for (other, theirs) in project.files.iter().enumerate() {
        let beside = name(&theirs.path);
        let parent = theirs
            .path
            .parent()
            .map(|p| p.display().to_string())
            .unwrap_or_default();
        let marked = marks
            .iter()
            .any(|mark| beside.contains(mark) || parent.contains(mark));
        let kin = beside == mine || beside.starts_with(&stem);
        if other != at
            && marked
            && kin
            && *theirs.text != *file.text
            && check(format, &theirs.text).is_ok()
        {
            found.push(super::source::whole(
                at,
                &file.text,
                &theirs.text,
                score,
                Kind::Config,
            ));
        }
    }
    found
}

fn pairs(format: Format, text: &str) -> Vec<Pair> {
    match format {
        Format::Json => json_pairs(text),
        Format::Yaml => line_pairs(text, ':'),
        Format::Toml => line_pairs(text, '='),
    }
}

/// JSON in brackets is an expression of JavaScript, whose tree gives the places.
fn json_pairs(text: &str) -> Vec<Pair> {
    let wrapped = format!("({text})");
    let Some(tree) = Lang::JavaScript.parse(&wrapped) else {
        return Vec::new();
    };
    let shift = |range: std::ops::Range<usize>| range.start - 1..range.end - 1;
    lang::all_nodes(&tree)
        .into_iter()
        .filter(|node| node.kind() == "pair")
        .filter_map(|node| {
            let key = node.child_by_field_name("key")?;
            let value = node.child_by_field_name("value")?;
            let name = lang::text_of(&wrapped, key).trim_matches('"').to_owned();
            Some(Pair {
                key: shift(key.byte_range()),
                name,
                value: shift(value.byte_range()),
            })
        })
        .collect()
}

fn line_pairs(text: &str, mark: char) -> Vec<Pair> {
    let mut found = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let body = line.trim_end();
        let code = body.split(" #").next().unwrap_or_default().trim_end();
        let head = code.len() - code.trim_start_matches([' ', '-']).len();
        if let Some(at) = code.find(mark)
            && !code.trim_start().starts_with('#')
            && at > head
        {
            let key = code.get(head..at).unwrap_or_default().trim_end();
            let rest = code.get(at + 1..).unwrap_or_default();
            let gap = rest.len() - rest.trim_start().len();
            found.push(Pair {
                key: start + head..start + head + key.len(),
                name: key.trim_matches(['"', '\'']).to_owned(),
                value: start + at + 1 + gap..start + code.len(),
            });
        }
        start += line.len();
    }
    found
}

#[allow(
    clippy::too_many_arguments,
    reason = "one place of one file, and what is known of all"
)]
fn of_pair(
    file: usize,
    text: &str,
    format: Format,
    pair: &Pair,
    words: &Facts,
    failure: &Failure,
    schema: &BTreeMap<String, Value>,
    scale: f64,
    found: &mut Vec<Candidate>,
) {
    let said = lang::cut(text, pair.value.clone());
    let named = failure.says(&pair.name) || failure.says(said.trim_matches('"')) && said.len() > 3;
    let scale = if named { scale * 3.0 } else { scale };
    let mut put = |range: &std::ops::Range<usize>, new: String, weight: f64| {
        if new != lang::cut(text, range.clone()) {
            found.push(Candidate::one(
                Kind::Config,
                weight * scale,
                Edit::new(file, range.clone(), new),
            ));
        }
    };
    // The key, as the program spells one that is close.
    let known = words
        .texts
        .keys()
        .map(|text| text.trim_matches(['"', '\'']));
    let fields = words.fields.keys().map(String::as_str);
    let spelt = words
        .texts
        .keys()
        .any(|text| text.trim_matches(['"', '\'']) == pair.name)
        || words.fields.contains_key(&pair.name);
    for word in known.chain(fields) {
        if !spelt && word.len() > 2 && word != pair.name && distance(word, &pair.name) <= 2 {
            let key = lang::cut(text, pair.key.clone()).replace(&pair.name, word);
            put(&pair.key, key, 1.5);
        }
    }
    let quoted = said.starts_with('"') && said.ends_with('"') && said.len() > 1;
    let inner = said.trim_matches('"');
    if quoted {
        let plain = inner.parse::<f64>().is_ok() || matches!(inner, "true" | "false" | "null");
        if plain {
            put(&pair.value, inner.to_owned(), 1.2);
        }
        let digits: String = inner
            .chars()
            .filter(|c| c.is_ascii_digit() || *c == '.')
            .collect();
        if !plain && digits.parse::<f64>().is_ok() && inner.len() <= digits.len() + 3 {
            put(&pair.value, digits.clone(), 0.6);
            put(&pair.value, format!("\"{digits}\""), 0.4);
        }
        if let Some(list) = inner.strip_prefix('[')
            && format == Format::Json
        {
            put(&pair.value, format!("[{list}"), 0.3);
        }
        for word in words.texts.keys() {
            let word = word.trim_matches(['"', '\'']);
            let close = distance(word, inner) <= 2 || word.eq_ignore_ascii_case(inner);
            if word.len() > 1 && word != inner {
                put(
                    &pair.value,
                    format!("\"{word}\""),
                    if close { 1.0 } else { 0.08 },
                );
            }
        }
    } else if let Ok(number) = said.parse::<f64>() {
        put(&pair.value, format!("\"{said}\""), 0.4);
        for (new, weight) in [
            (-number, if number < 0.0 { 1.2 } else { 0.1 }),
            (number + 1.0, 0.15),
            (number - 1.0, 0.15),
            (1.0, 0.2),
            (0.0, 0.1),
            (number * 10.0, 0.3),
            (number / 10.0, 0.3),
            (number * 100.0, 0.2),
            (number / 100.0, 0.2),
            (number * 1000.0, 0.25),
            (number / 1000.0, 0.25),
        ] {
            put(&pair.value, short(new), weight);
        }
        for other in words.numbers.keys() {
            put(&pair.value, other.clone(), 0.1);
        }
    } else if matches!(said, "true" | "false") {
        put(
            &pair.value,
            if said == "true" { "false" } else { "true" }.to_owned(),
            0.6,
        );
        put(&pair.value, format!("\"{said}\""), 0.1);
    } else if said == "null" {
        for new in ["0", "\"\"", "[]", "{}", "false", "true", "1"] {
            put(&pair.value, new.to_owned(), 0.3);
        }
    } else if !said.is_empty()
        && !said.starts_with(['[', '{', '\'', '|', '>'])
        && format == Format::Yaml
    {
        put(&pair.value, format!("\"{said}\""), 0.4);
        for word in words.texts.keys() {
            let word = word.trim_matches(['"', '\'']);
            if word.len() > 1 && word != said && distance(word, said) <= 2 {
                put(&pair.value, word.to_owned(), 0.8);
            }
        }
    } else if said.starts_with('\'') && said.ends_with('\'') {
        put(&pair.value, said.trim_matches('\'').to_owned(), 0.3);
    }
    if let Some(demand) = schema.get(&pair.name) {
        for (new, weight) in demanded(demand, inner) {
            put(&pair.value, new, weight);
        }
    }
}

fn short(number: f64) -> String {
    if number.fract() == 0.0 {
        format!("{number:.0}")
    } else {
        format!("{number}")
    }
}

/// Values that a schema allows, the closest first.
fn demanded(demand: &Value, said: &str) -> Vec<(String, f64)> {
    let mut found = Vec::new();
    if let Some(default) = demand.get("default") {
        found.push((default.to_string(), 1.5));
    }
    for one in demand
        .get("enum")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let text = one.as_str().map_or_else(|| one.to_string(), str::to_owned);
        let close = distance(&text.to_lowercase(), &said.to_lowercase()) <= 2;
        found.push((one.to_string(), if close { 1.5 } else { 0.4 }));
    }
    for (bound, weight) in [("minimum", 0.5), ("maximum", 0.5)] {
        if let Some(limit) = demand.get(bound) {
            found.push((limit.to_string(), weight));
        }
    }
    found
}

/// A key that the output asks for and the text has not.
#[allow(
    clippy::too_many_arguments,
    reason = "one file, and what is known of all"
)]
fn missing(
    file: usize,
    text: &str,
    format: Format,
    pairs: &[Pair],
    failure: &Failure,
    schema: &BTreeMap<String, Value>,
    scale: f64,
    found: &mut Vec<Candidate>,
) {
    let absent: Vec<&String> = failure
        .unknown
        .iter()
        .chain(schema.keys().filter(|name| failure.says(name)))
        .filter(|name| !pairs.iter().any(|pair| pair.name == **name))
        .collect();
    for name in absent {
        let mut new: Vec<(String, f64)> = Vec::new();
        if let Some(demand) = schema.get(name) {
            new.extend(demanded(demand, ""));
        }
        for usual in ["0", "1", "\"\"", "true", "false", "[]", "{}"] {
            new.push((usual.to_owned(), 0.1));
        }
        for pair in pairs.iter().take(12) {
            for (value, weight) in &new {
                let line = match format {
                    Format::Json => format!("\"{name}\": {value}, "),
                    Format::Yaml => {
                        format!("{name}: {value}\n{}", lang::indent_at(text, pair.key.start))
                    }
                    Format::Toml => format!("{name} = {value}\n"),
                };
                let at = pair.key.start;
                found.push(Candidate::one(
                    Kind::Config,
                    weight * scale * 0.5,
                    Edit::new(file, at..at, line),
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(config: &str, source: &str, output: &str) -> Vec<String> {
        let files = vec![
            ("app.py".into(), source.into()),
            ("config.json".into(), config.into()),
            ("config.json.bak".into(), "{\"port\": 1234}".into()),
            (
                "schema.json".into(),
                "{\"properties\": {\"mode\": {\"enum\": [\"fast\", \"safe\"]}}}".into(),
            ),
        ];
        let project = Project::new(files, "");
        let failure = Failure {
            output: output.to_owned(),
            ..Failure::default()
        };
        values(&project, &failure)
            .iter()
            .map(|one| one.changed(&project)[0].1.to_string())
            .collect()
    }

    #[test]
    fn types_spellings_schemas_and_what_is_kept_beside_give_candidates() {
        let source = "import json\nc = json.load(open('config.json'))\nport = c['port']\n";
        let all = texts("{\"port\": \"8080\", \"mode\": \"fsat\"}", source, "port");
        assert!(
            all.contains(&"{\"port\": 8080, \"mode\": \"fsat\"}".to_owned()),
            "{all:?}"
        );
        assert!(all.contains(&"{\"port\": \"8080\", \"mode\": \"fast\"}".to_owned()));
        assert!(all.contains(&"{\"port\": 1234}".to_owned()));
        let all = texts("{\"prot\": 1}", source, "");
        assert!(all.contains(&"{\"port\": 1}".to_owned()), "{all:?}");
    }
}
