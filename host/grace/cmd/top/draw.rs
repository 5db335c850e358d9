//! A frame on a grid of letters: for the terminal, and for a page of plain text. It knows the
//! size that it gets, and leaves out what does not fit: columns from the right, then rows.

use anstyle::{AnsiColor, Style};
use grace_model::incident::IncidentState;

use super::frame::{Frame, Incident, Instance, Service};
use super::grid::Grid;
use super::keys::{Sort, Wish};
use super::words::{byte_rate, bytes, micros, or_dash, percent, rate};
use crate::show;

const PLAIN: Style = Style::new();
const HEAD: Style = show::BOLD;
const GOOD: Style = show::GOOD;
const BUSY: Style = show::BUSY;
const BAD: Style = show::BAD;
const DIM: Style = show::DIM;
const ALARM: Style = AnsiColor::Red.on_default().invert();

/// Most services, and incidents, beside the instances.
const BESIDE: usize = 5;

/// That the host cannot be asked.
#[derive(Debug, Clone)]
pub struct Away {
    /// Why.
    pub why: String,
    /// For so many seconds.
    pub for_s: u64,
}

/// A column of a table.
struct Column<T> {
    head: &'static str,
    width: usize,
    /// Numbers stand at the right.
    right: bool,
    cell: fn(&T) -> (String, Style),
}

const fn text<T>(head: &'static str, width: usize, cell: fn(&T) -> (String, Style)) -> Column<T> {
    Column {
        head,
        width,
        right: false,
        cell,
    }
}

const fn figure<T>(head: &'static str, width: usize, cell: fn(&T) -> (String, Style)) -> Column<T> {
    Column {
        head,
        width,
        right: true,
        cell,
    }
}

const SERVICES: [Column<Service>; 7] = [
    text("SERVICE", 14, |it| (it.name.clone(), PLAIN)),
    figure("READY", 9, |it| {
        let style = if it.ready < it.instances { BUSY } else { GOOD };
        (format!("{}/{}", it.ready, it.instances), style)
    }),
    figure("REQ/s", 7, |it| {
        (or_dash(it.requests_per_second, rate), PLAIN)
    }),
    figure("ERR/s", 7, |it| {
        let bad = it.errors_per_second.is_some_and(|rate| rate > 0.0);
        (
            or_dash(it.errors_per_second, rate),
            if bad { BAD } else { PLAIN },
        )
    }),
    figure("P50<=", 7, |it| (or_dash(it.p50_us, micros), PLAIN)),
    figure("P99<=", 7, |it| (or_dash(it.p99_us, micros), PLAIN)),
    figure("WAITING", 8, |it| {
        (or_dash(it.waiting, |it| it.to_string()), PLAIN)
    }),
];

/// The most important first: what does not fit is left out at the right.
const INSTANCES: [Column<Instance>; 14] = [
    text("INSTANCE", 14, |it| (it.view.id.to_string(), PLAIN)),
    text("STATE", 11, |it| {
        let style = if it.is_ready() { GOOD } else { BUSY };
        (it.view.state.word().to_owned(), style)
    }),
    figure("CPU%", 5, |it| {
        let used = it.usage.as_ref().and_then(|it| it.cpu_permille);
        (or_dash(used, percent), PLAIN)
    }),
    figure("MEM", 6, |it| {
        let used = it.usage.as_ref().map(|it| it.usage.memory_bytes);
        let limit = it.usage.as_ref().and_then(|it| it.usage.memory_limit_bytes);
        (or_dash(used, bytes), near(used, limit))
    }),
    figure("FILES", 6, |it| {
        let usage = it.usage.as_ref().map(|it| &it.usage);
        let most = usage.and_then(|it| it.fullest_open_files);
        let limit = usage.and_then(|it| it.fullest_open_files_limit);
        let all = usage.and_then(|it| it.open_files);
        (or_dash(all, |it| it.to_string()), near(most, limit))
    }),
    figure("THR", 5, |it| {
        let used = it.usage.as_ref().map(|it| it.usage.threads);
        let limit = it.usage.as_ref().and_then(|it| it.usage.threads_limit);
        (or_dash(used, |it| it.to_string()), near(used, limit))
    }),
    figure("REQ/s", 6, |it| {
        (or_dash(it.requests_per_second, rate), PLAIN)
    }),
    figure("ERR/s", 6, |it| {
        let bad = it.errors_per_second.is_some_and(|rate| rate > 0.0);
        (
            or_dash(it.errors_per_second, rate),
            if bad { BAD } else { PLAIN },
        )
    }),
    figure("WEIGHT", 6, |it| (it.view.weight.to_string(), PLAIN)),
    figure("LIMIT", 6, |it| {
        let limit = it.usage.as_ref().and_then(|it| it.usage.memory_limit_bytes);
        (or_dash(limit, bytes), PLAIN)
    }),
    figure("LB-IN/s", 7, |it| {
        (or_dash(it.received_bytes_per_second, byte_rate), PLAIN)
    }),
    figure("LB-OUT/s", 8, |it| {
        (or_dash(it.sent_bytes_per_second, byte_rate), PLAIN)
    }),
    figure("WRITTEN", 7, |it| {
        let written = it.usage.as_ref().and_then(|it| it.usage.written_bytes);
        (or_dash(written, bytes), PLAIN)
    }),
    figure("UP", 7, |it| (show::age(it.view.uptime_ms), PLAIN)),
];

