//! Bytes that a file may hold: kept ones, and changes of good ones. Each ends as live or as
//! refused with file, cause and remedy, and none makes the host fall. The changes follow from
//! their number alone, so a failure can be made again.

use std::path::Path;

use grace_model::port::PluginHost;
use grace_model::status::{PluginState, PluginView};
use grace_wasm::inspect;

use crate::guests::{SLEEP, action, finder, quiet, stranger};
use crate::world::{ACTION, DETECTOR, Yard, view};

/// Numbers that look random and follow from the first (xorshift, Marsaglia 2003).
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let sides = u64::try_from(sides.max(1)).expect("fits");
        usize::try_from(self.0 % sides).expect("fits")
    }
}

/// A change: a cut, a flipped bit, a byte put in, a piece taken out or said twice.
fn changed(good: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = good.to_vec();
    let at = dice.throw(bytes.len());
    match dice.throw(6) {
        0 => bytes.truncate(at),
        1 | 2 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << dice.throw(8);
            }
        }
        3 => bytes.insert(at, u8::try_from(dice.throw(256)).expect("a byte")),
        4 => {
            let to = (at + dice.throw(64)).min(bytes.len());
            bytes.drain(at..to);
        }
        _ => {
            let to = (at + dice.throw(64)).min(bytes.len());
            let piece = bytes[at..to].to_vec();
            bytes.splice(at..at, piece);
        }
    }
    bytes
}

/// Live, or refused for a reason that names one of its files and what to do.
fn judged(view: &PluginView, what: &str) {
    match (view.state, &view.error) {
        (PluginState::Live, None) => {}
        (PluginState::Refused | PluginState::WaitingForGrant, Some(error)) => {
            assert!(
                error.contains(&format!("{}.wasm", view.name))
                    || error.contains(&format!("{}.toml", view.name)),
                "{what}: no file in {error:?}"
            );
            assert!(error.contains("; "), "{what}: no remedy in {error:?}");
            assert!(
                !error.contains("the host itself failed"),
                "{what}: the host fell: {error}"
            );
        }
        other => panic!("{what}: {other:?}"),
    }
}

fn corpus(kind: &str) -> Vec<(String, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(kind);
    let entries = std::fs::read_dir(dir).expect("the corpus is there");
    let mut files: Vec<(String, Vec<u8>)> = entries
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let name = path.file_stem().expect("a name").to_string_lossy();
            (name.into_owned(), std::fs::read(&path).expect("read"))
        })
        .collect();
    files.sort();
    files
}

#[test]
fn every_manifest_of_the_corpus_is_taken_or_refused_with_file_cause_and_remedy() {
    let yard = Yard::new();
    let files = corpus("manifest");
    assert!(files.len() >= 25, "{} files", files.len());
    for (name, bytes) in &files {
        std::fs::write(yard.file(&format!("{name}.wasm")), quiet(1)).expect("written");
        std::fs::write(yard.file(&format!("{name}.toml")), bytes).expect("written");
    }
    let registry = yard.start();
    assert_eq!(registry.list().len(), files.len());
    for (name, _) in &files {
        judged(&view(&registry, name), name);
    }
    for good in ["least", "bom", "crlf", "dotted", "long-line", "nul"] {
        let view = view(&registry, good);
        assert_eq!(view.state, PluginState::Live, "{good}: {:?}", view.error);
    }
}

#[test]
fn no_change_of_a_good_manifest_makes_the_host_fall() {
    let yard = Yard::new();
    yard.put("it", &quiet(1), DETECTOR);
    let files = corpus("manifest");
    let mut dice = Dice(0x0067_7261_6365);
    for turn in 0..1_500 {
        let (name, good) = &files[dice.throw(files.len())];
        let mut bytes = changed(good, &mut dice);
        bytes.truncate(4 << 10);
        std::fs::write(yard.file("it.toml"), &bytes).expect("written");
        let read = inspect(&yard.file("it.wasm")).expect("the component is good");
        if let Some(problem) = read.problem {
            assert!(
                problem.contains("it.toml") || problem.contains("it.wasm"),
                "turn {turn}, {name}: {problem}"
            );
        }
    }
}

#[test]
fn every_component_of_the_corpus_is_refused_with_file_cause_and_remedy() {
    let yard = Yard::new();
    let files = corpus("component");
    assert!(files.len() >= 12, "{} files", files.len());
    for (name, bytes) in &files {
        yard.put(name, bytes, DETECTOR);
    }
    let registry = yard.start();
    for (name, _) in &files {
        let view = view(&registry, name);
        assert_eq!(view.state, PluginState::Refused, "{name}");
        judged(&view, name);
    }
}

#[test]
fn no_change_of_a_good_component_makes_the_host_fall() {
    let good = [
        (quiet(1), DETECTOR),
        (finder("all-well", 3), DETECTOR),
        (stranger(), DETECTOR),
        (
            action("nap1", SLEEP, "(i32.const 1024)", ""),
            "api = \"0.1\"\nworld = \"action\"\nwants = [\"clock\"]\n",
        ),
        (action("act1", "", "(i32.const 1024)", ""), ACTION),
    ];
    let mut dice = Dice(0x706c_7567_696e);
    let (mut live, mut refused) = (0, 0);
    for round in 0..4 {
        let yard = Yard::new();
        for turn in 0..100 {
            let (wasm, manifest) = &good[dice.throw(good.len())];
            yard.put(&format!("m{turn}"), &changed(wasm, &mut dice), manifest);
        }
        yard.put("good", &good[1].0, DETECTOR);
        let registry = yard.start();
        for turn in 0..100 {
            let view = view(&registry, &format!("m{turn}"));
            judged(&view, &format!("round {round}, turn {turn}"));
            match view.state {
                PluginState::Live => live += 1,
                _ => refused += 1,
            }
        }
        assert_eq!(view(&registry, "good").state, PluginState::Live);
    }
    assert!(refused > 100 && live > 0, "{refused} refused, {live} live");
}

#[test]
fn no_cut_of_a_real_component_makes_the_host_fall() {
    let file =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/out/fixtures/std-hello.wasm");
    let good = std::fs::read(&file)
        .unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask plugins`", file.display()));
    let yard = Yard::new();
    let mut dice = Dice(0x0073_7464);
    for turn in 0..40 {
        let at = dice.throw(good.len());
        yard.put(&format!("cut{turn}"), &good[..at], DETECTOR);
    }
    for turn in 0..12 {
        let mut bytes = good.clone();
        let at = dice.throw(bytes.len());
        bytes[at] ^= 1 << dice.throw(8);
        yard.put(&format!("flip{turn}"), &bytes, DETECTOR);
    }
    let registry = yard.start();
    for view in registry.list() {
        judged(&view, &view.name);
        if view.name.starts_with("cut") {
            assert_eq!(view.state, PluginState::Refused, "{}", view.name);
        }
    }
}
