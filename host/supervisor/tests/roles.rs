//! Roles with real processes: failover, fences, promotion, refill, versions.

use grace_model::command::{Command, Outcome, Strategy};
use grace_model::config::{Roles, Service};
use grace_model::event::What;
use grace_model::id::{InstanceId, ServiceName};
use grace_model::instance::{InstanceView, Role, State};
use grace_model::ipc::FleetStatus;
use grace_os::Signal;

use crate::host::{Host, is_alive, kill_now, service, signal};

fn with_roles(active: u32, hot: u32, warm: u32) -> Service {
    let mut service = service("shop", &["idle"]);
    service.roles = Some(Roles { active, hot, warm });
    service.instances = active + hot + warm;
    service
}

fn up(service: Service) -> Host {
    let host = Host::new(vec![service]);
    host.up();
    host
}

fn role(status: &FleetStatus, id: &str, role: Role, state: State) -> Option<InstanceView> {
    let found = status.instances.iter().find(|it| it.id.as_str() == id)?;
    (found.role == role && found.state == state).then(|| found.clone())
}

impl Host {
    /// Waits for roles and states, and checks at every look that no two have a share.
    fn await_roles(&self, wanted: &[(&str, Role, State)]) -> Vec<InstanceView> {
        self.await_status(&format!("{wanted:?}"), |status| {
            let serving: Vec<&InstanceView> =
                status.instances.iter().filter(|it| it.weight > 0).collect();
            assert!(serving.len() <= 1, "{serving:?}");
            wanted
                .iter()
                .map(|(id, of, state)| role(status, id, *of, *state))
                .collect()
        })
    }

    fn fleet_events(&self) -> Vec<String> {
        let kind = |what: What| match what {
            What::Fleet { kind, .. } => Some(kind),
            _ => None,
        };
        self.events().into_iter().filter_map(kind).collect()
    }

    fn stands(&self) -> Vec<InstanceView> {
        self.await_roles(&[
            ("shop-1", Role::Active, State::Ready),
            ("shop-2", Role::Hot, State::Ready),
            ("shop-3", Role::Warm, State::Stopped),
        ])
    }
}

fn promote(id: &str) -> Command {
    Command::Promote {
        instance: InstanceId::from(id),
        reason: "test".into(),
    }
}

#[test]
fn a_killed_active_instance_is_followed_by_the_hot_one_and_the_warm_one_refills() {
    let host = up(with_roles(1, 1, 1));
    let before = host.stands();
    assert_eq!((before[0].weight, before[1].weight), (10_000, 0));
    assert_eq!(before[2].pid, 0, "a warm one does not run");
    kill_now(before[0].pid);
    let after = host.await_roles(&[
        ("shop-1", Role::Warm, State::Stopped),
        ("shop-2", Role::Active, State::Ready),
        ("shop-3", Role::Hot, State::Ready),
    ]);
    assert_eq!(after[1].pid, before[1].pid, "it was running already");
    assert_eq!(after[1].weight, 10_000);
    let told = host.fleet_events();
    assert!(told.contains(&"promoted".to_owned()), "{told:?}");
    assert!(told.contains(&"refilled".to_owned()), "{told:?}");
    // And again. The warm one has died before, so it is no better than the one that died now.
    kill_now(after[1].pid);
    host.await_roles(&[
        ("shop-3", Role::Active, State::Ready),
        ("shop-2", Role::Hot, State::Ready),
        ("shop-1", Role::Warm, State::Stopped),
    ]);
    host.down();
}

#[test]
fn a_stopped_active_instance_is_dead_before_another_has_its_share() {
    let host = up(with_roles(1, 1, 1));
    let old = host.stands()[0].pid;
    signal(old, Signal::Stop);
    let heir = host.await_status("an heir", |status| {
        let serving = status
            .instances
            .iter()
            .find(|it| it.weight > 0 && it.pid != old);
        if let Some(serving) = serving {
            assert!(!is_alive(old), "{serving:?} while the old one lives");
        }
        serving.cloned()
    });
    assert_eq!(heir.id.as_str(), "shop-2");
    assert!(host.fleet_events().contains(&"fencing".to_owned()));
    host.down();
}

#[test]
fn roles_survive_the_supervisors_death_and_a_death_meanwhile_is_answered() {
    let host = up(with_roles(1, 1, 1));
    let before = host.stands();
    let supervisor = host.pid_of("supervisor");
    signal(supervisor, Signal::Stop);
    kill_now(before[0].pid);
    kill_now(supervisor);
    host.await_other("supervisor", supervisor);
    let after = host.await_roles(&[
        ("shop-1", Role::Warm, State::Stopped),
        ("shop-2", Role::Active, State::Ready),
        ("shop-3", Role::Hot, State::Ready),
    ]);
    assert_eq!(after[1].pid, before[1].pid);
    host.down();
}

