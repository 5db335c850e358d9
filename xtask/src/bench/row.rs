//! A measured row, and how rows are printed.

use serde_json::{Value, json};

/// What was measured.
#[derive(Debug, Clone)]
pub struct Row {
    pub name: &'static str,
    pub unit: &'static str,
    /// `higher` or `lower`.
    pub better: &'static str,
    pub ours: f64,
    pub peer: Option<f64>,
    pub peer_name: &'static str,
    pub goal: Option<f64>,
    /// `ours` or `ratio`.
    pub goal_on: &'static str,
}

impl Row {
    /// Ours divided by the peer's.
    pub fn ratio(&self) -> Option<f64> {
        self.peer
            .filter(|peer| *peer != 0.0)
            .map(|peer| self.ours / peer)
    }

    /// Whether the goal is met; none when there is no goal.
    pub fn met(&self) -> Option<bool> {
        let goal = self.goal?;
        let figure = if self.goal_on == "ratio" {
            self.ratio()?
        } else {
            self.ours
        };
        Some(if self.better == "higher" {
            figure >= goal
        } else {
            figure <= goal
        })
    }
}

pub fn json(name: &str, rows: &[Row]) -> Value {
    let rows: Vec<Value> = rows
        .iter()
        .map(|row| {
            json!({
                "name": row.name, "unit": row.unit, "better": row.better, "ours": row.ours,
                "peer": row.peer, "peer_name": row.peer_name, "ratio": row.ratio(),
                "goal": row.goal, "goal_on": row.goal_on,
            })
        })
        .collect();
    json!({ "bench": name, "rows": rows })
}

pub fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:<28} {:>12} {:>12} {:>8}  {:<10} goal\n",
        "row", "ours", "peer", "ratio", "unit"
    );
    for row in rows {
        let number = |value: Option<f64>| value.map_or("-".to_owned(), short);
        let goal = match (row.goal, row.met()) {
            (Some(goal), Some(met)) => format!(
                "{} {} {} {}",
                row.goal_on,
                if row.better == "higher" { ">=" } else { "<=" },
                short(goal),
                if met { "met" } else { "MISSED" }
            ),
            _ => "-".to_owned(),
        };
        text += &format!(
            "{:<28} {:>12} {:>12} {:>8}  {:<10} {goal}{}\n",
            row.name,
            short(row.ours),
            number(row.peer),
            number(row.ratio()),
            row.unit,
            if row.peer_name.is_empty() {
                String::new()
            } else {
                format!("  (peer: {})", row.peer_name)
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

/// The middle of some figures.
pub fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    match figures.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => figures[n / 2],
        n => f64::midpoint(figures[n / 2 - 1], figures[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(better: &'static str, ours: f64, peer: f64, goal: f64, goal_on: &'static str) -> Row {
        Row {
            name: "x",
            unit: "",
            better,
            ours,
            peer: Some(peer),
            peer_name: "p",
            goal: Some(goal),
            goal_on,
        }
    }

    #[test]
    fn a_goal_can_be_met_and_missed_both_ways() {
        assert_eq!(row("higher", 80.0, 100.0, 0.8, "ratio").met(), Some(true));
        assert_eq!(row("higher", 79.0, 100.0, 0.8, "ratio").met(), Some(false));
        assert_eq!(row("lower", 3.0, 100.0, 0.0, "ours").met(), Some(false));
        assert_eq!(row("lower", 0.0, 100.0, 0.0, "ours").met(), Some(true));
    }

    #[test]
    fn the_median_is_the_middle() {
        assert!((median(&mut [3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(&mut [4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
    }
}
