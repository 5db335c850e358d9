//! Real plugins built with the SDK and `std`: files, addresses and stand-ins as Rust sees them.
//! They come from `plugins/fixtures`, staged by `cargo xtask plugins`.

use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use grace_model::plugin::{ActionCall, Batch, Field, Finding, Value};
use grace_model::port::{CallFailure, HostAnswer, HostCall, HostPort, PluginHost};
use grace_model::status::PluginState;
use grace_wasm::Registry;

use crate::world::{Yard, patiently, seen, view};

fn fixture(name: &str) -> Vec<u8> {
    let path = format!(
        "{}/../../plugins/out/fixtures/{name}.wasm",
        env!("CARGO_MANIFEST_DIR")
    );
    std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{path}: {error}; run `cargo xtask plugins` first"))
}

/// Starts a registry in which fixture `name` holds what it asks.
fn start(yard: &Yard, name: &str, world: &str, wants: &[String], config: &str) -> Arc<Registry> {
    let wants = format!("{wants:?}");
    let manifest = format!(
        "api = \"0.1\"\nworld = \"{world}\"\nwants = {wants}\n[limits]\nwall = \"100ms\"\n[config]\n{config}"
    );
    yard.put("it", &fixture(name), &manifest);
    yard.grants(&format!("it = {wants}\n"));
    let registry = yard.start();
    let view = view(&registry, "it");
    assert_eq!(view.state, PluginState::Live, "{:?}", view.error);
    registry
}

fn only(registry: &Registry) -> Finding {
    let observed = patiently(|| registry.observe("it", &[], &seen())).expect("an answer");
    observed.findings.into_iter().next().expect("a finding")
}

fn evidence(finding: &Finding, name: &str) -> Option<Value> {
    finding
        .evidence
        .iter()
        .find(|field| field.name == name)
        .map(|field| field.value.clone())
}

#[test]
fn a_granted_directory_is_read_and_only_a_granted_one_is_written() {
    let yard = Yard::new();
    let dir = yard.root.path().join("data");
    std::fs::create_dir(&dir).expect("a directory");
    std::fs::write(dir.join("hello.txt"), "hello").expect("written");
    let config = format!(
        "file = {:?}\nwrite = {:?}\n",
        dir.join("hello.txt"),
        dir.join("made.txt")
    );
    let read_only = start(
        &yard,
        "fs-read",
        "detector",
        &[format!("fs:read:{}", dir.display())],
        &config,
    );
    let found = only(&read_only);
    assert_eq!(
        evidence(&found, "text"),
        Some(Value::from("hello")),
        "{found:?}"
    );
    assert!(evidence(&found, "write_error").is_some() && !dir.join("made.txt").exists());

    let both = start(
        &yard,
        "fs-read",
        "detector",
        &[format!("fs:write:{}", dir.display())],
        &config,
    );
    assert_eq!(evidence(&only(&both), "written"), Some(Value::from(true)));
    assert!(dir.join("made.txt").exists());
}

#[test]
fn a_file_outside_of_the_granted_directory_cannot_be_reached() {
    let yard = Yard::new();
    let dir = yard.root.path().join("data");
    std::fs::create_dir(&dir).expect("a directory");
    std::fs::write(yard.root.path().join("secret"), "secret").expect("written");
    std::os::unix::fs::symlink(yard.root.path().join("secret"), dir.join("link")).expect("a link");
    let wants = [format!("fs:read:{}", dir.display())];
    for path in ["data/link", "data/../secret", "secret"] {
        let config = format!("file = {:?}\n", yard.root.path().join(path));
        let found = only(&start(&yard, "fs-read", "detector", &wants, &config));
        assert!(
            evidence(&found, "read_error").is_some(),
            "{path}: {found:?}"
        );
    }
    let config = format!("file = {:?}\n", yard.root.path().join("secret"));
    let found = only(&start(&yard, "fs-read", "detector", &[], &config));
    assert!(
        evidence(&found, "read_error").is_some(),
        "without a grant there are no files"
    );
}

/// A server that says hello to everyone, and its port.
fn hello_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = stream.and_then(|mut stream| stream.write_all(b"hello"));
        }
    });
    port
}

#[test]
fn a_connection_goes_to_the_granted_address_and_to_no_other() {
    let yard = Yard::new();
    let port = hello_server();
    let address = format!("address = \"127.0.0.1:{port}\"\n");
    let granted = start(
        &yard,
        "tcp",
        "detector",
        &[format!("net:127.0.0.1:{port}")],
        &address,
    );
    let found = only(&granted);
    assert_eq!(
        evidence(&found, "heard"),
        Some(Value::from("hello")),
        "{found:?}"
    );

    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    other.set_nonblocking(true).expect("set");
    let address = format!(
        "address = \"{}\"\n",
        other.local_addr().expect("an address")
    );
    for wants in [vec![format!("net:127.0.0.1:{port}")], Vec::new()] {
        let found = only(&start(&yard, "tcp", "detector", &wants, &address));
        assert!(evidence(&found, "error").is_some(), "{found:?}");
        assert!(other.accept().is_err(), "nobody may have connected");
    }
}

