//! `cargo xtask bench [NAME] [--json] [--with PATH]`: measures Grace beside its peers, in interleaved rounds on
//! the same machine in the same run, and prints medians. It judges nothing: goals are printed
//! beside the figures, met or not. `--seed N` draws the faults of `repair`.

mod back;
mod clone;
mod cost;
mod doors;
mod fleet;
mod hang;
mod idle;
mod kill;
mod load;
mod lossless;
mod mutate;
mod peer;
mod process;
mod proxy;
mod repair;
mod rounds;
mod row;
mod tables;
mod traffic;
mod wasm;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::build::{Progress, cargo_build, clock};
use crate::command::{cargo, target};
use crate::plugins;
use row::Row;
use tables::{ALL, Bench};

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
struct Asked<'a> {
    name: &'a str,
    json: bool,
    /// The binary to measure; none: a release build of this checkout.
    with: Option<PathBuf>,
}

fn asked(args: &[String]) -> Result<Asked<'_>> {
    let (mut name, mut json, mut with) = (None, false, None);
    let mut args = args.iter().map(String::as_str);
    while let Some(arg) = args.next() {
        match arg {
            "--json" => json = true,
            "--with" => {
                let path = PathBuf::from(args.next().context("--with takes a path to grace")?);
                let path = path.canonicalize();
                with = Some(path.context("--with: there is no such file")?);
            }
            "--seed" => {
                let seed = args.next().and_then(|seed| seed.parse().ok());
                let seed = seed.context("--seed takes a whole number")?;
                repair::SEED.store(seed, std::sync::atomic::Ordering::Relaxed);
            }
            _ if arg.starts_with('-') => {
                bail!("bench takes --json, --seed N and --with PATH, not {arg}")
            }
            _ if name.is_some() => bail!("bench takes one name: of a bench, or of a row"),
            _ => name = Some(arg),
        }
    }
    let name = name.unwrap_or("main");
    Ok(Asked { name, json, with })
}

pub fn run(args: &[String]) -> Result<ExitCode> {
    let asked = asked(args)?;
    let (bench, only) = find(ALL, asked.name)?;
    let grace = asked.with.map_or_else(build, Ok)?;
    let begun = Instant::now();
    let rows = measure(bench, only, &grace);
    if asked.json {
        println!("{}", row::json(asked.name, &rows));
    } else {
        print!("{}", row::table(&rows));
    }
    eprintln!("measured in {}", clock(begun.elapsed()));
    Ok(ExitCode::from(verdict(&rows, &mut |line| {
        eprintln!("{line}")
    })))
}

/// The release build of everything that is measured.
fn build() -> Result<PathBuf> {
    let mut progress = Progress::new();
    plugins::build(&mut progress)?;
    let mut command = cargo();
    command.args(["build", "--release", "--package", "grace", "--bin", "grace"]);
    cargo_build(&mut progress, "grace (release)", command)?;
    Ok(target().join("release/grace"))
}

/// The bench of this name, or the one that has the row of this name, and then that row alone.
fn find<'a>(benches: &[&'a Bench], name: &'a str) -> Result<(&'a Bench, Option<&'a str>)> {
    if let Some(bench) = benches.iter().find(|bench| bench.name == name) {
        return Ok((bench, None));
    }
    match benches
        .iter()
        .find(|bench| bench.rows().any(|row| row.name == name))
    {
        Some(bench) => Ok((bench, Some(name))),
        None => {
            let names: Vec<&str> = benches.iter().map(|bench| bench.name).collect();
            bail!(
                "there is no bench and no row {name:?}; the benches are {}",
                names.join(", ")
            )
        }
    }
}

/// Every row of the bench, or the one that is wanted: measured, or with the reason why not.
fn measure(bench: &Bench, only: Option<&str>, grace: &Path) -> Vec<Row> {
    let mut rows = Vec::new();
    for group in bench.groups {
        let wanted: Vec<_> = group
            .rows
            .iter()
            .filter(|spec| only.is_none_or(|name| spec.name == name))
            .collect();
        if wanted.is_empty() {
            continue;
        }
        let names: Vec<&str> = wanted.iter().map(|spec| spec.name).collect();
        let measured = match group.measure {
            Some(measure) => {
                eprintln!("measuring {}", names.join(", "));
                let begun = Instant::now();
                let measured = measure(grace);
                eprintln!("{}: {}", names.join(", "), clock(begun.elapsed()));
                measured.map_err(|error| format!("{error:#}"))
            }
            None => Err("there is no measurement for it".to_owned()),
        };
        let measured = measured.as_deref().map_err(String::as_str);
        rows.extend(wanted.into_iter().map(|spec| Row::new(*spec, measured)));
    }
    rows
}

