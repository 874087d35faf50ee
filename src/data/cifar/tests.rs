use super::*;
use crate::data::synthetic::Synthetic;

fn synthetic(format: Cifar) -> Synthetic {
    Synthetic { format, train_per_class: 4, test_per_class: 2, seed: 3 }
}

/// A batch as Python 2's cPickle wrote it (protocol 2).
fn pickled(labels: &[(&str, Vec<u8>)], data: &[u8]) -> Vec<u8> {
    let count = (data.len() / PIXELS) as u32;
    let mut file =
        b"\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03".to_vec();
    file.extend(b"cnumpy\nndarray\nq\x04K\x00\x85U\x01b\x87Rq\x05(K\x01J");
    file.extend(count.to_le_bytes());
    file.extend(b"M\x00\x0c\x86cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01\x87Rq\x07(K\x03U\x01|NNN");
    file.extend(b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T");
    file.extend((data.len() as u32).to_le_bytes());
    file.extend(data);
    file.extend(b"tb");
    for (key, values) in labels {
        file.extend([b'U', key.len() as u8]);
        file.extend(key.as_bytes());
        file.extend(b"](");
        file.extend(values.iter().flat_map(|&v| [b'K', v]));
        file.push(b'e');
    }
    file.extend(b"u.");
    file
}

/// Rewrites a binary folder as a pickle folder.
fn pickle_folder(format: Cifar, from: &Path, to: &Path) {
    let head = format.label_bytes();
    for (stem, ..) in format.batches() {
        let records = std::fs::read(from.join(format!("{stem}.bin"))).unwrap();
        let column =
            |i: usize| records.chunks_exact(head + PIXELS).map(|r| r[i]).collect::<Vec<u8>>();
        let data: Vec<u8> =
            records.chunks_exact(head + PIXELS).flat_map(|r| r[head..].to_vec()).collect();
        let labels = match format {
            Cifar::Ten => vec![("labels", column(0))],
            Cifar::Hundred => vec![("coarse_labels", column(0)), ("fine_labels", column(1))],
        };
        std::fs::write(to.join(stem), pickled(&labels, &data)).unwrap();
    }
}

#[test]
fn pickles_and_binary_files_read_alike() {
    for format in [Cifar::Ten, Cifar::Hundred] {
        let dir = tempfile::tempdir().unwrap();
        let [bin, py] = format.folders().map(|name| dir.path().join(name));
        synthetic(format).write(&bin).unwrap();
        std::fs::create_dir(&py).unwrap();
        pickle_folder(format, &bin, &py);
        assert_eq!(format.locate(dir.path()), Some(Form::Binary(bin.clone())));
        assert_eq!(format.locate(&py), Some(Form::Pickle(py.clone())));
        let (a, b) =
            (format.read(&bin, Check::Format).unwrap(), format.read(&py, Check::Format).unwrap());
        assert_eq!((a.train.sha256, a.test.sha256), (b.train.sha256, b.test.sha256));
    }
}

/// The same batch as records and as Python 3 pickled it (see `tests/fixtures/README.md`).
#[test]
fn pickles_of_python_3_give_the_records() {
    let dir = Path::new("tests/fixtures/pickles");
    let expected = std::fs::read(dir.join("batch.bin")).unwrap();
    let mut protocols = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "pickle") {
            let name = path.display().to_string();
            let bytes = std::fs::read(&path).unwrap();
            protocols.push(bytes[1]);
            let records = from_pickle(Cifar::Ten, &bytes, &name);
            assert!(records.unwrap_or_else(|e| panic!("{e}")) == expected, "{name}");
            for n in (0..bytes.len()).step_by(13) {
                let e = from_pickle(Cifar::Ten, &bytes[..n], &name).unwrap_err();
                assert!(e.to_string().contains(&name), "{n}: {e}");
            }
        }
    }
    protocols.sort_unstable();
    assert_eq!(protocols, [2, 2, 2, 2, 3, 3, 4, 4, 5, 5, 5, 5]);
}

