//! A seeded simulation: clients that come when they like, the proxy's line before an instance, the
//! limit, and an instance with so many places and a line of its own. Times are microseconds of a
//! clock that the simulation turns.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use super::*;

const SECOND: u64 = 1_000_000;
const LOOK: u64 = 50_000;

/// What is simulated.
#[derive(Clone)]
struct Plan {
    /// Places of the instance; requests beyond them wait inside it.
    places: usize,
    /// Median time of a request, and the deviation of its logarithm.
    time: f64,
    noise: f64,
    /// One of so many requests takes two hundred times as long; 0: none.
    outliers: u32,
    /// From then on `time` is so many times longer.
    slower: Option<(u64, f64)>,
    /// Requests a second by rank, and until when.
    rates: [f64; 2],
    until: u64,
    /// So many at once at the second second.
    burst: usize,
    end: u64,
    limit: bool,
    wait: u64,
    /// What is counted begins then.
    from: u64,
}

impl Plan {
    fn new(places: usize, time: f64) -> Self {
        Self {
            places,
            time,
            noise: 0.3,
            outliers: 0,
            slower: None,
            rates: [0.0, 0.0],
            until: 30 * SECOND,
            burst: 0,
            end: 30 * SECOND,
            limit: true,
            wait: 2 * SECOND,
            from: 10 * SECOND,
        }
    }

    /// With the time to find the limit before anything is counted: some hundred requests' times.
    fn far_beyond(places: usize, time: f64, noise: f64, times: f64) -> Self {
        let mut plan = Self::new(places, time);
        plan.noise = noise;
        plan.from = (10 * SECOND).max((time * 150.0) as u64);
        plan.until = plan.from * 3;
        plan.end = plan.until;
        let capacity = plan.capacity();
        plan.rates = [capacity * 0.3, capacity * (times - 0.3)];
        plan
    }

    /// Requests a second that the instance can answer.
    fn capacity(&self) -> f64 {
        // The mean of a lognormal time.
        let mut mean = self.time * (self.noise * self.noise / 2.0).exp();
        if self.outliers > 0 {
            mean *= 1.0 + 199.0 / f64::from(self.outliers);
        }
        self.places as f64 * SECOND as f64 / mean
    }
}

/// What came of it, by rank, of those that came after `from`.
#[derive(Default, Debug)]
struct Outcome {
    came: [u64; 2],
    answered: [u64; 2],
    shed: [u64; 2],
    /// Of those answered: microseconds from coming to answer.
    waits: [Vec<u64>; 2],
    /// Longest time inside the instance.
    inside: u64,
    limits: Vec<u32>,
    shed_at: Vec<u64>,
}

impl Outcome {
    fn percentile(&self, rank: usize, share: f64) -> u64 {
        let mut waits = self.waits[rank].clone();
        waits.sort_unstable();
        let at = (waits.len() as f64 * share) as usize;
        waits
            .get(at.min(waits.len().saturating_sub(1)))
            .copied()
            .unwrap_or(0)
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Come(usize),
    Answer { came: u64, sent: u64, rank: usize },
    Look,
}

struct World {
    plan: Plan,
    random: fastrand::Rng,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    number: u64,
    limiter: Limiter,
    inflight: u32,
    held: bool,
    /// The proxy's line, by rank.
    line: [VecDeque<u64>; 2],
    /// The instance's own: when they came, were sent, and of which rank they are.
    inner: VecDeque<(u64, u64, usize)>,
    busy: usize,
    answered: u64,
    logs: f64,
    squares: f64,
    out: Outcome,
}

fn run(plan: &Plan, seed: u64) -> Outcome {
    let mut world = World {
        plan: plan.clone(),
        random: fastrand::Rng::with_seed(seed),
        events: BinaryHeap::new(),
        number: 0,
        limiter: Limiter::new(),
        inflight: 0,
        held: false,
        line: Default::default(),
        inner: VecDeque::new(),
        busy: 0,
        answered: 0,
        logs: 0.0,
        squares: 0.0,
        out: Outcome::default(),
    };
    for rank in 0..2 {
        world.next_client(0, rank);
    }
    world.put(LOOK, Event::Look);
    let mut bursts = plan.burst;
    while let Some(Reverse((now, _, event))) = world.events.pop() {
        if now >= plan.end {
            break;
        }
        match event {
            Event::Come(rank) => {
                world.come(now, rank);
                world.next_client(now, rank);
            }
            Event::Answer { came, sent, rank } => world.answer(now, came, sent, rank),
            Event::Look => {
                if now >= 2 * SECOND {
                    for _ in 0..std::mem::take(&mut bursts) {
                        world.come(now, 0);
                    }
                }
                world.look(now);
                world.put(now + LOOK, Event::Look);
            }
        }
    }
    world.out
}

impl World {
    fn put(&mut self, at: u64, event: Event) {
        self.number += 1;
        self.events.push(Reverse((at, self.number, event)));
    }

