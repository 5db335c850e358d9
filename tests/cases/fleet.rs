//! Instances as processes of their own, behind one port.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Stdio;

use crate::harness::{
    Host, Traffic, alive, eventually, eventually_some, get, grace, pids_with_marker, signal, worker,
};

#[test]
fn each_instance_has_its_own_pid_port_and_data_directory() {
    let host = Host::shop(3, "");
    let addr = host.up();
    let instances = host.instances();
    assert_eq!(instances.len(), 3);
    let of = |key: &str| {
        instances
            .iter()
            .map(|one| one[key].to_string())
            .collect::<HashSet<_>>()
    };
    assert_eq!(of("pid").len(), 3);
    assert_eq!(of("port").len(), 3);
    for one in &instances {
        assert_eq!(one["state"], "ready");
        assert!(alive(
            u32::try_from(one["pid"].as_u64().expect("pid")).expect("pid")
        ));
        let port = one["port"].as_u64().expect("port");
        let range =
            std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").expect("range");
        let ends: Vec<u64> = range
            .split_whitespace()
            .map(|end| end.parse().expect("port"))
            .collect();
        assert!(
            port < ends[0] || port > ends[1],
            "{port} is an ephemeral port"
        );
        assert!(host.config_of(one["id"].as_str().expect("id")).exists());
    }
    let weights: u64 = instances
        .iter()
        .map(|one| one["weight"].as_u64().expect("weight"))
        .sum();
    assert_eq!(weights, 10_000);
    // All of them answer behind the one port.
    let mut pids = HashSet::new();
    eventually("an answer of every instance", || {
        let answer = get(addr, "/hello?id=x").expect("answer");
        assert_eq!(answer.status, 200, "{answer:?}");
        let body: serde_json::Value = serde_json::from_str(&answer.body).expect("json");
        pids.insert(body["pid"].as_u64());
        pids.len() == 3
    });
    host.down();
}

#[test]
fn a_killed_instance_comes_back_and_no_request_fails() {
    let host = Host::shop(3, "");
    let addr = host.up();
    let traffic = Traffic::start(addr);
    traffic.more(50);
    for id in ["shop-1", "shop-2", "shop-3"] {
        let pid = host.pid(id);
        signal("KILL", pid);
        host.new_process(id, pid);
        traffic.more(50);
    }
    assert_eq!(traffic.stop(), Vec::<String>::new());
    host.down();
}

