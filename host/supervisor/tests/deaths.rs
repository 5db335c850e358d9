//! Every process of Grace killed, alone and together, and what instances leave behind.

use std::fs;

use grace_model::event::What;
use grace_model::instance::{ExitCause, State};

use crate::host::{Host, is_alive, kill, kill_now, read, service, until, until_or, with_command};

#[test]
fn a_killed_supervisor_is_replaced_and_adopts_what_runs() {
    let mut shop = service("shop", &["idle"]);
    shop.instances = 3;
    let host = Host::new(vec![shop]).with_parts("proxy healer");
    host.up();
    let ids = ["shop-1", "shop-2", "shop-3"];
    let before: Vec<_> = ids.iter().map(|id| host.await_ready(id)).collect();
    let parts = ["keeper", "proxy", "healer"].map(|name| host.pid_of(name));
    let old = host.pid_of("supervisor");
    kill_now(old);
    host.await_other("supervisor", old);
    for (id, before) in ids.iter().zip(&before) {
        let after = host.await_ready(id);
        assert_eq!(
            (after.pid, after.generation),
            (before.pid, before.generation)
        );
    }
    assert_eq!(
        ["keeper", "proxy", "healer"].map(|name| host.pid_of(name)),
        parts
    );
    host.await_event("adoption", |what| {
        matches!(what, What::Started { adopted: 3, .. }).then_some(())
    });
    // An adopted instance has the same reflex.
    kill(before[0].pid);
    host.await_status("a new process", |status| {
        let it = status.instances.first()?;
        (it.generation == 2 && it.state == State::Ready).then_some(())
    });
}

#[test]
fn the_exit_of_a_worker_that_died_while_there_was_no_supervisor_is_known() {
    let host = Host::new(vec![service("shop", &["idle"])]);
    host.up();
    let before = host.await_ready("shop-1");
    // A stopped supervisor sees nothing, and is killed before it could.
    let supervisor = host.pid_of("supervisor");
    crate::host::signal(supervisor, grace_os::Signal::Stop);
    crate::host::signal(before.pid, grace_os::Signal::Abort);
    until("its death", || (!is_alive(before.pid)).then_some(()));
    kill_now(supervisor);
    let cause = host.await_event("exited", |what| match what {
        What::Exited { pid, cause, .. } if *pid == before.pid => Some(cause.clone()),
        _ => None,
    });
    assert_eq!(cause, ExitCause::Signal(6));
    host.await_status("a new process", |status| {
        let it = status.instances.first()?;
        (it.generation == 2 && it.state == State::Ready).then_some(())
    });
}

#[test]
fn a_killed_keeper_is_replaced_by_one_that_holds_everything() {
    let host = Host::new(vec![service("shop", &["notify"])]);
    let keeper = host.up();
    let before = host.await_ready("shop-1");
    let supervisor = host.pid_of("supervisor");
    kill_now(keeper);
    let second = host.await_other("keeper", keeper);
    assert_eq!(host.pid_of("supervisor"), supervisor);
    assert_eq!(host.await_ready("shop-1").pid, before.pid);
    // The new one does the keeper's work: it starts the next supervisor, which adopts.
    kill_now(supervisor);
    host.await_other("supervisor", supervisor);
    assert_eq!(host.pid_of("keeper"), second);
    assert_eq!(host.await_ready("shop-1").pid, before.pid);
    kill(before.pid);
    let cause = host.await_event("exited", |what| match what {
        What::Exited { pid, cause, .. } if *pid == before.pid => Some(cause.clone()),
        _ => None,
    });
    assert_eq!(cause, ExitCause::Signal(9));
    host.down();
}

#[test]
fn stopped_keepers_and_supervisors_are_replaced() {
    let host = Host::new(vec![service("shop", &["idle"])]);
    let keeper = host.up();
    let before = host.await_ready("shop-1");
    crate::host::signal(keeper, grace_os::Signal::Stop);
    host.await_other("keeper", keeper);
    let supervisor = host.pid_of("supervisor");
    crate::host::signal(supervisor, grace_os::Signal::Stop);
    until_or(
        "its end",
        || host.log(),
        || (!is_alive(supervisor)).then_some(()),
    );
    host.await_other("supervisor", supervisor);
    assert_eq!(host.await_ready("shop-1").pid, before.pid);
}