/// Nine tenths of a limit are near it, as the detector has it unless it is told otherwise.
fn near(used: Option<u64>, limit: Option<u64>) -> Style {
    match (used, limit) {
        (Some(used), Some(limit)) if used.saturating_mul(10) >= limit.saturating_mul(9) => BAD,
        _ => PLAIN,
    }
}

/// The whole screen.
pub fn screen(
    frame: Option<&Frame>,
    away: Option<&Away>,
    wish: &mut Wish,
    (columns, rows): (u16, u16),
) -> Grid {
    let mut page = Page::new(columns.into(), rows.into());
    let Some(frame) = frame else {
        page.line("grace top", HEAD);
        page.line(
            &away.map_or_else(|| "asking the host".to_owned(), told),
            BUSY,
        );
        return page.grid;
    };
    head(&mut page, frame, wish);
    if let Some(away) = away {
        page.line(&told(away), ALARM);
    } else if let Some(lacks) = &frame.lacks {
        page.line(&format!("figures are missing: {lacks}"), ALARM);
    }
    // The rest is shared out: a line for keys, the newest incidents, and instances what is left.
    let left = page.left();
    let beside = (left / 4).min(BESIDE);
    let foot = 1 + (1 + frame.incidents.len().clamp(1, beside.max(1)));
    services(&mut page, frame, wish, beside.max(1));
    let room = page.left().saturating_sub(foot);
    instances(&mut page, frame, wish, room);
    let top = page.left().saturating_sub(foot);
    page.skip(top);
    incidents(&mut page, frame, beside.max(1));
    page.line(&keys(wish), DIM);
    page.grid
}

/// Lines of plain text with everything that the frame holds.
pub fn plain(frame: &Frame, columns: u16) -> Vec<String> {
    let rows = frame.services.len() + frame.instances.len() + frame.incidents.len() + 8;
    let mut page = Page::new(columns.into(), rows);
    let mut wish = Wish::default();
    head(&mut page, frame, &wish);
    if let Some(lacks) = &frame.lacks {
        page.line(&format!("figures are missing: {lacks}"), ALARM);
    }
    services(&mut page, frame, &wish, usize::MAX);
    let room = page.left();
    instances(&mut page, frame, &mut wish, room);
    incidents(&mut page, frame, usize::MAX);
    let mut lines = page.grid.lines();
    lines.truncate(page.row);
    lines
}

fn told(away: &Away) -> String {
    format!(
        "the host is away for {} s: {}; asking again",
        away.for_s, away.why
    )
}

