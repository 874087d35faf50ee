//! Runs that lie in a folder: their recipe, their training counts, and their network, ready to be
//! evaluated.

use std::{fs, path::Path};

use ndarray::Array2;
use serde::Deserialize;
use tch::Device;

use crate::{
    Error, Result,
    data::ImageSource,
    longtail::ClassCounts,
    rng::Streams,
    run::{Provenance, Recipe, RunDir, RunRecord, Stage2Source, atomic},
    train::{
        Converted, HostTensors, Images,
        eval::evaluate::{Network, Outputs},
        fit::{
            checkpoint,
            stage2::{Stage2, stage2_spec},
        },
        from_safetensors,
        nn::{
            convert::convert,
            device,
            model::{Model, ModelSpec},
        },
    },
};

/// A run folder, finished or not.
#[derive(Debug)]
pub struct SavedRun {
    /// The folder.
    pub dir: RunDir,
    /// Its name.
    pub id: String,
    /// What was done.
    pub recipe: Recipe,
    /// Where it came from.
    pub provenance: Provenance,
    /// What stage 2 of MiSLAS started from, if this is one.
    pub stage2: Option<Stage2Source>,
    /// Training images per class.
    pub counts: ClassCounts,
    /// Ids of the chosen training images; none: all.
    indices: Option<Vec<u32>>,
}

/// Which weights a network holds.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Origin {
    /// File of the weights.
    pub file: String,
    /// Its SHA-256, hex.
    pub sha256: String,
    /// Finished epochs; none for a file from elsewhere.
    pub epoch: Option<usize>,
}

/// What `subset.json` says, whatever else it holds.
#[derive(Deserialize)]
struct Chosen {
    counts: Vec<u64>,
    indices: Option<Vec<u32>>,
}

/// Name of the file that tells a folder of stage 2 from others.
pub(crate) const STAGE2_FILE: &str = "stage2.json";

impl SavedRun {
    /// Opens the folder of a run that began; changes nothing in it.
    ///
    /// # Errors
    /// [`Error::Input`] if it holds no run, or one of its files is damaged; [`Error::Io`].
    pub fn open(path: &Path) -> Result<Self> {
        let recipe_file = path.join("recipe.toml");
        if !recipe_file.is_file() {
            return Err(Error::input(format!(
                "{}: no run here (no recipe.toml); expected the folder of a single run",
                path.display()
            )));
        }
        let text = fs::read_to_string(&recipe_file).map_err(Error::io("read", &recipe_file))?;
        let recipe: Recipe = toml::from_str(&text).map_err(|e| {
            Error::input(format!("{}: {}", recipe_file.display(), e.to_string().replace('\n', " ")))
        })?;
        let dir = RunDir::open(path, &recipe)?;
        let subset = dir.file("subset.json");
        let chosen: Chosen = atomic::read_json(&subset)?;
        let counts = ClassCounts::new(chosen.counts)
            .map_err(|e| Error::input(format!("{}: {e}", subset.display())))?;
        let stage2 = dir.file(STAGE2_FILE);
        let name = path.canonicalize().map_err(Error::io("read", path))?;
        Ok(Self {
            id: name.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            provenance: atomic::read_json(&dir.file("provenance.json"))?,
            stage2: if stage2.exists() { Some(atomic::read_json(&stage2)?) } else { None },
            counts,
            indices: chosen.indices,
            recipe,
            dir,
        })
    }

    /// The command line of the sweep that trained it (of stage 2: that trained what it started from).
    pub fn training_command(&self) -> &[String] {
        self.stage2.as_ref().map_or(&self.provenance.command, |source| &source.command)
    }

    /// The record, if the run is finished.
    ///
    /// # Errors
    /// As [`RunDir::record`].
    pub fn record(&self) -> Result<Option<RunRecord>> {
        self.dir.record()
    }

    /// The largest id among the chosen training images; none if all are used.
    pub fn largest_id(&self) -> Option<u32> {
        self.indices.as_ref()?.iter().max().copied()
    }

    /// Ids of the training images in `train`, in the order of the subset.
    ///
    /// # Errors
    /// [`Error::Input`] if `train` does not hold the images that the run was trained on.
    pub fn training_ids(&self, train: &dyn ImageSource) -> Result<Vec<u32>> {
        let ids = self.indices.clone().unwrap_or_else(|| train.usable());
        let mut counts = vec![0; self.counts.classes()];
        let mut fits = train.classes() == counts.len();
        for &id in &ids {
            match (id as usize) < train.len() && fits {
                true => counts[train.label(id) as usize] += 1,
                false => fits = false,
            }
        }
        if fits && counts == self.counts.as_slice() {
            return Ok(ids);
        }
        Err(Error::input(format!(
            "{}: the training images given are not those of this run (its classes have other counts there); \
             name the right ones with --data",
            self.dir.path().display()
        )))
    }

