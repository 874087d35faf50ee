//! Ctrl-C: the first asks the run to stop at its next step, the second ends the program at once.

use std::sync::atomic::{AtomicBool, Ordering};

use rescom::{Error, Result};

static STOP: AtomicBool = AtomicBool::new(false);

/// Exit code of a program that Ctrl-C stopped.
pub(crate) const EXIT_CODE: u8 = 130;

/// Installs the handler and returns the flag that it raises.
pub(crate) fn watch() -> Result<&'static AtomicBool> {
    #[expect(
        clippy::disallowed_methods,
        reason = "main is in a step of libtorch's and cannot return"
    )]
    let handler = || {
        if STOP.swap(true, Ordering::SeqCst) {
            // The files are safe: every write is atomic.
            std::process::exit(i32::from(EXIT_CODE));
        }
        eprintln!("stopping after this step (Ctrl-C again to stop at once)");
    };
    ctrlc::set_handler(handler).map_err(|e| Error::run(format!("cannot watch for Ctrl-C: {e}")))?;
    Ok(&STOP)
}
