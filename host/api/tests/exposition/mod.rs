//! A strict reader of Prometheus's text format, version 0.0.4. It takes less than scrapers do:
//! what is unusual is an error here.

use std::collections::{BTreeMap, BTreeSet};

/// All samples: name, labels, value.
#[derive(Debug, Default)]
pub struct Page {
    pub samples: Vec<Sample>,
    pub kinds: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

impl Page {
    /// The value of the one series with this name and these labels.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let wanted = |it: &&Sample| {
            let has =
                |(key, value): &(&str, &str)| it.labels.get(*key).is_some_and(|it| it == value);
            it.name == name && labels.iter().all(has)
        };
        let mut found = self.samples.iter().filter(wanted);
        let one = found.next()?;
        assert!(found.next().is_none(), "{name} {labels:?} is more than one");
        Some(one.value)
    }

    /// Names and labels, without values.
    pub fn series(&self) -> BTreeSet<String> {
        let all = self.samples.iter();
        all.map(|it| format!("{} {:?}", it.name, it.labels))
            .collect()
    }
}

/// Reads a whole page.
pub fn read(text: &str) -> Result<Page, String> {
    if !text.ends_with('\n') {
        return Err("the last line has no end".into());
    }
    let mut page = Page::default();
    let mut family: Option<(String, Option<String>)> = None;
    let mut series = BTreeSet::new();
    for line in text.lines() {
        let wrong = |what: &str| Err(format!("{what}: {line:?}"));
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let Some((name, help)) = rest.split_once(' ') else {
                return wrong("no description");
            };
            if help.trim().is_empty() || !is_name(name, true) {
                return wrong("no name or no description");
            }
            if matches!(&family, Some((_, None))) {
                return wrong("the family before has no type");
            }
            family = Some((name.to_owned(), None));
            continue;
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or_default();
            match &mut family {
                Some((now, it @ None)) if now == name => *it = Some(kind.to_owned()),
                _ => return wrong("a type without its description"),
            }
            if !["counter", "gauge", "histogram"].contains(&kind) {
                return wrong("an unknown type");
            }
            if (kind == "counter") != name.ends_with("_total") {
                return wrong("counters end in _total, and nothing else does");
            }
            if ["_ms", "_us", "_kib", "_percent", "_permille"]
                .iter()
                .any(|unit| name.contains(unit))
            {
                return wrong("not a base unit");
            }
            if page
                .kinds
                .insert(name.to_owned(), kind.to_owned())
                .is_some()
            {
                return wrong("a family a second time");
            }
            continue;
        }
        let Some((name, Some(kind))) = &family else {
            return wrong("a sample without a family, or an unknown comment");
        };
        let sample = sample(line)?;
        let suffix = sample.name.strip_prefix(name.as_str());
        let fits = match kind.as_str() {
            "histogram" => matches!(suffix, Some("_bucket" | "_sum" | "_count")),
            _ => suffix == Some(""),
        };
        if !fits {
            return wrong("a sample of another family");
        }
        if kind != "gauge" && (sample.value < 0.0 || !sample.value.is_finite()) {
            return wrong("a count below zero");
        }
        if !series.insert(format!("{} {:?}", sample.name, sample.labels)) {
            return wrong("a series a second time");
        }
        page.samples.push(sample);
    }
    if matches!(&family, Some((_, None))) {
        return Err("the last family has no type".into());
    }
    histograms(&page)?;
    Ok(page)
}

fn histograms(page: &Page) -> Result<(), String> {
    for name in page
        .kinds
        .iter()
        .filter(|it| it.1 == "histogram")
        .map(|it| it.0)
    {
        let mut rows: BTreeMap<BTreeMap<String, String>, Vec<(f64, f64)>> = BTreeMap::new();
        for it in page
            .samples
            .iter()
            .filter(|it| it.name == format!("{name}_bucket"))
        {
            let mut labels = it.labels.clone();
            let bound = labels.remove("le").ok_or("a bucket without a bound")?;
            let bound = bound.replace("+Inf", "inf").parse().map_err(|_| bound)?;
            rows.entry(labels).or_default().push((bound, it.value));
        }
        for (labels, row) in rows {
            let rises = row
                .windows(2)
                .all(|it| it[0].0 < it[1].0 && it[0].1 <= it[1].1);
            let pairs: Vec<_> = labels
                .iter()
                .map(|it| (it.0.as_str(), it.1.as_str()))
                .collect();
            let count = page.value(&format!("{name}_count"), &pairs);
            let (bound, all) = row.last().copied().unwrap_or_default();
            if !rises || bound != f64::INFINITY || count != Some(all) {
                return Err(format!("{name} {labels:?} is no histogram: {row:?}"));
            }
            if page.value(&format!("{name}_sum"), &pairs).is_none() {
                return Err(format!("{name} {labels:?} has no sum"));
            }
        }
    }
    Ok(())
}

fn sample(line: &str) -> Result<Sample, String> {
    let wrong = |what: &str| format!("{what}: {line:?}");
    let end = line.find(['{', ' ']).ok_or_else(|| wrong("no value"))?;
    let (name, mut rest) = line.split_at(end);
    if !is_name(name, true) {
        return Err(wrong("no name"));
    }
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, behind) = rest.split_once("=\"").ok_or_else(|| wrong("no label"))?;
            if !is_name(label, false) {
                return Err(wrong("no name of a label"));
            }
            let (value, behind) = quoted(behind).ok_or_else(|| wrong("a bad value of a label"))?;
            if labels.insert(label.to_owned(), value).is_some() {
                return Err(wrong("a label twice"));
            }
            if let Some(more) = behind.strip_prefix(',') {
                rest = more;
            } else {
                rest = behind
                    .strip_prefix('}')
                    .ok_or_else(|| wrong("no end of labels"))?;
                break;
            }
        }
    }
    let value = rest.strip_prefix(' ').ok_or_else(|| wrong("no value"))?;
    Ok(Sample {
        name: name.to_owned(),
        labels,
        value: value.parse().map_err(|_| wrong("no number"))?,
    })
}

/// A value up to its quote, and what stands behind it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match letters.next()?.1 {
                'n' => '\n',
                it @ ('\\' | '"') => it,
                _ => return None,
            }),
            it => value.push(it),
        }
    }
    None
}

fn is_name(text: &str, colons: bool) -> bool {
    let fits =
        |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || colons && letter == ':';
    !text.is_empty() && !text.starts_with(|it: char| it.is_ascii_digit()) && text.chars().all(fits)
}