    /// The newest whole checkpoint: what it is, and its tensors. `warn` hears of damaged ones.
    ///
    /// # Errors
    /// [`Error::Input`] if there is none.
    pub fn checkpoint(&self, warn: &mut dyn FnMut(&str)) -> Result<(Origin, HostTensors)> {
        let Some((about, state)) = checkpoint::newest(&self.dir, warn)? else {
            return Err(Error::input(format!(
                "{}: no checkpoint yet; train at least one epoch",
                self.dir.path().display()
            )));
        };
        let file = checkpoint::tensor_file(&self.dir, about.epoch);
        let file = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok((Origin { file, sha256: about.sha256, epoch: Some(about.epoch) }, state))
    }

    /// The network of the newest checkpoint.
    ///
    /// # Errors
    /// As [`checkpoint`](Self::checkpoint); [`Error::Input`] for a device that is not there.
    pub fn network(
        &self,
        device: &str,
        warn: &mut dyn FnMut(&str),
    ) -> Result<(Origin, SavedNetwork)> {
        let (origin, state) = self.checkpoint(warn)?;
        Ok((origin, self.build(&state, device)?))
    }

    /// A network of this run's form with the weights in `file`: a checkpoint, or a state dict of PyTorch
    /// saved as safetensors under any of the names that [`convert`] knows.
    ///
    /// # Errors
    /// [`Error::Input`] naming what the file lacks; [`Error::Io`].
    pub fn network_from(&self, file: &Path, device: &str) -> Result<(Origin, SavedNetwork)> {
        let bytes = fs::read(file).map_err(Error::io("read", file))?;
        let name = file.display().to_string();
        let state = from_safetensors(&name, &bytes)?;
        let origin = Origin { file: name, sha256: checkpoint::sha256(&bytes), epoch: None };
        if self.stage2.is_some() {
            return Ok((origin, self.build(&state, device)?));
        }
        let spec = self.recipe.trainer();
        let dim = spec.head();
        let with = |dim| convert(&spec.encoder, self.counts.classes(), dim, &state);
        // A network from elsewhere rarely has a projection head; only features need one.
        let whole = with(dim)?;
        let found = if whole.is_complete() { whole } else { with(None)? };
        if found.is_complete() {
            return Ok((origin, self.build(&found.state, device)?));
        }
        Err(Error::input(format!(
            "{}: not a network of this run's form ({})",
            origin.file,
            not_fitting(&found)
        )))
    }

    fn build(&self, state: &HostTensors, device: &str) -> Result<SavedNetwork> {
        if self.stage2.is_some() {
            let mut network = Stage2::new(&stage2_spec(&self.recipe), &self.counts, state, device)?;
            network.load_state(state)?;
            return Ok(SavedNetwork(Form::Stage2(Box::new(network))));
        }
        let spec = self.recipe.trainer();
        let head = state.keys().any(|name| name.starts_with("mlp."));
        let dim = spec.head();
        let model = ModelSpec {
            encoder: &spec.encoder,
            classes: self.counts.classes(),
            projection_dim: dim.filter(|_| head),
            precision: spec.precision,
            channels_last: spec.channels_last,
        };
        let device: Device = device::device(device)?;
        // Every value is replaced by `state`; the seed only fills the tensors before that.
        let mut network = Model::new(&model, &Streams::new(0), device);
        network.import("", state)?;
        Ok(SavedNetwork(Form::Method(Box::new(network))))
    }
}

/// What keeps a conversion from being a whole network, in words.
pub(crate) fn not_fitting(found: &Converted) -> String {
    let missing = found.missing.iter().map(|name| format!("{name} is missing"));
    let shapes = found.misshapen.iter();
    let shapes = shapes.map(|(name, is, due)| format!("{name} has shape {is:?}, expected {due:?}"));
    let all: Vec<String> = missing.chain(shapes).collect();
    match all.len() {
        0..=4 => all.join(", "),
        n => format!("{}, and {} more", all[..3].join(", "), n - 3),
    }
}

/// A network from a file, for evaluation.
#[derive(Debug)]
pub struct SavedNetwork(Form);

#[derive(Debug)]
enum Form {
    Method(Box<Model>),
    Stage2(Box<Stage2>),
}

impl Network for SavedNetwork {
    fn logits(&mut self, images: Images<'_>) -> Result<Array2<f32>> {
        match &mut self.0 {
            Form::Method(model) => model.logits(images),
            Form::Stage2(network) => network.logits(images),
        }
    }

    fn outputs(&mut self, images: Images<'_>) -> Result<Outputs> {
        match &mut self.0 {
            Form::Method(model) => model.outputs(images),
            Form::Stage2(network) => network.outputs(images),
        }
    }
}