#[test]
fn a_granted_host_may_be_a_name() {
    let yard = Yard::new();
    let port = hello_server();
    let address = format!("address = \"localhost:{port}\"\n");
    let found = only(&start(
        &yard,
        "tcp",
        "detector",
        &[format!("net:localhost:{port}")],
        &address,
    ));
    assert_eq!(
        evidence(&found, "heard"),
        Some(Value::from("hello")),
        "{found:?}"
    );
}

#[test]
fn a_host_that_is_not_known_is_told_and_tried_again() {
    let yard = Yard::new();
    let wants = "[\"net:no-such-host.invalid:80\"]";
    let manifest = format!("api = \"0.1\"\nworld = \"detector\"\nwants = {wants}\n");
    yard.put("it", &fixture("tcp"), &manifest);
    yard.grants(&format!("it = {wants}\n"));
    let registry = yard.start();
    crate::world::refused(
        &registry,
        "it",
        PluginState::Refused,
        &[
            "it.toml",
            "net:no-such-host.invalid:80 cannot be resolved",
            "tried again",
        ],
    );
}

#[test]
fn a_std_detector_runs_without_a_grant_and_sees_the_same_world_each_time() {
    let yard = Yard::new();
    let registry = start(&yard, "std-hello", "detector", &[], "");
    let batch = Batch {
        now: 1_700_000_000_123,
        ..seen()
    };
    let first = registry.observe_counted("it", &[], &batch);
    let again = registry.observe_counted("it", &[], &batch);
    assert_eq!(first.fuel, again.fuel);
    let observed = first.result.expect("an answer");
    assert_eq!(Ok(&observed), again.result.as_ref());
    let found = &observed.findings[0];
    for (name, value) in [
        ("clock_ms", Value::from(1_700_000_000_123_u64)),
        ("variables", Value::from(0_u64)),
        ("arguments", Value::from(0_u64)),
        ("stdin_bytes", Value::from(0_u64)),
    ] {
        assert_eq!(evidence(found, name), Some(value), "{name}");
    }
}

#[test]
fn exit_and_a_long_sleep_of_a_std_guest_end_with_their_own_verdicts() {
    for (mode, words) in [("exit", "called exit(1)"), ("sleep", "longer than 2000 ms")] {
        let yard = Yard::new();
        let manifest =
            format!("api = \"0.1\"\nworld = \"detector\"\n[config]\nmode = \"{mode}\"\n");
        yard.put("it", &fixture("std-hello"), &manifest);
        crate::world::refused(
            &yard.start(),
            "it",
            PluginState::Refused,
            &["it.wasm", words],
        );
    }
}

/// Does what the host does, as far as `acts` needs it.
struct Clock;

impl HostPort for Clock {
    fn call(
        &mut self,
        call: HostCall,
        budget: Duration,
    ) -> Result<HostAnswer, grace_model::plugin::PluginError> {
        match call {
            HostCall::Sleep { ms } => {
                std::thread::sleep(Duration::from_millis(u64::from(ms)).min(budget));
                Ok(HostAnswer::Done)
            }
            _ => Ok(HostAnswer::Number { number: 1 }),
        }
    }
}

#[test]
fn an_action_pack_of_the_sdk_answers_fails_and_is_undone() {
    let yard = Yard::new();
    yard.put(
        "it",
        &fixture("acts"),
        "api = \"0.1\"\nworld = \"action\"\nwants = [\"clock\"]\n[limits]\nhost_calls = 100\n",
    );
    yard.grants("it = [\"clock\"]\n");
    let registry = yard.start();
    let long = Duration::from_secs(20);
    let run = |action: &str, params: Vec<Field>| {
        let call = ActionCall {
            action: action.to_owned(),
            params,
            incident: "inc-1".to_owned(),
        };
        registry.run(&call, Box::new(Clock), long)
    };
    let receipt = run(
        "acts.ok",
        vec![Field::new("text", "x"), Field::new("count", 3_u64)],
    )
    .expect("done");
    assert_eq!(
        receipt.outputs,
        [Field::new("text", "x"), Field::new("count", 3_u64)]
    );
    assert_eq!(
        registry.undo("acts.ok", &receipt, Box::new(Clock), long),
        Ok(())
    );
    assert!(
        registry
            .undo("acts.stuck", &receipt, Box::new(Clock), long)
            .is_err()
    );
    assert!(matches!(
        run("acts.fail", vec![]),
        Err(CallFailure::Plugin(_))
    ));
    let quota = |failure: Result<_, CallFailure>| matches!(failure, Err(CallFailure::Quota(_)));
    assert!(quota(run("acts.calls", vec![Field::new("count", 101_u64)])));
    assert!(run("acts.calls", vec![Field::new("count", 100_u64)]).is_ok());
    assert!(quota(run(
        "acts.undo",
        vec![Field::new("count", (64_u64 << 10) + 1)]
    )));
    assert!(matches!(
        run("acts.trap", vec![]),
        Err(CallFailure::Trap(_))
    ));
    assert!(run("acts.ok", vec![]).is_ok(), "and starts the count again");
    assert!(quota(run(
        "acts.output",
        vec![Field::new("count", 4_u64 << 20)]
    )));
}
