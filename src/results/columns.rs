use polars::prelude::*;

use crate::{Error, Result};

/// An error of polars as one of ours: a query that does not fit its frame is our fault.
#[allow(clippy::needless_pass_by_value, reason = "it is what `map_err` calls")]
pub(super) fn failed(e: PolarsError) -> Error {
    Error::run(format!("tables of results: {e}"))
}

/// Columns of a frame as vectors, one entry a row.
pub trait Columns {
    /// Texts; an empty one where there is none.
    ///
    /// # Errors
    /// As of all here: [`Error::Run`] if there is no such column, or one of another type.
    fn texts(&self, name: &str) -> Result<Vec<String>>;

    /// Whole numbers.
    ///
    /// # Errors
    /// As [`texts`](Self::texts).
    fn counts(&self, name: &str) -> Result<Vec<Option<u64>>>;

    /// Floats.
    ///
    /// # Errors
    /// As [`texts`](Self::texts).
    fn numbers(&self, name: &str) -> Result<Vec<Option<f64>>>;

    /// Yes or no; no where nothing stands.
    ///
    /// # Errors
    /// As [`texts`](Self::texts).
    fn flags(&self, name: &str) -> Result<Vec<bool>>;

    /// Lists of floats in their order, without what is missing in them.
    ///
    /// # Errors
    /// As [`texts`](Self::texts).
    fn lists(&self, name: &str) -> Result<Vec<Vec<f64>>>;
}

impl Columns for DataFrame {
    fn texts(&self, name: &str) -> Result<Vec<String>> {
        let column = self.column(name).and_then(|c| c.str()).map_err(failed)?;
        Ok(column.iter().map(|t| t.unwrap_or_default().to_owned()).collect())
    }

    fn counts(&self, name: &str) -> Result<Vec<Option<u64>>> {
        Ok(self.column(name).and_then(|c| c.u64()).map_err(failed)?.iter().collect())
    }

    fn numbers(&self, name: &str) -> Result<Vec<Option<f64>>> {
        Ok(self.column(name).and_then(|c| c.f64()).map_err(failed)?.iter().collect())
    }

    fn flags(&self, name: &str) -> Result<Vec<bool>> {
        let column = self.column(name).and_then(|c| c.bool()).map_err(failed)?;
        Ok(column.iter().map(|flag| flag == Some(true)).collect())
    }

    fn lists(&self, name: &str) -> Result<Vec<Vec<f64>>> {
        let column = self.column(name).and_then(|c| c.list()).map_err(failed)?;
        let mut lists = Vec::with_capacity(column.len());
        for row in column.amortized_iter() {
            lists.push(match row {
                Some(row) => row.as_ref().f64().map_err(failed)?.iter().flatten().collect(),
                None => Vec::new(),
            });
        }
        Ok(lists)
    }
}
