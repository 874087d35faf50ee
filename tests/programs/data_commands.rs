//! `rescom-repro data` and `rescom-repro subset` from outside: what they print, write, refuse and leave
//! alone. No test reaches beyond this machine: other addresses than the local one lead to a closed port.

use std::fs;

use serde_json::Value;

mod place;

use place::{Place, names, serve};

#[test]
fn a_generated_set_takes_no_folder_that_holds_something_else() {
    let place = Place::new();
    place.synthesize("set");
    let before = fs::read(place.path("set/test_batch.bin")).unwrap();
    // An earlier generated set is replaced.
    place.succeeds(&[
        "data",
        "synthesize",
        "--out",
        "set",
        "--train",
        "40",
        "--test",
        "4",
        "--seed",
        "1",
    ]);
    assert_ne!(fs::read(place.path("set/test_batch.bin")).unwrap(), before);

    fs::create_dir(place.path("home")).unwrap();
    fs::write(place.path("home/thesis.tex"), "years of work").unwrap();
    fs::write(place.path("file"), "a file").unwrap();
    let e = place.fails(2, &["data", "synthesize", "--out", "home", "--train", "1", "--test", "1"]);
    assert!(e.contains("home") && e.contains("holds thesis.tex"), "{e}");
    assert_eq!(names(&place.path("home")), ["thesis.tex"]);
    let e = place.fails(2, &["data", "synthesize", "--out", "file", "--train", "1", "--test", "1"]);
    assert!(e.contains("not a folder"), "{e}");
    assert_eq!(fs::read(place.path("file")).unwrap(), b"a file");
    // A file that is called as the set's are is not known to be generated; a link is no folder.
    fs::create_dir(place.path("mine")).unwrap();
    fs::write(place.path("mine/train.bin"), "years of work").unwrap();
    std::os::unix::fs::symlink(place.path("home"), place.path("link")).unwrap();
    for (out, words) in [("mine", "holds train.bin"), ("link", "not a folder")] {
        let args =
            ["data", "synthesize", "--format", "cifar100", "--train", "1", "--test", "1", "--out"];
        let e = place.fails(2, &[&args[..], &[out]].concat());
        assert!(e.contains(words), "{e}");
    }
    assert_eq!(fs::read(place.path("mine/train.bin")).unwrap(), b"years of work");
    assert!(place.path("link").is_symlink());
    assert_eq!(names(place.folder()), ["file", "home", "link", "mine", "set"]);
}

#[test]
fn a_set_on_disk_is_checked_and_summarised() {
    let place = Place::new();
    place.synthesize("set");
    let check = ["data", "check", "--dataset", "cifar10", "--data", "set"];
    let e = place.fails(2, &check);
    assert!(e.contains("data_batch_1.bin: 80 images, expected 10000"), "{e}");
    let found = place.json(&[&check[..], &["--unverified", "--json"]].concat());
    assert_eq!(found["set"], "cifar10");
    assert_eq!((&found["verified"], &found["source"]), (&Value::from(false), &Value::from("set")));
    assert_eq!(found["train"]["per_class"], serde_json::json!([40u8; 10].to_vec()));
    assert_eq!(found["test"]["images"], 40);
    let shown = place.succeeds(&[&check[..], &["--unverified"]].concat());
    assert!(shown.contains("400 training and 40 test images"), "{shown}");
    assert!(shown.contains("NOT compared with the published checksums"), "{shown}");
    assert!(shown.contains(found["train"]["sha256"].as_str().unwrap()), "{shown}");
    // `fetch --data` reads the same.
    let fetch =
        ["data", "fetch", "--dataset", "cifar10", "--data", "set", "--unverified", "--json"];
    assert_eq!(place.json(&fetch), found);

    fs::remove_file(place.path("set/data_batch_4.bin")).unwrap();
    let e = place.fails(2, &[&check[..], &["--unverified"]].concat());
    assert!(e.contains("data_batch_4.bin is not (published: 10000 images, 30730000 bytes)"), "{e}");
    // Nothing is fetched by a check.
    let e = place.fails(2, &["data", "check", "--dataset", "cifar100"]);
    assert!(e.contains("data fetch --dataset cifar100"), "{e}");
    assert!(!place.path("cache").exists());
}

