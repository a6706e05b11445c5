//! Tables for people and for programs.

/// Rows of cells under a head; every row has as many cells as the head.
pub(super) struct TextTable {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl TextTable {
    pub(super) fn new<const N: usize>(head: [&str; N]) -> Self {
        Self { head: head.map(str::to_owned).to_vec(), rows: Vec::new() }
    }

    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        debug_assert_eq!(N, self.head.len());
        self.rows.push(cells.to_vec());
    }

    fn all(&self) -> impl Iterator<Item = &Vec<String>> {
        std::iter::once(&self.head).chain(&self.rows)
    }

    /// In columns; numbers to the right.
    pub(super) fn text(&self) -> String {
        let width = |column: usize| self.all().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let numeric = |column: usize| {
            self.rows.iter().all(|row| row[column].starts_with(|c: char| c.is_ascii_digit() || c == '-'))
        };
        let right: Vec<bool> = (0..self.head.len()).map(numeric).collect();
        let line = |row: &Vec<String>| {
            let cell = |(column, cell): (usize, &String)| {
                let width = widths[column];
                if right[column] { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
            };
            let cells: Vec<String> = row.iter().enumerate().map(cell).collect();
            cells.join("  ").trim_end().to_owned() + "\n"
        };
        self.all().map(line).collect()
    }

    /// As comma-separated values (RFC 4180).
    pub(super) fn csv(&self) -> String {
        let quoted = |cell: &String| {
            let plain = !cell.contains([',', '"', '\n', '\r']);
            if plain { cell.clone() } else { format!("\"{}\"", cell.replace('"', "\"\"")) }
        };
        let line = |row: &Vec<String>| row.iter().map(quoted).collect::<Vec<_>>().join(",") + "\r\n";
        self.all().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_commas_quoted() {
        let mut table = TextTable::new(["what", "much"]);
        table.row(["hops, k = 1".to_owned(), "4.68".to_owned()]);
        table.row(["b".to_owned(), "12.5".to_owned()]);
        assert_eq!(table.text(), "what         much\nhops, k = 1  4.68\nb            12.5\n");
        assert_eq!(table.csv(), "what,much\r\n\"hops, k = 1\",4.68\r\nb,12.5\r\n");
    }
}
