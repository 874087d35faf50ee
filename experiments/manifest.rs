//! Manifests of long-tailed subsets: read, checked, printed, compared, exported.

use std::{fs, path::Path, process::ExitCode};

use rescom::{
    Error, Result,
    longtail::{ShotGroup, SubsetManifest},
    report::Table,
    run,
};
use serde::Serialize;
use serde_json::Value;

use crate::saved::{apart, print_json};

/// Reads a manifest and checks it against itself.
fn read(path: &Path) -> Result<SubsetManifest> {
    let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
    let value: Value = serde_json::from_str(&text).map_err(|e| {
        Error::input(format!(
            "{}: no JSON ({e}); expected what `subset make --out` writes",
            path.display()
        ))
    })?;
    // A set that is long-tailed itself writes another manifest.
    if value.get("list_sha256").is_some() {
        return Err(Error::input(format!(
            "{}: the manifest of a run on an image list, which uses the list as it is (all but the broken \
             pictures); it holds counts and checksums but no indices of a subset",
            path.display()
        )));
    }
    let manifest: SubsetManifest = serde_json::from_value(value).map_err(|e| {
        Error::input(format!(
            "{}: no manifest of a subset ({e}); expected what `subset make --out` writes",
            path.display()
        ))
    })?;
    manifest.check_itself().map_err(|e| Error::input(format!("{}: {e}", path.display())))?;
    Ok(manifest)
}

/// `subset show`.
pub(crate) fn show(path: &Path, json: bool) -> Result<ExitCode> {
    print(&read(path)?, None, json)
}

/// A manifest as JSON or as text; with the classes' names where they are known.
pub(crate) fn print(
    manifest: &SubsetManifest,
    names: Option<&[String]>,
    json: bool,
) -> Result<ExitCode> {
    if json {
        let text = serde_json::to_string(manifest)
            .map_err(|e| Error::run(format!("manifest as JSON: {e}")))?;
        println!("{text}");
        return Ok(ExitCode::SUCCESS);
    }
    let mut headings = vec!["class", "images", "group"];
    if names.is_some() {
        headings.insert(1, "name");
    }
    let mut table = Table::new(headings);
    for (class, &count) in manifest.counts.iter().enumerate() {
        let mut row = vec![class.to_string(), count.to_string()];
        row.push(ShotGroup::of(count).name().to_owned());
        if let Some(names) = names {
            row.insert(1, names[class].clone());
        }
        table.push(row);
    }
    print!("{}", table.markdown());
    println!("\n{}", rule(manifest));
    println!("total {}, SHA-256 of the indices {}", manifest.indices.len(), manifest.sha256);
    Ok(ExitCode::SUCCESS)
}

/// The rule in words, with the factor asked for and the one that the counts have.
fn rule(manifest: &SubsetManifest) -> String {
    let (shape, order) = (manifest.shape.name(), manifest.class_order);
    let most = manifest.counts.iter().max().copied().unwrap_or(0);
    let found = match manifest.counts.iter().min().copied().unwrap_or(0) {
        0 => format!("{most} to 0 images"),
        least => format!("{:.2} from {most} to {least} images", most as f64 / least as f64),
    };
    format!(
        "{}, {shape} profile, imbalance factor {} ({found}), class order {order}, rand_number {}",
        manifest.data_set, manifest.imbalance_factor, manifest.rand_number
    )
}

/// Where two manifests differ.
#[derive(Serialize)]
struct Comparison {
    equal: bool,
    /// `labels`, `images` or `order`; none if they are equal.
    differ_in: Option<&'static str>,
    images: [usize; 2],
    /// Images that both keep.
    common: usize,
    /// Classes with other counts: class, count in the first, count in the second.
    counts: Vec<(usize, u64, u64)>,
}

impl Comparison {
    fn of(a: &SubsetManifest, b: &SubsetManifest) -> Self {
        let sorted = |manifest: &SubsetManifest| {
            let mut indices = manifest.indices.clone();
            indices.sort_unstable();
            indices
        };
        let (left, right) = (sorted(a), sorted(b));
        let differ_in = if a.labels_sha256 != b.labels_sha256 {
            Some("labels")
        } else if left != right {
            Some("images")
        } else if a.indices != b.indices {
            Some("order")
        } else {
            None
        };
        let counts = a.counts.iter().zip(&b.counts).enumerate();
        Self {
            equal: differ_in.is_none(),
            differ_in,
            images: [left.len(), right.len()],
            common: left.iter().filter(|index| right.binary_search(index).is_ok()).count(),
            counts: counts.filter(|(_, (a, b))| a != b).map(|(c, (&a, &b))| (c, a, b)).collect(),
        }
    }

    fn print(&self) {
        let [one, other] = self.images;
        match self.differ_in {
            None => println!("equal: the same {one} images in the same order"),
            Some("labels") => println!("different: made from training sets with other labels"),
            Some("order") => println!("different order of the same {one} images"),
            Some(_) => {
                println!("different: {one} and {other} images, {} of them in both", self.common);
                for (class, a, b) in self.counts.iter().take(5) {
                    println!("class {class}: {a} and {b} images");
                }
                if self.counts.len() > 5 {
                    println!("and {} more classes", self.counts.len() - 5);
                }
            }
        }
    }
}

/// `subset compare`.
pub(crate) fn compare(one: &Path, other: &Path, json: bool) -> Result<ExitCode> {
    let comparison = Comparison::of(&read(one)?, &read(other)?);
    if json {
        print_json(&comparison)?;
    } else {
        comparison.print();
    }
    Ok(if comparison.equal { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// `subset export`.
pub(crate) fn export(path: &Path, npy: Option<&Path>, txt: Option<&Path>) -> Result<ExitCode> {
    if npy.is_none() && txt.is_none() {
        return Err(Error::input("subset export: give --npy FILE or --txt FILE"));
    }
    if npy.is_some() && npy == txt {
        return Err(Error::input("subset export: --npy and --txt name the same file"));
    }
    for out in [npy, txt].into_iter().flatten() {
        apart(out, path)?;
    }
    let manifest = read(path)?;
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
    fn the_numpy_file_is_aligned() {
        let file = npy_int64(&[1, 2, 3]);
        assert_eq!((file.len() - 24) % 64, 0);
        assert_eq!(file[file.len() - 8..], 3i64.to_le_bytes());
    }
}