#[test]
fn other_idx_files_are_read_where_that_is_asked_for() {
    let place = Place::new();
    place.idx("idx", 10);
    for set in ["fashion-mnist", "mnist"] {
        for command in [["data", "check"], ["data", "fetch"]] {
            let args = [&command[..], &["--dataset", set, "--data", "idx"]].concat();
            let e = place.fails(2, &args);
            assert!(e.contains("expected [60000, 28, 28]") && e.contains("--unverified"), "{e}");
            let found = place.json(&[&args[..], &["--unverified", "--json"]].concat());
            assert_eq!(found["train"]["per_class"], serde_json::json!([3u8; 10].to_vec()));
        }
        let args = ["subset", "make", "--dataset", set, "--data", "idx", "--imb", "3", "--json"];
        let made = place.json(&[&args[..], &["--unverified"]].concat());
        assert_eq!(made["counts"][0], 3);
        assert!(place.fails(2, &args).contains("--unverified"));
    }
    place.idx("idx", 11);
    let e =
        place.fails(2, &["data", "check", "--dataset", "mnist", "--data", "idx", "--unverified"]);
    assert!(e.contains("label 10 of image 10; expected below 10"), "{e}");
}

#[test]
fn a_manifest_is_shown_compared_and_exported() {
    let place = Place::new();
    place.synthesize("set");
    place.manifest("a.json", &[]);
    place.manifest("b.json", &["--rand-number", "1"]);
    let shown = place.succeeds(&["subset", "show", "a.json"]);
    let manifest = place.json(&["subset", "show", "a.json", "--json"]);
    let written: Value = serde_json::from_slice(&fs::read(place.path("a.json")).unwrap()).unwrap();
    assert_eq!(manifest, written);
    // int(40 * 0.25 ** (c / 9))
    let counts = [40, 34, 29, 25, 21, 18, 15, 13, 11, 10];
    assert_eq!(manifest["counts"], serde_json::json!(counts));
    assert!(shown.contains("| 9 "), "{shown}");
    for part in
        ["exp profile", "imbalance factor 4 (4.00 from 40 to 10", "total 216", "rand_number 0"]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(shown.contains(manifest["sha256"].as_str().unwrap()), "{shown}");

    assert!(
        place
            .succeeds(&["subset", "compare", "a.json", "a.json"])
            .starts_with("equal: the same 216")
    );
    let other = place.run(&["subset", "compare", "a.json", "b.json", "--json"]);
    assert_eq!(other.status.code(), Some(1));
    let other: Value = serde_json::from_slice(&other.stdout).unwrap();
    assert_eq!(
        (&other["equal"], &other["differ_in"]),
        (&Value::from(false), &Value::from("images"))
    );
    assert_eq!(other["images"], serde_json::json!([216, 216]));

    place.succeeds(&[
        "subset",
        "export",
        "a.json",
        "--npy",
        "new/deep/i.npy",
        "--txt",
        "new/i.txt",
    ]);
    let lines = fs::read_to_string(place.path("new/i.txt")).unwrap();
    let indices: Vec<i64> = serde_json::from_value(manifest["indices"].clone()).unwrap();
    assert!(lines.lines().map(|line| line.parse::<i64>().unwrap()).eq(indices.iter().copied()));
    let npy = fs::read(place.path("new/deep/i.npy")).unwrap();
    let stored = npy[npy.len() - 8 * 216..].as_chunks::<8>().0;
    assert!(stored.iter().map(|b| i64::from_le_bytes(*b)).eq(indices));
    assert_eq!(names(&place.path("new")), ["deep", "i.txt"]);
    assert!(place.fails(2, &["subset", "export", "a.json"]).contains("--npy FILE or --txt FILE"));
}

#[test]
fn a_manifest_that_was_edited_is_named_as_damaged() {
    let place = Place::new();
    place.synthesize("set");
    place.manifest("a.json", &[]);
    let whole: Value = serde_json::from_slice(&fs::read(place.path("a.json")).unwrap()).unwrap();
    let edited = |field: &str, at: usize, by: i64| {
        let mut manifest = whole.clone();
        let number = &mut manifest[field][at];
        *number = Value::from(number.as_i64().unwrap() + by);
        fs::write(place.path("edited.json"), manifest.to_string()).unwrap();
        for args in [
            &["subset", "show", "edited.json"][..],
            &["subset", "compare", "a.json", "edited.json"],
            &["subset", "export", "edited.json", "--txt", "indices.txt"],
        ] {
            let e = place.fails(2, args);
            assert!(e.contains("edited.json: damaged subset manifest"), "{e}");
        }
        assert!(!place.path("indices.txt").exists());
    };
    edited("counts", 3, 1);
    edited("indices", 3, 1);
    // Counts that still add up.
    let mut manifest = whole.clone();
    manifest["counts"][0] = Value::from(39);
    manifest["counts"][9] = Value::from(11);
    fs::write(place.path("moved.json"), manifest.to_string()).unwrap();
    let e = place.fails(2, &["subset", "show", "moved.json"]);
    assert!(e.contains("its counts are not those of its rule"), "{e}");
    // Of a run on an image list.
    let list = r#"{"data_set":"places-lt","list_sha256":"00","labels_sha256":"00","counts":[2],"skipped":[],"sha256":"00"}"#;
    fs::write(place.path("subset.json"), list).unwrap();
    let e = place.fails(2, &["subset", "show", "subset.json"]);
    assert!(e.contains("the manifest of a run on an image list"), "{e}");
    fs::write(place.path("other.json"), "{}").unwrap();
    let e = place.fails(2, &["subset", "show", "other.json"]);
    assert!(e.contains("other.json: no manifest of a subset"), "{e}");
}

