//! Against a server on this machine that misbehaves on purpose.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::*;
use crate::data::cache;

/// What the server does with one request.
#[derive(Clone, Copy)]
enum Manner {
    /// All from the place asked for.
    Whole,
    /// All from the beginning, whatever is asked for.
    NoRanges,
    /// So many bytes of the promised ones, then the connection closes.
    CutAfter(usize),
    /// So many bytes, then silence.
    StallAfter(usize),
    /// Another file of the same length.
    Wrong,
    /// This status and nothing else.
    Status(u16),
    /// Claims a file larger than any expected.
    Huge,
}

struct Server {
    url: String,
    /// The `Range` header of every request, in order.
    ranges: Arc<Mutex<Vec<String>>>,
}

const SILENCE: Duration = Duration::from_millis(300);
const PATIENCE: Patience =
    Patience { connect: SILENCE, silence: SILENCE, attempts: 2, pause: Duration::from_millis(1) };

fn content() -> Vec<u8> {
    (0..300_000u32).map(|i| (i * 31 % 251) as u8).collect()
}

/// Serves `content()`; request number i is treated in the manner i, later ones in the last.
fn serve(manners: &'static [Manner]) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/set.bin", listener.local_addr().unwrap());
    let ranges = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&ranges);
    std::thread::spawn(move || {
        let count = AtomicUsize::new(0);
        for stream in listener.incoming().map_while(std::io::Result::ok) {
            let manner = manners[count.fetch_add(1, Ordering::Relaxed).min(manners.len() - 1)];
            let log = Arc::clone(&log);
            std::thread::spawn(move || answer(stream, manner, &log));
        }
    });
    Server { url, ranges }
}

fn answer(mut stream: TcpStream, manner: Manner, log: &Mutex<Vec<String>>) {
    let mut range = String::new();
    for line in BufReader::new(stream.try_clone().unwrap()).lines().map_while(std::io::Result::ok) {
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("range: bytes=") {
            range = value.to_owned();
        }
    }
    log.lock().unwrap().push(range.clone());
    let start: usize = range.trim_end_matches('-').parse().unwrap_or(0);
    let mut bytes = content();
    let total = bytes.len();
    let (start, sent) = match manner {
        Manner::NoRanges => (0, total),
        Manner::CutAfter(n) | Manner::StallAfter(n) => (start, (start + n).min(total)),
        Manner::Whole | Manner::Huge | Manner::Status(_) => (start, total),
        Manner::Wrong => {
            bytes.fill(7);
            (start, total)
        }
    };
    let promised = if let Manner::Huge = manner { 1 << 40 } else { total - start };
    let head = match manner {
        Manner::Status(code) => format!("{code} Something\r\nContent-Length: 0\r\n"),
        _ if start > 0 => format!(
            "206 Partial Content\r\nContent-Range: bytes {start}-{}/{total}\r\nContent-Length: {promised}\r\n",
            total - 1
        ),
        _ => format!("200 OK\r\nContent-Length: {promised}\r\n"),
    };
    let _ = stream.write_all(format!("HTTP/1.1 {head}Connection: close\r\n\r\n").as_bytes());
    if !matches!(manner, Manner::Status(_)) {
        let _ = stream.write_all(&bytes[start..sent]);
        let _ = stream.flush();
        if let Manner::StallAfter(_) = manner {
            std::thread::sleep(SILENCE * 4);
        }
    }
}

/// Fetches from the servers into a fresh folder, with `part` already there.
fn fetch(servers: &[&Server], part: &[u8]) -> (Fetched, Option<Vec<u8>>, usize) {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("set.bin");
    if !part.is_empty() {
        fs::write(part_of(&target), part).unwrap();
    }
    let urls: Vec<String> = servers.iter().map(|s| s.url.clone()).collect();
    let expected = cache::sha256_of(&content()[..]).unwrap();
    let check = |path: &Path| {
        let found = cache::sha256_of(File::open(path).unwrap()).unwrap();
        if found == expected { Ok(()) } else { Err(Error::input(format!("SHA-256 {found}"))) }
    };
    let download = Download { urls: &urls, max_bytes: 1 << 20, check: &check };
    let mut last = 0;
    let outcome = download.fetch(&target, PATIENCE, &mut |progress| {
        if let Progress::Bytes { done, .. } = progress {
            last = done;
        }
    });
    let outcome = outcome.unwrap();
    let found = fs::read(&target).ok();
    assert_eq!(
        found.is_some(),
        matches!(outcome, Fetched::InPlace),
        "a file in place exactly if all went well"
    );
    (outcome, found, fs::read_dir(dir.path()).unwrap().count())
}

