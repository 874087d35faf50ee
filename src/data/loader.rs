use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use rand::RngExt as _;
use rand::seq::SliceRandom as _;

use super::ImageSource;
use crate::augment::{Layout, Normalize, Pipeline, Scratch};
use crate::rng::Streams;
use crate::{Error, Result};

/// How batches are made.
#[derive(Debug, Clone)]
pub struct LoaderOptions {
    /// Images B per batch (each with `views` views).
    pub batch_size: usize,
    /// Views per image: 2 for training (Siamese), 1 for evaluation.
    pub views: usize,
    /// What happens to each view.
    pub pipeline: Pipeline,
    /// Per-channel constants.
    pub normalize: Normalize,
    /// Order of values.
    pub layout: Layout,
    /// Worker threads, at least 1. Never changes a byte of any batch.
    pub threads: usize,
    /// Finished batches that may wait for the consumer before the workers pause.
    pub prefetch: usize,
    /// Drop the last incomplete batch (METHOD section 9, point 5).
    pub drop_last: bool,
    /// Which images an epoch shows.
    pub order: BatchOrder,
}

/// Which images an epoch shows, and in which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchOrder {
    /// As listed: evaluation.
    Sequential,
    /// Every image once, shuffled.
    Shuffled,
    /// As many images as listed, each drawn by class first and then within it (stage 2 of MiSLAS).
    ClassBalanced,
}

/// One batch. Its buffers go back to the loader when it is dropped.
#[derive(Debug, Default)]
pub struct Batch {
    /// Normalised values: all B images' view 1 first, then all view 2: `[views * B, C, H, W]`
    /// (or channels last).
    pub images: Vec<f32>,
    /// Labels of the B images.
    pub labels: Vec<i64>,
    /// Ids of the B images in the full training set.
    pub ids: Vec<u32>,
    /// Height, width and channels of one view.
    pub shape: (usize, usize, usize),
    home: Option<Arc<Shared>>,
}

impl Drop for Batch {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            let mut state = home.lock();
            state.free.push(std::mem::take(self));
            home.changed.notify_all();
        }
    }
}

/// Makes batches of augmented views of the chosen images of a data set.
///
/// The stream of a view derives from (seed, epoch, image id, view), the order from (seed, epoch): the
/// bytes of a batch depend on neither the number of threads nor their timing.
pub struct Loader<S: ImageSource + ?Sized> {
    source: Arc<S>,
    ids: Arc<[u32]>,
    streams: Streams,
    options: Arc<LoaderOptions>,
}

impl<S: ImageSource + ?Sized + 'static> Loader<S> {
    /// A loader over the images `ids` of `source`.
    ///
    /// # Errors
    /// [`Error::Input`] if there are no images, an id is beyond the last, an option is 0 that must not
    /// be, or a batch is larger than an epoch that drops its last incomplete one.
    pub fn new(
        source: Arc<S>,
        ids: &[u32],
        streams: Streams,
        options: LoaderOptions,
    ) -> Result<Self> {
        let wrong = |what: String| Err(Error::input(format!("loader: {what}")));
        if ids.is_empty() {
            return wrong("no images; expected at least one".into());
        }
        if let Some(id) = ids.iter().find(|&&id| id as usize >= source.len()) {
            return wrong(format!("image {id} asked for, the data set has {}", source.len()));
        }
        if options.batch_size == 0 || options.views == 0 || options.threads == 0 {
            return wrong("batch size, views and threads must be at least 1".into());
        }
        if options.drop_last && ids.len() < options.batch_size {
            return wrong(format!(
                "{} images do not fill one batch of {}; give a smaller batch size",
                ids.len(),
                options.batch_size
            ));
        }
        Ok(Self { source, ids: ids.into(), streams, options: Arc::new(options) })
    }

    fn share(&self) -> Self {
        Self {
            source: Arc::clone(&self.source),
            ids: Arc::clone(&self.ids),
            streams: self.streams,
            options: Arc::clone(&self.options),
        }
    }

    /// Batches per epoch.
    pub fn batches(&self) -> usize {
        let (n, b) = (self.ids.len(), self.options.batch_size);
        if self.options.drop_last { n / b } else { n.div_ceil(b) }
    }

    /// The batches of epoch `epoch`; workers start at once.
    pub fn epoch(&self, epoch: u64) -> EpochBatches {
        let order = self.order(epoch);
        let options = &self.options;
        let batches = self.batches();
        let threads = options.threads.min(batches).max(1);
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                next: 0,
                free: Vec::new(),
                done: VecDeque::new(),
                first: 0,
                stopped: false,
            }),
            changed: Condvar::new(),
            ahead: threads + options.prefetch,
        });
        let job = Arc::new(Job { loader: self.share(), order, epoch, batches });
        let workers = (0..threads)
            .map(|_| {
                let (shared, job) = (Arc::clone(&shared), Arc::clone(&job));
                thread::spawn(move || {
                    let _stop = StopOnPanic(&shared);
                    job.work(&shared);
                })
            })
            .collect();
        EpochBatches { shared, workers, batches, given: 0 }
    }

    /// (id, how often it came before in this epoch) in the order of the epoch.
    fn order(&self, epoch: u64) -> Vec<(u32, u64)> {
        let mut rng = self.streams.stream("order", &[epoch]);
        let ids = match self.options.order {
            BatchOrder::Sequential => self.ids.to_vec(),
            BatchOrder::Shuffled => {
                let mut ids = self.ids.to_vec();
                ids.shuffle(&mut rng);
                ids
            }
            BatchOrder::ClassBalanced => {
                let mut members = vec![Vec::new(); self.source.classes()];
                for &id in self.ids.iter() {
                    members[self.source.label(id) as usize].push(id);
                }
                members.retain(|list| !list.is_empty());
                let draw = |_| {
                    let class = &members[rng.random_range(0..members.len())];
                    class[rng.random_range(0..class.len())]
                };
                (0..self.ids.len()).map(draw).collect()
            }
        };
        let mut seen = HashMap::new();
        ids.into_iter()
            .map(|id| {
                let times = seen.entry(id).or_insert(0);
                *times += 1;
                (id, *times - 1)
            })
            .collect()
    }
}

