//! Loss and gradient of the supervised contrastive loss with respect to similarities and anchors.
//! Peers, to be run on the same machine: benches/peers/numpy_supcon.py and torch_supcon.py, each with
//! the loss as it is written down and with the rearrangement that ours uses.
//!
//! On 2 cores with AVX-512 (AMD EPYC, all three with 2 threads; medians of 6 alternating rounds, ms):
//!
//! | | ours | NumPy | NumPy, rearranged | PyTorch autograd | PyTorch, rearranged |
//! | --- | ---: | ---: | ---: | ---: | ---: |
//! | 256 x 4096 | 2.9 | 9.4 | 6.5 | 10.2 | 6.8 |
//! | 1024 x 4096 | 11.1 | 35.6 | 20.9 | 53 | 27.0 |
//! | 4096 x 16384 | 179 | 445 | 341 | 1324 | 769 |

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ndarray::Array2;
use rand_distr::{Distribution, StandardNormal};
use rescom::contrast::{Temperature, normalize_rows, supcon_gradient};
use rescom::rng::Streams;
use std::hint::black_box;

/// Anchors x keys at D = 128 with 100 classes, as in the peers.
const SIZES: [(usize, usize); 3] = [(256, 4096), (1024, 4096), (4096, 16384)];

fn features(rows: usize, name: &str) -> (Array2<f32>, Vec<usize>) {
    let mut rng = Streams::new(0).stream(name, &[]);
    let mut f: Array2<f64> =
        Array2::from_shape_simple_fn((rows, 128), || StandardNormal.sample(&mut rng));
    normalize_rows(&mut f);
    (f.mapv(|v| v as f32), (0..rows).map(|i| i * 7919 % 100).collect())
}

fn gradient_kernel(c: &mut Criterion) {
    let mut group = c.benchmark_group("supcon_gradient");
    group.sample_size(10);
    let temperature = Temperature::new(0.1).expect("above zero");
    for (m, n) in SIZES {
        let ((anchors, la), (keys, lk)) = (features(m, "anchors"), features(n, "keys"));
        group.throughput(Throughput::Elements((m * n) as u64));
        group.bench_function(BenchmarkId::from_parameter(format!("{m}x{n}")), |b| {
            b.iter(|| {
                let value = supcon_gradient((anchors.view(), &la), (keys.view(), &lk), temperature);
                black_box(value.expect("shapes fit"))
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    // Its plots need a system font.
    config = Criterion::default().without_plots();
    targets = gradient_kernel
}
criterion_main!(benches);
