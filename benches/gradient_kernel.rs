//! Loss and gradient of the supervised contrastive loss with respect to similarities and anchors, beside
//! NumPy and PyTorch autograd in the same run, round by round in turn, all with all cores. Each peer does it
//! with the loss as it is written down and with the rearrangement that ours uses.
//!
//! `cargo bench --bench gradient_kernel`; for the peers see `benches/peers/mod.rs`.
//!
//! On 2 cores with AVX-512 (AMD EPYC; medians of 6 rounds, ms):
//!
//! | | ours | NumPy | NumPy, rearranged | PyTorch autograd | PyTorch, rearranged |
//! | --- | ---: | ---: | ---: | ---: | ---: |
//! | 256 x 4096 | 2.9 | 9.4 | 6.5 | 10.2 | 6.8 |
//! | 1024 x 4096 | 11.1 | 35.6 | 20.9 | 53 | 27.0 |
//! | 4096 x 16384 | 179 | 445 | 341 | 1324 | 769 |

use ndarray::Array2;
use rand_distr::{Distribution, StandardNormal};
use rescom::contrast::{Temperature, normalize_rows, supcon_gradient};
use rescom::rng::Streams;
use std::hint::black_box;

mod peers;

use peers::{Peer, calls_per_second, in_turn};

/// Anchors x keys at D = 128 with 100 classes, as in the peers.
const SIZES: [(usize, usize); 3] = [(256, 4096), (1024, 4096), (4096, 16384)];
const ROUNDS: usize = 6;

fn features(rows: usize, name: &str) -> (Array2<f32>, Vec<usize>) {
    let mut rng = Streams::new(0).stream(name, &[]);
    let mut f: Array2<f64> =
        Array2::from_shape_simple_fn((rows, 128), || StandardNormal.sample(&mut rng));
    normalize_rows(&mut f);
    (f.mapv(|v| v as f32), (0..rows).map(|i| i * 7919 % 100).collect())
}

fn main() {
    let temperature = Temperature::new(0.1).expect("above zero");
    println!("median of {ROUNDS} rounds, ms; in brackets how many times as long as ours");
    for (m, n) in SIZES {
        let ((anchors, la), (keys, lk)) = (features(m, "anchors"), features(n, "keys"));
        let work = || {
            let value = supcon_gradient((anchors.view(), &la), (keys.view(), &lk), temperature);
            black_box(value.expect("shapes fit"));
        };
        // A process of its own per way, so that none keeps another's memory or threads.
        let ways = [("numpy_supcon.py", "NumPy"), ("torch_supcon.py", "PyTorch")];
        let mut peers = Vec::new();
        let mut names = Vec::new();
        for (script, name) in ways {
            for (way, words) in [("mask", ""), ("means", ", rearranged")] {
                names.push(format!("{name}{words}"));
                peers.push((Peer::start(script, &[]), format!("{way} {m} {n}")));
            }
        }
        let (ours, theirs) = in_turn(ROUNDS, || calls_per_second(work), &mut peers);
        println!("{m} x {n}: ours {:.2}", 1e3 / ours);
        for (name, rate) in names.iter().zip(theirs) {
            let Some(rate) = rate else { continue };
            println!("{:>24} {:>8.2} ({:.1})", name, 1e3 / rate, ours / rate);
        }
    }
}
