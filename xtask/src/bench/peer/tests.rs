//! Peers that are scripts: what they are started from, and that nothing of them is left.

use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use super::*;
use crate::bench::process::tests::runs;

fn script(file: &Path, text: &str) {
    std::fs::write(file, format!("#!/bin/sh\nPATH=/usr/bin:/bin\n{text}\n")).unwrap();
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Runs an ignored test of this file in a process of its own, whose PATH is this directory.
fn child(test: &str, path: &Path) -> Output {
    let name = format!("bench::peer::tests::{test}");
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", &name])
        .env("PATH", path)
        .output()
        .unwrap()
}

/// A directory of programs: `kill`, and a peer under each of these names that listens where its
/// configuration says.
fn programs(names: &[&str]) -> Scratch {
    let dir = Scratch::new("fake-peers").unwrap();
    script(&dir.path().join("kill"), "exec kill \"$@\"");
    let exe = std::env::current_exe().unwrap();
    for name in names {
        let text = format!(
            "for file; do :; done\n\
             FAKE_PORT=$(grep -oE '(bind 127.0.0.1:|listen 127.0.0.1:|--port )[0-9]+' \"$file\" | grep -oE '[0-9]+$')\n\
             export FAKE_PORT\n{:?} --ignored --exact bench::peer::tests::listens",
            exe.display().to_string()
        );
        script(&dir.path().join(name), &text);
    }
    dir
}

#[test]
#[ignore = "it is the peer of the tests below"]
fn listens() {
    let port: u16 = std::env::var("FAKE_PORT").unwrap().parse().unwrap();
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    // Ended from outside; its own end is for a test that failed to.
    std::thread::spawn(move || listener.incoming().for_each(drop));
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
#[ignore = "it is run by the test below, with the programs that it needs"]
fn starts_each_peer() {
    let peers = [
        haproxy(&[1, 2], 1, true).unwrap(),
        nginx(&[1, 2], 1).unwrap(),
        supervisord(Path::new("/the/grace")).unwrap(),
    ];
    for peer in peers {
        let dir = peer.dir.path().to_owned();
        assert!(dir.starts_with(std::env::temp_dir()) && dir.is_dir());
        let below = descendants(peer.child.id());
        assert!(!below.is_empty(), "the script started the listener");
        let (pid, listen) = (peer.child.id(), peer.listen.clone());
        assert!(TcpStream::connect(&listen).is_ok());
        drop(peer);
        let begun = Instant::now();
        while runs(pid) || TcpStream::connect(&listen).is_ok() {
            assert!(begun.elapsed() < Duration::from_secs(20), "{dir:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(!dir.exists());
    }
}

#[test]
fn each_peer_is_started_from_a_printed_tuned_configuration_and_nothing_of_it_is_left() {
    let dir = programs(&["haproxy", "nginx", "supervisord"]);
    let output = child("starts_each_peer", dir.path());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{output:?}");
    for line in [
        "haproxy.cfg",
        "nbthread 1",
        "http-reuse always",
        "retry-on all-retryable-errors",
        "nginx.conf",
        "worker_processes 1;",
        "access_log off;",
        "keepalive 256;",
        "supervisord.conf",
        "command=/the/grace internal shop-worker --port",
        "logfile=/dev/null",
    ] {
        assert!(said.contains(line), "{line} in {said}");
    }
}

#[test]
fn a_peer_that_does_not_start_leaves_neither_process_nor_directory() {
    let bin = Scratch::new("fake-peer").unwrap();
    let program = bin.path().join("peer");
    let try_it = |text: &str, patience: Duration| -> (String, PathBuf, PathBuf) {
        script(&program, text);
        let dir = Scratch::new("peer-dir").unwrap();
        let (at, pid) = (dir.path().to_owned(), bin.path().join("pid"));
        let file = ("peer.cfg", "");
        let port = free_port().unwrap();
        let error = start(&program, &[], dir, file, port, patience).unwrap_err();
        (error.to_string(), at, pid)
    };
    let (error, dir, _) = try_it("exit 3", Duration::from_secs(20));
    assert!(error.contains("ended at once"), "{error}");
    assert!(!dir.exists());
    // It never listens, takes no notice of TERM, and has started another.
    let text = format!(
        "trap '' TERM\nsleep 600 &\necho $! > {}/pid\nwait",
        bin.path().display()
    );
    let (error, dir, pid) = try_it(&text, Duration::from_secs(2));
    assert!(error.contains("did not listen"), "{error}");
    assert!(!dir.exists());
    let pid: u32 = std::fs::read_to_string(pid)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let begun = Instant::now();
    while runs(pid) {
        assert!(begun.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
#[ignore = "it is run by the test below, with the programs that it needs"]
fn needs_a_program() {
    match need("grace-test-peer", "grace-test-package") {
        Ok(path) => eprintln!("found {}", path.display()),
        Err(error) => eprintln!("not found: {error:#}"),
    }
}

#[test]
fn a_missing_peer_is_installed_when_that_is_allowed_and_told_with_its_package_when_not() {
    let dir = programs(&[]);
    let said = || {
        let output = child("needs_a_program", dir.path());
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let apt = dir.path().join("apt-get");
    script(&apt, "exit 100");
    assert!(said().contains("get it by: apt-get install grace-test-package"));
    // The first time it knows no packages.
    let at = dir.path().display();
    script(
        &apt,
        &format!(
            "[ \"$DEBIAN_FRONTEND\" = noninteractive ] || exit 99\ncase \"$*\" in\n  update*) touch {at}/updated ;;\n\
             install*grace-test-package) [ -e {at}/updated ] && touch {at}/grace-test-peer ;;\nesac"
        ),
    );
    let text = said();
    assert!(
        text.contains(&format!("found {at}/grace-test-peer")),
        "{text}"
    );
}
