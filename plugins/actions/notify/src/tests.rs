//! The pack against the fake host.

use grace_plugin_sdk::prelude::*;
use grace_plugin_sdk::testkit::{FakeHost, Manifest};

use crate::Notify;

#[test]
fn a_message_goes_to_the_channel_it_names() {
    let host = FakeHost::start();
    let call = [
        ("channel", "pager".into()),
        ("severity", "critical".into()),
        ("subject", "shop-1 keeps dying".into()),
        ("text", "see inc-7".into()),
    ];
    let done = host.run::<Notify>("notify.send", &call).unwrap();
    assert!(done.changed);
    assert_eq!(
        host.effects(),
        ["send pager critical shop-1 keeps dying: see inc-7"]
    );
}

#[test]
fn without_a_channel_it_goes_to_the_log_and_is_moderate() {
    let host = FakeHost::start();
    host.run::<Notify>("notify.send", &[("subject", "hello".into())])
        .unwrap();
    assert_eq!(host.effects(), ["send log moderate hello: "]);
}

#[test]
fn a_wrong_severity_and_a_missing_subject_are_refused() {
    let host = FakeHost::start();
    let call = [("subject", "hello".into()), ("severity", "huge".into())];
    assert!(matches!(
        host.run::<Notify>("notify.send", &call),
        Err(PluginError::InvalidInput(_))
    ));
    assert!(
        host.run::<Notify>("notify.send", &[("subject", "".into())])
            .is_err()
    );
    assert!(host.effects().is_empty());
}

#[test]
fn a_channel_that_fails_is_the_actions_error() {
    let host = FakeHost::start();
    host.world(|world| world.refuse("send", PluginError::Unavailable("no mail today".into())));
    let error = host
        .run::<Notify>("notify.send", &[("subject", "hello".into())])
        .unwrap_err();
    assert_eq!(error, PluginError::Unavailable("no mail today".into()));
}

#[test]
fn plan_sends_nothing_and_undo_takes_nothing_back() {
    let host = FakeHost::start();
    let call = [("subject", "hello".into())];
    assert_eq!(
        host.plan::<Notify>("notify.send", &call).unwrap(),
        ["send to log (moderate): hello"]
    );
    let done = host.run::<Notify>("notify.send", &call).unwrap();
    host.undo::<Notify>("notify.send", &done).unwrap();
    assert_eq!(host.effects().len(), 1);
}

#[test]
fn the_manifest_asks_for_what_the_pack_uses() {
    let manifest = Manifest::read(concat!(env!("CARGO_MANIFEST_DIR"), "/plugin.toml").as_ref());
    assert_eq!(manifest.wants, ["notify"]);
}
