//! What a person sees while runs go on: bars on a terminal, plain lines elsewhere. All on standard
//! error; standard output is for results.

use std::{
    io::IsTerminal as _,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use rescom::{
    data,
    run::{EpochRecord, RunDir},
    train::Observer,
};

/// Seconds between two plain lines within an epoch.
const LINE_EVERY: Duration = Duration::from_secs(15);

/// Reports one run to the screen and to its log.
pub(crate) struct RunProgress<'a> {
    title: String,
    dir: &'a RunDir,
    bar: Option<ProgressBar>,
    epochs: usize,
    steps: usize,
    last_line: Instant,
}

impl<'a> RunProgress<'a> {
    /// For the run `title` ("3/9 fashion-mnist-imb10-ce-seed0").
    pub(crate) fn new(title: String, dir: &'a RunDir) -> Self {
        Self { title, dir, bar: None, epochs: 0, steps: 0, last_line: Instant::now() }
    }

    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => eprintln!("{text}"),
        }
    }
}

impl Observer for RunProgress<'_> {
    fn begin(&mut self, epochs: usize, steps: usize, done: usize) {
        (self.epochs, self.steps) = (epochs, steps);
        if std::io::stderr().is_terminal() {
            let template = "{msg} [{bar:30}] {pos}/{len} steps, {eta} left";
            let style = ProgressStyle::with_template(template)
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar =
                ProgressBar::new((epochs * steps) as u64).with_style(style.progress_chars("=> "));
            bar.set_position((done * steps) as u64);
            bar.set_message(self.title.clone());
            self.bar = Some(bar);
        }
        let from = if done > 0 { format!(", resumed after epoch {done}") } else { String::new() };
        self.note(&format!("{}: {epochs} epochs of {steps} steps{from}", self.title));
    }

    fn step(&mut self, epoch: usize, step: usize, loss: f64) {
        if let Some(bar) = &self.bar {
            bar.inc(1);
            return;
        }
        if self.last_line.elapsed() > LINE_EVERY {
            eprintln!(
                "  epoch {epoch}/{}, step {step}/{}, loss {loss:.3}",
                self.epochs, self.steps
            );
            self.last_line = Instant::now();
        }
    }

    fn epoch(&mut self, e: &EpochRecord) {
        let test = match &e.test {
            Some(t) => format!(", test top-1 {:.1} % of {} images", 100.0 * t.top1, t.images),
            None => String::new(),
        };
        self.note(&format!(
            "  epoch {}/{}: loss {:.3} (classification {:.3}, contrastive {:.3}), lr {:.4}{test}, {:.1} s",
            e.epoch, self.epochs, e.loss, e.loss_cls, e.loss_con, e.lr, e.train_seconds
        ));
        self.last_line = Instant::now();
    }

    fn note(&mut self, text: &str) {
        self.line(text);
        self.dir.log(text);
    }
}

impl Drop for RunProgress<'_> {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Counts pictures while they are checked: a bar on a terminal, a line for every tenth elsewhere.
pub(crate) struct PictureCount {
    bar: Option<ProgressBar>,
    total: usize,
    done: AtomicUsize,
}

impl PictureCount {
    /// For `total` pictures from `place`.
    pub(crate) fn new(total: usize, place: &str) -> Self {
        eprintln!("decoding {total} pictures to find broken ones: {place}");
        let bar = std::io::stderr().is_terminal().then(|| ProgressBar::new(total as u64));
        Self { bar, total, done: AtomicUsize::new(0) }
    }

    /// Another one is done.
    pub(crate) fn one_more(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        match &self.bar {
            Some(bar) => bar.inc(1),
            None if done.is_multiple_of(self.total.div_ceil(10)) => {
                eprintln!("  {done} of {}", self.total);
            }
            None => {}
        }
    }
}

impl Drop for PictureCount {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Shows the fetching of data as it goes on.
pub(crate) fn of_data() -> impl FnMut(data::Progress<'_>) {
    let mut bar: Option<ProgressBar> = None;
    let terminal = std::io::stderr().is_terminal();
    move |progress| match progress {
        data::Progress::Step(text) => {
            if let Some(bar) = bar.take() {
                bar.finish_and_clear();
            }
            eprintln!("{text}");
        }
        data::Progress::Bytes { done, total } if terminal => {
            let bar = bar.get_or_insert_with(|| match total {
                Some(total) => ProgressBar::new(total),
                None => ProgressBar::new_spinner(),
            });
            bar.set_position(done);
        }
        data::Progress::Bytes { .. } => {}
    }
}
