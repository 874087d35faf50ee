//! Standard output and arguments, for both programs: what is printed, the exit code, and the one line
//! in which bad usage is answered.

use std::{
    fmt,
    io::{self, Write as _},
    process::ExitCode,
    sync::OnceLock,
};

use rescom::{Error, Result};

/// The first thing that standard output refused.
static REFUSED: OnceLock<io::Error> = OnceLock::new();

/// Prints. What goes wrong is said at the end, by [`finish`]: a sweep does not stop for it.
pub(crate) fn print(text: fmt::Arguments<'_>) {
    if let Err(e) = io::stdout().lock().write_fmt(text) {
        // The first one counts.
        let _ = REFUSED.set(e);
    }
}

/// The exit code of a command, whose error is said in one line. A reader of standard output that has
/// left (`| head`) is no error.
pub(crate) fn finish(done: Result<ExitCode>) -> ExitCode {
    if let Err(e) = io::stdout().flush() {
        let _ = REFUSED.set(e);
    }
    let refused = REFUSED.get().filter(|e| e.kind() != io::ErrorKind::BrokenPipe);
    let done = match (done, refused) {
        (Ok(_), Some(e)) => Err(Error::run(format!("cannot write to standard output: {e}"))),
        (done, _) => done,
    };
    done.unwrap_or_else(|e| {
        eprintln!("error: {e}");
        ExitCode::from(e.exit_code())
    })
}

/// What arguments that do not fit are answered with: their fault in one line and exit code 2; help and
/// version as they are.
pub(crate) fn usage(e: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind;
    let asked = matches!(
        e.kind(),
        ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    );
    if asked {
        let _ = e.print();
    } else {
        // Fault and tips come first, then how the command is used, which --help says as well.
        let text = e.to_string();
        let fault = text.split("\nUsage:").next().unwrap_or(&text);
        let fault = fault.split("\nFor more information").next().unwrap_or(fault);
        let words: Vec<&str> = fault.split_whitespace().collect();
        eprintln!("{}; --help shows how the command is used", words.join(" "));
    }
    ExitCode::from(u8::try_from(e.exit_code()).unwrap_or(2))
}
