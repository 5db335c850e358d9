//! Starts, readiness, the reflex, and an orderly end.

use grace_model::config::{ConfigFile, ConfigFormat, Ready, Socket};
use grace_model::event::{RestartBy, What};
use grace_model::instance::{ExitCause, State};
use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::host::{Host, is_alive, kill, read, service, until, with_command};

#[test]
fn instances_run_as_processes_of_their_own_and_a_shutdown_leaves_none() {
    let mut shop = service("shop", &["idle"]);
    shop.instances = 3;
    let host = Host::new(vec![shop, service("api", &["notify"])]).with_parts("proxy healer");
    let keeper = host.up();
    let mut pids: Vec<u32> = ["shop-1", "shop-2", "shop-3", "api-1"]
        .map(|id| host.await_ready(id).pid)
        .to_vec();
    assert_eq!(host.pid_of("keeper"), keeper);
    pids.extend(["keeper", "supervisor", "proxy", "healer"].map(|name| host.pid_of(name)));
    let count = pids.len();
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), count);
    host.down();
    assert!(!pids.into_iter().any(is_alive));
}

#[test]
fn shares_of_ready_instances_sum_to_the_whole_and_kernels_are_told() {
    let mut shop = service("shop", &["idle"]);
    shop.instances = 3;
    let host = Host::new(vec![shop]);
    host.up();
    host.await_ready("shop-3");
    let status = host.await_status("three ready", |status| {
        let ready = status.instances.iter().all(|it| it.state == State::Ready);
        (ready && status.instances.len() == 3).then(|| status.clone())
    });
    let weights: Vec<u32> = status.instances.iter().map(|it| it.weight).collect();
    assert_eq!(weights, [3334, 3333, 3333]);
    let kernels: Vec<&str> = status
        .kernels
        .iter()
        .map(|kernel| kernel.name.as_str())
        .collect();
    assert_eq!(kernels, ["platform", "fleet"]);
}

#[test]
fn an_instance_that_notifies_is_starting_until_it_says_ready() {
    let mut api = service("api", &["notify"]);
    api.ready = Ready::Notify;
    let mut mute = service("mute", &["idle"]);
    mute.ready = Ready::Notify;
    mute.start_timeout_ms = 600;
    mute.restart.own_max = 1;
    let host = Host::new(vec![api, mute]);
    host.up();
    host.await_ready("api-1");
    // One restart is allowed; then the start has failed for good.
    let failed = host.await_state("mute-1", State::Failed);
    let reason = failed.reason.unwrap();
    assert!(
        reason.contains("not ready 600 ms after its start"),
        "{reason}"
    );
    assert_eq!(failed.pid, 0);
}

#[test]
fn a_killed_instance_is_started_again_at_once_under_a_new_generation() {
    let host = Host::new(vec![service("shop", &["idle"])]);
    host.up();
    let before = host.await_ready("shop-1");
    kill(before.pid);
    let after = host.await_status("a new process", |status| {
        let it = status.instances.first()?;
        (it.generation == 2 && it.state == State::Ready).then(|| it.clone())
    });
    assert_ne!(before.pid, after.pid);
    assert_eq!(after.restarts, 1);
    let cause = host.await_event("exited", |what| match what {
        What::Exited {
            cause,
            wanted: false,
            pid,
            ..
        } if *pid == before.pid => Some(cause.clone()),
        _ => None,
    });
    assert_eq!(cause, ExitCause::Signal(9));
    let delay = host.await_event("planned", |what| match what {
        What::RestartPlanned {
            by: RestartBy::Reflex,
            delay_ms,
            ..
        } => Some(*delay_ms),
        _ => None,
    });
    assert_eq!(delay, 0);
}

