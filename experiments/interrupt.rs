//! Ctrl-C: the first asks the run to stop at its next step, the second ends the program at once.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use rescom::{Error, Result};
use signal_hook::{consts::SIGINT, iterator::Signals, low_level};

static STOP: AtomicBool = AtomicBool::new(false);

/// Exit code of a program that Ctrl-C stopped.
pub(crate) const EXIT_CODE: u8 = 130;

/// Watches for Ctrl-C and returns the flag that it raises.
pub(crate) fn watch() -> Result<&'static AtomicBool> {
    let failed = |e| Error::run(format!("cannot watch for Ctrl-C: {e}"));
    let mut signals = Signals::new([SIGINT]).map_err(failed)?;
    let wait = move || {
        for _ in signals.forever() {
            if STOP.swap(true, Ordering::SeqCst) {
                // The files are safe: every write is atomic. Destructors do not run, since those of libtorch
                // fail while its threads are at work.
                low_level::exit(i32::from(EXIT_CODE));
            }
            eprintln!("stopping after this step (Ctrl-C again to stop at once)");
        }
    };
    thread::Builder::new().name("interrupt".into()).spawn(wait).map_err(failed)?;
    Ok(&STOP)
}
