//! What a row is, what was measured for it, and how rows are printed. Knows no peer and runs
//! nothing.

use serde_json::{Value, json};

/// What a row is, measured or not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spec {
    pub name: &'static str,
    pub unit: &'static str,
    /// `higher` or `lower`.
    pub better: &'static str,
    /// Empty without one.
    pub peer_name: &'static str,
    pub goal: Option<f64>,
    /// `ours` or `ratio`.
    pub goal_on: &'static str,
}

/// A row whose goal is a ratio to a peer.
pub const fn beside(
    name: &'static str,
    unit: &'static str,
    better: &'static str,
    peer_name: &'static str,
    goal: Option<f64>,
) -> Spec {
    Spec {
        name,
        unit,
        better,
        peer_name,
        goal,
        goal_on: "ratio",
    }
}

/// A row where less is better and our own figure is judged, also beside a peer.
pub const fn at_most(
    name: &'static str,
    unit: &'static str,
    peer_name: &'static str,
    goal: f64,
) -> Spec {
    Spec {
        name,
        unit,
        better: "lower",
        peer_name,
        goal: Some(goal),
        goal_on: "ours",
    }
}

/// What was measured for the row of this name.
#[derive(Debug, Clone, Copy)]
pub struct Figure {
    pub name: &'static str,
    pub ours: f64,
    pub peer: Option<f64>,
}

impl Figure {
    pub fn alone(spec: &Spec, ours: f64) -> Self {
        Self {
            name: spec.name,
            ours,
            peer: None,
        }
    }

    pub fn beside(spec: &Spec, ours: f64, peer: f64) -> Self {
        Self {
            name: spec.name,
            ours,
            peer: Some(peer),
        }
    }
}

/// A row with what was measured, or why it was not.
#[derive(Debug, Clone)]
pub struct Row {
    pub spec: Spec,
    pub ours: Result<f64, String>,
    pub peer: Option<f64>,
}

impl Row {
    /// From what a group of rows answered. A figure that is no number counts as not measured,
    /// and so does one whose peer is missing.
    pub fn new(spec: Spec, measured: Result<&[Figure], &str>) -> Self {
        let figure = measured.map_err(str::to_owned).and_then(|figures| {
            figures
                .iter()
                .find(|figure| figure.name == spec.name)
                .ok_or_else(|| "its measurement gave no figure".to_owned())
        });
        let figure = figure.and_then(|figure| {
            let peer_is_there = spec.peer_name.is_empty() || figure.peer.is_some();
            if figure.ours.is_finite() && figure.peer.is_none_or(f64::is_finite) && peer_is_there {
                Ok(*figure)
            } else {
                Err(format!("its figures are {figure:?}"))
            }
        });
        Self {
            spec,
            peer: figure.as_ref().ok().and_then(|figure| figure.peer),
            ours: figure.map(|figure| figure.ours),
        }
    }

    /// Ours divided by the peer's.
    pub fn ratio(&self) -> Option<f64> {
        let ours = self.ours.as_ref().ok()?;
        self.peer
            .filter(|peer| *peer != 0.0)
            .map(|peer| ours / peer)
    }

    /// Whether the goal is met; none when there is no goal or no figure.
    pub fn met(&self) -> Option<bool> {
        let goal = self.spec.goal?;
        let figure = if self.spec.goal_on == "ratio" {
            self.ratio()?
        } else {
            *self.ours.as_ref().ok()?
        };
        Some(if self.spec.better == "higher" {
            figure >= goal
        } else {
            figure <= goal
        })
    }

    fn json(&self) -> Value {
        let spec = &self.spec;
        let mut row = json!({
            "name": spec.name, "unit": spec.unit, "better": spec.better,
            "ours": self.ours.as_ref().ok(), "peer": self.peer, "peer_name": spec.peer_name,
            "ratio": self.ratio(), "goal": spec.goal, "goal_on": spec.goal_on,
        });
        if let Err(error) = &self.ours {
            row["error"] = json!(error);
        }
        row
    }
}

pub fn json(name: &str, rows: &[Row]) -> Value {
    let rows: Vec<Value> = rows.iter().map(Row::json).collect();
    json!({ "bench": name, "rows": rows })
}

