//! Tables without borders, numbers to the right.

use std::fmt;

use comfy_table::{Cell, CellAlignment, ContentArrangement, presets};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

#[derive(Debug)]
pub struct Table {
    aligns: Vec<Align>,
    inner: comfy_table::Table,
}

impl Table {
    /// Columns with their titles, from left to right.
    pub fn new(columns: &[(&str, Align)]) -> Self {
        let mut inner = comfy_table::Table::new();
        inner.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        inner.set_header(columns.iter().map(|(title, align)| cell(&title.to_uppercase(), *align)));
        for column in inner.column_iter_mut() {
            column.set_padding((0, 2));
        }
        Self { aligns: columns.iter().map(|(_, align)| *align).collect(), inner }
    }

    /// One row; as many cells as there are columns.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        assert_eq!(N, self.aligns.len(), "a row has one cell per column");
        self.inner.add_row(cells.iter().zip(&self.aligns).map(|(text, align)| cell(text, *align)));
    }
}

/// A name may hold control characters; in a table they would move the cursor.
fn cell(text: &str, align: Align) -> Cell {
    let text: String = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    Cell::new(text).set_alignment(match align {
        Align::Left => CellAlignment::Left,
        Align::Right => CellAlignment::Right,
    })
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.trim_fmt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_to_the_right_and_lines_end_without_blanks() {
        let mut table = Table::new(&[("name", Align::Left), ("files", Align::Right)]);
        table.row(["programs".to_owned(), "1,234".to_owned()]);
        table.row(["x".to_owned(), "5".to_owned()]);
        assert_eq!(table.to_string(), "NAME      FILES\nprograms  1,234\nx             5");
    }
}