#[test]
fn pictures_of_a_set_of_folders_and_of_a_list_are_shown() {
    let place = Place::new();
    place.synthesize("set");
    let picture = fs::read("tests/fixtures/pictures/rgb420.jpg").unwrap();
    let mut list = String::new();
    for (class, count) in [3, 2].into_iter().enumerate() {
        fs::create_dir_all(place.path(&format!("tree/class{class}"))).unwrap();
        for i in 0..count {
            let name = format!("class{class}/{i}.jpg");
            fs::write(place.path("tree").join(&name), &picture).unwrap();
            list.push_str(&format!("{name} {class}\n"));
        }
    }
    fs::write(place.path("list.txt"), list).unwrap();
    let sources = [
        &["--dataset", "cifar10", "--data", "set", "--unverified", "--imb", "4"][..],
        &["--folders", "tree"],
        &["--list", "list.txt", "--root", "tree"],
    ];
    for (number, source) in sources.into_iter().enumerate() {
        let out = format!("new/{number}");
        let small = ["--images", "4", "--views", "2", "--out", out.as_str()];
        place.succeeds(&[&["data", "show"], source, &small].concat());
        assert_eq!(names(&place.path(&out)), ["class-counts.png", "contact-sheet.png"]);
        for name in names(&place.path(&out)) {
            let bytes = fs::read(place.path(&out).join(name)).unwrap();
            assert!(bytes.starts_with(b"\x89PNG\r\n\x1a\n"));
        }
    }
    place.fails(2, &["data", "show", "--dataset", "cifar10", "--folders", "tree"]);
    assert_eq!(place.run(&["data", "show"]).status.code(), Some(2));

    let checked = place.succeeds(&["data", "check-files", "--folders", "tree"]);
    assert!(checked.contains("5 of 5 pictures in 2 classes can be decoded"), "{checked}");
    fs::write(place.path("tree/class0/1.jpg"), &picture[..40]).unwrap();
    let files = ["data", "check-files", "--list", "list.txt", "--root", "tree"];
    let e = place.fails(2, &files);
    assert!(e.contains("1 broken pictures"), "{e}");
    let skipped = place.succeeds(&[&files[..], &["--skip-broken"]].concat());
    assert!(skipped.contains("class0/1.jpg: ") && skipped.contains("4 of 5"), "{skipped}");
}

#[test]
fn what_a_mirror_gives_must_have_the_published_checksum() {
    let place = Place::new();
    let (url, asked) = serve(b"not the archive");
    let base = format!("{url}/sets/");
    let e = place.fails(1, &["data", "fetch", "--dataset", "cifar10", "--mirror", &base]);
    let asked_for = |name: &str| asked.lock().unwrap().iter().any(|path| path == name);
    assert!(asked_for("/sets/cifar-10-binary.tar.gz") && asked_for("/sets/cifar-10-python.tar.gz"));
    assert!(e.contains("127.0.0.1") && e.contains("not the file expected"), "{e}");
    // What to do by hand: address, size, checksum, name, folder.
    for part in [
        "fetch https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz (170052171 bytes, SHA-256 c4a38c50",
        "put it as cifar-10-binary.tar.gz into ",
        place.cached("cifar10").to_str().unwrap(),
    ] {
        assert!(e.contains(part), "{part}: {e}");
    }
    assert!(names(&place.cached("cifar10")).is_empty(), "a wrong file was kept");

    let e = place.fails(1, &["data", "fetch", "--dataset", "fashion-mnist", "--mirror", &base]);
    assert!(asked_for("/sets/train-images-idx3-ubyte.gz"));
    for part in
        ["train-images-idx3-ubyte.gz (26421880 bytes)", "fetch ", " from http", "put them into "]
    {
        assert!(e.contains(part), "{part}: {e}");
    }
    assert!(!place.cached("fashion-mnist").exists());
    let both = ["data", "fetch", "--dataset", "cifar10", "--mirror", &base, "--data", "set"];
    assert_eq!(place.run(&both).status.code(), Some(2));
}

