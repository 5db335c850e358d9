//! What instances and the machine use. Figures only; what is too much, the detectors say.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use grace_model::event::Subject;
use grace_model::id::InstanceId;
use grace_model::instance::InstanceView;
use grace_model::plugin::{Field, Observation};
use grace_model::usage::{HostUsage, InstanceUsage, NetworkBytes, Usage};
use grace_sandbox::Usages;

use super::convert::{HOST, of_instance};

/// Time that the instances of one round may take. A look at one takes 0.1 to 0.3 ms, so up to
/// about a hundred are all looked at every round; more are looked at by turns, and the cost stays
/// at 2 % of a core.
pub const ROUND: Duration = Duration::from_millis(20);
/// But never fewer than these, so that the turn comes round on a machine that is overloaded.
const LEAST: usize = 16;

/// Remembers the last counters, because processor use is a difference.
#[derive(Debug, Default)]
pub struct Meter {
    /// By instance and generation.
    instances: HashMap<(InstanceId, u64), Seen>,
    usages: Usages,
    /// The instance that was looked at last.
    last: Option<InstanceId>,
    machine: Option<(u64, u64)>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    at_ms: u64,
    usage: Usage,
}

/// When a round is.
pub struct Round<'r> {
    /// Stamps.
    pub at: u64,
    /// Measures.
    pub steady_ms: u64,
    /// The time that the round has taken.
    pub taken: &'r dyn Fn() -> Duration,
}

impl Meter {
    /// A look at the running instances, beginning behind the one that was looked at last, as far
    /// as the round's time allows. Those that were looked at.
    pub fn instances(
        &mut self,
        instances: &[InstanceView],
        round: &Round<'_>,
    ) -> Vec<InstanceUsage> {
        let mut running: Vec<&InstanceView> =
            instances.iter().filter(|view| view.pid != 0).collect();
        running.sort_by(|a, b| a.id.cmp(&b.id));
        if let Some(last) = &self.last {
            let behind = running.partition_point(|view| view.id <= *last);
            running.rotate_left(behind);
        }
        let mut seen = Vec::new();
        for (number, view) in running.iter().enumerate() {
            if number >= LEAST && (round.taken)() >= ROUND {
                break;
            }
            seen.extend(self.one(view, round));
            self.last = Some(view.id.clone());
        }
        let mains: HashSet<u32> = running.iter().map(|view| view.pid).collect();
        self.usages.end_round(&mains);
        let living: HashSet<(&InstanceId, u64)> = running
            .iter()
            .map(|view| (&view.id, view.generation))
            .collect();
        self.instances
            .retain(|(id, generation), _| living.contains(&(id, *generation)));
        seen
    }

    fn one(&mut self, view: &InstanceView, round: &Round<'_>) -> Option<InstanceUsage> {
        let group = format!("{}.{}", view.id, view.generation);
        let mut usage = self.usages.of(view.pid, &group)?;
        let key = (view.id.clone(), view.generation);
        let before = self.instances.get(&key).copied();
        if let Some(before) = before {
            usage.never_less_than(&before.usage);
        }
        let now = Seen {
            at_ms: round.steady_ms,
            usage,
        };
        self.instances.insert(key, now);
        Some(InstanceUsage {
            instance: view.id.clone(),
            service: view.service.clone(),
            generation: view.generation,
            at: round.at,
            // The first look has no difference yet, and a made-up zero helps nobody.
            cpu_permille: before.map(|before| permille_of_core(before, now)),
            usage,
            proxied: None,
        })
    }

    /// One look at the machine and the disk below `state_dir`. None at the first, since its
    /// processors' use is a difference too.
    pub fn machine(&mut self, state_dir: &Path) -> Option<HostUsage> {
        let (busy, total) = cpu_times(&fs::read_to_string("/proc/stat").ok()?)?;
        let before = self.machine.replace((busy, total))?;
        let ticks = total.saturating_sub(before.1).max(1);
        let cpu_permille = busy.saturating_sub(before.0).saturating_mul(1_000) / ticks;
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Some(HostUsage {
            cpu_permille: cpu_permille.min(1_000),
            memory_permille: memory_permille(&fs::read_to_string("/proc/meminfo").ok()?)?,
            disk_permille: disk_permille(state_dir),
            load1_permille: load_permille(&fs::read_to_string("/proc/loadavg").ok()?, cores)?,
        })
    }
}

