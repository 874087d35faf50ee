//! Every reader of the library with whole files for it, for [`fuzz`](crate::fuzz) to damage.

use std::{fs, io::Write as _, path::Path};

use rescom::{
    Error, Result,
    data::{
        CorruptedSets, ImageFiles, ImageSource as _,
        cifar::{Check, Cifar},
        idx,
        npy::NpyBytes,
        synthetic::Synthetic,
    },
    run::{FeatureSample, RecipeFile, RunDir, RunFeatures, RunRecord, atomic},
    train::{HostTensor, HostTensors, from_safetensors, inspect, to_safetensors},
};

use crate::records;

/// A file below the folder of a reader.
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

/// What a reader reads from a folder, as far as file `which` of `files` concerns it.
type Read = Box<dyn Fn(&Path, usize) -> Result<()> + Sync>;

/// A reader and whole files for it.
pub(crate) struct Reader {
    pub(crate) name: &'static str,
    /// What is damaged, one at a time.
    pub(crate) files: Vec<File>,
    /// What must lie beside them.
    pub(crate) others: Vec<File>,
    /// Makes checksums inside a damaged file right again, so that what is behind them is met too.
    pub(crate) mend: Option<fn(&mut [u8])>,
    pub(crate) read: Read,
}

impl Reader {
    /// Writes the whole files.
    pub(crate) fn write(&self, folder: &Path) {
        for File { name, bytes } in self.files.iter().chain(&self.others) {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }
}

/// A reader of single files without company.
fn of_files(
    name: &'static str,
    files: Vec<File>,
    read: impl Fn(&Path) -> Result<()> + Sync + 'static,
) -> Reader {
    let names: Vec<String> = files.iter().map(|file| file.name.clone()).collect();
    let read = move |folder: &Path, which: usize| read(&folder.join(&names[which]));
    Reader { name, files, others: Vec::new(), mend: None, read: Box::new(read) }
}

fn file(name: &str, bytes: impl Into<Vec<u8>>) -> File {
    File { name: name.to_owned(), bytes: bytes.into() }
}

fn fixture(folder: &str, name: &str) -> File {
    file(name, fs::read(format!("tests/fixtures/{folder}/{name}")).unwrap())
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(bytes).unwrap();
    gz.finish().unwrap()
}

/// Every reader.
pub(crate) fn all() -> Vec<Reader> {
    let pictures = |ending: &str| {
        let names = fs::read_dir("tests/fixtures/pictures").unwrap();
        let mut names: Vec<String> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name.ends_with(ending));
        names.sort();
        names
    };
    vec![
        idx_files(),
        pickles(),
        batches(),
        archives(),
        arrays(),
        lists(),
        Reader { mend: Some(mend_png), ..images("png", &pictures(".png")) },
        images("jpeg", &pictures(".jpg")),
        tensors(),
        recipes(),
        run_records(),
        epochs(),
        features(),
        checkpoints(),
    ]
}

fn idx_files() -> Reader {
    let images: Vec<u8> =
        [&[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3][..], &[9; 12]].concat();
    let files = vec![file("x-images.gz", gzip(&images)), file("x-images", images)];
    of_files("idx", files, |path| idx::read(path, 3).map(drop))
}

/// A folder of pickles: of two images, as Python 2 left them, and in all protocols of NumPy.
fn pickles() -> Reader {
    let mut files = vec![file("data_batch_1", crate::properties::pickle())];
    let fixtures = [
        "numpy1-protocol2-bytes",
        "numpy1-protocol5-str",
        "numpy2-protocol3-bytes",
        "numpy2-protocol4-str",
        "numpy2-protocol5-bytes",
    ];
    for (at, name) in fixtures.iter().enumerate() {
        let stem = ["data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"];
        files.push(File { name: stem[at].into(), ..fixture("pickles", &format!("{name}.pickle")) });
    }
    let read = |folder: &Path, _: usize| Cifar::Ten.read(folder, Check::Format).map(drop);
    Reader { name: "pickle", files, others: Vec::new(), mend: None, read: Box::new(read) }
}

fn generated(format: Cifar) -> Vec<File> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("set");
    Synthetic { format, train_per_class: 1, test_per_class: 1, seed: 0 }.write(&path).unwrap();
    let entries = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<File> = entries
        .filter(|path| path.extension().is_some_and(|ending| ending == "bin"))
        .map(|path| file(path.file_name().unwrap().to_str().unwrap(), fs::read(&path).unwrap()))
        .collect();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files
}

