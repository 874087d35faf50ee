//! Views per second of the whole loader, by the clock on the wall: two views per image, 1 and 2 worker
//! threads, against PyTorch's DataLoader with as many worker processes and the same operations in
//! Pillow and torchvision, round by round in turn. CIFAR-like images come from memory, large ones from
//! a JPEG file that is read and decoded every time.
//!
//! `cargo bench --features train --bench loader`; for the peer see `benches/peers/mod.rs`.
#![allow(clippy::unwrap_used, reason = "a bench: a panic is the report")]

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use rescom::augment::{LargeImages, Layout, Normalize, Pipeline, SmallImages};
use rescom::data::synthetic::Synthetic;
use rescom::data::{BatchOrder, ImageFiles, ImageSource, Loader, LoaderOptions, cifar::Cifar};
use rescom::rng::Streams;

mod peers;

use peers::{Peer, median};

const ROUNDS: usize = 5;
const BATCH: usize = 64;

/// Views per second over one epoch, the start of the threads included.
fn rate<S: ImageSource + 'static>(loader: &Loader<S>, epoch: u64) -> f64 {
    let (start, mut views) = (Instant::now(), 0);
    for batch in loader.epoch(epoch) {
        views += 2 * batch.unwrap().labels.len();
    }
    views as f64 / start.elapsed().as_secs_f64()
}

fn loader<S: ImageSource + 'static>(
    source: &Arc<S>,
    (pipeline, normalize): (Pipeline, Normalize),
    threads: usize,
) -> Loader<S> {
    let options = LoaderOptions {
        batch_size: BATCH,
        views: 2,
        pipeline,
        normalize,
        layout: Layout::Nchw,
        threads,
        prefetch: 2,
        drop_last: true,
        order: BatchOrder::Shuffled,
    };
    let ids: Vec<u32> = (0..source.len() as u32).collect();
    Loader::new(Arc::clone(source), &ids, Streams::new(0), options).unwrap()
}

fn main() {
    let small =
        Synthetic { format: Cifar::Ten, train_per_class: 2_000, test_per_class: 1, seed: 0 };
    let small = Arc::new(small.generate().unwrap().train);
    let list = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(list.path(), format!("{} 0\n", peers::PHOTO).repeat(512)).unwrap();
    let large = Arc::new(ImageFiles::from_list(list.path(), Path::new(""), None).unwrap());

    let mut peer = Peer::start("loader.py", &[&peers::policy(), peers::PHOTO, &BATCH.to_string()]);
    println!("median of {ROUNDS} epochs each");
    println!("{:<32} {:>12} {:>12} {:>8}", "views/s", "ours", "peer", "ratio");
    for threads in [1, 2] {
        let cifar = (Pipeline::Small(SmallImages::CIFAR), Normalize::cifar());
        let imagenet = (Pipeline::Large(LargeImages::reference()), Normalize::imagenet());
        let cifar = loader(&small, cifar, threads);
        let imagenet = loader(&large, imagenet, threads);
        type Epoch<'a> = Box<dyn Fn(u64) -> f64 + 'a>;
        let ours: [(&str, Epoch<'_>); 2] = [
            ("cifar", Box::new(|epoch| rate(&cifar, epoch))),
            ("imagenet", Box::new(|epoch| rate(&imagenet, epoch))),
        ];
        for (name, epoch) in ours {
            let (mut mine, mut theirs) = (Vec::new(), Vec::new());
            epoch(0);
            for round in 1..=ROUNDS {
                mine.push(epoch(round as u64));
                theirs
                    .extend(peer.as_mut().and_then(|peer| peer.rate(&format!("{name} {threads}"))));
            }
            let (title, mine) = (format!("{name}, workers: {threads}"), median(mine));
            match theirs.len() {
                ROUNDS => {
                    let theirs = median(theirs);
                    println!("{title:<32} {mine:>12.0} {theirs:>12.0} {:>8.1}", mine / theirs);
                }
                _ => println!("{title:<32} {mine:>12.0} {:>12} {:>8}", "-", "-"),
            }
        }
    }
}