/// An instance's figures for detectors; none at the first look.
#[must_use]
pub fn of_usage(seen: &InstanceUsage) -> Option<Observation> {
    let cpu_permille = seen.cpu_permille?;
    let subject = Subject {
        instance: seen.instance.clone(),
        service: seen.service.clone(),
        generation: seen.generation,
    };
    let usage = &seen.usage;
    // Where the kernel does not tell, 0.
    let number = |name: &str, value: Option<u64>| Field::new(name, value.unwrap_or(0));
    let proxied = seen.proxied.unwrap_or_default();
    let own: NetworkBytes = usage.own_network.unwrap_or_default();
    let fields = vec![
        Field::new("source", usage.source.word()),
        Field::new("cpu_permille", cpu_permille),
        Field::new("rss_bytes", usage.rss_bytes),
        Field::new("memory_bytes", usage.memory_bytes),
        number("memory_limit_bytes", usage.memory_limit_bytes),
        number("oom_kills", usage.oom_kills),
        number("open_files", usage.open_files),
        number("fullest_open_files", usage.fullest_open_files),
        number("fullest_open_files_limit", usage.fullest_open_files_limit),
        Field::new("processes", usage.processes),
        Field::new("threads", usage.threads),
        number("threads_limit", usage.threads_limit),
        number("read_bytes", usage.read_bytes),
        number("written_bytes", usage.written_bytes),
        Field::new("proxy_received_bytes", proxied.received_bytes),
        Field::new("proxy_sent_bytes", proxied.sent_bytes),
        Field::new("own_network", usage.own_network.is_some()),
        Field::new("own_received_bytes", own.received_bytes),
        Field::new("own_sent_bytes", own.sent_bytes),
    ];
    Some(of_instance(seen.at, "instance.resources", &subject, fields))
}

/// The machine's figures for detectors.
#[must_use]
pub fn of_host(host: &HostUsage, at: u64) -> Observation {
    let mut fields = vec![
        Field::new("cpu_permille", host.cpu_permille),
        Field::new("memory_permille", host.memory_permille),
    ];
    fields.extend(
        host.disk_permille
            .map(|disk| Field::new("disk_permille", disk)),
    );
    fields.push(Field::new("load1_permille", host.load1_permille));
    Observation {
        at,
        target: HOST.to_owned(),
        kind: "host.resources".to_owned(),
        fields,
    }
}

fn permille_of_core(before: Seen, now: Seen) -> u64 {
    let ms = now.at_ms.saturating_sub(before.at_ms).max(1);
    // Microseconds a millisecond are thousandths.
    now.usage.cpu_us.saturating_sub(before.usage.cpu_us) / ms
}

fn cpu_times(text: &str) -> Option<(u64, u64)> {
    let line = text.lines().find(|line| line.starts_with("cpu "))?;
    let times: Vec<u64> = line
        .split_ascii_whitespace()
        .skip(1)
        .take(8)
        .filter_map(|t| t.parse().ok())
        .collect();
    let total: u64 = times.iter().sum();
    let idle = times.get(3)?.saturating_add(*times.get(4)?);
    Some((total.saturating_sub(idle), total))
}

fn memory_permille(text: &str) -> Option<u64> {
    let of = |name: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_ascii_whitespace().next()?.parse().ok()
    };
    let total = of("MemTotal:")?;
    let available = of("MemAvailable:")?;
    Some(total.saturating_sub(available).saturating_mul(1_000) / total.max(1))
}

fn disk_permille(dir: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(dir).ok()?;
    let used = disk.f_blocks.saturating_sub(disk.f_bfree);
    // As `df` counts: what an ordinary user cannot have is no part of the whole.
    let whole = used.saturating_add(disk.f_bavail);
    Some(used.saturating_mul(1_000) / whole.max(1))
}

fn load_permille(text: &str, cores: usize) -> Option<u64> {
    let first = text.split_ascii_whitespace().next()?;
    let (whole, hundredths) = first.split_once('.')?;
    let hundredths = whole.parse::<u64>().ok()? * 100 + hundredths.parse::<u64>().ok()?;
    Some(hundredths * 10 / u64::try_from(cores).unwrap_or(1).max(1))
}

