//! Limits and isolation of instances, from `grace.toml` to the kernel.

use std::fs;

use crate::harness::{Host, eventually, get, worker};

/// What `grace doctor` tries.
const PRIMITIVES: [&str; 11] = [
    "cgroup memory",
    "cgroup cpu",
    "cgroup accounting",
    "cgroup pids",
    "user namespace",
    "mount namespace",
    "network namespace",
    "landlock",
    "landlock signals",
    "seccomp",
    "capabilities",
];

#[test]
fn doctor_tries_each_primitive_and_says_how_to_get_what_is_missing() {
    let host = Host::shop(1, "");
    let document = host.json(&["doctor"]);
    let checks = document["checks"].as_array().expect("checks");
    for name in PRIMITIVES {
        let check = checks
            .iter()
            .find(|one| one["what"] == name)
            .unwrap_or_else(|| panic!("{name} is not told: {document}"));
        let means = check["means"].as_str().expect("means");
        match check["verdict"].as_str() {
            Some("good") => assert!(means.starts_with("for "), "{check}"),
            Some("less") => assert!(means.contains("to get it: "), "{check}"),
            other => panic!("{other:?}: {check}"),
        }
    }
    // Trying leaves nothing behind.
    let groups = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    let tops = groups.lines().filter_map(|line| line.split(' ').nth(4));
    for top in tops.filter(|top| top.contains("cgroup")) {
        let left = fs::read_dir(top).into_iter().flatten().flatten();
        let left = left.filter(|one| one.file_name().to_string_lossy().contains("grace-doctor"));
        assert_eq!(left.count(), 0, "{top}");
    }
}

#[test]
fn an_instance_without_network_and_with_a_tmp_of_its_own_serves_through_the_proxy() {
    let name = "an_instance_without_network_and_with_a_tmp_of_its_own_serves_through_the_proxy";
    if !grace_needs::as_root(name) {
        return;
    }
    let toml = format!(
        "[[service]]\nname = \"shop\"\ncommand = {}\nlisten = \"127.0.0.1:0\"\nsocket = \"inherit\"\n\
         ready = {{ http = \"/healthz\" }}\nlimits = {{ memory = \"512MiB\", pids = 64, files = 256, cpu = 2 }}\n\
         isolation = {{ network = \"none\", private_tmp = \"4MiB\", signals = \"own\", syscalls = \"service\" }}\n",
        worker("")
    );
    let host = Host::new(&toml);
    let front = host.up();
    eventually("an answer", || {
        get(front, "/hello?id=x").is_ok_and(|answer| answer.status == 200)
    });
    let pid = host.pid("shop-1");
    let net = fs::read_to_string(format!("/proc/{pid}/net/dev")).expect("net/dev");
    assert_eq!(net.lines().skip(2).count(), 1, "{net}");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
    assert!(
        status.contains("NoNewPrivs:\t1") && status.contains("Seccomp:\t2"),
        "{status}"
    );
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("cgroup");
    assert!(groups.contains("/shop-1.1"), "{groups}");
    host.down();
}

/// Beside a service without a limit that uses as much.
#[test]
fn an_instance_near_its_memory_limit_is_found_and_restarted_before_it_is_killed() {
    let name = "an_instance_near_its_memory_limit_is_found_and_restarted_before_it_is_killed";
    let service = |name: &str, more: &str| {
        format!(
            "[[service]]\nname = {name:?}\ncommand = {}\nlisten = \"127.0.0.1:0\"\n\
             ready = {{ http = \"/healthz\" }}\n{more}\n",
            worker("")
        )
    };
    let limited = service("shop", "limits = { memory = \"256MiB\" }");
    let host = Host::new(&format!("{limited}{}", service("free", "")));
    let checks = host.json(&["doctor"])["checks"].clone();
    let given = checks.as_array().is_some_and(|all| {
        all.iter()
            .any(|it| it["what"] == "cgroup memory" && it["verdict"] == "good")
    });
    if !given {
        // A second run of the same tests as an ordinary user is not missing anything.
        if std::env::var_os("GRACE_AS_USER").is_none() {
            grace_needs::not_run(name, "it needs root and a memory controller");
        }
        return;
    }
    host.up();
    let pid = host.pid("shop-1");
    for id in ["free-1", "shop-1"] {
        let port = host.instance(id)["port"].as_u64().expect("port");
        let port = u16::try_from(port).expect("port");
        let told = get(([127, 0, 0, 1], port).into(), "/break?hold_mib=236").expect("answer");
        assert_eq!(told.status, 200);
    }
    host.new_process("shop-1", pid);
    let incident = host.incident("shop-1", "resolved");
    assert_eq!(incident["playbook"], "resource-pressure", "{incident}");
    let all = host.incidents();
    assert!(
        all.iter()
            .all(|it| it["target"] == "shop-1" && it["playbook"] == "resource-pressure"),
        "{all:?}"
    );
    host.down();
}

#[test]
fn an_ask_that_this_machine_cannot_meet_is_told_with_its_remedy_before_the_start() {
    let host = Host::new(
        "[[service]]\nname = \"shop\"\ncommand = \"sleep 300\"\nisolation = { read_only = [\"/no/such/path\"] }\n",
    );
    let run = host.run(&["up", "-d"]);
    assert_ne!(run.code, 0, "{run:?}");
    assert!(
        run.stderr
            .contains("there is no /no/such/path; make it, or correct the path"),
        "{run:?}"
    );
}
