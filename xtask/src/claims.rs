//! `cargo xtask claims`: the README's table of claims, made from what `grace prove` proved here.
//! With `--check` nothing is written, and a table that differs is told.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::build::Progress;
use crate::command::root;
use crate::{demo, plugins};

const BEGIN: &str = "<!-- claims: made by `cargo xtask claims` -->\n";
const END: &str = "<!-- end of claims -->\n";

/// Writes the table, or with `--check` compares it.
pub fn run(args: &[String]) -> Result<ExitCode> {
    let check = match args {
        [] => false,
        [one] if one == "--check" => true,
        _ => bail!("`cargo xtask claims` takes --check and nothing else"),
    };
    let mut progress = Progress::new();
    plugins::build(&mut progress)?;
    let grace = demo::host(&mut progress)?;
    let wanted = table(&proved(&grace)?)?;
    let file = root().join("README.md");
    let text = fs::read_to_string(&file)?;
    let new = replaced(&text, &wanted)?;
    if new == text {
        println!("the README's claims are what was proved");
        return Ok(ExitCode::SUCCESS);
    }
    if check {
        println!(
            "the README's claims are not what was proved here, which is:\n\n{wanted}\n\
             `cargo xtask claims` writes it"
        );
        return Ok(ExitCode::from(1));
    }
    fs::write(&file, new)?;
    println!("README.md has the claims that were proved");
    Ok(ExitCode::SUCCESS)
}

/// What `grace prove` tells, whatever came of it.
fn proved(grace: &Path) -> Result<Value> {
    let output = Command::new(grace)
        .args(["prove", "--quick", "--json"])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {}", grace.display()))?;
    if !matches!(output.status.code(), Some(0 | 1 | 3)) {
        bail!("`grace prove --quick --json` ended with {}", output.status);
    }
    serde_json::from_slice(&output.stdout).context("`grace prove` printed no JSON document")
}

/// Id, claim and result, a row each.
fn table(report: &Value) -> Result<String> {
    let claims = report["claims"].as_array().context("no claims were told")?;
    let mut out = String::from("| id | claim | result |\n| --- | --- | --- |\n");
    for row in claims {
        let word = |key: &str| {
            let text = row[key].as_str();
            text.with_context(|| format!("a claim has no {key}: {row}"))
        };
        let result = match (word("result")?, row["missing"].as_str()) {
            ("not-possible-here", Some(missing)) => format!("not-possible-here: {missing}"),
            (result, _) => result.to_owned(),
        };
        out += &format!("| `{}` | {} | {result} |\n", word("id")?, word("claim")?);
    }
    Ok(out)
}

/// The text with this table in the place of the one that is there.
fn replaced(text: &str, table: &str) -> Result<String> {
    let found = text
        .split_once(BEGIN)
        .and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let Some((before, after)) = found else {
        bail!("README.md has no place for the claims: a line {BEGIN:?} and a line {END:?}");
    };
    Ok(format!("{before}{BEGIN}{table}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_table_of_claims_is_put_in_its_place_and_nothing_else_changes() {
        let report = json!({ "claims": [
            { "id": "a", "claim": "It is so", "result": "proven", "missing": null },
            { "id": "b", "claim": "It is there", "result": "not-possible-here", "missing": "landlock" },
        ]});
        let table = table(&report).unwrap();
        assert!(table.contains("| `a` | It is so | proven |\n"), "{table}");
        assert!(table.contains("| not-possible-here: landlock |"), "{table}");
        let text = format!("# One\n{BEGIN}old\n{END}two\n");
        let new = replaced(&text, &table).unwrap();
        assert_eq!(new, format!("# One\n{BEGIN}{table}{END}two\n"));
        assert_eq!(replaced(&new, &table).unwrap(), new);
        assert!(replaced("# One\n", &table).is_err());
        assert!(super::table(&json!({})).is_err());
        assert!(super::table(&json!({ "claims": [{ "id": "a" }] })).is_err());
    }
}
