//! Every process of Grace killed and stopped in seeded random order, the next once `grace status`
//! is whole again, under an open-loop load: traffic goes on, no event and no acknowledged entry is
//! lost, no incident stays stuck, nothing is left behind.
//!
//! `GRACE_SURVIVAL_SECONDS` says how long, `GRACE_SURVIVAL_SEED` with which seed; the seed is
//! printed.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use grace_journal::{Cursor, Entry, Reader};
use grace_ledger::{Ledger, Opened};
use grace_model::event::What;
use grace_model::layout::Layout;
use serde_json::Value;

use crate::harness::{Host, Program, alive, eventually, eventually_some, grace, signal};

/// How long the ordinary run harms.
const ORDINARY: Duration = Duration::from_secs(40);
/// And a full one (`cargo xtask test --full`).
const FULL: Duration = Duration::from_secs(120);
/// Time to be whole again after one harm, on a machine that does much else.
const WHOLE: Duration = Duration::from_secs(60);
/// Requests a second, open loop: late answers hold up none.
const RATE: u32 = 60;

/// SplitMix64 (Steele, Lea, Flood 2014): a seed gives the same harms each time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        let at = self.next() % u64::try_from(from.len()).expect("length");
        from[usize::try_from(at).expect("index")]
    }
}

/// Who is harmed.
const VICTIMS: [&str; 8] = [
    "front",
    "keeper",
    "supervisor",
    "proxy",
    "healer",
    "shop-1",
    "shop-2",
    "shop-3",
];

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text}: give a number")),
    )
}

/// A host with somebody in front, and a load on it.
struct Scene {
    host: Host,
    front: Program,
    load: Program,
    begun: Instant,
    /// When the proxy was harmed, until another was there.
    proxyless: Vec<(Duration, Duration)>,
    /// Kills of each instance.
    killed: BTreeMap<String, usize>,
    harms: Vec<String>,
}

impl Scene {
    /// `patience`: how long the load waits for an answer.
    fn new(patience: &str) -> Self {
        let host = Host::shop(3, "");
        let front = Self::in_front(&host);
        let ready = front
            .out
            .wait_json("that the host is ready", |line| line["event"] == "ready");
        let addr = ready["services"][0]["listen"].as_str().expect("listen");
        let mut load = Command::new(grace());
        load.args(["internal", "open-load", "--connections", "8"])
            .args(["--timeout", patience])
            .args(["--url", &format!("http://{addr}/hello")])
            .args(["--rate", &RATE.to_string()]);
        let load = Program::start(&mut load);
        let begun = Instant::now();
        load.out
            .wait_json("the load", |line| line["ok"].as_u64() > Some(20));
        Self {
            host,
            front,
            load,
            begun,
            proxyless: Vec::new(),
            killed: BTreeMap::new(),
            harms: Vec::new(),
        }
    }

    fn in_front(host: &Host) -> Program {
        Program::start(&mut host.command(&["up", "--json"]))
    }

    fn pid(&self, who: &str) -> u32 {
        match who {
            "front" => self.front.pid(),
            _ if who.starts_with("shop-") => self.host.pid(who),
            _ => self.host.process(who),
        }
    }

    fn harm(&mut self, who: &str, how: &str) {
        let old = self.pid(who);
        let at = self.begun.elapsed();
        self.harms.push(format!(
            "{:6.2} s {how} {who} (pid {old})",
            at.as_secs_f64()
        ));
        signal(how, old);
        if who == "front" {
            self.front_again(how, old);
        }
        self.await_whole(who, old, WHOLE)
            .unwrap_or_else(|missing| panic!("{missing} after {:#?}", self.harms));
        if who == "proxy" {
            self.proxyless.push((at, self.begun.elapsed()));
        }
        if who.starts_with("shop-") {
            *self.killed.entry(who.to_owned()).or_default() += 1;
        }
    }

    /// Whoever started it starts it again: a terminal's user, systemd. One that was stopped is no
    /// harm to anybody, and goes on.
    fn front_again(&mut self, how: &str, old: u32) {
        if how == "STOP" {
            std::thread::sleep(Duration::from_millis(300));
            signal("CONT", old);
            return;
        }
        self.front.ended();
        self.front = Self::in_front(&self.host);
        self.front
            .out
            .wait_json("that it is taken over", |line| line["event"] == "ready");
    }

