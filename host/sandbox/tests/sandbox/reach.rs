//! What instances can reach: neighbours, network, files, system calls, capabilities.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use grace_model::isolation::{Network, Signals, Syscalls};
use grace_os::user;

use crate::stage::{Stage, service};

#[test]
fn a_worker_can_neither_signal_nor_trace_its_neighbour() {
    let test = "a_worker_can_neither_signal_nor_trace_its_neighbour";
    let stage = Stage::new("neighbours");
    if stage
        .prepare(
            &service(|it| it.isolation.signals = Some(Signals::Own)),
            stage.dir.path(),
        )
        .is_err()
    {
        grace_needs::not_run(test, "it needs Landlock with signals, Linux 6.12 or later");
        return;
    }
    let neighbour = stage.run(&service(|_| {}), "sleep 600");
    let pid = neighbour.child.pid;
    // Opening its memory asks the kernel the same question as attaching to it.
    let attack = format!(
        "kill -9 {pid} 2>/dev/null && echo killed; \
         (: 3<>/proc/{pid}/mem) 2>/dev/null && echo traced; \
         cat /proc/{pid}/environ 2>/dev/null | grep -q PATH && echo read; \
         sleep 600 & kill -9 $! && echo own child; (: 3<>/proc/$$/mem) && echo own memory"
    );
    // What nobody asked for is the default too.
    assert_eq!(
        stage.says(&service(|_| {}), &attack),
        "own child\nown memory\n"
    );
    assert!(neighbour.is_alive());
    // Without it, the same attack goes through: it is not the machine that protects.
    let any = service(|it| it.isolation.signals = Some(Signals::Any));
    let said = stage.says(&any, &attack);
    assert!(said.starts_with("killed\n"), "{said}");
}

#[test]
fn without_a_network_there_is_only_its_own_loopback() {
    let stage = Stage::new("network");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let cut = service(|it| it.isolation.network = Some(Network::None));
    let script = format!(
        "tail -n +3 /proc/self/net/dev | wc -l; \
         bash -c ': </dev/tcp/127.0.0.1/{port}' 2>/dev/null && echo connected; \
         grep -c 'host LOCAL' /proc/self/net/fib_trie"
    );
    // Its loopback is up: it has its address, and the machine's port is not there.
    let said = stage.says(&cut, &script);
    assert!(
        said.starts_with("1\n") && !said.contains("connected"),
        "{said}"
    );
    assert_ne!(said, "1\n0\n");
    let host = service(|it| it.isolation.network = Some(Network::Host));
    assert!(stage.says(&host, &script).contains("connected"));
}

#[test]
fn a_read_only_path_cannot_be_changed_and_what_lies_beside_it_can() {
    let stage = Stage::new("read-only");
    let user = user::is_root().then(crate::stage::nobody);
    let closed = stage.data(user.as_ref());
    std::fs::create_dir(closed.join("below")).unwrap();
    if let Some(user) = &user {
        user::give(&closed.join("below"), user).unwrap();
    }
    let limited = service(|it| it.isolation.read_only = vec![closed.clone()]);
    let script = format!(
        "(: >{0}/a) 2>/dev/null && echo written; (: >{0}/below/a) 2>/dev/null && echo written; \
         : >$DATA/a && echo beside",
        closed.display()
    );
    assert_eq!(stage.says(&limited, &script), "beside\n");
    assert_eq!(
        stage.says(&service(|_| {}), &script),
        "written\nwritten\nbeside\n"
    );
}

/// By Landlock, and by mounts where Landlock is not there or a `/tmp` of its own is asked for.
#[test]
fn what_is_not_named_as_writable_cannot_be_changed() {
    let stage = Stage::new("writable");
    let user = user::is_root().then(crate::stage::nobody);
    let Some(dir) = outside_tmp() else {
        grace_needs::not_run(
            "what_is_not_named_as_writable_cannot_be_changed",
            "it needs a directory that is not below /tmp, and open to others",
        );
        return;
    };
    let make = |name: &str| {
        let path = dir.path().join(name);
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("old"), "text").unwrap();
        for path in [&path, &path.join("old")] {
            if let Some(user) = &user {
                user::give(path, user).unwrap();
            }
        }
        path
    };
    let (open, closed) = (make("open"), make("closed"));
    let script = format!(
        "(: >{0}/new) 2>/dev/null && echo new; (echo x >{0}/old) 2>/dev/null && echo old; \
         rm {0}/old 2>/dev/null && echo removed; mv {1}/old {0}/moved 2>/dev/null && echo moved; \
         : >{1}/a && : >$DATA/a && : >/tmp/$$ && rm /tmp/$$ && : >/dev/null && echo good",
        closed.display(),
        open.display()
    );
    for own_tmp in [false, true] {
        let limited = service(|it| {
            it.isolation.writable = Some(vec![open.clone()]);
            it.isolation.private_tmp_bytes = own_tmp.then_some(1 << 20);
        });
        assert_eq!(
            stage.says(&limited, &script),
            "good\n",
            "own tmp: {own_tmp}"
        );
    }
    assert_eq!(
        stage.says(&service(|_| {}), &script),
        "new\nold\nremoved\nmoved\ngood\n"
    );
}

