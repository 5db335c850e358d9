//! What is written and not filled in, values out of their range in every table, and what no
//! change of a good file may do to the reader.

use super::tests::{Place, SHOP};
use super::*;

#[test]
fn what_nobody_fills_in_is_an_error_that_says_so() {
    let place = Place::new();
    for (text, what) in [
        ("env = { HOME_DIR = \"~/x\" }", "~ is not filled in"),
        ("env = { PORT = 80 }", "set by Grace"),
        ("env = { AT = \"{prot}\" }", "did you mean {port}?"),
        ("dir = \"$HOME/x\"", "nor a variable"),
        ("[[service.config]]\npath = \"~/x\"", "write the whole path"),
        (
            "[[service.config]]\npath = \"{date}/x\"",
            "did you mean {data}?",
        ),
        (
            "[[service.config]]\npath = \"a/{data}/x\"",
            "at the beginning",
        ),
        ("[[service.config]]\npath = \"{data}\"", "at the beginning"),
        (
            "[[service.config]]\npath = \"{data}/x\"\nseed = \"$S\"",
            "nor a variable",
        ),
        (
            "[[service.config]]\npath = \"x\"\n[[service.config]]\npath = \"x\"",
            "declared twice",
        ),
        ("[plugins]\ndir = \"~/p\"", "write the whole path"),
        ("[healing]\ndir = \"${D}\"", "write the whole path"),
        ("[notify.a]\nfile = \"~/p\"", "write the whole path"),
        ("[notify.a]\nfile = \"nowhere/p\"", "there is no directory"),
    ] {
        let said = place.bad_line(text);
        assert!(said.contains(what), "{text}: {said}");
    }
    let said = place.bad(&format!("state = \"~/s\"\n{SHOP}"));
    assert!(said.starts_with("grace.toml:1:9:"), "{said}");
    let said = place.bad("[[service]]\nname = \"a\"\ncommand = \"./shop --port {prot}\"\n");
    assert!(said.contains("did you mean {port}?"), "{said}");
    // A program's own braces and dollars are its own.
    place.good("[[service]]\nname = \"a\"\ncommand = [\"sh\", \"-c\", \"echo ${X} {} {a,b}\"]\n");
}

#[test]
fn values_out_of_their_range_are_errors_in_every_table() {
    let place = Place::new();
    for (text, what) in [
        ("restart = { window = \"0s\" }", "cannot be 0"),
        ("stop_timeout = \"4000d\"", "too long"),
        ("[proxy]\nanswer_timeout = \"0s\"", "cannot be 0"),
        ("[proxy]\nhedge = \"0ms\"", "cannot be 0"),
        ("[proxy]\nretry_body = \"1GiB\"", "at most"),
        ("[proxy]\nretry_percent = 101", "0 to 100"),
        ("[proxy]\nthreads = 0", "1 to 64"),
        ("[healing]\nquiet = \"0s\"", "cannot be 0"),
        ("[healing]\nescalate = \"0s\"", "cannot be 0"),
        ("[healing]\nescalat = \"1s\"", "did you mean `escalate`?"),
        ("[ledger]\nkeep = \"0s\"", "cannot be 0"),
        ("[ledger]\nmax_size = \"1KiB\"", "at least"),
        ("[ledger]\nmax_sise = \"1GiB\"", "did you mean `max_size`?"),
        ("[plugins]\nstrikes = 0", "1 to 1000"),
    ] {
        let said = place.bad_line(text);
        assert!(said.contains(what), "{text}: {said}");
        assert!(said.starts_with("grace.toml:"), "{text}: {said}");
    }
    let config = place.good(&format!(
        "{SHOP}[healing]\nquiet = \"5s\"\nescalate = \"1m\"\n[ledger]\nkeep = \"7d\"\nmax_size = \"2MiB\"\n"
    ));
    let healing = config.healing;
    assert_eq!((healing.quiet_ms, healing.escalate_ms), (5_000, 60_000));
    assert_eq!(
        (healing.ledger_keep_ms, healing.ledger_max_bytes),
        (7 * 86_400_000, 2 << 20)
    );
}

/// Deterministic and short, so that it runs with every test.
#[test]
fn no_change_of_the_example_makes_the_reader_panic_and_each_fault_has_a_place() {
    let place = Place::new();
    let words = [
        "=",
        "\"",
        "[[",
        "]]",
        "{",
        "}",
        "0",
        "-1",
        "99999999999999999999",
        "\"0s\"",
        "true",
        "ü",
        "\n",
        "[service]",
        "{data}",
        "nan",
        "1979-05-27",
        "\\u0000",
        "#",
        ",",
        ".",
    ];
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % u64::try_from(below.max(1)).unwrap()).unwrap()
    };
    let whole: String = EXAMPLE
        .lines()
        .filter(|line| !line.starts_with("##"))
        .map(|line| format!("{}\n", line.strip_prefix("# ").unwrap_or(line)))
        .collect();
    for round in 0..2_000 {
        let mut chars: Vec<char> = whole.chars().collect();
        for _ in 0..=next(4) {
            let at = next(chars.len());
            let to = (at + next(12)).min(chars.len());
            let word = words[next(words.len())];
            chars.splice(at..to, word.chars());
        }
        let text: String = chars.into_iter().collect();
        if let Err(faults) = parse(&text, place.dir(), &place.around()) {
            assert!(!faults.is_empty(), "round {round}");
            for fault in &faults {
                assert!(!fault.what.is_empty(), "round {round}");
                assert!(fault.span.start <= text.len(), "round {round}: {fault:?}");
            }
            assert!(place.shown(&text, faults).contains(" | "), "round {round}");
        }
    }
}