/// The exit code: 0 when every row was measured, goals met or not, else 2, naming each row.
fn verdict(rows: &[Row], say: &mut dyn FnMut(String)) -> u8 {
    let mut code = 0;
    for row in rows {
        if let Err(error) = &row.ours {
            say(format!(
                "error: {} was not measured: {error}",
                row.spec.name
            ));
            code = 2;
        }
    }
    code
}

#[cfg(test)]
mod tests {
    use super::row::{Figure, Spec, at_most, beside};
    use super::tables::Group;
    use super::*;

    const GOOD: &[Spec] = &[
        at_most("missed", "ms", "", 1.0),
        at_most("met", "ms", "", 9.0),
    ];
    const BAD: &[Spec] = &[
        beside("one", "us", "lower", "p", None),
        at_most("two", "us", "", 1.0),
    ];
    const LATER: &[Spec] = &[at_most("later", "us", "", 1.0)];

    const BENCH: Bench = Bench {
        name: "b",
        groups: &[
            Group {
                rows: BAD,
                measure: Some(|_| bail!("the peer does not start")),
            },
            Group {
                rows: GOOD,
                measure: Some(|_| Ok(GOOD.iter().map(|spec| Figure::alone(spec, 5.0)).collect())),
            },
            Group {
                rows: LATER,
                measure: None,
            },
        ],
    };

    fn judged(only: Option<&str>) -> (Vec<Row>, u8, Vec<String>) {
        let rows = measure(&BENCH, only, Path::new("grace"));
        let mut said = Vec::new();
        let code = verdict(&rows, &mut |line| said.push(line));
        (rows, code, said)
    }

    #[test]
    fn a_row_that_could_not_be_measured_is_named_in_json_and_words_and_costs_only_its_group() {
        let (rows, code, said) = judged(None);
        assert_eq!(code, 2);
        let json = row::json("b", &rows);
        let named: Vec<(&str, bool)> = json["rows"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| (row["name"].as_str().unwrap(), row["error"].is_string()))
            .collect();
        assert_eq!(
            named,
            [
                ("one", true),
                ("two", true),
                ("missed", false),
                ("met", false),
                ("later", true)
            ]
        );
        assert_eq!(said.len(), 3);
        assert!(
            said[0].contains("one") && said[0].contains("the peer does not start"),
            "{said:?}"
        );
        assert!(said[2].contains("later"), "{said:?}");
    }

    #[test]
    fn a_missed_goal_is_no_failure_and_a_single_row_is_measured_alone() {
        let (rows, code, said) = judged(Some("missed"));
        assert_eq!((rows.len(), code), (1, 0), "{said:?}");
        assert_eq!(rows[0].met(), Some(false));
        assert_eq!(judged(Some("later")).1, 2);
    }

    #[test]
    fn a_binary_may_be_given_and_anything_else_that_is_not_understood_is_an_error() {
        let words = |text: &str| -> Vec<String> { text.split(' ').map(str::to_owned).collect() };
        let all = words("fleet --json --with /bin/sh");
        let it = asked(&all).unwrap();
        assert_eq!((it.name, it.json), ("fleet", true));
        assert_eq!(it.with, Some(Path::new("/bin/sh").canonicalize().unwrap()));
        assert_eq!(asked(&[]).unwrap().name, "main");
        for bad in ["a b", "--jsn", "--with", "--with /no/such/grace"] {
            assert!(asked(&words(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_bench_and_a_row_are_found_by_name_and_anything_else_is_an_error() {
        assert_eq!(find(ALL, "main").unwrap().1, None);
        let (bench, row) = find(ALL, "hang_failed").unwrap();
        assert_eq!((bench.name, row), ("fleet", Some("hang_failed")));
        let error = find(ALL, "nonsense").err().unwrap().to_string();
        assert!(error.contains("main, fleet"), "{error}");
    }
}
