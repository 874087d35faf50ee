//! Every recipe that ships is complete, marked, and describes a model that can be built.

use std::{fs, path::PathBuf};

use rescom::run::{
    AugmentPolicy, DataSetId, Keys, Mark, Marks, Miner, Recipe, RecipeFile, RescomModules,
    ScheduleKind,
};

fn recipes() -> Vec<(PathBuf, RecipeFile)> {
    let mut files: Vec<PathBuf> = fs::read_dir("experiments/recipes")
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "toml"))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    let parse = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let file = RecipeFile::parse(&text, &path.display().to_string()).unwrap();
        (path, file)
    };
    files.into_iter().map(parse).collect()
}

fn resolved() -> impl Iterator<Item = (PathBuf, Recipe, Marks)> {
    recipes().into_iter().map(|(path, file)| {
        let (recipe, marks) = file.resolve().unwrap();
        (path, recipe, marks)
    })
}

#[test]
fn every_recipe_is_complete_and_named_as_its_file() {
    for (path, recipe, _) in resolved() {
        assert_eq!(Some(recipe.name.as_str()), path.file_stem().and_then(|s| s.to_str()));
    }
}

#[test]
fn every_value_says_where_it_comes_from() {
    for (path, recipe, marks) in resolved() {
        let table: toml::Table = recipe.to_toml().unwrap().parse().unwrap();
        // The loss is the method's, which has a mark.
        let marked = table.iter().filter(|(name, _)| *name != "loss");
        for (name, fields) in marked.filter_map(|(n, v)| Some((n, v.as_table()?))) {
            for field in fields.keys() {
                let key = format!("{name}.{field}");
                let mark = marks.get(&key);
                assert!(
                    matches!(mark, Some(m) if m != Mark::Changed),
                    "{path:?}: {key} has no mark"
                );
            }
        }
    }
}

/// METHOD section 4: training is published for two rows alone, nothing at all for sets that the paper does
/// not have, and stage 2 for the rows of section 7. Everything else is assumed, whatever it is taken from.
#[test]
fn only_the_known_rows_carry_published_and_released_values() {
    let rows = ["cifar100-lt-imb100", "imagenet-lt-resnet50"];
    let stage2 =
        ["cifar10-lt-imb100", "cifar100-lt-imb100", "imagenet-lt-resnet50", "inat18-resnet50"];
    // The paper gives these for every row.
    let of_all = ["stage2.epochs", "stage2.lr"];
    for (path, recipe, marks) in resolved() {
        let in_paper = !matches!(recipe.data.set, DataSetId::FashionMnist | DataSetId::PlacesLt);
        let name = recipe.name.as_str();
        for key in marks.with(Mark::Published).chain(marks.with(Mark::Released)) {
            let known = match key.split_once('.').unwrap() {
                ("optim" | "contrast", _) | ("model", "projection-dim") => rows.contains(&name),
                ("stage2", _) => stage2.contains(&name) || of_all.contains(&key),
                ("data" | "augment" | "model" | "method", _) => true,
                _ => false,
            };
            assert!(in_paper && known, "{path:?}: {key} is not assumed");
        }
    }
    // The guard sees something: a known row has marks of both kinds, in the tables it is about.
    for row in rows {
        let (_, _, marks) = resolved().find(|(_, r, _)| r.name == row).unwrap();
        let known = marks.with(Mark::Published).chain(marks.with(Mark::Released));
        assert!(known.filter(|key| key.starts_with("optim.")).count() >= 5, "{row}");
    }
}

#[test]
fn every_preset_resolves() {
    for (path, file) in recipes() {
        let mut quick = file.clone();
        if quick.preset("quick").is_ok() {
            let (recipe, marks) = quick.resolve().unwrap_or_else(|e| panic!("{path:?}: {e}"));
            assert!(recipe.optim.epochs < file.resolve().unwrap().0.optim.epochs);
            assert_eq!(marks.get("optim.epochs"), Some(Mark::Changed));
        }
    }
}

#[test]
fn the_released_values_are_those_of_the_reference() {
    // METHOD section 4.
    let (_, recipe, marks) = resolved()
        .find(|(_, r, _)| r.name == "cifar100-lt-imb100")
        .expect("the released configuration");
    let (o, c) = (&recipe.optim, &recipe.contrast);
    assert_eq!((o.epochs, o.batch_size, o.lr, o.warmup_epochs), (400, 128, 0.1, 10));
    assert_eq!((o.momentum, o.weight_decay, &o.milestones[..]), (0.9, 5e-4, &[320, 360][..]));
    assert_eq!((c.con_weight, c.temperature, c.effective_number_beta), (0.5, 0.2, 0.999999));
    assert_eq!(
        (c.queue_per_class, c.num_pos, c.num_neg, recipe.model.projection_dim),
        (10, 1, 400, 32)
    );
    assert_eq!(marks.get("contrast.num-neg"), Some(Mark::Released));
}

