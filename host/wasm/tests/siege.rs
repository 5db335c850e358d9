//! What a hostile author or a careless hand may put into the drop-in directory, and guests that
//! attack while they start, grow or answer: each is refused or stopped, and the rest goes on.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use grace_model::plugin::{ActionCall, PluginError};
use grace_model::port::{CallFailure, HostAnswer, HostCall, HostPort, PluginHost};
use grace_model::status::PluginState;
use grace_wasm::Registry;
use wasmparser::{Parser, Payload};

use crate::guests::{SLEEP, action, component, detector_with, finder, good_until_seen, quiet};
use crate::world::{DETECTOR, Yard, patiently, refused, seen, view};

/// Starts with a good plugin beside whatever is there, which must not notice.
fn with_a_good_one(yard: &Yard) -> Arc<Registry> {
    yard.put("good", &finder("all-well", 1), DETECTOR);
    let registry = yard.start();
    assert!(patiently(|| registry.observe("good", &[], &seen())).is_ok());
    registry
}

fn run(command: &str, args: &[&OsStr]) {
    let done = std::process::Command::new(command).args(args).status();
    assert!(done.is_ok_and(|status| status.success()), "{command}");
}

#[test]
fn what_is_no_regular_file_is_refused_and_never_read() {
    let yard = Yard::new();
    std::fs::create_dir(yard.file("dir.wasm")).expect("a directory");
    std::fs::write(yard.file("dir.toml"), DETECTOR).expect("written");
    // Reading a pipe waits for a writer, and reading a device does not end.
    run("mkfifo", &[yard.file("pipe.wasm").as_os_str()]);
    std::fs::write(yard.file("pipe.toml"), DETECTOR).expect("written");
    std::os::unix::fs::symlink("/dev/zero", yard.file("zero.wasm")).expect("a link");
    std::os::unix::fs::symlink("/dev/zero", yard.file("zero.toml")).expect("a link");
    let registry = with_a_good_one(&yard);
    let state = PluginState::Refused;
    refused(
        &registry,
        "dir",
        state,
        &["dir.wasm", "directory", "put the file itself"],
    );
    refused(
        &registry,
        "pipe",
        state,
        &["pipe.wasm", "pipe", "put the file itself"],
    );
    refused(
        &registry,
        "zero",
        state,
        &["zero.toml", "device", "put the file itself"],
    );
}

#[test]
fn a_link_to_a_plugin_is_followed_and_one_that_leads_nowhere_is_told() {
    let yard = Yard::new();
    let elsewhere = yard.root.path().join("elsewhere.wasm");
    std::fs::write(&elsewhere, quiet(1)).expect("written");
    std::os::unix::fs::symlink(&elsewhere, yard.file("one.wasm")).expect("a link");
    std::fs::write(yard.file("one.toml"), DETECTOR).expect("written");
    std::os::unix::fs::symlink("/no/such/file", yard.file("two.wasm")).expect("a link");
    let registry = with_a_good_one(&yard);
    assert_eq!(view(&registry, "one").state, PluginState::Live);
    refused(
        &registry,
        "two",
        PluginState::Refused,
        &["two.toml", "missing"],
    );
    std::fs::write(yard.file("two.toml"), DETECTOR).expect("written");
    registry.rescan();
    refused(
        &registry,
        "two",
        PluginState::Refused,
        &["two.wasm", "leads nowhere", "correct the link"],
    );
}

#[test]
fn a_name_that_is_no_text_or_no_plugin_name_is_refused() {
    let yard = Yard::new();
    let dir = yard.root.path().join("plugins.d");
    std::fs::write(dir.join(OsStr::from_bytes(b"od\xffd.wasm")), quiet(1)).expect("written");
    yard.put("two words", &quiet(2), DETECTOR);
    yard.put(&"x".repeat(65), &quiet(3), DETECTOR);
    let registry = with_a_good_one(&yard);
    for name in ["od\u{fffd}d", "two words", &"x".repeat(65)] {
        let words = ["no plugin name", "letters, digits"];
        refused(&registry, name, PluginState::Refused, &words);
    }
}

#[test]
fn a_file_of_200_mib_is_refused_without_reading_it() {
    let yard = Yard::new();
    yard.put("huge", b"", DETECTOR);
    yard.put("wordy", &quiet(1), DETECTOR);
    let grow = |name: &str| {
        let file = std::fs::OpenOptions::new()
            .write(true)
            .open(yard.file(name));
        file.and_then(|file| file.set_len(200 << 20))
            .expect("grown");
    };
    grow("huge.wasm");
    grow("wordy.toml");
    let registry = with_a_good_one(&yard);
    let state = PluginState::Refused;
    refused(
        &registry,
        "huge",
        state,
        &["huge.wasm", "200 MiB", "at most 64 MiB"],
    );
    refused(&registry, "wordy", state, &["wordy.toml", "at most 64 KiB"]);
}

