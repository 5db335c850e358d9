//! The live view of the fleet as lines. Pure: from a scene to text.

use std::time::Duration;

use anstyle::{AnsiColor, Style};

use crate::fault::Fault;
use crate::fleet::Instance;
use crate::judge::Life;
use crate::load::Requests;

const GOOD: Style = AnsiColor::Green.on_default();
const BUSY: Style = AnsiColor::Yellow.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();
const PLAIN: Style = Style::new();
const BOLD: Style = Style::new().bold();

/// What there is to see.
#[derive(Debug, Default)]
pub struct Scene {
    /// The fleet as Grace told it last, each with what the kernel says of its process now.
    pub fleet: Vec<(Instance, Life)>,
    /// The load's count.
    pub requests: Requests,
    /// The fault that is induced now: its number of how many, its instance, and how long ago.
    pub trouble: Option<(Fault, String, Duration)>,
    /// Its incident, in words.
    pub incident: Option<String>,
}

/// A line of words, each in its style.
struct Line(Vec<(Style, String)>);

impl Line {
    /// At most `width` characters of it.
    fn text(&self, width: usize, colour: bool) -> String {
        let mut left = width;
        let mut text = String::new();
        for (style, word) in &self.0 {
            let cut: String = word.chars().take(left).collect();
            left -= cut.chars().count();
            if colour && *style != PLAIN && !cut.is_empty() {
                text.push_str(&format!("{style}{cut}{style:#}"));
            } else {
                text.push_str(&cut);
            }
        }
        text
    }
}

/// The lines of a scene: none wider than `width`, and not more than `rows`.
pub fn lines(scene: &Scene, width: usize, rows: usize, colour: bool) -> Vec<String> {
    let mut all = vec![Line(vec![(
        BOLD,
        format!(
            "{:<10} {:>8} {:>6}  {:<12} {:<10}",
            "instance", "pid", "port", "state", "process"
        ),
    )])];
    all.extend(scene.fleet.iter().map(|(one, life)| row(scene, one, *life)));
    let requests = &scene.requests;
    let failed = if requests.failed > 0 { BAD } else { GOOD };
    all.push(Line(vec![
        (PLAIN, format!("{} requests sent, ", requests.sent)),
        (failed, format!("{} failed", requests.failed)),
    ]));
    if let Some((fault, id, since)) = &scene.trouble {
        let incident = scene.incident.as_deref().unwrap_or("no incident yet");
        all.push(Line(vec![
            (BAD, fault.name().to_owned()),
            (
                PLAIN,
                format!(" of {id} since {:.1} s: {incident}", since.as_secs_f64()),
            ),
        ]));
    }
    all.iter()
        .take(rows)
        .map(|line| line.text(width, colour))
        .collect()
}

fn row(scene: &Scene, one: &Instance, life: Life) -> Line {
    let state = match one.state.as_str() {
        "ready" => GOOD,
        "failed" | "stopped" => BAD,
        _ => BUSY,
    };
    let (alive, process) = match life {
        Life::Runs => (GOOD, "runs"),
        Life::Stopped => (BAD, "stands still"),
        Life::Gone => (BAD, "gone"),
    };
    let mark = match &scene.trouble {
        Some((fault, id, _)) if *id == one.id => format!("  <- {}", fault.name()),
        _ => String::new(),
    };
    let pid = if one.pid == 0 {
        "-".to_owned()
    } else {
        one.pid.to_string()
    };
    Line(vec![
        (PLAIN, format!("{:<10} {pid:>8} {:>6}  ", one.id, one.port)),
        (state, format!("{:<12} ", one.state)),
        (alive, format!("{process:<12}")),
        (BAD, mark),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(id: &str, pid: u32, state: &str) -> Instance {
        Instance {
            id: id.to_owned(),
            pid,
            port: 20_001,
            state: state.to_owned(),
            generation: 1,
        }
    }

    fn scene() -> Scene {
        Scene {
            fleet: vec![
                (instance("shop-1", 100, "ready"), Life::Runs),
                (instance("shop-2", 200, "degraded"), Life::Stopped),
                (instance("shop-3", 0, "failed"), Life::Gone),
            ],
            requests: Requests {
                sent: 1_234,
                failed: 2,
                ..Requests::default()
            },
            trouble: Some((
                Fault::Hang,
                "shop-2".to_owned(),
                Duration::from_millis(2_500),
            )),
            incident: Some("inc-2 healing by instance-hang".to_owned()),
        }
    }

    #[test]
    fn the_view_shows_each_instance_the_requests_the_fault_and_its_incident() {
        let lines = lines(&scene(), 100, 50, false);
        let words = |at: usize| -> Vec<&str> { lines[at].split_whitespace().collect() };
        assert_eq!(words(1), ["shop-1", "100", "20001", "ready", "runs"]);
        assert_eq!(
            words(2),
            [
                "shop-2", "200", "20001", "degraded", "stands", "still", "<-", "hang"
            ]
        );
        assert_eq!(words(3), ["shop-3", "-", "20001", "failed", "gone"]);
        assert_eq!(lines[4], "1234 requests sent, 2 failed");
        assert_eq!(
            lines[5],
            "hang of shop-2 since 2.5 s: inc-2 healing by instance-hang"
        );
        assert_eq!(lines.len(), 6);
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_there_are_no_more_than_its_rows() {
        let plain = lines(&scene(), 20, 50, false);
        assert!(
            plain.iter().all(|line| line.chars().count() <= 20),
            "{plain:?}"
        );
        assert_eq!(lines(&scene(), 20, 3, false).len(), 3);
        let coloured = lines(&scene(), 100, 50, true);
        assert!(coloured[1].contains("\x1b[32mready"), "{coloured:?}");
        assert!(lines(&Scene::default(), 0, 0, true).is_empty());
    }
}
