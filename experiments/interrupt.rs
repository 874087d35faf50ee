//! Ctrl-C: the first asks the run to stop at its next step, the second ends the program at once.

use std::sync::atomic::{AtomicBool, Ordering};

use rescom::{Error, Result};

static STOP: AtomicBool = AtomicBool::new(false);

/// Exit code of a program that Ctrl-C stopped.
pub(crate) const EXIT_CODE: u8 = 130;

/// Installs the handler and returns the flag that it raises.
pub(crate) fn watch() -> Result<&'static AtomicBool> {
    ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::SeqCst) {
            // The files are safe: every write is atomic.
            std::process::abort();
        }
        eprintln!("stopping after this step (Ctrl-C again to stop at once)");
    })
    .map_err(|e| Error::run(format!("cannot watch for Ctrl-C: {e}")))?;
    Ok(&STOP)
}
