//! What a first look leaves for later.

use std::fs;
use std::time::Duration;

use super::*;

#[test]
fn a_start_leaves_what_takes_long_to_compile_for_later() {
    let root = tempfile::tempdir().expect("a directory");
    let machine = Arc::new(Machine::new().expect("an engine"));
    let settings = Settings {
        builtin: Vec::new(),
        dir: Some(root.path().to_owned()),
        grants: BTreeMap::new(),
        grants_file: root.path().join("grants"),
        config: BTreeMap::new(),
        disable: Vec::new(),
        strikes: 3,
        rescan: Duration::from_secs(1),
        compiled_dir: root.path().join("compiled"),
        compiled: None,
        watch: true,
    };
    for (name, size) in [("small", 10), ("large", SLOW)] {
        let file = fs::File::create(root.path().join(format!("{name}.wasm")));
        file.and_then(|file| file.set_len(size)).expect("made");
        let manifest = root.path().join(format!("{name}.toml"));
        fs::write(manifest, "api = \"0.1\"\nworld = \"detector\"\n").expect("made");
    }
    let mut loader = Loader::new(settings, machine);
    let (first, left) = loader.scan_quickly();
    let names = |snapshot: &Snapshot| snapshot.entries.keys().cloned().collect::<Vec<_>>();
    assert_eq!((names(&first), left), (vec!["small".to_owned()], true));
    let all = loader.scan();
    assert_eq!(names(&all), ["large", "small"]);
}
