//! What instances and the machine use. Figures only; what is too much, the detectors say.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use grace_model::event::Subject;
use grace_model::id::InstanceId;
use grace_model::instance::InstanceView;
use grace_model::plugin::{Field, Observation};
use grace_sandbox::Usages;

use super::convert::{HOST, of_instance};

/// Remembers the last counters, because processor use is a difference.
#[derive(Debug, Default)]
pub struct Meter {
    /// By instance and generation.
    instances: HashMap<(InstanceId, u64), Seen>,
    usages: Usages,
    machine: Option<(u64, u64)>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    at_ms: u64,
    cpu_us: u64,
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
            let group = format!("{}.{}", view.id, view.generation);
            let Some(used) = self.usages.of(view.pid, &group) else {
                continue;
            };
            let key = (view.id.clone(), view.generation);
            let seen = Seen {
                at_ms: steady_ms,
                cpu_us: used.cpu_us,
            };
            let cpu = self
                .instances
                .get(&key)
                .map(|before| permille_of_core(*before, seen));
            now_seen.insert(key, seen);
            // The first look has no difference yet, and a made-up zero helps nobody.
            let Some(cpu_permille) = cpu else { continue };
            let subject = Subject {
                instance: view.id.clone(),
                service: view.service.clone(),
                generation: view.generation,
            };
            let fields = vec![
                Field::new("cpu_permille", cpu_permille),
                Field::new("rss_bytes", used.rss_bytes),
                Field::new("memory_bytes", used.memory_bytes),
                // 0 says that there is none.
                Field::new("memory_limit_bytes", used.memory_limit_bytes.unwrap_or(0)),
                Field::new("oom_kills", used.oom_kills.unwrap_or(0)),
                Field::new("open_files", used.open_files.unwrap_or(0)),
                Field::new("processes", used.processes),
                Field::new("threads", used.threads),
                Field::new("threads_limit", used.threads_limit.unwrap_or(0)),
                Field::new("read_bytes", used.read_bytes),
                Field::new("written_bytes", used.written_bytes),
            ];
            observations.push(of_instance(at, "instance.resources", &subject, fields));
        }
        self.usages.end_round();
        self.instances = now_seen;
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
    // Microseconds a millisecond are thousandths.
    now.cpu_us.saturating_sub(before.cpu_us) / ms
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