#[test]
fn a_promotion_changes_places_and_impossible_ones_change_nothing() {
    let host = up(with_roles(1, 1, 1));
    let before = host.stands();
    assert_eq!(
        host.command("p", promote("shop-2")),
        Outcome::Done { number: 1 }
    );
    let after = host.await_roles(&[
        ("shop-1", Role::Hot, State::Ready),
        ("shop-2", Role::Active, State::Ready),
    ]);
    assert_eq!((after[0].pid, after[1].pid), (before[0].pid, before[1].pid));
    for (id, unknown, says) in [
        ("shop-9", true, "no instance 9"),
        ("till-1", true, "no service till"),
        ("shop-3", false, "warm"),
    ] {
        match host.command(id, promote(id)) {
            Outcome::Refused {
                unknown_target,
                reason,
            } => {
                assert_eq!(unknown_target, unknown, "{reason}");
                assert!(reason.contains(says), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }
    host.await_roles(&[("shop-2", Role::Active, State::Ready)]);
    host.down();
}

#[test]
fn roles_are_scaled_and_a_scale_without_roles_is_refused() {
    let host = up(with_roles(1, 1, 1));
    host.stands();
    let resize = |active, hot, warm| Command::Resize {
        service: ServiceName::from("shop"),
        roles: Roles { active, hot, warm },
        reason: "test".into(),
    };
    assert_eq!(
        host.command("up", resize(1, 2, 1)),
        Outcome::Done { number: 3 }
    );
    host.await_status("two hot ones", |status| {
        let ready = |it: &&InstanceView| it.role == Role::Hot && it.state == State::Ready;
        let hot = status.instances.iter().filter(ready).count();
        (hot == 2 && status.instances.len() == 4).then_some(())
    });
    assert_eq!(
        host.command("down", resize(1, 1, 0)),
        Outcome::Done { number: 4 }
    );
    host.await_status("one hot one and no warm one", |status| {
        (status.instances.len() == 2).then_some(())
    });
    let scale = Command::Scale {
        service: ServiceName::from("shop"),
        instances: 3,
        reason: "test".into(),
    };
    assert!(
        matches!(host.command("flat", scale), Outcome::Refused { reason, .. }
        if reason.contains("--active"))
    );
    assert!(matches!(
        host.command("none", resize(0, 1, 1)),
        Outcome::Refused { .. }
    ));
    host.down();
}

fn with_mark(mark: &str) -> Service {
    let mut service = service("shop", &["idle"]);
    service.instances = 2;
    service.env.insert("MARK".into(), mark.into());
    service
}

fn marks(host: &Host) -> Option<Vec<String>> {
    let status = host.status()?;
    let mark = |it: &InstanceView| grace_os::process::environ_value(it.pid, "MARK");
    status.instances.iter().map(mark).collect()
}

fn rollout(service: Service, strategy: Strategy) -> Command {
    Command::Rollout {
        definition: Box::new(service),
        strategy,
        reason: "test".into(),
    }
}

#[test]
fn a_rollout_replaces_every_process_and_a_rollback_brings_the_old_version() {
    let host = up(with_mark("one"));
    host.await_ready("shop-1");
    host.await_ready("shop-2");
    let done = host.command("r", rollout(with_mark("two"), Strategy::Rolling));
    assert_eq!(done, Outcome::Done { number: 2 });
    assert_eq!(marks(&host).unwrap(), ["two", "two"]);
    // What runs is what is kept: a new supervisor restarts the new version.
    let supervisor = host.pid_of("supervisor");
    kill_now(supervisor);
    host.await_other("supervisor", supervisor);
    let old = host.await_ready("shop-1");
    kill_now(old.pid);
    host.await_status("another process", |status| {
        let it = status.instances.iter().find(|it| it.id == old.id)?;
        (it.pid != 0 && it.pid != old.pid && it.state == State::Ready).then_some(())
    });
    assert_eq!(marks(&host).unwrap(), ["two", "two"]);
    let back = Command::Rollback {
        service: ServiceName::from("shop"),
        reason: "test".into(),
    };
    assert_eq!(host.command("b", back), Outcome::Done { number: 1 });
    assert_eq!(marks(&host).unwrap(), ["one", "one"]);
    host.down();
}

#[test]
fn a_version_that_does_not_start_goes_back_by_itself() {
    for (op, strategy) in [
        ("rolling", Strategy::Rolling),
        ("canary", Strategy::Canary),
        ("blue-green", Strategy::BlueGreen),
    ] {
        let host = up(with_mark("one"));
        host.await_ready("shop-1");
        host.await_ready("shop-2");
        let mut bad = with_mark("two");
        bad.command = vec!["/nowhere/at/all".into()];
        match host.command(op, rollout(bad, strategy)) {
            Outcome::TimedOut { reason } => assert!(reason.contains("rolled back"), "{reason}"),
            other => panic!("{other:?}"),
        }
        host.await_ready("shop-1");
        host.await_ready("shop-2");
        assert_eq!(marks(&host).unwrap(), ["one", "one"], "{op}");
        host.down();
    }
}

#[test]
fn a_rollout_of_nothing_new_or_to_another_port_is_refused() {
    let host = up(with_mark("one"));
    host.await_ready("shop-1");
    let mut elsewhere = with_mark("two");
    elsewhere.listen = Some("127.0.0.1:1".parse().unwrap());
    let mut other = with_mark("two");
    other.name = ServiceName::from("till");
    for (op, definition, says) in [
        ("same", with_mark("one"), "runs this already"),
        ("port", elsewhere, "not `listen`"),
        ("name", other, "no service till"),
    ] {
        match host.command(op, rollout(definition, Strategy::Rolling)) {
            Outcome::Refused { reason, .. } => assert!(reason.contains(says), "{reason}"),
            unexpected => panic!("{unexpected:?}"),
        }
    }
    assert_eq!(marks(&host).unwrap(), ["one", "one"]);
    host.down();
}