#[test]
fn run_balances_and_restarts_a_program_without_a_file() {
    let dir = tempfile::tempdir().expect("tempdir");
    let marker = dir.path().display().to_string();
    let mut child = std::process::Command::new(grace())
        .args([
            "run",
            "-n",
            "2",
            "--listen",
            "127.0.0.1:0",
            "--json",
            "--state",
        ])
        .arg(dir.path().join("state"))
        .arg("--")
        .arg(grace())
        .args(["internal", "shop-worker", "--port", "{port}"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("grace run");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(
        child.stdout.take().expect("stdout"),
    ));
    let ready: serde_json::Value =
        serde_json::from_str(&lines.next().expect("a line").expect("text")).expect("json");
    assert_eq!(ready["event"], "ready", "{ready}");
    let addr: SocketAddr = ready["services"][0]["listen"]
        .as_str()
        .expect("listen")
        .parse()
        .expect("address");
    let pid_of = || {
        let answer = get(addr, "/hello?id=x").ok()?;
        let body: serde_json::Value = serde_json::from_str(&answer.body).ok()?;
        u32::try_from(body["pid"].as_u64()?).ok()
    };
    let pid = eventually_some("an answer", pid_of);
    signal("KILL", pid);
    eventually("two other instances answer", || {
        let pids: HashSet<_> = (0..8).filter_map(|_| pid_of()).collect();
        pids.len() == 2 && !pids.contains(&pid)
    });
    signal("TERM", child.id());
    assert!(child.wait().expect("wait").success());
    eventually("nothing is left", || pids_with_marker(&marker).is_empty());
}

#[test]
fn a_host_of_run_is_found_without_a_file_while_it_is_the_only_one() {
    let dir = tempfile::tempdir().expect("tempdir");
    let marker = dir.path().display().to_string();
    let here = |args: &[&str]| {
        let mut command = std::process::Command::new(grace());
        command
            .args(args)
            .env("TMPDIR", dir.path())
            .current_dir(dir.path())
            .stdin(Stdio::null());
        command
    };
    let start = || {
        let mut child = here(&["run", "--json", "--", "sleep", "600"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("grace run");
        let mut line = String::new();
        let mut out = std::io::BufReader::new(child.stdout.take().expect("stdout"));
        std::io::BufRead::read_line(&mut out, &mut line).expect("a line");
        assert!(line.contains("\"ready\""), "{line}");
        (child, out)
    };
    let status = || {
        let output = here(&["status", "--json"]).output().expect("status");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    };
    assert_eq!(status().0, Some(2));
    let (mut one, _out) = start();
    let (code, said) = status();
    assert_eq!(code, Some(0), "{said}");
    let (mut other, _other_out) = start();
    let (code, said) = status();
    assert_eq!(code, Some(2), "{said}");
    assert_eq!(said.matches("--state ").count(), 2, "{said}");
    for child in [&mut one, &mut other] {
        signal("TERM", child.id());
        assert!(child.wait().expect("wait").success());
    }
    eventually("nothing is left", || pids_with_marker(&marker).is_empty());
}

#[test]
fn a_worker_may_inherit_its_listening_socket() {
    let command = format!(
        "[{:?}, \"internal\", \"shop-worker\"]",
        grace().display().to_string()
    );
    let host = Host::new(&format!(
        "[[service]]\nname = \"shop\"\ncommand = {command}\nlisten = \"127.0.0.1:0\"\ninstances = 2\n\
         socket = \"inherit\"\nready = {{ http = \"/healthz\" }}\n"
    ));
    let addr = host.up();
    let answer = get(addr, "/hello?id=abc").expect("answer");
    assert_eq!(answer.status, 200);
    let pid = host.pid("shop-1");
    signal("KILL", pid);
    host.new_process("shop-1", pid);
    host.down();
}

#[test]
fn a_worker_may_tell_readiness_and_heartbeat_by_sd_notify() {
    let host = Host::new(&format!(
        "[[service]]\nname = \"shop\"\ncommand = {}\nlisten = \"127.0.0.1:0\"\ninstances = 1\n\
         ready = {{ notify = true }}\nheartbeat = \"2s\"\n",
        worker("\"--ready-notify\"")
    ));
    let addr = host.up();
    assert_eq!(get(addr, "/hello?id=abc").expect("answer").status, 200);
    host.down();
}

#[test]
fn down_ends_every_descendant_also_a_daemon() {
    // The worker starts a daemon that leaves its session by forking twice.
    let marker = format!("grace-daemon-{}", std::process::id());
    let script = format!("(setsid sh -c 'sleep 300; : {marker}' &) ; exec sleep 301");
    let host = Host::new(&format!(
        "[[service]]\nname = \"d\"\ncommand = [\"sh\", \"-c\", {script:?}]\ninstances = 1\nready = {{ process = true }}\n"
    ));
    host.up();
    eventually("the daemon runs", || !pids_with_marker(&marker).is_empty());
    host.down();
    eventually("the daemon is gone", || {
        pids_with_marker(&marker).is_empty()
    });
}

#[test]
fn a_restarted_instance_leaves_no_descendant_of_its_old_process() {
    let marker = format!("grace-orphan-{}", std::process::id());
    let script = format!("(setsid sh -c 'sleep 300; : {marker}' &) ; exec sleep 301");
    let host = Host::new(&format!(
        "[[service]]\nname = \"d\"\ncommand = [\"sh\", \"-c\", {script:?}]\ninstances = 1\nready = {{ process = true }}\n"
    ));
    host.up();
    let old: Vec<u32> = eventually_some("the daemon runs", || {
        let pids = pids_with_marker(&format!("sleep 300; : {marker}"));
        (!pids.is_empty()).then_some(pids)
    });
    let pid = host.pid("d-1");
    signal("KILL", pid);
    host.new_process("d-1", pid);
    eventually("the old daemon is gone", || {
        old.iter().all(|pid| !alive(*pid))
    });
    host.down();
}

#[test]
fn output_of_a_worker_survives_the_supervisor() {
    let host = Host::new(&format!(
        "[[service]]\nname = \"shop\"\ncommand = {}\nlisten = \"127.0.0.1:0\"\ninstances = 1\nready = {{ http = \"/healthz\" }}\n",
        worker("\"--log-rate\", \"1000\"")
    ));
    host.up();
    let worker = host.pid("shop-1");
    let log = host.state().join("logs/shop-1.log");
    let numbers = || {
        let mut all = Vec::new();
        for end in ["log.3", "log.2", "log.1", "log"] {
            let text = std::fs::read_to_string(log.with_extension(end)).unwrap_or_default();
            all.extend(
                text.lines()
                    .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()),
            );
        }
        all
    };
    eventually("a thousand lines", || numbers().len() > 1000);
    let before = numbers().last().copied().unwrap_or_default();
    signal("KILL", host.process("supervisor"));
    eventually("two thousand lines more", || {
        numbers().last().copied().unwrap_or_default() > before + 2000
    });
    assert_eq!(host.pid("shop-1"), worker, "the worker lives on");
    let seen = numbers();
    let gaps: Vec<_> = seen
        .windows(2)
        .filter(|pair| pair[1] != pair[0] + 1)
        .collect();
    assert!(gaps.is_empty(), "lines are missing: {gaps:?}");
    host.down();
}

#[test]
fn a_service_in_a_place_closed_to_others_runs_as_root_and_the_start_says_so() {
    let name = "a_service_in_a_place_closed_to_others_runs_as_root_and_the_start_says_so";
    if !grace_needs::as_root(name) {
        return;
    }
    let host = Host::shop(1, "");
    // As mktemp makes it.
    std::fs::set_permissions(host.dir(), std::fs::Permissions::from_mode(0o700)).expect("chmod");
    let up = host.run(&["up", "-d"]).good();
    assert!(
        up.stderr
            .contains("service shop runs as root, because user nobody may not pass through"),
        "{up:?}"
    );
    let owner = |id: &str| {
        std::fs::metadata(format!("/proc/{}", host.pid(id)))
            .expect("process")
            .uid()
    };
    assert_eq!(owner("shop-1"), 0);
    host.down();
    std::fs::set_permissions(host.dir(), std::fs::Permissions::from_mode(0o755)).expect("chmod");
    let up = host.run(&["up", "-d"]).good();
    assert!(!up.stderr.contains("runs as root"), "{up:?}");
    assert_ne!(owner("shop-1"), 0);
    host.down();
}

#[test]
fn logs_show_what_no_file_could_take() {
    let script =
        "echo begin; while sleep 0.05; do test -e \"$GRACE_DATA/go\" && echo said-$((n=n+1)); done";
    let host = Host::new(&format!(
        "[[service]]\nname = \"d\"\ncommand = [\"sh\", \"-c\", {script:?}]\ninstances = 1\nready = {{ process = true }}\n"
    ));
    host.up();
    let log = host.state().join("logs/d-1.log");
    eventually("the first line", || {
        std::fs::read_to_string(&log).is_ok_and(|text| text == "begin\n")
    });
    let lines = || host.run(&["logs", "d-1"]).stdout;
    assert_eq!(lines(), "begin\n");
    // No file can be written where a directory is.
    std::fs::remove_file(&log).expect("remove");
    std::fs::create_dir(&log).expect("mkdir");
    let data = host.state().join("data/d-1");
    std::fs::write(data.join("go"), "").expect("write");
    eventually("lines from memory", || {
        let text = lines();
        text.contains("bytes of output could not be written to a file") && text.contains("said-2\n")
    });
    std::fs::remove_dir(&log).expect("rmdir");
    eventually("the file says what is missing", || {
        let text = lines();
        text.contains("bytes of output are missing here") && text.contains("said-")
    });
    host.down();
}