#[cfg(test)]
pub mod tests {
    use std::cell::Cell;

    use grace_model::instance::{Role, State};

    use super::*;

    /// This process as an instance.
    pub fn me(number: u32) -> InstanceView {
        InstanceView {
            id: format!("shop-{number:03}").as_str().into(),
            service: "shop".into(),
            pid: std::process::id(),
            port: 0,
            role: Role::Active,
            state: State::Ready,
            weight: 1,
            generation: 3,
            uptime_ms: 1,
            restarts: 0,
            reason: None,
        }
    }

    /// A round at a second, without a hurry.
    pub fn round(second: u64) -> Round<'static> {
        Round {
            at: second,
            steady_ms: second * 1_000,
            taken: &|| Duration::ZERO,
        }
    }

    #[test]
    fn the_second_look_at_a_live_process_gives_its_figures() {
        let mut meter = Meter::default();
        let views = [me(1)];
        let first = meter.instances(&views, &round(1));
        assert_eq!(of_usage(&first[0]), None);
        let mut seen = meter.instances(&views, &round(2));
        seen[0].proxied = Some(NetworkBytes {
            received_bytes: 7,
            sent_bytes: 9,
        });
        let told = of_usage(&seen[0]).unwrap();
        let fields: HashMap<&str, String> = told
            .fields
            .iter()
            .map(|f| (f.name.as_str(), f.value.to_string()))
            .collect();
        assert_eq!(fields["generation"], "3");
        assert!(fields["rss_bytes"].parse::<u64>().unwrap() > 100_000);
        assert!(fields["open_files"].parse::<u64>().unwrap() >= 3);
        assert_eq!(fields["proxy_sent_bytes"], "9");
        assert_eq!(fields["own_network"], "false");
    }

    #[test]
    fn a_round_ends_with_its_time_and_the_next_goes_on_behind_it() {
        let mut meter = Meter::default();
        let views: Vec<InstanceView> = (0..50).map(me).collect();
        let looks = Cell::new(0_u64);
        let mut counts: HashMap<String, u32> = HashMap::new();
        for number in 0..5 {
            looks.set(0);
            let seen = meter.instances(
                &views,
                &Round {
                    // It is asked once before each look behind the least.
                    taken: &|| {
                        looks.set(looks.get() + 1);
                        Duration::from_millis(5 * looks.get())
                    },
                    ..round(number)
                },
            );
            assert_eq!(seen.len(), LEAST + 3, "20 ms of 5 ms each");
            for one in seen {
                *counts.entry(one.instance.to_string()).or_default() += 1;
            }
        }
        // 95 looks at 50 instances: nobody a second time before all had their turn.
        assert_eq!(counts.len(), 50);
        assert!(
            counts.values().all(|count| (1..=2).contains(count)),
            "{counts:?}"
        );
    }

    #[test]
    fn who_is_gone_is_forgotten_and_who_only_waits_is_not() {
        let mut meter = Meter::default();
        let views: Vec<InstanceView> = (0..40).map(me).collect();
        meter.instances(&views, &round(1));
        assert_eq!(meter.instances.len(), 40);
        let hurry = Round {
            taken: &|| Duration::MAX,
            ..round(2)
        };
        meter.instances(&views, &hurry);
        assert_eq!(meter.instances.len(), 40);
        meter.instances(&views[..4], &round(3));
        assert_eq!(meter.instances.len(), 4);
    }

    #[test]
    fn the_machine_is_told_in_permille() {
        let mut meter = Meter::default();
        assert_eq!(meter.machine(Path::new("/")), None);
        let seen = of_host(&meter.machine(Path::new("/")).unwrap(), 2);
        for field in &seen.fields {
            let value: u64 = field.value.to_string().parse().unwrap();
            assert!(
                value <= 1_000 || field.name == "load1_permille",
                "{field:?}"
            );
        }
        assert_eq!(seen.fields.len(), 4);
        assert_eq!(load_permille("1.50 0 0 1/2 3", 2), Some(750));
    }
}
