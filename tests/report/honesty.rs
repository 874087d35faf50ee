//! What the report says beside its numbers: sources, what was changed, what does not hold.

use rescom::{
    results::query,
    run::{Provenance, RecordedSource},
};

use super::records::{CIFAR100, FASHION, IMAGENET, Report, run, sweep};

/// The paragraph or list item that begins with these words.
fn line<'r>(report: &'r Report, start: &str) -> &'r str {
    let mut lines = report.text("report.md").lines();
    lines.find(|l| l.starts_with(start)).unwrap_or_else(|| panic!("no line starts with {start}"))
}

#[test]
fn published_shot_groups_are_shown_with_their_source() {
    let report = Report::of(&[run(IMAGENET, &["method.name=rescom"], 0, 0.5)]);
    let row =
        "| ResCom | – | resnet50 | 58.7 | 68.0 | 56.6 | 38.4 |  | ResCom read-me and figure |";
    assert!(report.text("report.md").contains(row));
    assert!(report.text("imagenet-lt-natural-accuracy.svg").contains("published, same encoder"));
}

#[test]
fn other_images_than_the_published_stand_beside_no_published_number() {
    for source in ["generated, seed 0".to_owned(), format!("{}a folder", Provenance::UNVERIFIED)] {
        let mut runs = sweep(CIFAR100, &["ce", "rescom"], &[10, 100], 1);
        let recorded = RecordedSource::Words(source.clone());
        runs.iter_mut().for_each(|r| r.record.provenance.data_source.clone_from(&recorded));
        let report = Report::of(&runs);
        let text = report.text("report.md");
        let tables = text.lines().filter(|l| l.starts_with('|') || l.starts_with("###"));
        for line in tables {
            assert!(!line.to_lowercase().contains("published"), "{source}: {line}");
        }
        assert!(!report.text("cifar100-natural-accuracy.svg").contains("published"));
        let rows = report.table("runs.csv");
        assert!(rows.iter().all(|r| r["images"] != "published"));
    }
}

#[test]
fn what_was_changed_stands_beside_what_it_was() {
    let reversed = ["optim.epochs=8", "optim.warmup-epochs=1", "data.class-order=reversed"];
    let same = "contrast.temperature=0.2";
    let runs = [
        run(CIFAR100, &[&reversed[..], &[same]].concat(), 0, 0.5),
        run(FASHION, &["optim.epochs=20", "data.class-order=natural"], 0, 0.5),
        run(FASHION, &[], 1, 0.5),
    ];
    let report = Report::of(&runs);
    let set = line(&report, "* Set by the preset or on the command line");
    let epochs = "`optim.epochs` = 20 (assumed: 200) / 8 (released: 400) in 2 of 3 runs";
    assert!(set.contains(epochs), "{set}");
    let order = "`data.class-order` = \"reversed\" (released: \"natural\") in 1 of 3 runs";
    assert!(set.contains(order), "{set}");
    assert!(!set.contains("temperature"), "0.2 is the recipe's own value: {set}");
    // Another run kept the assumed value of the same key.
    let assumed = line(&report, "* Not known from the paper");
    assert!(assumed.contains("`optim.epochs` = 200 in 1 of 3 runs"), "{assumed}");
}

#[test]
fn cells_of_unlike_size_say_how_many_seeds_they_have() {
    let mut runs = sweep(FASHION, &["ce", "rescom"], &[10, 100], 2);
    let even = Report::of(&runs);
    assert!(!even.text("report.md").contains("(n = "));
    runs.pop();
    let uneven = Report::of(&runs);
    let row = line(&uneven, "| rescom |");
    assert!(row.contains("(n = 2)") && row.contains("(n = 1)"), "{row}");
    let text = uneven.text("report.md");
    assert!(text.contains("at 10 n = 2; at 100 n = 1 (rescom) and n = 2 (ce)"), "{text}");
    assert!(uneven.text("fashion-mnist-natural-accuracy.svg").contains("100 (n = 1–2)"));
}

#[test]
fn a_single_factor_is_no_axis() {
    let report = Report::of(&sweep(FASHION, &["ce", "rescom"], &[100], 2));
    let svg = report.text("fashion-mnist-natural-accuracy.svg");
    assert!(!svg.contains("largest / smallest class"));
    for method in ["ce", "rescom"] {
        assert_eq!(svg.lines().filter(|l| l.trim() == method).count(), 1, "{method}");
    }
    assert!(!report.text("report.md").contains("shifted sideways so that the bars"));
}

#[test]
fn a_best_epoch_without_a_choice_is_a_dash() {
    let mut runs = sweep(FASHION, &["ce"], &[100], 2);
    let best = |report: &Report| {
        let row = line(report, "| ce |").split('|').map(str::trim).nth(3).unwrap().to_owned();
        (row, report.answer(("fashion-mnist", "natural"), query::best).len())
    };
    let chosen = Report::of(&runs);
    assert!(best(&chosen).0.contains('±') && best(&chosen).1 == 1);
    assert!(!chosen.text("report.md").contains("no epoch to choose"));

    for run in &mut runs {
        run.record.epochs[1].test.as_mut().unwrap().images = 50;
    }
    let sample = Report::of(&runs);
    assert_eq!(best(&sample), ("–".to_owned(), 0));
    let note = "only the last epoch was evaluated on the whole test set";
    assert!(sample.text("report.md").contains(&format!("{note} (earlier ones on at most 50 of")));
    let curves = line(&sample, "*Classification loss");
    assert!(curves.contains("on 50 test images, rings those on all 2000"), "{curves}");

    runs.iter_mut().for_each(|r| r.record.epochs[1].test = None);
    let last = Report::of(&runs);
    assert!(last.text("report.md").contains(&format!("{note} (no earlier one was evaluated)")));
    assert!(!line(&last, "*Classification loss").contains("rings"));
}
