//! A machine that does not give the address space of a pool.

use std::process::Command;

use grace_model::port::PluginHost;

use crate::guests::finder;
use crate::world::{DETECTOR, Yard, patiently, seen};

#[test]
fn without_room_for_a_pool_plugins_run_all_the_same() {
    const INSIDE: &str = "GRACE_TEST_CRAMPED";
    if std::env::var_os(INSIDE).is_none() {
        // The limit holds for a whole process, so this test runs itself in one.
        let name = "cramped::without_room_for_a_pool_plugins_run_all_the_same";
        let output = Command::new("sh")
            .args([
                "-c",
                "ulimit -v 4000000; exec \"$0\" --exact \"$1\" --nocapture",
            ])
            .arg(std::env::current_exe().expect("a path"))
            .arg(name)
            .env(INSIDE, "1")
            .output()
            .expect("a shell");
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && told.contains("1 passed"),
            "{told}"
        );
        return;
    }
    let yard = Yard::new();
    yard.put("one", &finder("all-well", 3), DETECTOR);
    let registry = yard.start();
    assert!(!registry.figures().pooled);
    let observed = patiently(|| registry.observe("one", &[], &seen())).expect("an answer");
    assert_eq!(observed.findings.len(), 3);
}