/// METHOD section 4, the column of ImageNet-LT with ResNet-50.
#[test]
fn the_row_of_imagenet_is_that_of_the_early_read_me() {
    let (_, recipe, _) = resolved().find(|(_, r, _)| r.name == "imagenet-lt-resnet50").unwrap();
    let (o, c) = (&recipe.optim, &recipe.contrast);
    assert!([180, 400].contains(&o.epochs) && [4, 8].contains(&c.queue_per_class));
    assert_eq!((o.batch_size, o.lr, o.warmup_epochs), (256, 0.06, 10));
    assert_eq!((o.momentum, o.weight_decay, o.schedule), (0.9, 5e-4, ScheduleKind::Cosine));
    assert_eq!((c.con_weight, c.temperature, c.effective_number_beta), (0.5, 0.2, 0.99));
    assert_eq!(recipe.model.projection_dim, 128);
}

/// METHOD section 7: head and tail smoothing, shifted batch norm, factor of the classifier's rate, weight decay.
#[test]
fn stage_two_is_that_of_mislas() {
    let rows = [
        ("cifar10-lt-imb100", 0.3, 0.0, false, 0.5, 2e-4),
        ("cifar100-lt-imb100", 0.4, 0.1, true, 0.2, 2e-4),
        ("imagenet-lt-resnet50", 0.3, 0.0, true, 0.05, 5e-4),
        ("imagenet-lt-resnext50", 0.3, 0.0, true, 0.05, 5e-4),
        ("inat18-resnet50", 0.3, 0.0, true, 0.05, 1e-4),
    ];
    for (name, head, tail, shift, factor, decay) in rows {
        let (_, recipe, _) = resolved().find(|(_, r, _)| r.name == name).unwrap();
        let s = &recipe.stage2;
        assert_eq!(
            (s.smooth_head, s.smooth_tail, s.shifted_batch_norm),
            (head, tail, shift),
            "{name}"
        );
        assert_eq!((s.lr_factor, s.weight_decay), (factor, decay), "{name}");
    }
    for (_, recipe, _) in resolved() {
        assert_eq!((recipe.stage2.epochs, recipe.stage2.lr), (10, 0.1), "{}", recipe.name);
    }
}

/// METHOD section 6: normalisation, and which policy augments.
#[test]
fn images_are_normalised_as_stated() {
    const CIFAR: [&[f64]; 2] = [&[0.4914, 0.4822, 0.4465], &[0.2023, 0.1994, 0.2010]];
    const IMAGENET: [&[f64]; 2] = [&[0.485, 0.456, 0.406], &[0.229, 0.224, 0.225]];
    const INATURALIST: [&[f64]; 2] = [&[0.466, 0.471, 0.380], &[0.195, 0.194, 0.192]];
    for (_, recipe, _) in resolved() {
        let (expected, policy) = match recipe.data.set {
            DataSetId::Cifar10 | DataSetId::Cifar100 => (CIFAR, AugmentPolicy::AutoAugmentCutout),
            DataSetId::ImagenetLt => (IMAGENET, AugmentPolicy::RandAugment),
            DataSetId::Inat18 => (INATURALIST, AugmentPolicy::RandAugment),
            DataSetId::FashionMnist | DataSetId::PlacesLt => continue,
        };
        let a = &recipe.augment;
        assert_eq!(([&a.mean[..], &a.std[..]], a.policy), (expected, policy), "{}", recipe.name);
    }
}

/// Numbers that no training could bear are refused when the recipe is read, by key.
#[test]
fn numbers_that_are_not_finite_are_refused() {
    let (_, file) =
        recipes().into_iter().find(|(p, _)| p.ends_with("cifar100-lt-imb100.toml")).unwrap();
    for (key, value) in [
        ("optim.lr", "inf"),
        ("optim.weight-decay", "inf"),
        ("optim.weight-decay", "nan"),
        ("contrast.temperature", "inf"),
        ("contrast.con-weight", "inf"),
        ("contrast.con-weight", "-1.0"),
        ("stage2.mixup-alpha", "inf"),
        ("stage2.lr", "nan"),
        ("augment.std", "[inf, 1.0, 1.0]"),
        ("augment.mean", "[nan, 0.5, 0.5]"),
    ] {
        let mut file = file.clone();
        let set = file.set_text(&format!("{key}={value}")).and_then(|()| file.resolve());
        let e = set.expect_err(&format!("{key} = {value} is accepted"));
        assert!(e.exit_code() == 2 && e.to_string().contains(key), "{e}");
    }
}

