//! What the libtorch that this process has loaded is, and what it can compute on.

use std::path::{Path, PathBuf};

/// The libtorch in use, as far as it can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runtime {
    /// The shared library as the system loaded it; `None` where the system does not tell (not Linux).
    pub library: Option<PathBuf>,
    /// Its version as stated beside that library ("2.11.0", perhaps "+cu130" behind it).
    pub version: Option<String>,
    /// Whether it was built with CUDA and its CUDA part is loaded; a GPU need not be here.
    pub cuda: bool,
    /// CUDA devices that it sees.
    pub cuda_devices: usize,
    /// Whether it finds cuDNN.
    pub cudnn: bool,
    /// Threads for one operation.
    pub threads: usize,
    /// Threads for independent operations.
    pub interop_threads: usize,
}

/// Asks libtorch and the system.
pub fn runtime() -> Runtime {
    let library = loaded_library();
    let count = |n: i64| usize::try_from(n).unwrap_or(0);
    Runtime {
        version: library.as_deref().and_then(stated_version),
        library,
        // Not `has_cuda`, which is false without a GPU.
        cuda: tch::utils::has_cudart(),
        cuda_devices: count(tch::Cuda::device_count()),
        cudnn: tch::Cuda::cudnn_is_available(),
        threads: count(tch::get_num_threads().into()),
        interop_threads: count(tch::get_num_interop_threads().into()),
    }
}

/// `libtorch_cpu.so` among the files mapped into this process. Linux only: elsewhere there is no such list.
fn loaded_library() -> Option<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let start = maps.lines().find(|line| line.ends_with("/libtorch_cpu.so"))?;
    start.find('/').map(|at| PathBuf::from(&start[at..]))
}

/// From the file `build-version` of a libtorch, or `version.py` of a Python package.
fn stated_version(library: &Path) -> Option<String> {
    let folder = library.parent()?.parent()?;
    if let Ok(text) = std::fs::read_to_string(folder.join("build-version")) {
        return Some(text.trim().to_owned());
    }
    let text = std::fs::read_to_string(folder.join("version.py")).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix("__version__ = "))?;
    Some(value.trim_matches(['\'', '"']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loaded_libtorch_is_the_one_that_tch_needs() {
        let found = runtime();
        assert!(found.threads >= 1);
        assert!(found.cuda || found.cuda_devices == 0);
        if cfg!(target_os = "linux") {
            assert!(found.library.is_some_and(|path| path.is_file()));
            let version = found.version.unwrap();
            assert!(version.starts_with("2.11.0"), "{version}");
        }
    }

    #[test]
    fn a_python_package_states_its_version_too() {
        let dir = tempfile::tempdir().unwrap();
        let library = dir.path().join("lib/libtorch_cpu.so");
        assert_eq!(stated_version(&library), None);
        std::fs::write(dir.path().join("version.py"), "import x\n__version__ = '2.11.0+cu130'\n")
            .unwrap();
        assert_eq!(stated_version(&library).as_deref(), Some("2.11.0+cu130"));
        std::fs::write(dir.path().join("build-version"), "2.11.0\n").unwrap();
        assert_eq!(stated_version(&library).as_deref(), Some("2.11.0"));
    }
}
