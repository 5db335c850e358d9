//! How many requests at once an instance can use. Pure: it is told what was seen and when, and
//! says the limit; it holds no request back itself.
//!
//! A gradient on latency, as in Netflix's concurrency-limits (`Gradient2Limit`, 2018) and Envoy's
//! adaptive concurrency filter, but the gradient is taken over concurrency and not over time: both
//! of those divide a latency of the past by that of now, so they must measure the first one again
//! by throttling a healthy service (Envoy's minRTT), or they follow a long overload up (Netflix's
//! long average), and either takes a slow database for an overload. Here a level is judged by the
//! next one. Where twice the requests at once take twice as long each, the instance is full and
//! its throughput (by Little's law, concurrency over latency) is the same: the limit goes down as
//! long as that stays so. Where they take as long as before, they are served side by side: the
//! limit goes up. And it is only ever judged while somebody waits because of it, so a service
//! that asks for less never meets it.

use std::time::Duration;

#[cfg(test)]
mod sim;
#[cfg(test)]
mod tests;

/// What an instance may always have while nobody waits: a few threads or workers, and their queue.
pub(crate) const FREE: f64 = 16.0;
/// The least that a full instance gets: one at work, and some on their way to and from it.
pub(crate) const LEAST: f64 = 4.0;
/// The most; more is no limit.
pub(crate) const MOST: f64 = 100_000.0;
/// The fewest answers that say anything about a level.
const FEW: f64 = 8.0;
/// Enough of them, however much they differ.
const MANY: f64 = 400.0;
/// The standard error of a gradient that is precise enough.
const PRECISE: f64 = 0.15;
/// A level is judged no sooner, so that a pause of the judge is not all there is to see.
const SHORT: Duration = Duration::from_millis(40);
/// And not much later, by what there is then.
const LONGEST: Duration = Duration::from_secs(3);
/// No answer for this long, and for longer than is usual, says that requests take long now, not
/// that they are too many.
const SILENT: Duration = Duration::from_millis(90);
/// The same while nothing is usual yet.
const UNKNOWN: Duration = Duration::from_millis(140);
/// Nobody has waited for this long: the limit is out of the way again.
const CALM: Duration = Duration::from_secs(1);
/// Time at a level that was found good before its neighbours are tried again.
const REST: Duration = Duration::from_secs(2);
/// Elasticity of latency over concurrency (0: side by side, 1: one after another) from which a
/// higher level is not worth it.
const NOT_UP: f64 = 0.5;
/// And from which a lower one costs nothing.
const DOWN: f64 = 0.7;
/// Fully one after another: the next step down may be a large one.
const FULL: f64 = 0.85;
/// Steps while the level is sought, and when its neighbours are tried.
const FAR: f64 = 2.0;
const NEAR: f64 = 1.4;
/// A found level is this much higher, so that a place that falls free is filled at once.
const ROOM: f64 = 1.3;

/// What was seen of an instance since the last look.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen {
    /// Answers with a good status.
    pub(crate) answered: u64,
    /// Sum of the logarithms to base 2 of their times to the first byte, in microseconds. Of
    /// logarithms, so that one slow answer among many does not weigh as all of them.
    pub(crate) logs: f64,
    /// Sum of the squares of these logarithms.
    pub(crate) squares: f64,
    /// Server errors, whose times say nothing.
    pub(crate) failed: u64,
    /// In flight now.
    pub(crate) inflight: u32,
    /// Somebody waits, or had to, because of the limit.
    pub(crate) held: bool,
}

/// The limit of one instance.
#[derive(Debug)]
pub(crate) struct Limiter {
    limit: f64,
    trend: Trend,
    /// The level that the one now is compared with.
    known: Option<Level>,
    /// Whether a lower level was found to cost throughput.
    bottom: bool,
    /// When the level became this one.
    changed: Duration,
    since: Duration,
    gathered: Gathered,
    looked: Duration,
    /// When an answer came last, or its absence was drawn a conclusion from.
    heard: Duration,
    /// Logarithm of the latency lately, whatever the level.
    usual: Option<f64>,
    /// When somebody waited last.
    held: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Trend {
    /// The level now is a higher one, on trial.
    Up,
    /// A lower one.
    Down,
    /// A good one, until then; what is tried next.
    Rest(Duration, Next),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Up,
    Down,
}

#[derive(Debug, Clone, Copy, Default)]
struct Gathered {
    answered: f64,
    logs: f64,
    squares: f64,
}

#[derive(Debug, Clone, Copy)]
struct Level {
    limit: f64,
    /// Logarithm to base 2 of the latency in microseconds.
    log: f64,
    /// Square of the standard error of that.
    doubt: f64,
}

impl Limiter {
    pub(crate) fn new() -> Self {
        Self {
            limit: FREE,
            trend: Trend::Up,
            known: None,
            bottom: false,
            changed: Duration::ZERO,
            since: Duration::ZERO,
            gathered: Gathered::default(),
            looked: Duration::ZERO,
            heard: Duration::ZERO,
            usual: None,
            held: None,
        }
    }

