use serde::{Deserialize, Serialize};

/// Where a run came from: enough to repeat it, or to see why a repetition differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// Version of this package.
    pub version: String,
    /// Commit it was built from, `+` appended if the tree had changes; "unknown" outside a checkout.
    pub commit: String,
    /// Version of libtorch.
    pub libtorch: String,
    /// "cpu" or the CUDA device.
    pub device: String,
    /// Threads that libtorch computes with.
    pub torch_threads: usize,
    /// Threads that load images.
    pub loader_threads: usize,
    /// Where the images came from, in words.
    pub data_source: String,
    /// SHA-256 of the training images and labels as decoded; of an image list, of its paths and labels.
    pub data_sha256: String,
    /// SHA-256 of the chosen indices (little-endian int64), as in the subset manifest.
    pub subset_sha256: String,
    /// Training and test pictures left out because they cannot be decoded; `skipped-pictures.txt` in
    /// the run folder names them.
    #[serde(default, skip_serializing_if = "none_skipped")]
    pub skipped_pictures: [usize; 2],
    /// The command line.
    pub command: Vec<String>,
}

fn none_skipped(skipped: &[usize; 2]) -> bool {
    *skipped == [0, 0]
}
