//! Limits: sizes and times as a manifest writes them, and the meter that a store asks before it
//! grows. Knows no world but through `model`.

use grace_model::manifest::{Limits, ManifestLimits, World};
use grace_model::port::CallFailure;
use wasmtime::ResourceLimiter;

/// Elements of all tables of a call together.
const MAX_TABLE_ELEMENTS: usize = 20_000;
/// Core instances of a call: a std component has about four, an interpreter about ten.
const MAX_INSTANCES: usize = 16;

/// Why a manifest's limits are refused: the key, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("limits.{key}: {problem}")]
pub struct LimitError {
    /// `fuel`, `memory`, `wall` or `host_calls`.
    pub key: &'static str,
    /// What is wrong, and what to write.
    pub problem: String,
}

/// What is enforced: the manifest's limits, each at most what the world allows.
pub fn resolve(world: World, asked: &ManifestLimits) -> Result<Limits, LimitError> {
    let (mut limits, most) = (Limits::of(world), Limits::most(world));
    if let Some(fuel) = asked.fuel {
        limits.fuel = at_most("fuel", fuel, most.fuel, world, &fuel.to_string())?;
    }
    if let Some(text) = &asked.memory {
        let bytes = size(text).ok_or_else(|| LimitError {
            key: "memory",
            problem: format!("{text:?} is no size; write it like 16MiB, 512KiB or 65536B"),
        })?;
        limits.memory_bytes = at_most("memory", bytes, most.memory_bytes, world, text)?;
    }
    if let Some(text) = &asked.wall {
        let ms = time_ms(text).ok_or_else(|| LimitError {
            key: "wall",
            problem: format!("{text:?} is no time; write it like 50ms, 2s or 1m"),
        })?;
        limits.wall_ms = at_most("wall", ms, most.wall_ms, world, text)?;
    }
    if let Some(calls) = asked.host_calls {
        let most = u64::from(most.host_calls);
        at_most(
            "host_calls",
            u64::from(calls).max(1),
            most,
            world,
            &calls.to_string(),
        )?;
        limits.host_calls = calls;
    }
    Ok(limits)
}

/// How a plugin that failed so is given more, when there is more to give.
pub fn remedy(failure: &CallFailure, limits: &Limits, world: World) -> Option<String> {
    let most = Limits::most(world);
    let (key, has, most, so) = match failure {
        CallFailure::Memory(_) => (
            "memory",
            limits.memory_bytes,
            most.memory_bytes,
            "hold less",
        ),
        CallFailure::Fuel(_) => ("fuel", limits.fuel, most.fuel, "compute less"),
        CallFailure::Deadline(_) => ("wall", limits.wall_ms, most.wall_ms, "take less time"),
        _ => return None,
    };
    Some(if has < most {
        let most = shown(key, most);
        let value = if key == "fuel" {
            most
        } else {
            format!("{most:?}")
        };
        format!("raise `{key}` under [limits] of its manifest, at most to {key} = {value}")
    } else {
        format!(
            "it has the most that world {} allows; let it {so}",
            world.word()
        )
    })
}

fn at_most(
    key: &'static str,
    value: u64,
    most: u64,
    world: World,
    text: &str,
) -> Result<u64, LimitError> {
    let problem = match value {
        0 => "0 would stop every call; leave the key out for the world's limit".to_owned(),
        _ if value > most => format!(
            "{text} is more than world {} allows ({}); ask for less or leave the key out",
            world.word(),
            shown(key, most)
        ),
        _ => return Ok(value),
    };
    Err(LimitError { key, problem })
}

fn shown(key: &str, value: u64) -> String {
    match key {
        "memory" => format!("{}MiB", value >> 20),
        "wall" if value.is_multiple_of(1_000) => format!("{}s", value / 1_000),
        "wall" => format!("{value}ms"),
        _ => value.to_string(),
    }
}

