//! Files from the web: resumed where they broke off, checked, and in place as a whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ureq::http::header::{CONTENT_LENGTH, CONTENT_RANGE};

use super::Progress;
use super::refusal::{Fetched, Refusal};
use crate::{Error, Result};

/// A file that is to be had at several addresses.
pub(super) struct Download<'a> {
    /// Addresses, tried in this order.
    pub(super) urls: &'a [String],
    /// Larger files are refused.
    pub(super) max_bytes: u64,
    /// Says what is wrong with a complete file, if anything.
    pub(super) check: &'a dyn Fn(&Path) -> Result<()>,
}

/// How patient a download is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// For a connection.
    pub(super) connect: Duration,
    /// For an answer, and between two pieces of the body.
    pub(super) silence: Duration,
    /// Attempts per address that bring no new byte before the next address is tried.
    pub(super) attempts: u32,
    /// Before the second such attempt; before every further one twice as long.
    pub(super) pause: Duration,
}

impl Patience {
    pub(super) const USUAL: Self = Self {
        connect: Duration::from_secs(10),
        silence: Duration::from_secs(30),
        attempts: 3,
        pause: Duration::from_secs(1),
    };

    /// Attempts at an address of which nothing is heard at all: where a firewall drops every packet, each
    /// costs the whole of `connect`.
    const UNANSWERED: u32 = 2;
}

/// The part, locked: two processes that want the same file take turns.
fn open_locked(part: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    loop {
        let file = options.open(part).map_err(Error::io("create", part))?;
        file.lock().map_err(Error::io("lock", part))?;
        // Who was first may meanwhile have put what this was in its place.
        if part.exists() {
            return Ok(file);
        }
    }
}

/// Why an attempt ended.
enum Failure {
    /// Nothing answered; trying again may help.
    Unanswered(String),
    /// Trying again at this address may help.
    Passing(String),
    /// It will not.
    Final(String),
}

