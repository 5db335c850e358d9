//! What dies with what: the rows of ARCHITECTURE.md's table, one test a row.

use crate::harness::{Host, Traffic, alive, eventually, signal};

struct Under {
    host: Host,
    traffic: Traffic,
    pids: Vec<u32>,
}

fn under_load() -> Under {
    let host = Host::shop(3, "");
    let addr = host.up();
    let pids = ["shop-1", "shop-2", "shop-3"]
        .map(|id| host.pid(id))
        .to_vec();
    let traffic = Traffic::start(addr);
    traffic.more(50);
    Under {
        host,
        traffic,
        pids,
    }
}

impl Under {
    fn same_workers(&self) {
        let now = ["shop-1", "shop-2", "shop-3"]
            .map(|id| self.host.pid(id))
            .to_vec();
        assert_eq!(now, self.pids, "workers were restarted");
        assert!(self.pids.iter().all(|pid| alive(*pid)));
    }

    /// The host still heals: a killed worker comes back.
    fn still_heals(&self) {
        let pid = self.host.pid("shop-2");
        signal("KILL", pid);
        self.host.new_process("shop-2", pid);
    }
}

#[test]
fn the_healers_death_harms_nobody_and_it_comes_back() {
    let under = under_load();
    let healer = under.host.process("healer");
    signal("KILL", healer);
    eventually("another healer", || under.host.process("healer") != healer);
    under.same_workers();
    under.traffic.more(50);
    under.still_heals();
    under.host.incident("shop-2", "resolved");
    assert_eq!(under.traffic.stop(), Vec::<String>::new());
    under.host.down();
}

#[test]
fn the_supervisors_death_harms_nobody_and_it_adopts() {
    let under = under_load();
    let supervisor = under.host.process("supervisor");
    signal("KILL", supervisor);
    eventually("another supervisor", || {
        under.host.process("supervisor") != supervisor
    });
    under.same_workers();
    under.traffic.more(50);
    under.still_heals();
    assert_eq!(under.traffic.stop(), Vec::<String>::new());
    under.host.down();
}

#[test]
fn a_worker_that_dies_while_the_supervisor_is_dead_is_explained_and_restarted() {
    let under = under_load();
    let supervisor = under.host.process("supervisor");
    let pid = under.host.pid("shop-3");
    signal("KILL", supervisor);
    signal("KILL", pid);
    under.host.new_process("shop-3", pid);
    let incident = under.host.incident("shop-3", "resolved");
    let id = incident["id"].as_str().expect("id");
    let story = under.host.json(&["incidents", "show", id]).to_string();
    assert!(story.contains("signal:9"), "the exit is not known: {story}");
    assert_eq!(under.traffic.stop(), Vec::<String>::new());
    under.host.down();
}

#[test]
fn the_keepers_death_harms_nobody_and_another_stands() {
    let under = under_load();
    let keeper = under.host.process("keeper");
    signal("KILL", keeper);
    eventually("another keeper", || under.host.process("keeper") != keeper);
    under.same_workers();
    under.traffic.more(50);
    // The new keeper keeps: the supervisor may die now too.
    let supervisor = under.host.process("supervisor");
    signal("KILL", supervisor);
    eventually("another supervisor", || {
        under.host.process("supervisor") != supervisor
    });
    under.same_workers();
    under.still_heals();
    assert_eq!(under.traffic.stop(), Vec::<String>::new());
    under.host.down();
}

#[test]
fn keeper_and_supervisor_together_leave_the_instances_and_up_adopts_them() {
    let under = under_load();
    let keeper = under.host.process("keeper");
    let supervisor = under.host.process("supervisor");
    signal("STOP", supervisor);
    signal("KILL", keeper);
    signal("KILL", supervisor);
    eventually("both are gone", || !alive(keeper) && !alive(supervisor));
    assert!(under.pids.iter().all(|pid| alive(*pid)));
    under.traffic.more(50);
    under.host.up();
    under.same_workers();
    under.traffic.more(50);
    under.still_heals();
    assert_eq!(under.traffic.stop(), Vec::<String>::new());
    under.host.down();
}

#[test]
fn the_proxys_death_refuses_no_new_connection() {
    let under = under_load();
    let before = under.traffic.sent();
    for _ in 0..3 {
        let proxy = under.host.process("proxy");
        signal("KILL", proxy);
        eventually("another proxy", || under.host.process("proxy") != proxy);
        under.traffic.more(50);
    }
    under.same_workers();
    let sent = under.traffic.sent() - before;
    let failures = under.traffic.stop();
    // Only what was sent on connections that the dead proxies had accepted: four clients, three deaths.
    assert!(
        failures.len() <= 12,
        "{} of {sent}: {failures:?}",
        failures.len()
    );
    let refused: Vec<_> = failures
        .iter()
        .filter(|failure| failure.contains("refused"))
        .collect();
    assert!(refused.is_empty(), "{refused:?}");
    under.host.down();
}
