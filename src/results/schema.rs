//! What the columns of the tables are: name, type, unit and meaning, said here and nowhere else.
//! [`markdown`] is the section on columns of `docs/formats-training.md`.

/// Type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A text; in CSV quoted where it has to be.
    Text,
    /// A whole number of 64 bits, not negative.
    Count,
    /// A float of 64 bits; in CSV with as many digits as give the same float back.
    Number,
    /// `true` or `false`.
    Flag,
}

impl Kind {
    /// The type's name in polars and pandas.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Count => "uint64",
            Self::Number => "float64",
            Self::Flag => "bool",
        }
    }
}

/// A column of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Its unit; empty for names and flags.
    pub unit: &'static str,
    /// What it says, and when it is empty.
    pub meaning: &'static str,
}

/// A table: `NAME.parquet` and `NAME.csv` beside a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// What one row is.
    pub row: &'static str,
    /// Its columns, in their order.
    pub columns: &'static [Column],
}

const fn column(
    name: &'static str,
    kind: Kind,
    unit: &'static str,
    meaning: &'static str,
) -> Column {
    Column { name, kind, unit, meaning }
}

const fn text(name: &'static str, meaning: &'static str) -> Column {
    column(name, Kind::Text, "", meaning)
}

const fn flag(name: &'static str, meaning: &'static str) -> Column {
    column(name, Kind::Flag, "", meaning)
}

const fn count(name: &'static str, unit: &'static str, meaning: &'static str) -> Column {
    column(name, Kind::Count, unit, meaning)
}

const fn number(name: &'static str, unit: &'static str, meaning: &'static str) -> Column {
    column(name, Kind::Number, unit, meaning)
}

const RUN: Column = text("run", "the run, as in `runs`");

/// One row a run.
pub const RUNS: Table = Table {
    name: "runs",
    row: "a finished run, by data set, class order, imbalance factor, method, setting and seed: the order of the report's tables",
    columns: &[
        text(
            "run",
            "name of the run's folder; \" (2)\" and so on follows where folders of several sweeps have one name",
        ),
        text("data_set", "data set"),
        text(
            "images",
            "`published`, `unverified` (not compared with the published set) or `generated`",
        ),
        text(
            "profile",
            "how the tail was cut: `exp`, `step`, or `natural` for the set's own counts",
        ),
        text(
            "class_order",
            "which class is the head: `natural`, `reversed`, `seeded` (by the seed 0) or `seeded-N`",
        ),
        number(
            "imbalance_factor",
            "ratio",
            "largest to smallest class: as asked for, or of the counts of a set that is long-tailed itself",
        ),
        text("method", "method; `+mislas` or `+stage2` where stage 2 of MiSLAS followed"),
        text(
            "setting",
            "what tells runs of one method and factor apart besides the seed; empty where nothing does",
        ),
        count("seed", "", "seed of initial weights, order and augmentation"),
        text("recipe", "name of the recipe; every value of it is in `recipes`"),
        flag("stage2", "whether stage 2 of MiSLAS retrained the classifier"),
        flag(
            "loss",
            "ResCom's class-balanced contrastive loss; empty for other methods and after stage 2, as the next three",
        ),
        flag("queue", "its class-balanced queue"),
        flag("mining", "its hard pair mining"),
        flag("siamese", "its Siamese Balanced Softmax"),
        text("arch", "backbone"),
        count("feature_dim", "dimensions", "width of the backbone's features"),
        count("epochs", "epochs", "epochs of training (of stage 2, if this is one)"),
        count("batch_size", "images", "images of a step"),
        count("views", "views", "augmented views of an image in a step"),
        count("train_images", "images", "training images of all classes"),
        count(
            "test_images",
            "images",
            "test images of the last epoch's evaluation, the whole test set",
        ),
        number("top1", "fraction", "accuracy after the last epoch"),
        number(
            "top5",
            "fraction",
            "images whose class is among the first five, after the last epoch",
        ),
        number(
            "many",
            "fraction",
            "mean accuracy of the classes with more than 100 training images; empty without such a class",
        ),
        number("medium", "fraction", "the same, 20 to 100"),
        number("few", "fraction", "the same, fewer than 20"),
        number("ece", "fraction", "expected calibration error after the last epoch, 15 bins"),
        count(
            "best_epoch",
            "",
            "epoch with the highest accuracy among those tested on the whole test set; chosen on test images",
        ),
        number("best_top1", "fraction", "its accuracy"),
        flag(
            "best_chosen",
            "whether more than one epoch was tested on the whole test set, so that there was a choice",
        ),
        text(
            "measured_on",
            "what similarities of `features` were taken between: `projection` or `encoder`; empty if features were not measured",
        ),
        number("seconds", "s", "training and evaluation, interruptions excluded"),
        text("device", "`cpu` or the CUDA device"),
        count("threads", "threads", "threads that libtorch computed with"),
        text("version", "version of this program"),
        text("commit", "commit it was built from, `+` if the tree had changes"),
        text("libtorch", "version of libtorch"),
        text("data_sha256", "SHA-256 of the training images and labels"),
        text("subset_sha256", "SHA-256 of the chosen indices"),
    ],
};

