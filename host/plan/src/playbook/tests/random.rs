//! Nothing that can be in a file makes the reader panic.

use std::path::Path;

use proptest::prelude::*;

use super::catalogue::known;
use crate::playbook::{explain, load, render, template};

/// Everything that is done with a file, as far as it goes.
fn exercise(text: &str) {
    let known = known();
    let loaded = load(text, "p.yaml", &known.catalogue());
    for fault in &loaded.diagnostics {
        let rendered = render(fault, text, true);
        assert!(rendered.contains("p.yaml"));
        assert!(!fault.message.is_empty());
    }
    match loaded.playbook {
        Some(playbook) => assert!(!explain(&playbook).is_empty()),
        None => assert!(
            !loaded.diagnostics.is_empty(),
            "refused without a reason: {text:?}"
        ),
    }
}

#[test]
fn every_file_of_the_corpus_is_read_or_refused_with_a_reason() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/playbook");
    let mut seen = 0;
    for entry in std::fs::read_dir(corpus).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        exercise(&String::from_utf8_lossy(&bytes));
        seen += 1;
    }
    assert!(seen >= 20, "{seen} files");
}

fn pieces() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "id: p\n",
        "version: 1\n",
        "description: d\n",
        "triggers:",
        " [{ finding: x }]\n",
        "steps:\n",
        "  - id: a\n",
        "    action: fleet.restart\n",
        "    params:",
        " { target: ",
        "\"${finding.target}\"",
        " }\n",
        "verify:\n",
        "branches:\n",
        "  critical:\n",
        "if: ",
        "a.changed",
        "undo: ",
        "auto",
        "on_failure: ",
        "[{ rollback: all }]\n",
        "&a ",
        "*a",
        "!!int ",
        "? ",
        "- ",
        ": ",
        "|\n",
        ">\n",
        "{",
        "}",
        "[",
        "]",
        "\n",
        "  ",
        "\t",
        "#",
        "'",
        "\"",
        "${",
        "\u{0}",
        "ü",
        "---\n",
        "...",
        "<<: ",
        "1.5",
        "0x1f",
        "~",
        "null",
        "true",
        "5s",
        "timeout: ",
        "\r\n",
        "%YAML 1.2\n",
        "@",
        "`",
    ]);
    prop::collection::vec(words, 0..60).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        exercise(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn no_pieces_of_playbooks_make_the_reader_panic(text in pieces()) {
        exercise(&text);
    }

    #[test]
    fn no_change_of_a_good_playbook_makes_the_reader_panic(
        place in any::<prop::sample::Index>(),
        cut in 0..12_usize,
        put in "\\PC{0,6}",
    ) {
        let good = include_str!("../../../../../playbooks/config-corrupt.yaml");
        let places: Vec<usize> = good.char_indices().map(|(place, _)| place).collect();
        let from = *place.get(&places);
        let to = places.iter().copied().find(|to| *to >= from + cut).unwrap_or(good.len());
        exercise(&format!("{}{put}{}", &good[..from], &good[to..]));
    }

    #[test]
    fn no_text_makes_a_template_panic(text in "(\\$|\\{|\\}|[a-z.]|\\PC){0,40}") {
        let _ = template::parse(&text);
    }
}