    fn next_client(&mut self, now: u64, rank: usize) {
        let rate = self.plan.rates[rank];
        if rate > 0.0 && now < self.plan.until {
            let gap = -self.random.f64().max(1e-12).ln() / rate * SECOND as f64;
            self.put(now + gap as u64 + 1, Event::Come(rank));
        }
    }

    fn limit(&self) -> u32 {
        if self.plan.limit {
            self.limiter.limit()
        } else {
            u32::MAX
        }
    }

    fn come(&mut self, now: u64, rank: usize) {
        if now >= self.plan.from {
            self.out.came[rank] += 1;
        }
        let ahead = self.line[..=rank].iter().any(|line| !line.is_empty());
        if ahead || self.inflight >= share(self.limit(), rank as u8) {
            self.held = true;
            self.line[rank].push_back(now);
        } else {
            self.send(now, now, rank);
        }
    }

    fn send(&mut self, now: u64, came: u64, rank: usize) {
        self.inflight += 1;
        if self.busy < self.plan.places {
            self.begin(now, came, now, rank);
        } else {
            self.inner.push_back((came, now, rank));
        }
    }

    fn begin(&mut self, now: u64, came: u64, sent: u64, rank: usize) {
        self.busy += 1;
        // A normal number of twelve even ones.
        let normal: f64 = (0..12).map(|_| self.random.f64()).sum::<f64>() - 6.0;
        let mut time = self.plan.time * (normal * self.plan.noise).exp();
        if self.plan.outliers > 0 && self.random.u32(0..self.plan.outliers) == 0 {
            time *= 200.0;
        }
        if let Some((from, times)) = self.plan.slower
            && now >= from
        {
            time *= times;
        }
        self.put(now + time as u64 + 1, Event::Answer { came, sent, rank });
    }

    fn answer(&mut self, now: u64, came: u64, sent: u64, rank: usize) {
        self.busy -= 1;
        self.inflight -= 1;
        self.answered += 1;
        let log = ((now - sent) as f64).log2();
        self.logs += log;
        self.squares += log * log;
        if came >= self.plan.from {
            self.out.answered[rank] += 1;
            self.out.waits[rank].push(now - came);
            self.out.inside = self.out.inside.max(now - sent);
        }
        if let Some((came, sent, rank)) = self.inner.pop_front() {
            self.begin(now, came, sent, rank);
        }
        self.move_up(now);
    }

    fn move_up(&mut self, now: u64) {
        for rank in 0..2 {
            while let Some(came) = self.line[rank].front().copied() {
                if now - came >= self.plan.wait {
                    self.line[rank].pop_front();
                    if came >= self.plan.from {
                        self.out.shed[rank] += 1;
                        self.out.shed_at.push(now);
                    }
                } else if self.inflight < share(self.limit(), rank as u8) {
                    self.line[rank].pop_front();
                    self.send(now, came, rank);
                } else {
                    break;
                }
            }
            if !self.line[rank].is_empty() {
                // Nobody overtakes.
                return;
            }
        }
    }