#[cfg(feature = "train")]
#[test]
fn every_recipe_describes_a_model_that_can_be_built() {
    use rescom::{longtail::ClassCounts, train::Trainer};
    for (path, recipe, _) in resolved() {
        let classes = recipe.data.set.classes();
        let counts = ClassCounts::new((1..=classes as u64).rev().collect()).unwrap();
        let trainer = Trainer::new(&recipe.trainer(), &counts, 0, "cpu")
            .unwrap_or_else(|e| panic!("{path:?}: {e}"));
        assert!(trainer.parameters() > 400_000, "{path:?}: {}", trainer.parameters());
    }
}

fn released() -> RecipeFile {
    let found = recipes().into_iter().find(|(p, _)| p.ends_with("cifar100-lt-imb100.toml"));
    found.unwrap().1
}

fn of_method(name: &str) -> Recipe {
    let mut file = released();
    file.set_text(&format!("method.name={name}")).unwrap();
    file.resolve().unwrap().0
}

/// METHOD section 3, module by module: what the sixteen names of the ablation and the other methods train.
#[test]
fn each_method_trains_what_its_name_says() {
    let mut names = vec![];
    for off in RescomModules::combinations() {
        let words: Vec<String> = off.off().iter().map(|word| format!("-no-{word}")).collect();
        let name = format!("rescom{}", words.concat());
        let has = |word: &str| !name.contains(&format!("-no-{word}"));
        let loss = of_method(&name).loss.clone();
        let queue = if has("queue") { Keys::ClassBalancedQueue } else { Keys::FifoQueue };
        assert_eq!(loss.keys, [Keys::Batch, queue], "{name}");
        let contrast = if has("loss") { "class-balanced-supcon" } else { "supcon" };
        assert_eq!(loss.contrast.as_ref().unwrap().as_str(), contrast, "{name}");
        let miner = if has("mining") { Miner::HardPairs } else { Miner::None };
        assert_eq!(loss.miner, miner, "{name}");
        assert_eq!(loss.views_classified, if has("siamese") { 2 } else { 1 }, "{name}");
        assert_eq!(loss.classification.as_str(), "balanced-softmax", "{name}");
        assert_eq!((loss.views(), loss.mixup), (2, false), "{name}");
        names.push(name);
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 16);
    let moco = [Keys::KeyEncoder, Keys::FifoQueue];
    for (name, classification, keys, mixup) in [
        ("ce", "cross-entropy", &[][..], false),
        ("mislas", "cross-entropy", &[], true),
        ("balanced-softmax", "balanced-softmax", &[], false),
        ("supcon+bs", "balanced-softmax", &[Keys::Batch], false),
        ("moco+bs", "balanced-softmax", &moco, false),
    ] {
        let loss = of_method(name).loss.clone();
        assert_eq!(loss.classification.as_str(), classification, "{name}");
        assert_eq!((&loss.keys[..], loss.mixup), (keys, mixup), "{name}");
        assert_eq!((loss.views_classified, loss.miner), (1, Miner::None), "{name}");
        let contrast = loss.contrast.as_ref().map(rescom::run::LossName::as_str);
        assert_eq!(contrast, (!keys.is_empty()).then_some("supcon"), "{name}");
        assert_eq!(loss.views(), if keys.is_empty() { 1 } else { 2 }, "{name}");
    }
}

/// The released recipe under another name, with a `[loss]` of its own.
fn own(name: &str, loss: &str) -> rescom::Result<RecipeFile> {
    let text = fs::read_to_string("experiments/recipes/cifar100-lt-imb100.toml").unwrap();
    let method = "[method]\nname = \"rescom\"";
    assert!(text.contains(method));
    let with = format!("[loss]\n{loss}\n\n[method]\nname = \"{name}\"");
    RecipeFile::parse(&text.replace(method, &with), "own.toml")
}