fn batches() -> Reader {
    let below = |folder: &str, files: Vec<File>| {
        files.into_iter().map(move |f| file(&format!("{folder}/{}", f.name), f.bytes)).collect()
    };
    let mut files: Vec<File> = below("ten", generated(Cifar::Ten));
    let ten = files.len();
    files.extend::<Vec<File>>(below("hundred", generated(Cifar::Hundred)));
    let read = move |folder: &Path, which: usize| {
        let (format, name) =
            if which < ten { (Cifar::Ten, "ten") } else { (Cifar::Hundred, "hundred") };
        format.read(&folder.join(name), Check::Format).map(drop)
    };
    Reader { name: "cifar batches", files, others: Vec::new(), mend: None, read: Box::new(read) }
}

/// Archives, damaged as they are and before they are compressed.
fn archives() -> Reader {
    let pack = |files: &[File]| {
        let mut tar = tar::Builder::new(Vec::new());
        for File { name, bytes } in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            tar.append_data(&mut header, format!("set/{name}"), &bytes[..]).unwrap();
        }
        tar.into_inner().unwrap()
    };
    let [binary, pickled] = [pack(&generated(Cifar::Ten)), pack(&pickles().files)];
    let files = vec![
        file("binary.tar.gz", gzip(&binary)),
        file("pickled.tar.gz", gzip(&pickled)),
        file("binary.tar", binary),
        file("pickled.tar", pickled),
    ];
    let read = |path: &Path| {
        let packed = path.with_extension("tar.gz");
        if path.extension().is_some_and(|ending| ending == "gz") {
            return Cifar::Ten.read(path, Check::Format).map(drop);
        }
        let whole = fs::read(&packed).map_err(Error::io("read", &packed))?;
        let tar = fs::read(path).map_err(Error::io("read", path))?;
        fs::write(&packed, gzip(&tar)).map_err(Error::io("write", &packed))?;
        let found = Cifar::Ten.read(&packed, Check::Format).map(drop);
        fs::write(&packed, whole).map_err(Error::io("write", &packed))?;
        found
    };
    of_files("cifar archives", files, read)
}

/// Corrupted test sets in NumPy's format: images and their labels.
fn arrays() -> Reader {
    let npy = |version: u8, descr: &str, shape: &str, values: &[u8]| {
        let header =
            format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
        let length = (header.len() as u32).to_le_bytes();
        let length = if version == 1 { &length[..2] } else { &length[..] };
        [b"\x93NUMPY", &[version, 0][..], length, header.as_bytes(), values].concat()
    };
    let images: Vec<u8> = (0..480).map(|i| (i % 251) as u8).collect();
    let labels = [3i64, 7].map(i64::to_le_bytes);
    let files = vec![
        file("fog.npy", npy(1, "|u1", "(10, 4, 4, 3)", &images)),
        file("labels.npy", npy(2, "<i8", "(2,)", labels.as_flattened())),
    ];
    let read = |folder: &Path, _: usize| {
        let array = NpyBytes::open(&folder.join("fog.npy"))?;
        array.rows(0..array.shape()[0])?;
        let sets = CorruptedSets::open(folder, 10, 3)?;
        for (name, severity) in sets.all() {
            let images = sets.load(name, severity)?;
            images.image(0, &mut Vec::new())?;
        }
        Ok(())
    };
    Reader { name: "npy", files, others: Vec::new(), mend: None, read: Box::new(read) }
}

fn lists() -> Reader {
    let files = vec![file("list.txt", *b"a/1.jpg 0\nb/2.jpg 1\nc/3 x.png\t2\n")];
    of_files("image lists", files, |path| {
        ImageFiles::from_list(path, path.parent().unwrap(), None).map(drop)
    })
}

fn images(name: &'static str, names: &[String]) -> Reader {
    let files = names.iter().map(|name| fixture("pictures", name)).collect();
    let list: String = names.iter().map(|name| format!("{name} 0\n")).collect();
    let read = |folder: &Path, which: usize| {
        let files = ImageFiles::from_list(&folder.join("list.txt"), folder, None)?;
        files.image(which as u32, &mut Vec::new()).map(drop)
    };
    let others = vec![file("list.txt", list)];
    Reader { name, files, others, mend: None, read: Box::new(read) }
}