/// `16MiB` in bytes.
fn size(text: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(text)?;
    let shift = match unit {
        "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

/// `50ms` in milliseconds.
fn time_ms(text: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(text)?;
    let factor = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => return None,
    };
    number.checked_mul(factor)
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(end)?;
    Some((number.parse().ok()?, unit.trim_start()))
}

/// What a store of one call may hold.
#[derive(Debug)]
pub struct Meter {
    most_bytes: usize,
    bytes: usize,
    elements: usize,
    /// Whether it ever wanted more memory than allowed.
    pub refused: bool,
}

impl Meter {
    /// A meter for `most_bytes` of linear memory, all memories together.
    pub fn new(most_bytes: u64) -> Self {
        Self {
            most_bytes: usize::try_from(most_bytes).unwrap_or(usize::MAX),
            bytes: 0,
            elements: 0,
            refused: false,
        }
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let total = self.bytes.saturating_add(desired.saturating_sub(current));
        if total > self.most_bytes {
            self.refused = true;
            return Ok(false);
        }
        self.bytes = total;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.refused = true;
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let total = self
            .elements
            .saturating_add(desired.saturating_sub(current));
        if total > MAX_TABLE_ELEMENTS {
            return Ok(false);
        }
        self.elements = total;
        Ok(true)
    }

    fn instances(&self) -> usize {
        MAX_INSTANCES
    }
    fn memories(&self) -> usize {
        2
    }
    fn tables(&self) -> usize {
        8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(memory: &str, wall: &str) -> ManifestLimits {
        ManifestLimits {
            memory: Some(memory.to_owned()),
            wall: Some(wall.to_owned()),
            ..ManifestLimits::default()
        }
    }

    #[test]
    fn sizes_and_times_are_read_as_people_write_them() {
        let limits = resolve(World::Detector, &asked("512KiB", "50ms"));
        let limits = limits.expect("good limits");
        assert_eq!((limits.memory_bytes, limits.wall_ms), (512 << 10, 50));
        let action = resolve(World::Action, &asked("16 MiB", "2s")).expect("good limits");
        assert_eq!((action.memory_bytes, action.wall_ms), (16 << 20, 2_000));
    }

    #[test]
    fn more_than_the_world_allows_is_refused_with_the_most_it_allows() {
        let error = resolve(World::Detector, &asked("129MiB", "50ms")).expect_err("too much");
        assert_eq!(error.key, "memory");
        assert!(error.problem.contains("(128MiB)"), "{error}");
        let more = resolve(World::Detector, &asked("128MiB", "50ms")).expect("who asks has it");
        assert_eq!(more.memory_bytes, 128 << 20);
        let silent = resolve(World::Detector, &ManifestLimits::default()).expect("nothing asked");
        assert_eq!(silent.memory_bytes, 32 << 20);
        let error = resolve(World::Action, &asked("1MiB", "31s")).expect_err("too long");
        assert!(
            error.to_string().contains("limits.wall: 31s is more"),
            "{error}"
        );
    }

    #[test]
    fn what_is_no_size_is_refused_with_an_example() {
        for bad in [
            "16",
            "16MB",
            "MiB",
            "",
            "-1MiB",
            "99999999999999999999MiB",
            "0B",
        ] {
            let error = resolve(World::Action, &asked(bad, "1s")).expect_err(bad);
            assert_eq!(error.key, "memory", "{bad}");
        }
    }

    #[test]
    fn who_needs_more_is_told_where_to_write_it_and_how_much_there_is() {
        let told =
            |failure: CallFailure, limits: &Limits| remedy(&failure, limits, World::Detector);
        let (of, most) = (Limits::of(World::Detector), Limits::most(World::Detector));
        let memory = told(CallFailure::Memory(1), &of).expect("a way");
        assert!(memory.ends_with("memory = \"128MiB\""), "{memory}");
        assert!(told(CallFailure::Memory(1), &most).is_some_and(|it| it.contains("hold less")));
        let fuel = told(CallFailure::Fuel(1), &Limits { fuel: 1, ..of }).expect("a way");
        assert!(fuel.ends_with("fuel = 50000000"), "{fuel}");
        let wall = told(CallFailure::Deadline(1), &Limits { wall_ms: 1, ..of }).expect("a way");
        assert!(wall.ends_with("wall = \"100ms\""), "{wall}");
        assert_eq!(told(CallFailure::Trap(String::new()), &of), None);
    }

    #[test]
    fn a_meter_counts_all_memories_together() {
        let mut meter = Meter::new(100);
        assert!(meter.memory_growing(0, 60, None).expect("counts"));
        assert!(!meter.memory_growing(0, 60, None).expect("counts"));
        assert!(meter.refused);
        assert!(meter.memory_growing(60, 100, None).expect("counts"));
    }
}