pub fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:<28} {:>12} {:>12} {:>8}  {:<10} goal\n",
        "row", "ours", "peer", "ratio", "unit"
    );
    for row in rows {
        let number = |value: Option<f64>| value.map_or("-".to_owned(), short);
        let spec = &row.spec;
        let goal = match spec.goal {
            Some(goal) => format!(
                "{} {} {} {}",
                spec.goal_on,
                if spec.better == "higher" { ">=" } else { "<=" },
                short(goal),
                match row.met() {
                    Some(true) => "met",
                    Some(false) => "MISSED",
                    None => "NOT MEASURED",
                }
            ),
            None => "-".to_owned(),
        };
        text += &format!(
            "{:<28} {:>12} {:>12} {:>8}  {:<10} {goal}{}\n",
            spec.name,
            number(row.ours.as_ref().ok().copied()),
            number(row.peer),
            number(row.ratio()),
            spec.unit,
            if spec.peer_name.is_empty() {
                String::new()
            } else {
                format!("  (peer: {})", spec.peer_name)
            }
        );
    }
    text
}

fn short(value: f64) -> String {
    if value.fract() == 0.0 || value.abs() >= 1000.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(spec: Spec, ours: f64, peer: f64) -> Row {
        Row::new(spec, Ok(&[Figure::beside(&spec, ours, peer)]))
    }

    #[test]
    fn a_goal_can_be_met_and_missed_both_ways() {
        let higher = beside("x", "", "higher", "p", Some(0.8));
        assert_eq!(row(higher, 80.0, 100.0).met(), Some(true));
        assert_eq!(row(higher, 79.0, 100.0).met(), Some(false));
        let none = at_most("x", "", "p", 0.0);
        assert_eq!(row(none, 3.0, 100.0).met(), Some(false));
        assert_eq!(row(none, 0.0, 100.0).met(), Some(true));
    }

    fn keys(value: &Value) -> Vec<&str> {
        let object = value.as_object().unwrap();
        object.keys().map(String::as_str).collect()
    }

    #[test]
    fn json_has_the_promised_keys_and_the_ratio_is_ours_by_peer_whichever_is_better() {
        let specs = [
            beside("more", "requests/s", "higher", "p", Some(0.8)),
            beside("less", "us", "lower", "p", Some(1.25)),
            at_most("count", "requests", "p", 0.0),
        ];
        let rows: Vec<Row> = specs.iter().map(|spec| row(*spec, 30.0, 40.0)).collect();
        let value = json("main", &rows);
        assert_eq!(keys(&value), ["bench", "rows"]);
        assert_eq!(value["bench"], "main");
        for (one, goal_on) in value["rows"]
            .as_array()
            .unwrap()
            .iter()
            .zip(["ratio", "ratio", "ours"])
        {
            assert_eq!(
                keys(one),
                [
                    "better",
                    "goal",
                    "goal_on",
                    "name",
                    "ours",
                    "peer",
                    "peer_name",
                    "ratio",
                    "unit"
                ]
            );
            assert_eq!(one["ratio"], 0.75, "{one}");
            assert_eq!(one["goal_on"], goal_on);
        }
        // Nothing can be divided by nothing.
        assert_eq!(row(specs[2], 0.0, 0.0).json()["ratio"], Value::Null);
    }

    #[test]
    fn what_is_no_figure_is_not_measured_and_stays_in_the_json_with_its_reason() {
        let spec = beside("x", "us", "lower", "p", Some(1.0));
        let cases = [
            (
                Row::new(spec, Err("haproxy is missing")),
                "haproxy is missing",
            ),
            (Row::new(spec, Ok(&[])), "no figure"),
            (row(spec, f64::NAN, 1.0), "NaN"),
            (row(spec, 1.0, f64::INFINITY), "inf"),
            (Row::new(spec, Ok(&[Figure::alone(&spec, 1.0)])), "None"),
        ];
        for (row, reason) in cases {
            let value = row.json();
            assert_eq!(value["name"], "x");
            assert_eq!(value["ours"], Value::Null, "{value}");
            assert!(value["error"].as_str().unwrap().contains(reason), "{value}");
            assert!(table(&[row]).contains("NOT MEASURED"));
        }
    }
}