/// Makes the checksum of each chunk right.
fn mend_png(bytes: &mut [u8]) {
    let mut at = 8;
    while let Some(length) = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()) {
        let end = at + 8 + u32::from_be_bytes(*length) as usize;
        let mut crc = flate2::Crc::new();
        let Some(content) = bytes.get(at + 4..end) else { return };
        crc.update(content);
        let Some(sum) = bytes.get_mut(end..end + 4) else { return };
        sum.copy_from_slice(&crc.sum().to_be_bytes());
        at = end + 4;
    }
}

fn state() -> HostTensors {
    HostTensors::from([
        ("w".to_owned(), HostTensor::f32(&[2, 3], vec![0.5; 6]).unwrap()),
        ("steps".to_owned(), HostTensor::i64(&[1], vec![9]).unwrap()),
    ])
}

fn tensors() -> Reader {
    let sample = FeatureSample { dim: 2, features: vec![0.5, -1.0, 2.0, 3.0], labels: vec![0, 9] };
    let files = vec![
        file("w.safetensors", to_safetensors(&state()).unwrap()),
        file("sample.safetensors", sample.to_safetensors().unwrap()),
    ];
    of_files("safetensors", files, |path| {
        let bytes = fs::read(path).map_err(Error::io("read", path))?;
        let name = path.display().to_string();
        if path.ends_with("sample.safetensors") {
            FeatureSample::from_safetensors(&name, &bytes)?;
        }
        from_safetensors(&name, &bytes).map(drop)
    })
}

fn recipes() -> Reader {
    let files = ["fashion-mnist-lt", "cifar100-lt-imb100", "imagenet-lt-resnet50"]
        .map(|name| format!("{name}.toml"))
        .map(|name| file(&name, fs::read(format!("experiments/recipes/{name}")).unwrap()));
    of_files("recipes", files.into(), |path| {
        let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
        let (recipe, _) = RecipeFile::parse(&text, &path.display().to_string())?.resolve()?;
        recipe.to_toml().map(drop)
    })
}

fn record() -> RunRecord {
    records::run(records::FASHION, &[], 0, 0.5).record
}

fn run_records() -> Reader {
    let files = vec![file("record.json", serde_json::to_vec(&record()).unwrap())];
    of_files("records", files, |path| {
        let record: RunRecord = atomic::read_json(path)?;
        // What reports ask of a record first.
        let _ = (record.imbalance_factor(), record.method_label(), record.is_unverified());
        Ok(())
    })
}

fn epochs() -> Reader {
    let record = record();
    let lines = |n: usize| -> String {
        let line = |epoch| serde_json::to_string(epoch).unwrap() + "\n";
        record.epochs[..n].iter().map(line).collect()
    };
    let files = vec![file("epochs.jsonl", lines(4))];
    let read =
        move |folder: &Path, _: usize| RunDir::open(folder, &record.recipe)?.epochs(4).map(drop);
    Reader { name: "epochs", files, others: Vec::new(), mend: None, read: Box::new(read) }
}

fn features() -> Reader {
    let features = records::features(&record());
    let files = vec![
        file("features.json", serde_json::to_vec(&features.summary).unwrap()),
        file("features.safetensors", features.sample.to_safetensors().unwrap()),
    ];
    let read = |folder: &Path, _: usize| {
        let read = RunFeatures::read(folder)?;
        for (_, group) in read.iter().flat_map(|features| features.summary.groups()) {
            group.density();
        }
        Ok(())
    };
    Reader { name: "features", files, others: Vec::new(), mend: None, read: Box::new(read) }
}

/// The folder of a run that was interrupted after its first epoch.
fn checkpoints() -> Reader {
    let record = record();
    let tensors = to_safetensors(&state()).unwrap();
    let sha256: String = {
        use sha2::Digest as _;
        sha2::Sha256::digest(&tensors).iter().map(|b| format!("{b:02x}")).collect()
    };
    let about = serde_json::json!({"epoch": 1, "sha256": sha256, "seconds": 2.5}).to_string();
    let line = serde_json::to_string(&record.epochs[0]).unwrap() + "\n";
    let files = vec![
        file("checkpoint-0001.json", about),
        file("checkpoint-0001.safetensors", tensors),
        file("epochs.jsonl", line),
        file("recipe.toml", record.recipe.to_toml().unwrap()),
    ];
    let read = move |folder: &Path, _: usize| inspect(folder, &record.recipe);
    Reader { name: "checkpoints", files, others: Vec::new(), mend: None, read: Box::new(read) }
}
