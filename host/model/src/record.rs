//! What of a service's traffic is recorded, for how long, and what of it may leave the machine.

use serde::{Deserialize, Serialize};

/// `[service.record]`, resolved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// Whether anything is recorded.
    pub on: bool,
    /// Exceptions by route; the first that fits decides.
    pub routes: Vec<RecordRoute>,
    /// Memory that the recordings of this service take in the proxy, all threads together.
    pub memory_bytes: u64,
    /// Bytes of a body that are kept, of requests and answers each.
    pub body_bytes: u64,
    /// Requests that a capsule holds at most.
    pub capsule_requests: u32,
    /// Capsules of this service go after this time.
    pub keep_ms: u64,
    /// Its oldest capsules go while there are more.
    pub keep: u32,
    /// A data directory larger than this is not copied into a capsule's snapshot.
    pub snapshot_bytes: u64,
    /// What is taken out of every view.
    pub redact: Redact,
}

/// Whether a route is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordRoute {
    /// A path; with `*` at its end all that begin so.
    pub path: String,
    /// Whether its requests are recorded.
    pub record: bool,
}

/// What is taken out, beside what Grace knows to be secret by name or form.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Redact {
    /// Capsules are stored redacted, never raw.
    pub at_rest: bool,
    /// Names of headers.
    pub headers: Vec<String>,
    /// Names of fields in a query or a form.
    pub query: Vec<String>,
    /// Names of JSON fields, or paths such as `user.card.number` and `users.*.pin`.
    pub json: Vec<String>,
    /// Regular expressions.
    pub patterns: Vec<String>,
}

impl RecordRoute {
    /// Whether it is about this path.
    #[must_use]
    pub fn fits(&self, path: &str) -> bool {
        match self.path.strip_suffix('*') {
            Some(begin) => path.starts_with(begin),
            None => path == self.path,
        }
    }
}

impl Record {
    /// Whether requests for this path are recorded.
    #[must_use]
    pub fn records(&self, path: &str) -> bool {
        let exception = self.routes.iter().find(|route| route.fits(path));
        self.on && exception.is_none_or(|route| route.record)
    }
}

impl Default for Record {
    fn default() -> Self {
        Self {
            on: true,
            routes: Vec::new(),
            memory_bytes: 16 << 20,
            body_bytes: 16 << 10,
            capsule_requests: 200,
            keep_ms: 24 * 3_600_000,
            keep: 50,
            snapshot_bytes: 64 << 20,
            redact: Redact::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_route_that_fits_decides_what_is_recorded() {
        let route = |path: &str, record| RecordRoute {
            path: path.to_owned(),
            record,
        };
        let routes = vec![route("/login/help", true), route("/login*", false)];
        let rules = Record {
            routes,
            ..Record::default()
        };
        assert!(rules.records("/") && rules.records("/login/help"));
        assert!(!rules.records("/login") && !rules.records("/login/now"));
        let off = Record { on: false, ..rules };
        assert!(!off.records("/login/help"));
    }
}
