use super::*;
use crate::augment::{ImageRef, SmallImages};
use crate::data::ImageSet;

fn source() -> Arc<ImageSet> {
    let images = (0..50 * 64u32).map(|v| (v * 7919 % 251) as u8).collect();
    let labels = (0..50).map(|i| if i < 40 { 0 } else { 1 + i % 2 }).collect();
    let names = ["a", "b", "c"].map(str::to_owned).to_vec();
    Arc::new(ImageSet::new(images, (8, 8, 1), labels, names, "test".into()).unwrap())
}

fn options(threads: usize, order: BatchOrder) -> LoaderOptions {
    LoaderOptions {
        batch_size: 8,
        views: 2,
        pipeline: Pipeline::Small(SmallImages { padding: 2, cutout: 4, ..SmallImages::GREY }),
        normalize: Normalize::new(&[0.5], &[0.25]).unwrap(),
        layout: Layout::Nchw,
        threads,
        prefetch: 2,
        drop_last: true,
        order,
    }
}

fn loader(options: LoaderOptions) -> Loader<ImageSet> {
    let ids: Vec<u32> = (0..50).collect();
    Loader::new(source(), &ids, Streams::new(5), options).unwrap()
}

type Plain = (Vec<f32>, Vec<i64>, Vec<u32>);

fn epoch(loader: &Loader<ImageSet>, number: u64) -> Vec<Plain> {
    let plain = |batch: Result<Batch>| {
        let batch = batch.unwrap();
        (batch.images.clone(), batch.labels.clone(), batch.ids.clone())
    };
    loader.epoch(number).map(plain).collect()
}

#[test]
fn threads_and_timing_change_nothing() {
    for order in [BatchOrder::Shuffled, BatchOrder::ClassBalanced] {
        let one = epoch(&loader(options(1, order)), 3);
        assert_eq!(one.len(), 6);
        for threads in [2, 3, 8] {
            assert_eq!(epoch(&loader(options(threads, order)), 3), one);
        }
    }
}

#[test]
fn an_epoch_shows_every_image_once_and_epochs_differ() {
    let all = LoaderOptions { drop_last: false, ..options(2, BatchOrder::Shuffled) };
    let loader = loader(all);
    let (first, second) = (epoch(&loader, 0), epoch(&loader, 1));
    let mut ids: Vec<u32> = first.iter().flat_map(|b| b.2.clone()).collect();
    assert_ne!(ids, second.iter().flat_map(|b| b.2.clone()).collect::<Vec<_>>());
    ids.sort_unstable();
    assert!(ids.into_iter().eq(0..50));
    assert_eq!(first.last().unwrap().1.len(), 2, "the last, incomplete batch");
}

#[test]
fn a_view_depends_on_epoch_image_and_view_alone() {
    // The same image in the same epoch of a smaller subset: other batch, same bytes.
    let image = |batches: &[Plain], id: u32, view: usize| -> Vec<f32> {
        let (images, _, ids) = batches.iter().find(|b| b.2.contains(&id)).unwrap();
        let row = ids.iter().position(|&i| i == id).unwrap() + view * ids.len();
        images[row * 64..(row + 1) * 64].to_vec()
    };
    let all = LoaderOptions { drop_last: false, ..options(2, BatchOrder::Shuffled) };
    let few = Loader::new(source(), &[7, 9, 30], Streams::new(5), all.clone()).unwrap();
    let (whole, few) = (epoch(&loader(all), 4), epoch(&few, 4));
    for view in 0..2 {
        assert_eq!(image(&whole, 9, view), image(&few, 9, view));
    }
    assert_ne!(image(&whole, 9, 0), image(&whole, 9, 1), "both views are equal");
}

#[test]
fn class_balanced_order_draws_classes_evenly() {
    let loader = loader(options(1, BatchOrder::ClassBalanced));
    let mut counts = [0.0; 3];
    for number in 0..100 {
        for (_, labels, _) in epoch(&loader, number) {
            labels.iter().for_each(|&label| counts[label as usize] += 1.0);
        }
    }
    // 4800 draws: 1600 expected per class, standard deviation 33.
    assert!(counts.iter().all(|n: &f64| (n - 1600.0).abs() < 150.0), "{counts:?}");
}

#[test]
fn all_batches_may_be_held_and_an_epoch_left_early() {
    let loader = loader(options(2, BatchOrder::Shuffled));
    let held: Vec<_> = loader.epoch(0).collect();
    assert_eq!(held.len(), 6);
    let mut early = loader.epoch(1);
    early.next();
    drop(early);
    drop(held);
}

#[test]
fn an_evaluation_shows_images_as_they_are() {
    let options = LoaderOptions {
        views: 1,
        pipeline: Pipeline::Plain,
        drop_last: false,
        ..options(2, BatchOrder::Sequential)
    };
    let batches = epoch(&loader(options), 0);
    assert!(batches.iter().flat_map(|b| &b.2).copied().eq(0..50));
    let first = source().images[0];
    assert_eq!(batches[0].0[0], (f32::from(first) / 255.0 - 0.5) / 0.25);
}

/// Counts how often an image is asked for.
struct Counted(Arc<ImageSet>, std::sync::atomic::AtomicUsize);

impl ImageSource for Counted {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn classes(&self) -> usize {
        self.0.classes()
    }

    fn label(&self, id: u32) -> u32 {
        self.0.label(id)
    }

    fn class_names(&self) -> &[String] {
        &self.0.class_names
    }

    fn place(&self) -> &str {
        self.0.place()
    }

    fn sha256(&self) -> &str {
        self.0.sha256()
    }

    fn image<'a>(&'a self, id: u32, buffer: &'a mut Vec<u8>) -> Result<ImageRef<'a>> {
        self.1.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        self.0.image(id, buffer)
    }
}

#[test]
fn both_views_of_an_image_come_from_one_decode() {
    let counted = Arc::new(Counted(source(), Default::default()));
    let any: Arc<dyn ImageSource> = Arc::<Counted>::clone(&counted);
    let ids: Vec<u32> = (0..50).collect();
    let options = options(2, BatchOrder::Shuffled);
    let loader = Loader::new(any, &ids, Streams::new(5), options).unwrap();
    let views: usize = loader.epoch(0).map(|batch| batch.unwrap().images.len() / 64).sum();
    assert_eq!((views, counted.1.load(std::sync::atomic::Ordering::SeqCst)), (96, 48));
}
