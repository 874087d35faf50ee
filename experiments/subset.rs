//! `subset`: which images a long-tailed subset keeps; printed, compared, exported.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    str::FromStr,
};

use clap::{Args, Subcommand, ValueEnum};
use rescom::{
    Error, Result,
    data::{self, Place, cifar::Check},
    longtail::{ClassOrder, ImbalanceFactor, ShotGroup, SubsetManifest, SubsetRule, TailShape},
    report::Table,
    run::{self, DataSetId},
};

use crate::{images, progress};

/// Arguments of `subset`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  rescom-repro subset make --set cifar10 --imb 100 --out cifar10-lt-100.json\n  rescom-repro subset show cifar10-lt-100.json\n  rescom-repro subset export cifar10-lt-100.json --npy indices.npy\n  rescom-repro subset compare mine.json yours.json\n\nIn PyTorch: Subset(CIFAR10(root), numpy.load('indices.npy').tolist())"
)]
pub(crate) struct SubsetArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Choose the images as the reference does (NumPy's legacy generator) and print or write the
    /// manifest.
    Make(MakeArgs),
    /// Print a manifest: images per class, imbalance factor, checksum.
    #[command(after_help = "Example:\n  rescom-repro subset show RUN/subset.json")]
    Show {
        /// A manifest.
        manifest: PathBuf,
        /// The whole manifest as JSON on standard output.
        #[arg(long)]
        json: bool,
    },
    /// Say whether two manifests keep the same images, and where they differ; exit code 1 if not.
    Compare {
        /// A manifest.
        one: PathBuf,
        /// Another.
        other: PathBuf,
    },
    /// Write the indices for use elsewhere.
    Export {
        /// A manifest.
        manifest: PathBuf,
        /// As a NumPy file of int64.
        #[arg(long)]
        npy: Option<PathBuf>,
        /// As text, one index per line.
        #[arg(long)]
        txt: Option<PathBuf>,
    },
}

/// Which subset.
#[derive(Args)]
pub(crate) struct RuleArgs {
    /// The data set.
    #[arg(long, value_enum)]
    pub(crate) set: SetName,
    /// Folder or archive with the data, or `synthetic`; else the cache, else fetched.
    #[arg(long)]
    pub(crate) data: Option<String>,
    /// Take other data in the same format (no published checksum).
    #[arg(long)]
    pub(crate) unverified: bool,
    /// Imbalance factor n_max / n_min.
    #[arg(long, default_value_t = 100.0)]
    imb: f64,
    /// Shape of the tail.
    #[arg(long, value_enum, default_value = "exp")]
    profile: Profile,
    /// The reference's seed of the choice of images.
    #[arg(long, default_value_t = 0)]
    rand_number: u32,
    /// Which class is the head: natural, reversed, or seeded:N.
    #[arg(long, default_value = "natural")]
    class_order: Order,
    /// Images of the head class (else the mean class size).
    #[arg(long)]
    n_max: Option<u64>,
}

#[derive(Args)]
struct MakeArgs {
    #[command(flatten)]
    rule: RuleArgs,
    /// Write the manifest there.
    #[arg(long)]
    out: Option<PathBuf>,
    /// The whole manifest as JSON on standard output instead of a table.
    #[arg(long)]
    json: bool,
}

/// Data sets that fit into memory.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum SetName {
    #[value(name = "cifar10")]
    Cifar10,
    #[value(name = "cifar100")]
    Cifar100,
    FashionMnist,
    /// MNIST, to look at: read from --data DIR, not fetched; recipes do not train on it.
    Mnist,
}

