//! Damaged files over every reader, by plain seeded mutation: `make fuzz` reads a million of them, every
//! `cargo test` a small share. A reader may take what it is given or refuse it in one line that names the
//! file, with exit code 2; it may neither panic nor take memory without bound.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rand::RngExt as _;
use rescom::{Error, rng::Streams};

use crate::readers::{File, Reader, all};

/// Threads that read at once.
const THREADS: u64 = 2;
/// What a reader may add to the memory of the process while [`THREADS`] read at once. No whole file here
/// needs more than 1 MiB.
const MAX_MIB: u64 = 64;

/// What became of the damaged inputs of one reader.
#[derive(Default)]
struct Outcome {
    inputs: u64,
    accepted: u64,
    refused: u64,
    panics: u64,
    slowest: Duration,
    /// One line for each input that met a panic or a bad refusal.
    faults: Vec<String>,
}

/// Values at which sizes, signs and characters turn.
const EDGES: [u64; 12] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    1 << 40,
    i64::MAX as u64,
    u64::MAX,
];

/// Words that text formats trip over.
const WORDS: [&str; 16] = [
    "-1",
    "0",
    "1e999",
    "-0.0",
    "NaN",
    "inf",
    "null",
    "true",
    "18446744073709551616",
    "99999999999",
    "\"\"",
    "[",
    "{",
    "\u{feff}",
    "\r\n",
    "../",
];

/// One to four changes drawn from `rng`; half of them in the first 256 bytes, where the headers are.
fn damaged(whole: &[u8], rng: &mut rescom::rng::Rng) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for _ in 0..rng.random_range(1..=4) {
        let reach = if rng.random() { bytes.len().min(256) } else { bytes.len() };
        let at = rng.random_range(0..=reach);
        let length = rng.random_range(0..=(bytes.len() - at).min(64));
        match rng.random_range(0..10) {
            0 => bytes.truncate(at),
            1 if at < bytes.len() => bytes[at] = rng.random(),
            2 if at < bytes.len() => bytes[at] ^= 1 << rng.random_range(0..8),
            3 => {
                let edge = EDGES[rng.random_range(0..EDGES.len())];
                let width = [1, 2, 4, 8][rng.random_range(0..4)];
                let (little, big) = (edge.to_le_bytes(), edge.to_be_bytes());
                let value = if rng.random() { &little[..width] } else { &big[8 - width..] };
                let end = (at + width).min(bytes.len());
                bytes[at..end].copy_from_slice(&value[..end - at]);
            }
            4 => drop(bytes.drain(at..at + length)),
            5 => {
                let copy = bytes[at..at + length].to_vec();
                let to = rng.random_range(0..=bytes.len());
                bytes.splice(to..to, copy);
            }
            6 => {
                let noise: Vec<u8> = (0..length).map(|_| rng.random()).collect();
                bytes.splice(at..at + length, noise);
            }
            7 => {
                // A number or word in place of the next number.
                let digits = |b: &u8| b.is_ascii_digit();
                let start = bytes[at..].iter().position(digits).map_or(at, |n| at + n);
                let count = bytes[start..].iter().take_while(|b| digits(b)).count();
                let word = WORDS[rng.random_range(0..WORDS.len())];
                bytes.splice(start..start + count, word.bytes());
            }
            8 => {
                let more = rng.random_range(1..40);
                bytes.extend((0..more).map(|_| rng.random::<u8>()));
            }
            _ => {
                let word = WORDS[rng.random_range(0..WORDS.len())];
                bytes.splice(at..at, word.bytes());
            }
        }
    }
    bytes
}

/// Reads the inputs `first`, `first + THREADS` and so on of `reader` until `cases` or the deadline.
fn read_all(reader: &Reader, seed: u64, first: u64, cases: u64, deadline: Instant) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let mut outcome = Outcome::default();
    reader.write(folder.path());
    for which in 0..reader.files.len() {
        // The inputs are damaged versions of files that are read.
        (reader.read)(folder.path(), which).unwrap_or_else(|e| panic!("{}: {e}", reader.name));
    }
    let streams = Streams::new(seed);
    for number in (first..cases).step_by(THREADS as usize) {
        if Instant::now() >= deadline {
            break;
        }
        let mut rng = streams.stream(reader.name, &[number]);
        let which = rng.random_range(0..reader.files.len());
        let file = &reader.files[which];
        let mut bytes = damaged(&file.bytes, &mut rng);
        if let Some(mend) = reader.mend.filter(|_| rng.random()) {
            mend(&mut bytes);
        }
        let path = folder.path().join(&file.name);
        fs::write(&path, &bytes).unwrap();
        let began = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| (reader.read)(folder.path(), which)));
        outcome.slowest = outcome.slowest.max(began.elapsed());
        fs::write(&path, &file.bytes).unwrap();
        outcome.inputs += 1;
        let fault = match result {
            Ok(Ok(())) => {
                outcome.accepted += 1;
                continue;
            }
            Ok(Err(e)) => {
                outcome.refused += 1;
                let Some(fault) = bad_refusal(&e, reader) else { continue };
                fault
            }
            Err(_) => {
                outcome.panics += 1;
                "panic".to_owned()
            }
        };
        if outcome.faults.len() < 5 {
            let saved = save(reader, seed, number, &bytes);
            outcome.faults.push(format!(
                "{}, seed {seed}, input {number} ({}): {fault}; kept as {}",
                reader.name,
                file.name,
                saved.display()
            ));
        }
    }
    outcome
}