#[test]
fn a_file_that_may_not_be_read_is_refused_with_what_to_do() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let yard = Yard::new();
    yard.put("shut", &quiet(1), DETECTOR);
    let file = yard.file("shut.wasm");
    if std::fs::metadata(&file).expect("it is there").uid() == 0 {
        // Root reads whatever it likes, except what the kernel itself refuses to read.
        std::fs::remove_file(&file).expect("removed");
        std::os::unix::fs::symlink("/proc/self/mem", &file).expect("a link");
    } else {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o000)).expect("shut");
    }
    let registry = with_a_good_one(&yard);
    let words = ["shut.wasm", "cannot be read", "readable for Grace"];
    refused(&registry, "shut", PluginState::Refused, &words);
}

/// Replaces the plugin that is being called, and looks again, in the middle of the call.
struct Replaces {
    registry: Arc<Registry>,
    wasm: Vec<u8>,
    file: std::path::PathBuf,
    calls: Arc<Mutex<u32>>,
}

impl HostPort for Replaces {
    fn call(&mut self, _call: HostCall, _budget: Duration) -> Result<HostAnswer, PluginError> {
        let mut calls = self.calls.lock().expect("not poisoned");
        *calls += 1;
        // In place, as a careless copy does it: the bytes change under the open file.
        std::fs::write(&self.file, &self.wasm).expect("written");
        self.registry.rescan();
        Ok(HostAnswer::Done)
    }
}

#[test]
fn a_plugin_that_is_replaced_in_the_middle_of_its_call_ends_that_call_well() {
    let body = "(call $sleep (i32.const 1) (i32.const 5000)) (i32.const 1024)";
    let manifest = "api = \"0.1\"\nworld = \"action\"\nwants = [\"clock\"]\n";
    let yard = Yard::new();
    yard.put("nap", &action("nap1", SLEEP, body, ""), manifest);
    yard.grants("nap = [\"clock\"]\n");
    let registry = yard.start();
    let calls = Arc::new(Mutex::new(0));
    let port = Replaces {
        registry: Arc::clone(&registry),
        wasm: action("nap2", SLEEP, body, ""),
        file: yard.file("nap.wasm"),
        calls: Arc::clone(&calls),
    };
    let call = |action: &str| ActionCall {
        action: action.to_owned(),
        params: Vec::new(),
        incident: "inc-1".to_owned(),
    };
    let ran = registry.run(&call("nap1.do"), Box::new(port), Duration::from_secs(60));
    assert!(ran.is_ok(), "{ran:?}");
    assert_eq!(*calls.lock().expect("not poisoned"), 1);
    let names: Vec<String> = registry.actions().into_iter().map(|it| it.name).collect();
    assert_eq!(names, ["nap2.do"]);
}

#[test]
fn a_start_function_that_loops_ends_with_its_fuel_before_the_plugin_is_live() {
    let yard = Yard::new();
    let body = r#"(func $start (loop $for_ever (br $for_ever))) (start $start)
  (func (export "grace:plugin/detect@0.1.0#observe")
    (param i32 i32 i64 i32 i32) (result i32) (i32.const 1024))"#;
    let manifest = format!("{DETECTOR}[limits]\nfuel = 1_000_000\n");
    yard.put("it", &component("detector", "", body), &manifest);
    let registry = with_a_good_one(&yard);
    let words = ["it.wasm", "used up its fuel", "fuel = 50000000"];
    refused(&registry, "it", PluginState::Refused, &words);
}

#[test]
fn a_clean_up_that_loops_after_the_answer_ends_with_its_fuel() {
    let more = r#"(func (export "cabi_post_grace:plugin/detect@0.1.0#observe") (param i32)
    (loop $for_ever (br $for_ever)))"#;
    let yard = Yard::new();
    let manifest = format!("{DETECTOR}[limits]\nfuel = 1_000_000\n");
    yard.put(
        "it",
        &detector_with("", "(i32.const 1024)", more),
        &manifest,
    );
    let registry = with_a_good_one(&yard);
    let words = ["it.wasm", "used up its fuel of 1000000"];
    refused(&registry, "it", PluginState::Refused, &words);
}