/// Everything a worker needs to make any batch of one epoch.
struct Job<S: ImageSource + ?Sized> {
    loader: Loader<S>,
    order: Vec<(u32, u64)>,
    epoch: u64,
    batches: usize,
}

impl<S: ImageSource + ?Sized> Job<S> {
    /// Makes batch after batch, never more than `ahead` of what the consumer took.
    fn work(&self, shared: &Shared) {
        let mut scratch = (Scratch::default(), Vec::new());
        loop {
            let (number, mut batch) = {
                let mut state = shared.lock();
                loop {
                    if state.stopped || state.next == self.batches {
                        return;
                    }
                    if state.next - state.first < shared.ahead {
                        state.next += 1;
                        break (state.next - 1, state.free.pop().unwrap_or_default());
                    }
                    state = shared.wait(state);
                }
            };
            let result = self.fill(number, &mut batch, &mut scratch).map(|()| batch);
            let mut state = shared.lock();
            let at = number - state.first;
            while state.done.len() <= at {
                state.done.push_back(None);
            }
            state.done[at] = Some(result);
            shared.changed.notify_all();
        }
    }

    fn fill(
        &self,
        number: usize,
        batch: &mut Batch,
        (scratch, decoded): &mut (Scratch, Vec<u8>),
    ) -> Result<()> {
        let options = &self.loader.options;
        let from = number * options.batch_size;
        let entries = &self.order[from..(from + options.batch_size).min(self.order.len())];
        batch.labels.clear();
        batch.ids.clear();
        for (row, &(id, occurrence)) in entries.iter().enumerate() {
            batch.labels.push(i64::from(self.loader.source.label(id)));
            batch.ids.push(id);
            let image = self.loader.source.image(id, decoded)?;
            let shape = options.pipeline.output_shape((image.height, image.width, image.channels));
            let size = shape.0 * shape.1 * shape.2;
            if row == 0 {
                batch.shape = shape;
                batch.images.resize(options.views * entries.len() * size, 0.0);
            } else if shape != batch.shape {
                return Err(Error::input(format!(
                    "image {id} gives a view of {shape:?}, others {:?}; the pipeline must fix the size",
                    batch.shape
                )));
            }
            for view in 0..options.views {
                // An image drawn again in the same epoch (class-balanced order) is augmented anew.
                let index = [self.epoch, u64::from(id), view as u64, occurrence];
                let index = if occurrence == 0 { &index[..3] } else { &index[..] };
                let mut rng = self.loader.streams.stream("augment", index);
                let out = &mut batch.images[(view * entries.len() + row) * size..][..size];
                let target = (&options.normalize, options.layout);
                options.pipeline.apply(image, &mut rng, scratch, target, out);
            }
        }
        Ok(())
    }
}

/// What workers and consumer share.
#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// Batches that may be begun or finished beyond those that the consumer took.
    ahead: usize,
}

#[derive(Debug)]
struct State {
    /// The next batch that nobody has begun.
    next: usize,
    /// Buffers that came back.
    free: Vec<Batch>,
    /// Finished batches from number `first` on, with gaps.
    done: VecDeque<Option<Result<Batch>>>,
    first: usize,
    stopped: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under the lock; a panicking worker sets `stopped`.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes the consumer when a worker panics, so that it does not wait for ever.
struct StopOnPanic<'a>(&'a Shared);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.lock().stopped = true;
            self.0.changed.notify_all();
        }
    }
}

/// The batches of one epoch, in order. Dropping it early stops the workers.
#[derive(Debug)]
pub struct EpochBatches {
    shared: Arc<Shared>,
    workers: Vec<thread::JoinHandle<()>>,
    batches: usize,
    given: usize,
}

impl Iterator for EpochBatches {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.given == self.batches {
            return None;
        }
        let mut state = self.shared.lock();
        loop {
            if let Some(Some(_)) = state.done.front() {
                let result = state.done.pop_front().flatten()?;
                state.first += 1;
                self.shared.changed.notify_all();
                drop(state);
                // After an error nothing follows.
                self.given = if result.is_ok() { self.given + 1 } else { self.batches };
                return Some(result.map(|mut batch| {
                    batch.home = Some(Arc::clone(&self.shared));
                    batch
                }));
            }
            if state.stopped {
                drop(state);
                self.given = self.batches;
                return Some(Err(Error::run("a loader thread stopped unexpectedly")));
            }
            state = self.shared.wait(state);
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.batches - self.given))
    }
}

impl Drop for EpochBatches {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.changed.notify_all();
        for worker in self.workers.drain(..) {
            // A panic was already reported by `next`.
            let _ = worker.join();
        }
    }
}

#[cfg(test)]
mod tests;
