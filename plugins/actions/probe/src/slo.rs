//! `probe.slo`: watches a target for a while and holds its traffic, and its probes, against
//! what was asked for. Without traffic the probes decide, and the receipt says so.

use grace_plugin_sdk::fleet::instances_of;
use grace_plugin_sdk::host::{Instance, Traffic};
use grace_plugin_sdk::prelude::*;

use crate::{Look, Settings, look};

const FOR_MS: u32 = 2_000;
/// The load balancer remembers this much.
const MAX_FOR_MS: u32 = 60_000;
/// Host calls that the rounds of probes may use, of the 1,024 that a call has.
const CALLS: u32 = 700;

struct Goal {
    success_permille: u64,
    p99_ms: Option<u32>,
    for_ms: u32,
}

impl Goal {
    fn read(call: &Call) -> Result<Self> {
        let for_ms = call.maybe_count("for")?.unwrap_or(FOR_MS);
        if !(1..=MAX_FOR_MS).contains(&for_ms) {
            return Err(PluginError::InvalidInput(format!(
                "probe.slo: for must be 1 ms to {MAX_FOR_MS} ms, not {for_ms} ms"
            )));
        }
        let success = call
            .text("success")
            .filter(|text| !text.is_empty())
            .unwrap_or("0.99");
        let success_permille = permille(success).ok_or_else(|| {
            PluginError::InvalidInput(format!(
                "probe.slo: success must be a share such as 0.99, 99% or 990 (permille), not {success:?}"
            ))
        })?;
        Ok(Self {
            success_permille,
            p99_ms: call.maybe_count("p99")?,
            for_ms,
        })
    }

    fn words(&self) -> String {
        let p99 = self
            .p99_ms
            .map(|ms| format!(", p99 at most {ms} ms"))
            .unwrap_or_default();
        format!(
            "{} of requests succeed{p99}",
            percent(self.success_permille)
        )
    }
}

/// What the probes of the window came to.
#[derive(Default)]
struct Probes {
    made: u64,
    passed: u64,
    /// Problems of the last round, an instance each.
    broken: Vec<String>,
}

impl Probes {
    fn permille(&self) -> u64 {
        (self.passed * 1_000).checked_div(self.made).unwrap_or(0)
    }
}

pub fn plan(call: &Call) -> Result<Vec<String>> {
    let goal = Goal::read(call)?;
    let target = call.need_text("target")?;
    instances_of(target)?;
    let time = duration::words(u64::from(goal.for_ms));
    Ok(vec![format!("watch {target} for {time}: {}", goal.words())])
}

pub fn run(call: &Call, settings: &Settings) -> Result<Receipt> {
    let goal = Goal::read(call)?;
    let target = call.need_text("target")?;
    let instances = instances_of(target)?;
    if instances.is_empty() {
        return Err(PluginError::Unavailable(format!(
            "{target} has no active instance"
        )));
    }
    let probes = watch(&instances, &goal, settings)?;
    let traffic = host::probe::traffic_of(target, goal.for_ms)?;
    let (decided_by, share) = verdict(target, &goal, &probes, &traffic)?;

    let time = duration::words(u64::from(goal.for_ms));
    let summary = if decided_by == "traffic" {
        format!(
            "{target} for {time}: {} of {} requests succeeded, p99 {} us, {} of {} probes passed",
            percent(share),
            traffic.requests,
            traffic.p99_us,
            probes.passed,
            probes.made
        )
    } else {
        format!(
            "{target} had no traffic for {time}: decided by probes, {} of {} passed",
            probes.passed, probes.made
        )
    };
    Ok(receipt(false, summary)
        .output("decided_by", decided_by)
        .output("requests", traffic.requests)
        .output("success_permille", share)
        .output("p99_us", traffic.p99_us)
        .output("probes", probes.made)
        .output("probes_passed", probes.passed))
}