#[test]
fn many_that_grow_at_once_each_end_at_their_own_limit() {
    let guest = good_until_seen(
        "",
        "(loop $more
          (if (i32.eq (i32.const -1) (memory.grow (i32.const 64))) (then unreachable))
          (memory.fill
            (i32.mul (i32.sub (memory.size) (i32.const 64)) (i32.const 65536))
            (i32.const 1) (i32.const 4194304))
          (br $more))",
        "",
    );
    let yard = Yard::new();
    let manifest = format!("{DETECTOR}[limits]\nmemory = \"16MiB\"\n");
    yard.put("it", &guest, &manifest);
    let mut settings = yard.settings();
    settings.strikes = 1_000;
    yard.put("good", &finder("all-well", 1), DETECTOR);
    let registry = Registry::start(settings).expect("a registry");
    std::thread::scope(|scope| {
        for _ in 0..24 {
            scope.spawn(|| {
                let failure = registry.observe("it", &[], &seen()).expect_err("it grows");
                // On a busy machine its turn or its time may not come.
                assert!(
                    matches!(
                        failure,
                        CallFailure::Memory(16_777_216)
                            | CallFailure::Deadline(_)
                            | CallFailure::NotCallable(_)
                    ),
                    "{failure}"
                );
            });
        }
    });
    let failure = patiently(|| registry.observe("it", &[], &seen())).expect_err("it grows");
    assert_eq!(failure, CallFailure::Memory(16 << 20));
    assert!(patiently(|| registry.observe("good", &[], &seen())).is_ok());
    assert_eq!(registry.figures().instances, Some(0));
}

#[test]
fn a_table_that_grows_without_end_is_not_given_more() {
    let guest = good_until_seen(
        "",
        "(loop $more
          (if (i32.eq (i32.const -1) (table.grow $t (ref.null func) (i32.const 4096)))
            (then unreachable))
          (br $more))",
        "(table $t 1 funcref)",
    );
    let yard = Yard::new();
    yard.put("it", &guest, DETECTOR);
    let registry = with_a_good_one(&yard);
    let failure = patiently(|| registry.observe("it", &[], &seen())).expect_err("it grows");
    assert!(matches!(failure, CallFailure::Trap(_)), "{failure}");
}

fn leb(mut number: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).expect("seven bits");
        number >>= 7;
        bytes.push(if number == 0 { low } else { low | 0x80 });
        if number == 0 {
            return bytes;
        }
    }
}

/// A good detector with `count` more instances of an empty core module.
fn crowded(count: u32) -> Vec<u8> {
    let mut wasm = quiet(1);
    let mut depth = 0;
    let mut modules = 0_u32;
    for payload in Parser::new(0).parse_all(&wasm) {
        match payload.expect("it is sound") {
            Payload::ModuleSection { .. } if depth == 1 => modules += 1,
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            _ => {}
        }
    }
    // Section 1 is a core module, section 2 core instances: instantiate module, no arguments.
    wasm.extend([1, 8]);
    wasm.extend(b"\0asm\x01\0\0\0");
    let mut body = leb(count);
    for _ in 0..count {
        body.push(0);
        body.extend(leb(modules));
        body.push(0);
    }
    wasm.push(2);
    wasm.extend(leb(u32::try_from(body.len()).expect("short")));
    wasm.extend(body);
    wasm
}

#[test]
fn a_component_with_thousands_of_core_instances_is_refused() {
    let yard = Yard::new();
    yard.put("few", &crowded(5), DETECTOR);
    yard.put("crowd", &crowded(900), DETECTOR);
    let registry = with_a_good_one(&yard);
    assert_eq!(view(&registry, "few").state, PluginState::Live);
    refused(
        &registry,
        "crowd",
        PluginState::Refused,
        &["crowd.wasm", "instances"],
    );
}

#[test]
fn settings_that_a_plugin_does_not_declare_are_told_with_what_was_meant() {
    let yard = Yard::new();
    let manifest = format!("{DETECTOR}[config]\nthreshold = 3\nwindow_ms = 500\n");
    yard.put("one", &quiet(1), &manifest);
    yard.put("none", &quiet(2), DETECTOR);
    let set = |name: &str, key: &str| {
        let mut settings = yard.settings();
        let config = [(key.to_owned(), "4".to_owned())].into_iter().collect();
        settings.config.insert(name.into(), config);
        Registry::start(settings).expect("a registry")
    };
    let registry = set("one", "treshold");
    refused(
        &registry,
        "one",
        PluginState::Live,
        &[
            "grace.toml",
            "[plugins.config.one]",
            "`treshold` (did you mean `threshold`?)",
            "threshold, window_ms",
        ],
    );
    assert!(patiently(|| registry.observe("one", &[], &seen())).is_ok());
    refused(
        &set("none", "x"),
        "none",
        PluginState::Live,
        &["`x`", "it declares none"],
    );
    assert_eq!(view(&set("one", "threshold"), "one").error, None);
}
