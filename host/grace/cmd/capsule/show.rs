//! Capsules as people and programs see them: never with a secret.

use std::process::ExitCode;

use grace_capsule::{Capsule, Entry, Request};
use serde_json::{Value, json};

use super::Shelf;
use crate::problem::{Outcome, Problem};
use crate::show::{self, Table};

/// All of them in short.
pub fn list(shelf: &Shelf, as_json: bool) -> Outcome {
    let (good, bad) = shelf.store.list();
    let unreadable: Vec<Value> = bad
        .iter()
        .map(|it| json!({ "path": it.path, "error": it.error.to_string() }))
        .collect();
    let capsules: Vec<Value> = good.iter().map(short).collect();
    for one in &bad {
        show::note(&format!(
            "{}: {}",
            show::paint(show::BAD, "unreadable"),
            one.error
        ));
    }
    show::either(
        as_json,
        &json!({ "capsules": capsules, "unreadable": unreadable }),
        || {
            let mut table = Table::new(
                [
                    "CAPSULE", "KIND", "INSTANCE", "ENDED", "REQUESTS", "SUSPECTS", "FORM", "MADE",
                ],
                "no capsule",
            );
            for it in &good {
                table.row([
                    it.id.name(),
                    it.capsule.kind.word().to_owned(),
                    it.capsule.instance.to_string(),
                    ended(&it.capsule),
                    it.capsule.requests.len().to_string(),
                    suspects(&it.capsule).to_string(),
                    form(&it.capsule),
                    show::moment(it.capsule.made_at),
                ]);
            }
            table
        },
    )
}

/// One in full.
pub fn one(shelf: &Shelf, name: &str, as_json: bool) -> Outcome {
    let entry = shelf.load(name)?;
    let view = shelf.view(&entry)?;
    if as_json {
        let mut value = serde_json::to_value(&view)
            .map_err(|error| Problem::new(format!("cannot write JSON: {error}"), ""))?;
        if let Some(map) = value.as_object_mut() {
            map.insert("id".to_owned(), entry.id.name().into());
            map.insert("stored".to_owned(), json!(entry.capsule.form));
        }
        show::document(&value)?;
        return Ok(ExitCode::SUCCESS);
    }
    for line in told(&entry, &view) {
        show::line(&line);
    }
    Ok(ExitCode::SUCCESS)
}

fn short(entry: &Entry) -> Value {
    let it = &entry.capsule;
    json!({
        "id": entry.id.name(),
        "kind": it.kind,
        "service": it.service,
        "instance": it.instance,
        "generation": it.generation,
        "exit": it.exit,
        "made_at": it.made_at,
        "requests": it.requests.len(),
        "suspects": suspects(it),
        "form": it.form,
        "made_from": it.made_from,
        "minimised": it.minimised,
        "bytes": entry.bytes,
        "path": entry.path,
    })
}

fn told(entry: &Entry, view: &Capsule) -> Vec<String> {
    let mut lines = vec![
        format!(
            "{}: {} of {} (process {}), {}",
            show::paint(show::BOLD, &entry.id.name()),
            view.kind.word(),
            view.instance,
            view.generation,
            ended(view)
        ),
        format!(
            "  made      {}, {}",
            show::moment(view.made_at),
            form(&entry.capsule)
        ),
        format!(
            "  program   {} {}",
            view.build.program,
            part(&view.build.program_hash)
        ),
        format!("  command   {}", view.build.command.join(" ")),
        format!("  config    {}", part(&view.build.config_hash)),
        format!(
            "  host      {} Linux {}, {} processors, grace {}",
            view.host.arch, view.host.kernel, view.host.cpus, view.host.grace
        ),
        format!("  snapshot  {}", snapshot(view)),
        format!("  recorder  {}", coverage(view)),
    ];
    for (name, value) in &view.env {
        lines.push(format!("  env       {name}={value}"));
    }
    if let Some(it) = &view.minimised {
        lines.push(format!(
            "  minimised {} requests before, {} runs in {} ms{}",
            it.requests_before,
            it.runs,
            it.took_ms,
            if it.complete {
                ""
            } else {
                "; ended before it was done"
            }
        ));
    }
    lines.push(format!("  requests  {}, oldest first", view.requests.len()));
    lines.extend(view.requests.iter().map(request));
    if !view.output.is_empty() {
        lines.push("  output".to_owned());
        lines.extend(view.output.lines().map(|line| format!("    {line}")));
    }
    lines
}

fn request(it: &Request) -> String {
    let outcome = match &it.answer {
        Some(answer) => format!("{} after {} us", answer.status, answer.after_us),
        None => "no answer".to_owned(),
    };
    let mark = if it.suspect {
        show::paint(show::BAD, "suspect")
    } else {
        "       ".to_owned()
    };
    let body = match (it.body.text(), it.body_bytes) {
        (_, 0) => String::new(),
        (Some(text), _) if text.len() <= 120 => format!("  {text}"),
        (_, bytes) => format!("  {bytes} bytes"),
    };
    let ms = it.at_us / 1_000;
    format!(
        "    {ms:>8} ms {mark} {} {} ({outcome}){body}",
        it.method, it.target
    )
}

pub fn ended(capsule: &Capsule) -> String {
    match &capsule.exit {
        Some(exit) => format!("{} after {} ms", exit.cause.text(), exit.uptime_ms),
        None => "-".to_owned(),
    }
}

fn suspects(capsule: &Capsule) -> usize {
    capsule.requests.iter().filter(|it| it.suspect).count()
}

fn form(capsule: &Capsule) -> String {
    match capsule.form {
        grace_capsule::Form::Raw => "raw".to_owned(),
        grace_capsule::Form::Redacted => "redacted".to_owned(),
    }
}

fn part(hash: &str) -> &str {
    hash.get(..16).unwrap_or("unknown")
}

fn snapshot(view: &Capsule) -> String {
    match &view.snapshot {
        None => "none".to_owned(),
        Some(it) => format!(
            "{}, {} files, {} bytes, copied in {} us{}",
            it.id,
            it.files,
            it.bytes,
            it.took_us,
            if it.while_running {
                " while the instance ran"
            } else {
                ""
            }
        ),
    }
}

fn coverage(view: &Capsule) -> String {
    let it = &view.coverage;
    let mut words = vec![format!("ran {} s", it.recorder_ms / 1_000)];
    for (count, what) in [
        (it.evicted, "gone for newer ones"),
        (it.no_room, "without room"),
        (it.left_out, "left out of the capsule"),
        (
            it.unrecorded_in_flight,
            "in flight on routes that are not recorded",
        ),
        (
            u64::from(it.silent_threads),
            "threads of the proxy did not answer",
        ),
    ] {
        if count > 0 {
            words.push(format!("{count} {what}"));
        }
    }
    words.join(", ")
}
