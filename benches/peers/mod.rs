//! The Python programs that benches are measured against: one question per line, one number back.
//! `PEER_PYTHON` names a Python with NumPy, Pillow, PyTorch and torchvision (default `python3`).
#![allow(dead_code, reason = "each bench uses a part")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use rescom::augment::auto;

/// The JPEG file that both sides decode.
pub(crate) const PHOTO: &str = "benches/peers/photo_500x375.jpg";

pub(crate) struct Peer {
    child: Child,
    ask: Option<ChildStdin>,
    answer: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts `benches/peers/NAME`; none if it cannot run.
    pub(crate) fn start(name: &str, arguments: &[&str]) -> Option<Self> {
        let python = std::env::var("PEER_PYTHON").unwrap_or_else(|_| "python3".into());
        let mut command = Command::new(&python);
        command.arg(format!("benches/peers/{name}")).args(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
        let (ask, answer) = (child.stdin.take(), BufReader::new(child.stdout.take()?));
        let mut peer = Self { child, ask, answer };
        match peer.line().filter(|line| !line.is_empty()) {
            Some(versions) => println!("peer: {versions}"),
            None => {
                println!(
                    "no peer {name}: {python} lacks what it imports (PEER_PYTHON names another)"
                );
                return None;
            }
        }
        Some(peer)
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        self.answer.read_line(&mut line).ok()?;
        Some(line.trim().to_owned())
    }

    /// What the peer measures for `name`; none if it has no such thing.
    pub(crate) fn rate(&mut self, name: &str) -> Option<f64> {
        writeln!(self.ask.as_mut()?, "{name}").ok()?;
        self.line()?.parse().ok().filter(|rate: &f64| rate.is_finite())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It ends with its input.
        self.ask = None;
        let _ = self.child.wait();
    }
}

/// AutoAugment's policy, as the peers read it.
pub(crate) fn policy() -> String {
    let steps = |[(p1, o1, m1), (p2, o2, m2)]: &[auto::Step; 2]| {
        format!("{p1} {} {m1} {p2} {} {m2}", o1.name(), o2.name())
    };
    auto::POLICY.iter().map(steps).collect::<Vec<_>>().join(";")
}

/// Calls per second: of at least three calls after one that does not count, the median.
pub(crate) fn calls_per_second(mut work: impl FnMut()) -> f64 {
    work();
    let (start, mut seconds) = (Instant::now(), Vec::new());
    while seconds.len() < 3 || start.elapsed().as_secs_f64() < 0.5 {
        let call = Instant::now();
        work();
        seconds.push(call.elapsed().as_secs_f64());
    }
    1.0 / median(seconds)
}

/// Ours and what each of `peers` does for its question, round by round in turn: medians.
pub(crate) fn in_turn(
    rounds: usize,
    mut ours: impl FnMut() -> f64,
    peers: &mut [(Option<Peer>, String)],
) -> (f64, Vec<Option<f64>>) {
    let (mut rates, mut theirs) = (Vec::new(), vec![Vec::new(); peers.len()]);
    for _ in 0..rounds {
        rates.push(ours());
        for ((peer, question), rates) in peers.iter_mut().zip(&mut theirs) {
            rates.extend(peer.as_mut().and_then(|peer| peer.rate(question)));
        }
    }
    let theirs = theirs.into_iter().map(|rates| (rates.len() == rounds).then(|| median(rates)));
    (median(rates), theirs.collect())
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
