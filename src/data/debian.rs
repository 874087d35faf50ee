//! Data sets from Debian packages, without root: fetched and unpacked by apt's own tools.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Progress;
use crate::{Error, Result};

/// Fetches `package` with apt and unpacks it below `dir`. Uses the system's package lists and, where
/// those are missing or stale, lists of its own in `dir`.
///
/// # Errors
/// [`Error::Run`] saying which step failed and what apt said last.
pub(super) fn fetch(
    package: &str,
    dir: &Path,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<()> {
    if !available() {
        return Err(Error::run("apt-get and dpkg-deb are not here (not a Debian-like system)"));
    }
    progress(Progress::Step(&format!("fetching Debian package {package} with apt-get")));
    if let Err(first) = download(package, dir, &[]) {
        let lists = own_lists(dir)?;
        progress(Progress::Step("apt's package lists are missing or stale: fetching fresh ones"));
        run(apt(dir).args(&lists).arg("update")).map_err(|second| {
            Error::run(format!(
                "apt-get download {package} failed ({first}), and so did apt-get update ({second}); \
                 run `apt-get update` as root, or install the package with `apt-get install {package}`"
            ))
        })?;
        progress(Progress::Step(&format!("fetching Debian package {package} with apt-get")));
        download(package, dir, &lists).map_err(|second| {
            Error::run(format!(
                "apt-get download {package} failed ({second}); is the package in your sources?"
            ))
        })?;
    }
    progress(Progress::Step(&format!("unpacking Debian package {package}")));
    let deb = only_deb(dir)?;
    run(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(dir.join("root")))
        .map_err(|e| Error::run(format!("dpkg-deb -x {} failed ({e})", deb.display())))
}

/// True where apt and dpkg exist.
pub(super) fn available() -> bool {
    let there = |tool| {
        let found = Command::new(tool)
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        found.is_ok_and(|status| status.success())
    };
    there("apt-get") && there("dpkg-deb")
}

fn apt(dir: &Path) -> Command {
    let mut command = Command::new("apt-get");
    // A stalled mirror must not hold a report up for minutes.
    command.current_dir(dir).args([
        "-q",
        "-o",
        "Acquire::Retries=2",
        "-o",
        "Acquire::http::Timeout=20",
    ]);
    command.args(["-o", "Acquire::https::Timeout=20", "-o", "APT::Sandbox::User=root"]);
    command
}

fn download(package: &str, dir: &Path, options: &[String]) -> Result<(), String> {
    run(apt(dir).args(options).args(["download", package]))
}

/// Options that keep apt's lists and caches in a folder of ours.
fn own_lists(dir: &Path) -> Result<Vec<String>> {
    let (lists, cache) = (dir.join("apt-lists"), dir.join("apt-cache"));
    for folder in [lists.join("partial"), cache.join("archives/partial")] {
        std::fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
    }
    Ok(vec![
        "-o".into(),
        format!("Dir::State::Lists={}", lists.display()),
        "-o".into(),
        format!("Dir::Cache={}", cache.display()),
    ])
}

/// Runs to the end; on failure the last line that says something.
fn run(command: &mut Command) -> Result<(), String> {
    let output =
        command.env("LC_ALL", "C").stdin(Stdio::null()).output().map_err(|e| e.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let last = text.lines().rfind(|line| line.starts_with("E:")).or(text.lines().last());
    Err(last.unwrap_or("no message").trim().to_owned())
}

fn only_deb(dir: &Path) -> Result<PathBuf> {
    let entries = std::fs::read_dir(dir).map_err(Error::io("read", dir))?;
    let mut debs =
        entries.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|x| x == "deb"));
    debs.next().ok_or_else(|| Error::run(format!("apt-get left no package in {}", dir.display())))
}