    /// The limit now.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between LEAST and MOST"
    )]
    pub(crate) fn limit(&self) -> u32 {
        self.limit as u32
    }

    /// Whether somebody waited a short while ago, so that it must be looked at often.
    pub(crate) fn is_awake(&self) -> bool {
        self.held.is_some()
    }

    /// Takes in what was seen; `now` is any clock that only goes forward.
    pub(crate) fn look(&mut self, seen: &Seen, now: Duration) {
        let passed = now.saturating_sub(self.looked);
        self.looked = now;
        self.hear(seen, now);
        if seen.held {
            self.held = Some(now);
        } else {
            if self
                .held
                .is_none_or(|held| now.saturating_sub(held) >= CALM)
            {
                self.relax(seen);
                self.gather_anew(now);
            }
            // Between two waits: what is answered now is of less than the whole level.
            self.since = self.since.saturating_add(passed);
            return;
        }
        if self.is_silent(seen, now) {
            // The longer for what is usual, the less can it be a line inside the instance.
            let silent = now.saturating_sub(self.heard);
            let long = self.usual.is_some() && silent >= self.latency().saturating_mul(8);
            let step = if long { FAR * FAR } else { FAR };
            self.heard = now;
            self.known = None;
            self.trend = Trend::Up;
            self.go(self.limit * step, now);
            return;
        }
        if f64::from(seen.inflight) > self.limit || self.is_settling(seen, now) {
            self.gather_anew(now);
            return;
        }
        self.gathered.take(seen);
        let time = now.saturating_sub(self.since);
        if time < SHORT {
            return;
        }
        let level = self.gathered.level(self.limit);
        // Answers that stood in one line inside the instance tell the same thing: some lines' worth.
        let short = level.is_none_or(|it| time < time_of(it.log).saturating_mul(2));
        let late = time >= LONGEST && self.gathered.answered >= 2.0;
        let enough = |level: &Level| {
            late || (self.is_enough(*level) && (!short || self.is_side_by_side(*level)))
        };
        if let Some(level) = level.filter(enough) {
            self.judge(level, now);
        }
    }

    fn hear(&mut self, seen: &Seen, now: Duration) {
        if seen.answered + seen.failed > 0 {
            self.heard = now;
        }
        if let Some(log) = log_of(seen) {
            self.usual = Some(self.usual.map_or(log, |usual| usual + (log - usual) * 0.2));
        }
        if self.held.is_none() {
            self.heard = now;
        }
    }

    fn is_silent(&self, seen: &Seen, now: Duration) -> bool {
        let usual = self.latency().saturating_mul(2);
        let least = self.usual.map_or(UNKNOWN, |_| SILENT.max(usual));
        seen.inflight > 0 && now.saturating_sub(self.heard) >= least
    }

    /// The usual one; zero when there is none yet.
    fn latency(&self) -> Duration {
        self.usual.map_or(Duration::ZERO, time_of)
    }

    /// Whether what is answered now was sent at the level before this one, or while this one was
    /// being filled: then the time since the change is no longer than the answers took.
    fn is_settling(&self, seen: &Seen, now: Duration) -> bool {
        let since = now.saturating_sub(self.changed);
        let took = log_of(seen).map_or(Duration::ZERO, time_of);
        since < took.saturating_mul(5) / 4
    }

    fn is_enough(&self, level: Level) -> bool {
        let answered = self.gathered.answered;
        if answered < FEW {
            return false;
        }
        // Without another level it will be the one that others are compared with.
        let (distance, doubt) = self.known.map_or((1.0, level.doubt * 2.0), |known| {
            let distance = (level.limit / known.limit).log2().abs();
            (distance, level.doubt + known.doubt)
        });
        answered >= MANY || doubt.sqrt() <= PRECISE * distance
    }

    /// Whether it is a first level, or clearly better than the one below: then who waits need not
    /// wait for more.
    fn is_side_by_side(&self, level: Level) -> bool {
        self.trend == Trend::Up
            && self
                .known
                .is_none_or(|below| gradient(below, level) < NOT_UP / 2.0)
    }

    /// Nobody waits: as high as it was found to be of use, and by and by not much higher than what
    /// there is, since nobody knows whether more would be. Never higher than before, but for what
    /// is always free: a load that grows meets it and has it judged.
    fn relax(&mut self, seen: &Seen) {
        let needed = f64::from(seen.inflight) * 1.5;
        let lower = (self.limit * 0.95).max(needed).min(self.limit);
        self.limit = lower.max(FREE);
        self.trend = Trend::Up;
        self.known = None;
        self.bottom = false;
        self.held = None;
    }

    fn judge(&mut self, level: Level, now: Duration) {
        match (self.trend, self.known) {
            (Trend::Up, Some(below)) => {
                let gradient = gradient(below, level);
                if gradient < NOT_UP {
                    self.bottom = true;
                    let clear = gradient < NOT_UP / 2.0;
                    let step = if clear { FAR * FAR } else { FAR };
                    self.step(level, Trend::Up, step, now);
                } else if gradient >= FULL && !self.bottom {
                    // The one below may be more than enough too.
                    self.step(below, Trend::Down, 1.0 / FAR, now);
                } else {
                    self.rest(between(below, level), Next::Down, now);
                }
            }
            (Trend::Down, Some(above)) => {
                let gradient = gradient(level, above);
                if gradient < DOWN {
                    // Less at once was less done.
                    self.bottom = true;
                    self.rest(between(level, above), Next::Up, now);
                } else if level.limit <= LEAST {
                    self.rest(level.limit, Next::Up, now);
                } else {
                    let step = if gradient >= FULL { FAR } else { NEAR };
                    self.step(level, Trend::Down, 1.0 / step, now);
                }
            }
            (Trend::Rest(until, _), _) if now < until => self.gather_anew(now),
            (Trend::Rest(_, Next::Down), _) if level.limit > LEAST => {
                self.step(level, Trend::Down, 1.0 / NEAR, now);
            }
            (Trend::Rest(..), _) => self.step(level, Trend::Up, NEAR, now),
            (Trend::Up | Trend::Down, None) => self.step(level, Trend::Up, FAR, now),
        }
    }

    /// On to the level that is so many times `from`, to be compared with it.
    fn step(&mut self, from: Level, trend: Trend, times: f64, now: Duration) {
        self.known = Some(from);
        self.trend = trend;
        // A small limit moves by one at least.
        let to = if times > 1.0 {
            (from.limit * times).max(from.limit + 1.0)
        } else {
            (from.limit * times).min(from.limit - 1.0)
        };
        self.go(to, now);
    }

    fn rest(&mut self, limit: f64, next: Next, now: Duration) {
        self.trend = Trend::Rest(now.saturating_add(REST), next);
        self.known = None;
        self.go(limit, now);
    }

    fn go(&mut self, limit: f64, now: Duration) {
        self.limit = limit.clamp(LEAST, MOST).floor();
        self.changed = now;
        self.gather_anew(now);
    }

    fn gather_anew(&mut self, since: Duration) {
        self.since = since;
        self.gathered = Gathered::default();
    }
}

