//! `cargo xtask bench [NAME] [--json]`: measures Grace beside its peers, in interleaved rounds on
//! the same machine in the same run, and prints medians. It judges nothing: goals are printed
//! beside the figures, met or not.

mod clone;
mod fleet;
mod idle;
mod kill;
mod peer;
mod proxy;
mod row;
mod wasm;

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::build::{Progress, cargo_build};
use crate::command::{cargo, target};
use crate::plugins;
use row::Row;

pub fn run(args: &[String]) -> Result<ExitCode> {
    let json = args.iter().any(|arg| arg == "--json");
    let names: Vec<&str> = args
        .iter()
        .map(String::as_str)
        .filter(|arg| *arg != "--json")
        .collect();
    let name = match names.as_slice() {
        [] => "main",
        [name] => name,
        _ => bail!("bench takes one name: main, or a row of it"),
    };
    let mut progress = Progress::new();
    plugins::build(&mut progress)?;
    let mut command = cargo();
    command.args(["build", "--release", "--package", "grace", "--bin", "grace"]);
    cargo_build(&mut progress, "grace (release)", command)?;
    let grace = target().join("release/grace");

    let wanted = |group: &[&str]| name == "main" || group.contains(&name);
    let mut rows: Vec<Row> = Vec::new();
    let mut failed: Vec<String> = Vec::new();
    let mut take = |group: &[&str], measure: &dyn Fn() -> Result<Vec<Row>>| {
        if !wanted(group) {
            return;
        }
        eprintln!("measuring {}", group.join(", "));
        match measure() {
            Ok(found) => rows.extend(
                found
                    .into_iter()
                    .filter(|row| name == "main" || row.name == name),
            ),
            Err(error) => failed.push(format!("{}: {error:#}", group.join(", "))),
        }
    };
    take(proxy::ROWS, &|| proxy::measure(&grace));
    take(kill::RESTART_ROWS, &|| kill::restart(&grace));
    take(kill::LOAD_ROWS, &|| kill::under_load(&grace));
    take(wasm::ROWS, &wasm::measure);
    take(idle::ROWS, &|| idle::measure(&grace));
    take(clone::ROWS, &clone::measure);
    if rows.is_empty() && failed.is_empty() {
        bail!("there is no bench {name:?}; leave the name out for all rows");
    }
    if json {
        println!("{}", row::json(name, &rows));
    } else {
        print!("{}", row::table(&rows));
    }
    for failure in &failed {
        eprintln!("error: not measured: {failure}");
    }
    Ok(if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(2)
    })
}
