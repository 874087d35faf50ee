//! `doctor`: what is here, what is missing, and what to do about it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use rescom::{
    Error, Result,
    data::{self, cache, cifar::Cifar},
    run::DataSetId,
    train::{self, Runtime},
};
use serde::Serialize;

/// Arguments of `doctor`.
#[derive(Args)]
#[command(
    after_help = "Example:\n  rescom-repro doctor\n  rescom-repro doctor --json | jq .remedies"
)]
pub(crate) struct DoctorArgs {
    /// One JSON object on standard output instead of text.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Findings {
    rescom: &'static str,
    rustc: &'static str,
    tch: &'static str,
    libtorch: Option<String>,
    libtorch_folder: Option<PathBuf>,
    libtorch_has_cuda: bool,
    libtorch_has_cudnn: bool,
    devices: Vec<String>,
    cores: usize,
    libtorch_threads: usize,
    libtorch_interop_threads: usize,
    /// None where neither XDG_CACHE_HOME nor HOME says where it is.
    cache: Option<PathBuf>,
    cached: Vec<Cached>,
    data_sets: Vec<DataState>,
    /// For each thing that is missing: what to do.
    remedies: Vec<String>,
}

#[derive(Serialize)]
struct Cached {
    name: String,
    bytes: u64,
}

#[derive(Serialize)]
struct DataState {
    name: &'static str,
    /// Folder or file where it was found.
    found: Option<PathBuf>,
    #[serde(skip)]
    remedy: String,
}

/// Runs the command.
pub(crate) fn run(args: &DoctorArgs) -> Result<ExitCode> {
    let findings = examine()?;
    if args.json {
        let text = serde_json::to_string_pretty(&findings)
            .map_err(|e| Error::run(format!("cannot write the findings as JSON: {e}")))?;
        println!("{text}");
    } else {
        print!("{}", as_text(&findings));
    }
    Ok(ExitCode::SUCCESS)
}

fn examine() -> Result<Findings> {
    let runtime = train::runtime();
    let data_sets = data_sets()?;
    let data = cache::data_dir();
    let cache = data.as_ref().ok().map(|data| data.parent().unwrap_or(data).to_path_buf());
    let missing = data_sets.iter().filter(|set| set.found.is_none());
    let mut remedies: Vec<String> =
        missing.map(|set| format!("{}: {}", set.name, set.remedy)).collect();
    if let Err(e) = &data {
        remedies.push(format!("cache: {e}, or set one of the two"));
    }
    remedies.extend(gpu_remedy(&runtime, nvidia_gpus()));
    Ok(Findings {
        rescom: env!("CARGO_PKG_VERSION"),
        rustc: option_env!("RESCOM_RUSTC").unwrap_or("unknown"),
        tch: tch_version(),
        libtorch: runtime.version,
        libtorch_folder: runtime.library.as_deref().and_then(Path::parent).map(Path::to_path_buf),
        libtorch_has_cuda: runtime.cuda,
        libtorch_has_cudnn: runtime.cudnn,
        devices: devices(runtime.cuda_devices),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        libtorch_threads: runtime.threads,
        libtorch_interop_threads: runtime.interop_threads,
        cached: match (&cache, &data) {
            (Some(cache), Ok(data)) => cached(cache, data),
            _ => Vec::new(),
        },
        cache,
        data_sets,
        remedies,
    })
}

/// As pinned in the manifest; tch itself does not tell.
fn tch_version() -> &'static str {
    let manifest = include_str!("../Cargo.toml");
    let line = manifest.lines().find(|line| line.starts_with("tch = ")).unwrap_or_default();
    line.split('"').nth(1).map_or("unknown", |version| version.trim_start_matches('='))
}

fn devices(cuda: usize) -> Vec<String> {
    std::iter::once("cpu".to_owned()).chain((0..cuda).map(|n| format!("cuda:{n}"))).collect()
}

/// GPUs that the NVIDIA driver lists, whether libtorch sees them or not.
fn nvidia_gpus() -> usize {
    fs::read_dir("/proc/driver/nvidia/gpus").map_or(0, |entries| entries.flatten().count())
}

fn gpu_remedy(runtime: &Runtime, present: usize) -> Option<String> {
    if present == 0 || runtime.cuda_devices > 0 {
        return None;
    }
    Some(if runtime.cuda {
        format!(
            "GPU: the driver lists {present}, libtorch sees none; CUDA 13 needs driver 580 or newer, and \
             CUDA_VISIBLE_DEVICES must not hide them"
        )
    } else {
        format!(
            "GPU: the driver lists {present}, this libtorch is built for the CPU: `make setup DEVICE=cuda`"
        )
    })
}

