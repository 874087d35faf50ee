use super::{Mark, Recipe, RecipeFile};

/// The shipped Fashion-MNIST recipe with these changes.
pub(crate) fn shipped(changes: &[&str]) -> Recipe {
    let mut file = file();
    changes.iter().for_each(|c| file.set_text(c).unwrap());
    file.resolve().unwrap().0
}

const FILE: &str = include_str!("../../../experiments/recipes/fashion-mnist-lt.toml");

fn file() -> RecipeFile {
    RecipeFile::parse(FILE, "fashion-mnist-lt.toml").unwrap()
}

#[test]
fn a_recipe_survives_its_own_text() {
    let (recipe, _) = file().resolve().unwrap();
    let back: Recipe = toml::from_str(&recipe.to_toml().unwrap()).unwrap();
    assert_eq!(back, recipe);
    assert!(recipe.differences(&back).unwrap().is_empty());
}

#[test]
fn a_preset_and_an_override_change_values_and_marks() {
    let mut f = file();
    f.preset("quick").unwrap();
    f.set_text("optim.lr=1").unwrap();
    f.set_text("method.name=rescom-no-queue").unwrap();
    let (recipe, marks) = f.resolve().unwrap();
    assert_eq!((recipe.optim.lr, recipe.data.images_per_class), (1.0, 400));
    assert_eq!(recipe.method.name.to_string(), "rescom-no-queue");
    assert_eq!(marks.get("optim.epochs"), Some(Mark::Changed));
    let full = file().resolve().unwrap().0;
    assert!(full.differences(&recipe).unwrap().iter().any(|(k, ..)| k == "optim.lr"));
}

#[test]
fn what_does_not_fit_is_named_with_the_remedy() {
    for (assignment, key) in [
        ("contrast.num-neg=901", "contrast.num-neg"),
        ("contrast.num-pos=101", "contrast.num-pos"),
        ("data.imbalance-factor=0.01", "imbalance factor 0.01"),
        ("data.images-per-class=50", "data.images-per-class"),
        ("optim.lr=-1", "optim.lr"),
        ("augment.mean=[1, 2, 3]", "augment.mean"),
        ("model.arch=resnet31", "resnet31"),
        ("stage2.lr=-0.1", "stage2.lr = -0.1"),
        ("stage2.lr=inf", "stage2.lr = inf"),
        ("stage2.lr-factor=-1", "stage2.lr-factor"),
        ("stage2.lr-factor=nan", "stage2.lr-factor"),
        ("stage2.weight-decay=-5e-4", "stage2.weight-decay"),
    ] {
        let mut f = file();
        f.set_text(assignment).unwrap();
        let e = f.resolve().unwrap_err();
        assert_eq!(e.exit_code(), 2);
        assert!(e.to_string().contains(key), "{assignment}: {e}");
        assert!(!e.to_string().contains('\n'), "{e}");
    }
    assert!(file().set_text("optim.nothing=1").is_err());
    assert!(file().preset("slow").unwrap_err().to_string().contains("quick"));
}
