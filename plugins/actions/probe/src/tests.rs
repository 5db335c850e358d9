//! The pack against the fake host, whose clock only moves when somebody sleeps or waits.

use grace_plugin_sdk::host::{Role, State};
use grace_plugin_sdk::prelude::*;
use grace_plugin_sdk::testkit::{FakeHost, Manifest, World};

use crate::Probe;

fn host(set: impl FnOnce(&mut World)) -> FakeHost {
    let host = FakeHost::start();
    host.world(|world| {
        world.instance("shop-1", State::Ready);
        world.answers("shop-1", &[200]);
        set(world);
    });
    host
}

fn smoke(host: &FakeHost) -> Result<Receipt> {
    host.run::<Probe>(
        "probe.smoke",
        &[("target", "shop-1".into()), ("within", 3_000_u32.into())],
    )
}

fn slo(host: &FakeHost, more: &[(&str, Value)]) -> Result<Receipt> {
    let mut call = vec![("target", Value::from("shop-1")), ("for", 2_000_u32.into())];
    call.extend(more.iter().cloned());
    host.run::<Probe>("probe.slo", &call)
}

fn said(result: Result<Receipt>) -> String {
    grace_plugin_sdk::action::words(&result.unwrap_err()).to_owned()
}

#[test]
fn smoke_waits_until_the_instance_is_ready_and_answers() {
    let host = host(|world| {
        world.set_state("shop-1", State::Starting);
        world.after(700, |world| world.set_state("shop-1", State::Ready));
    });
    let done = smoke(&host).unwrap();
    assert!(!done.changed);
    assert_eq!(done.outputs.count("attempts"), 1);
    assert!(host.world(|world| world.now()) >= 1_000_700);
}

#[test]
fn smoke_forgives_a_bad_answer_and_then_is_content() {
    let host = host(|world| world.answers("shop-1", &[503, 0, 200]));
    assert_eq!(smoke(&host).unwrap().outputs.count("attempts"), 3);
}

#[test]
fn smoke_gives_up_after_the_attempts_and_says_what_was_wrong() {
    let host = host(|world| world.answers("shop-1", &[500]));
    let text = said(smoke(&host));
    assert!(text.contains("5 attempts: status 500"), "{text}");
}

#[test]
fn smoke_of_an_instance_that_never_gets_ready_times_out_with_its_state() {
    let host = host(|world| world.set_state("shop-1", State::Failed));
    let error = smoke(&host).unwrap_err();
    assert!(
        matches!(&error, PluginError::TimedOut(text) if text.contains("is failed")),
        "{error:?}"
    );
}

#[test]
fn smoke_of_a_service_asks_every_instance() {
    let host = host(|world| {
        world.instance("shop-2", State::Ready);
        world.answers("shop-2", &[500]);
    });
    assert!(
        said(host.run::<Probe>("probe.smoke", &[("target", "shop".into())])).contains("shop-2")
    );
}

#[test]
fn smoke_of_an_instance_that_a_failover_made_warm_asks_those_who_serve_now() {
    let turned = |heir: u16| {
        let host = host(|world| {
            world.set_state("shop-1", State::Starting);
            world.instance("shop-2", State::Ready);
            world.answers("shop-2", &[heir]);
            world.after(400, |world| {
                world.instance("shop-1", State::Stopped).role = Role::Warm;
                world.set_state("shop-1", State::Stopped);
            });
        });
        smoke(&host)
    };
    let done = turned(200).unwrap();
    assert!(done.summary.contains("shop-1 is warm now"), "{done:?}");
    assert_eq!(done.outputs.count("instances"), 1);
    assert!(said(turned(500)).contains("shop-2 is ready and did not answer well"));
    // And one that is stopped and is to run is no such thing.
    let host = host(|world| world.set_state("shop-1", State::Stopped));
    assert!(said(smoke(&host)).contains("shop-1 is stopped"));
}

#[test]
fn smoke_ends_when_the_calls_own_time_does() {
    let host = host(|world| {
        world.set_state("shop-1", State::Starting);
        let deadline = world.now() + 1_000;
        world.deadline(deadline);
    });
    assert!(matches!(smoke(&host), Err(PluginError::TimedOut(_))));
}

#[test]
fn slo_is_met_by_good_traffic() {
    let host = host(|world| world.traffic("shop-1", 1_000, 5, 20_000));
    let done = slo(&host, &[("p99", 50_u32.into())]).unwrap();
    assert_eq!(done.outputs.text("decided_by"), Some("traffic"));
    assert_eq!(done.outputs.count("success_permille"), 995);
    assert!(host.world(|world| world.now()) >= 1_002_000);
}

#[test]
fn slo_fails_on_errors_on_latency_and_on_a_broken_last_probe() {
    let errors = host(|world| world.traffic("shop-1", 1_000, 11, 20_000));
    assert!(said(slo(&errors, &[])).contains("11 of 1000 requests failed"));
    let slow = host(|world| world.traffic("shop-1", 1_000, 0, 90_000));
    assert!(said(slo(&slow, &[("p99", 50_u32.into())])).contains("p99 is 90000 us"));
    let broken = host(|world| {
        world.traffic("shop-1", 1_000, 0, 20_000);
        world.answers("shop-1", &[200, 200, 500]);
    });
    assert!(said(slo(&broken, &[])).contains("the last probe failed: shop-1: status 500"));
}

#[test]
fn slo_without_traffic_is_decided_by_probes_and_says_so() {
    let quiet = host(|_| {});
    let done = slo(&quiet, &[]).unwrap();
    assert_eq!(done.outputs.text("decided_by"), Some("probes"));
    assert!(
        done.summary
            .contains("no traffic for 2 s: decided by probes"),
        "{}",
        done.summary
    );
    let shaky = host(|world| world.answers("shop-1", &[500, 200]));
    assert!(said(slo(&shaky, &[])).contains("no traffic, and only"));
}

#[test]
fn slo_of_a_service_without_a_probe_goes_by_its_state() {
    let without = PluginError::NotApplicable("no probe is declared".into());
    let ready = host(|world| world.probe_error("shop-1", without.clone()));
    slo(&ready, &[]).unwrap();
    let failed = host(|world| {
        world.probe_error("shop-1", without.clone());
        world.set_state("shop-1", State::Degraded);
    });
    assert!(said(slo(&failed, &[])).contains("it is degraded"));
}

#[test]
fn a_share_or_a_time_that_cannot_be_is_refused() {
    let host = host(|_| {});
    for more in [
        ("success", Value::from("1.5")),
        ("for", Value::Integer(120_000)),
    ] {
        let mut call = vec![("target", Value::from("shop-1"))];
        call.push(more);
        let error = host.run::<Probe>("probe.slo", &call).unwrap_err();
        assert!(matches!(error, PluginError::InvalidInput(_)), "{error:?}");
    }
}

#[test]
fn plans_tell_what_is_watched() {
    let host = host(|_| {});
    let target = [("target", "shop-1".into())];
    assert_eq!(
        host.plan::<Probe>("probe.smoke", &target).unwrap(),
        ["wait up to 10 s until shop-1 is ready and answers"]
    );
    assert_eq!(
        host.plan::<Probe>("probe.slo", &target).unwrap(),
        ["watch shop-1 for 2 s: 99.0 % of requests succeed"]
    );
}

#[test]
fn the_manifest_asks_for_what_the_pack_uses() {
    let manifest = Manifest::read(concat!(env!("CARGO_MANIFEST_DIR"), "/plugin.toml").as_ref());
    assert_eq!(manifest.wants, ["clock", "fleet:read", "probe"]);
}
