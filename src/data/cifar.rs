//! CIFAR-10 and CIFAR-100 (Krizhevsky 2009) in all the forms in which they lie around: the binary
//! folder, the Python pickles that torchvision leaves, and the archives of both.
//!
//! Every form is turned into the records of the binary one, whose checksums are published.

use std::path::Path;

use super::cifar_files::{Batch, PIXELS};
pub use super::cifar_files::{Check, Cifar, Form};
use super::records::Files;
use super::{DataSet, ImageSet};
use crate::augment::Normalize;
use crate::run::Provenance;
use crate::{Error, Result};

impl Cifar {
    /// Reads and checks the set at `path` (see [`Cifar::locate`]).
    ///
    /// # Errors
    /// [`Error::Input`] if it is not there, truncated or foreign: the file is named with what was
    /// expected; [`Error::Io`] if it cannot be read.
    pub fn read(self, path: &Path, check: Check) -> Result<DataSet> {
        let form = self.locate(path).ok_or_else(|| self.not_here(path))?;
        self.read_form(&form, check)
    }

    /// Where a part of the set is there, the first file that is not.
    fn not_here(self, path: &Path) -> Error {
        let ([bin, py], [bin_gz, py_gz]) = (self.folders(), self.archives());
        for dir in [path, &path.join(bin), &path.join(py)] {
            for ending in [".bin", ""] {
                let is_here = |(stem, ..): &&Batch| dir.join(format!("{stem}{ending}")).is_file();
                let (here, missing): (Vec<&Batch>, Vec<&Batch>) = self.batches().partition(is_here);
                if let (Some((here, ..)), Some((stem, count, _))) = (here.first(), missing.first())
                {
                    let bytes = match ending {
                        "" => String::new(),
                        _ => format!(", {} bytes", count * (self.label_bytes() + PIXELS)),
                    };
                    return Error::input(format!(
                        "{}: {here}{ending} is here, but {stem}{ending} is not (published: {count} images{bytes}); put \
                         it there, or give a whole folder {bin} or {py}, or an archive {bin_gz} or {py_gz}",
                        dir.display()
                    ));
                }
            }
        }
        Error::input(format!(
            "{}: no {} here; expected a folder {bin} or {py}, or an archive {bin_gz} or {py_gz}",
            path.display(),
            self.name()
        ))
    }

    fn read_form(self, form: &Form, check: Check) -> Result<DataSet> {
        let mut files = Files::open(self, form)?;
        let source = match check {
            Check::Published => files.place.clone(),
            Check::Format => format!("{}{}", Provenance::UNVERIFIED, files.place),
        };
        let mut set = |batches: &[Batch]| -> Result<ImageSet> {
            let (mut images, mut labels) = (Vec::new(), Vec::new());
            for batch in batches {
                let records = files.records(self, batch, check)?;
                self.unpack(&records, &mut images, &mut labels);
            }
            ImageSet::new(images, (32, 32, 3), labels, self.class_names(), source.clone())
        };
        Ok(DataSet {
            name: self.name().into(),
            train: set(self.train())?,
            test: set(self.test())?,
            normalize: Normalize::cifar(),
        })
    }

    /// Appends records (labels, then planes) as labels and images with channels last.
    fn unpack(self, records: &[u8], images: &mut Vec<u8>, labels: &mut Vec<u32>) {
        let head = self.label_bytes();
        for record in records.chunks_exact(head + PIXELS) {
            labels.push(u32::from(record[head - 1]));
            let (red, rest) = record[head..].split_at(PIXELS / 3);
            let (green, blue) = rest.split_at(PIXELS / 3);
            images.extend(red.iter().zip(green).zip(blue).flat_map(|((&r, &g), &b)| [r, g, b]));
        }
    }

    /// The inverse of `unpack` for one image: one record of the binary format.
    pub(super) fn record(self, label: u32, pixels: &[u8]) -> Vec<u8> {
        let mut record = vec![0; self.label_bytes()];
        record[self.label_bytes() - 1] = label as u8;
        for channel in 0..3 {
            record.extend(pixels.iter().skip(channel).step_by(3));
        }
        record
    }
}

#[cfg(test)]
mod tests;