#[test]
fn other_content_is_not_taken_for_the_published_set() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("set");
    synthetic(Cifar::Ten).write(&folder).unwrap();
    let e = Cifar::Ten.read(&folder, Check::Published).unwrap_err().to_string();
    assert!(e.contains("data_batch_1.bin: 8 images, expected 10000"), "{e}");
    let records = vec![0; 10_000 * 3073];
    std::fs::write(folder.join("data_batch_1.bin"), records).unwrap();
    let e = Cifar::Ten.read(&folder, Check::Published).unwrap_err().to_string();
    assert!(e.contains("expected cee91656"), "{e}");
}

#[test]
fn truncated_and_foreign_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("set");
    synthetic(Cifar::Hundred).write(&folder).unwrap();
    let path = folder.join("test.bin");
    let whole = std::fs::read(&path).unwrap();
    let read = || Cifar::Hundred.read(&folder, Check::Format).unwrap_err();
    std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    assert!(read().to_string().contains("test.bin"), "{}", read());
    let mut bad = whole.clone();
    bad[1] = 100;
    std::fs::write(&path, bad).unwrap();
    assert!(read().to_string().contains("image 0 has label 100, expected 0..100"), "{}", read());
    std::fs::remove_file(&path).unwrap();
    assert_eq!(read().exit_code(), 2);
    assert!(
        read().to_string().contains("test.bin: missing, though 1 of the 2 files"),
        "{}",
        read()
    );
    std::fs::remove_file(folder.join("train.bin")).unwrap();
    assert!(read().to_string().contains("no cifar100 here"), "{}", read());
}

#[test]
fn a_generated_set_replaces_nothing_but_its_like() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("set");
    synthetic(Cifar::Ten).write(&folder).unwrap();
    synthetic(Cifar::Ten).write(&folder).unwrap();
    std::fs::write(folder.join("notes.txt"), "mine").unwrap();
    let e = synthetic(Cifar::Ten).write(&folder).unwrap_err();
    assert!(e.exit_code() == 2 && e.to_string().contains("notes.txt is there"), "{e}");
    assert!(synthetic(Cifar::Hundred).write(&folder).is_err());
    assert!(synthetic(Cifar::Ten).write(&folder.join("notes.txt")).is_err());
    assert_eq!(std::fs::read_to_string(folder.join("notes.txt")).unwrap(), "mine");
}

#[cfg(feature = "train")]
#[test]
fn archives_of_both_forms_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let [bin, py] = Cifar::Ten.folders().map(|name| dir.path().join(name));
    synthetic(Cifar::Ten).write(&bin).unwrap();
    std::fs::create_dir(&py).unwrap();
    pickle_folder(Cifar::Ten, &bin, &py);
    let expected = Cifar::Ten.read(&bin, Check::Format).unwrap();
    for (folder, name) in [&bin, &py].into_iter().zip(Cifar::Ten.archives()) {
        let archive = dir.path().join(name);
        let file = File::create(&archive).unwrap();
        let gz = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        let mut tar = tar::Builder::new(gz);
        tar.append_dir_all(folder.file_name().unwrap(), folder).unwrap();
        tar.into_inner().unwrap().finish().unwrap();
        let read = Cifar::Ten.read(&archive, Check::Format).unwrap();
        assert_eq!(read.train.sha256, expected.train.sha256);

        let whole = std::fs::read(&archive).unwrap();
        for n in [0, 10, whole.len() / 2, whole.len() - 1000] {
            std::fs::write(&archive, &whole[..n]).unwrap();
            let e = Cifar::Ten.read(&archive, Check::Format).unwrap_err();
            assert_eq!(e.exit_code(), 2, "{n}: {e}");
            assert!(e.to_string().contains(name), "{e}");
        }
    }
}