impl Gathered {
    fn take(&mut self, seen: &Seen) {
        #[allow(clippy::cast_precision_loss, reason = "counts of some milliseconds")]
        let answered = seen.answered as f64;
        self.answered += answered;
        self.logs += seen.logs;
        self.squares += seen.squares;
    }

    fn level(&self, limit: f64) -> Option<Level> {
        if self.answered < 2.0 {
            return None;
        }
        let log = self.logs / self.answered;
        let variance = (self.squares / self.answered - log * log).max(0.0);
        let doubt = variance / (self.answered - 1.0);
        Some(Level { limit, log, doubt })
    }
}

/// The mean of the logarithms in it.
#[allow(clippy::cast_precision_loss, reason = "counts of some milliseconds")]
fn log_of(seen: &Seen) -> Option<f64> {
    (seen.answered > 0).then(|| seen.logs / seen.answered as f64)
}

/// A time by its logarithm to base 2 in microseconds; not more than ten seconds.
fn time_of(log: f64) -> Duration {
    let most = Duration::from_secs(10);
    Duration::try_from_secs_f64(log.exp2() / 1e6)
        .unwrap_or(most)
        .min(most)
}

/// How much of the higher concurrency comes back as latency: 0 nothing, 1 all of it.
fn gradient(below: Level, above: Level) -> f64 {
    let concurrency = (above.limit / below.limit).log2();
    if concurrency <= 0.0 {
        return 0.0;
    }
    (above.log - below.log) / concurrency
}

/// Where the instance becomes full, if it is not at the lower level and is at the higher one:
/// there the latency of the lower one is still held with the throughput of the higher one.
fn between(below: Level, above: Level) -> f64 {
    let knee = above.limit * (below.log - above.log).exp2();
    (knee * ROOM + 1.0).clamp(below.limit, above.limit)
}

/// How much of a limit a request of this rank may fill; 0 is the highest. What is left over is
/// there for those above it the moment they come.
pub(crate) fn share(limit: u32, rank: u8) -> u32 {
    let kept = match rank {
        0 => 0,
        1 => (limit / 10).max(1),
        _ => (limit / 4).max(2),
    };
    limit.saturating_sub(kept).max(1)
}
