//! A grid of letters with their styles, and what must be sent to a terminal that shows another.

use std::fmt::Write;

use anstyle::Style;

/// It.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grid {
    columns: usize,
    rows: Vec<Vec<(char, Style)>>,
}

impl Grid {
    /// An empty one.
    pub fn new(columns: usize, rows: usize) -> Self {
        let row = vec![(' ', Style::new()); columns];
        Self {
            columns,
            rows: vec![row; rows],
        }
    }

    /// Letters of a row.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.rows.len()
    }

    /// Writes into a row from a column on, as far as there is room; the column behind it.
    pub fn write(&mut self, row: usize, column: usize, text: &str, style: Style) -> usize {
        let Some(row) = self.rows.get_mut(row) else {
            return column;
        };
        let mut at = column;
        for letter in text.chars().map(shown) {
            let Some(cell) = row.get_mut(at) else { break };
            *cell = (letter, style);
            at += 1;
        }
        at
    }

    /// Its rows as text, without spaces at their ends.
    pub fn lines(&self) -> Vec<String> {
        let text = |row: &Vec<(char, Style)>| row.iter().map(|cell| cell.0).collect::<String>();
        let lines = self.rows.iter().map(text);
        lines.map(|line| line.trim_end().to_owned()).collect()
    }

    /// What turns a terminal that shows `before` into one that shows this: the rows that differ.
    /// Without `styles`, letters only.
    pub fn changes(&self, before: &Grid, styles: bool) -> String {
        let mut out = String::new();
        let anew = self.columns != before.columns || self.rows.len() != before.rows.len();
        if anew {
            out.push_str("\x1b[0m\x1b[2J");
        }
        for (number, row) in self.rows.iter().enumerate() {
            if !anew && before.rows.get(number) == Some(row) {
                continue;
            }
            // Rows are counted from 1. Writing to a string cannot fail.
            let _ = write!(out, "\x1b[{};1H\x1b[0m", number + 1);
            let mut now = Style::new();
            for (letter, style) in row {
                if styles && *style != now {
                    let _ = write!(out, "\x1b[0m{style}");
                    now = *style;
                }
                out.push(*letter);
            }
            out.push_str("\x1b[0m");
        }
        out
    }
}

/// A letter that takes one column and steers nothing.
fn shown(letter: char) -> char {
    match letter {
        // Accents of their own take no column.
        '\u{300}'..='\u{36f}' => '?',
        _ if letter.is_control() => ' ',
        // From here on letters may take two.
        '\u{1100}'.. => '?',
        _ => letter,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(terminal: &vt100::Parser) -> Vec<String> {
        let rows = terminal.screen().rows(0, 6);
        rows.map(|row| row.trim_end().to_owned()).collect()
    }

    #[test]
    fn what_is_sent_shows_the_grid_also_over_another() {
        let mut first = Grid::new(6, 3);
        first.write(0, 0, "abc\x1bdefgh", Style::new().bold());
        first.write(2, 4, "日x", Style::new());
        let mut terminal = vt100::Parser::new(3, 6, 0);
        terminal.process(first.changes(&Grid::default(), true).as_bytes());
        assert_eq!(shown(&terminal), ["abc de", "", "    ?x"]);
        assert!(terminal.screen().cell(0, 0).is_some_and(vt100::Cell::bold));
        let mut second = first.clone();
        second.write(2, 0, "y", Style::new());
        let sent = second.changes(&first, true);
        assert!(
            !sent.contains("abc"),
            "rows that are the same are not sent: {sent:?}"
        );
        terminal.process(sent.as_bytes());
        assert_eq!(shown(&terminal), ["abc de", "", "y   ?x"]);
        assert_eq!(second.changes(&second, true), "");
        assert!(!first.changes(&Grid::default(), false).contains("[1m"));
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let mut grid = Grid::new(2, 1);
        assert_eq!(grid.write(0, 1, "abc", Style::new()), 2);
        assert_eq!(grid.write(9, 0, "abc", Style::new()), 0);
        assert_eq!(grid.lines(), [" a"]);
    }
}