/// Everyone may write below /tmp, so there nothing would be shown.
fn outside_tmp() -> Option<tempfile::TempDir> {
    use std::os::unix::fs::PermissionsExt;
    let open = |dir: &Path| {
        let mode = dir.metadata().map(|meta| meta.permissions().mode());
        mode.is_ok_and(|mode| mode & 1 == 1)
    };
    let places = ["/var/lib", "/opt", env!("CARGO_TARGET_TMPDIR")].map(Path::new);
    let mut fit = places
        .into_iter()
        .filter(|dir| !dir.starts_with("/tmp") && dir.ancestors().all(open));
    let dir = fit.find_map(|dir| tempfile::tempdir_in(dir).ok())?;
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).ok()?;
    Some(dir)
}

#[test]
fn calls_that_change_the_kernel_are_refused_and_others_are_not() {
    let stage = Stage::new("calls");
    let limited = service(|it| it.isolation.syscalls = Some(Syscalls::Service));
    let script = "unshare -U true 2>/dev/null && echo unshared; ls / >/dev/null && echo listed; \
                  grep Seccomp: /proc/self/status | tr -s '\\t' ' '";
    assert_eq!(stage.says(&limited, script), "listed\nSeccomp: 2\n");
    assert_eq!(
        stage.says(&service(|_| {}), script),
        "unshared\nlisted\nSeccomp: 0\n"
    );
}

#[test]
fn dropped_capabilities_are_gone_for_good_and_privileges_cannot_be_gained() {
    let stage = Stage::new("capabilities");
    let script = "grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status | tr -s '\\t' ' '";
    let limited = service(|it| it.isolation.drop_capabilities = vec!["all".to_owned()]);
    if grace_needs::as_root(
        "dropped_capabilities_are_gone_for_good_and_privileges_cannot_be_gained",
    ) {
        // As root itself, which would have all.
        let said = stage.run_as(&limited, None, script).text();
        assert_eq!(
            said,
            "CapEff: 0000000000000000\nCapBnd: 0000000000000000\nNoNewPrivs: 1\n"
        );
        let one = service(|it| it.isolation.drop_capabilities = vec!["CAP_NET_RAW".to_owned()]);
        let said = stage.run_as(&one, None, script).text();
        let bounding = said
            .lines()
            .nth(1)
            .unwrap()
            .strip_prefix("CapBnd: ")
            .unwrap();
        assert_eq!(u64::from_str_radix(bounding, 16).unwrap() & (1 << 13), 0);
        assert_ne!(u64::from_str_radix(bounding, 16).unwrap(), 0);
    } else {
        assert!(
            stage
                .says(&limited, script)
                .starts_with("CapEff: 0000000000000000\n")
        );
    }
    let wrong = service(|it| it.isolation.drop_capabilities = vec!["net_war".to_owned()]);
    let refused = stage
        .prepare(&wrong, stage.dir.path())
        .unwrap_err()
        .to_string();
    assert!(refused.contains("isolation.drop_capabilities"), "{refused}");
}

#[test]
fn a_path_that_does_not_exist_is_refused_with_its_key() {
    let stage = Stage::new("paths");
    let absent = PathBuf::from("/no/such/path");
    for (wrong, key) in [
        (
            service(|it| it.isolation.read_only = vec![absent.clone()]),
            "isolation.read_only",
        ),
        (
            service(|it| it.isolation.writable = Some(vec![absent.clone()])),
            "isolation.writable",
        ),
    ] {
        let refused = stage
            .prepare(&wrong, stage.dir.path())
            .unwrap_err()
            .to_string();
        assert!(refused.contains(key), "{refused}");
        assert!(
            refused.contains("/no/such/path does not exist"),
            "{refused}"
        );
    }
    // Nothing is left of what was not started.
    let names = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    assert!(!names.contains("test-paths"));
}