/// One row an epoch of a run.
pub const EPOCHS: Table = Table {
    name: "epochs",
    row: "an epoch of a run",
    columns: &[
        RUN,
        count("epoch", "", "from 1"),
        number("lr", "", "learning rate"),
        number("loss_cls", "nats", "classification loss, mean over the steps"),
        number("loss_con", "nats", "contrastive loss, not weighted; 0 for methods without"),
        number("loss", "nats", "the sum that was minimised"),
        number(
            "grad_norm_mean",
            "",
            "L2 norm of the gradient without weight decay, mean over the steps; empty in records of older versions",
        ),
        number("grad_norm_max", "", "the largest"),
        count("steps", "steps", "steps of the epoch"),
        number("train_seconds", "s", "seconds of training, evaluation excluded"),
        count(
            "test_images",
            "images",
            "test images evaluated after the epoch; empty where there was no evaluation, as the next columns",
        ),
        flag("whole_test", "whether these were the whole test set"),
        number("test_top1", "fraction", "accuracy"),
        number("test_top5", "fraction", "images whose class is among the first five"),
        number(
            "test_many",
            "fraction",
            "mean accuracy of the classes with more than 100 training images",
        ),
        number("test_medium", "fraction", "20 to 100"),
        number("test_few", "fraction", "fewer than 20"),
        number("test_ece", "fraction", "expected calibration error, 15 bins"),
    ],
};

/// One row a class of a run.
pub const CLASSES: Table = Table {
    name: "classes",
    row: "a class of a run",
    columns: &[
        RUN,
        count("class", "", "label, from 0"),
        text("name", "name of the class"),
        count("train_images", "images", "its training images"),
        text("shot_group", "`many`, `medium` or `few`, by its training images"),
        number("accuracy", "fraction", "accuracy on its test images after the last epoch"),
    ],
};

/// One row a pair of classes of a run.
pub const CONFUSION: Table = Table {
    name: "confusion",
    row: "a true and a predicted class of a run, after the last epoch; pairs that never occur are left out, and so are all of a run with more than 1,000 classes",
    columns: &[
        RUN,
        count("true_class", "", "label, from 0; its name is in `classes`"),
        count("predicted_class", "", "label, from 0"),
        count("test_images", "images", "test images of the one taken for the other"),
    ],
};

/// One row a bin of confidence of a run.
pub const RELIABILITY: Table = Table {
    name: "reliability",
    row: "one of the 15 bins of confidence of a run, after the last epoch",
    columns: &[
        RUN,
        count("bin", "", "from 1, lowest confidence first"),
        count("test_images", "images", "test images whose confidence fell into the bin"),
        number("confidence", "fraction", "their mean confidence; 0 where there are none"),
        number("accuracy", "fraction", "their accuracy; 0 where there are none"),
    ],
};

