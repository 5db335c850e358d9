//! The proxy as a process of its own, started as the supervisor starts it.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use grace_model::config::{Config, Healing, Plugins};
use grace_os::Signal;
use grace_os::spawn::Spawn;

use crate::client;
use crate::stage::Stage;

const VARIABLE: &str = "GRACE_PROXY_TEST_STATE";

/// A proxy process.
struct Proxy {
    pid: u32,
}

#[test]
fn a_proxy_process_serves() {
    let Ok(state) = std::env::var(VARIABLE) else {
        return;
    };
    match grace_proxy::main(state.as_ref()) {
        Ok(()) => std::process::exit(0),
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(1);
        }
    }
}

impl Proxy {
    fn start(stage: &Stage, listeners: &[TcpListener]) -> Self {
        let config = Config {
            state_dir: stage.dir().to_owned(),
            services: Vec::new(),
            plugins: Plugins::default(),
            healing: Healing::default(),
            proxy: stage.table.proxy.clone(),
            notify: Default::default(),
            metrics: Default::default(),
        };
        let text = serde_json::to_vec(&config).unwrap();
        std::fs::write(stage.layout().config(), text).unwrap();
        let names: Vec<String> = (0..listeners.len())
            .map(|number| format!("listen:shop:{number}"))
            .collect();
        let mut spawn = Spawn::new(std::env::current_exe().unwrap())
            .args(["--exact", "process::a_proxy_process_serves", "--nocapture"])
            .env(VARIABLE, stage.dir())
            .env("LISTEN_FDS", names.len().to_string())
            .env("LISTEN_FDNAMES", names.join(":"));
        for (number, listener) in (grace_os::inherit::FIRST_FD..).zip(listeners) {
            spawn = spawn.fd(number, listener.as_fd());
        }
        let child = spawn.start().unwrap();
        Self { pid: child.pid }
    }

    fn signal(&self, signal: Signal) {
        let handle = grace_os::pidfd::open(self.pid).unwrap();
        grace_os::pidfd::send_signal(handle, signal).unwrap();
    }

    fn wait(&self) -> grace_model::instance::ExitCause {
        grace_os::wait::wait_pid(self.pid).unwrap().unwrap().cause()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Ok(handle) = grace_os::pidfd::open(self.pid) {
            let _ = grace_os::pidfd::send_signal(handle, Signal::Kill);
            let _ = grace_os::wait::wait_pid(self.pid);
        }
    }
}

/// A stage whose proxy is a process, with the listeners it was given.
fn stage() -> (Stage, Vec<TcpListener>, Proxy) {
    let mut stage = Stage::with(2, |table| table.proxy.threads = 2);
    stage.end();
    let listeners =
        grace_os::listen::bind_exclusive_then_reuseport("127.0.0.1:0".parse().unwrap(), 2).unwrap();
    stage.addr = listeners[0].local_addr().unwrap();
    let proxy = Proxy::start(&stage, &listeners);
    serving(&stage, &proxy);
    (stage, listeners, proxy)
}

fn serving(stage: &Stage, proxy: &Proxy) {
    stage.until("the proxy has its table", |stage| {
        let stats = stage.stats();
        stats["pid"] == proxy.pid && stats["table_version"] == stage.table.version
    });
}

#[test]
fn a_killed_proxy_is_followed_by_another_and_no_new_connection_is_refused() {
    let (stage, listeners, proxy) = stage();
    assert_eq!(stage.get("/").status, 200);
    proxy.signal(Signal::Kill);
    proxy.wait();
    // Made while there is no proxy: they wait on the listeners that are held.
    let mut waiting: Vec<client::Client> = (0..8).map(|_| stage.client()).collect();
    for client in &mut waiting {
        client.send("GET", "/", "", b"");
    }
    let next = Proxy::start(&stage, &listeners);
    for client in &mut waiting {
        assert_eq!(client.answer("GET").status, 200);
    }
    drop(next);
}

#[test]
fn a_new_proxy_serves_by_the_table_and_waits_for_no_probe() {
    let (mut stage, listeners, proxy) = stage();
    let hour = 3_600_000;
    stage.change(|table| {
        table.services[0].probe = Some(grace_model::ipc::TableProbe {
            http: Some("/sleep?600000".into()),
            timeout_ms: hour,
            interval_ms: hour,
            start_interval_ms: hour,
            failures: 1,
        });
    });
    proxy.signal(Signal::Kill);
    proxy.wait();
    let mut waiting = stage.client();
    waiting.send("GET", "/", "", b"");
    let _next = Proxy::start(&stage, &listeners);
    assert_eq!(waiting.answer("GET").status, 200);
    assert_eq!(stage.total("probes"), 0, "none has ended yet");
}

