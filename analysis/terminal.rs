//! Standard output, standard error and arguments, for both programs: what is printed, the exit code,
//! and the one line in which bad usage is answered.

use std::{
    fmt,
    io::{self, Write as _},
    process::ExitCode,
    sync::OnceLock,
    thread,
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

/// Prints on standard error. That it is full or closed is nowhere to be said, and no reason to stop.
pub(crate) fn say(text: fmt::Arguments<'_>) {
    let _ = io::stderr().lock().write_fmt(text);
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
        (Ok(_), None) if json_is_lost() => Err(Error::run(
            "cannot write to standard output: it is closed, and --json prints there",
        )),
        (done, _) => done,
    };
    done.unwrap_or_else(|e| {
        say(format_args!("error: {}\n", shortened(&e.to_string())));
        ExitCode::from(e.exit_code())
    })
}

/// Whether `--json` was asked for and standard output was closed (`>&-`). Before `main`, Rust opens
/// /dev/null in the place of a closed one, for reading too; a shell that is told `>/dev/null` opens it
/// for writing alone. Elsewhere than on Linux nothing tells.
fn json_is_lost() -> bool {
    let place = std::fs::read_link("/proc/self/fd/1");
    let about = std::fs::read_to_string("/proc/self/fdinfo/1").unwrap_or_default();
    let flags = about.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|octal| u32::from_str_radix(octal.trim(), 8).ok());
    let read_and_write = flags.is_some_and(|flags| flags & 3 == 2);
    let asked = std::env::args_os().any(|word| word == "--json");
    asked && read_and_write && place.is_ok_and(|place| place.as_os_str() == "/dev/null")
}

/// What arguments that do not fit are answered with: their fault in one line, with `hint` behind it, and
/// exit code 2; help and version as they are.
pub(crate) fn usage(e: &clap::Error, hint: &str) -> ExitCode {
    use clap::error::ErrorKind;
    let code = ExitCode::from(u8::try_from(e.exit_code()).unwrap_or(2));
    let asked = matches!(
        e.kind(),
        ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    );
    if asked {
        return match e.print() {
            Err(refused) if !e.use_stderr() => {
                let _ = REFUSED.set(refused);
                finish(Ok(code))
            }
            _ => finish(Ok(code)),
        };
    }
    // Fault and tips come first, then how the command is used, which --help says as well.
    let text = e.to_string();
    let fault = text.split("\nUsage:").next().unwrap_or(&text);
    let fault = fault.split("\nFor more information").next().unwrap_or(fault);
    // What clap takes for a similar argument is not what the hint means.
    let fault =
        if hint.is_empty() { fault } else { fault.split("\n  tip:").next().unwrap_or(fault) };
    let words: Vec<&str> = fault.split_whitespace().collect();
    say(format_args!(
        "{}{hint}; --help shows how the command is used\n",
        shortened(&words.join(" "))
    ));
    code
}

/// The words of this command as text; what is no UTF-8 in them is replaced.
pub(crate) fn words() -> Vec<String> {
    std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect()
}

/// Characters of one word of an error that are shown: a value that was given may be of any length.
const LONGEST: usize = 200;

/// `text` with its overlong words cut in their middle.
fn shortened(text: &str) -> String {
    let cut = |word: &str| {
        let all: Vec<char> = word.chars().collect();
        if all.len() <= LONGEST {
            return word.to_owned();
        }
        let (front, end) = (&all[..LONGEST / 2], &all[all.len() - LONGEST / 2..]);
        front.iter().chain(&['.', '.', '.']).chain(end).collect()
    };
    text.split(' ').map(cut).collect::<Vec<_>>().join(" ")
}

/// Threads of each core beyond which more only stand in each other's way.
const MOST_PER_CORE: usize = 4;

/// The number of threads that `--threads` asks for, capped; a word on standard error where it was.
///
/// # Errors
/// [`Error::Input`] for 0.
pub(crate) fn threads(asked: usize) -> Result<usize> {
    if asked == 0 {
        return Err(Error::input("--threads 0: expected at least 1"));
    }
    let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let most = MOST_PER_CORE * cores;
    if asked > most {
        say(format_args!(
            "note: --threads {asked}: {most} are used, {MOST_PER_CORE} for each core of this machine\n"
        ));
    }
    Ok(asked.min(most))
}

/// Writes shell completions of a program to standard output.
pub(crate) fn completions(shell: clap_complete::Shell, mut program: clap::Command) {
    let mut text = Vec::new();
    let name = program.get_name().to_owned();
    clap_complete::generate(shell, &mut program, name, &mut text);
    print(format_args!("{}", String::from_utf8_lossy(&text)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overlong_word_keeps_its_front_and_its_end() {
        let long = shortened(&format!("--set k={}: expected a number", "9".repeat(5000)));
        assert!(long.len() < 300, "{long}");
        assert!(long.starts_with("--set k=999") && long.ends_with("999: expected a number"));
        assert_eq!(shortened("as it  is"), "as it  is");
    }
}