/// One row a quantity of the trained features of a run.
pub const FEATURES: Table = Table {
    name: "features",
    row: "a quantity of a run's trained features on test images: of a shot group, of one side's keys, of a bin, of a rank or of an image",
    columns: &[
        RUN,
        text("quantity", "which; below"),
        text(
            "part",
            "shot group, side (`positive` or `negative`) or class that it is of; empty where it is of the whole run",
        ),
        count("index", "", "bin, rank or image, from 1; empty where it is of the whole part"),
        number("value", "", "the quantity"),
    ],
};

/// One row a value of a run's recipe.
pub const RECIPES: Table = Table {
    name: "recipes",
    row: "a value of a run's recipe; besides, under the key `images`, which images the run used",
    columns: &[
        RUN,
        text("key", "dotted key"),
        text("value", "its value, as TOML text"),
        text(
            "mark",
            "where it comes from: `published`, `released`, `assumed` or `changed`; empty where the recipe does not say",
        ),
        text("was", "what the recipe's file said where that was changed and is known"),
        flag(
            "sets_apart",
            "whether runs that differ in it are different experiments, which are never averaged",
        ),
    ],
};

/// All tables.
pub const TABLES: [Table; 7] = [RUNS, EPOCHS, CLASSES, CONFUSION, RELIABILITY, FEATURES, RECIPES];

/// Quantities of [`FEATURES`]: name, unit, what part and index are, meaning.
pub const QUANTITIES: [[&str; 4]; 11] = [
    ["similarity-pairs", "pairs", "shot group", "ordered pairs of two test images of one class"],
    ["similarity-mean", "cosine", "shot group", "mean cosine of these pairs"],
    [
        "similarity-histogram",
        "pairs",
        "shot group; bin of equal width over -1 to 1",
        "pairs whose cosine fell into the bin",
    ],
    ["easy-temperature", "", "", "temperature T of the loss that the gradients are of"],
    ["easy-anchors", "images", "", "anchors averaged over"],
    [
        "easy-similarity",
        "cosine",
        "side; rank of the key, positives easiest first, negatives hardest first",
        "mean similarity of that key",
    ],
    [
        "easy-gradient",
        "",
        "side; rank of the key",
        "mean absolute derivative of an anchor's supervised contrastive loss with respect to that key's logit s/T",
    ],
    ["measured-epoch", "epochs", "", "finished epochs of the network that was measured"],
    ["measured-images", "images", "", "test images used"],
    [
        "tsne-x",
        "",
        "class; image",
        "place in the t-SNE picture, of the runs that the report shows it of",
    ],
    ["tsne-y", "", "class; image", "the other coordinate"],
];

/// The columns of all tables and the quantities of `features` as Markdown.
pub fn markdown() -> String {
    let or_dash = |text: &'static str| if text.is_empty() { "–" } else { text };
    let mut out = String::new();
    for table in TABLES {
        out.push_str(&format!("### `{}`\n\nOne row: {}.\n\n", table.name, table.row));
        out.push_str("| Column | Type | Unit | Meaning |\n|---|---|---|---|\n");
        for c in table.columns {
            let (kind, unit) = (c.kind.name(), or_dash(c.unit));
            out.push_str(&format!("| `{}` | {kind} | {unit} | {} |\n", c.name, c.meaning));
        }
        out.push('\n');
    }
    out.push_str("### Quantities of `features`\n\n| Quantity | Unit | Part; index | Meaning |\n|---|---|---|---|\n");
    for [name, unit, place, meaning] in QUANTITIES {
        let (unit, place) = (or_dash(unit), or_dash(place));
        out.push_str(&format!("| `{name}` | {unit} | {place} | {meaning} |\n"));
    }
    out
}