    /// Until `grace status` is whole and `who` is another process than `old`; or what is missing.
    fn await_whole(&self, who: &str, old: u32, longest: Duration) -> Result<(), String> {
        let end = Instant::now() + longest;
        loop {
            let missing = match self.whole(who, old) {
                Ok(()) => return Ok(()),
                Err(missing) => missing,
            };
            if Instant::now() > end {
                return Err(format!("not whole within {longest:?}: {missing}"));
            }
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    fn whole(&self, who: &str, old: u32) -> Result<(), String> {
        let status = self
            .host
            .try_json(&["status"])
            .ok_or("`grace status` does not answer")?;
        if status["whole"] != true {
            return Err(status["missing"].to_string());
        }
        if who != "front" {
            let all = status["processes"].as_array().into_iter().flatten();
            let all = all.chain(status["instances"].as_array().into_iter().flatten());
            let named = |one: &&Value| one["name"] == who || one["id"] == who;
            let one = all.into_iter().find(named).ok_or("it is not listed")?;
            let pid = one["pid"].as_u64().unwrap_or(0);
            if pid == 0 || pid == u64::from(old) {
                return Err(format!("{who} is still pid {pid}"));
            }
        }
        // The healer is whole when it answers.
        let kernels = self
            .host
            .try_json(&["kernels"])
            .ok_or("the healer does not answer")?;
        let all = kernels["kernels"].as_array().ok_or("no kernels")?;
        match all.iter().find(|one| one["state"] != "running") {
            Some(one) => Err(format!("kernel {} is {}", one["name"], one["state"])),
            None => Ok(()),
        }
    }

    /// Ends the load; what it saw.
    fn report(&mut self) -> Value {
        self.load.end("TERM");
        let lines = self.load.out.all();
        let last = lines.last().expect("a report");
        serde_json::from_str(last).expect("JSON")
    }
}

/// Whether the traffic went on, by the promise: nothing is refused, and nothing fails but what was
/// sent on connections that a proxy had accepted which was then harmed.
fn traffic_went_on(report: &Value, proxyless: &[(Duration, Duration)]) -> Result<(), String> {
    let sent = report["sent"].as_u64().unwrap_or(0);
    let ok = report["ok"].as_u64().unwrap_or(0);
    if ok == 0 || ok + report["failed"].as_u64().unwrap_or(0) != sent {
        return Err(format!("requests are unaccounted for: {report}"));
    }
    let failures = report["failures"].as_array().cloned().unwrap_or_default();
    for failure in &failures {
        let reason = failure["reason"].as_str().unwrap_or_default();
        if reason.contains("refused") || reason.contains("Refused") {
            return Err(format!("a connection was refused: {failure}"));
        }
        let at = Duration::from_millis(failure["at_ms"].as_u64().unwrap_or(0));
        // What was due a moment before may have been on its way.
        let margin = Duration::from_secs(2);
        let excused = proxyless
            .iter()
            .any(|(from, to)| at + margin >= *from && at <= *to + margin);
        if !excused {
            return Err(format!("it failed while the proxy was well: {failure}"));
        }
    }
    // Each proxy takes with it at most what was on its connections: those that are kept, and a
    // second of requests of a stopped one.
    let most = proxyless.len() as u64 * (8 + u64::from(RATE) * 2);
    match report["failed"].as_u64().unwrap_or(0) {
        failed if failed > most => Err(format!("{failed} failed, more than {most}: {failures:?}")),
        _ => Ok(()),
    }
}

/// Kills of each instance that the supervisor's journal tells of.
fn journalled(host: &Host) -> BTreeMap<String, usize> {
    let dir = Layout::new(host.state()).journal("supervisor");
    let mut reader = Reader::open(&dir, Cursor::START);
    let mut found = BTreeMap::new();
    loop {
        let entries = reader.read(1_000).expect("the journal");
        if entries.is_empty() {
            return found;
        }
        for (_, entry) in entries {
            match entry {
                Entry::Event(event) => {
                    if let What::Exited {
                        subject,
                        wanted: false,
                        ..
                    } = event.what
                    {
                        *found.entry(subject.instance.to_string()).or_default() += 1;
                    }
                }
                other => panic!("the journal has a hole: {other:?}"),
            }
        }
    }
}

#[test]
fn every_process_killed_and_stopped_in_random_order_under_load_loses_nothing() {
    let seed = variable("GRACE_SURVIVAL_SEED").unwrap_or_else(|| {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        u64::from(since.expect("time").subsec_nanos())
    });
    let usual = if std::env::var_os("GRACE_FULL").is_some() {
        FULL
    } else {
        ORDINARY
    };
    let length = variable("GRACE_SURVIVAL_SECONDS").map_or(usual, Duration::from_secs);
    println!("GRACE_SURVIVAL_SEED={seed}");
    let mut random = Random(seed);
    let mut scene = Scene::new("20s");
    // Everybody once each way, in random order; then whoever, until the time is over.
    let mut todo: Vec<(&str, &str)> = VICTIMS
        .into_iter()
        .flat_map(|who| {
            // A stopped instance is a hang: another playbook, another test.
            let stop = (!who.starts_with("shop-")).then_some((who, "STOP"));
            stop.into_iter().chain([(who, "KILL")])
        })
        .collect();
    while let Some(last) = todo.len().checked_sub(1) {
        let at = random.next() % u64::try_from(todo.len()).expect("length");
        todo.swap(usize::try_from(at).expect("index"), last);
        let (who, how) = todo.pop().expect("one");
        scene.harm(who, how);
    }
    while scene.begun.elapsed() < length {
        let who = random.pick(&VICTIMS);
        let how = if who.starts_with("shop-") {
            "KILL"
        } else {
            random.pick(&["KILL", "STOP"])
        };
        // So that a harm falls into every stage of the healing of the one before, and nobody's
        // restarts are used up.
        std::thread::sleep(Duration::from_millis(random.next() % 1_000));
        scene.harm(who, how);
    }
    let harms = scene.harms.join("\n");
    println!("{harms}");

    // No incident is stuck, and every kill of an instance is part of one. That a machine on which
    // much else runs is short of something is no fault of anybody here.
    let end = Instant::now() + WHOLE * 2;
    let incidents = loop {
        let mut all = scene.host.incidents();
        all.retain(|one| one["target"] != "host");
        let stuck: Vec<&Value> = all
            .iter()
            .filter(|one| one["state"] != "resolved")
            .collect();
        if !all.is_empty() && stuck.is_empty() {
            break all;
        }
        assert!(Instant::now() < end, "stuck: {stuck:#?}\n{harms}");
        std::thread::sleep(Duration::from_millis(100));
    };
    for (id, kills) in &scene.killed {
        let found: u64 = incidents
            .iter()
            .filter(|one| one["target"] == *id && one["finding"]["kind"] == "instance-crash")
            .filter_map(|one| one["findings"].as_u64())
            .sum();
        assert!(
            found >= u64::try_from(*kills).expect("count"),
            "{id} was killed {kills} times, and incidents tell of {found}: {incidents:?}\n{harms}"
        );
    }
    let report = scene.report();
    println!("{report}");
    traffic_went_on(&report, &scene.proxyless).unwrap_or_else(|why| panic!("{why}\n{harms}"));
    // Each exit is in the journal once: those of the kills and no others.
    assert_eq!(journalled(&scene.host), scene.killed, "{harms}");
    scene.front.end("TERM");
    scene.host.down();
    // Nothing acknowledged is lost: the chain holds from its first entry to its last.
    let path = Layout::new(scene.host.state()).ledger();
    let (_ledger, opened) = Ledger::open(&path).expect("the ledger");
    assert!(
        matches!(opened, Opened::Verified { entries } | Opened::Since { entries, .. } if entries > 0),
        "{opened:?}\n{harms}"
    );
    let aside = std::fs::read_dir(scene.host.state())
        .expect("state")
        .flatten();
    let damaged: Vec<_> = aside
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.contains("damaged"))
        .collect();
    assert_eq!(damaged, Vec::<String>::new(), "{harms}");
}

#[test]
fn with_the_restart_of_the_proxy_withheld_the_same_check_fails() {
    let mut scene = Scene::new("1s");
    let (keeper, supervisor) = (scene.pid("keeper"), scene.pid("supervisor"));
    // Stopped together, nobody brings anybody back.
    signal("STOP", keeper);
    signal("STOP", supervisor);
    let proxy = eventually_some("the proxy's pid", || {
        let text = std::fs::read(scene.host.state().join("run/proxy.pid")).ok()?;
        let id: Value = serde_json::from_slice(&text).ok()?;
        u32::try_from(id["pid"].as_u64()?).ok()
    });
    signal("KILL", proxy);
    let at = scene.begun.elapsed();
    eventually("the proxy is gone", || !alive(proxy));
    let missing = scene.await_whole("proxy", proxy, Duration::from_secs(3));
    assert!(missing.is_err(), "it is whole without a proxy");
    // Longer than the load waits for an answer.
    std::thread::sleep(Duration::from_secs(4));
    let report = scene.report();
    let verdict = traffic_went_on(&report, &[(at, at)]);
    assert!(verdict.is_err(), "nobody missed the proxy: {report}");
    signal("CONT", keeper);
    signal("CONT", supervisor);
    scene
        .await_whole("proxy", proxy, WHOLE)
        .expect("whole when restarts are allowed again");
    scene.front.end("TERM");
    scene.host.down();
}

#[test]
fn the_check_of_the_traffic_finds_what_the_promise_excludes() {
    let report = |failures: Value| {
        let count = failures.as_array().map_or(0, Vec::len);
        serde_json::json!({ "sent": 100, "ok": 100 - count, "failed": count, "failures": failures })
    };
    let window = [(Duration::from_secs(10), Duration::from_secs(11))];
    let fail = |at_ms: u64, reason: &str| {
        report(serde_json::json!([{ "at_ms": at_ms, "id": "x", "reason": reason }]))
    };
    assert_eq!(traffic_went_on(&report(serde_json::json!([])), &[]), Ok(()));
    assert_eq!(
        traffic_went_on(&fail(10_100, "connection reset"), &window),
        Ok(())
    );
    assert!(traffic_went_on(&fail(10_100, "connection reset"), &[]).is_err());
    assert!(traffic_went_on(&fail(30_000, "connection reset"), &window).is_err());
    assert!(traffic_went_on(&fail(10_100, "Connection refused"), &window).is_err());
    assert!(traffic_went_on(&serde_json::json!({ "sent": 5, "ok": 3, "failed": 0 }), &[]).is_err());
}
