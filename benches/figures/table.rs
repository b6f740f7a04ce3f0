//! The table of the results.

use std::fmt;
use std::time::Duration;

/// Rows: what was measured, the figure, and its goal.
#[derive(Default)]
pub struct Table {
    rows: Vec<[String; 3]>,
}

impl Table {
    pub fn add(&mut self, what: &str, figure: String, goal: &str) {
        eprintln!("  {what}: {figure}");
        self.rows.push([what.to_owned(), figure, goal.to_owned()]);
    }

    /// Adds the rows of another table.
    pub fn append(&mut self, other: Self) {
        self.rows.extend(other.rows);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heading = ["figure", "measured", "goal"].map(str::to_owned);
        let rule = ["---", "---", "---"].map(str::to_owned);
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.max().unwrap_or(0).max(heading[column].len())
        };
        let widths = [width(0), width(1), width(2)];
        for row in [&heading, &rule].into_iter().chain(&self.rows) {
            write!(formatter, "|")?;
            for (cell, width) in row.iter().zip(widths) {
                write!(formatter, " {cell:width$} |")?;
            }
            writeln!(formatter)?;
        }
        Ok(())
    }
}

/// The median; of an even number, the lower of the two in the middle.
pub fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[(times.len() - 1) / 2]
}

/// For example `312 ms`.
pub fn milliseconds(time: Duration) -> String {
    format!("{:.0} ms", time.as_secs_f64() * 1000.0)
}

/// For example `7.4 MB`; a MB is a million bytes.
pub fn megabytes(bytes: u64) -> String {
    format!("{:.2} MB", bytes as f64 / 1e6)
}
