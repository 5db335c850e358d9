//! The drop-in directory: live when it is there, swapped when it changes, kept when the new
//! one is bad, gone when it is removed.

use std::time::Duration;

use grace_model::port::PluginHost;
use grace_model::status::PluginState;
use grace_wasm::{Registry, Settings};

use crate::guests::{finder, quiet};
use crate::world::{DETECTOR, Yard, patiently, refused, seen, until, view};

fn kinds(registry: &Registry, name: &str) -> Vec<String> {
    let observed = patiently(|| registry.observe(name, &[], &seen()));
    observed
        .map(|it| it.findings.into_iter().map(|one| one.kind).collect())
        .unwrap_or_default()
}

#[test]
fn a_replaced_plugin_is_swapped_and_an_unchanged_one_is_left_alone() {
    let yard = Yard::new();
    yard.put("one", &finder("version1", 1), DETECTOR);
    yard.put("two", &quiet(2), DETECTOR);
    let registry = yard.start();
    assert_eq!(kinds(&registry, "one"), ["version1"]);
    let generation = registry.generation();
    assert!(registry.observe("two", &[], &seen()).is_ok());

    yard.put("one", &finder("version2", 1), DETECTOR);
    // The same bytes with a new time of change.
    yard.put("two", &quiet(2), DETECTOR);
    registry.rescan();
    assert_eq!(kinds(&registry, "one"), ["version2"]);
    assert_eq!(registry.generation(), generation + 1);
    assert_eq!(
        view(&registry, "two").calls,
        1,
        "an unchanged plugin is not loaded again"
    );
    registry.rescan();
    assert_eq!(registry.generation(), generation + 1);
}

#[test]
fn a_bad_replacement_leaves_the_one_before_live_and_shows_why() {
    let yard = Yard::new();
    let good = finder("version1", 1);
    yard.put("one", &good, DETECTOR);
    let registry = yard.start();
    let generation = registry.generation();
    for bad in [&good[..good.len() / 2], b"junk"] {
        yard.put("one", bad, DETECTOR);
        registry.rescan();
        let view = view(&registry, "one");
        assert_eq!(view.state, PluginState::Live);
        assert!(view.error.is_some_and(|error| error.contains("one.wasm")));
        assert_eq!(kinds(&registry, "one"), ["version1"]);
    }
    yard.put(
        "one",
        &good,
        "api = \"0.1\"\nworld = \"detector\"\nfoo = 1\n",
    );
    registry.rescan();
    refused(
        &registry,
        "one",
        PluginState::Live,
        &["one.toml:3", "unknown key `foo`"],
    );
    assert_eq!(
        registry.generation(),
        generation,
        "nothing changed for callers"
    );

    yard.put("one", &finder("version2", 1), DETECTOR);
    registry.rescan();
    assert_eq!(view(&registry, "one").error, None);
    assert_eq!(kinds(&registry, "one"), ["version2"]);
}

#[test]
fn a_changed_setting_in_the_manifest_is_a_new_version() {
    let yard = Yard::new();
    yard.put("one", &quiet(1), DETECTOR);
    let registry = yard.start();
    let generation = registry.generation();
    yard.put(
        "one",
        &quiet(1),
        &format!("{DETECTOR}[config]\nthreshold = 4\n"),
    );
    registry.rescan();
    assert_eq!(registry.generation(), generation + 1);
}

#[test]
fn a_removed_plugin_is_unloaded() {
    let yard = Yard::new();
    yard.put("one", &quiet(1), DETECTOR);
    yard.put("half", &quiet(3), DETECTOR);
    let registry = yard.start();
    std::fs::remove_file(yard.file("one.wasm")).expect("removed");
    std::fs::remove_file(yard.file("one.toml")).expect("removed");
    std::fs::remove_file(yard.file("half.toml")).expect("removed");
    registry.rescan();
    assert!(registry.list().iter().all(|view| view.name != "one"));
    refused(
        &registry,
        "half",
        PluginState::Refused,
        &["half.toml", "missing"],
    );
    assert!(registry.detectors().is_empty());
}

/// What follows is seen by the watching thread alone.
fn watched(yard: &Yard, rescan: Duration) -> Settings {
    Settings {
        watch: true,
        rescan,
        ..yard.settings()
    }
}

#[test]
fn file_events_alone_make_a_plugin_live_swap_it_and_unload_it() {
    let yard = Yard::new();
    let registry = Registry::start(watched(&yard, Duration::from_secs(3600))).expect("a registry");
    // The watch is set up by its own thread; what is written before it stands is seen with the
    // next event, so the file is written until it is seen.
    until("the plugin is live", || {
        if registry.list().is_empty() {
            yard.put("one", &finder("version1", 1), DETECTOR);
            std::thread::sleep(Duration::from_millis(500));
        }
        kinds(&registry, "one") == ["version1"]
    });
    yard.put("one", &finder("version2", 1), DETECTOR);
    until("the new version is live", || {
        kinds(&registry, "one") == ["version2"]
    });
    std::fs::remove_file(yard.file("one.wasm")).expect("removed");
    std::fs::remove_file(yard.file("one.toml")).expect("removed");
    until("it is unloaded", || registry.list().is_empty());
}

#[test]
fn a_large_component_that_is_there_at_the_start_is_loaded_by_the_watching_thread() {
    let yard = Yard::new();
    // A custom section of 5 MiB makes it large.
    let mut large = finder("version1", 1);
    large.extend([0, 0x82, 0x80, 0xc0, 0x02, 1, b'x']);
    large.extend(vec![0; 5 << 20]);
    yard.put("large", &large, DETECTOR);
    yard.put("small", &quiet(1), DETECTOR);
    let registry = Registry::start(watched(&yard, Duration::from_secs(3600))).expect("a registry");
    assert_eq!(view(&registry, "small").state, PluginState::Live);
    until("the large one is live", || {
        kinds(&registry, "large") == ["version1"]
    });
    let again = Registry::start(watched(&yard, Duration::from_secs(3600))).expect("a registry");
    assert_eq!(
        view(&again, "large").state,
        PluginState::Live,
        "its code is kept"
    );
}

#[test]
fn a_directory_that_comes_later_is_seen_by_the_rescan() {
    let yard = Yard::new();
    let mut settings = watched(&yard, Duration::from_millis(100));
    settings.dir = Some(yard.root.path().join("later"));
    let registry = Registry::start(settings).expect("a registry");
    assert!(registry.list().is_empty());
    std::fs::create_dir(yard.root.path().join("later")).expect("a directory");
    std::fs::write(yard.root.path().join("later/one.wasm"), quiet(1)).expect("written");
    std::fs::write(yard.root.path().join("later/one.toml"), DETECTOR).expect("written");
    until("the plugin is live", || registry.detectors().len() == 1);
}

#[test]
fn calls_go_on_while_plugins_are_swapped() {
    let yard = Yard::new();
    yard.put("one", &finder("version1", 1), DETECTOR);
    let registry = yard.start();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let caller = scope.spawn(|| {
            let mut calls = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let observed = registry
                    .observe("one", &[], &seen())
                    .expect("always callable");
                assert!(observed.findings[0].kind.starts_with("version"));
                calls += 1;
            }
            calls
        });
        for version in 2..6 {
            yard.put("one", &finder(&format!("version{version}"), 1), DETECTOR);
            registry.rescan();
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(caller.join().expect("the caller ends well") > 0);
    });
    assert_eq!(kinds(&registry, "one"), ["version5"]);
}