/// Probes all instances in rounds until the time is over; the last round is after its end, so
/// that what broke in the window's last moment is seen.
fn watch(instances: &[Instance], goal: &Goal, settings: &Settings) -> Result<Probes> {
    let end = host::clock::now().saturating_add(u64::from(goal.for_ms));
    let every_ms = rhythm(instances.len(), goal.for_ms, settings.every_ms);
    let mut probes = Probes::default();
    loop {
        let last = host::clock::now() >= end;
        probes.broken.clear();
        for instance in instances {
            let Look { good, problem, .. } = look(instance, None, settings.timeout_ms)?;
            probes.made += 1;
            if good {
                probes.passed += 1;
            } else {
                probes.broken.push(format!("{}: {problem}", instance.id));
            }
        }
        if last {
            return Ok(probes);
        }
        let left = end.saturating_sub(host::clock::now());
        let rest = u32::try_from(left).unwrap_or(u32::MAX).min(every_ms);
        host::clock::sleep_ms(rest)?;
    }
}

/// Time between rounds: as configured, or longer if so many rounds were too many host calls.
fn rhythm(instances: usize, for_ms: u32, every_ms: u32) -> u32 {
    // A round asks the clock twice and sleeps once; a probe may need a second call.
    let a_round = u32::try_from(instances)
        .unwrap_or(CALLS)
        .saturating_mul(2)
        .saturating_add(3);
    let rounds = (CALLS / a_round).max(1);
    every_ms.max(for_ms / rounds)
}

/// Which evidence decided and the share it had; or why it is not good.
fn verdict(
    target: &str,
    goal: &Goal,
    probes: &Probes,
    traffic: &Traffic,
) -> Result<(&'static str, u64)> {
    let unmet = |text: String| Err(PluginError::Unavailable(format!("{target}: {text}")));
    if !probes.broken.is_empty() {
        return unmet(format!(
            "the last probe failed: {}",
            probes.broken.join("; ")
        ));
    }
    if traffic.requests == 0 {
        let share = probes.permille();
        if share < goal.success_permille {
            return unmet(format!(
                "no traffic, and only {} of {} probes passed, wanted {}",
                probes.passed,
                probes.made,
                percent(goal.success_permille)
            ));
        }
        return Ok(("probes", share));
    }
    let good = traffic.requests.saturating_sub(traffic.failures);
    let share = (good.saturating_mul(1_000))
        .checked_div(traffic.requests)
        .unwrap_or(0);
    if share < goal.success_permille {
        return unmet(format!(
            "{} of {} requests failed: {} succeeded, wanted {}",
            traffic.failures,
            traffic.requests,
            percent(share),
            percent(goal.success_permille)
        ));
    }
    match goal.p99_ms {
        Some(limit) if traffic.p99_us > u64::from(limit) * 1_000 => unmet(format!(
            "p99 is {} us, wanted at most {limit} ms",
            traffic.p99_us
        )),
        _ => Ok(("traffic", share)),
    }
}

fn percent(permille: u64) -> String {
    format!("{}.{} %", permille / 10, permille % 10)
}

/// `0.99`, `99%`, `99.5 %`, `990`: permille. 1 means all.
fn permille(text: &str) -> Option<u64> {
    let text = text.trim();
    let (number, scale) = match text.strip_suffix('%') {
        Some(number) => (number.trim(), 10),
        None if text.contains('.') || text == "1" || text == "0" => (text, 1_000),
        None => (text, 1),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: u64 = whole.parse().ok()?;
    // Three places are all that permille can tell.
    if fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = u32::try_from(fraction.len()).ok()?;
    let part: u64 = if fraction.is_empty() {
        0
    } else {
        fraction.parse().ok()?
    };
    let value = whole.checked_mul(scale)? + part * scale / 10_u64.pow(digits);
    (value <= 1_000).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_read_in_each_way_that_people_write_it() {
        for (text, wanted) in [
            ("0.99", 990),
            ("99%", 990),
            ("99.5 %", 995),
            ("990", 990),
            ("1", 1_000),
            ("1.0", 1_000),
            ("0.999", 999),
            ("100%", 1_000),
        ] {
            assert_eq!(permille(text), Some(wanted), "{text}");
        }
    }

    #[test]
    fn many_instances_are_probed_less_often_so_that_the_quota_of_host_calls_holds() {
        assert_eq!(rhythm(1, 2_000, 200), 200);
        assert_eq!(rhythm(6, 25_000, 200), 543);
        assert_eq!(rhythm(1_000, 25_000, 200), 25_000);
    }

    #[test]
    fn what_is_no_share_is_refused() {
        for text in ["", "1.5", "101%", "2000", "-1", "most", "0.9x"] {
            assert_eq!(permille(text), None, "{text}");
        }
    }
}
