//! The report as one page for a browser that needs nothing else: no script, no file, no network.

use std::fmt::Write;

use crate::report::{Control, Report, Row, Verdict};
use crate::table;

const STYLE: &str = "\
:root { color-scheme: light dark; --ink: #1d2433; --soft: #5c667a; --line: #e2e6ee; --page: #f6f7fa;
  --card: #ffffff; --good: #14804a; --goodbg: #e3f5eb; --bad: #b3261e; --badbg: #fce8e6; --less: #8a6100; --lessbg: #fdf2d6; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9f0; --soft: #9aa5ba; --line: #2c3444; --page: #12161f;
  --card: #1a202c; --good: #5fd39a; --goodbg: #143526; --bad: #ff8f86; --badbg: #43191a; --less: #f0c661; --lessbg: #3b2f10; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1.75rem; margin: 0 0 .25rem; letter-spacing: -.01em; }
.lead { color: var(--soft); margin: 0 0 1.75rem; max-width: 44rem; }
.sum { display: grid; grid-template-columns: repeat(3, 1fr); gap: .75rem; margin-bottom: 1.75rem; }
.sum div { background: var(--card); border: 1px solid var(--line); border-radius: .75rem; padding: .9rem 1.1rem; color: var(--soft); }
.sum b { display: block; font-size: 1.9rem; line-height: 1.15; color: var(--ink); font-variant-numeric: tabular-nums; }
.sum .proven b { color: var(--good); } .sum .not-proven b { color: var(--bad); } .sum .not-possible-here b { color: var(--less); }
article { background: var(--card); border: 1px solid var(--line); border-radius: .75rem; padding: 1.1rem 1.25rem; margin-bottom: .75rem; }
header { display: flex; gap: .75rem; align-items: baseline; flex-wrap: wrap; }
code { font: .85rem ui-monospace, monospace; color: var(--soft); }
.ms { margin-left: auto; color: var(--soft); font-size: .85rem; font-variant-numeric: tabular-nums; }
.mark { border-radius: 1rem; padding: .1rem .65rem; font-size: .8rem; font-weight: 600; }
.proven .mark { color: var(--good); background: var(--goodbg); } .not-proven .mark { color: var(--bad); background: var(--badbg); }
.not-possible-here .mark { color: var(--less); background: var(--lessbg); }
h2 { font-size: 1.05rem; font-weight: 600; margin: .5rem 0 .25rem; }
.why { margin: .25rem 0; color: var(--bad); } .not-possible-here .why { color: var(--less); }
.two { display: grid; grid-template-columns: 1fr 1fr; gap: 1.5rem; margin-top: .5rem; }
@media (max-width: 42rem) { .two { grid-template-columns: 1fr; gap: .25rem; } }
h3 { font-size: .8rem; font-weight: 600; color: var(--soft); margin: .5rem 0 .15rem; }
ul { margin: 0; padding-left: 1.1rem; font-size: .92rem; } li { margin: .15rem 0; overflow-wrap: anywhere; }
footer { color: var(--soft); font-size: .9rem; margin-top: 2rem; }
";

/// The page.
pub fn page(report: &Report) -> String {
    let mut out = String::new();
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Grace: {sum}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <h1>What Grace proves of itself</h1>\n\
         <p class=\"lead\">Each claim was tried on this machine, and judged from outside: process table, \
         sockets, bytes on disk and a client of its own. Each was tried again with the property broken, \
         which must fail; where it does not, the proof says nothing.</p>\n",
        sum = table::sum(report),
    );
    out.push_str("<div class=\"sum\">\n");
    for (verdict, label) in [
        (Verdict::Proven, "proven"),
        (Verdict::NotProven, "not proven"),
        (Verdict::NotPossibleHere, "not possible here"),
    ] {
        let rows = report.claims.iter();
        let count = rows.filter(|row| row.result == verdict).count();
        let class = verdict.word();
        let _ = writeln!(out, "<div class=\"{class}\"><b>{count}</b>{label}</div>");
    }
    out.push_str("</div>\n");
    for row in &report.claims {
        article(&mut out, row);
    }
    out.push_str(
        "<footer>Made by <code>grace prove --html FILE</code>. What is not listed is not claimed.</footer>\n\
         </main>\n</body>\n</html>\n",
    );
    out
}

fn article(out: &mut String, row: &Row) {
    let _ = write!(
        out,
        "<article class=\"{class}\" id=\"{id}\">\n<header><span class=\"mark\">{word}</span>\
         <code>{id}</code><span class=\"ms\">{seconds:.1} s</span></header>\n<h2>{claim}</h2>\n",
        class = row.result.word(),
        word = row.result.word().replace('-', " "),
        id = escaped(&row.id),
        seconds = row.ms as f64 / 1_000.0,
        claim = escaped(&row.claim),
    );
    if let Some(reason) = &row.reason {
        let _ = writeln!(out, "<p class=\"why\">{}</p>", escaped(reason));
    }
    let (control, proof): (Vec<&str>, Vec<&str>) = row
        .evidence
        .iter()
        .map(String::as_str)
        .partition(|line| line.starts_with("control: "));
    if !row.evidence.is_empty() {
        out.push_str("<div class=\"two\">\n");
        list(out, "Seen", &proof);
        let head = match row.control {
            Some(Control::FailedAsItMust) => "Control: failed, as it must",
            Some(Control::Passed) => "Control: passed, which it must not",
            None => "Control: not made",
        };
        list(out, head, &control);
        out.push_str("</div>\n");
    }
    out.push_str("</article>\n");
}

fn list(out: &mut String, head: &str, lines: &[&str]) {
    let _ = writeln!(out, "<section><h3>{head}</h3>\n<ul>");
    for line in lines {
        let line = line.strip_prefix("control: ").unwrap_or(line);
        let _ = writeln!(out, "<li>{}</li>", escaped(line));
    }
    out.push_str("</ul></section>\n");
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            other => out.push(other),
        }
    }
    out
}
