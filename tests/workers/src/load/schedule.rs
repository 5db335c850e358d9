//! When requests leave, and until when.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::Empty;
use hyper::header::HOST;
use hyper::{Request, Uri};
use tokio::sync::watch;
use tokio::task::LocalSet;

use super::connections::Connections;
use super::options::Options;
use super::report::{Progress, Report, Tally};

/// Ends a running load from elsewhere: no new requests, then the report.
#[derive(Debug, Clone)]
pub struct Stop {
    told: watch::Sender<bool>,
}

impl Default for Stop {
    fn default() -> Self {
        Self::new()
    }
}

impl Stop {
    /// A handle for one load.
    #[must_use]
    pub fn new() -> Self {
        Self {
            told: watch::Sender::new(false),
        }
    }

    /// Ends the load; at once or as soon as it begins.
    pub fn stop(&self) {
        self.told.send_replace(true);
    }

    /// Lets SIGTERM and SIGINT end the load.
    pub(super) fn on_signals(&self) -> Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let stop = self.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (mut terminate, mut interrupt) = {
            let _entered = runtime.enter();
            (
                signal(SignalKind::terminate())?,
                signal(SignalKind::interrupt())?,
            )
        };
        std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            });
            stop.stop();
        });
        Ok(())
    }
}

/// Runs a load in this thread to its end, with a word on its progress every second.
///
/// A request's time to fail runs from its sending, its latency from when it was due: what the
/// load itself was late is in the latencies, and told apart as `own_delay_ms`.
///
/// # Errors
/// When it cannot run at all. Failed requests are no error.
pub fn run(options: &Options, stop: &Stop, progress: impl FnMut(&Progress)) -> Result<Report> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, drive(options, stop, progress))
}

struct Shared {
    connections: Connections,
    tally: RefCell<Tally>,
    options: Options,
    start: Instant,
    /// Tells this load's ids from another's.
    prefix: String,
}

async fn drive(
    options: &Options,
    stop: &Stop,
    mut progress: impl FnMut(&Progress),
) -> Result<Report> {
    let nanos = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_nanos();
    let shared = Rc::new(Shared {
        connections: Connections::new(&options.url, options.connections),
        tally: RefCell::new(Tally::new()?),
        options: options.clone(),
        start: Instant::now(),
        prefix: format!("{:x}-{nanos:x}", std::process::id()),
    });
    // Checked once here, so that building it for each request cannot fail.
    request(&shared, &shared.id(0)).context("--url")?;
    let mut told = stop.told.subscribe();
    let mut seconds = tokio::time::interval_at(
        tokio::time::Instant::now() + Duration::from_secs(1),
        Duration::from_secs(1),
    );
    seconds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut number = 0_u64;
    loop {
        let due = Duration::from_secs_f64(number as f64 / options.rate);
        if options.length.is_some_and(|length| due >= length) {
            break;
        }
        let now = shared.start.elapsed();
        if due > now {
            let wake = tokio::time::Instant::from_std(shared.start + due);
            tokio::select! {
                biased;
                _ = told.wait_for(|told| *told) => break,
                _ = seconds.tick() => {
                    progress(&shared.tally.borrow_mut().progress(shared.start.elapsed()));
                    continue;
                }
                () = tokio::time::sleep_until(wake) => {}
            }
        } else if *told.borrow() {
            break;
        }
        shared
            .tally
            .borrow_mut()
            .sending(shared.start.elapsed().saturating_sub(due));
        tokio::task::spawn_local(one(Rc::clone(&shared), number, due));
        number = number.saturating_add(1);
        if number.is_multiple_of(64) {
            // A load that is late must still read the answers to what it has sent.
            tokio::task::yield_now().await;
        }
    }
    let sending = shared.start.elapsed();
    // Every request ends by its own timeout.
    while shared.tally.borrow().in_flight() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let tally = shared.tally.borrow();
    Ok(tally.report(sending))
}

/// One request from its sending to its end.
async fn one(shared: Rc<Shared>, number: u64, due: Duration) {
    let id = shared.id(number);
    let result = match request(&shared, &id) {
        Err(error) => Err(format!("{error:#}")),
        Ok(request) => {
            let asking = shared.connections.ask(request, &id);
            match tokio::time::timeout(shared.options.timeout, asking).await {
                Ok(result) => result,
                Err(_) => Err(format!(
                    "no answer within {} ms",
                    shared.options.timeout.as_millis()
                )),
            }
        }
    };
    let latency = shared.start.elapsed().saturating_sub(due);
    shared.tally.borrow_mut().ended(due, latency, id, result);
}

impl Shared {
    /// Of one length, so that none is part of another.
    fn id(&self, number: u64) -> String {
        format!("{}-{number:010}", self.prefix)
    }
}

fn request(shared: &Shared, id: &str) -> Result<Request<Empty<Bytes>>> {
    let url = &shared.options.url;
    let host = url.authority().map_or("", |authority| authority.as_str());
    let target: Uri = match url.query() {
        Some(query) => format!("{}?{query}&id={id}", url.path()).parse()?,
        None => format!("{}?id={id}", url.path()).parse()?,
    };
    Ok(Request::builder()
        .uri(target)
        .header(HOST, host)
        .body(Empty::new())?)
}