/// What is wrong with a refusal: no short line without control characters, another exit code than 2, no file
/// named.
fn bad_refusal(e: &Error, reader: &Reader) -> Option<String> {
    let said = e.to_string();
    let name =
        |file: &File| Path::new(&file.name).file_stem().unwrap().to_str().unwrap().to_owned();
    let named = reader.files.iter().any(|file| said.contains(&name(file)));
    let readable = said.chars().count() <= 1000 && !said.contains(char::is_control);
    if e.exit_code() == 2 && readable && named {
        return None;
    }
    Some(format!("exit code {}, {said:?}", e.exit_code()))
}

fn save(reader: &Reader, seed: u64, number: u64, bytes: &[u8]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join(format!("{}-{seed}-{number}", reader.name.replace(' ', "-")));
    fs::write(&path, bytes).unwrap();
    path
}

/// A line of `/proc/self/status` in KiB; 0 where there is none.
fn memory(key: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    line.and_then(|l| l.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// All readers with `cases` inputs each, in the order of their names. Prints the table; returns the faults.
fn fuzz(cases: u64, seed: u64, limit: Duration) -> Vec<String> {
    let readers = all();
    let mut faults = Vec::new();
    println!(
        "{cases} inputs a reader, seed {seed}, {THREADS} threads, at most {} s",
        limit.as_secs()
    );
    println!(
        "{:<14} {:>9} {:>9} {:>9} {:>7} {:>12} {:>11} {:>10}",
        "reader", "inputs", "accepted", "refused", "panics", "slowest/ms", "VmHWM/MiB", "added/MiB"
    );
    let began = Instant::now();
    let mut inputs = 0;
    for (at, reader) in readers.iter().enumerate() {
        // The peak begins anew where the kernel allows it.
        let _ = fs::write("/proc/self/clear_refs", "5");
        let before = memory("VmRSS");
        // What is left of the time is shared by the readers that are left.
        let left = limit.saturating_sub(began.elapsed()) / (readers.len() - at) as u32;
        let deadline = Instant::now() + left;
        let outcomes: Vec<Outcome> = std::thread::scope(|scope| {
            let start = |first| scope.spawn(move || read_all(reader, seed, first, cases, deadline));
            let threads: Vec<_> = (0..THREADS).map(start).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let sum = |of: fn(&Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
        let (peak, slowest) =
            (memory("VmHWM"), outcomes.iter().map(|o| o.slowest).max().unwrap_or_default());
        let added = peak.saturating_sub(before) / 1024;
        inputs += sum(|o| o.inputs);
        println!(
            "{:<14} {:>9} {:>9} {:>9} {:>7} {:>12} {:>11} {:>10}",
            reader.name,
            sum(|o| o.inputs),
            sum(|o| o.accepted),
            sum(|o| o.refused),
            sum(|o| o.panics),
            slowest.as_millis(),
            peak / 1024,
            added
        );
        if added > MAX_MIB {
            faults.push(format!("{}: {added} MiB taken, at most {MAX_MIB} are", reader.name));
        }
        faults.extend(outcomes.into_iter().flat_map(|o| o.faults));
    }
    println!(
        "{inputs} inputs in {:.0} s; no input added more than the last column, which {THREADS} readers shared",
        began.elapsed().as_secs_f64()
    );
    faults
}

fn environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

#[test]
fn a_share_of_the_damaged_files_is_taken_or_refused() {
    let faults = fuzz(60, 1, Duration::from_secs(60));
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// `make fuzz CASES=... SEED=... MINUTES=...`.
#[test]
#[ignore = "a million inputs, many minutes: make fuzz"]
fn a_million_damaged_files_are_taken_or_refused() {
    let cases = environment("FUZZ_CASES", 1_000_000).div_ceil(all().len() as u64);
    let limit = Duration::from_secs(60 * environment("FUZZ_MINUTES", 60));
    let faults = fuzz(cases, environment("FUZZ_SEED", 1), limit);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_panic_and_a_bad_refusal_are_faults() {
    let faults = |name, fault: fn() -> Error| {
        let read = move |folder: &Path, _| {
            let whole = fs::read(folder.join("x.bin")).unwrap() == [7; 9];
            if whole { Ok(()) } else { Err(fault()) }
        };
        let files = vec![File { name: "x.bin".into(), bytes: vec![7; 9] }];
        let reader = Reader { name, files, others: Vec::new(), mend: None, read: Box::new(read) };
        read_all(&reader, 1, 0, 20, Instant::now() + Duration::from_secs(60))
    };
    let good = faults("refusing", || Error::input("x.bin: damaged"));
    assert_eq!((good.refused, good.faults.len()), (good.inputs - good.accepted, 0));
    assert!(good.inputs == 10 && good.refused > 0);
    for fault in [|| Error::input("damaged"), || Error::run("x.bin"), || Error::input("x.bin\n")] {
        assert!(!faults("ill-mannered", fault).faults.is_empty());
    }
    let panics = faults("panicking", || panic!("a test of what notices a panic"));
    assert!(panics.panics > 0 && panics.panics == panics.inputs - panics.accepted);
    assert!(panics.faults[0].contains("seed 1, input "), "{:?}", panics.faults);
}