#[test]
fn a_proxy_told_to_end_finishes_what_it_has() {
    let (stage, _listeners, proxy) = stage();
    let mut idle = stage.client();
    assert_eq!(idle.get("/").status, 200);
    let mut busy = stage.client();
    busy.send("GET", "/sleep?800", "X-Id: it\r\n", b"");
    stage.until("it is with a worker", |stage| {
        stage.workers.iter().any(|worker| worker.seen("it") == 1)
    });
    proxy.signal(Signal::Terminate);
    assert_eq!(busy.answer("GET").text(), "slept");
    assert!(idle.is_closed());
    assert_eq!(proxy.wait(), grace_model::instance::ExitCause::Code(0));
}

#[test]
fn a_proxy_with_a_successor_ends_what_it_has_and_loses_no_request_of_a_kept_connection() {
    let (stage, listeners, proxy) = stage();
    let mut kept = stage.client();
    assert_eq!(kept.get("/").status, 200);
    let mut idle = stage.client();
    assert_eq!(idle.get("/").status, 200);
    let mut tunnel = stage.client();
    let upgrade = "Connection: Upgrade\r\nUpgrade: echo\r\n";
    assert_eq!(tunnel.ask("GET", "/upgrade", upgrade, b"").status, 101);
    let mut busy = stage.client();
    busy.send("GET", "/sleep?800", "X-Id: it\r\n", b"");
    stage.until("it is with a worker", |stage| {
        stage.workers.iter().any(|worker| worker.seen("it") == 1)
    });
    let next = Proxy::start(&stage, &listeners);
    serving(&stage, &next);
    proxy.signal(Signal::User2);
    // The journal is given up at once: the successor's first event is in it.
    stage.until_journalled(
        "that the successor writes",
        |what| matches!(what, grace_model::event::What::Started { pid, .. } if *pid == next.pid),
    );
    // A connection that is used is told to go by an answer, not cut off.
    while kept.get("/").header("connection") != "close" {}
    assert!(kept.is_closed());
    assert_eq!(busy.answer("GET").text(), "slept");
    tunnel.write("still here");
    assert_eq!(tunnel.read_exact(10), b"still here");
    // One that nobody uses is closed after a while, and the last tunnel's end is the proxy's.
    assert!(idle.is_closed());
    assert_eq!(stage.get("/").status, 200);
    tunnel.stream().shutdown(std::net::Shutdown::Write).unwrap();
    assert!(tunnel.is_closed());
    assert_eq!(proxy.wait(), grace_model::instance::ExitCause::Code(0));
    assert_eq!(stage.get("/").status, 200);
}

#[test]
fn a_stopped_proxy_goes_on_where_it_was_and_judges_nobody() {
    let (mut stage, _listeners, proxy) = stage();
    stage.change(|table| {
        table.services[0].probe = Some(grace_model::ipc::TableProbe {
            timeout_ms: 100,
            ..crate::stage::probe()
        });
    });
    stage.until("it probes", |stage| stage.total("probes") > 4);
    proxy.signal(Signal::Stop);
    let mut client = stage.client();
    client.send("GET", "/", "", b"");
    std::thread::sleep(std::time::Duration::from_millis(1_200));
    proxy.signal(Signal::Continue);
    assert_eq!(client.answer("GET").status, 200);
    stage.until_journalled(
        "that it was stalled",
        |what| matches!(what, grace_model::event::What::Stalled { late_ms, .. } if *late_ms > 100),
    );
    let bad = stage
        .supervisor
        .heard()
        .into_iter()
        .any(|request| matches!(request, grace_model::ipc::Request::Health { ok: false, .. }));
    assert!(!bad, "no instance was blamed for the proxy's sleep");
}

#[test]
fn listening_sockets_are_handed_over_to_who_asks() {
    let (stage, listeners, proxy) = stage();
    drop(listeners);
    let mut stream = UnixStream::connect(stage.layout().proxy_socket()).unwrap();
    stream.write_all(b"listeners\n").unwrap();
    let mut taken: Vec<OwnedFd> = Vec::new();
    loop {
        let got = grace_os::pass::receive(&stream, 256).unwrap();
        if got.bytes == b"end" {
            break;
        }
        assert_eq!(got.bytes, format!("listen:shop:{}", taken.len()).as_bytes());
        assert_eq!(got.fds.len(), 1);
        taken.extend(got.fds);
    }
    assert_eq!(taken.len(), 2);
    // They are the very sockets: who has them serves the same port when the proxy is gone.
    proxy.signal(Signal::Kill);
    proxy.wait();
    let taken: Vec<TcpListener> = taken.into_iter().map(TcpListener::from).collect();
    let _next = Proxy::start(&stage, &taken);
    for _ in 0..10 {
        assert_eq!(stage.get("/").status, 200);
    }
}

#[test]
fn the_socket_is_private_and_says_what_may_be_said() {
    use std::os::unix::fs::PermissionsExt;
    let stage = Stage::new(0);
    let path = stage.layout().proxy_socket();
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(b"what?\n").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    assert!(said.contains("say `listeners` or `stats`"), "{said}");
}

#[test]
fn without_a_configuration_the_error_names_the_file_and_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let error = grace_proxy::main(dir.path()).unwrap_err().to_string();
    assert!(
        error.contains("config.json") && error.contains("grace up"),
        "{error}"
    );
}
