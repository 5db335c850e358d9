//! The time of day may jump, so it is read in few places and times nothing: each of them writes
//! it down or shows it.

/// Ways to read it.
const WAYS: &[&str] = &[
    "SystemTime::now",
    "UNIX_EPOCH.elapsed",
    "ClockId::Realtime",
    "CLOCK_REALTIME",
    "Utc::now",
    "Local::now",
];

/// Files of the host that may, and what for.
const PLACES: &[(&str, &str)] = &[
    ("host/supervisor/src/core.rs", "the time of an event"),
    ("host/proxy/src/record.rs", "the time of an event"),
    (
        "host/proxy/src/certs.rs",
        "whether a certificate has expired",
    ),
    ("host/healer/src/clock.rs", "the time of an entry"),
    (
        "host/ledger/src/salvage.rs",
        "the name of a file kept aside",
    ),
    ("host/demo/", "its report"),
];

/// Every other place in the host's own code, tests apart.
pub(super) fn readers(short: &str, text: &str) -> Vec<String> {
    let own = short.starts_with("host/") && short.contains("/src/")
        || short.starts_with("host/grace/") && !short.contains("/tests");
    if !own || PLACES.iter().any(|(place, _)| short.starts_with(place)) {
        return Vec::new();
    }
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let reads = |line: &str| {
        let code = line.split("//").next().unwrap_or_default();
        WAYS.iter().any(|way| code.contains(way))
    };
    let found = (1_usize..)
        .zip(code.lines())
        .filter(|(_, line)| reads(line));
    found
        .map(|(number, _)| {
            let places: Vec<&str> = PLACES.iter().map(|(place, _)| *place).collect();
            format!(
                "{short}:{number}: reads the time of day, which may jump; time by Instant or \
                 os::clock, or take it from {}",
                places.join(", ")
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_day_is_read_in_few_places() {
        let text = "//! x\nfn now() -> SystemTime {\n    SystemTime::now()\n}\n";
        assert_eq!(readers("host/supervisor/src/parts.rs", text).len(), 1);
        assert_eq!(readers("host/grace/front/ready.rs", text).len(), 1);
        assert!(readers("host/supervisor/src/core.rs", text).is_empty());
        assert!(readers("host/supervisor/tests/clock.rs", text).is_empty());
        let tested = format!("//! x\n#[cfg(test)]\n{text}");
        assert!(readers("host/plan/src/run/mod.rs", &tested).is_empty());
        let spoken = "//! x\n// Not SystemTime::now: it jumps.\n";
        assert!(readers("host/plan/src/run/mod.rs", spoken).is_empty());
    }
}
