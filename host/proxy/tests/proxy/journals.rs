//! What the healer will read.

use grace_model::event::What;

use crate::stage::Stage;

#[test]
fn traffic_is_journalled_by_instance_and_window() {
    let stage = Stage::with(1, |table| table.proxy.threads = 2);
    let mut client = stage.client();
    for _ in 0..50 {
        client.get("/sleep?1");
    }
    stage.workers[0].mode("fail");
    assert_eq!(client.get("/").status, 500);
    stage.workers[0].mode("close");
    assert_eq!(client.get("/").status, 502);
    let sums = |stage: &Stage| {
        let mut sums = (0, 0, 0);
        for what in stage.journal() {
            if let What::Traffic {
                requests,
                errors,
                unanswered,
                p50_us,
                p99_us,
                ..
            } = what
            {
                sums.0 += requests;
                sums.1 += errors;
                sums.2 += unanswered;
                assert!(p50_us <= p99_us);
                assert!(requests == 0 || unanswered == requests || p50_us >= 1_000 || errors > 0);
            }
        }
        sums
    };
    stage.until("all is journalled", |stage| sums(stage) == (52, 1, 1));
}

#[test]
fn a_proxy_begins_its_journal_by_saying_who_it_is() {
    let stage = Stage::new(0);
    let pid = std::process::id();
    stage.until_journalled("its start", |what| {
        matches!(what, What::Started { process, pid: its, .. } if process == "proxy" && *its == pid)
    });
}

#[test]
fn the_numbers_name_the_kernels_that_live_here() {
    let stage = Stage::with(1, |table| {
        table.services[0].probe = Some(crate::stage::probe());
    });
    assert_eq!(stage.get("/").status, 200);
    stage.until("the kernels have worked", |stage| {
        let stats = stage.stats();
        let kernels: Vec<grace_model::status::Kernel> =
            serde_json::from_value(stats["kernels"].clone()).unwrap();
        let names: Vec<&str> = kernels.iter().map(|kernel| kernel.name.as_str()).collect();
        assert_eq!(names, ["proxy", "health-monitor", "recorder"]);
        // The recorder works when something fails.
        let works = |kernel: &grace_model::status::Kernel| {
            kernel.work_done > 0 || kernel.name == "recorder"
        };
        kernels
            .iter()
            .all(|kernel| kernel.state == "running" && works(kernel))
    });
}