impl SetName {
    pub(crate) fn load(self, data: Option<&str>, check: Check) -> Result<data::DataSet> {
        let place = Place::from_option(data);
        let id = match (self, place) {
            (Self::Cifar10, _) => DataSetId::Cifar10,
            (Self::Cifar100, _) => DataSetId::Cifar100,
            (Self::FashionMnist, _) => DataSetId::FashionMnist,
            (Self::Mnist, Place::Given(dir)) => {
                return data::fashion::load_mnist(dir, check, &mut progress::of_data());
            }
            (Self::Mnist, _) => {
                return Err(Error::input(
                    "mnist is neither fetched nor generated: give the folder with its four files as --data DIR",
                ));
            }
        };
        data::load(id, place, check, &mut progress::of_data())
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum Profile {
    Exp,
    Step,
}

#[derive(Clone, Copy)]
struct Order(ClassOrder);

impl FromStr for Order {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let seed = text.strip_prefix("seeded:").map(str::parse);
        match (text, seed) {
            ("natural", _) => Ok(Self(ClassOrder::Natural)),
            ("reversed", _) => Ok(Self(ClassOrder::Reversed)),
            (_, Some(Ok(seed))) => Ok(Self(ClassOrder::Seeded(seed))),
            _ => Err("expected natural, reversed or seeded:N".into()),
        }
    }
}

impl RuleArgs {
    /// Loads the set and chooses the subset of its training images.
    pub(crate) fn load(&self) -> Result<(data::DataSet, SubsetManifest)> {
        let check = images::check(self.unverified);
        let set = self.set.load(self.data.as_deref(), check)?;
        let rule = SubsetRule {
            shape: match self.profile {
                Profile::Exp => TailShape::Exp,
                Profile::Step => TailShape::Step,
            },
            imbalance: ImbalanceFactor::new(self.imb)?,
            rand_number: self.rand_number,
            order: self.class_order.0,
            n_max: self.n_max,
        };
        let (labels, classes) = (&set.train.labels, set.train.classes());
        let manifest = SubsetManifest::choose(&set.name, labels, classes, &rule)?;
        Ok((set, manifest))
    }
}

/// Runs the command.
pub(crate) fn run(args: &SubsetArgs) -> Result<ExitCode> {
    match &args.action {
        Action::Make(args) => make(args),
        Action::Show { manifest, json } => show(&read(manifest)?, None, *json),
        Action::Compare { one, other } => compare(one, other),
        Action::Export { manifest, npy, txt } => {
            export(&read(manifest)?, npy.as_deref(), txt.as_deref())
        }
    }
}

fn make(args: &MakeArgs) -> Result<ExitCode> {
    let (set, manifest) = args.rule.load()?;
    if let Some(path) = &args.out {
        run::atomic::write_json(path, &manifest)?;
        eprintln!("wrote {}", path.display());
    }
    show(&manifest, Some(&set.train.class_names), args.json)
}

/// Prints a manifest, with the names of its classes where they are known.
fn show(manifest: &SubsetManifest, names: Option<&[String]>, json: bool) -> Result<ExitCode> {
    if json {
        let text = serde_json::to_string(manifest)
            .map_err(|e| Error::run(format!("manifest as JSON: {e}")))?;
        println!("{text}");
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(["class", "name", "images", "group"]);
    for (class, &count) in manifest.counts.iter().enumerate() {
        let group = ShotGroup::of(count).name().to_owned();
        let name = names.and_then(|names| names.get(class)).cloned().unwrap_or_default();
        table.push([class.to_string(), name, count.to_string(), group]);
    }
    print!("{}", table.markdown());
    let (largest, smallest) = (manifest.counts.iter().max(), manifest.counts.iter().min());
    if let (Some(largest), Some(smallest)) = (largest, smallest) {
        println!("\nimbalance factor {}", *largest as f64 / *smallest as f64);
    }
    println!("total {}, SHA-256 of the indices {}", manifest.indices.len(), manifest.sha256);
    Ok(ExitCode::SUCCESS)
}

/// Reads a manifest and checks it against itself.
fn read(path: &Path) -> Result<SubsetManifest> {
    let text = fs::read(path).map_err(Error::io("read", path))?;
    let value: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
    if value.get("list_sha256").is_some() {
        return Err(Error::input(format!(
            "{}: of a set that is long-tailed itself, so that no images were chosen; its list is what says which images \
             it has",
            path.display()
        )));
    }
    let manifest: SubsetManifest = run::atomic::read_json(path)?;
    if manifest.counts.iter().sum::<u64>() != manifest.indices.len() as u64 {
        return Err(Error::input(format!(
            "{}: its counts sum to {} and it has {} indices; it was changed by hand",
            path.display(),
            manifest.counts.iter().sum::<u64>(),
            manifest.indices.len()
        )));
    }
    if rescom::longtail::sha256_int64(&manifest.indices) != manifest.sha256 {
        return Err(Error::input(format!(
            "{}: the SHA-256 of its indices is not the one it states; it was changed by hand",
            path.display()
        )));
    }
    Ok(manifest)
}

fn compare(one: &Path, other: &Path) -> Result<ExitCode> {
    let (a, b) = (read(one)?, read(other)?);
    if a.labels_sha256 != b.labels_sha256 {
        println!("different: made from training sets with other labels");
        return Ok(ExitCode::FAILURE);
    }
    if a.indices == b.indices {
        println!("equal: the same {} images in the same order", a.indices.len());
        return Ok(ExitCode::SUCCESS);
    }
    let sorted = |manifest: &SubsetManifest| {
        let mut indices = manifest.indices.clone();
        indices.sort_unstable();
        indices
    };
    let (left, right) = (sorted(&a), sorted(&b));
    if left == right {
        println!("different order of the same {} images", left.len());
    } else {
        let common = left.iter().filter(|index| right.binary_search(index).is_ok()).count();
        println!("different: {} and {} images, {common} of them in both", left.len(), right.len());
        let classes = a.counts.iter().zip(&b.counts).enumerate();
        for (class, (a, b)) in classes.filter(|(_, (a, b))| a != b).take(5) {
            println!("class {class}: {a} and {b} images");
        }
    }
    Ok(ExitCode::FAILURE)
}

fn export(manifest: &SubsetManifest, npy: Option<&Path>, txt: Option<&Path>) -> Result<ExitCode> {
    if npy.is_none() && txt.is_none() {
        return Err(Error::input("subset export: give --npy FILE or --txt FILE"));
    }
    if let Some(path) = npy {
        run::atomic::write(path, &npy_int64(&manifest.indices))?;
    }
    if let Some(path) = txt {
        let lines: String = manifest.indices.iter().map(|index| format!("{index}\n")).collect();
        run::atomic::write(path, lines.as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A one-dimensional int64 array in NumPy's file format 1.0.
fn npy_int64(values: &[u32]) -> Vec<u8> {
    let mut header =
        format!("{{'descr': '<i8', 'fortran_order': False, 'shape': ({},), }}", values.len());
    // The data begin at a multiple of 64 bytes: 10 bytes of prefix, the header, a newline.
    let padding = (64 - (10 + header.len() + 1) % 64) % 64;
    header.push_str(&" ".repeat(padding));
    header.push('\n');
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.as_bytes());
    file.extend(values.iter().flat_map(|&v| i64::from(v).to_le_bytes()));
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_parsed() {
        assert_eq!("seeded:7".parse::<Order>().unwrap().0, ClassOrder::Seeded(7));
        assert_eq!("reversed".parse::<Order>().unwrap().0, ClassOrder::Reversed);
        assert!("seeded:x".parse::<Order>().is_err() && "other".parse::<Order>().is_err());
    }

    #[test]
    fn the_numpy_file_is_aligned() {
        let file = npy_int64(&[1, 2, 3]);
        assert_eq!((file.len() - 24) % 64, 0);
        assert_eq!(file[file.len() - 8..], 3i64.to_le_bytes());
    }
}
