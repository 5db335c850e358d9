//! The benches and their rows: what is measured, beside whom, and the goal. A row whose group has
//! no measurement is not measured, and the bench says so and ends with 2.

use std::path::Path;

use anyhow::Result;

use super::row::{Figure, Spec, at_most, beside};
use super::{back, clone, idle, kill, proxy, wasm};

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

pub const ALL: &[&Bench] = &[&MAIN, &FLEET];

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
        group(clone::ROWS, clone::measure),
    ],
};

const fn rps(name: &'static str, peer: &'static str) -> Spec {
    beside(name, "requests/s", "higher", peer, Some(1.0))
}

pub const FLEET: Bench = Bench {
    name: "fleet",
    groups: &[
        Group {
            rows: &[
                rps("rps_small_haproxy", "haproxy"),
                rps("rps_small_512_haproxy", "haproxy"),
                rps("rps_100k_haproxy", "haproxy"),
                rps("rps_close_haproxy", "haproxy"),
                rps("rps_small_nginx", "nginx"),
                rps("rps_small_512_nginx", "nginx"),
                rps("rps_100k_nginx", "nginx"),
                rps("rps_close_nginx", "nginx"),
                beside("p99_small_haproxy", "us", "lower", "haproxy", Some(1.0)),
            ],
            measure: None,
        },
        Group {
            rows: &[
                at_most("rolling_failed", "requests", "", 0.0),
                at_most("proxy_restart_refused", "connections", "", 0.0),
                at_most("upgrade_refused", "connections", "", 0.0),
                at_most("single_restart_failed", "requests", "", 0.0),
                at_most("longest_gap_ms", "ms", "", 10.0),
            ],
            measure: None,
        },
        Group {
            rows: &[
                at_most("hang_failed", "requests", "haproxy", 0.0),
                at_most("hang_longest_ms", "ms", "haproxy", 1000.0),
            ],
            measure: None,
        },
        Group {
            rows: &[
                at_most("restart_overhead_ms", "ms", "", 5.0),
                at_most("idle_instance_kib", "KiB", "", 256.0),
                beside("conn_10k_haproxy", "KiB", "lower", "haproxy", Some(1.5)),
                beside("instance_200_vs_2", "us", "lower", "2 instances", Some(1.2)),
            ],
            measure: None,
        },
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

    #[test]
    fn the_rows_of_the_main_bench_are_those_that_spec_lists() {
        let spec = include_str!("../../../SPEC.md");
        let section = spec.split("\n## Bench rows\n").nth(1).unwrap();
        let listed: Vec<&str> = section
            .lines()
            .filter_map(|line| Some(line.strip_prefix("- ")?.split_once(':')?.0))
            .collect();
        let rows: Vec<&str> = MAIN.rows().map(|row| row.name).collect();
        for row in &rows {
            assert!(listed.contains(row), "SPEC.md does not list {row}");
        }
        let all: Vec<&str> = ALL
            .iter()
            .flat_map(|bench| bench.rows())
            .map(|row| row.name)
            .collect();
        for row in listed {
            assert!(all.contains(&row), "there is no row {row}");
        }
    }
}
