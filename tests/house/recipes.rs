//! Every recipe that ships is complete, marked, and describes a model that can be built.

use std::{fs, path::PathBuf};

use rescom::run::{AugmentPolicy, DataSetId, Mark, Marks, Recipe, RecipeFile, ScheduleKind};

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
        for (name, fields) in table.iter().filter_map(|(n, v)| Some((n, v.as_table()?))) {
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
    use rescom::{
        longtail::ClassCounts,
        train::{Trainer, trainer_spec},
    };
    for (path, recipe, _) in resolved() {
        let classes = recipe.data.set.classes();
        let counts = ClassCounts::new((1..=classes as u64).rev().collect()).unwrap();
        let trainer = Trainer::new(&trainer_spec(&recipe, classes), &counts, 0, "cpu")
            .unwrap_or_else(|e| panic!("{path:?}: {e}"));
        assert!(trainer.parameters() > 400_000, "{path:?}: {}", trainer.parameters());
    }
}

/// METHOD section 3, module by module: what the sixteen names of the ablation and the other methods train.
#[cfg(feature = "train")]
#[test]
fn each_method_trains_what_its_name_says() {
    use rescom::{
        run::RescomModules,
        train::{
            fit::config::{Classification, ContrastKind, HardPairMiner, QueueInit, QueueSpec},
            trainer_spec,
        },
    };
    let (_, file) =
        recipes().into_iter().find(|(p, _)| p.ends_with("cifar100-lt-imb100.toml")).unwrap();
    let spec = |name: &str| {
        let mut file = file.clone();
        file.set_text(&format!("method.name={name}")).unwrap();
        trainer_spec(&file.resolve().unwrap().0, 100).method
    };
    let init = QueueInit::Random;
    let mut names = vec![];
    for off in RescomModules::combinations() {
        let words: Vec<String> = off.off().iter().map(|word| format!("-no-{word}")).collect();
        let name = format!("rescom{}", words.concat());
        let has = |word: &str| !name.contains(&format!("-no-{word}"));
        let got = spec(&name);
        let contrast = got.contrast.as_ref().unwrap();
        let queue = if has("queue") {
            QueueSpec::ClassBalanced { per_class: 10, init }
        } else {
            QueueSpec::Fifo { len: 1000, init }
        };
        assert_eq!(contrast.queue, Some(queue), "{name}");
        assert_eq!(contrast.class_balanced_beta, has("loss").then_some(0.999999), "{name}");
        let miner = HardPairMiner { num_pos: 1, num_neg: 400 };
        assert_eq!(contrast.mining, has("mining").then_some(miner), "{name}");
        assert_eq!(got.siamese, has("siamese"), "{name}");
        assert_eq!(contrast.kind, ContrastKind::Supervised, "{name}");
        assert_eq!((contrast.con_weight, contrast.temperature), (0.5, 0.2), "{name}");
        assert_eq!(got.classification, Classification::BalancedSoftmax, "{name}");
        names.push(name);
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 16);
    for (name, classification, contrastive, momentum, mixup) in [
        ("ce", Classification::CrossEntropy, false, false, None),
        ("mislas", Classification::CrossEntropy, false, false, Some(1.0)),
        ("balanced-softmax", Classification::BalancedSoftmax, false, false, None),
        ("supcon+bs", Classification::BalancedSoftmax, true, false, None),
        ("moco+bs", Classification::BalancedSoftmax, true, true, None),
    ] {
        let got = spec(name);
        assert_eq!(got.classification, classification, "{name}");
        assert_eq!((got.siamese, got.mixup_alpha), (false, mixup), "{name}");
        assert_eq!(got.contrast.is_some(), contrastive, "{name}");
        let Some(contrast) = got.contrast else { continue };
        assert_eq!((contrast.class_balanced_beta, contrast.mining), (None, None), "{name}");
        assert_eq!(contrast.has_key_network(), momentum, "{name}");
        let fifo = QueueSpec::Fifo { len: 1000, init };
        assert_eq!(contrast.queue, momentum.then_some(fifo), "{name}");
    }
}
