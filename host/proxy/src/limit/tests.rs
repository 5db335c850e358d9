//! Properties of the limit, whatever is seen.

use super::*;

const LOOK: Duration = Duration::from_millis(50);

/// An instance with so many places, of which each request takes `time` (microseconds), always
/// with more to do than it is given.
fn full(limiter: &mut Limiter, places: f64, time: f64, looks: u32, now: &mut Duration) {
    let mut owed = 0.0;
    for _ in 0..looks {
        *now += LOOK;
        let inflight = f64::from(limiter.limit());
        let latency = time * (inflight / places).max(1.0);
        owed += inflight / latency * 50_000.0;
        let answered = owed.floor();
        owed -= answered;
        let seen = Seen {
            answered: answered as u64,
            logs: answered * latency.log2(),
            squares: answered * latency.log2().powi(2),
            failed: 0,
            inflight: limiter.limit(),
            held: true,
        };
        limiter.look(&seen, *now);
    }
}

#[test]
fn a_full_instance_gets_about_what_it_can_use() {
    for (places, time) in [
        (8.0, 50_000.0),
        (40.0, 5_000.0),
        (300.0, 20_000.0),
        (6.0, 400_000.0),
    ] {
        let mut limiter = Limiter::new();
        let mut now = Duration::ZERO;
        full(&mut limiter, places, time, 600, &mut now);
        let mut limits = Vec::new();
        for _ in 0..400 {
            full(&mut limiter, places, time, 5, &mut now);
            limits.push(f64::from(limiter.limit()));
        }
        // But for its trials, which are short.
        let good = |limit: &&f64| (places * 0.7..=places * 2.5).contains(*limit);
        let count = limits.iter().filter(good).count();
        assert!(
            count > 340,
            "{count}: {limits:?} for {places} places of {time} us"
        );
    }
}

#[test]
fn an_instance_that_serves_side_by_side_gets_all_there_is() {
    for time in [200.0, 50_000.0, 400_000.0] {
        let mut limiter = Limiter::new();
        let mut now = Duration::ZERO;
        full(&mut limiter, 1e9, time, 200, &mut now);
        assert!(limiter.limit() > 2_000, "{} at {time} us", limiter.limit());
    }
}

#[test]
fn an_instance_that_answers_nothing_for_a_while_is_not_taken_for_a_full_one() {
    let mut limiter = Limiter::new();
    let mut now = Duration::ZERO;
    for _ in 0..40 {
        now += LOOK;
        let held = Seen {
            inflight: 10,
            held: true,
            ..Seen::default()
        };
        limiter.look(&held, now);
    }
    // Within the two seconds that a request waits by default.
    assert!(limiter.limit() > 10_000, "{}", limiter.limit());
    let errors = Seen {
        failed: 10,
        held: true,
        ..Seen::default()
    };
    let before = limiter.limit();
    for _ in 0..40 {
        now += LOOK;
        limiter.look(&errors, now);
    }
    assert_eq!(limiter.limit(), before, "errors say nothing");
}

#[test]
fn while_nobody_waits_latency_is_not_judged_and_what_was_found_good_is_kept_for_a_while() {
    let mut limiter = Limiter::new();
    let mut now = Duration::ZERO;
    full(&mut limiter, 4.0, 50_000.0, 400, &mut now);
    assert!(f64::from(limiter.limit()) < FREE);
    let calm = |inflight, latency: f64| Seen {
        answered: 1_000,
        logs: 1_000.0 * latency.log2(),
        inflight,
        ..Seen::default()
    };
    for latency in [1e3, 1e9, 1e3] {
        now += CALM;
        limiter.look(&calm(10, latency), now);
        assert_eq!(limiter.limit(), 16, "what is always free, and no more");
        assert!(!limiter.is_awake());
    }
    full(&mut limiter, 1e9, 5_000.0, 40, &mut now);
    let before = limiter.limit();
    assert!(before > 200);
    for _ in 0..20 {
        now += CALM;
        limiter.look(&calm(before, 1e9), now);
        assert_eq!(limiter.limit(), before, "all of it is in use");
    }
    for _ in 0..200 {
        now += CALM;
        limiter.look(&calm(1, 1e3), now);
    }
    assert_eq!(limiter.limit(), 16);
}

#[test]
fn whatever_is_seen_the_limit_keeps_its_bounds() {
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut limiter = Limiter::new();
        let mut now = Duration::ZERO;
        for _ in 0..500 {
            now += Duration::from_millis(random.u64(0..700));
            let answered = random.u64(0..300) * random.u64(0..2);
            let seen = Seen {
                answered,
                logs: answered as f64 * 40.0 * random.f64(),
                squares: answered as f64 * 1600.0 * random.f64(),
                failed: random.u64(0..3),
                inflight: random.u32(..),
                held: random.u8(0..4) > 0,
            };
            limiter.look(&seen, now);
            let limit = f64::from(limiter.limit());
            assert!((LEAST..=MOST).contains(&limit), "{limit}, seed {seed}");
        }
    }
}

#[test]
fn the_share_of_a_lower_rank_is_smaller_and_never_nothing() {
    for limit in 0..2_000 {
        let shares = [0, 1, 2].map(|rank| share(limit, rank));
        assert!(shares.iter().all(|share| *share >= 1));
        assert!(shares[0] >= shares[1] && shares[1] >= shares[2]);
        if limit >= 4 {
            assert!(shares[0] == limit && shares[0] > shares[1] && shares[1] > shares[2]);
        }
    }
}
