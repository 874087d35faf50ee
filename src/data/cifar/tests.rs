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
    let mut bad = whole.clone();
    bad[0] = 20;
    std::fs::write(&path, bad).unwrap();
    assert!(
        read().to_string().contains("image 0 has coarse label 20, expected 0..20"),
        "{}",
        read()
    );
}

#[test]
fn the_first_missing_file_is_named_with_its_size() {
    for (format, missing, size) in [
        (Cifar::Ten, "data_batch_3", "10000 images, 30730000 bytes"),
        (Cifar::Hundred, "test", "10000 images, 30740000 bytes"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let nothing = format.read(dir.path(), Check::Format).unwrap_err();
        assert!(nothing.to_string().contains(&format!("no {} here", format.name())), "{nothing}");
        let [bin, py] = format.folders().map(|name| dir.path().join(name));
        synthetic(format).write(&bin).unwrap();
        std::fs::create_dir(&py).unwrap();
        pickle_folder(format, &bin, &py);
        std::fs::remove_file(bin.join(format!("{missing}.bin"))).unwrap();
        std::fs::remove_file(py.join(missing)).unwrap();
        // The folder itself, and the folder around both.
        for at in [&bin, dir.path()] {
            let e = format.read(at, Check::Format).unwrap_err();
            assert_eq!(e.exit_code(), 2);
            let e = e.to_string();
            assert!(e.contains(&format!("{missing}.bin is not (published: {size})")), "{e}");
        }
        let e = format.read(&py, Check::Format).unwrap_err().to_string();
        assert!(e.contains(&format!("{missing} is not (published: 10000 images)")), "{e}");
    }
}

#[test]
fn other_pickles_need_no_coarse_labels() {
    let dir = tempfile::tempdir().unwrap();
    let [bin, py] = Cifar::Hundred.folders().map(|name| dir.path().join(name));
    synthetic(Cifar::Hundred).write(&bin).unwrap();
    std::fs::create_dir(&py).unwrap();
    for stem in ["train", "test"] {
        let records = std::fs::read(bin.join(format!("{stem}.bin"))).unwrap();
        let records = records.chunks_exact(2 + PIXELS);
        let labels: Vec<u8> = records.clone().map(|r| r[1]).collect();
        let data: Vec<u8> = records.flat_map(|r| r[2..].to_vec()).collect();
        std::fs::write(py.join(stem), pickled(&[("fine_labels", labels)], &data)).unwrap();
    }
    let read = |at, check| Cifar::Hundred.read(at, check);
    let (a, b) = (read(&bin, Check::Format).unwrap(), read(&py, Check::Format).unwrap());
    assert_eq!((a.train.sha256, a.test.sha256), (b.train.sha256, b.test.sha256));
    let e = read(&py, Check::Published).unwrap_err().to_string();
    assert!(e.contains("no list \"coarse_labels\""), "{e}");
}

#[cfg(feature = "train")]
#[test]
fn an_entry_that_is_no_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cifar-100-binary.tar.gz");
    let packed = |kind| {
        let gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let mut tar = tar::Builder::new(gz);
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(0);
        header.set_link_name("elsewhere").unwrap();
        tar.append_data(&mut header, "train", std::io::empty()).unwrap();
        std::fs::write(&path, tar.into_inner().unwrap().finish().unwrap()).unwrap();
        Cifar::Hundred.read(&path, Check::Format).unwrap_err().to_string()
    };
    let e = packed(tar::EntryType::Symlink);
    assert!(e.contains("its train is no file but an entry of type Symlink"), "{e}");
    // A folder of that name is passed over.
    let e = packed(tar::EntryType::Directory);
    assert!(e.contains("no train in this archive"), "{e}");
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
        let file = std::fs::File::create(&archive).unwrap();
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

#[cfg(feature = "train")]
#[test]
fn an_archive_is_read_to_its_checksum() {
    let dir = tempfile::tempdir().unwrap();
    let bin = dir.path().join("cifar-10-batches-bin");
    synthetic(Cifar::Ten).write(&bin).unwrap();
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_dir_all("set", &bin).unwrap();
    // Stored, not compressed: a bit that flips is a pixel that changes, and nothing but the sum tells.
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    std::io::Write::write_all(&mut gz, &tar.into_inner().unwrap()).unwrap();
    let whole = gz.finish().unwrap();
    let path = dir.path().join("cifar-10.tar.gz");
    let read = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        Cifar::Ten.read(&path, Check::Format).map(drop).map_err(|e| e.to_string())
    };
    read(&whole).unwrap();
    let refused = |bytes: &[u8]| {
        let e = read(bytes).unwrap_err();
        assert!(e.contains("not a whole .tar.gz"), "{e}");
    };
    for at in [whole.len() / 2, whole.len() / 3, whole.len() - 6, whole.len() - 1] {
        let mut flipped = whole.clone();
        flipped[at] ^= 4;
        refused(&flipped);
    }
    for cut in [1, 4, 8, 9, 600] {
        refused(&whole[..whole.len() - cut]);
    }
    // What is quoted of a foreign header is one line.
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_data(&mut tar::Header::new_gnu(), "train\n", std::io::empty()).unwrap();
    let mut bytes = tar.into_inner().unwrap();
    bytes[148..156].copy_from_slice(b"\nbroken ");
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gz, &bytes).unwrap();
    let e = read(&gz.finish().unwrap()).unwrap_err();
    assert!(e.contains("not a whole .tar.gz") && !e.contains('\n'), "{e}");
}
