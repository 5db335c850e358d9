//! The benches and their rows: what is measured, beside whom, and the goal. A row whose group has
//! no measurement is not measured, and the bench says so and ends with 2.

use std::path::Path;

use anyhow::Result;

use super::row::{Figure, Spec};
use super::{back, clone, cost, doors, hang, idle, kill, lossless, proxy, repair, traffic, wasm};

/// Measures the rows of a group with the given `grace`.
pub type Measure = fn(&Path) -> Result<Vec<Figure>>;

/// Rows that are measured together.
pub struct Group {
    pub rows: &'static [Spec],
    pub measure: Option<Measure>,
}

pub struct Bench {
    pub name: &'static str,
    pub groups: &'static [Group],
}

impl Bench {
    pub fn rows(&self) -> impl Iterator<Item = &Spec> {
        self.groups.iter().flat_map(|group| group.rows)
    }
}

pub const ALL: &[&Bench] = &[&MAIN, &FLEET, &REPAIR];

const fn group(rows: &'static [Spec], measure: Measure) -> Group {
    Group {
        rows,
        measure: Some(measure),
    }
}

pub const MAIN: Bench = Bench {
    name: "main",
    groups: &[
        group(proxy::ROWS, proxy::measure),
        group(kill::RESTART_ROWS, kill::restart),
        group(kill::LOAD_ROWS, kill::under_load),
        group(back::ROWS, back::measure),
        group(wasm::ROWS, wasm::measure),
        group(idle::ROWS, idle::measure),
        group(clone::DEMO_ROWS, clone::demo),
        group(clone::ROWS, clone::measure),
    ],
};

pub const REPAIR: Bench = Bench {
    name: "repair",
    groups: &[
        group(repair::SEARCH_ROWS, repair::measure),
        group(repair::GUARD_ROWS, repair::guards),
        group(repair::QUEUE_ROWS, repair::queue),
    ],
};

pub const FLEET: Bench = Bench {
    name: "fleet",
    groups: &[
        group(traffic::ROWS, traffic::measure),
        group(lossless::ROLLING_ROWS, lossless::rolling),
        group(doors::PROXY_ROWS, doors::proxy),
        group(doors::UPGRADE_ROWS, doors::upgrade),
        group(lossless::SINGLE_ROWS, lossless::single),
        group(lossless::GAP_ROWS, lossless::gap),
        group(hang::ROWS, hang::measure),
        group(cost::RESTART_ROWS, cost::restart),
        group(cost::INSTANCE_ROWS, cost::idle_instance),
        group(cost::CONNECTION_ROWS, cost::connections),
        group(cost::MANY_ROWS, cost::many),
    ],
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_row_has_one_name_and_a_goal_that_can_be_judged() {
        let mut names = BTreeSet::new();
        for row in ALL.iter().flat_map(|bench| bench.rows()) {
            assert!(names.insert(row.name), "{} is there twice", row.name);
            assert!(matches!(row.better, "higher" | "lower"), "{row:?}");
            assert!(
                row.goal_on == "ours" || !row.peer_name.is_empty(),
                "a ratio to nobody: {row:?}"
            );
        }
        assert!(!names.contains("main") && !names.contains("fleet"));
    }

    /// The rows that a section of SPEC.md lists.
    fn listed(section: &str) -> Vec<&'static str> {
        let spec = include_str!("../../../SPEC.md");
        let text = spec.split(section).nth(1).unwrap();
        let text = text.split("\n## ").next().unwrap();
        text.lines()
            .filter_map(|line| Some(line.strip_prefix("- ")?.split_once(':')?.0))
            .collect()
    }

    #[test]
    fn the_rows_of_the_main_bench_are_those_that_spec_lists() {
        let rows: Vec<&str> = MAIN.rows().map(|row| row.name).collect();
        assert_eq!(rows, listed("\n## Bench rows\n"));
    }

    #[test]
    fn the_rows_of_bench_fleet_are_those_that_spec_lists() {
        let rows: Vec<&str> = FLEET.rows().map(|row| row.name).collect();
        assert_eq!(rows, listed("\n## Bench rows of the fleet\n"));
    }
}