fn head(page: &mut Page, frame: &Frame, wish: &Wish) {
    let (word, style) = if frame.whole {
        ("whole", GOOD)
    } else {
        ("not whole", BUSY)
    };
    let mut spans = vec![("grace top ".to_owned(), HEAD), (word.to_owned(), style)];
    if wish.paused {
        spans.push(("  PAUSED".to_owned(), BUSY));
    }
    if !frame.missing.is_empty() {
        spans.push((format!("  {}", frame.missing.join(", ")), BUSY));
    }
    spans.push((format!("  {}", frame.state), DIM));
    page.spans(&spans);
    let host = frame.host.map_or_else(
        || "host -".to_owned(),
        |host| {
            format!(
                "host cpu {} % memory {} % disk {} load {}.{:02}",
                percent(host.cpu_permille),
                percent(host.memory_permille),
                or_dash(host.disk_permille, |it| format!("{} %", percent(it))),
                host.load1_permille / 1_000,
                host.load1_permille % 1_000 / 10,
            )
        },
    );
    let at = or_dash(frame.measured_at, show::clock);
    let own = bytes(frame.grace_rss_bytes);
    page.line(&format!("{host}  grace {own}  at {at}"), PLAIN);
}

fn services(page: &mut Page, frame: &Frame, wish: &Wish, most: usize) {
    let wanted = |it: &&Service| wish.service.as_ref().is_none_or(|name| *name == it.name);
    let rows: Vec<&Service> = frame.services.iter().filter(wanted).collect();
    table(
        page,
        &SERVICES,
        rows.get(..most.min(rows.len())).unwrap_or_default(),
    );
}

fn instances(page: &mut Page, frame: &Frame, wish: &mut Wish, room: usize) {
    let chosen = wish.chosen(frame);
    // Its heading takes a line of the room.
    let seen = room.saturating_sub(1);
    let last = chosen.len().saturating_sub(seen.max(1));
    let scroll = wish.scroll.min(last);
    wish.scroll = scroll;
    let end = scroll.saturating_add(seen).min(chosen.len());
    if room > 0 {
        table(
            page,
            &INSTANCES,
            chosen.get(scroll..end).unwrap_or_default(),
        );
    }
}

fn incidents(page: &mut Page, frame: &Frame, most: usize) {
    let open = frame.incidents_open;
    page.line(&format!("INCIDENTS  {open} open"), HEAD);
    if frame.incidents.is_empty() {
        page.line("none", DIM);
    }
    for one in frame.incidents.iter().take(most) {
        let style = match one.state {
            IncidentState::Resolved => GOOD,
            IncidentState::Escalated => BAD,
            _ => BUSY,
        };
        page.spans(&[
            (format!("{:<8}", one.id), PLAIN),
            (format!("{:<11}", one.state.word()), style),
            (incident(one), PLAIN),
        ]);
    }
}

fn incident(one: &Incident) -> String {
    let at = show::clock(one.resolved_at.unwrap_or(one.opened_at));
    let playbook = one
        .playbook
        .as_ref()
        .map(|it| format!(" by {it}"))
        .unwrap_or_default();
    format!(
        "{at} {} {}{playbook}: {}",
        one.target, one.finding, one.summary
    )
}

fn keys(wish: &Wish) -> String {
    let service = wish.service.as_deref().unwrap_or("all");
    let order = if wish.reverse { " reversed" } else { "" };
    let sort = match wish.sort {
        Sort::Name => "name",
        other => other.word(),
    };
    format!("q quit  s sort: {sort}{order}  r reverse  f filter: {service}  p pause  arrows scroll")
}

fn table<T>(page: &mut Page, columns: &[Column<T>], rows: &[&T]) {
    let width = page.width();
    let mut fits = 0;
    let mut sum = 0;
    for column in columns {
        sum += column.width + usize::from(fits > 0);
        if sum > width && fits > 0 {
            break;
        }
        fits += 1;
    }
    let columns = columns.get(..fits).unwrap_or_default();
    let line = |cells: Vec<(String, Style)>| -> Vec<(String, Style)> {
        let mut spans = Vec::new();
        for (number, (column, (cell, style))) in columns.iter().zip(cells).enumerate() {
            if number > 0 {
                spans.push((" ".to_owned(), PLAIN));
            }
            let cell = cut(&cell, column.width);
            let wide = column.width;
            let cell = if column.right {
                format!("{cell:>wide$}")
            } else {
                format!("{cell:<wide$}")
            };
            spans.push((cell, style));
        }
        spans
    };
    page.spans(&line(
        columns
            .iter()
            .map(|column| (column.head.to_owned(), HEAD))
            .collect(),
    ));
    for row in rows {
        page.spans(&line(
            columns.iter().map(|column| (column.cell)(row)).collect(),
        ));
    }
}

