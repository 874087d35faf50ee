//! Data sets: readers that check what they read, where data is found or fetched from, and the
//! loader that makes batches of augmented views.
//!
//! Invariant: never draws ambient randomness, never uses unchecked bytes: what a file claims
//! (sizes, label ranges) is compared with what it holds before memory is taken for it.

mod archive;
pub mod cache;
pub mod cifar;
mod cifar_files;
mod corrupted;
mod debian;
mod decode;
#[cfg(feature = "train")]
mod download;
pub mod fashion;
mod fetch;
mod files;
pub mod idx;
mod lists;
mod loader;
mod names;
pub mod npy;
mod pickle;
mod records;
mod refusal;
mod regular;
mod set;
mod sources;
pub mod synthetic;

pub use corrupted::{CorruptedSets, SEVERITIES};
pub use files::ImageFiles;
pub use lists::{ListPlaces, Pictures};
pub use loader::{Batch, BatchOrder, EpochBatches, Loader, LoaderOptions};
pub use set::{Broken, DataSet, ImageSet, ImageSource};
pub use sources::{Place, SYNTHETIC_TEST_IMAGES, load, locate};

/// What a slow step (fetching, unpacking) tells its caller; the programs turn it into a bar or lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress<'a> {
    /// A step begins: one phrase.
    Step(&'a str),
    /// Bytes of the current step so far, and of how many where that is known.
    Bytes {
        /// Done so far.
        done: u64,
        /// In all.
        total: Option<u64>,
    },
}