#[test]
fn instances_survive_keeper_and_supervisor_and_the_next_host_adopts_them() {
    let mut shop = service("shop", &["idle"]);
    shop.instances = 2;
    shop.listen = Some(([127, 0, 0, 1], 0).into());
    let host = Host::new(vec![shop]).with_parts("proxy");
    let keeper = host.up();
    let before = [host.await_ready("shop-1"), host.await_ready("shop-2")];
    let proxy = host.pid_of("proxy");
    let listen = host.status().unwrap().services[0].listen;
    // Together, so that neither can start the other.
    let supervisor = host.pid_of("supervisor");
    crate::host::signal(supervisor, grace_os::Signal::Stop);
    kill_now(keeper);
    kill_now(supervisor);
    assert!(before.iter().all(|it| is_alive(it.pid)) && is_alive(proxy));
    host.up();
    for it in &before {
        let after = host.await_ready(it.id.as_str());
        assert_eq!((after.pid, after.generation), (it.pid, it.generation));
    }
    assert_eq!(host.pid_of("proxy"), proxy);
    // The proxy gave its sockets: the free port that was found is still the one.
    assert_eq!(host.status().unwrap().services[0].listen, listen);
    host.down();
}

#[test]
fn without_a_snapshot_instances_are_found_by_their_mark() {
    let mut shop = service("shop", &["idle"]);
    shop.instances = 2;
    let host = Host::new(vec![shop]);
    host.up();
    let before = [host.await_ready("shop-1"), host.await_ready("shop-2")];
    let supervisor = host.pid_of("supervisor");
    crate::host::signal(supervisor, grace_os::Signal::Stop);
    fs::write(host.layout.run().join("fleet.json"), "{ torn").unwrap();
    kill_now(supervisor);
    host.await_other("supervisor", supervisor);
    for it in before {
        assert_eq!(host.await_ready(it.id.as_str()).pid, it.pid);
    }
}

#[test]
fn a_snapshot_that_cannot_be_written_costs_nothing_that_runs() {
    let mut shop = service("shop", &["idle"]);
    shop.instances = 2;
    let host = Host::new(vec![shop]);
    host.up();
    let first = host.await_ready("shop-1");
    let other = host.await_ready("shop-2");
    // Nothing can be written there any more; what was written says generation 1.
    fs::create_dir(host.layout.run().join("fleet.json.new")).unwrap();
    kill(first.pid);
    let second = host.await_status("a new process", |status| {
        let it = status.instances.first()?;
        (it.generation == 2 && it.state == State::Ready).then(|| it.clone())
    });
    let supervisor = host.pid_of("supervisor");
    kill_now(supervisor);
    host.await_other("supervisor", supervisor);
    let adopted = host.await_ready("shop-1");
    assert_eq!((adopted.pid, adopted.generation), (second.pid, 2));
    assert_eq!(host.await_ready("shop-2").pid, other.pid);
}

#[test]
fn a_proxy_whose_pid_could_not_be_written_down_is_found_and_not_doubled() {
    let host = Host::new(vec![service("shop", &["idle"])]).with_parts("proxy healer");
    host.up();
    let before = ["proxy", "healer"].map(|name| host.pid_of(name));
    let supervisor = host.pid_of("supervisor");
    // As on a full disk, and as after a kill between the start and the note of it.
    fs::write(host.layout.run().join("proxy.pid"), "").unwrap();
    fs::remove_file(host.layout.run().join("healer.pid")).unwrap();
    kill_now(supervisor);
    host.await_other("supervisor", supervisor);
    assert_eq!(["proxy", "healer"].map(|name| host.pid_of(name)), before);
    host.down();
}

/// Stops the supervisor, changes what it leaves, and kills it.
fn kill_leaving(host: &Host, change: impl FnOnce(&mut serde_json::Value)) {
    let supervisor = host.pid_of("supervisor");
    crate::host::signal(supervisor, grace_os::Signal::Stop);
    kill_leaving_stopped(host, supervisor, change);
}

fn kill_leaving_stopped(host: &Host, supervisor: u32, change: impl FnOnce(&mut serde_json::Value)) {
    let path = host.layout.run().join("fleet.json");
    let mut snapshot: serde_json::Value =
        serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut snapshot);
    fs::write(&path, snapshot.to_string()).unwrap();
    kill_now(supervisor);
}

#[test]
fn a_supervisor_killed_at_the_very_end_of_a_shutdown_starts_nothing_again() {
    let host = Host::new(vec![service("shop", &["idle"])]).with_parts("proxy healer");
    host.up();
    host.await_ready("shop-1");
    // What is left when all has ended, and the keeper does not know it yet.
    kill_leaving(&host, |snapshot| snapshot["clean"] = true.into());
    until_or(
        "the end of everything",
        || host.log(),
        || host.remains().is_empty().then_some(()),
    );
    // And a new start is one, also when its first supervisor dies before it stands.
    let config = fs::read(host.layout.config()).unwrap();
    let deaths = || host.log().matches("the supervisor has ended").count();
    let before = deaths();
    fs::write(host.layout.config(), "not yet").unwrap();
    host.up();
    until_or(
        "the death of one",
        || host.log(),
        || (deaths() > before).then_some(()),
    );
    fs::write(host.layout.config(), config).unwrap();
    host.await_ready("shop-1");
    host.down();
}

