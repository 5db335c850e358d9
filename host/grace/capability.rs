//! The names of capabilities, as `wit/README.md` lists them. It grants nothing.

use crate::config::closest;

/// Capabilities without an argument.
pub const PLAIN: [&str; 9] = [
    "events:read",
    "metrics:read",
    "clock",
    "fleet:read",
    "fleet:control",
    "config:read",
    "config:write",
    "probe",
    "notify",
];

/// Checks a capability's name.
pub fn check(text: &str) -> Result<(), String> {
    if PLAIN.contains(&text) {
        return Ok(());
    }
    for prefix in ["fs:read:", "fs:write:"] {
        if let Some(path) = text.strip_prefix(prefix) {
            return if path.starts_with('/') {
                Ok(())
            } else {
                Err(format!(
                    "{text:?} names no absolute path; write {prefix}/path"
                ))
            };
        }
    }
    if let Some(address) = text.strip_prefix("net:") {
        let good = address
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        return if good {
            Ok(())
        } else {
            Err(format!(
                "{text:?} names no host and port; write net:HOST:PORT"
            ))
        };
    }
    let near = closest(text, PLAIN.into_iter())
        .map(|near| format!("did you mean {near:?}?"))
        .unwrap_or_else(|| {
            format!(
                "there are {}, fs:read:PATH, fs:write:PATH, net:HOST:PORT",
                PLAIN.join(", ")
            )
        });
    Err(format!("{text:?} is no capability; {near}"))
}

/// What it opens, for a person.
pub fn opens(text: &str) -> String {
    let known = match text {
        "events:read" => "observations of instances, configuration files and operations",
        "metrics:read" => "observations of probes, traffic and resources",
        "clock" => "the time, and waiting",
        "fleet:read" => "what the host knows of services and instances",
        "fleet:control" => "restart, pause, scale, drain and quarantine instances",
        "config:read" => "declared configuration files and their last good copies",
        "config:write" => "putting declared configuration files back",
        "probe" => "requests to instances and figures of their traffic",
        "notify" => "messages to people",
        _ => "",
    };
    if !known.is_empty() {
        return known.to_owned();
    }
    if let Some(path) = text.strip_prefix("fs:read:") {
        return format!("the directory {path}, read only");
    }
    if let Some(path) = text.strip_prefix("fs:write:") {
        return format!("the directory {path}, read and write");
    }
    format!("TCP to {}", text.trim_start_matches("net:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_checked_by_name_and_shape() {
        for good in PLAIN
            .into_iter()
            .chain(["fs:read:/srv", "net:10.0.0.1:5432", "net:db:1"])
        {
            assert_eq!(check(good), Ok(()));
            assert!(!opens(good).is_empty());
        }
        for (bad, hint) in [
            ("fleet:contrl", "fleet:control"),
            ("fs:read:srv", "absolute"),
            ("net:host", "net:HOST:PORT"),
            ("root", "there are"),
        ] {
            assert!(check(bad).unwrap_err().contains(hint), "{bad}");
        }
    }
}
