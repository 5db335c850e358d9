//! Compiled code between starts: used when it is whole, never when it is not.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use grace_model::port::PluginHost;
use grace_wasm::Registry;

use crate::guests::quiet;
use crate::world::{DETECTOR, Yard, patiently, seen};

fn entries(yard: &Yard, end: &str) -> Vec<PathBuf> {
    let dir = std::fs::read_dir(yard.root.path().join("compiled")).expect("the cache is there");
    let paths = dir.map(|entry| entry.expect("an entry").path());
    paths
        .filter(|path| path.extension().is_some_and(|it| it == end))
        .collect()
}

/// How many components a start compiles.
fn compiled(yard: &Yard) -> u64 {
    let registry = yard.start();
    assert!(patiently(|| registry.observe("one", &[], &seen())).is_ok());
    registry.figures().compiled
}

#[test]
fn the_second_start_compiles_nothing() {
    let yard = Yard::new();
    yard.put("one", &quiet(1), DETECTOR);
    assert_eq!((compiled(&yard), compiled(&yard)), (1, 0));
    let mode = std::fs::metadata(yard.root.path().join("compiled"))
        .expect("it is there")
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o700);
}

#[test]
fn a_damaged_entry_is_compiled_again_and_made_whole() {
    let yard = Yard::new();
    yard.put("one", &quiet(1), DETECTOR);
    assert_eq!(compiled(&yard), 1);
    let entry = entries(&yard, "cwasm").pop().expect("an entry");
    let mut bytes = std::fs::read(&entry).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&entry, &bytes).expect("written");
    assert_eq!((compiled(&yard), compiled(&yard)), (1, 0));
    std::fs::write(&entry, b"").expect("written");
    assert_eq!((compiled(&yard), compiled(&yard)), (1, 0));
}

/// Collects what is told while it is the subscriber of this thread.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<String>>);

impl tracing::field::Visit for Told {
    fn record_debug(&mut self, _field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        let mut told = self.0.lock().expect("not poisoned");
        told.push_str(&format!("{value:?} "));
    }
}

impl tracing::Subscriber for Told {
    fn enabled(&self, _metadata: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _span: &tracing::span::Id, _values: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _span: &tracing::span::Id, _follows: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut self.clone());
    }
    fn enter(&self, _span: &tracing::span::Id) {}
    fn exit(&self, _span: &tracing::span::Id) {}
}

#[test]
fn code_of_another_engine_in_the_cache_is_told_and_compiled_again() {
    let yard = Yard::new();
    yard.put("one", &quiet(1), DETECTOR);
    assert_eq!(compiled(&yard), 1);
    // An engine with other settings, its code under the right name with the right digest: what
    // an older Grace leaves behind if the names ever met.
    let code = wasmtime::Engine::default()
        .precompile_component(&quiet(1))
        .expect("it compiles");
    let entry = entries(&yard, "cwasm").pop().expect("an entry");
    std::fs::write(&entry, &code).expect("written");
    let digest = blake3::hash(&code).to_hex();
    std::fs::write(entry.with_extension("b3"), digest.as_bytes()).expect("written");
    let told = Told::default();
    let again = tracing::subscriber::with_default(told.clone(), || compiled(&yard));
    assert_eq!(again, 1);
    let told = told.0.lock().expect("not poisoned");
    assert!(
        told.contains("of another engine") && told.contains(".cwasm"),
        "{told}"
    );
    assert_eq!(compiled(&yard), 0, "and the new one is kept");
}

#[test]
fn an_entry_without_its_digest_is_not_believed() {
    let yard = Yard::new();
    yard.put("one", &quiet(1), DETECTOR);
    assert_eq!(compiled(&yard), 1);
    std::fs::remove_file(entries(&yard, "b3").pop().expect("a digest")).expect("removed");
    assert_eq!(compiled(&yard), 1);
}

#[test]
fn a_directory_that_others_may_enter_is_not_used() {
    let yard = Yard::new();
    yard.put("one", &quiet(1), DETECTOR);
    let dir = yard.root.path().join("compiled");
    std::fs::create_dir(&dir).expect("a directory");
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).expect("opened");
    assert_eq!((compiled(&yard), compiled(&yard)), (1, 1));
    assert!(entries(&yard, "cwasm").is_empty());
}

#[test]
fn who_compiled_is_told_so_and_who_did_not_is_not() {
    static TOLD: AtomicU32 = AtomicU32::new(0);
    let yard = Yard::new();
    yard.put("one", &quiet(1), DETECTOR);
    let start = || {
        let mut settings = yard.settings();
        settings.compiled = Some(|| {
            TOLD.fetch_add(1, Ordering::Relaxed);
        });
        Registry::start(settings).expect("a registry").rescan();
        TOLD.load(Ordering::Relaxed)
    };
    assert_eq!((start(), start()), (1, 1));
}
