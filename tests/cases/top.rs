//! `grace top` in a terminal, and without one.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::harness::{Host, Pty, Traffic, eventually, signal};

/// A running top, or none where there is no `script`.
fn top(test: &str, host: &Host, more: &[&str], size: (u16, u16)) -> Option<Pty> {
    grace_needs::tool(test, "script", "apt-get install bsdutils")?;
    let dir = host.dir().join(format!("pty-{}", more.len()));
    fs::create_dir_all(&dir).expect("a directory");
    let mut args = vec!["top", "--interval", "200ms"];
    args.extend(more);
    Some(Pty::start(host.command(&args), &dir, size))
}

fn full(text: &str) -> bool {
    text.contains("shop-1") && text.contains("shop-3") && text.contains("q quit")
}

#[test]
fn the_screen_shows_fleet_traffic_and_incidents_and_keys_change_it() {
    let test = "the_screen_shows_fleet_traffic_and_incidents_and_keys_change_it";
    let host = Host::shop(3, "");
    let shop = host.up();
    let Some(mut pty) = top(test, &host, &[], (24, 80)) else {
        return;
    };
    let traffic = Traffic::start(shop);
    let text = pty.until("the fleet", |text| full(text) && text.contains("3/3"));
    assert!(pty.is_full(), "{text}");
    for word in [
        "SERVICE",
        "REQ/s",
        "P99<=",
        "INSTANCE",
        "CPU%",
        "MEM",
        "FILES",
        "THR",
        "INCIDENTS",
    ] {
        assert!(text.contains(word), "{word}\n{text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 80));
    // Rates come with the second measurement: the service's row has one, and a time.
    pty.until("rates", |text| {
        let row = text
            .lines()
            .find(|line| line.starts_with("shop "))
            .unwrap_or_default();
        row.contains("ms")
            && row
                .split_whitespace()
                .nth(2)
                .is_some_and(|it| it != "-" && it != "0")
    });
    let of = |text: &str, id: &str| text.lines().position(|line| line.starts_with(id));
    pty.keys("r");
    pty.until("the other order", |text| {
        text.contains("sort: name reversed") && of(text, "shop-3") < of(text, "shop-1")
    });
    pty.keys("s");
    pty.until("another order", |text| text.contains("sort: cpu reversed"));
    pty.keys("f");
    pty.until("a filter", |text| text.contains("filter: shop"));
    pty.keys("f");
    pty.until("no filter", |text| text.contains("filter: all"));

    signal("KILL", host.pid("shop-2"));
    pty.until("its incident", |text| {
        text.contains("inc-1") && text.contains("crash")
    });
    pty.until("its end", |text| text.contains("resolved"));

    // What is seen stays as it is while it is paused.
    pty.keys("p");
    pty.until("the pause", |text| text.contains("PAUSED"));
    let seen = |text: &str| {
        text.lines()
            .find(|line| line.contains("  at "))
            .map(str::to_owned)
    };
    let before = seen(&pty.text());
    std::thread::sleep(std::time::Duration::from_millis(2_500));
    assert_eq!(seen(&pty.text()), before);
    pty.keys("p");
    pty.until("it goes on", |text| {
        !text.contains("PAUSED") && seen(text) != before
    });
    let _ = traffic.stop();
    pty.keys("q");
    assert_eq!(pty.code(), 0);
    pty.is_as_it_was();
    host.down();
}

#[test]
fn the_screen_follows_its_terminal_to_another_size() {
    let test = "the_screen_follows_its_terminal_to_another_size";
    let host = Host::shop(3, "");
    host.up();
    let Some(mut pty) = top(test, &host, &[], (24, 80)) else {
        return;
    };
    pty.until("the fleet", |text| full(text) && !text.contains("LB-OUT/s"));
    pty.resize(40, 140);
    let text = pty.until("more columns", |text| text.contains("LB-OUT/s"));
    assert_eq!(
        text.lines().position(|line| line.starts_with("q quit")),
        Some(39),
        "{text}"
    );
    pty.resize(10, 40);
    pty.until("fewer", |text| {
        text.lines().position(|line| line.starts_with("q quit")) == Some(9)
            && !text.contains("FILES")
    });
    pty.keys("\u{3}");
    assert_eq!(pty.code(), 0);
    pty.is_as_it_was();
    host.down();
}

#[test]
fn a_signal_and_a_panic_leave_the_terminal_as_it_was() {
    let test = "a_signal_and_a_panic_leave_the_terminal_as_it_was";
    let host = Host::shop(3, "");
    host.up();
    let Some(pty) = top(test, &host, &[], (24, 80)) else {
        return;
    };
    pty.until("the fleet", full);
    signal("TERM", pty.pid());
    assert_eq!(pty.code(), 0);
    pty.is_as_it_was();

    let Some(pty) = top(test, &host, &["--panic"], (24, 80)) else {
        return;
    };
    assert_eq!(pty.code(), 101);
    pty.is_as_it_was();
    pty.until("its message on the screen that stays", |text| {
        text.contains("a panic on purpose")
    });
    host.down();
}

#[test]
fn a_host_that_goes_away_is_said_and_one_that_comes_back_is_shown_again() {
    let test = "a_host_that_goes_away_is_said_and_one_that_comes_back_is_shown_again";
    let host = Host::shop(3, "");
    host.up();
    let Some(mut pty) = top(test, &host, &[], (24, 100)) else {
        return;
    };
    pty.until("the fleet", full);
    host.down();
    let text = pty.until("that it is away", |text| text.contains("no host is up in"));
    assert!(
        text.contains("the host is away for") && text.contains("shop-1"),
        "{text}"
    );
    host.up();
    pty.until("it again", |text| {
        full(text) && !text.contains("away") && text.contains("3/3")
    });
    // A supervisor that stands still is one that does not answer; its keeper, which would replace
    // it, stands still too.
    let (keeper, supervisor) = (host.process("keeper"), host.process("supervisor"));
    signal("STOP", keeper);
    signal("STOP", supervisor);
    pty.until("that it is silent", |text| {
        text.contains("the host is away for")
    });
    pty.keys("s");
    pty.until("keys all the same", |text| text.contains("sort: cpu"));
    signal("CONT", supervisor);
    signal("CONT", keeper);
    pty.until("it again", |text| !text.contains("away"));
    pty.keys("q");
    assert_eq!(pty.code(), 0);
    host.down();
}

#[test]
fn once_prints_one_plain_frame_and_json_one_document() {
    let host = Host::shop(2, "");
    let shop = host.up();
    let traffic = Traffic::start(shop);
    eventually("two measurements", || {
        let frame = host.json(&["top"]);
        frame["services"][0]["requests_per_second"].as_f64() > Some(0.0)
            && frame["instances"][1]["usage"]["cpu_us"].as_u64() > Some(0)
    });
    let frame = host.json(&["top"]);
    for key in [
        "state",
        "whole",
        "host",
        "services",
        "instances",
        "incidents",
        "measured_at",
    ] {
        assert!(frame.get(key).is_some(), "{key} {frame}");
    }
    assert_eq!(frame["instances"][0]["id"], "shop-1");
    let run = host.run(&["top", "--once"]).good();
    assert!(!run.stdout.contains('\u{1b}'), "{run:?}");
    for word in [
        "grace top whole",
        "INSTANCE",
        "shop-1",
        "shop-2",
        "INCIDENTS  0 open",
    ] {
        assert!(run.stdout.contains(word), "{word} {run:?}");
    }
    let _ = traffic.stop();

    // With an interval it is a document a line, until nobody reads any more.
    let mut child = host
        .command(&["top", "--json", "--interval", "200ms"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("grace starts");
    let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
    for _ in 0..3 {
        let line = lines.next().expect("a line").expect("text");
        let frame: Value = serde_json::from_str(&line).expect("a document");
        assert_eq!(frame["services"][0]["name"], "shop");
    }
    drop(lines);
    eventually("its end", || child.try_wait().expect("wait").is_some());
    host.down();
}

#[test]
fn top_without_a_terminal_a_host_or_a_sensible_interval_says_what_to_do() {
    let host = Host::shop(1, "");
    let run = host.run(&["top", "--once"]);
    assert_eq!(run.code, 2);
    assert!(
        run.stderr.contains("no host is up") && run.stderr.contains("grace up"),
        "{run:?}"
    );
    let run = host.run(&["top"]);
    assert_eq!(run.code, 2);
    assert!(
        run.stderr.contains("no terminal") && run.stderr.contains("--once"),
        "{run:?}"
    );
    let run = host.run(&["top", "--interval", "1ms"]);
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("200ms to 3600s"), "{run:?}");
}