/// The sets that the programs find or fetch by themselves; those of pictures in files have no usual place.
fn data_sets() -> Result<Vec<DataState>> {
    let cifar = |set: Cifar| {
        let [binary, python] = set.archives();
        format!(
            "the first `rescom-repro cifar` fetches it; by hand: {binary} or {python}, packed or not,"
        )
    };
    let fashion =
        "the first `rescom-repro fashion-mnist` fetches it; by hand: its four .gz files".into();
    let sets = [
        ("Fashion-MNIST", DataSetId::FashionMnist, "fashion-mnist", fashion),
        ("CIFAR-10", DataSetId::Cifar10, Cifar::Ten.name(), cifar(Cifar::Ten)),
        ("CIFAR-100", DataSetId::Cifar100, Cifar::Hundred.name(), cifar(Cifar::Hundred)),
    ];
    let cache = cache::data_dir().ok();
    let state = |(name, id, folder, remedy): (_, _, &str, String)| {
        let (found, remedy) = match &cache {
            Some(cache) => {
                let place = cache.join(folder);
                let remedy =
                    format!("{remedy} in {}, or anywhere with --data DIR", place.display());
                (data::locate(id, None)?, remedy)
            }
            None => (None, format!("{remedy} anywhere with --data DIR")),
        };
        Ok(DataState { name, found, remedy })
    };
    sets.into_iter().map(state).collect()
}

/// What lies in the cache: its entries, and one level deeper those of the data folder.
fn cached(cache: &Path, data: &Path) -> Vec<Cached> {
    let mut list: Vec<Cached> = [cache, data]
        .into_iter()
        .flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten())
        .filter(|entry| entry.path() != data)
        .map(|entry| Cached {
            name: entry.path().strip_prefix(cache).unwrap_or(&entry.path()).display().to_string(),
            bytes: size(&entry.path()),
        })
        .filter(|entry| entry.bytes > 100_000) // locks and marks are no one's concern
        .collect();
    list.sort_by(|a, b| a.name.cmp(&b.name));
    list
}

/// Bytes of a file, or of all files below a folder; links are not followed.
fn size(path: &Path) -> u64 {
    let Ok(about) = path.symlink_metadata() else { return 0 };
    if !about.is_dir() {
        return about.len();
    }
    fs::read_dir(path).into_iter().flatten().flatten().map(|entry| size(&entry.path())).sum()
}

fn as_text(f: &Findings) -> String {
    let unknown = || "unknown".to_owned();
    let folder = f.libtorch_folder.as_ref().map_or_else(unknown, |p| p.display().to_string());
    let cuda = match (f.libtorch_has_cuda, f.devices.len() > 1, f.libtorch_has_cudnn) {
        (false, ..) => "built for the CPU",
        (true, true, true) => "built with CUDA, with cuDNN",
        (true, true, false) => "built with CUDA, finds no cuDNN",
        (true, false, _) => "built with CUDA",
    };
    let mut lines = vec![
        format!("rescom     {} (built by {})", f.rescom, f.rustc),
        format!("tch        {}", f.tch),
        format!("libtorch   {} in {folder} ({cuda})", f.libtorch.clone().unwrap_or_else(unknown)),
        format!("devices    {}", f.devices.join(", ")),
        format!(
            "threads    {} available to this process; libtorch uses {} within an operation, {} between",
            f.cores, f.libtorch_threads, f.libtorch_interop_threads
        ),
        format!(
            "cache      {}",
            f.cache.as_ref().map_or_else(unknown, |p| p.display().to_string())
        ),
    ];
    let sizes = f.cached.iter();
    lines.extend(sizes.map(|c| format!("           {:>8.1} MB  {}", c.bytes as f64 / 1e6, c.name)));
    lines.push("data sets".to_owned());
    for set in &f.data_sets {
        let state = set.found.as_ref().map_or("missing".to_owned(), |p| p.display().to_string());
        lines.push(format!("           {:<16} {state}", set.name));
    }
    if !f.remedies.is_empty() {
        lines.push("to do".to_owned());
        lines.extend(f.remedies.iter().map(|remedy| format!("           {remedy}")));
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime(cuda: bool, cuda_devices: usize) -> Runtime {
        Runtime { cuda, cuda_devices, ..train::runtime() }
    }

    #[test]
    fn a_gpu_that_libtorch_does_not_see_has_a_remedy() {
        assert_eq!(gpu_remedy(&runtime(false, 0), 0), None);
        assert_eq!(gpu_remedy(&runtime(true, 2), 2), None);
        assert!(gpu_remedy(&runtime(false, 0), 1).unwrap().contains("DEVICE=cuda"));
        assert!(gpu_remedy(&runtime(true, 0), 1).unwrap().contains("driver 580"));
    }

    #[test]
    fn the_cache_is_listed_with_sizes() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        for (folder, bytes) in [("libtorch/lib", 300_000), ("data/set", 200_000), ("data/tiny", 5)]
        {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
            fs::write(dir.path().join(folder).join("file"), vec![0; bytes]).unwrap();
        }
        let list = cached(dir.path(), &data);
        let list: Vec<(&str, u64)> = list.iter().map(|c| (c.name.as_str(), c.bytes)).collect();
        assert_eq!(list, [("data/set", 200_000), ("libtorch", 300_000)]);
    }

    #[test]
    fn every_missing_data_set_is_listed_with_what_to_do() {
        let findings = examine().unwrap();
        let text = as_text(&findings);
        for set in &findings.data_sets {
            let listed = findings.remedies.iter().any(|r| r.starts_with(set.name));
            assert_eq!(listed, set.found.is_none());
            assert!(text.contains(set.name));
        }
        assert_eq!(findings.tch, "0.24.0");
    }
}
