//! `record` of a service: what is written, resolved and checked.

use std::ops::Range;

use grace_capsule::Redactor;
use grace_model::record::{Record, RecordRoute, Redact};
use serde::Deserialize;
use toml::Spanned;

use super::fault::Fault;
use super::units::{Bytes, Millis};

/// Less holds hardly a request.
const MEMORY: std::ops::RangeInclusive<u64> = 64 * 1024..=1 << 30;
/// A longer body makes a ring of one request.
const BODY_MOST: u64 = 16 << 20;
/// What a capsule can hold by its size.
const REQUESTS: std::ops::RangeInclusive<u32> = 1..=10_000;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordTable {
    on: Option<bool>,
    #[serde(default)]
    routes: Vec<RouteTable>,
    memory: Option<Spanned<Bytes>>,
    body: Option<Spanned<Bytes>>,
    requests: Option<Spanned<u32>>,
    keep_for: Option<Millis>,
    keep: Option<u32>,
    snapshot: Option<Bytes>,
    #[serde(default)]
    redact: RedactTable,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RouteTable {
    path: Spanned<String>,
    record: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RedactTable {
    at_rest: Option<bool>,
    #[serde(default)]
    headers: Vec<String>,
    #[serde(default)]
    query: Vec<String>,
    #[serde(default)]
    json: Vec<String>,
    #[serde(default)]
    patterns: Vec<Spanned<String>>,
}

/// What it says.
pub fn resolve(table: RecordTable, faults: &mut Vec<Fault>) -> Record {
    let default = Record::default();
    let mut fault = |span: Range<usize>, what: String| faults.push(Fault::new(span, what));
    let mut routes = Vec::new();
    for route in table.routes {
        let path = route.path.get_ref();
        if !path.starts_with('/') || path.trim_end_matches('*').contains('*') {
            let what = format!(
                "{path:?} is no route; write a path, such as \"/login\", or the begin of some, such as \"/login*\""
            );
            fault(route.path.span(), what);
        }
        routes.push(RecordRoute {
            path: route.path.into_inner(),
            record: route.record,
        });
    }
    let memory_bytes = table.memory.map_or(default.memory_bytes, |size| {
        if !MEMORY.contains(&size.get_ref().0) {
            fault(
                size.span(),
                "`memory` is \"64KiB\" to \"1GiB\"; leave it out for \"16MiB\"".to_owned(),
            );
        }
        size.get_ref().0
    });
    let body_bytes = table.body.map_or(default.body_bytes, |size| {
        if size.get_ref().0 > BODY_MOST {
            fault(
                size.span(),
                "`body` is at most \"16MiB\"; leave it out for \"16KiB\"".to_owned(),
            );
        }
        size.get_ref().0
    });
    let capsule_requests = table.requests.map_or(default.capsule_requests, |count| {
        if !REQUESTS.contains(count.get_ref()) {
            fault(
                count.span(),
                "`requests` is 1 to 10000; leave it out for 200".to_owned(),
            );
        }
        *count.get_ref()
    });
    let redact = table.redact;
    let mut patterns = Vec::new();
    for pattern in redact.patterns {
        let rules = Redact {
            patterns: vec![pattern.get_ref().clone()],
            ..Redact::default()
        };
        if let Err(error) = Redactor::new(&rules) {
            fault(pattern.span(), error.to_string());
        }
        patterns.push(pattern.into_inner());
    }
    Record {
        on: table.on.unwrap_or(default.on),
        routes,
        memory_bytes,
        body_bytes,
        capsule_requests,
        keep_ms: table.keep_for.map_or(default.keep_ms, |time| time.0),
        keep: table.keep.unwrap_or(default.keep),
        snapshot_bytes: table.snapshot.map_or(default.snapshot_bytes, |size| size.0),
        redact: Redact {
            at_rest: redact.at_rest.unwrap_or(false),
            headers: redact.headers,
            query: redact.query,
            json: redact.json,
            patterns,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Record, Vec<Fault>) {
        let mut faults = Vec::new();
        let table: RecordTable = toml::from_str(text).unwrap();
        (resolve(table, &mut faults), faults)
    }

    #[test]
    fn what_is_recorded_is_said_with_units_and_routes() {
        let (record, faults) = read(
            "memory = \"1MiB\"\nbody = \"4KiB\"\nrequests = 10\nkeep_for = \"1h\"\nkeep = 5\nsnapshot = \"0B\"\n\
             routes = [{ path = \"/login*\", record = false }]\n\
             redact = { at_rest = true, headers = [\"x-a\"], query = [\"q\"], json = [\"a.b\"], patterns = [\"k-[0-9]+\"] }\n",
        );
        assert!(faults.is_empty(), "{faults:?}");
        assert_eq!(
            (
                record.memory_bytes,
                record.body_bytes,
                record.snapshot_bytes
            ),
            (1 << 20, 4_096, 0)
        );
        assert_eq!(
            (record.capsule_requests, record.keep_ms, record.keep),
            (10, 3_600_000, 5)
        );
        assert!(record.redact.at_rest && !record.records("/login/x"));
        assert_eq!(record.redact.patterns, ["k-[0-9]+"]);
        assert_eq!(read("").0, Record::default());
    }

    #[test]
    fn what_cannot_be_recorded_so_is_a_fault_at_its_place() {
        for bad in [
            "routes = [{ path = \"login\", record = false }]",
            "routes = [{ path = \"/a*b\", record = false }]",
            "memory = \"1KiB\"",
            "body = \"1GiB\"",
            "requests = 0",
            "redact = { patterns = [\"(\"] }",
        ] {
            assert_eq!(read(bad).1.len(), 1, "{bad}");
        }
    }
}
