//! Instances that use up what they can get.

use grace_model::instance::ExitCause;
use grace_os::cgroup::Controller;
use grace_os::user;

use crate::stage::{LONG, Stage, service, until};

/// Whether groups can limit these here; if not, the test is written down as not run.
fn groups(stage: &Stage, test: &str, controllers: &[Controller]) -> bool {
    let lacks: Vec<String> = stage
        .machine
        .primitives(&stage.home)
        .into_iter()
        .filter(|one| {
            let names = controllers.iter().map(|it| format!("cgroup {}", it.name()));
            !one.given && names.into_iter().any(|name| name == one.name)
        })
        .map(|one| format!("{}: {}; {}", one.name, one.found, one.means))
        .collect();
    if !lacks.is_empty() {
        grace_needs::not_run(test, &lacks.join("; "));
    }
    lacks.is_empty()
}

#[test]
fn a_fork_bomb_stays_within_its_limit_and_its_neighbour_runs_on() {
    let stage = Stage::new("bomb");
    if !groups(
        &stage,
        "a_fork_bomb_stays_within_its_limit_and_its_neighbour_runs_on",
        &[Controller::Pids],
    ) {
        return;
    }
    let limited = service(|it| it.limits.pids = Some(32));
    let neighbour = stage.run(&service(|_| {}), "sleep 600");
    let mut bomb = stage.run(
        &limited,
        // It forks until it is refused, which ends the shell that forks and not what it made.
        "echo begun; (while :; do sleep 600 & done) 2>/dev/null; exec sleep 600",
    );
    assert_eq!(bomb.line(), "begun");
    let group = bomb.group().clone();
    assert_eq!(group.tasks_limit(), Some(32));
    until("a full group", || group.tasks().unwrap() >= 31);
    for _ in 0..200 {
        assert!(group.tasks().unwrap() <= 32);
    }
    // The neighbour and the machine can still fork.
    assert!(neighbour.is_alive());
    assert_eq!(
        stage.says(&service(|_| {}), "echo $(echo still)"),
        "still\n"
    );
    // However fast it forks, its end is the end of all of it.
    assert_eq!(group.kill(LONG), Vec::<u32>::new());
    bomb.ended();
    until("an empty group", || group.pids().is_empty());
}

#[test]
fn a_memory_hog_is_killed_in_its_own_group_and_its_neighbour_is_not() {
    let stage = Stage::new("hog");
    if !groups(
        &stage,
        "a_memory_hog_is_killed_in_its_own_group_and_its_neighbour_is_not",
        &[Controller::Memory],
    ) {
        return;
    }
    let limited = service(|it| it.limits.memory_bytes = Some(32 << 20));
    let neighbour = stage.run(&limited, "sleep 600");
    let mut hog = stage.run(&limited, crate::stage::HOG);
    assert_eq!(hog.ended().cause(), ExitCause::Signal(9));
    assert_eq!(hog.group().oom_kills(), Some(1));
    assert_eq!(hog.group().memory().unwrap().limit_bytes, Some(32 << 20));
    assert_eq!(neighbour.group().oom_kills(), Some(0));
    assert!(neighbour.is_alive());
}

#[test]
fn a_busy_loop_is_held_back_to_its_share() {
    let stage = Stage::new("busy");
    let test = "a_busy_loop_is_held_back_to_its_share";
    if !groups(&stage, test, &[Controller::Cpu]) {
        return;
    }
    let limited = service(|it| it.limits.cpu_millicores = Some(100));
    // One that did not ask shares the machine as every other process does.
    let free = stage.run(&service(|_| {}), "sleep 600");
    assert_eq!(free.group().place(Controller::Cpu), None);
    let own = grace_os::cgroup::of_process(free.child.pid).unwrap();
    let ours = grace_os::cgroup::own().unwrap();
    let cpu = |places: &[grace_os::cgroup::Place]| {
        let v1 = |it: &&grace_os::cgroup::Place| it.version == grace_os::cgroup::Version::V1;
        let mut found = places.iter().filter(v1);
        found
            .find(|it| it.controllers.contains(&Controller::Cpu))
            .cloned()
    };
    assert_eq!(cpu(&own), cpu(&ours));
    let busy = stage.run(&limited, "while :; do :; done");
    let place = busy.group().place(Controller::Cpu).unwrap();
    until("a period in which it was held back", || {
        let stat = std::fs::read_to_string(place.dir.join("cpu.stat")).unwrap();
        let line = stat
            .lines()
            .find_map(|line| line.strip_prefix("nr_throttled "));
        line.unwrap().parse::<u64>().unwrap() > 0
    });
}

#[test]
fn a_disk_filler_gets_no_more_than_its_own_tmp_and_no_larger_files() {
    let stage = Stage::new("filler");
    let limited = service(|it| {
        it.isolation.private_tmp_bytes = Some(2 << 20);
        it.limits.file_bytes = Some(4 << 20);
        // All else is closed to it, so these two are all that it can fill.
        it.isolation.writable = Some(Vec::new());
    });
    let ours = format!("/tmp/{}", crate::stage::host("fill"));
    let said = stage.says(
        &limited,
        &format!(
            "dd if=/dev/zero of={ours} bs=1M count=8 2>&1; echo; \
             dd if=/dev/zero of=$DATA/big bs=1M count=8 2>&1; echo; \
             stat -c 'big %s' $DATA/big; echo x >/var/{0} || echo closed; ls /tmp | wc -l",
            crate::stage::host("fill")
        ),
    );
    assert!(said.contains("No space left"), "{said}");
    assert!(said.contains(&format!("big {}", 4 << 20)), "{said}");
    assert!(said.contains("closed"), "{said}");
    // What it wrote was never in the machine's own.
    assert!(!std::path::Path::new(&ours).exists());
    assert!(std::path::Path::new("/tmp").read_dir().unwrap().count() > 0);
}

#[test]
fn files_and_open_files_have_their_limits() {
    let stage = Stage::new("files");
    let limited = service(|it| it.limits.files = Some(16));
    let said = stage.says(&limited, "ulimit -Hn; ulimit -Sn");
    assert_eq!(said, "16\n16\n");
    if !user::is_root() {
        let greedy = service(|it| it.limits.files = Some(u64::MAX));
        let refused = stage.prepare(&greedy, stage.dir.path()).unwrap_err();
        assert!(refused.to_string().contains("limits.files"), "{refused}");
    }
}
