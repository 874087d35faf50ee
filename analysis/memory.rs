//! Memory that a study would take, compared with what the machine has before any of it is taken.

use rescom::{Error, Result};

/// Taken for the machine's memory where the system does not tell: 1 TiB.
const UNKNOWN: f64 = (1_u64 << 40) as f64;

/// Fails unless the machine has `bytes` of memory; `asked` is what takes them, as it is typed.
///
/// # Errors
/// [`Error::Input`] with both numbers.
pub(crate) fn enough_for(bytes: f64, asked: &str) -> Result<()> {
    let there = of_machine();
    if bytes <= there {
        return Ok(());
    }
    Err(Error::input(format!(
        "{asked}: about {bytes:.3e} bytes of memory needed, {there:.3e} are there; lower the largest of these"
    )))
}

/// Bytes of memory (Linux).
fn of_machine() -> f64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kilobytes = line.and_then(|l| l.split_whitespace().next()?.parse::<f64>().ok());
    kilobytes.map_or(UNKNOWN, |kb| kb * 1024.0)
}
