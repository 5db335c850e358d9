//! Kernels with real threads.

use std::sync::atomic::AtomicU32;
use std::time::Instant;

use super::*;
use crate::clock::MachineClock;

fn house() -> House {
    House::new(Arc::new(MachineClock::new()))
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let limit = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < limit, "not in time: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_kernel_that_panics_is_started_again_and_counts_its_work() {
    let house = house();
    let runs = AtomicU32::new(0);
    let spec = Spec {
        name: "shaky",
        tier: 2,
        depends_on: &[],
    };
    house
        .start(spec, move |pulse| {
            assert!(
                runs.fetch_add(1, Ordering::Relaxed) != 0,
                "the first time it falls"
            );
            pulse.worked(3);
            while !pulse.stopping() {
                pulse.rest(Duration::from_millis(10));
            }
            Ok(())
        })
        .unwrap();
    until("one restart and some work", || {
        let view = house.views("healer").remove(0);
        view.restarts == 1 && view.work_done == 3 && view.state == "running"
    });
    assert_eq!(house.verdict(), None);
    house.stop();
    assert_eq!(house.views("healer").remove(0).state, "stopped");
}

#[test]
fn a_kernel_that_used_up_its_budget_ends_the_process() {
    let house = house();
    let spec = Spec {
        name: "hopeless",
        tier: 2,
        depends_on: &[],
    };
    house.start(spec, |_| Err("no".to_owned())).unwrap();
    until("a verdict", || house.verdict().is_some());
    assert!(matches!(
        house.verdict(),
        Some(KernelFailure::Budget { .. })
    ));
    house.stop();
}

#[test]
fn a_kernel_whose_dependency_does_not_run_is_refused() {
    let house = house();
    let spec = Spec {
        name: "late",
        tier: 2,
        depends_on: &["early"],
    };
    assert!(house.start(spec, |_| Ok(())).is_err());
}
