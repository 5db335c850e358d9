//! That the tests themselves stand apart: each host has processes, ports and a directory of its
//! own, and an environment that is not the test's.

use std::collections::BTreeSet;

use crate::harness::{Host, alive, signal};

#[test]
fn a_host_shares_no_process_port_or_directory_with_another() {
    let (one, other) = (Host::shop(2, ""), Host::shop(2, ""));
    let listens = [one.up(), other.up()];
    assert_ne!(listens[0], listens[1]);
    assert!(!one.dir().starts_with(other.dir()) && !other.dir().starts_with(one.dir()));
    let mut seen = BTreeSet::new();
    for host in [&one, &other] {
        for instance in host.instances() {
            assert!(seen.insert(format!("port {}", instance["port"])));
            assert!(seen.insert(format!("pid {}", instance["pid"])));
        }
    }
    // Real processes, which know nothing of whoever runs the test: cargo always does.
    let pid = one.pid("shop-1");
    let environ = std::fs::read(format!("/proc/{pid}/environ")).expect("environ");
    let environ = String::from_utf8_lossy(&environ);
    assert!(environ.contains("PORT="), "{environ}");
    assert!(!environ.contains("CARGO"), "{environ}");
    // What happens in one does not happen in the other.
    let untouched = other.pid("shop-1");
    signal("KILL", pid);
    one.new_process("shop-1", pid);
    assert!(alive(untouched));
    assert_eq!(other.pid("shop-1"), untouched);
    assert!(other.incidents().is_empty());
    one.down();
    assert!(alive(untouched));
    other.down();
}
