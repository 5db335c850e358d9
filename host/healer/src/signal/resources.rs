//! What instances and the machine use, read from `/proc`. Figures only; what is too much, the
//! detectors say.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use grace_model::event::Subject;
use grace_model::instance::InstanceView;
use grace_model::plugin::{Field, Observation};

use super::convert::{HOST, of_instance};

/// Ticks a second of the times in `/proc`: USER_HZ, 100 on every Linux that Rust runs on.
const TICKS: u64 = 100;
/// The kernel counts memory in pages of this size in `/proc/PID/stat`.
const PAGE: u64 = 4_096;

/// Remembers the last counters, because processor use is a difference.
#[derive(Debug, Default)]
pub struct Meter {
    /// By pid and start time.
    processes: HashMap<(u32, u64), Seen>,
    machine: Option<(u64, u64)>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    at_ms: u64,
    ticks: u64,
}

#[derive(Debug, PartialEq, Eq)]
struct Stat {
    ticks: u64,
    threads: u64,
    start: u64,
    rss_pages: u64,
}

impl Meter {
    /// One look at every running instance. `steady_ms` measures, `at` stamps.
    pub fn instances(
        &mut self,
        instances: &[InstanceView],
        at: u64,
        steady_ms: u64,
    ) -> Vec<Observation> {
        let mut now_seen = HashMap::new();
        let mut observations = Vec::new();
        for view in instances.iter().filter(|view| view.pid != 0) {
            let dir = format!("/proc/{}", view.pid);
            let Some(stat) = fs::read_to_string(format!("{dir}/stat"))
                .ok()
                .as_deref()
                .and_then(stat)
            else {
                continue;
            };
            let key = (view.pid, stat.start);
            let seen = Seen {
                at_ms: steady_ms,
                ticks: stat.ticks,
            };
            let cpu = self
                .processes
                .get(&key)
                .map(|before| permille_of_core(*before, seen));
            now_seen.insert(key, seen);
            // The first look has no difference yet, and a made-up zero helps nobody.
            let Some(cpu_permille) = cpu else { continue };
            let open_files = fs::read_dir(format!("{dir}/fd")).map_or(0, Iterator::count);
            let subject = Subject {
                instance: view.id.clone(),
                service: view.service.clone(),
                generation: view.generation,
            };
            let fields = vec![
                Field::new("cpu_permille", cpu_permille),
                Field::new("rss_bytes", stat.rss_pages.saturating_mul(PAGE)),
                Field::new("open_files", u64::try_from(open_files).unwrap_or(u64::MAX)),
                Field::new("threads", stat.threads),
                // Services have no memory limit yet: 0 says so.
                Field::new("memory_limit_bytes", 0_u64),
            ];
            observations.push(of_instance(at, "instance.resources", &subject, fields));
        }
        self.processes = now_seen;
        observations
    }

    /// One look at the machine and the disk below `state_dir`.
    pub fn machine(&mut self, state_dir: &Path, at: u64) -> Option<Observation> {
        let (busy, total) = cpu_times(&fs::read_to_string("/proc/stat").ok()?)?;
        let before = self.machine.replace((busy, total))?;
        let ticks = total.saturating_sub(before.1).max(1);
        let cpu_permille = busy.saturating_sub(before.0).saturating_mul(1_000) / ticks;
        let mut fields = vec![
            Field::new("cpu_permille", cpu_permille.min(1_000)),
            Field::new(
                "memory_permille",
                memory_permille(&fs::read_to_string("/proc/meminfo").ok()?)?,
            ),
        ];
        if let Some(permille) = disk_permille(state_dir) {
            fields.push(Field::new("disk_permille", permille));
        }
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let load = fs::read_to_string("/proc/loadavg").ok()?;
        fields.push(Field::new("load1_permille", load_permille(&load, cores)?));
        Some(Observation {
            at,
            target: HOST.to_owned(),
            kind: "host.resources".to_owned(),
            fields,
        })
    }
}

fn permille_of_core(before: Seen, now: Seen) -> u64 {
    let ms = now.at_ms.saturating_sub(before.at_ms).max(1);
    let busy_ms = now
        .ticks
        .saturating_sub(before.ticks)
        .saturating_mul(1_000 / TICKS);
    busy_ms.saturating_mul(1_000) / ms
}

/// The name may hold spaces and brackets: fields are counted after the last bracket.
fn stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Stat {
        ticks: number(11)?.saturating_add(number(12)?),
        threads: number(17)?,
        start: number(19)?,
        rss_pages: number(21)?,
    })
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
mod tests {
    use grace_model::instance::{Role, State};

    use super::*;

    #[test]
    fn a_process_name_with_brackets_and_spaces_moves_no_field() {
        let line = "7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 30 12 0 0 20 0 5 0 900 1000 25 18";
        assert_eq!(
            stat(line),
            Some(Stat {
                ticks: 42,
                threads: 5,
                start: 900,
                rss_pages: 25
            })
        );
    }

    #[test]
    fn the_second_look_at_a_live_process_gives_its_figures() {
        let view = InstanceView {
            id: "shop-1".into(),
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
        };
        let mut meter = Meter::default();
        assert!(
            meter
                .instances(std::slice::from_ref(&view), 1, 1_000)
                .is_empty()
        );
        let seen = meter.instances(std::slice::from_ref(&view), 2, 2_000);
        let fields: HashMap<&str, String> = seen[0]
            .fields
            .iter()
            .map(|f| (f.name.as_str(), f.value.to_string()))
            .collect();
        assert_eq!(fields["generation"], "3");
        assert!(fields["rss_bytes"].parse::<u64>().unwrap() > 100_000);
        assert!(fields["open_files"].parse::<u64>().unwrap() >= 3);
    }

    #[test]
    fn the_machine_is_told_in_permille() {
        let mut meter = Meter::default();
        assert_eq!(meter.machine(Path::new("/"), 1), None);
        let seen = meter.machine(Path::new("/"), 2).unwrap();
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