/// A word that is too long ends in a tilde.
fn cut(word: &str, width: usize) -> String {
    if word.chars().count() <= width {
        return word.to_owned();
    }
    let kept: String = word.chars().take(width.saturating_sub(1)).collect();
    format!("{kept}~")
}

/// Lines from the top of a grid.
struct Page {
    grid: Grid,
    row: usize,
}

impl Page {
    fn new(columns: usize, rows: usize) -> Self {
        Self {
            grid: Grid::new(columns, rows),
            row: 0,
        }
    }

    fn width(&self) -> usize {
        self.grid.columns()
    }

    fn left(&self) -> usize {
        self.grid.height().saturating_sub(self.row)
    }

    fn skip(&mut self, rows: usize) {
        self.row = self.row.saturating_add(rows).min(self.grid.height());
    }

    fn line(&mut self, text: &str, style: Style) {
        self.spans(&[(text.to_owned(), style)]);
    }

    fn spans(&mut self, spans: &[(String, Style)]) {
        if self.left() == 0 {
            return;
        }
        let mut column = 0;
        for (text, style) in spans {
            column = self.grid.write(self.row, column, text, *style);
        }
        self.row += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::History;
    use super::super::frame::tests::told as sample;
    use super::*;

    fn frame() -> Frame {
        let mut history = History::default();
        history.put(sample(1_000, 100));
        history.put(sample(2_000, 700));
        history.frame().unwrap()
    }

    fn drawn(width: u16, height: u16, away: Option<&Away>, wish: &mut Wish) -> Vec<String> {
        screen(Some(&frame()), away, wish, (width, height)).lines()
    }

    #[test]
    fn a_screen_of_80_by_24_holds_fleet_traffic_incidents_and_keys() {
        let lines = drawn(80, 24, None, &mut Wish::default());
        let all = lines.join("\n");
        for part in [
            "not whole",
            "shop has 1 of 2 ready",
            "SERVICE",
            "1/2",
            "600",
            "P99<=",
            "1ms",
            "INSTANCE",
            "shop-1",
            "shop-2",
            "starting",
            "INCIDENTS  0 open",
            "none",
        ] {
            assert!(all.contains(part), "{part}\n{all}");
        }
        assert!(lines[23].starts_with("q quit"), "{all}");
        assert!(!all.contains("LB-OUT/s"), "it does not fit\n{all}");
        let wide = drawn(140, 40, None, &mut Wish::default());
        assert!(wide.join("\n").contains("LB-OUT/s"));
    }

    #[test]
    fn every_size_is_drawn_without_a_panic() {
        for width in [0, 1, 5, 20, 79, 300] {
            for height in [0, 1, 2, 3, 5, 9, 100] {
                let mut wish = Wish {
                    scroll: usize::MAX,
                    ..Wish::default()
                };
                drawn(width, height, None, &mut wish);
            }
        }
    }

    #[test]
    fn scrolling_ends_with_the_last_instance() {
        let mut wish = Wish {
            scroll: usize::MAX,
            ..Wish::default()
        };
        drawn(80, 24, None, &mut wish);
        assert_eq!(wish.scroll, 0, "there is room for all");
        wish.scroll = usize::MAX;
        // Room for the heading and one.
        let all = drawn(80, 9, None, &mut wish).join("\n");
        assert_eq!(wish.scroll, 1, "{all}");
        assert!(all.contains("shop-2") && !all.contains("shop-1"), "{all}");
    }

    #[test]
    fn a_host_that_is_away_is_said_and_what_was_known_stays() {
        let away = Away {
            why: "no host is up in /x".to_owned(),
            for_s: 7,
        };
        let all = drawn(80, 24, Some(&away), &mut Wish::default()).join("\n");
        assert!(
            all.contains("the host is away for 7 s: no host is up in /x"),
            "{all}"
        );
        assert!(all.contains("shop-1"), "{all}");
    }

    #[test]
    fn plain_text_holds_every_instance_and_no_line_ends_in_spaces() {
        let lines = plain(&frame(), 100);
        let all = lines.join("\n");
        assert!(all.contains("shop-1") && all.contains("shop-2"), "{all}");
        assert!(lines.iter().all(|line| !line.ends_with(' ')));
        assert!(lines.iter().all(|line| line.chars().count() <= 100));
        assert!(!all.contains('\u{1b}'));
    }
}
