//! Aligned columns. The heading is for people; a pipe gets the rows alone.

use super::{BOLD, line, paint, person};

/// Rows of cells.
#[derive(Debug)]
pub struct Table {
    heading: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    empty: &'static str,
}

impl Table {
    /// With these columns; `empty` is what a person is told when there is no row.
    pub fn new<const N: usize>(heading: [&'static str; N], empty: &'static str) -> Self {
        Self {
            heading: heading.to_vec(),
            rows: Vec::new(),
            empty,
        }
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.to_vec());
    }

    /// Its lines.
    fn lines(&self, with_heading: bool) -> Vec<String> {
        let heading: Vec<String> = self.heading.iter().map(|text| paint(BOLD, text)).collect();
        let mut rows: Vec<&Vec<String>> = Vec::new();
        if with_heading {
            rows.push(&heading);
        }
        rows.extend(&self.rows);
        let widths: Vec<usize> = (0..self.heading.len())
            .map(|at| {
                rows.iter()
                    .filter_map(|row| row.get(at))
                    .map(|cell| width(cell))
                    .max()
            })
            .map(Option::unwrap_or_default)
            .collect();
        rows.iter()
            .map(|row| {
                let mut text = String::new();
                for (at, (cell, wide)) in row.iter().zip(&widths).enumerate() {
                    text.push_str(cell);
                    if at + 1 < row.len() {
                        text.push_str(&" ".repeat(wide - width(cell) + 2));
                    }
                }
                text.trim_end().to_owned()
            })
            .collect()
    }

    /// Prints it.
    pub fn print(&self) {
        let person = person();
        if self.rows.is_empty() {
            if person {
                line(self.empty);
            }
            return;
        }
        for text in self.lines(person) {
            line(&text);
        }
    }
}

/// Characters that are seen.
fn width(cell: &str) -> usize {
    anstream::adapter::strip_str(cell)
        .to_string()
        .chars()
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::GOOD;

    #[test]
    fn columns_are_aligned_by_what_is_seen() {
        let mut table = Table::new(["A", "B"], "none");
        table.row([paint(GOOD, "ready"), "1".to_owned()]);
        table.row(["x".to_owned(), "22".to_owned()]);
        let plain: Vec<String> = table
            .lines(true)
            .iter()
            .map(|line| anstream::adapter::strip_str(line).to_string())
            .collect();
        assert_eq!(plain, ["A      B", "ready  1", "x      22"]);
        assert_eq!(table.lines(false).len(), 2);
    }
}