#[test]
fn what_is_damaged_in_the_cache_is_named_and_left_as_it_is() {
    let place = Place::new();
    let cached = place.cached("cifar10");
    fs::create_dir_all(&cached).unwrap();
    let archive = cached.join("cifar-10-binary.tar.gz");
    fs::write(&archive, "damaged").unwrap();
    let (url, asked) = serve(b"not the archive");
    let given = ["data", "check", "--dataset", "cifar10", "--data", archive.to_str().unwrap()];
    assert!(place.fails(2, &given).contains("not a whole .tar.gz"));
    for command in [
        &["data", "check", "--dataset", "cifar10"][..],
        &["data", "fetch", "--dataset", "cifar10", "--mirror", &url],
    ] {
        let e = place.fails(2, command);
        assert!(e.contains(&archive.display().to_string()), "{e}");
        assert_eq!(command[1] == "fetch", e.contains("once it is moved out of the cache"), "{e}");
    }
    assert_eq!(names(&cached), ["cifar-10-binary.tar.gz"]);
    assert_eq!(fs::read(&archive).unwrap(), b"damaged");

    let idx = place.cached("fashion-mnist");
    place.idx(idx.to_str().unwrap(), 10);
    let before = names(&idx);
    let e = place.fails(2, &["data", "fetch", "--dataset", "fashion-mnist", "--mirror", &url]);
    assert!(e.contains("expected [60000, 28, 28]") && e.contains("out of the cache"), "{e}");
    assert_eq!(names(&idx), before);
    assert!(asked.lock().unwrap().is_empty(), "something was fetched over it");

    // Of a set that is not whole, what is there stays.
    fs::remove_file(idx.join(&before[0])).unwrap();
    fs::write(idx.join("notes.txt"), "mine").unwrap();
    place.fails(1, &["data", "fetch", "--dataset", "fashion-mnist", "--mirror", &url]);
    assert_eq!(names(&idx).len(), before.len());
    assert_eq!(fs::read(idx.join("notes.txt")).unwrap(), b"mine");
    let e = place.fails(2, &["data", "fetch", "--dataset", "cifar10", "--mirror", "not a url"]);
    assert!(e.contains("such as https://"), "{e}");
}

#[test]
fn nothing_is_written_over_its_own_input() {
    let place = Place::new();
    place.synthesize("set");
    place.manifest("a.json", &[]);
    let before = fs::read(place.path("a.json")).unwrap();
    for out in [["--npy", "a.json"], ["--txt", "./a.json"]] {
        let e = place.fails(2, &[&["subset", "export", "a.json"], &out[..]].concat());
        assert!(e.contains("its own input"), "{e}");
    }
    let e = place.fails(2, &["subset", "export", "a.json", "--npy", "i", "--txt", "i"]);
    assert!(e.contains("the same file"), "{e}");
    assert_eq!(fs::read(place.path("a.json")).unwrap(), before);
    // A safetensors file without entries, and one that is its own target.
    fs::write(place.path("empty.safetensors"), b"\x02\0\0\0\0\0\0\0{}").unwrap();
    let convert = [
        "convert",
        "empty.safetensors",
        "--arch",
        "resnet20",
        "--classes",
        "10",
        "--partial",
        "--out",
    ];
    let e = place.fails(2, &[&convert[..], &["empty.safetensors"]].concat());
    assert!(e.contains("its own input"), "{e}");
    let e = place.fails(2, &[&convert[..], &["other.safetensors"]].concat());
    assert!(e.contains("no entry fits resnet20"), "{e}");
    assert!(!place.path("other.safetensors").exists());
}

#[test]
fn options_that_would_do_nothing_are_refused() {
    let place = Place::new();
    for (args, words) in [
        (&["data", "show", "--folders", "f", "--imb", "5"][..], "need --dataset"),
        (&["data", "show", "--folders", "f", "--unverified"], "need --dataset"),
        (&["data", "show", "--dataset", "cifar10", "--root", "f"], "--root belongs to --list"),
        (&["data", "show", "--dataset", "cifar10", "--views", "100000"], "4000 views in all"),
        (&["data", "show", "--dataset", "cifar10", "--images", "0"], "at least one image"),
        (&["data", "synthesize", "--out", "s", "--train", "0"], "0 train images per class"),
        (&["data", "synthesize", "--out", "s", "--train", "1000000000000"], "expected 1 to 10000"),
        (&["data", "check", "--dataset", "cifar10"], "not whole in the cache, "),
    ] {
        let e = place.fails(2, args);
        assert!(e.contains(words), "{args:?}: {e}");
    }
}
