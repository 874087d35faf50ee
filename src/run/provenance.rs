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

impl Provenance {
    /// How `data_source` begins where the images were not compared with the published set.
    pub const UNVERIFIED: &str = "unverified: ";
}

fn none_skipped(skipped: &[usize; 2]) -> bool {
    *skipped == [0, 0]
}

impl Provenance {
    /// Both sides in words if `now` has other training images; none if they are the same, wherever
    /// they lie.
    pub(super) fn other_images(&self, now: &Self) -> Option<String> {
        let same = self.data_sha256 == now.data_sha256 && self.subset_sha256 == now.subset_sha256;
        let said = |p: &Self| {
            let short = |text: &str| text.chars().take(12).collect::<String>();
            let (data, chosen) = (short(&p.data_sha256), short(&p.subset_sha256));
            format!("{}, SHA-256 {data}, of those chosen {chosen}", p.data_source)
        };
        (!same).then(|| format!("({}) than now ({})", said(self), said(now)))
    }

    /// What computes differently in `now`, in words; none if nothing that matters to the bits.
    pub(super) fn changes(&self, now: &Self) -> Option<String> {
        let threads = |n: usize| format!("{n} thread{} of libtorch", if n == 1 { "" } else { "s" });
        let mut changes = Vec::new();
        for (what, then, now) in [
            ("version ", &self.version, &now.version),
            ("commit ", &self.commit, &now.commit),
            ("libtorch ", &self.libtorch, &now.libtorch),
            ("device ", &self.device, &now.device),
        ] {
            if then != now {
                changes.push(format!("{what}{now} instead of {then}"));
            }
        }
        if self.torch_threads != now.torch_threads {
            changes.push(format!(
                "{} instead of {}",
                threads(now.torch_threads),
                self.torch_threads
            ));
        }
        if changes.is_empty() {
            return None;
        }
        Some(format!(
            "goes on with {}: the end need not be the one of an uninterrupted run bit for bit",
            changes.join(", ")
        ))
    }
}
