//! Tables that fit: columns are shortened in the middle before a line is longer than the screen. If
//! that is not enough, each row becomes a block.

use crate::output::screen::{Screen, Style};
use crate::output::text::{cut, shorten, width};

/// Blanks between two columns.
const GAP: usize = 2;

/// The indentation of lines below a row, and of the lines of a block.
pub const INDENT: &str = "    ";

/// A column.
#[derive(Clone)]
pub struct Column {
    pub title: &'static str,
    /// The smallest useful width in characters; `None`: it is never shortened.
    pub shortest: Option<usize>,
}

/// One entry.
pub struct Cell {
    pub text: String,
    pub paint: Style,
}

impl Cell {
    /// An entry without a style.
    pub fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), paint: Style::Plain }
    }
}

/// A row, and the lines below it.
pub struct TableRow {
    /// One entry for each column.
    pub cells: Vec<Cell>,
    /// Whole lines, ready to be shown.
    pub below: Vec<String>,
}

/// A table, one line for each row, and the lines below it.
pub fn render(columns: &[Column], rows: &[TableRow], screen: Screen) -> String {
    let natural = natural_widths(columns, rows);
    let Some(widths) = fit(columns, natural, screen.width) else {
        return blocks(columns, rows, screen);
    };
    let title = |column: &Column| Cell { text: column.title.to_owned(), paint: Style::Bold };
    let heading: Vec<Cell> = columns.iter().map(title).collect();
    let mut text = line(&heading, &widths, screen);
    for row in rows {
        text.push_str(&line(&row.cells, &widths, screen));
        row.below.iter().for_each(|below| push_line(&mut text, below));
    }
    text
}

/// The width of a table that is not shortened.
pub fn natural_width(columns: &[Column], rows: &[TableRow]) -> usize {
    total(&natural_widths(columns, rows))
}

fn natural_widths(columns: &[Column], rows: &[TableRow]) -> Vec<usize> {
    let of = |(index, column): (usize, &Column)| {
        let cells = rows.iter().filter_map(|row| row.cells.get(index));
        cells.map(|cell| width(&cell.text)).chain([width(column.title)]).max().unwrap_or(0)
    };
    columns.iter().enumerate().map(of).collect()
}

fn total(widths: &[usize]) -> usize {
    widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1)
}

/// Shortens the widest column that can be shortened until the row fits; `None` if it cannot.
fn fit(columns: &[Column], mut widths: Vec<usize>, screen: Option<usize>) -> Option<Vec<usize>> {
    let Some(screen) = screen else { return Some(widths) };
    while total(&widths) > screen {
        let spare = columns.iter().zip(&mut widths).filter_map(|(column, width)| {
            (*width > column.shortest?.max(column.title.len())).then_some(width)
        });
        *spare.max_by_key(|width| **width)? -= 1;
    }
    Some(widths)
}

fn line(cells: &[Cell], widths: &[usize], screen: Screen) -> String {
    let last = cells.len().saturating_sub(1);
    let mut text = String::new();
    for (index, (cell, columns)) in cells.iter().zip(widths).enumerate() {
        let shown = shorten(&cell.text, *columns);
        let blanks = if index == last { 0 } else { columns - width(&shown) + GAP };
        text.push_str(&screen.paint(cell.paint, &shown));
        text.push_str(&" ".repeat(blanks));
    }
    text.push('\n');
    text
}

/// One block for each row: the first entry as its heading, the others with their titles.
fn blocks(columns: &[Column], rows: &[TableRow], screen: Screen) -> String {
    let titles = columns.iter().skip(1).map(|column| column.title.len()).max().unwrap_or(0);
    let mut text = String::new();
    for row in rows {
        let mut cells = columns.iter().zip(&row.cells);
        if let Some((_, heading)) = cells.next() {
            let heading = cut(&heading.text, screen.width);
            push_line(&mut text, &screen.paint(Style::Bold, &heading));
        }
        for (column, cell) in cells {
            let title = format!("{INDENT}{:titles$}  ", column.title.to_lowercase());
            let room = screen.width.map(|columns| columns.saturating_sub(width(&title)));
            let shown = room.map_or(cell.text.clone(), |room| shorten(&cell.text, room));
            push_line(&mut text, &format!("{title}{}", screen.paint(cell.paint, &shown)));
        }
        row.below.iter().for_each(|below| push_line(&mut text, below));
    }
    text
}

/// Adds a line and its end.
pub fn push_line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}