    fn look(&mut self, now: u64) {
        self.move_up(now);
        let waits = self.line.iter().any(|line| !line.is_empty());
        let seen = Seen {
            answered: std::mem::take(&mut self.answered),
            logs: std::mem::take(&mut self.logs),
            squares: std::mem::take(&mut self.squares),
            failed: 0,
            inflight: self.inflight,
            held: std::mem::take(&mut self.held) || waits,
        };
        self.limiter.look(&seen, Duration::from_micros(now));
        if now >= self.plan.from {
            self.out.limits.push(self.limiter.limit());
        }
        self.move_up(now);
    }
}

/// Places, median time in microseconds, noise.
const SERVERS: [(usize, f64, f64); 6] = [
    (1, 20_000.0, 0.2),
    (4, 50_000.0, 0.3),
    (8, 5_000.0, 0.8),
    (32, 100_000.0, 0.5),
    (200, 30_000.0, 1.0),
    (2, 300_000.0, 0.3),
];

#[test]
fn far_beyond_capacity_an_instance_does_what_it_can_and_the_important_come_first() {
    for (places, time, noise) in SERVERS {
        for times in [3.0, 10.0] {
            for seed in 0..12 {
                let plan = Plan::far_beyond(places, time, noise, times);
                let capacity = plan.capacity();
                let out = run(&plan, seed);
                let case = format!("{places} places of {time} us, {times} times, seed {seed}");
                let seconds = (plan.end - plan.from) as f64 / SECOND as f64;
                let good = (out.answered[0] + out.answered[1]) as f64 / seconds;
                assert!(good > capacity * 0.8, "{good} of {capacity}/s: {case}");
                assert!(out.shed[0] * 50 <= out.came[0], "{}: {case}", out.shed[0]);
                // The last ones are still on their way.
                assert!(out.answered[0] as f64 > out.came[0] as f64 * 0.9, "{case}");
                assert!(out.shed[1] as f64 > out.came[1] as f64 * 0.3, "{case}");
                let usual = time * (noise * 2.33).exp();
                let p99 = out.percentile(0, 0.99) as f64;
                let bound = usual * 4.0 + 32.0 * time + 500_000.0;
                assert!(p99 < bound, "{p99} us, not below {bound}: {case}");
            }
        }
    }
}

#[test]
fn without_the_limit_the_same_load_would_make_the_important_wait_for_ever() {
    for (places, time, noise) in SERVERS {
        let mut plan = Plan::far_beyond(places, time, noise, 3.0);
        plan.limit = false;
        let out = run(&plan, 1);
        let quick = out.waits[0].iter().filter(|wait| **wait < 2 * SECOND);
        let quick = quick.count() as u64;
        assert!(
            quick * 20 < out.came[0],
            "{places} places: {quick} of {}",
            out.came[0]
        );
    }
}

#[test]
fn a_service_that_is_not_overloaded_sends_nobody_away_however_noisy_its_latency() {
    for (places, time, _) in SERVERS {
        for (noise, outliers) in [(0.0, 0), (1.0, 0), (1.5, 0), (0.5, 50)] {
            for seed in 0..8 {
                let mut plan = Plan::new(places, time);
                plan.noise = noise;
                plan.outliers = outliers;
                plan.from = 0;
                // What a line of one's own would already make wait for seconds is no fair question.
                let load = if places < 8 { 0.4 } else { 0.7 };
                plan.rates = [plan.capacity() * load, 0.0];
                let out = run(&plan, seed);
                plan.limit = false;
                let free = run(&plan, seed);
                if free.percentile(0, 1.0) > 2 * SECOND {
                    continue;
                }
                let case =
                    format!("{places} places of {time} us, noise {noise}, {outliers}, seed {seed}");
                assert_eq!(out.shed, [0, 0], "{case}");
            }
        }
    }
}

#[test]
fn requests_that_only_wait_inside_are_never_too_many() {
    for seed in 0..8 {
        // A burst of long ones on a quiet service.
        let mut plan = Plan::new(1_000_000, 5.0 * SECOND as f64);
        plan.burst = 5_000;
        plan.from = 0;
        let out = run(&plan, seed);
        assert_eq!(
            (out.answered[0], out.shed[0]),
            (5_000, 0),
            "long, seed {seed}"
        );
        // One of twenty takes seconds, side by side with the others.
        let mut plan = Plan::new(1_000_000, 10_000.0);
        plan.outliers = 20;
        plan.noise = 1.0;
        plan.from = 0;
        plan.rates = [2_000.0, 0.0];
        let out = run(&plan, seed);
        assert_eq!(out.shed[0], 0, "mixed, seed {seed}");
        // What it asks becomes a hundred times slower: no overload of its own.
        let mut plan = Plan::new(1_000_000, 5_000.0);
        plan.slower = Some((5 * SECOND, 100.0));
        plan.rates = [400.0, 0.0];
        plan.from = 0;
        let out = run(&plan, seed);
        assert_eq!(out.shed[0], 0, "slower, seed {seed}");
    }
}

#[test]
fn noise_does_not_make_the_limit_collapse() {
    for seed in 0..20 {
        let mut plan = Plan::new(64, 10_000.0);
        plan.noise = 1.5;
        plan.outliers = 100;
        plan.rates = [plan.capacity() * 3.0, 0.0];
        let out = run(&plan, seed);
        let mut limits = out.limits.clone();
        limits.sort_unstable();
        let middle = limits[limits.len() / 2];
        assert!((45..=200).contains(&middle), "{middle}, seed {seed}");
        let low = limits.iter().filter(|limit| **limit < 30).count();
        assert!(
            low * 4 < limits.len(),
            "{low} of {}, seed {seed}",
            limits.len()
        );
    }
}

#[test]
fn everything_comes_back_when_the_load_goes() {
    for (places, time, noise) in SERVERS {
        for seed in 0..8 {
            let mut plan = Plan::new(places, time);
            plan.noise = noise;
            plan.rates = [plan.capacity() * 4.0, 0.0];
            plan.until = 15 * SECOND;
            let out = run(&plan, seed);
            let last = out.shed_at.last().copied().unwrap_or(0);
            assert!(last < 18 * SECOND, "{last}, {places} places, seed {seed}");
            assert_eq!(out.limits.last(), Some(&16), "{places} places, seed {seed}");
        }
    }
}

#[test]
fn a_limit_that_never_rises_is_found() {
    // The check of the check: what the machine prevents is seen when it is not there.
    let mut plan = Plan::new(1_000_000, 5_000.0);
    plan.slower = Some((5 * SECOND, 100.0));
    plan.rates = [400.0, 0.0];
    plan.from = 0;
    let fixed = Plan {
        places: 16,
        limit: false,
        ..plan
    };
    let out = run(&fixed, 1);
    assert!(out.percentile(0, 0.9) > 2 * SECOND, "it would be sent away");
}