#[test]
fn a_worker_that_dies_at_once_for_ever_is_given_up_with_backoff_and_its_last_words() {
    let script = "echo cannot open the shop; exit 7".to_owned();
    let mut shop = with_command("shop", vec!["sh".into(), "-c".into(), script]);
    shop.restart.own_max = 3;
    shop.restart.backoff_min_ms = 20;
    let host = Host::new(vec![shop]);
    host.up();
    let failed = host.await_state("shop-1", State::Failed);
    let reason = failed.reason.unwrap();
    assert!(
        reason.contains("code:7") && reason.contains("given up after 3 restarts"),
        "{reason}"
    );
    let events = host.events();
    let delays: Vec<u64> = events
        .iter()
        .filter_map(|what| match what {
            What::RestartPlanned { delay_ms, .. } => Some(*delay_ms),
            _ => None,
        })
        .collect();
    assert_eq!(delays, [20, 40, 80]);
    assert!(
        events
            .iter()
            .any(|what| matches!(what, What::BudgetExhausted { restarts: 3, .. }))
    );
    assert!(events.iter().any(|what| matches!(what,
        What::Exited { cause: ExitCause::Code(7), tail, .. } if tail.contains("cannot open the shop"))));
}

#[test]
fn a_command_that_does_not_exist_is_said_and_nothing_else_suffers() {
    let mut shop = with_command("shop", vec!["/usr/bin/no-such-program-here".into()]);
    shop.restart.own_max = 1;
    shop.restart.backoff_min_ms = 10;
    let host = Host::new(vec![shop, service("api", &["idle"])]);
    host.up();
    host.await_ready("api-1");
    let failed = host.await_state("shop-1", State::Failed);
    let reason = failed.reason.unwrap();
    assert!(
        reason.contains("no-such-program-here") && reason.contains("not found"),
        "{reason}"
    );
}

#[test]
fn a_worker_sees_its_port_its_directory_its_seeds_and_no_foreign_variables() {
    let mut shop = service("shop", &["tell"]);
    shop.socket = Socket::Port;
    shop.env.insert("COLOUR".into(), "blue".into());
    let mut host = Host::new(vec![shop]);
    let seed = host.dir.path().join("seed.json");
    fs::write(&seed, "{}").unwrap();
    let path = "{data}/conf/shop.json".to_owned();
    host.services[0].config = vec![ConfigFile {
        path,
        seed: Some(seed),
        format: ConfigFormat::Json,
    }];
    host.write_config();
    host.up();
    let it = host.await_ready("shop-1");
    let told = until("its environment", || {
        let text = read(&host.data("shop-1").join("environment"));
        (!text.is_empty()).then_some(text)
    });
    let value = |key: &str| {
        told.lines()
            .find_map(|line| line.strip_prefix(&format!("{key}=")))
            .map(str::to_owned)
    };
    assert_eq!(value("PORT"), Some(it.port.to_string()));
    assert!(!grace_os::port::ephemeral().contains(&it.port));
    assert_eq!(value("COLOUR").as_deref(), Some("blue"));
    assert_eq!(
        value("GRACE_DATA"),
        Some(host.data("shop-1").display().to_string())
    );
    assert!(value("GRACE_INSTANCE").unwrap().ends_with(":shop-1:1"));
    assert!(value("NOTIFY_SOCKET").is_some() && value("PATH").is_some());
    assert!(value("CARGO_MANIFEST_DIR").is_none(), "{told}");
    assert_eq!(read(&host.data("shop-1").join("conf/shop.json")), "{}");
}

#[test]
fn a_port_is_kept_over_restarts_and_no_two_instances_share_one() {
    let mut shop = service("shop", &["idle"]);
    shop.socket = Socket::Port;
    shop.instances = 4;
    let host = Host::new(vec![shop]);
    host.up();
    let ids = ["shop-1", "shop-2", "shop-3", "shop-4"];
    let before: Vec<_> = ids.iter().map(|id| host.await_ready(id)).collect();
    let mut ports: Vec<u16> = before.iter().map(|it| it.port).collect();
    before.iter().for_each(|it| kill(it.pid));
    let after: Vec<u16> = host.await_status("four new ones", |status| {
        let new = status
            .instances
            .iter()
            .all(|it| it.generation == 2 && it.state == State::Ready);
        new.then(|| status.instances.iter().map(|it| it.port).collect())
    });
    assert_eq!(ports, after);
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 4);
}