fn refusals(outcome: Fetched) -> Vec<Refusal> {
    match outcome {
        Fetched::InPlace => panic!("a file came from nowhere"),
        Fetched::Nowhere(refusals) => refusals,
    }
}

fn succeeds(server: &Server, part: &[u8]) {
    let (outcome, found, files) = fetch(&[server], part);
    assert!(matches!(outcome, Fetched::InPlace));
    assert!(found.unwrap() == content(), "other bytes");
    assert_eq!(files, 1, "something was left behind");
}

#[test]
fn a_good_server_is_asked_once() {
    let server = serve(&[Manner::Whole]);
    succeeds(&server, &[]);
    assert_eq!(*server.ranges.lock().unwrap(), [""]);
}

#[test]
fn a_broken_connection_is_continued_where_it_broke() {
    let server = serve(&[Manner::CutAfter(100_000), Manner::CutAfter(50_000), Manner::Whole]);
    succeeds(&server, &[]);
    assert_eq!(*server.ranges.lock().unwrap(), ["", "100000-", "150000-"]);
}

#[test]
fn a_stalled_server_is_left_and_continued() {
    let server = serve(&[Manner::StallAfter(120_000), Manner::Whole]);
    succeeds(&server, &[]);
    assert_eq!(server.ranges.lock().unwrap().len(), 2);
}

#[test]
fn an_earlier_part_is_used() {
    let server = serve(&[Manner::Whole]);
    succeeds(&server, &content()[..200_000]);
    assert_eq!(*server.ranges.lock().unwrap(), ["200000-"]);
    // Complete already: the server has nothing to add.
    succeeds(&serve(&[Manner::Status(416)]), &content());
}

#[test]
fn a_part_of_something_else_is_thrown_away() {
    succeeds(&serve(&[Manner::Whole]), &[9; 1000]);
}

#[test]
fn a_server_without_ranges_starts_again() {
    succeeds(&serve(&[Manner::NoRanges]), &content()[..1000]);
}

#[test]
fn the_next_address_is_tried() {
    let good = serve(&[Manner::Whole]);
    for manners in
        [&[Manner::Wrong][..], &[Manner::Status(404)], &[Manner::Status(503)], &[Manner::Huge]]
    {
        let manners: &'static [Manner] = Box::leak(manners.to_vec().into_boxed_slice());
        let (outcome, found, files) = fetch(&[&serve(manners), &good], &[]);
        assert!(matches!(outcome, Fetched::InPlace));
        assert!(found.unwrap() == content() && files == 1);
    }
}

#[test]
fn a_wrong_file_never_gets_in_place() {
    let (outcome, _, files) = fetch(&[&serve(&[Manner::Wrong])], &[]);
    let refusals = refusals(outcome);
    assert!(refusals[0].why.contains("not the file expected"), "{refusals:?}");
    assert_eq!(files, 0, "a wrong file was kept");
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let gone = Server { url: "http://127.0.0.1:9/set.bin".into(), ranges: Arc::default() };
    let (outcome, ..) = fetch(&[&gone], &[]);
    assert_eq!(refusals(outcome)[0].url, "http://127.0.0.1:9/set.bin");
}

#[test]
fn the_pauses_between_attempts_grow() {
    let server = serve(&[Manner::Status(503)]);
    let dir = tempfile::tempdir().unwrap();
    let urls = [server.url.clone()];
    let download = Download { urls: &urls, max_bytes: 1 << 20, check: &|_| Ok(()) };
    let mut steps = Vec::new();
    let mut note = |progress: Progress<'_>| {
        if let Progress::Step(text) = progress {
            steps.push(text.to_owned());
        }
    };
    let patience = Patience { attempts: 4, ..PATIENCE };
    let outcome = download.fetch(&dir.path().join("set.bin"), patience, &mut note).unwrap();
    assert_eq!(refusals(outcome)[0].why, "the server answers 503");
    assert_eq!(server.ranges.lock().unwrap().len(), 4);
    let again = ["1ms", "2ms", "4ms"].map(|p| format!("the server answers 503; again in {p}"));
    assert_eq!(steps[1..], again);
}
