//! Lines that stay at the bottom of a terminal while others scroll by above them. It moves the
//! cursor up and writes over what it wrote before: no alternate screen, so that the story stays
//! in the terminal's memory, and nothing to put back when the program is killed.

use std::io::Write;

/// Where lines are pinned.
#[derive(Debug)]
pub struct Pin<W> {
    out: W,
    /// Pinned lines that are on the screen now.
    shown: usize,
}

impl<W: Write> Pin<W> {
    /// With nothing pinned yet.
    pub fn new(out: W) -> Self {
        Self { out, shown: 0 }
    }

    /// Replaces the pinned lines. Each must be narrower than the terminal, and all of them fewer
    /// than its rows: what wraps or scrolls away cannot be written over.
    pub fn pin(&mut self, lines: &[String]) {
        let mut text = self.back();
        self.shown = lines.len();
        for line in lines {
            text.push_str(line);
            // What is left of a longer line that stood here.
            text.push_str("\x1b[K\n");
        }
        // And of more lines.
        text.push_str("\x1b[J");
        self.write(&text);
    }

    /// Writes a line above the pinned ones; the caller pins them again.
    pub fn line(&mut self, line: &str) {
        self.clear();
        self.write(&format!("{line}\n"));
    }

    /// Takes the pinned lines away.
    pub fn clear(&mut self) {
        if self.shown > 0 {
            let text = format!("{}\x1b[J", self.back());
            self.shown = 0;
            self.write(&text);
        }
    }

    /// To the first column of the first pinned line.
    fn back(&self) -> String {
        match self.shown {
            0 => String::new(),
            lines => format!("\r\x1b[{lines}A"),
        }
    }

    /// In one piece, so that a terminal does not show half of it. Nobody to see it is no error.
    fn write(&mut self, text: &str) {
        let _ = self
            .out
            .write_all(text.as_bytes())
            .and_then(|()| self.out.flush());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a terminal of 8 rows shows; raw line feeds, as a terminal's driver makes them.
    fn seen(bytes: &[u8]) -> Vec<String> {
        let mut terminal = vt100::Parser::new(8, 40, 100);
        terminal.process(
            &String::from_utf8_lossy(bytes)
                .replace('\n', "\r\n")
                .into_bytes(),
        );
        let rows: Vec<String> = terminal
            .screen()
            .rows(0, 40)
            .map(|row| row.trim_end().to_owned())
            .collect();
        let last = rows.iter().rposition(|row| !row.is_empty());
        rows.into_iter().take(last.map_or(0, |at| at + 1)).collect()
    }

    fn lines(all: &[&str]) -> Vec<String> {
        all.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn where_nothing_is_pinned_there_is_nothing_but_lines() {
        let mut pin = Pin::new(Vec::new());
        pin.line("one");
        pin.line("two");
        pin.clear();
        assert_eq!(pin.out, b"one\ntwo\n");
    }

    #[test]
    fn pinned_lines_are_replaced_in_place_and_the_story_scrolls_above_them() {
        let mut pin = Pin::new(Vec::new());
        pin.line("title");
        pin.pin(&lines(&[
            "shop-1 starting",
            "shop-2 starting",
            "0 requests",
        ]));
        pin.pin(&lines(&["shop-1 ready", "shop-2 ready"]));
        assert_eq!(seen(&pin.out), ["title", "shop-1 ready", "shop-2 ready"]);
        pin.line("shop-1 died");
        pin.pin(&lines(&["shop-1 gone", "shop-2 ready"]));
        assert_eq!(
            seen(&pin.out),
            ["title", "shop-1 died", "shop-1 gone", "shop-2 ready"]
        );
        for number in 0..6 {
            pin.line(&format!("line {number}"));
            pin.pin(&lines(&["shop-1 ready", "shop-2 ready"]));
        }
        // The screen is full and has scrolled; the cursor stands in its last row.
        assert_eq!(
            seen(&pin.out),
            [
                "line 1",
                "line 2",
                "line 3",
                "line 4",
                "line 5",
                "shop-1 ready",
                "shop-2 ready"
            ]
        );
        pin.clear();
        assert_eq!(
            seen(&pin.out),
            ["line 1", "line 2", "line 3", "line 4", "line 5"]
        );
    }
}
