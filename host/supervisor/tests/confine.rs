//! Instances in their groups: whose out-of-memory kill it was, what is left after an end, after a
//! supervisor's death, after a shutdown, and asks that cannot be met.

use std::path::PathBuf;

use grace_model::event::What;
use grace_model::instance::{ExitCause, State};
use grace_os::cgroup::{self, Controller};

use crate::host::{Host, is_alive, kill, kill_now, service, until, with_command};

/// The shell itself would keep 100 MB.
const HOG: &str = "x=$(head -c 100000000 /dev/zero | tr '\\0' a); sleep 1";

/// The group directories of a host, with those of its instances.
fn groups(host: &Host) -> Vec<PathBuf> {
    let path = host.layout.run().join("cgroups.json");
    let Ok(text) = std::fs::read(path) else {
        return Vec::new();
    };
    let tops: Vec<PathBuf> = serde_json::from_slice(&text).unwrap();
    let mut all = Vec::new();
    for top in tops {
        let inside = std::fs::read_dir(&top).into_iter().flatten().flatten();
        all.extend(inside.map(|it| it.path()).filter(|it| it.is_dir()));
        all.extend(top.is_dir().then_some(top));
    }
    all
}

fn named(host: &Host, name: &str) -> bool {
    groups(host).iter().any(|dir| dir.ends_with(name))
}

/// Whether memory can be limited here; if not, the test is written down as not run.
fn memory(test: &str) -> bool {
    let own = cgroup::own().unwrap_or_default();
    let given = grace_needs::as_root(test)
        && own
            .iter()
            .any(|it| it.controllers.contains(&Controller::Memory));
    if !given {
        grace_needs::not_run(test, "it needs root and a memory controller");
    }
    given
}

fn cause_of(host: &Host, id: &str, pid: u32) -> ExitCause {
    host.await_event("exited", |what| match what {
        What::Exited {
            subject,
            cause,
            pid: of,
            ..
        } if subject.instance.as_str() == id && *of == pid => Some(cause.clone()),
        _ => None,
    })
}

#[test]
fn an_out_of_memory_kill_is_told_of_its_own_instance_and_of_no_other() {
    let test = "an_out_of_memory_kill_is_told_of_its_own_instance_and_of_no_other";
    if !memory(test) {
        return;
    }
    // It waits for a file, so that the other one's death comes at the same moment.
    let script = format!("until [ -e $GRACE_DATA/go ]; do sleep 0.02; done; {HOG}");
    let command = ["sh", "-c", &script].map(str::to_owned).to_vec();
    let mut hog = with_command("hog", command);
    hog.limits.memory_bytes = Some(32 << 20);
    hog.restart.reflex = false;
    let host = Host::new(vec![hog, service("shop", &["idle"])]);
    host.up();
    let (hog, shop) = (host.await_ready("hog-1"), host.await_ready("shop-1"));
    std::fs::write(host.data("hog-1").join("go"), "").unwrap();
    until("the hog's end", || (!is_alive(hog.pid)).then_some(()));
    // The machine's count has just risen; this one was killed by somebody all the same.
    kill(shop.pid);
    assert_eq!(cause_of(&host, "hog-1", hog.pid), ExitCause::Oom);
    assert_eq!(cause_of(&host, "shop-1", shop.pid), ExitCause::Signal(9));
    host.down();
}

#[test]
fn an_instance_tells_how_it_is_confined_and_its_group_ends_with_it() {
    let test = "an_instance_tells_how_it_is_confined_and_its_group_ends_with_it";
    if !memory(test) {
        return;
    }
    let host = Host::new(vec![service("shop", &["idle"])]);
    host.up();
    let first = host.await_ready("shop-1");
    assert!(named(&host, "shop-1.1"));
    let own = cgroup::of_process(first.pid).unwrap();
    assert!(
        own.iter()
            .all(|it| it.dir.ends_with("shop-1.1") || it.controllers == [Controller::Cpu])
    );
    let report = host.await_event("isolated", |what| match what {
        What::Isolated { subject, report } if subject.generation == 1 => Some(report.clone()),
        _ => None,
    });
    assert!(
        report.applied.iter().any(|it| it.contains("memory")),
        "{report:?}"
    );
    kill(first.pid);
    host.await_status("another process", |status| {
        let it = status.instances.first()?;
        (it.generation == 2 && it.state == State::Ready).then_some(())
    });
    until("the old group's end", || {
        (!named(&host, "shop-1.1")).then_some(())
    });
    assert!(named(&host, "shop-1.2"));
    let all = groups(&host);
    host.down();
    assert!(all.iter().all(|dir| !dir.exists()), "{all:?}");
    assert_eq!(groups(&host), Vec::<PathBuf>::new());
}

#[test]
fn groups_of_what_ended_while_there_was_no_supervisor_are_swept_and_the_living_keep_theirs() {
    let test =
        "groups_of_what_ended_while_there_was_no_supervisor_are_swept_and_the_living_keep_theirs";
    if !memory(test) {
        return;
    }
    let mut shop = service("shop", &["idle"]);
    shop.instances = 2;
    let host = Host::new(vec![shop]);
    host.up();
    let (first, second) = (host.await_ready("shop-1"), host.await_ready("shop-2"));
    // One that belongs to nobody, with a process in it.
    let top = groups(&host)
        .into_iter()
        .find(|dir| dir.ends_with("shop-1.1"))
        .unwrap();
    let stray = top.with_file_name("gone-7.3");
    std::fs::create_dir(&stray).unwrap();
    let mut sleeper = std::process::Command::new("sleep")
        .arg("600")
        .spawn()
        .unwrap();
    std::fs::write(stray.join("cgroup.procs"), sleeper.id().to_string()).unwrap();
    let supervisor = host.pid_of("supervisor");
    crate::host::signal(supervisor, grace_os::Signal::Stop);
    kill(first.pid);
    kill_now(supervisor);
    host.await_other("supervisor", supervisor);
    host.await_status("another process", |status| {
        let it = status.instances.first()?;
        (it.generation == 2 && it.state == State::Ready).then_some(())
    });
    until("the sweep", || {
        (!stray.exists() && !named(&host, "shop-1.1")).then_some(())
    });
    assert!(!sleeper.wait().unwrap().success());
    assert_eq!(host.await_ready("shop-2").pid, second.pid);
    assert!(named(&host, "shop-2.1"));
    // An adopted instance's kill is told by its group too.
    kill(second.pid);
    assert_eq!(cause_of(&host, "shop-2", second.pid), ExitCause::Signal(9));
    host.down();
}

#[test]
fn an_ask_that_cannot_be_met_keeps_the_instance_from_starting_and_others_run() {
    let mut strict = service("strict", &["idle"]);
    strict.isolation.writable = Some(vec![PathBuf::from("/no/such/path")]);
    let host = Host::new(vec![strict, service("shop", &["idle"])]);
    host.up();
    host.await_ready("shop-1");
    let reason = host.await_status("a reason", |status| {
        let it = status
            .instances
            .iter()
            .find(|it| it.id.as_str() == "strict-1")?;
        it.reason.clone().filter(|it| it.contains("isolation"))
    });
    assert!(reason.contains("`isolation.writable`"), "{reason}");
    assert!(reason.contains("/no/such/path does not exist"), "{reason}");
    assert!(reason.contains("make it, or correct the path"), "{reason}");
    host.down();
}