#[test]
fn an_inherited_socket_outlives_its_instance_and_serves_what_waited() {
    let mut shop = service("shop", &["accept"]);
    shop.socket = Socket::Inherit;
    let host = Host::new(vec![shop]);
    host.up();
    let it = host.await_ready("shop-1");
    let call = || {
        let mut text = String::new();
        let mut stream = TcpStream::connect(("127.0.0.1", it.port)).unwrap();
        stream.set_read_timeout(Some(crate::host::LONG)).unwrap();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    assert_eq!(call(), format!("{} 1", it.pid));
    crate::host::kill_now(it.pid);
    // Nobody accepts at this moment, and yet the connection is taken.
    let answer = call();
    assert!(
        answer.ends_with(" 1") && !answer.starts_with(&it.pid.to_string()),
        "{answer}"
    );
}

#[test]
fn a_late_heartbeat_degrades_and_the_next_one_restores() {
    let mut api = service("api", &["notify"]);
    api.ready = Ready::Notify;
    api.heartbeat_ms = Some(1_000);
    let host = Host::new(vec![api]);
    host.up();
    host.await_ready("api-1");
    fs::write(host.data("api-1").join("quiet"), "").unwrap();
    let late = host.await_state("api-1", State::Degraded);
    assert_eq!(late.reason.as_deref(), Some("its heartbeat is late"));
    host.await_event("heartbeat", |what| match what {
        What::Heartbeat {
            age_ms,
            limit_ms: 1_000,
            ..
        } => (*age_ms > 1_000).then_some(()),
        _ => None,
    });
    fs::remove_file(host.data("api-1").join("quiet")).unwrap();
    assert_eq!(host.await_ready("api-1").pid, late.pid);
}

#[test]
fn a_stopped_process_is_degraded_and_told_again_and_again_until_it_goes_on() {
    let mut shop = service("shop", &["idle"]);
    shop.probe_interval_ms = 50;
    let host = Host::new(vec![shop]);
    host.up();
    let it = host.await_ready("shop-1");
    crate::host::signal(it.pid, grace_os::Signal::Stop);
    let degraded = host.await_state("shop-1", State::Degraded);
    assert_eq!(degraded.reason.as_deref(), Some("its process is stopped"));
    until("it is told three times", || {
        let told = host.events().into_iter().filter(|what| {
            matches!(
                what,
                What::ProcessState {
                    state: grace_model::event::ProcessState::Stopped,
                    ..
                }
            )
        });
        (told.count() >= 3).then_some(())
    });
    crate::host::signal(it.pid, grace_os::Signal::Continue);
    assert_eq!(host.await_ready("shop-1").pid, it.pid);
}

#[test]
fn a_second_keeper_on_the_same_state_is_refused() {
    let host = Host::new(vec![service("shop", &["idle"])]);
    host.up();
    let pid = host.await_ready("shop-1").pid;
    let second =
        grace_supervisor::keeper::start(&crate::host::fixture(), host.layout.root(), Vec::new());
    assert!(second.is_err());
    assert!(
        host.log()
            .contains("another keeper runs on this state directory"),
        "{}",
        host.log()
    );
    assert_eq!(host.await_ready("shop-1").pid, pid);
}

#[test]
fn after_a_shutdown_everything_starts_anew_and_numbers_go_on() {
    let mut bad = with_command("bad", vec!["false".into()]);
    bad.restart.own_max = 1;
    bad.restart.backoff_min_ms = 10;
    let host = Host::new(vec![service("shop", &["idle"]), bad]);
    host.up();
    let before = host.await_ready("shop-1");
    let failed = host.await_state("bad-1", State::Failed);
    host.down();
    host.up();
    let after = host.await_ready("shop-1");
    assert_eq!(after.generation, before.generation + 1);
    assert_eq!(after.restarts, 0);
    // What had failed got another chance.
    host.await_status("a new chance", |status| {
        let it = status
            .instances
            .iter()
            .find(|it| it.id.as_str() == "bad-1")?;
        (it.generation > failed.generation).then_some(())
    });
}

#[test]
fn a_shutdown_goes_on_when_the_supervisor_is_killed_in_it() {
    let script = "trap 'sleep 1; exit 0' TERM; while :; do sleep 0.05; done".to_owned();
    let mut shop = with_command("shop", vec!["sh".into(), "-c".into(), script]);
    shop.stop_timeout_ms = 20_000;
    let host = Host::new(vec![shop]);
    host.up();
    host.await_ready("shop-1");
    let supervisor = host.pid_of("supervisor");
    std::thread::scope(|scope| {
        scope.spawn(|| host.ask(&grace_model::ipc::Request::Shutdown));
        host.await_state("shop-1", State::Draining);
        crate::host::kill_now(supervisor);
    });
    until("the end of everything", || {
        host.remains().is_empty().then_some(())
    });
}

#[test]
fn a_shutdown_ends_also_what_waits_for_its_next_try_and_what_is_not_ready_yet() {
    let mut dies = with_command("dies", vec!["sh".into(), "-c".into(), "exit 7".into()]);
    dies.restart.backoff_min_ms = 3_600_000;
    dies.restart.backoff_max_ms = 3_600_000;
    let mut mute = service("mute", &["idle"]);
    mute.ready = Ready::Notify;
    mute.start_timeout_ms = 3_600_000;
    let host = Host::new(vec![dies, mute]);
    host.up();
    host.await_event("a planned restart", |what| match what {
        What::RestartPlanned { delay_ms, .. } => (*delay_ms > 0).then_some(()),
        _ => None,
    });
    let starting = host.await_status("a start", |status| {
        let it = status
            .instances
            .iter()
            .find(|it| it.id.as_str() == "mute-1")?;
        (it.pid != 0 && it.state == State::Starting).then_some(it.pid)
    });
    host.down();
    assert!(!is_alive(starting));
}

/// Writes lines that mean nothing, until the connection ends or `stop` says so.
fn flood(socket: std::os::unix::net::UnixStream, stop: &AtomicBool) -> bool {
    use std::io::Write;
    let mut socket = socket;
    let lines = "nonsense\n".repeat(500);
    while !stop.load(Ordering::Relaxed) {
        if socket.write_all(lines.as_bytes()).is_err() {
            return true;
        }
    }
    false
}

#[test]
fn a_client_that_asks_and_never_reads_is_cut_off() {
    let host = Host::new(vec![service("shop", &["idle"])]);
    host.up();
    host.await_ready("shop-1");
    let socket = UnixStream::connect(host.layout.supervisor_socket()).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let flooding = scope.spawn(|| flood(socket, &stop));
        let end = Instant::now() + Duration::from_secs(20);
        while !flooding.is_finished() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
        stop.store(true, Ordering::Relaxed);
        assert!(flooding.join().unwrap(), "it was heard for ever");
    });
    host.await_ready("shop-1");
}

