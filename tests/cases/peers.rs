//! Beside programs of others: a worker that knows nothing of Grace, a load balancer in front.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use crate::harness::{
    Host, Place, Program, Traffic, eventually, eventually_some, get, grace, pids_with_marker,
    signal, tool,
};

/// A Python that also an unprivileged user may run: as root, services run as one.
fn python(test: &str) -> Option<PathBuf> {
    let common = PathBuf::from("/usr/bin/python3");
    if common.is_file() {
        return Some(common);
    }
    tool(test, "python3", "apt-get install python3")
}

#[test]
fn a_python_program_is_balanced_and_healed_without_a_file() {
    let name = "a_python_program_is_balanced_and_healed_without_a_file";
    let Some(python) = python(name) else {
        return;
    };
    let _place = Place::take();
    let dir = tempfile::tempdir().expect("tempdir");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
    fs::write(dir.path().join("page.txt"), "from python").expect("write");
    let state = dir.path().join("state");
    let mut run = Program::start(
        Command::new(grace())
            .args([
                "run",
                "-n",
                "2",
                "--listen",
                "127.0.0.1:0",
                "--json",
                "--state",
            ])
            .arg(&state)
            .arg("--")
            .arg(&python)
            .args(["-m", "http.server", "--bind", "127.0.0.1", "--directory"])
            .arg(dir.path())
            .arg("{port}"),
    );
    let ready = run.out.wait_json("ready", |one| one["event"] == "ready");
    let addr: SocketAddr = ready["services"][0]["listen"]
        .as_str()
        .and_then(|text| text.parse().ok())
        .expect("an address");
    let page = || get(addr, "/page.txt");
    assert_eq!(page().expect("answer").body, "from python");
    let ask = |what: &[&str]| -> Option<serde_json::Value> {
        let output = Command::new(grace())
            .args(what)
            .args(["--json", "--state"])
            .arg(&state)
            .output()
            .ok()?;
        serde_json::from_slice(&output.stdout).ok()
    };
    let instance = |number: usize| {
        let all = ask(&["instances"])?;
        let one = all["instances"].get(number)?.clone();
        let pid = u32::try_from(one["pid"].as_u64()?).ok()?;
        (pid > 0 && one["state"] == "ready").then_some(pid)
    };
    for (number, how) in [(0, "KILL"), (1, "STOP")] {
        let pid = eventually_some("its process", || instance(number));
        signal(how, pid);
        // Answered all the while, the stopped one's share too.
        eventually(&format!("another process after {how}"), || {
            assert_eq!(page().expect("answer").body, "from python");
            instance(number).is_some_and(|now| now != pid)
        });
    }
    eventually("the incidents are resolved", || {
        ask(&["incidents", "list"]).is_some_and(|list| {
            ["python3-1", "python3-2"].iter().all(|id| {
                list["incidents"].as_array().is_some_and(|all| {
                    all.iter()
                        .any(|one| one["target"] == *id && one["state"] == "resolved")
                })
            })
        })
    });
    assert_eq!(run.end("TERM"), 0, "{:?}", run.err.all());
    let marker = state.display().to_string();
    eventually("nothing is left", || pids_with_marker(&marker).is_empty());
}

#[test]
fn haproxy_in_front_passes_traffic_through_a_kill_without_a_failure() {
    let name = "haproxy_in_front_passes_traffic_through_a_kill_without_a_failure";
    let Some(haproxy) = tool(name, "haproxy", "apt-get install haproxy") else {
        return;
    };
    let host = Host::shop(3, "");
    let behind = host.up();
    let addr = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port");
    let file = host.dir().join("haproxy.cfg");
    let text = format!(
        "global\n  maxconn 1000\ndefaults\n  mode http\n  retries 0\n  timeout connect 5s\n  timeout client 20s\n  timeout server 20s\n\
         frontend front\n  bind {addr}\n  default_backend grace\nbackend grace\n  http-reuse always\n  server grace {behind}\n"
    );
    fs::write(&file, text).expect("write");
    let mut front = Program::start(Command::new(haproxy).arg("-db").arg("-f").arg(&file));
    eventually("HAProxy listens", || TcpStream::connect(addr).is_ok());
    let traffic = Traffic::start(addr);
    traffic.more(50);
    for (id, how) in [("shop-1", "KILL"), ("shop-2", "STOP"), ("shop-3", "KILL")] {
        let pid = host.pid(id);
        signal(how, pid);
        host.new_process(id, pid);
        traffic.more(50);
    }
    assert_eq!(traffic.stop(), Vec::<String>::new());
    front.end("TERM");
    host.down();
}