/// A recipe may put its loss together itself; the method's name is then the name of a row.
#[test]
fn a_recipe_may_compose_a_loss_of_its_own() {
    let loss = "classification = \"cross-entropy\"  # assumed: a test\n\
                contrast = \"supcon\"               # assumed: a test\n\
                keys = [\"batch\", \"fifo-queue\"]  # assumed: a test";
    let mut file = own("ce-with-queue", loss).unwrap();
    let (recipe, marks) = file.resolve().unwrap();
    assert_eq!(recipe.method.name.to_string(), "ce-with-queue");
    assert_eq!(recipe.loss.keys, [Keys::Batch, Keys::FifoQueue]);
    assert_eq!((recipe.loss.views(), recipe.loss.views_classified), (2, 1));
    assert_eq!(marks.get("loss.contrast"), Some(Mark::Assumed));
    // The composition is one of the recipe's values, and is saved with the run.
    assert_eq!(recipe.values().unwrap()["loss.miner"], "\"none\"");
    let back: Recipe = toml::from_str(&recipe.to_toml().unwrap()).unwrap();
    assert_eq!(back, recipe);
    // One value of it changes as any other.
    let mut changed = file.clone();
    changed.set_text("loss.classification=balanced-softmax").unwrap();
    let (changed, _) = changed.resolve().unwrap();
    assert_eq!(recipe.differences(&changed).unwrap().len(), 1);
    // Another method is another composition.
    file.set_text("method.name=ce").unwrap();
    let (ce, marks) = file.resolve().unwrap();
    assert_eq!((ce.loss.contrast.as_ref(), marks.get("loss.contrast")), (None, None));
}

#[test]
fn a_composition_that_does_not_fit_is_refused_by_key() {
    for (name, loss, words) in [
        (
            "ce",
            "classification = \"balanced-softmax\"",
            "give your own composition a name of its own",
        ),
        ("mine", "classification = \"Softmax!\"", "expected a name of small letters"),
        (
            "mine",
            "classification = \"x\"\nkeys = [\"batch\"]",
            "loss.keys = [\"batch\"]: expected no keys",
        ),
        ("mine", "classification = \"x\"\nviews-classified = 0", "loss.views-classified = 0"),
        ("mine", "classification = \"x\"\nviews = 2", "unknown field `views`"),
        (
            "mine",
            "classification = \"x\"\ncontrast = \"y\"\nkeys = [\"fifo-queue\", \"batch\"]",
            "expected batch or key-encoder, then",
        ),
        (
            "mine",
            "classification = \"x\"\ncontrast = \"y\"\nkeys = [\"key-encoder\", \"class-balanced-queue\"]",
            "expected key-encoder with a fifo-queue",
        ),
    ] {
        let loss: String = loss.lines().map(|l| format!("{l} # assumed: a test\n")).collect();
        let e = own(name, &loss).unwrap().resolve().unwrap_err();
        assert!(e.exit_code() == 2 && e.to_string().contains(words), "{words}: {e}");
    }
    let e = own("mine", "classification = \"x\"").unwrap_err();
    assert!(e.to_string().contains("loss.classification has no mark"), "{e}");
    let mut file = released();
    file.set_text("method.name=mine").unwrap();
    let e = file.resolve().unwrap_err();
    assert!(e.to_string().contains("method \"mine\" is unknown; expected one of ce, "), "{e}");
}

/// A list may have fewer classes than the set, and then fewer keys to mine among.
#[test]
fn the_miner_is_checked_against_the_classes_that_there_are() {
    let recipe = of_method("rescom");
    assert!(recipe.check_for_classes(41).is_ok());
    let e = recipe.check_for_classes(40).unwrap_err().to_string();
    assert!(e.contains("contrast.num-neg = 400: expected at most the 390 keys"), "{e}");
    assert!(of_method("ce").check_for_classes(2).is_ok());
    assert!(of_method("rescom-no-mining").check_for_classes(2).is_ok());
    // A FIFO queue may hold keys of other classes alone.
    assert!(of_method("rescom-no-queue").check_for_classes(40).is_ok());
}

/// What runs saved before there was a `[loss]`, and the one way in which a seeded order is written twice.
#[test]
fn recipes_of_older_runs_are_read_as_they_were_meant() {
    let recipe = of_method("rescom-no-queue");
    let text = recipe.to_toml().unwrap();
    let mut old: toml::Table = text.parse().unwrap();
    assert!(old.remove("loss").is_some());
    let read: Recipe = toml::from_str(&toml::to_string(&old).unwrap()).unwrap();
    assert_eq!(read, recipe);
    let seeded = |order: &str| {
        let mut file = released();
        file.set_text("data.subset-seed=3").unwrap();
        file.set_text(&format!("data.class-order={order}")).unwrap();
        file.resolve().unwrap().0
    };
    assert_eq!(seeded("seeded"), seeded("seeded:3"));
    assert!(seeded("seeded:3").to_toml().unwrap().contains("class-order = \"seeded\"\n"));
    assert!(seeded("seeded:4").to_toml().unwrap().contains("class-order = \"seeded:4\"\n"));
}