#[test]
fn a_start_after_a_shutdown_that_was_cut_off_is_a_start() {
    let host = Host::new(vec![service("shop", &["idle"])]);
    let keeper = host.up();
    let before = host.await_ready("shop-1");
    let supervisor = host.pid_of("supervisor");
    crate::host::signal(supervisor, grace_os::Signal::Stop);
    kill_now(keeper);
    kill_leaving_stopped(&host, supervisor, |snapshot| {
        snapshot["ending"] = true.into()
    });
    host.up();
    let after = host.await_ready("shop-1");
    assert_eq!(after.pid, before.pid);
    // Its successor knows nothing of an end either.
    let supervisor = host.pid_of("supervisor");
    kill_now(supervisor);
    host.await_other("supervisor", supervisor);
    assert_eq!(host.await_ready("shop-1").pid, before.pid);
}

#[test]
fn a_restart_of_a_process_of_grace_that_was_only_noted_is_carried_out_by_the_next_supervisor() {
    let host = Host::new(vec![service("shop", &["idle"])]).with_parts("proxy healer");
    host.up();
    let healer = host.pid_of("healer");
    let old = serde_json::to_value(grace_os::process::identity(healer).unwrap()).unwrap();
    kill_leaving(&host, |snapshot| {
        snapshot["wide"] =
            serde_json::json!([{ "process": { "op": "op-1", "process": "healer", "old": old } }]);
    });
    host.await_other("healer", healer);
    host.await_event("the end of the operation", |what| match what {
        What::OperationDone { op, .. } => (op.as_str() == "op-1").then_some(()),
        _ => None,
    });
}

/// A script that leaves a process which called setsid and forked twice, and tells its pid.
const DAEMON: &str = r#"
( setsid sh -c 'sleep 86400 & echo $! > "$GRACE_DATA/daemon.new"; mv "$GRACE_DATA/daemon.new" "$GRACE_DATA/daemon"' & )
exec sleep 86400
"#;

fn daemon_of(host: &Host, id: &str) -> u32 {
    until_or(
        "the daemon",
        || host.log(),
        || read(&host.data(id).join("daemon")).trim().parse().ok(),
    )
}

fn descendants_end(user: Option<&str>) {
    let mut shop = with_command("shop", vec!["sh".into(), "-c".into(), DAEMON.into()]);
    if user.is_some() {
        shop.user = user.map(str::to_owned);
    }
    let host = Host::new(vec![shop]);
    host.up();
    let before = host.await_ready("shop-1");
    let daemon = daemon_of(&host, "shop-1");
    assert!(is_alive(daemon));
    fs::remove_file(host.data("shop-1").join("daemon")).unwrap();
    kill(before.pid);
    until_or(
        "the daemon's end",
        || host.log(),
        || (!is_alive(daemon)).then_some(()),
    );
    let second = daemon_of(&host, "shop-1");
    host.down();
    assert!(!is_alive(second));
}

#[test]
fn every_descendant_ends_with_its_instance_also_one_that_called_setsid_and_forked_twice() {
    descendants_end(None);
}

#[test]
fn descendants_of_another_user_end_too() {
    if grace_needs::as_root("descendants_of_another_user_end_too") {
        descendants_end(Some("nobody"));
    }
}

#[test]
fn as_root_a_service_without_user_runs_as_nobody_in_its_own_directory() {
    if !grace_needs::as_root("as_root_a_service_without_user_runs_as_nobody_in_its_own_directory") {
        return;
    }
    let script = "id -un > \"$GRACE_DATA/who.new\"; mv \"$GRACE_DATA/who.new\" \"$GRACE_DATA/who\"; exec sleep 86400";
    let mut shop = with_command("shop", vec!["sh".into(), "-c".into(), script.into()]);
    shop.user = None;
    let host = Host::new(vec![shop]);
    host.up();
    host.await_ready("shop-1");
    let who = until_or(
        "its name",
        || host.log(),
        || {
            let who = read(&host.data("shop-1").join("who"));
            (!who.is_empty()).then_some(who)
        },
    );
    assert_eq!(who.trim(), "nobody");
}
