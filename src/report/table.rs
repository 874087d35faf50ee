//! Tables as Markdown and CSV, and numbers as people read them.

/// A table of texts: a header and rows of the same length.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table with these columns.
    pub fn new<S: Into<String>>(header: impl IntoIterator<Item = S>) -> Self {
        Self { header: header.into_iter().map(Into::into).collect(), rows: vec![] }
    }

    /// Adds a row. A short one is filled with empty cells.
    ///
    /// # Panics
    /// If it has more cells than the header: a programming error.
    pub fn push<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        let mut row: Vec<String> = cells.into_iter().map(Into::into).collect();
        assert!(row.len() <= self.header.len(), "{} cells for {:?}", row.len(), self.header);
        row.resize(self.header.len(), String::new());
        self.rows.push(row);
    }

    /// True if no row was added.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// GitHub Markdown; the first column is aligned left, the others right.
    pub fn markdown(&self) -> String {
        let line = |cells: &[String]| {
            let cells: Vec<_> = cells.iter().map(|c| c.replace('|', "\\|")).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let rule = |i: usize| if i == 0 { "---" } else { "---:" };
        let rules: Vec<_> = (0..self.header.len()).map(rule).collect();
        let head = format!("{}| {} |\n", line(&self.header), rules.join(" | "));
        self.rows.iter().fold(head, |text, row| text + &line(row))
    }

    /// RFC 4180 CSV with a header line.
    pub fn csv(&self) -> String {
        let quote = |cell: &String| {
            if cell.contains([',', '"', '\n']) {
                format!("\"{}\"", cell.replace('"', "\"\""))
            } else {
                cell.clone()
            }
        };
        let line =
            |cells: &Vec<String>| cells.iter().map(quote).collect::<Vec<_>>().join(",") + "\n";
        self.rows.iter().fold(line(&self.header), |text, row| text + &line(row))
    }
}

/// Rows of cells as a terminal shows them: columns as wide as their widest cell and two spaces apart, the
/// first aligned left, the others right.
pub fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |c: usize| rows.iter().map(|row| row[c].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(widths).enumerate().map(|(c, (cell, width))| match c {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

/// `value` with `digits` significant digits: 0.00123, 1.20, 12.3, 1230; far from one as 1.2e-7.
pub fn significant(value: f64, digits: usize) -> String {
    if !value.is_finite() {
        return "n/a".into();
    }
    if value == 0.0 {
        return "0".into();
    }
    // Rounding first: 9.996 has one digit more before the point than it seems.
    let rounded: f64 = format!("{value:.*e}", digits.max(1) - 1).parse().unwrap_or(value);
    let exponent = rounded.abs().log10().floor() as i32;
    if !(-4..7).contains(&exponent) {
        return format!("{value:.*e}", digits.max(1) - 1);
    }
    let decimals = (digits as i32 - 1 - exponent).max(0) as usize;
    format!("{rounded:.decimals$}")
}

/// "mean [low, high]" with three significant digits.
pub fn interval(mean: f64, low: f64, high: f64) -> String {
    if !mean.is_finite() {
        return "n/a".into();
    }
    format!("{} [{}, {}]", significant(mean, 3), significant(low, 3), significant(high, 3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn significant_digits_survive_rounding_over_a_power_of_ten() {
        let seen = [0.001234, 9.996, 12.34, 123456.0, 1.2e-7, -0.5, 0.0].map(|v| significant(v, 3));
        assert_eq!(seen, ["0.00123", "10.0", "12.3", "123000", "1.20e-7", "-0.500", "0"]);
        assert_eq!(significant(f64::NAN, 3), "n/a");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["", "ratio"], ["a long label", "1"], ["κ", "12.5 (3)"]];
        let text = aligned(&rows.map(|row| row.map(String::from)));
        assert_eq!(
            text,
            "                 ratio\na long label         1\nκ             12.5 (3)\n"
        );
    }

    #[test]
    fn tables_are_quoted_and_aligned() {
        let mut table = Table::new(["name", "value"]);
        table.push(["a, b", "1"]);
        table.push(["say \"x\""]);
        assert_eq!(table.csv(), "name,value\n\"a, b\",1\n\"say \"\"x\"\"\",\n");
        assert!(table.markdown().starts_with("| name | value |\n| --- | ---: |\n| a, b | 1 |\n"));
    }
}