#[test]
fn clients_that_ask_without_a_pause_hold_up_no_timer() {
    let mut dies = with_command("dies", vec!["sh".into(), "-c".into(), "exit 7".into()]);
    dies.restart.own_max = 3;
    dies.restart.backoff_min_ms = 500;
    let host = Host::new(vec![dies]);
    host.up();
    host.await_status("its answer", |_| Some(()));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let socket = UnixStream::connect(host.layout.supervisor_socket()).unwrap();
            let mut answers = socket.try_clone().unwrap();
            answers
                .set_read_timeout(Some(Duration::from_millis(100)))
                .unwrap();
            scope.spawn(|| flood(socket, &stop));
            let stop = &stop;
            scope.spawn(move || {
                let mut bytes = vec![0; 64 * 1024];
                while !stop.load(Ordering::Relaxed) {
                    let _ = answers.read(&mut bytes);
                }
                let _ = answers.shutdown(std::net::Shutdown::Both);
            });
        }
        let end = Instant::now() + Duration::from_secs(20);
        let failed = || {
            let status = host.status()?;
            (status.instances.first()?.state == State::Failed).then_some(())
        };
        let mut found = None;
        while found.is_none() && Instant::now() < end {
            found = failed();
        }
        stop.store(true, Ordering::Relaxed);
        assert!(found.is_some(), "its restarts were held up");
    });
}

#[test]
fn a_new_host_with_other_services_ends_what_is_not_among_them_any_more() {
    let mut host = Host::new(vec![service("shop", &["idle"]), service("old", &["idle"])]);
    let keeper = host.up();
    let shop = host.await_ready("shop-1");
    let old = host.await_ready("old-1");
    let supervisor = host.pid_of("supervisor");
    crate::host::signal(supervisor, grace_os::Signal::Stop);
    crate::host::kill_now(keeper);
    crate::host::kill_now(supervisor);
    host.services.pop();
    host.services.push(service("new", &["idle"]));
    host.write_config();
    host.up();
    host.await_ready("new-1");
    assert_eq!(host.await_ready("shop-1").pid, shop.pid);
    until("the end of the other", || {
        (!is_alive(old.pid)).then_some(())
    });
}
