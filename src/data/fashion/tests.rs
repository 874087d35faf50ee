use super::*;
use crate::data::ImageSource as _;

#[test]
fn a_folder_without_the_files_is_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("train-images-idx3-ubyte"), "x").unwrap();
    let e = locate(Some(dir.path())).unwrap_err();
    assert!(e.to_string().contains("no train-labels-idx1-ubyte.gz"), "{e}");
    assert_eq!(e.exit_code(), 2);
}

#[test]
fn a_foreign_file_is_named_with_what_was_expected() {
    let dir = tempfile::tempdir().unwrap();
    for (name, _) in FASHION.files {
        fs::write(dir.path().join(name), [0, 0, 8, 1, 0, 0, 0, 1, 5]).unwrap();
    }
    let e = load_from(dir.path(), Check::Published, &mut |_| {}).unwrap_err().to_string();
    assert!(e.contains("train-images-idx3-ubyte"), "{e}");
}

#[test]
fn mnist_is_told_from_fashion_mnist_by_its_content() {
    let dir = tempfile::tempdir().unwrap();
    let raw = dir.path().join("MNIST/raw");
    fs::create_dir_all(&raw).unwrap();
    let e = load_mnist(dir.path(), Check::Published, &mut |_| {}).unwrap_err().to_string();
    assert!(e.contains("no train-images-idx3-ubyte.gz") && e.contains("of MNIST"), "{e}");
    // The right form with other content.
    for (name, _) in MNIST.files {
        let count = if name.starts_with("train") { 60_000u32 } else { 10_000 };
        let images = name.contains("idx3");
        let mut bytes = vec![0, 0, 8, if images { 3 } else { 1 }];
        bytes.extend(count.to_be_bytes());
        if images {
            bytes.extend([0, 0, 0, 28, 0, 0, 0, 28]);
        }
        bytes.resize(bytes.len() + count as usize * if images { 784 } else { 1 }, 0);
        fs::write(raw.join(name), bytes).unwrap();
    }
    let e = load_mnist(dir.path(), Check::Published, &mut |_| {}).unwrap_err().to_string();
    assert!(e.contains("not MNIST's file") && e.contains(MNIST.files[0].1), "{e}");
}

/// A folder of idx files with `train` and `test` images of `side` x `side` pixels, labels by `label`.
fn idx_folder(dir: &Path, (train, test): (u32, u32), side: u32, label: impl Fn(u32) -> u8) {
    for (name, _) in FASHION.files {
        let count = if name.starts_with("train") { train } else { test };
        let images = name.contains("idx3");
        let mut bytes = vec![0, 0, 8, if images { 3 } else { 1 }];
        bytes.extend(count.to_be_bytes());
        if images {
            bytes.extend([side, side].iter().flat_map(|n| n.to_be_bytes()));
            bytes.extend((0..count * side * side).map(|i| (i % 251) as u8));
        } else {
            bytes.extend((0..count).map(&label));
        }
        fs::write(dir.join(name), bytes).unwrap();
    }
}

#[test]
fn other_images_in_the_format_are_read_where_that_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    idx_folder(dir.path(), (30, 20), 28, |i| (i % 10) as u8);
    for load in [load_from, load_mnist] {
        let set = load(dir.path(), Check::Format, &mut |_| {}).unwrap();
        assert_eq!((set.train.len(), set.test.len(), set.train.height), (30, 20, 32));
        assert_eq!(set.train.labels[..12], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]);
        assert!(set.train.source.starts_with(Provenance::UNVERIFIED), "{}", set.train.source);
        let e = load(dir.path(), Check::Published, &mut |_| {}).unwrap_err().to_string();
        assert!(e.contains("[30, 28, 28], expected [60000, 28, 28]"), "{e}");
        assert!(e.contains("--unverified"), "{e}");
    }
    let refused = |side, label: fn(u32) -> u8| {
        idx_folder(dir.path(), (30, 20), side, label);
        let e = load_from(dir.path(), Check::Format, &mut |_| {}).unwrap_err();
        assert_eq!(e.exit_code(), 2);
        e.to_string()
    };
    let e = refused(27, |_| 0);
    assert!(e.contains("[30, 27, 27], expected [any number, 28, 28]"), "{e}");
    let e = refused(28, |i| (i % 11) as u8);
    assert!(e.contains("train-labels-idx1-ubyte: label 10 of image 10; expected below 10"), "{e}");
    idx_folder(dir.path(), (30, 20), 28, |_| 0);
    fs::write(dir.path().join("t10k-labels-idx1-ubyte"), [0, 0, 8, 1, 0, 0, 0, 1, 5]).unwrap();
    let e = load_from(dir.path(), Check::Format, &mut |_| {}).unwrap_err().to_string();
    assert!(e.contains("15680 image bytes and 1 labels"), "{e}");
}

#[test]
fn wrong_sizes_are_refused_before_the_entries_are_read() {
    let dir = tempfile::tempdir().unwrap();
    idx_folder(dir.path(), (30, 20), 28, |_| 0);
    // A header alone: reading on would call the file truncated.
    let header = [0, 0, 8, 3, 0, 0, 0xea, 0x60, 0, 0, 0, 29, 0, 0, 0, 28];
    fs::write(dir.path().join("train-images-idx3-ubyte"), header).unwrap();
    for check in [Check::Published, Check::Format] {
        let e = load_from(dir.path(), check, &mut |_| {}).unwrap_err().to_string();
        assert!(e.contains("an array of [60000, 29, 28]"), "{e}");
    }
}

#[test]
#[ignore = "reads or fetches the real data set: cargo test -- --ignored fashion"]
fn the_real_set_is_whole() {
    let set = load(Check::Published, &[], &mut |step| eprintln!("{step:?}")).unwrap();
    assert_eq!(set.train.class_counts().unwrap().as_slice(), [6000; 10]);
    assert_eq!(set.test.class_counts().unwrap().as_slice(), [1000; 10]);
    let (mean, std) = (set.normalize.mean()[0], set.normalize.std()[0]);
    eprintln!("mean {mean}, std {std} (28x28); {:?} padded", set.train.channel_statistics());
    assert!((mean - 0.2860).abs() < 5e-5 && (std - 0.3530).abs() < 5e-5);
}
