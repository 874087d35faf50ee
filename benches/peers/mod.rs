//! The Python programs that benches are measured against: one question per line, one number back.
//! `PEER_PYTHON` names a Python with Pillow and torchvision (default `python3`).

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use rescom::augment::auto;

/// The JPEG file that both sides decode.
pub(crate) const PHOTO: &str = "benches/peers/photo_500x375.jpg";

pub(crate) struct Peer {
    child: Child,
    ask: Option<ChildStdin>,
    answer: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts `benches/peers/NAME` with AutoAugment's policy and `arguments`; none if it cannot run.
    pub(crate) fn start(name: &str, arguments: &[&str]) -> Option<Self> {
        let python = std::env::var("PEER_PYTHON").unwrap_or_else(|_| "python3".into());
        let steps = |[(p1, o1, m1), (p2, o2, m2)]: &[auto::Step; 2]| {
            format!("{p1} {} {m1} {p2} {} {m2}", o1.name(), o2.name())
        };
        let policy: Vec<String> = auto::POLICY.iter().map(steps).collect();
        let mut command = Command::new(python);
        command.arg(format!("benches/peers/{name}")).arg(policy.join(";")).args(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
        let (ask, answer) = (child.stdin.take(), BufReader::new(child.stdout.take()?));
        let mut peer = Self { child, ask, answer };
        match peer.line().filter(|line| !line.is_empty()) {
            Some(versions) => println!("peer: {versions}"),
            None => {
                println!("no peer: no Python with Pillow and torchvision (set PEER_PYTHON)");
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

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
