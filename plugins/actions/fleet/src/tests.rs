//! The pack against the fake fleet.

use grace_plugin_sdk::host::{Role, State};
use grace_plugin_sdk::prelude::*;
use grace_plugin_sdk::testkit::{FakeHost, Manifest};

use crate::Fleet;

fn fleet() -> FakeHost {
    let host = FakeHost::start();
    host.world(|world| {
        for id in ["shop-1", "shop-2", "shop-3"] {
            world.instance(id, State::Ready);
        }
    });
    host
}

#[test]
fn restart_is_graceful_unless_told_otherwise_and_answers_the_generation() {
    let host = fleet();
    let done = host
        .run::<Fleet>("fleet.restart", &[("target", "shop-1".into())])
        .unwrap();
    assert!(done.changed && done.undo.is_empty());
    assert_eq!(done.outputs.count("generation"), 2);
    let kill = [("target", "shop-2".into()), ("mode", "kill".into())];
    host.run::<Fleet>("fleet.restart", &kill).unwrap();
    assert_eq!(
        host.effects(),
        ["restart shop-1 graceful", "restart shop-2 kill"]
    );
}

#[test]
fn an_instance_that_a_failover_made_warm_is_not_started_only_to_be_stopped() {
    let host = fleet();
    host.world(|world| {
        world.set_state("shop-1", State::Stopped);
        world.instance("shop-1", State::Stopped).role = Role::Warm;
    });
    let done = host
        .run::<Fleet>("fleet.restart", &[("target", "shop-1".into())])
        .unwrap();
    assert!(!done.changed && done.summary.contains("warm"), "{done:?}");
    assert!(host.effects().is_empty());
    // One that is stopped and active is started.
    host.world(|world| world.set_state("shop-2", State::Stopped));
    host.run::<Fleet>("fleet.restart", &[("target", "shop-2".into())])
        .unwrap();
    assert_eq!(host.effects(), ["restart shop-2 graceful"]);
}

#[test]
fn a_service_is_restarted_one_instance_after_another_each_ready_before_the_next() {
    let host = fleet();
    host.world(|world| {
        for (n, id) in ["shop-1", "shop-2", "shop-3"].into_iter().enumerate() {
            world.after(200 * (n as u64 + 1), move |world| {
                world.set_state(id, State::Ready)
            });
        }
    });
    let done = host
        .run::<Fleet>("fleet.restart", &[("target", "shop".into())])
        .unwrap();
    assert_eq!(done.outputs.count("restarted"), 3);
    assert!(host.world(|world| world.now()) >= 1_000_600);
}

#[test]
fn a_service_whose_first_instance_does_not_come_back_keeps_the_others() {
    let host = fleet();
    let call = [("target", "shop".into()), ("within", Value::Integer(500))];
    let error = host.run::<Fleet>("fleet.restart", &call).unwrap_err();
    assert!(
        matches!(&error, PluginError::Unavailable(text) if text.contains("1 of 3")),
        "{error:?}"
    );
    assert_eq!(host.effects(), ["restart shop-1 graceful"]);
}

#[test]
fn pause_drain_and_quarantine_are_taken_back_by_their_receipts() {
    for (action, undone) in [
        ("fleet.pause", "resume shop-1"),
        ("fleet.drain", "release shop-1"),
        ("fleet.quarantine", "release shop-1"),
    ] {
        let host = fleet();
        let done = host
            .run::<Fleet>(action, &[("target", "shop-1".into())])
            .unwrap();
        host.undo::<Fleet>(action, &done).unwrap();
        assert_eq!(host.effects().last().unwrap(), undone, "{action}");
    }
}

#[test]
fn a_call_made_again_after_a_crash_leaves_the_same_receipt() {
    let host = fleet();
    let call = [("target", "shop-1".into())];
    let first = host.run::<Fleet>("fleet.quarantine", &call).unwrap();
    let again = host.run::<Fleet>("fleet.quarantine", &call).unwrap();
    assert_eq!(first, again);
}

#[test]
fn scale_is_undone_to_the_number_before() {
    let host = fleet();
    let call = [("service", "shop".into()), ("instances", Value::Integer(5))];
    let done = host.run::<Fleet>("fleet.scale", &call).unwrap();
    assert!(done.changed);
    assert_eq!(done.outputs.count("before"), 3);
    host.undo::<Fleet>("fleet.scale", &done).unwrap();
    assert_eq!(host.effects(), ["scale shop 5", "scale shop 3"]);
}

#[test]
fn undo_of_an_instance_that_is_gone_is_done() {
    let host = fleet();
    let done = host
        .run::<Fleet>("fleet.pause", &[("target", "shop-1".into())])
        .unwrap();
    let gone = PluginError::NotApplicable("no such instance".into());
    host.world(|world| world.refuse("resume", gone));
    host.undo::<Fleet>("fleet.pause", &done).unwrap();
}

#[test]
fn plan_names_the_effect_and_changes_nothing() {
    let host = fleet();
    let lines = host
        .plan::<Fleet>("fleet.restart", &[("target", "shop".into())])
        .unwrap();
    assert_eq!(lines.len(), 3);
    assert_eq!(
        lines[0],
        "restart shop-1 (ready, pid 4000): drain, SIGTERM, start again"
    );
    for info in Fleet::describe() {
        let params: Vec<_> = info
            .params
            .iter()
            .filter(|param| param.required)
            .map(|param| match param.name.as_str() {
                "instances" => ("instances", Value::Integer(4)),
                "service" => ("service", "shop".into()),
                _ => ("target", Value::from("shop-1")),
            })
            .collect();
        assert!(
            !host.plan::<Fleet>(&info.name, &params).unwrap().is_empty(),
            "{}",
            info.name
        );
    }
}

#[test]
fn a_target_that_does_not_exist_and_a_wrong_mode_are_refused() {
    let host = fleet();
    let error = host
        .run::<Fleet>("fleet.restart", &[("target", "nope".into())])
        .unwrap_err();
    assert!(matches!(error, PluginError::NotApplicable(_)), "{error:?}");
    let call = [("target", "shop-1".into()), ("mode", "gently".into())];
    let error = host.run::<Fleet>("fleet.restart", &call).unwrap_err();
    assert!(matches!(error, PluginError::InvalidInput(_)), "{error:?}");
    let call = [
        ("service", "shop".into()),
        ("instances", Value::Integer(300)),
    ];
    assert!(host.run::<Fleet>("fleet.scale", &call).is_err());
    assert!(host.effects().is_empty());
}

#[test]
fn the_manifest_asks_for_what_the_pack_uses() {
    let manifest = Manifest::read(concat!(env!("CARGO_MANIFEST_DIR"), "/plugin.toml").as_ref());
    assert_eq!(manifest.world, "action");
    assert_eq!(manifest.wants, ["fleet:read", "fleet:control", "clock"]);
}
