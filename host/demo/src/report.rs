//! The end of the demo: a table, or one JSON document.

use serde::Serialize;

use crate::Options;
use crate::fault::Outcome;
use crate::fleet::Instance;
use crate::load::Requests;

/// All that was seen.
#[derive(Debug, Serialize)]
pub struct Report {
    /// One a fault.
    pub faults: Vec<Outcome>,
    /// The load's count.
    pub requests: Requests,
    /// The fleet at the end.
    pub instances: Vec<Instance>,
}

impl Report {
    /// Whether every fault was healed and no request failed.
    pub fn all_good(&self) -> bool {
        !self.faults.is_empty()
            && self.faults.iter().all(|outcome| outcome.healed)
            && self.requests.sent > 0
            && self.requests.failed == 0
    }

    /// Prints it.
    pub fn print(&self, options: &Options) {
        if options.json {
            match serde_json::to_string(self) {
                Ok(text) => println!("{text}"),
                Err(error) => eprintln!("error: {error}"),
            }
            return;
        }
        print!("\n{}", self.table());
    }

    /// The table that the demo ends in, and what failed.
    fn table(&self) -> String {
        let mut text = format!(
            "{:<15} {:>12} {:>12} {:>10}  {:<18} {:<9} healed\n",
            "fault", "detected", "restored", "healed", "playbook", "incident"
        );
        let time = |ms: Option<u64>| ms.map_or("-".to_owned(), |ms| format!("{ms} ms"));
        for outcome in &self.faults {
            text.push_str(&format!(
                "{:<15} {:>12} {:>12} {:>10}  {:<18} {:<9} {}\n",
                outcome.fault.name(),
                time(outcome.detected_ms),
                time(outcome.restored_ms),
                time(outcome.healed_ms),
                outcome.playbook.as_deref().unwrap_or("-"),
                outcome.incident.as_deref().unwrap_or("-"),
                if outcome.healed { "yes" } else { "NO" },
            ));
        }
        text.push_str(&format!(
            "\n{} requests at {:.0}/s, {} failed; the slowest took {:.0} ms\n",
            self.requests.sent, self.requests.rate, self.requests.failed, self.requests.longest_ms
        ));
        for failure in self.requests.failures.iter().take(5) {
            text.push_str(&format!(
                "  failed at {:.3} s: {}\n",
                failure.at_ms as f64 / 1000.0,
                failure.reason
            ));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Fault;

    fn report(healed: bool, sent: u64, failed: u64) -> Report {
        let outcome = Outcome {
            fault: Fault::Crash,
            detected_ms: Some(1),
            restored_ms: Some(2),
            healed_ms: Some(3),
            playbook: Some("instance-crash".to_owned()),
            incident: Some("inc-1".to_owned()),
            healed,
        };
        let requests = Requests {
            sent,
            failed,
            ..Requests::default()
        };
        Report {
            faults: vec![outcome],
            requests,
            instances: Vec::new(),
        }
    }

    #[test]
    fn a_fault_that_did_not_heal_or_a_failed_request_is_no_success() {
        assert!(report(true, 100, 0).all_good());
        assert!(!report(false, 100, 0).all_good());
        assert!(!report(true, 100, 1).all_good());
        assert!(!report(true, 0, 0).all_good());
        let nothing = Report {
            faults: Vec::new(),
            ..report(true, 1, 0)
        };
        assert!(!nothing.all_good());
    }

    #[test]
    fn the_table_has_a_line_a_fault_and_says_what_failed() {
        let mut seen = report(true, 100, 1);
        seen.requests.failures = vec![crate::load::Failure {
            at_ms: 1_500,
            reason: "status 502".to_owned(),
        }];
        seen.faults.push(Outcome {
            fault: Fault::Hang,
            detected_ms: None,
            restored_ms: None,
            healed_ms: None,
            playbook: None,
            incident: None,
            healed: false,
        });
        let table = seen.table();
        let words: Vec<Vec<&str>> = table
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(
            words[1],
            [
                "crash",
                "1",
                "ms",
                "2",
                "ms",
                "3",
                "ms",
                "instance-crash",
                "inc-1",
                "yes"
            ]
        );
        assert_eq!(words[2], ["hang", "-", "-", "-", "-", "-", "NO"]);
        assert!(
            table.contains("100 requests") && table.contains("1 failed"),
            "{table}"
        );
        assert!(table.contains("failed at 1.500 s: status 502"), "{table}");
        // The columns stand below each other.
        let at = |line: &str, word: &str| line.find(word);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(at(lines[0], "playbook"), at(lines[1], "instance-crash"));
        assert_eq!(at(lines[0], "incident"), at(lines[1], "inc-1"));
    }
}