impl Download<'_> {
    /// Fetches to `target`, by way of `target.part`; a part left by an earlier call is continued.
    ///
    /// # Errors
    /// [`Error::Io`] if the disk refuses.
    pub(super) fn fetch(
        &self,
        target: &Path,
        patience: Patience,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Fetched> {
        if self.urls.is_empty() {
            return Ok(Fetched::Nowhere(Vec::new()));
        }
        let part = part_of(target);
        if let Some(dir) = target.parent() {
            fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
        }
        let mut file = open_locked(&part)?;
        if target.is_file() && (self.check)(target).is_ok() {
            let _ = fs::remove_file(&part);
            return Ok(Fetched::InPlace);
        }
        let mut refusals = Vec::new();
        for url in self.urls {
            progress(Progress::Step(&format!("fetching {url}")));
            match self.from(url, &mut file, &part, patience, progress) {
                Ok(()) => {
                    file.sync_all().map_err(Error::io("write", &part))?;
                    fs::rename(&part, target).map_err(Error::io("create", target))?;
                    return Ok(Fetched::InPlace);
                }
                Err(Failure::Unanswered(why) | Failure::Passing(why) | Failure::Final(why)) => {
                    refusals.push(Refusal { url: url.clone(), why });
                }
            }
        }
        if file.metadata().is_ok_and(|m| m.len() == 0) {
            let _ = fs::remove_file(&part);
        }
        Ok(Fetched::Nowhere(refusals))
    }

    /// Everything from one address, in as many attempts as bring something new.
    fn from(
        &self,
        url: &str,
        file: &mut File,
        part: &Path,
        patience: Patience,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(), Failure> {
        let mut fruitless = 0;
        let mut restarted = false;
        loop {
            let before = length(file)?;
            let ended = self.attempt(url, file, patience, progress);
            match ended {
                Ok(()) => match (self.check)(part) {
                    Ok(()) => return Ok(()),
                    Err(e) => {
                        empty(file)?;
                        // What a part of another file was continued to says nothing about this one.
                        if before == 0 || restarted {
                            return Err(Failure::Final(format!("not the file expected: {e}")));
                        }
                        restarted = true;
                    }
                },
                Err(Failure::Final(why)) => return Err(Failure::Final(why)),
                Err(Failure::Unanswered(why)) => {
                    fruitless += 1;
                    if fruitless >= patience.attempts.min(Patience::UNANSWERED) {
                        return Err(Failure::Unanswered(why));
                    }
                    wait(&why, fruitless, patience, progress);
                }
                Err(Failure::Passing(why)) => {
                    fruitless = if length(file)? > before { 0 } else { fruitless + 1 };
                    if fruitless >= patience.attempts {
                        return Err(Failure::Passing(why));
                    }
                    wait(&why, fruitless, patience, progress);
                }
            }
        }
    }

    /// One request; what arrives is appended to the part.
    fn attempt(
        &self,
        url: &str,
        file: &mut File,
        patience: Patience,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(), Failure> {
        let have = length(file)?;
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .timeout_connect(Some(patience.connect))
            .timeout_recv_response(Some(patience.silence))
            .timeout_per_read(Some(patience.silence))
            .http_status_as_error(false)
            .build()
            .into();
        // "identity": a file that is itself compressed must arrive as it is.
        let mut request = agent.get(url).header("Accept-Encoding", "identity");
        if have > 0 {
            request = request.header("Range", format!("bytes={have}-"));
        }
        let response = request.call().map_err(|e| Failure::Unanswered(e.to_string()))?;
        let header = |name| response.headers().get(name).and_then(|v| v.to_str().ok());
        let start = match response.status().as_u16() {
            200 => 0,
            206 => range_start(header(CONTENT_RANGE)).filter(|&start| start == have).ok_or_else(
                || Failure::Final("the server continued at another place than asked".into()),
            )?,
            // Nothing after what is here already: the check decides.
            416 if have > 0 => return Ok(()),
            status @ (408 | 429 | 500..=599) => {
                return Err(Failure::Passing(format!("the server answers {status}")));
            }
            status => return Err(Failure::Final(format!("the server answers {status}"))),
        };
        let coming = header(CONTENT_LENGTH).and_then(|text| text.parse::<u64>().ok());
        let total = coming.map(|coming| start + coming);
        if total.is_some_and(|total| total > self.max_bytes) {
            return Err(Failure::Final(format!(
                "the server offers {} bytes, expected at most {}",
                total.unwrap_or(0),
                self.max_bytes
            )));
        }
        file.set_len(start).map_err(disk)?;
        file.seek(SeekFrom::Start(start)).map_err(disk)?;
        self.receive(response.into_body().into_reader(), file, (start, total), progress)
    }

    fn receive(
        &self,
        mut body: impl Read,
        file: &mut File,
        (start, total): (u64, Option<u64>),
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(), Failure> {
        let mut done = start;
        let mut block = vec![0; 1 << 16];
        loop {
            progress(Progress::Bytes { done, total });
            let n = match body.read(&mut block) {
                Ok(n) => n,
                Err(e) => {
                    return Err(Failure::Passing(format!("broke off after {done} bytes ({e})")));
                }
            };
            if n == 0 {
                break;
            }
            done += n as u64;
            if done > self.max_bytes {
                return Err(Failure::Final(format!("more than {} bytes", self.max_bytes)));
            }
            file.write_all(&block[..n]).map_err(disk)?;
        }
        match total {
            Some(total) if done < total => {
                Err(Failure::Passing(format!("broke off after {done} of {total} bytes")))
            }
            _ => Ok(()),
        }
    }
}

/// Lets a server or a network come back: twice as long after every fruitless attempt.
fn wait(why: &str, fruitless: u32, patience: Patience, progress: &mut dyn FnMut(Progress<'_>)) {
    let Some(doublings) = fruitless.checked_sub(1) else { return };
    let pause = patience.pause * 2u32.pow(doublings);
    progress(Progress::Step(&format!("{why}; again in {pause:?}")));
    std::thread::sleep(pause);
}

fn part_of(target: &Path) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    target.with_file_name(name)
}

fn length(file: &File) -> Result<u64, Failure> {
    file.metadata().map(|m| m.len()).map_err(disk)
}

fn empty(file: &mut File) -> Result<(), Failure> {
    file.set_len(0).and_then(|()| file.seek(SeekFrom::Start(0)).map(|_| ())).map_err(disk)
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn disk(e: std::io::Error) -> Failure {
    Failure::Final(format!("the disk refuses: {e}"))
}

/// N of `bytes N-...`.
fn range_start(header: Option<&str>) -> Option<u64> {
    header?.trim().strip_prefix("bytes ")?.split('-').next()?.parse().ok()
}

#[cfg(test)]
mod tests;
