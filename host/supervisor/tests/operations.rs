//! Operations: their effects, their ids, their ends.

use grace_model::command::{Command, Outcome, StopMode};
use grace_model::event::{RestartBy, What};
use grace_model::id::{InstanceId, ServiceName};
use grace_model::instance::State;

use crate::host::{Host, is_alive, kill, kill_now, service, until, with_command};

fn restart(id: &str, mode: StopMode) -> Command {
    Command::Restart {
        instance: InstanceId::from(id),
        mode,
        reason: "test".into(),
    }
}

fn planned_by_operation(host: &Host) -> usize {
    let by = |what: &What| {
        matches!(
            what,
            What::RestartPlanned {
                by: RestartBy::Operation,
                ..
            }
        )
    };
    host.events().iter().filter(|what| by(what)).count()
}

#[test]
fn the_same_operation_has_one_effect_also_after_the_supervisors_death() {
    let host = Host::new(vec![service("shop", &["idle"])]);
    host.up();
    host.await_ready("shop-1");
    let first = host.command("op-1", restart("shop-1", StopMode::Kill));
    assert_eq!(first, Outcome::Done { number: 2 });
    assert_eq!(
        host.command("op-1", restart("shop-1", StopMode::Kill)),
        first
    );
    kill_now(host.pid_of("supervisor"));
    assert_eq!(
        host.command("op-1", restart("shop-1", StopMode::Kill)),
        first
    );
    assert_eq!(host.await_ready("shop-1").generation, 2);
    assert_eq!(planned_by_operation(&host), 1);
}

#[test]
fn an_operation_begun_by_a_dead_supervisor_is_finished_by_the_next_once() {
    // It takes its time to end, so that the supervisor can be killed in between.
    let script = "trap 'sleep 1; exit 0' TERM; while :; do sleep 0.05; done".to_owned();
    let mut shop = with_command("shop", vec!["sh".into(), "-c".into(), script]);
    shop.stop_timeout_ms = 20_000;
    let host = Host::new(vec![shop]);
    host.up();
    let before = host.await_ready("shop-1");
    let supervisor = host.pid_of("supervisor");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            host.await_state("shop-1", State::Draining);
            kill_now(supervisor);
        });
        // Asks again whenever the connection ends.
        let outcome = host.command("op-1", restart("shop-1", StopMode::Graceful));
        assert_eq!(outcome, Outcome::Done { number: 2 });
    });
    assert_ne!(host.pid_of("supervisor"), supervisor);
    assert_ne!(host.await_ready("shop-1").pid, before.pid);
    assert_eq!(planned_by_operation(&host), 1);
    let begun = host
        .events()
        .iter()
        .filter(|w| matches!(w, What::OperationBegun { .. }))
        .count();
    assert_eq!(begun, 1);
}

#[test]
fn a_worker_that_ignores_sigterm_is_killed_after_its_time() {
    let script = "trap '' TERM; while :; do sleep 0.05; done".to_owned();
    let mut shop = with_command("shop", vec!["sh".into(), "-c".into(), script]);
    shop.stop_timeout_ms = 300;
    let host = Host::new(vec![shop]);
    host.up();
    let before = host.await_ready("shop-1");
    let outcome = host.command("op", restart("shop-1", StopMode::Graceful));
    assert_eq!(outcome, Outcome::Done { number: 2 });
    assert!(!is_alive(before.pid));
}

#[test]
fn a_stopped_instance_is_restarted_although_no_sigterm_reaches_it() {
    let host = Host::new(vec![service("shop", &["idle"])]);
    host.up();
    let before = host.await_ready("shop-1");
    crate::host::signal(before.pid, grace_os::Signal::Stop);
    host.await_state("shop-1", State::Degraded);
    let outcome = host.command("op", restart("shop-1", StopMode::Graceful));
    assert_eq!(outcome, Outcome::Done { number: 2 });
    assert!(!is_alive(before.pid));
}

#[test]
fn an_instance_is_paused_resumed_drained_quarantined_and_released() {
    let host = Host::new(vec![service("shop", &["idle"])]).with_parts("proxy");
    host.up();
    let pid = host.await_ready("shop-1").pid;
    let instance = || InstanceId::from("shop-1");
    let reason = || "test".to_owned();
    let done = Outcome::Done { number: 0 };
    let ask = |op: &str, command| assert_eq!(host.command(op, command), done, "{op}");
    ask(
        "1",
        Command::Pause {
            instance: instance(),
            reason: reason(),
        },
    );
    host.await_state("shop-1", State::Paused);
    until("the kernel stopped it", || {
        (grace_os::process::stat(pid)?.state == 'T').then_some(())
    });
    ask(
        "2",
        Command::Resume {
            instance: instance(),
            reason: reason(),
        },
    );
    host.await_ready("shop-1");
    ask(
        "3",
        Command::Drain {
            instance: instance(),
            reason: reason(),
        },
    );
    host.await_state("shop-1", State::Draining);
    ask(
        "4",
        Command::Release {
            instance: instance(),
            reason: reason(),
        },
    );
    host.await_ready("shop-1");
    ask(
        "5",
        Command::Quarantine {
            instance: instance(),
            reason: reason(),
        },
    );
    host.await_state("shop-1", State::Quarantined);
    ask(
        "6",
        Command::Release {
            instance: instance(),
            reason: reason(),
        },
    );
    assert_eq!(host.await_ready("shop-1").pid, pid);
    let unknown = Command::Release {
        instance: InstanceId::from("shop-9"),
        reason: reason(),
    };
    let refused = host.command("7", unknown);
    assert!(
        matches!(
            refused,
            Outcome::Refused {
                unknown_target: true,
                ..
            }
        ),
        "{refused:?}"
    );
}

#[test]
fn a_service_is_scaled_up_and_down_and_the_number_survives_the_supervisor() {
    let host = Host::new(vec![service("shop", &["idle"])]);
    host.up();
    host.await_ready("shop-1");
    let scale = |instances| Command::Scale {
        service: ServiceName::from("shop"),
        instances,
        reason: "test".into(),
    };
    assert_eq!(host.command("up", scale(3)), Outcome::Done { number: 1 });
    let third = host.await_ready("shop-3").pid;
    kill_now(host.pid_of("supervisor"));
    assert_eq!(host.await_ready("shop-3").pid, third);
    assert_eq!(host.command("down", scale(1)), Outcome::Done { number: 3 });
    assert!(!is_alive(third));
    let left = host.await_status("one", |status| {
        (status.instances.len() == 1).then(|| status.services[0].instances)
    });
    assert_eq!(left, 1);
    let refused = host.command("many", scale(257));
    assert!(matches!(refused, Outcome::Refused { .. }), "{refused:?}");
}

#[test]
fn a_process_of_grace_is_restarted_on_request_and_after_its_death_or_stop() {
    let host = Host::new(vec![service("shop", &["idle"])]).with_parts("proxy healer");
    host.up();
    let (proxy, healer) = (host.pid_of("proxy"), host.pid_of("healer"));
    let command = Command::RestartProcess {
        process: "healer".into(),
    };
    assert_eq!(host.command("op", command), Outcome::Done { number: 0 });
    let second = host.await_other("healer", healer);
    assert!(!is_alive(healer));
    kill(proxy);
    let next = host.await_other("proxy", proxy);
    // Stopped is as good as dead.
    crate::host::signal(next, grace_os::Signal::Stop);
    host.await_other("proxy", next);
    assert_eq!(host.pid_of("healer"), second);
}
