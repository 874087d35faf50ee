//! Every recipe that ships is complete, marked, and describes a model that can be built.
#![allow(clippy::unwrap_used)]

use std::{fs, path::PathBuf};

use rescom::run::{DataSetId, Mark, Marks, Recipe, RecipeFile};

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

/// METHOD section 4: for other sets than those of the paper nothing is published.
#[test]
fn values_for_sets_that_the_paper_lacks_are_assumed() {
    let mut seen = 0;
    for (path, recipe, marks) in resolved() {
        if matches!(recipe.data.set, DataSetId::FashionMnist | DataSetId::PlacesLt) {
            for key in recipe.values().unwrap().keys().filter(|key| key.contains('.')) {
                assert_eq!(marks.get(key), Some(Mark::Assumed), "{path:?}: {key}");
                seen += 1;
            }
        }
    }
    assert!(seen > 50);
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
