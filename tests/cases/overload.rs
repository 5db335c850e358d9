//! More requests than the instances can serve: the important class is answered, the others are
//! sent away in time, nothing is restarted for it, and everything returns.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::harness::{Host, eventually, get, worker};

/// Two instances with one place each, where every request takes 60 ms: 33 a second together.
fn shop(more: &str) -> Host {
    let host = Host::new(&format!(
        "[proxy]\nanswer_timeout = \"3s\"\nlimit_wait = \"300ms\"\n{more}\n\
         [healing]\nplaybooks = false\n\
         [[service]]\nname = \"shop\"\ncommand = {}\nlisten = \"127.0.0.1:0\"\ninstances = 2\n\
         ready = {{ http = \"/healthz\" }}\n\
         [[service.priority]]\nclass = \"high\"\npath = \"/pay\"\n\
         [[service.priority]]\nclass = \"low\"\npath = \"/browse\"\n",
        worker("\"--places\", \"1\", \"--config\", \"config.json\"")
    ));
    std::fs::write(
        host.dir().join("config.json"),
        "{ \"greeting\": \"hello\", \"delay_ms\": 60 }",
    )
    .expect("config.json");
    host
}

/// Clients that ask for one path, one request after another, and never give up.
struct Crowd {
    end: Arc<AtomicBool>,
    good: Arc<AtomicU64>,
    away: Arc<AtomicU64>,
    /// Anything but 200 and a 503 that says when to come back.
    bad: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Crowd {
    fn start(addr: SocketAddr, clients: usize, path: &'static str) -> Self {
        let mut crowd = Self {
            end: Arc::default(),
            good: Arc::default(),
            away: Arc::default(),
            bad: Arc::default(),
            threads: Vec::new(),
        };
        for _ in 0..clients {
            let end = Arc::clone(&crowd.end);
            let (good, away) = (Arc::clone(&crowd.good), Arc::clone(&crowd.away));
            let bad = Arc::clone(&crowd.bad);
            crowd.threads.push(std::thread::spawn(move || {
                while !end.load(Ordering::Relaxed) {
                    let count = match get(addr, path) {
                        Ok(answer) if answer.status == 200 => &good,
                        Ok(answer)
                            if answer.status == 503 && answer.head.contains("retry-after: ") =>
                        {
                            &away
                        }
                        _ => &bad,
                    };
                    count.fetch_add(1, Ordering::Relaxed);
                    // Those who are sent away come back at once, but not in a tight loop.
                    std::thread::sleep(Duration::from_millis(200));
                }
            }));
        }
        crowd
    }

    fn counts(&self) -> (u64, u64, u64) {
        let of = |it: &AtomicU64| it.load(Ordering::Relaxed);
        (of(&self.good), of(&self.away), of(&self.bad))
    }

    fn end(self) -> (u64, u64, u64) {
        self.end.store(true, Ordering::Relaxed);
        let counts = (self.good, self.away, self.bad);
        for thread in self.threads {
            thread.join().expect("client");
        }
        let of = |it: &AtomicU64| it.load(Ordering::Relaxed);
        (of(&counts.0), of(&counts.1), of(&counts.2))
    }
}

#[test]
fn under_three_times_its_capacity_a_service_answers_the_important_and_all_returns() {
    let host = shop("");
    let addr = host.up();
    let browsing = Crowd::start(addr, 120, "/browse");
    eventually("some are sent away", || browsing.counts().1 > 100);
    let paying = Crowd::start(addr, 3, "/pay");
    let before = browsing.counts().0;
    eventually("the important are answered, and some others", || {
        paying.counts().0 > 60 && browsing.counts().0 > before + 20
    });
    let (good, away, bad) = paying.end();
    assert_eq!((away, bad), (0, 0), "{good} were answered");
    let (_, away, bad) = browsing.end();
    assert!(away > 100);
    assert_eq!(bad, 0, "everyone else is told when to come back");
    // Nothing was restarted for it, and nothing of it is left.
    for id in ["shop-1", "shop-2"] {
        assert_eq!(host.instance(id)["generation"], 1);
    }
    let again = Crowd::start(addr, 2, "/browse");
    eventually("all are answered again", || again.counts().0 > 20);
    let (_, away, bad) = again.end();
    assert_eq!((away, bad), (0, 0));
    host.down();
}

#[test]
fn without_the_limit_the_same_load_makes_the_important_fail() {
    let host = shop("limit = false");
    let addr = host.up();
    let browsing = Crowd::start(addr, 120, "/browse");
    let paying = Crowd::start(addr, 3, "/pay");
    eventually("the important fail too", || paying.counts().2 > 0);
    paying.end();
    browsing.end();
    host.down();
}
